"""How long the desk can afford not to see: the threshold that follows from exposure instead of a constant.

Until what is held can be sold, its price wanders by ``k E sigma sqrt(t)``. Of the loss budget B of one incident, the
exit itself costs C. The longest tolerable blindness is ``t_max = ((B - C) / (k E sigma))^2``. One formula covers the
night: less volatility lengthens it, a thinner book shortens it, a flat book silences it.

Belongs here: the arithmetic. Doesn't: which positions and markets (``situation``), and what a rule does with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from research_to_prod.operations.alerting.settings import Blindness

DEPTH_BAND = 1e-3
"""Depth is what the book holds within 10 basis points of mid."""


@dataclass(frozen=True)
class Stake:
    """One position and what its market allows.

    Parameters
    ----------
    value
        Absolute net exposure, quote currency.
    volatility
        Standard deviation of the return for the square root of a second: the larger of the hour's and the live one.
    half_spread
        Fraction of price.
    depth
        Quote currency within `DEPTH_BAND` of mid.
    hour_volume
        Quote currency expected to trade in this hour.
    """

    value: float
    volatility: float
    half_spread: float
    depth: float
    hour_volume: float


@dataclass(frozen=True)
class BlindTime:
    """The longest tolerable blindness in seconds; ``reduce_first``: even seeing, the exit costs the whole budget."""

    seconds: float
    exit_cost: float
    reduce_first: bool


def exit_cost(stake: Stake) -> float:
    """Return what selling at once costs, quote currency: the half spread, and the walk through a linear book.

    The whole position pays the price at the walk's end, ``10 bp * E / depth``: twice the average of a linear walk,
    because books thin out while one sells into them.
    """
    return stake.value * (stake.half_spread + DEPTH_BAND * stake.value / stake.depth) if stake.value else 0.0


def blind_time(stakes: Iterable[Stake], budget: float, terms: Blindness) -> BlindTime:
    """Return the blind time of all ``stakes`` together, within the policy's shortest and longest.

    Their deviations add up, as if all moved together: when a desk is blind, they do.

    Parameters
    ----------
    budget
        Loss that one operational incident may cost, quote currency.
    """
    given = [each for each in stakes if each.value]
    cost = sum(exit_cost(each) for each in given)
    wander = terms.deviations.value * sum(each.value * each.volatility for each in given)
    shortest, longest = terms.shortest.value, terms.longest.value
    if budget <= cost:
        return BlindTime(shortest, cost, reduce_first=True)
    # Compared before dividing: a calm or flat book has no finite limit.
    if budget - cost >= wander * longest**0.5:
        return BlindTime(longest, cost, reduce_first=False)
    return BlindTime(max(shortest, ((budget - cost) / wander) ** 2), cost, reduce_first=False)


def hours_to_unwind(stakes: Iterable[Stake], terms: Blindness) -> float:
    """Return the hours until the slowest of ``stakes`` is sold at the policy's share of this hour's volume."""
    return max(
        (each.value / (terms.participation.value * each.hour_volume) for each in stakes if each.value), default=0
    )
