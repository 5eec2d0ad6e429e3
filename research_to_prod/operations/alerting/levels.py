"""What a rule's declaration comes to in a situation: the level of a bound, for how long, and beyond which chance.

Belongs here: these three. Doesn't: what follows when a level is reached (``evaluation``).
"""

from __future__ import annotations

import math

from research_to_prod.operations.alerting.rules import Basis, Bound, Chance, Condition, Rule
from research_to_prod.operations.alerting.settings import Exposed
from research_to_prod.operations.alerting.situation import Situation


def threshold_of(rule: Rule, bound: Bound, usual: float | None, situation: Situation) -> float | None:
    """Return the level of ``bound`` in ``situation``, in the metric's unit; None where it can't be told."""
    level = bound.levels.at(situation.regime)
    if level is None:
        return None
    if bound.of is Basis.BUDGET:
        level *= situation.budget
    elif bound.of is Basis.USUAL:
        floor = None if bound.floor is None else bound.floor.at(situation.regime)
        usual = usual if usual is not None and math.isfinite(usual) else None
        if usual is None and floor is None:
            return None
        level = max(level * (usual or 0.0), -math.inf if floor is None else floor)
    if bound.times_depth:
        if situation.depth_share is None:
            return None
        level *= min(1.0, situation.depth_share)
    for adjust in rule.adjust:
        if any(each in situation.events for each in adjust.events):
            # Stricter is nearer: lower for what must stay below, higher for a positive level that must be kept.
            level = level / adjust.times if not bound.upward and level > 0 else level * adjust.times
    if bound.within_blind_time and situation.blind_seconds is not None and situation.exposed is not Exposed.X0:
        level = min(level, situation.blind_seconds)
    return level


def lasting_of(condition: Condition, situation: Situation) -> float:
    """Return the seconds that ``condition`` must last: at most half of the blind time, the other half is people's."""
    if situation.blind_seconds is None or situation.exposed is Exposed.X0:
        return condition.lasting
    return min(condition.lasting, situation.blind_seconds / 2)


def beyond_chance(chance: Chance, bad: float, events: int) -> bool:
    """Whether ``bad`` (a share) or more of so many events come by chance more rarely than once in 1 / ``odds`` looks.

    The upper tail of the binomial distribution, summed from below. A share above one, which only a wrong reading has,
    counts as all: one that ends the alerter's turn would hide every other finding.
    """
    good = math.log1p(-chance.share)
    fewer = (
        math.exp(
            math.lgamma(events + 1)
            - math.lgamma(k + 1)
            - math.lgamma(events - k + 1)
            + k * math.log(chance.share)
            + (events - k) * good
        )
        for k in range(round(min(bad, 1.0) * events))
    )
    return 1 - math.fsum(fewer) <= chance.odds
