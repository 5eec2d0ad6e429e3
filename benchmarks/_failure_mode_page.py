"""What the failure modes showed on dated events and in calm months, as the page ``docs/failure_modes.md``.

Belongs here: windows and their answers, tables, words. Doesn't: which windows, and reading files (``failure_modes``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from benchmarks._tables import table
from research_to_prod.attribution.failure_modes import MODES, Answer, Diagnosis, needs

PICTURE, SHOWN = "pictures/failure_modes.png", "FTX, 2022-11"
"""The picture, beside the page, and the window that it shows."""


@dataclass(frozen=True)
class Source:
    """What there is of one market around a window; files relative to the folder of data, without ``.parquet``.

    Parameters
    ----------
    spot
        Bars of the same asset on spot, or of a mark price, for the basis at the closes that both have.
    dollars
        Bars of the asset in dollars: the price of its stablecoin is theirs over ours, at the closes that both have.
    """

    bars: str
    funding: tuple[str, ...] = ()
    spot: str = ""
    dollars: str = ""


@dataclass(frozen=True)
class Event:
    """A window, and the modes that the record says it had."""

    name: str
    start: datetime
    end: datetime
    documented: tuple[str, ...]
    sources: tuple[Source, ...] = field(default=())


@dataclass(frozen=True)
class Seen:
    """The diagnosis of one window on one market."""

    event: Event
    source: Source
    found: tuple[Diagnosis, ...]


SETTING = """\
Fourteen ways in which crypto strategies lose money have names. Each is a rule here, or several of which one is \
enough, with thresholds and their reasons in `desk/policies/failure_modes.yaml`. The answer is *present*, *absent*, or \
*unknown*: absent takes that every rule had its inputs, finely enough and for the whole window. A mode says what was \
going on, never that it caused a loss; how losses gather in its windows is a number of its own (`enrichment`). Every \
night the rules are asked of each market that the desk holds or trades ([attribution](attribution.md))."""
EVENTS_TEXT = """\
Windows and documented modes were written down before a rule saw them, the thresholds too, with one exception. Shocks \
were first a ratio to the usual volatility alone; calm months then showed dozens of them, because what is usual there \
is a third of an ordinary year's. The floor that was added follows from that year, four times over, and was looked at \
on other quiet months first.

Two things were changed after 2025-10-10 had been looked at and flagged none of its modes. The rule of shocks counted \
bars, three of five, whatever their length: five minutes of a minute's bars, five hours of an hour's. Its reason was a \
quarter of an hour in twenty-five minutes, which is what it asks for now; a bar of an hour counts alone, and what that \
does to quiet hourly months stands below. And `funding_squeeze` was not on this window's list, though it had been \
present: that funding was the lowest since 2022 is documented (Glassnode, 2025-10-12). The bars and mark prices of \
ether on that day were added after the first run too.

What is documented is from memory and from what was read about these days, not from the data. A dash says that no file \
holds the input. Of several markets the one that says most is shown."""
UNSEEN = """\
- No public bar or payment shows the desk's own side: thin hours, whipsaw, forced positions, fat fingers, fee tiers, \
toxicity and crowding need its records, and so does one of the two rules of a squeeze.
- The files have no order books and no liquidations in any of the windows, and open interest by the day only: vacuums \
and cascades stay unknown in all of them. No file holds two venues' quotes of one time, and so do outages.
- There are no prices of UST, USDC or USDe. What is shown is USDT, implied by bitcoin in dollars and in USDT at the \
closes that both have, one to four hours apart; in a crash that is also how far the two venues were apart. Coinbase's \
dollar book takes USDC for dollars (from memory), so that March 2023 shows USDC's fall from the other side.
- The perpetuals of 2025 have no spot bars beside them but Coinbase's of four hours, too few for a baseline, and OKX's \
hourly mark price of ether. At the close of 21:00 on 2025-10-10 Binance's ether was 1.5 % above that mark and Bybit's \
0.7 %, three times and one and a half times the threshold, an hour later neither: one close doesn't show that it lasted.
- Of the cascade of that day the files have daily open interest: Binance's coin-margined contracts lost 6 % (bitcoin) \
and 12 % (ether) from midnight to midnight. Within which hour, and who was liquidated, they don't say. In the four \
hours in which bitcoin's perpetual fell to 101,517 on Binance, Coinbase's spot did not trade below 107,000: 5 % apart \
at that moment at least, for how long is unknown. Empty books, and USDe at 0.65, are in none of the files."""
CALM_TEXT = """\
Calm are the whole months of five-minute bars, eight weeks into their file or later, in which daily closes deviate by \
less than half of what a year at 60 % has (1.6 %). The list is what that rule finds. It is the second rule: the first \
took the calmest month of each file, which need not be a calm one, and with it SOL showed three shocks in September \
2023 and bitcoin one on 2020-02-19. The floor of shocks came after a look at two of the months below (July and \
September 2023); the first of them nobody had looked at."""
CALM_HOURS_TEXT = """\
The same rule on hourly bars, of which one counts as a shock. Coarse bars can show a shock but no absence of a short \
one, so that nothing present means unknown."""


def _modes() -> str:
    rows = []
    for mode in MODES:
        for number, rule in enumerate(mode.rules):
            says = " ".join((rule.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")
            inputs = ", ".join(needs(rule))
            rows.append([f"`{mode.name}`" if number == 0 else "", says, inputs, ", ".join(mode.shows_in)])
    return table(["mode", "present when", "inputs", "loss shows in"], rows)


def _best(seen: Sequence[Seen], event: Event, mode: str) -> str:
    """Return in words what the markets of an event say of one mode: the most severe answer that one could give."""
    rank = {Answer.PRESENT: 2, Answer.ABSENT: 1, Answer.UNKNOWN: 0}
    own = [(each, found) for each in seen if each.event is event for found in each.found if found.mode == mode]
    each, best = max(own, key=lambda pair: (rank[pair[1].answer], pair[1].severity or 0))
    if best.severity is None:
        return "unknown: –"
    where = each.source.bars.split("/")[1].split("__")
    times = f", from {best.windows[0].start:%m-%d %H:%M}" if best.windows else ""
    return f"{best.answer}, {best.severity:.1f} x the threshold ({where[0]} {where[1].replace('_', ':')}{times})"


def _quiet(calm: Sequence[Seen]) -> str:
    rows = [
        [
            each.event.name,
            each.source.bars.split("/")[1],
            ", ".join(_dated(d) for d in each.found if d.answer is Answer.PRESENT) or "none",
            ", ".join(f"`{d.mode}` {d.severity:.2f}" for d in each.found if d.severity is not None),
        ]
        for each in calm
    ]
    return table(["window", "bars", "present", "severity, by mode that was measured"], rows)


def _dated(found: Diagnosis) -> str:
    return f"`{found.mode}` ({', '.join(f'{each.start:%m-%d %H:%M}' for each in found.windows)})"


def page(events: Sequence[Seen], calm: Sequence[Seen], calm_hours: Sequence[Seen]) -> str:
    """Return the page in Markdown."""
    documented, others = [], []
    for event in dict.fromkeys(each.event for each in events):
        answers = {mode.name: _best(events, event, mode.name) for mode in MODES}
        documented += [[event.name, f"`{mode}`", answers[mode]] for mode in event.documented]
        others += [
            [event.name, f"`{mode}`", said]
            for mode, said in answers.items()
            if mode not in event.documented and said.startswith("present")
        ]
    head = ["window", "mode", "answer"]
    parts = [
        "# Failure modes, and real markets",
        "Made by `python -m benchmarks.failure_modes --data FOLDER`, whatever it says; nothing is edited by hand.",
        SETTING,
        "## The modes",
        _modes(),
        "## Dated events",
        EVENTS_TEXT,
        table(head, documented),
        f"![Drawdown and modes, {SHOWN}]({PICTURE})",
        f"A holder of bitcoin in the window {SHOWN}, and when the modes were present.",
        "Present without being documented:",
        table(head, others) if others else "none.",
        "## Calm months",
        CALM_TEXT,
        _quiet(calm),
        CALM_HOURS_TEXT,
        _quiet(calm_hours),
        "## What the files can't show",
        UNSEEN,
    ]
    return "\n\n".join(parts) + "\n"
