"""What the book may hold and could lose: limits, shortfall over the next hours, distance to liquidation, funding due.

Belongs here: the arithmetic on numbers that are known. Doesn't: where they come from, and what is shown where one is
not known (``reports.compile_risk_posture``); how long blindness is tolerable (``alerting.blind_time``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist

from research_to_prod.promotion.manifest import Manifest


@dataclass(frozen=True)
class Contract:
    """A position in a contract: absolute value in quote currency, and the equity that the venue demands of it."""

    value: float
    maintenance_margin: float


@dataclass(frozen=True)
class FundingDue:
    """The next payment of a perpetual: when, at which rate (the last one paid), and what the book receives of it."""

    due_at: datetime
    rate: float
    received: float


def position_limit(manifest: Manifest, strategy: str) -> tuple[float | None, str]:
    """Return the limit on a strategy's positions, and why it is that: what the manifest does not list holds nothing."""
    for each in manifest.entries:
        if each.candidate == strategy:
            limit = each.limits.max_position_value
            return (None, "the manifest sets no limit on its positions") if limit is None else (float(limit), "")
    return 0.0, "the production manifest lets it hold nothing"


def expected_shortfall(stakes: Sequence[tuple[float, Sequence[float]]], level: float) -> float:
    """Return the mean loss of the worst ``1 - level`` of outcomes, in the stakes' currency.

    Deviations add up as if no position offset another: an upper bound for any dependence, because expected shortfall
    is subadditive (Acerbi and Tasche 2002). Of a normal tail: ``sigma * phi(z) / (1 - level)`` (McNeil, Frey and
    Embrechts 2015, example 2.14); crypto's tails are fatter, so that it is a figure for usual hours and not a bound.

    Parameters
    ----------
    stakes
        Absolute value of each position and the deviations of its returns in each hour ahead, as fractions.
    """
    normal = NormalDist()
    deviation = sum(value * math.sqrt(sum(each * each for each in hours)) for value, hours in stakes)
    return deviation * normal.pdf(normal.inv_cdf(level)) / (1 - level)


def liquidation_distance(equity: float, contracts: Sequence[Contract]) -> float | None:
    """Return the adverse move of all ``contracts`` at once after which the venue liquidates; None without any.

    As a fraction of price, 0 where it would already. Cross margin, and each position losing and growing as a short
    does: ``equity - d V = m V (1 + d)``, so that a long's true distance is no shorter.
    """
    value = sum(each.value for each in contracts)
    margin = sum(each.value * each.maintenance_margin for each in contracts)
    return max(0.0, (equity - margin) / (value + margin)) if value else None


def funding_due(net: float, payments: Sequence[tuple[datetime, float]], now: datetime) -> FundingDue | None:
    """Return the next payment after ``now`` on a position of ``net`` quote currency.

    Parameters
    ----------
    payments
        Times and rates of the market's payments so far, in order; the distance of the last two is the interval. Times
        are rounded to minutes: venues stamp payments some milliseconds off.

    Returns
    -------
    FundingDue
        None where fewer than two payments are known: the interval then isn't either.
    """
    if len(payments) < 2:
        return None
    (before, _), (last, rate) = payments[-2:]
    start = _whole_minute(last)
    interval = start - _whole_minute(before)
    if interval <= timedelta(0):
        return None
    return FundingDue(start + ((now - start) // interval + 1) * interval, rate, -net * rate)


def _whole_minute(at: datetime) -> datetime:
    return (at + timedelta(seconds=30)).replace(second=0, microsecond=0)
