"""What a desk has with a plain file of thresholds: Prometheus's rules, Alertmanager's messages, nothing of ours.

The shipped rules' metrics, with a level and a time to last (``for``) for each rule. No minimum counts and no chance, no
exposure, regime or calendar, and no rule speaks for another. Belongs here: these systems. Doesn't: the baselines that
share our machinery (``_alert_systems``), and whether a page was right (``_alert_scores``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks._alert_surroundings import TUNED, WATCHED, Surroundings
from benchmarks._alert_systems import RULES, SHIPPED, Page, Run, is_day, page_at, without_market
from benchmarks._alert_weeks import Bools, Floats, Measured
from research_to_prod.operations.alerting.rules import Bound, Condition, NoData, Rule
from research_to_prod.operations.alerting.situation import Subject

GROUP_INTERVAL = 5
"""Minutes between two looks of Alertmanager at a group, its default."""


class Tuning(NamedTuple):
    """How training chooses a plain baseline's settings.

    Parameters
    ----------
    free
        Whether it chooses ``for``; else that is the shipped rule's.
    within
        How many blind times a fault may take until it counts as detected.
    """

    free: bool
    within: float


TUNINGS = {
    "level and `for`, to as many faults detected": Tuning(free=True, within=math.inf),
    "level and `for`, to as many told within the blind time": Tuning(free=True, within=1),
    "the level alone, `for` as shipped, to as many faults detected": Tuning(free=False, within=math.inf),
}
"""The first is that of the targets and of every table but one."""


class Setting(NamedTuple):
    """What training chooses: times the level of normal hours, or the limit of a z-score; seconds of ``for``."""

    level: float
    lasting: float


@dataclass(frozen=True)
class Plain:
    """One file of thresholds; ``settings`` by rule, for day and night; ``scores``: of z-scores."""

    name: str
    settings: Mapping[str, tuple[Setting, Setting]]
    scores: bool = False

    def run(self, around: Surroundings, begin: int, end: int) -> Run:
        """Let it watch from minute ``begin`` to before ``end``."""
        day = np.array([is_day(minute) for minute in range(begin, end)])
        pages: list[Page] = []
        flaps = by_rule = 0
        for rule in (SHIPPED.by_id[name] for name in RULES):
            together = np.zeros(end - begin, bool)
            for subject in WATCHED[rule.per]:
                firing = self._firing(around, rule, subject, slice(begin, end), day)
                together |= firing
                told = notified(firing)
                flaps += sum(bool(firing[max(0, minute - 60) : minute].any()) for minute in told)
                pages += [page_at(around, begin + minute, rule.id, subject, f"{rule.id} {subject}") for minute in told]
            by_rule += len(notified(together))
        pages.sort(key=lambda page: page.minute)
        return Run(tuple(pages), flaps, end - begin, by_rule)

    def _firing(self, around: Surroundings, rule: Rule, subject: Subject, span: slice, day: Bools) -> Bools:
        by_day, by_night = self.settings[rule.id]
        times, lasting = (np.where(day, *pair) for pair in zip(by_day, by_night, strict=True))
        values = around.z_values if self.scores else around.world.values
        paging = [each for each in without_market(rule.any) if (each.severity or rule.severity).pages]
        found = np.zeros(len(day), bool)
        for condition in paging:
            broken, calm = self._judged(condition, subject, values, around.world.counts, span, times)
            found |= firing_of(broken, calm, lasting, rule.clear_after)
        if rule.no_data is NoData.FIRES:
            missing = np.any([np.isnan(values[b.metric, subject][span]) for c in paging for b in c.all], axis=0)
            # What is missing for the first time was seen a minute ago.
            found |= firing_of(missing, ~missing, np.full(len(day), rule.fresh_for - 60), 0)
        return found

    def _judged(
        self,
        condition: Condition,
        subject: Subject,
        values: Mapping[Measured, Floats],
        counts: Mapping[Measured, Floats],
        span: slice,
        times: Floats,
    ) -> tuple[Bools, Bools]:
        """Return when all bounds are broken, and when one is calm: what isn't measured returns no series."""
        broken, calm = np.ones(len(times), bool), np.zeros(len(times), bool)
        for bound in condition.all:
            key = bound.metric, subject
            value, level = values[key][span], self._level(bound, times)
            there = ~np.isnan(value)
            if key in counts:
                there &= counts[key][span] > 0
            way = 1 if bound.upward else -1
            broken &= there & (way * value >= way * level)
            calm |= ~there | (way * value <= way * bound.clears * level)
        return broken, calm

    def _level(self, bound: Bound, times: Floats) -> Floats:
        normal = (bound.floor or bound.levels).normal
        assert normal is not None
        if bound.metric not in TUNED:
            return np.full(len(times), normal)
        return times if self.scores else normal * times


def shipped_lasting(rule: str) -> float:
    """Return the longest time that a condition of a shipped rule must last, in whole turns."""
    return 60.0 * math.ceil(max(each.lasting for each in SHIPPED.by_id[rule].any) / 60)


def firing_of(broken: Bools, calm: Bools, lasting: Floats, clear_after: float) -> Bools:
    """Return the minutes at which an alert fires: broken for ``lasting``, until calm for ``clear_after`` (seconds).

    In between the two levels nothing begins and nothing ends. ``lasting`` is that of the minute when it began.
    """
    place = np.arange(len(broken))
    calm_for = place - np.maximum.accumulate(np.where(calm, -1, place))
    over = np.flatnonzero(calm_for > math.ceil(clear_after / 60))
    begun, ended = np.flatnonzero(broken), np.flatnonzero(~broken)
    found = np.zeros(len(broken), bool)
    minute = 0
    while (first := _next(begun, minute, len(broken))) < len(broken):
        stops = _next(ended, first, len(broken))
        begins = first + math.ceil(lasting[first] / 60)
        minute = stops
        if begins < stops:
            minute = _next(over, begins, len(broken))
            found[begins:minute] = True
    return found


def notified(firing: Bools) -> list[int]:
    """Return the minutes at which Alertmanager tells of a group that is new to it.

    It looks again every `GROUP_INTERVAL`; once it has found it resolved, the next firing is new. What stops and comes
    back between two looks isn't told again, and neither are repeats counted: who is on call has acknowledged.
    """
    fires = np.flatnonzero(firing)
    found: list[int] = []
    minute = 0
    while (first := _next(fires, minute, len(firing))) < len(firing):
        found.append(first)
        resolved = np.flatnonzero(~firing[first + GROUP_INTERVAL :: GROUP_INTERVAL])
        if not len(resolved):
            break
        minute = first + GROUP_INTERVAL * (int(resolved[0]) + 1)
    return found


def plain_static(settings: Mapping[str, Setting]) -> Plain:
    """Return one level a rule, always."""
    return Plain("plain static", {name: (each, each) for name, each in settings.items()})


def plain_day_and_night(settings: Mapping[str, tuple[Setting, Setting]]) -> Plain:
    """Return a level for 06 to 22 UTC and one for the night."""
    return Plain("plain day and night", settings)


def plain_z(settings: Mapping[str, Setting]) -> Plain:
    """Return one limit a rule, of the robust z-score against this hour of the week."""
    return Plain("plain z", {name: (each, each) for name, each in settings.items()}, scores=True)


def _next(places: np.ndarray[tuple[int], np.dtype[np.intp]], minute: int, none: int) -> int:
    at = int(np.searchsorted(places, minute))
    return int(places[at]) if at < len(places) else none
