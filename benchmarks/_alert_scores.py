"""Pages held against the journal: what was found, how soon, and how much was told for nothing.

Which rules may tell of which fault was written down before any ran. Belongs here: matching, scores, tuning, and the
bootstrap. Doesn't: running (``_alert_systems``), the page of ``docs/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks._alert_plain import Setting
from benchmarks._alert_surroundings import Surroundings
from benchmarks._alert_systems import SHIPPED, Page, Run, is_day
from benchmarks._alert_weeks import DAY, Fault, Floats, Kind
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.situation import Subject, situation_of

Level = TypeVar("Level", float, Setting)
FAMILY: dict[Kind, tuple[str, ...]] = {
    Kind.STALE: ("md_stale",),
    Kind.BAD_PRICE: ("md_invalid",),
    Kind.SLOW_ACKS: ("ack_latency",),
    Kind.REJECTS: ("reject_rate",),
    Kind.UNKNOWN_OUTCOME: ("unknown_outcome",),
    Kind.LOST_FILL: ("missing_fill",),
    Kind.POSITION: ("position_break",),
    Kind.MARGIN: ("margin",),
    Kind.RUNAWAY: ("exposure_limit",),
    Kind.LOSSES: ("drawdown_burn",),
    Kind.OUTAGE: ("venue_status", "md_stale", "ack_latency", "unknown_outcome", "certificate_missing"),
    Kind.CLOCK: ("clock_skew",),
    Kind.DEPEG: ("depeg",),
    Kind.FETCHES: ("certificate_missing",),
    Kind.UNSEEN: ("position_break", "margin"),
}
"""The rules that tell of a kind of fault, its own first."""

GRACE = 15
"""Minutes after a fault's end in which a page is still about it."""


@dataclass(frozen=True)
class Case:
    """A fault of the journal with what it could cost: by the exposure when it began."""

    fault: Fault
    at_stake: bool
    blind_seconds: float
    regime: Regime


@dataclass(frozen=True)
class Outcome:
    """What became of one case: minutes to the first page of it, None where there was none; and how many there were."""

    case: Case
    minutes: int | None
    pages: int

    @property
    def of_budget(self) -> float:
        """Time to detect over the blind time; infinite where it was not detected."""
        return np.inf if self.minutes is None else 60 * self.minutes / self.case.blind_seconds


@dataclass(frozen=True)
class Score:
    """One system on some weeks, ``begin`` to ``end`` in minutes.

    Parameters
    ----------
    outcomes
        Of the faults with something at stake.
    matched
        By page: whether it is about any fault of the journal.
    """

    run: Run
    begin: int
    end: int
    outcomes: tuple[Outcome, ...]
    matched: tuple[bool, ...]

    @property
    def recall(self) -> float:
        return _share([each.minutes is not None for each in self.outcomes])

    @property
    def precision(self) -> float:
        return _share(self.matched)

    @property
    def pages_a_shift(self) -> float:
        return len(self.run.pages) / ((self.end - self.begin) / (DAY / 2))

    @property
    def flat(self) -> float:
        """Share of pages that were sent while flat."""
        return _share([each.flat for each in self.run.pages])

    @property
    def duplicates(self) -> float:
        """Pages after the first for each fault that was detected."""
        told = [each.pages for each in self.outcomes if each.pages]
        return sum(told) / len(told) - 1 if told else np.nan

    @property
    def of_budget(self) -> tuple[float, float]:
        """Median and 95th percentile of the time to detect over the blind time; what was missed took forever."""
        return _quantiles([each.of_budget for each in self.outcomes])

    @property
    def of_budget_detected(self) -> tuple[float, float]:
        """The same among what was detected."""
        return _quantiles([each.of_budget for each in self.outcomes if each.minutes is not None])

    @property
    def minutes(self) -> tuple[float, float]:
        """Median and 95th percentile of the minutes to detect, among what was detected."""
        return _quantiles([each.minutes for each in self.outcomes if each.minutes is not None])

    @property
    def in_time(self) -> float:
        """Share of faults that were told within the blind time."""
        return _share([each.of_budget <= 1 for each in self.outcomes])

    @cached_property
    def by_day(self) -> npt.NDArray[np.float64]:
        """(days, 5): pages, pages about a fault, faults, faults detected, pages while flat."""
        found = np.zeros(((self.end - self.begin) // DAY, 5))
        for page, matched in zip(self.run.pages, self.matched, strict=True):
            found[(page.minute - self.begin) // DAY, [0, 1, 4]] += [1, matched, page.flat]
        for each in self.outcomes:
            found[(each.case.fault.begin - self.begin) // DAY, [2, 3]] += [1, each.minutes is not None]
        return found


def cases_of(around: Surroundings, begin: int, end: int) -> tuple[Case, ...]:
    """Return the faults that begin between two minutes, with what was at stake."""
    found = []
    for fault in around.world.journal:
        if begin <= fault.begin < end:
            before = situation_of(fault.subject, around.context(fault.begin - 1), SHIPPED.settings)
            at_stake = bool(around.world.held(fault.subject)[fault.begin] > 0)
            assert before.blind_seconds is not None
            found.append(Case(fault, at_stake, before.blind_seconds, before.regime))
    return tuple(found)


def score(run: Run, cases: Sequence[Case], begin: int, end: int) -> Score:
    """Hold pages against faults."""
    outcomes = []
    for case in cases:
        about = [page for page in run.pages if _is_about(page, case.fault)]
        first = min((page.minute - case.fault.begin + 1 for page in about), default=None)
        if case.at_stake:
            outcomes.append(Outcome(case, first, len(about)))
    matched = tuple(any(_is_about(page, case.fault) for case in cases) for page in run.pages)
    return Score(run, begin, end, tuple(outcomes), matched)


def _is_about(page: Page, fault: Fault) -> bool:
    in_time = fault.begin <= page.minute <= fault.end + GRACE
    return in_time and page.rule in FAMILY[fault.kind] and _agree(page.subject, fault.subject)


def _agree(one: Subject, other: Subject) -> bool:
    pairs = (
        (getattr(one, name), getattr(other, name)) for name in ("venue", "account", "instrument", "strategy", "key")
    )
    return all(a in {"", b} or b == "" for a, b in pairs)


def tuned(
    scores: Mapping[Level, Score],
    rule: str,
    required: Score,
    chosen: Callable[[int], bool] = lambda _: True,
    within: float = np.inf,
) -> Level:
    """Return the level (a key of ``scores``) of ``rule`` with the fewest pages that detects as much as is required.

    Counted are faults whose own rule this is and that began when ``chosen`` holds, and the rule's pages then; detected
    is what was told within so many blind times. Where no level detects as much, the one that detects the most. Of
    equals the highest.
    """

    def detected(each: Score) -> int:
        own = [o for o in each.outcomes if FAMILY[o.case.fault.kind][0] == rule and chosen(o.case.fault.begin)]
        return sum(o.minutes is not None and o.of_budget <= within for o in own)

    def pages(each: Score) -> int:
        return sum(page.rule == rule and chosen(page.minute) for page in each.run.pages)

    most = max(detected(each) for each in scores.values())
    enough = min(detected(required), most)
    good = {level: pages(each) for level, each in scores.items() if detected(each) >= enough}
    return max(level for level, found in good.items() if found == min(good.values()))


def tuned_by_clock(
    scores: Mapping[Level, Score], rule: str, required: Score, within: float = np.inf
) -> tuple[Level, Level]:
    """Return the levels for day and night."""
    night = tuned(scores, rule, required, lambda minute: not is_day(minute), within)
    return tuned(scores, rule, required, is_day, within), night


def bootstrap(
    scores: Sequence[Score], statistic: Callable[[Sequence[Floats]], float], draws: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """Return the 90 % interval of a statistic of several systems' sums over days; the same days are drawn for all."""
    rng = np.random.default_rng(seed)
    days = len(scores[0].by_day)
    found = []
    for _ in range(draws):
        chosen = rng.integers(days, size=days)
        found.append(statistic([each.by_day[chosen].sum(axis=0) for each in scores]))
    low, high = np.nanquantile(found, [0.05, 0.95])
    return float(low), float(high)


def _share(given: Sequence[bool]) -> float:
    return sum(given) / len(given) if given else np.nan


def _quantiles(given: Sequence[float]) -> tuple[float, float]:
    if not given:
        return np.nan, np.nan
    middle, late = np.quantile(given, [0.5, 0.95], method="higher")
    return float(middle), float(late)
