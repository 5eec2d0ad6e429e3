"""What is absent, and what stands still: outages, halts, silences for want of trades, frozen feeds.

Belongs here: rules about bars that are not there or say nothing new. Doesn't: their values otherwise.

A gap is a maximal run of absent bars within the month: expected, and no row delivered (a refused row is the business of
``delivery`` and ``values``). Its class, the first that applies:

``no_trade``
    The market's own habit explains it: the venue writes no bar where nothing traded (the month has no bar without
    volume), ``habitual_runs`` other gaps show the habit, and with the chance of a further missing bar after a missing
    one that those others show, at least ``no_trade_probability`` runs of its length are expected in the month.
``venue_outage``
    Every other series of the venue, of any timeframe that fits into the gap, traded in less than a tenth of it, too.
``market_gap``
    More than half of those traded through at least half of it.
``unexplained_gap``
    Anything else; so also where no other series of the venue is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.rules.case import Case, Cost, moment, named
from research_to_prod.market_data.series import HOUR, runs

_DOWN, _UP = 0.1, 0.5  # shares of a gap's bars in which another market traded: silent as well, or plainly trading


@dataclass(frozen=True)
class _Gap:
    """A run of absent bars: opens of its first and last in microseconds, its length, its class and the reason."""

    first: int
    last: int
    bars: int
    kind: str
    why: str


def no_trade(case: Case) -> Iterator[Finding]:
    """Gaps that the market's habit explains, as one finding. Info."""
    gaps = [gap for gap in _gaps(case) if gap.kind == "no_trade"]
    if gaps:
        longest = max(gaps, key=lambda gap: gap.bars)
        missing = sum(gap.bars for gap in gaps)
        yield case.finding(
            "no_trade",
            Level.INFO,
            (gaps[0].first, gaps[-1].last),
            missing,
            longest.bars,
            case.policy.gaps.habitual_runs,
            f"{missing} bars in {len(gaps)} gaps without a trade, the longest of {longest.bars} from "
            f"{moment(longest.first)}; value: bars of the longest",
            Cost(
                "The last close stood through them: filled forward it is right, dropped it shortens every window.",
                "Use a longer timeframe, or fill forward with volume 0.",
            ),
            confidence=0.8,
        )


def venue_outage(case: Case) -> Iterator[Finding]:
    """Gaps in which the venue's other series were silent too. A warning: nobody could trade there."""
    yield from _named(
        case,
        "venue_outage",
        0.9,
        Cost(
            "Nothing: the absence is true. A backtest that fills forward trades where nobody could.",
            "Let the backtest hold positions through it; check it against the venue's status history.",
        ),
    )


def market_gap(case: Case) -> Iterator[Finding]:
    """Gaps of one market while the venue traded: a halt, or lost data. From ``market_gap`` hours on an error."""
    yield from _named(
        case,
        "market_gap",
        0.9,
        Cost(
            "Either the market was halted and positions were stuck, or trades happened that the history does not show.",
            "Fetch the interval again; ask the venue whether the market was halted; declare which.",
        ),
        case.policy.gaps.market_gap.value,
    )


def unexplained_gap(case: Case) -> Iterator[Finding]:
    """Gaps that neither the market's habit nor another series of the venue explains. A warning."""
    yield from _named(
        case,
        "unexplained_gap",
        0.5,
        Cost(
            "If it was an outage nobody could trade; if data was lost, the backtest misses real prices.",
            "Follow another market of the venue, or fetch the interval again.",
        ),
    )


def longest_gap(case: Case) -> Iterator[Finding]:
    """A gap of ``longest_gap`` hours or more, for whatever reason but want of trades. An error."""
    limit = case.policy.gaps.longest_gap
    for gap in _gaps(case):
        hours = gap.bars * case.series.length / HOUR
        if gap.kind != "no_trade" and hours >= limit.value:
            yield case.finding(
                "longest_gap",
                Level.ERROR,
                (gap.first, gap.last),
                gap.bars,
                hours,
                limit,
                f"{gap.bars} bars missing from {moment(gap.first)} to {moment(gap.last)}",
                Cost(
                    "Whoever held a position was locked in for days; what is before and after are two histories.",
                    "Begin the window after it, or fetch the interval from another source.",
                ),
            )


def incomplete(case: Case) -> Iterator[Finding]:
    """More than ``incomplete`` of the expected bars are absent, those without trades by habit apart. An error."""
    limit, gaps = case.policy.gaps.incomplete, _gaps(case)
    lost = [gap for gap in gaps if gap.kind != "no_trade"]
    missing = sum(gap.bars for gap in lost)
    if case.series.expected and missing / case.series.expected > limit.value:
        yield case.finding(
            "incomplete",
            Level.ERROR,
            (lost[0].first, lost[-1].last),
            missing,
            missing / case.series.expected,
            limit,
            f"{missing} of {case.series.expected} expected bars are absent, in {len(lost)} gaps",
            Cost(
                "Too little of the month is left to stand for it; what was lost is rarely an ordinary sample.",
                "Fetch the month again, or begin the market later in universe.yaml.",
            ),
        )


def unknown_bars(case: Case) -> Iterator[Finding]:
    """Expected bars that no complete fetch covers. An error: nothing proves that they are absent, or all there."""
    unknown = case.uncovered
    if unknown.any():
        ts = case.series.first + np.flatnonzero(unknown) * case.series.length
        yield case.finding(
            "unknown_bars",
            Level.ERROR,
            (ts[0], ts[-1]),
            unknown.sum(),
            unknown.sum(),
            case.policy.delivery.single_row,
            f"no complete fetch covers {unknown.sum()} of {case.series.expected} expected bars: {named(ts)}",
            Cost(
                "Missing bars there may exist; completeness is not known.",
                "Materialize raw_candles for the month again.",
            ),
        )


def stale_run(case: Case) -> Iterator[Finding]:
    """Runs of at least ``stale_bars`` adjacent bars with one close and no volume, of ``stale_time`` hours or more.

    A warning; an error from ``longest_gap`` hours on. Venues that write a bar where nothing traded show outages so.
    """
    rules, bars, length = case.policy.gaps, case.bars, case.series.length
    for start, steps in zip(*runs(case.series.still), strict=True):
        hours = (steps + 1) * length / HOUR
        if steps + 1 < rules.stale_bars.value or hours < rules.stale_time.value:
            continue
        long = hours >= rules.longest_gap.value
        yield case.finding(
            "stale_run",
            Level.ERROR if long else Level.WARNING,
            (bars.ts[start], bars.ts[start + steps]),
            steps + 1,
            hours,
            rules.longest_gap if long else rules.stale_time,
            f"{steps + 1} bars from {moment(bars.ts[start])} on with one close and no volume",
            Cost(
                "Nobody could trade there; a backtest that fills at these closes invents its fills.",
                "Forbid fills in bars without volume.",
            ),
            confidence=0.9,
        )


def frozen_feed(case: Case) -> Iterator[Finding]:
    """At least ``frozen_bars`` adjacent bars with all five values equal and a volume above zero. An error."""
    bars, limit = case.bars, case.policy.gaps.frozen_bars
    same = (np.diff(bars.ts) == case.series.length) & (bars.volume[1:] > 0)
    for values in (bars.open, bars.high, bars.low, bars.close, bars.volume):
        same &= np.diff(values) == 0
    for start, steps in zip(*runs(same), strict=True):
        if steps + 1 >= limit.value:
            yield case.finding(
                "frozen_feed",
                Level.ERROR,
                (bars.ts[start], bars.ts[start + steps]),
                steps + 1,
                steps + 1,
                limit,
                f"{steps + 1} bars from {moment(bars.ts[start])} on repeat the same five values",
                Cost(
                    "Prices and volume there are invented; a strategy trades against a market that had moved on.",
                    "Fetch the interval again.",
                ),
            )


def _named(case: Case, kind: str, confidence: float, why: Cost, error_hours: float = np.inf) -> Iterator[Finding]:
    """Yield one finding for each gap of ``kind``: a warning, an error from ``error_hours`` on."""
    for gap in _gaps(case):
        if gap.kind == kind:
            hours = gap.bars * case.series.length / HOUR
            limit = case.policy.gaps.market_gap if np.isfinite(error_hours) else case.policy.gaps.longest_gap
            yield case.finding(
                kind,
                Level.ERROR if hours >= error_hours else Level.WARNING,
                (gap.first, gap.last),
                gap.bars,
                hours,
                limit,
                f"{gap.bars} bars missing from {moment(gap.first)} on; {gap.why}",
                why,
                confidence=confidence,
            )


def _gaps(case: Case) -> list[_Gap]:
    """Return the gaps of the month in order, classified."""
    series = case.series
    starts, lengths = runs(case.absent)
    if not len(starts):
        return []
    habitual = _habitual(case, lengths)
    found = []
    for start, bars, habit in zip(starts, lengths, habitual, strict=True):
        first = series.first + int(start) * series.length
        kind, why = ("no_trade", "") if habit else _by_siblings(case, first, int(bars))
        found.append(_Gap(first, first + (int(bars) - 1) * series.length, int(bars), kind, why))
    return found


def _habitual(case: Case, lengths: np.ndarray) -> np.ndarray:
    """Return (n,) whether the habit shown by the other gaps explains each."""
    rules = case.policy.gaps
    if (case.bars.volume == 0).any() or len(lengths) <= rules.habitual_runs.value:
        return np.zeros(len(lengths), bool)
    further, missing = lengths.sum() - len(lengths), lengths.sum()
    # Laplace's rule on the others: a gap may not testify for itself.
    again = (further - (lengths - 1) + 1) / (missing - lengths + 2)
    return np.asarray((len(lengths) - 1) * again ** (lengths - 1) >= rules.no_trade_probability.value)


def _by_siblings(case: Case, first: int, bars: int) -> tuple[str, str]:
    stop = first + bars * case.series.length
    elsewhere = [each for each in case.peers if each.market.venue != case.series.market.venue]
    heard = [each.name for each in elsewhere if each.traded(first, stop) / bars >= _UP]
    beside = f"; {', '.join(heard)} traded through it" if heard else ""
    fitting = [each for each in case.siblings if each.length <= stop - first]
    shares = {each.name: each.traded(first, stop) * each.length / (stop - first) for each in fitting}
    if not shares:
        return "unexplained_gap", f"no other series of the venue is known{beside}"
    trading = sorted(name for name, share in shares.items() if share >= _UP)
    if all(share < _DOWN for share in shares.values()):
        return "venue_outage", f"all else of the venue was silent, too ({len(shares)} other series){beside}"
    if len(trading) > len(shares) / 2:
        return "market_gap", f"{', '.join(trading)} traded through it{beside}"
    return "unexplained_gap", f"{len(trading)} of {len(shares)} other series of the venue traded through it{beside}"
