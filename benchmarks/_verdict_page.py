"""What the study of the verdicts counted, as the page ``docs/edge_verdicts.md``.

Belongs here: rates, their errors, tables. Doesn't: drawing and judging (``edge_verdicts``).
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from benchmarks._tables import table
from research_to_prod.attribution.verdict import EdgeVerdict
from research_to_prod.attribution.verdict_policy import AttributionPolicy

LIFE = 730
OPEN = (EdgeVerdict.NORMAL, EdgeVerdict.INCONCLUSIVE)
OF_EDGE = (EdgeVerdict.EDGE, EdgeVerdict.BOTH)
OF_EXECUTION = (EdgeVerdict.EXECUTION, EdgeVerdict.BOTH)
MATRIX_DAYS = (180, 365, 730)
HORIZON_AT = 90
LOOKED_AT = (30, HORIZON_AT, 180, 365, 730)
"""Days on which the stated horizon is kept."""


@dataclass(frozen=True)
class Life:
    """One strategy's verdicts, evening by evening, and what was stated as the days until more can be said."""

    truth: str
    noise: str
    right: EdgeVerdict
    since: int
    daily: tuple[EdgeVerdict, ...]
    horizons: Mapping[int, int | None]

    def found(self) -> tuple[int, EdgeVerdict] | None:
        """Return the day (from 1) and the verdict of the first evening that reported a change."""
        return next(((day, each) for day, each in enumerate(self.daily, 1) if each not in OPEN), None)

    def first(self, wanted: Sequence[EdgeVerdict]) -> float:
        """Return the days from the truth's beginning until one of these verdicts; infinite when it never came."""
        days = (day for day, each in enumerate(self.daily, 1) if each in wanted and day > self.since)
        return next(days, math.inf) - self.since


@dataclass(frozen=True)
class Book:
    """The verdicts of several strategies judged together: what is right for each, and what was said each evening."""

    right: tuple[EdgeVerdict, ...]
    daily: tuple[tuple[EdgeVerdict, ...], ...]

    def false_share(self, day: int) -> float:
        """Return the share of false ones among the changes reported that evening; 0 when none was."""
        said = [(each, right) for each, right in zip(self.daily[day - 1], self.right, strict=True) if each not in OPEN]
        return sum(each is not right for each, right in said) / len(said) if said else 0.0


@dataclass(frozen=True)
class Claim:
    """A measured share, its count, and what it should be."""

    what: str
    share: float
    of: int
    at_least: float | None = None
    at_most: float | None = None

    @property
    def error(self) -> float:
        """Binomial standard error of the share."""
        return math.sqrt(self.share * (1 - self.share) / self.of)

    @property
    def holds(self) -> bool:
        """Whether the target is met by the measured share itself, error aside."""
        enough = self.at_least is None or self.share >= self.at_least
        return enough and (self.at_most is None or self.share <= self.at_most)

    def row(self) -> list[str]:
        """Return its cells."""
        target = f"at least {self.at_least:.0%}" if self.at_least is not None else ""
        target = f"at most {self.at_most:.0%}" if self.at_most is not None else target
        return [self.what, percent(self.share, self.of), target, "holds" if self.holds else "**missed**"]


def percent(share: float, of: int) -> str:
    """Return a share in per cent with its binomial error."""
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / of):.1f}"


def claims(lives: Sequence[Life]) -> list[Claim]:
    """Return what was promised: of false verdicts for every noise, of the rest for normal and sandbox noise."""

    def claim(what: str, group: Sequence[Life], holds: Callable[[Life], bool], **target: float) -> Claim:
        return Claim(what, sum(map(holds, group)) / len(group), len(group), **target)

    found = []
    for (truth, noise), group in grouped(lives).items():
        if truth == "no effect":
            what = f"{noise}: no effect, EDGE, EXECUTION or BOTH at any look of two years"
            found.append(claim(what, group, _alarmed, at_most=0.05))
        elif noise not in {"normal", "sandbox"}:
            continue
        elif truth == "cost +2 bps":
            what = f"{noise}: cost +2 bps a day, first change reported is EXECUTION, within 180 days"
            found.append(claim(what, group, lambda life: _is(life.found(), EdgeVerdict.EXECUTION, 180), at_least=0.90))
        elif truth == "edge gone":
            what = f"{noise}: edge gone, EDGE within"
            found.append(claim(f"{what} 365 days", group, lambda life: _edge_within(life, 365), at_least=0.45))
            found.append(claim(f"{what} 730 days", group, lambda life: _edge_within(life, 730), at_least=0.80))
            found += _said_before(noise, group)
    return found


def _alarmed(life: Life) -> bool:
    return any(each in OF_EDGE or each in OF_EXECUTION for each in life.daily)


def _edge_within(life: Life, days: int) -> bool:
    return life.first([EdgeVerdict.EDGE]) <= days


def _said_before(noise: str, group: Sequence[Life]) -> list[Claim]:
    """Return what was said of an edge that is gone, before it was found."""
    until = [int(min(life.first(OF_EDGE), LIFE + 1)) - 1 for life in group]
    before = [each for life, days in zip(group, until, strict=True) for each in life.daily[:days]]
    inconclusive = sum(each is EdgeVerdict.INCONCLUSIVE for each in before)
    open_ = [
        days for life in group for day, days in life.horizons.items() if life.daily[day - 1] is EdgeVerdict.INCONCLUSIVE
    ]
    return [
        # The looks of one life depend on each other, so the lives are what is counted for the error.
        Claim(f"{noise}: edge gone, looks before that say INCONCLUSIVE", inconclusive / len(before), len(group), 0.95),
        Claim(
            f"{noise}: edge gone, INCONCLUSIVE states the days until it can say more (days {LOOKED_AT})",
            sum(days is not None for days in open_) / len(open_), len(open_), 1.0,
        ),
    ]  # fmt: skip


def _is(found: tuple[int, EdgeVerdict] | None, verdict: EdgeVerdict, within: int) -> bool:
    return found is not None and found[1] is verdict and found[0] <= within


def grouped(lives: Sequence[Life]) -> dict[tuple[str, str], list[Life]]:
    """Return the lives by truth and noise."""
    of: dict[tuple[str, str], list[Life]] = {}
    for life in lives:
        of.setdefault((life.truth, life.noise), []).append(life)
    return of


_MATRIX = """\
Per cent of the lives, ± binomial error, by the verdict of that evening. The right verdict is bold. A truth that \
begins on day 365 is not there before."""
_DELAYS = """\
Days from the beginning of the truth until its verdict, in quartiles of all lives; a dash where less than that share \
found it within the two years. EDGE and BOTH count for the edge, EXECUTION and BOTH for execution."""
_HORIZONS = """\
Of the lives that are INCONCLUSIVE on day {day}, the share in which the right verdict came within the days that the \
verdict stated then (meant: {power:.0%} for an effect of the size to be ruled out, or none), and the median of those \
days:"""
_BOOK = """\
One edge is gone, one cost is up by 2 bps, six strategies are as they should be; normal noise. The evidence that a \
change needs grows with the book, so that false ones stay rare among those reported."""


def page(
    policy: AttributionPolicy, setting: str, lives: Sequence[Life], books: Sequence[Book]
) -> tuple[str, list[str]]:
    """Return the page, and the names of the targets that are missed."""
    promised = claims(lives)
    missed = [claim.what for claim in promised if not claim.holds]
    verdict = "Every target holds." if not missed else f"**Missed: {'; '.join(missed)}.**"
    parts = [
        "# Verdicts on edge and execution",
        "Made by `python -m benchmarks.edge_verdicts`, whatever it says; text and numbers are not edited by hand.",
        setting,
        "## What was promised",
        table(["claim", "measured, % ± error", "target", ""], [claim.row() for claim in promised]),
        verdict,
        "## What is said, by truth",
        _MATRIX,
        *(_matrix(lives, day) for day in MATRIX_DAYS),
        "## How long it takes",
        _DELAYS,
        _delays(lives),
        _HORIZONS.format(day=HORIZON_AT, power=policy.power.value),
        _horizons(lives),
        "## In a book of eight",
        _BOOK,
        _books(books),
        "## Made with",
        _versions(policy),
    ]
    return "\n\n".join(parts) + "\n", missed


def _matrix(lives: Sequence[Life], day: int) -> str:
    rows = []
    for (truth, noise), group in grouped(lives).items():
        cells = []
        for verdict in EdgeVerdict:
            share = sum(life.daily[day - 1] is verdict for life in group) / len(group)
            cell = percent(share, len(group)) if share else "0"
            right = group[0].right if day > group[0].since else EdgeVerdict.NORMAL
            cells.append(f"**{cell}**" if verdict is right else cell)
        rows.append([truth, noise, *cells])
    return f"### Day {day}\n\n" + table(["truth", "noise", *EdgeVerdict], rows)


def _delays(lives: Sequence[Life]) -> str:
    rows = []
    for (truth, noise), group in grouped(lives).items():
        if group[0].right is not EdgeVerdict.NORMAL:
            quartiles = np.quantile(
                [life.first(_counting(life.right)) for life in group], [0.25, 0.5, 0.75], method="higher"
            )
            rows.append([truth, noise, *(f"{each:.0f}" if math.isfinite(each) else "-" for each in quartiles)])
    return table(["truth", "noise", "a quarter", "half", "three quarters"], rows)


def _counting(right: EdgeVerdict) -> Sequence[EdgeVerdict]:
    return {EdgeVerdict.EDGE: OF_EDGE, EdgeVerdict.EXECUTION: OF_EXECUTION}.get(right, (right,))


def _horizons(lives: Sequence[Life]) -> str:
    rows = []
    for (truth, noise), group in grouped(lives).items():
        open_ = [life for life in group if life.daily[HORIZON_AT - 1] is EdgeVerdict.INCONCLUSIVE and not life.since]
        stated = {id(life): days for life in open_ if (days := life.horizons[HORIZON_AT]) is not None}
        answered = [life for life in open_ if id(life) in stated and HORIZON_AT + stated[id(life)] <= LIFE]
        if answered:
            came = [life.first(_counting(life.right)) <= HORIZON_AT + stated[id(life)] for life in answered]
            rows.append([truth, noise, str(len(answered)), f"{np.median(list(stated.values())):.0f}",
                         percent(sum(came) / len(came), len(came))])  # fmt: skip
    return table(["truth", "noise", "lives", "median days stated", "came, % ± error"], rows)


def _books(books: Sequence[Book]) -> str:
    rows = []
    for day in MATRIX_DAYS:
        false = np.array([book.false_share(day) for book in books])
        error = false.std() / math.sqrt(len(books))
        cells = [f"{100 * false.mean():.1f} ± {100 * error:.1f}"]
        for verdicts, column in ((OF_EDGE, 0), (OF_EXECUTION, 1)):
            share = sum(book.daily[day - 1][column] in verdicts for book in books) / len(books)
            cells.append(percent(share, len(books)))
        rows.append([str(day), *cells])
    head = ["day", "false among those reported, mean % ± error", "lost edge reported, %", "raised cost reported, %"]
    return table(head, rows)


def _versions(policy: AttributionPolicy) -> str:
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy"))
    return f"Policy `{policy.id}`, SHA-256 `{policy.sha256}`; Python {platform.python_version()}, {packages}."
