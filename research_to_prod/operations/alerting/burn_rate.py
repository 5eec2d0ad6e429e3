"""How fast the budget of an objective burns: for shares of events that must be good.

Google's multi-window rule: an objective burns when both the long window and its short end do, so that it fires soon,
and stops soon after. A ratio of a handful of events says nothing, so below a floor their number counts.

Belongs here: the reading of one objective. Doesn't: what it means (the rule that uses its metric).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.settings import Objective
from research_to_prod.operations.alerting.situation import Subject


@dataclass(frozen=True)
class Tally:
    """Events of one window: how many, and how many of them were bad."""

    events: int
    bad: int

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.events:
            raise ValueError(f"{self.bad} bad of {self.events} events")


def burn_reading(objective: Objective, tallies: Mapping[float, Tally], subject: Subject, at: datetime) -> Observation:
    """Return how much of the tolerated speed is reached: 1 and more is a burn.

    Parameters
    ----------
    tallies
        By length of window in seconds, all ending at ``at``.

    Returns
    -------
    Observation
        The highest over the pairs of windows of ``min(burn(long), burn(short)) / factor``, where ``burn`` is the share
        of bad events over the share that the target tolerates. With fewer than ``fewest_events`` in a long window,
        there the bad events over ``bad_events`` that many are too many. The value is None when a window is missing.
    """
    speeds: list[float] = []
    events = 0
    for window in objective.windows:
        long, short = tallies.get(window.long_seconds), tallies.get(window.short_seconds)
        if long is None or short is None:
            return Observation(objective.metric, subject, None, at)
        events = max(events, long.events)
        if long.events < objective.fewest_events:
            speeds.append(long.bad / objective.bad_events)
        else:
            speeds.append(min(_burn(objective, long), _burn(objective, short)) / window.factor)
    return Observation(objective.metric, subject, max(speeds), at, count=events)


def _burn(objective: Objective, tally: Tally) -> float:
    return 0.0 if tally.events == 0 else tally.bad / tally.events / (1 - objective.target)
