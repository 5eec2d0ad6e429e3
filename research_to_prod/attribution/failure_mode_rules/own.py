"""Failure modes of what the desk did: when it traded, how it was filled, whether its edge is still there.

Belongs here: rules on the desk's own records. Doesn't: the account at the venue (``venue``).
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta

import numpy as np
import pyarrow as pa

from research_to_prod.attribution.failure_mode_policy import Crowding, FatFinger, MakerToxicity, ThinHours, TrendWhipsaw
from research_to_prod.attribution.failure_mode_rules.case import (
    HOUR,
    SECOND,
    Fills,
    MarketBars,
    Orders,
    Samples,
    Sight,
    Span,
    moments,
    reached,
    unseen,
    usual,
)
from research_to_prod.gates.statistics import long_run_variance_ratio, normal_mixture_bound, normal_mixture_precision
from research_to_prod.market_data.liquidity import HOURS
from research_to_prod.market_data.series import Floats, Integers, Mask

_FIRST_MONDAY = 96  # hours from 1970-01-01, a Thursday


def thin_hours(window: Span, limits: ThinHours, profile: pa.Table, orders: Orders) -> Sight:
    """Orders in the lowest ``hours`` of the week by usual depth cost more than the model says, beyond chance.

    Their mean excess cost is above 0 by ``deviations`` standard errors. An estimate of depth from bars serves here: it
    only ranks the hours.
    """
    start, end = window
    monday = start // HOUR - (start // HOUR - _FIRST_MONDAY) % HOURS
    depths = usual(profile, "depth", (monday + np.arange(HOURS, dtype=np.int64)) * HOUR)
    if not np.isfinite(depths).all():
        return Sight([], None, doubt=f"the usual depth of {int(np.isfinite(depths).sum())} of {HOURS} hours is known")
    inside = (orders.at >= start) & (orders.at < end) & np.isfinite(orders.excess_cost)
    hour = (orders.at // HOUR - _FIRST_MONDAY) % HOURS
    chosen = inside & (depths[hour] <= np.quantile(depths, limits.hours.value))
    cost = orders.excess_cost[chosen]
    counted = {"orders": float(len(cost))}
    if len(cost) < limits.orders.value:
        return Sight([], None, counted, f"{len(cost)} orders in thin hours, {limits.orders.value:g} are needed")
    error = float(np.std(cost, ddof=1)) / math.sqrt(len(cost))
    above = _over(float(cost.mean()), error)
    spans = [(int(t) // HOUR * HOUR, int(t) // HOUR * HOUR + HOUR) for t in orders.at[chosen]]
    held = above > limits.deviations.value
    evidence = counted | {"excess_bp": float(cost.mean()), "standard_errors": above}
    return Sight(spans if held else [], above / limits.deviations.value, evidence)


def trend_whipsaw(window: Span, limits: TrendWhipsaw, seen: float, bars: MarketBars, fills: Fills) -> Sight:
    """``within`` the time, prices get nowhere, the position changes side ``flips`` times, and those trades lose.

    Nowhere is an efficiency ratio (Kaufman: net move over the sum of moves of the bars) below ``efficiency``.
    """
    start, end = window
    length = bars.length // timedelta(microseconds=1)
    opens = bars.rows["ts"].cast("int64").to_numpy()
    steps = round(limits.within.value * SECOND) // length
    if steps < 2 or len(opens) < steps:
        return Sight([], None, doubt=f"{len(opens)} bars of {length // SECOND} s don't fill {limits.within.value:g} s")
    doubt = unseen(opens, window, length / SECOND, seen)
    # From the first open on, close by close.
    at = np.concatenate([opens[:1], opens + length])
    logs = np.log(np.concatenate([bars.rows["open"].to_numpy()[:1], bars.rows["close"].to_numpy()]))
    moves = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(logs)))])
    path = moves[steps:] - moves[:-steps]
    efficiency = np.divide(np.abs(logs[steps:] - logs[:-steps]), path, out=np.ones(len(path)), where=path > 0)
    ends, starts = at[steps:], at[:-steps]
    whole = ends - starts == steps * length
    flips, gains = _flips(fills)
    first, last = np.searchsorted(flips, starts, side="right"), np.searchsorted(flips, ends, side="right")
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    inside = whole & (starts >= start) & (ends <= end)
    lost = sums[first] - sums[last]
    held = inside & (efficiency < limits.efficiency.value) & (last - first >= limits.flips.value) & (lost > 0)
    if not inside.any():
        return Sight([], None, doubt=f"no {limits.within.value:g} s of the window are covered by bars without a gap")
    most = int((last - first)[inside].max())
    evidence = {
        "most_flips": float(most),
        "least_efficiency": float(efficiency[inside].min()),
        "lost_in_flips": float(lost[held].max() if held.any() else lost[inside].max()),
    }
    spans = [(int(starts[i]), int(ends[i])) for i in np.flatnonzero(held)]
    return Sight(spans, reached(spans, most / limits.flips.value), evidence, doubt)


def far_through_the_touch(window: Span, limits: FatFinger, seen: float, fills: Fills) -> Sight:
    """A fill lies ``through`` basis points and ``spreads`` spreads beyond the touch."""
    start, end = window
    inside = (fills.at >= start) & (fills.at < end)
    touch = np.where(fills.side > 0, fills.ask, fills.bid)
    beyond = fills.side * (fills.price - touch)
    known = inside & np.isfinite(beyond)
    share = float(known.sum() / inside.sum()) if inside.any() else 1.0
    doubt = "" if share >= seen else f"the touch is known for {share:.0%} of the fills"
    if not known.any():
        return Sight([], None, {"fills": float(inside.sum())}, doubt)
    points, spread = 1e4 * beyond[known] / touch[known], (fills.ask - fills.bid)[known]
    held = (points > limits.through.value) & (beyond[known] > limits.spreads.value * spread)
    worst = float(points[held].max() if held.any() else points.max())
    spans = moments(fills.at[known][held])
    return Sight(spans, reached(spans, worst / limits.through.value), {"through_bp": worst}, doubt)


def outsized_order(window: Span, limits: FatFinger, seen: float, orders: Orders) -> Sight:
    """An order is ``size`` times what its decision wanted."""
    start, end = window
    inside = (orders.at >= start) & (orders.at < end)
    times = orders.quantity[inside] / orders.wanted[inside]
    known = np.isfinite(times)
    share = float(known.mean()) if len(known) else 1.0
    doubt = "" if share >= seen else f"what was decided is known of {share:.0%} of the orders, {seen:.0%} is needed"
    spans = moments(orders.at[inside][known & (times > limits.size.value)])
    worst = float(times[known].max(initial=0.0))
    return Sight(spans, worst / limits.size.value, {"times_decided": worst}, doubt)


def repeated_order(window: Span, orders: Orders) -> Sight:
    """Two orders carry one id of the desk: one of them was sent by mistake."""
    start, end = window
    inside = (orders.at >= start) & (orders.at < end)
    counts = Counter(orders.client_id.tolist())
    again = np.array([counts[each] > 1 for each in orders.client_id.tolist()], bool)
    at = orders.at[inside & again]
    repeated = sum(count - 1 for count in counts.values())
    return Sight(moments(at), float(bool(len(at))), {"repeated": float(repeated)})


def maker_toxicity(window: Span, limits: MakerToxicity, markouts: Samples) -> Sight:
    """After ``fills`` maker fills the sum of their markouts lies below what chance lets it reach at any look.

    Robbins' normal mixture boundary with ``false_alarms``, one-sided; fills near each other are counted as the less
    that their long-run variance makes them.
    """
    own = markouts.within(*window)
    n = round(limits.fills.value)
    if len(own.at) < n:
        return Sight([], None, {"fills": float(len(own.at))}, f"{len(own.at)} maker fills, {n} are needed")
    held, worst = _sinks(own.value, n, limits.false_alarms.value)
    evidence = {"fills": float(len(own.at)), "mean_markout_bp": float(own.value.mean())}
    return Sight(_from_first(own.at, held), worst, evidence)


def decay_with_early_drift(window: Span, limits: Crowding, edge: Samples, early_drift: Samples) -> Sight:
    """The edge sinks below its boundary, and prices move our way before we decide more than they used to."""
    return _decay(window, limits, edge, early_drift, 1, "early_drift")


def decay_with_shorter_life(window: Span, limits: Crowding, edge: Samples, half_life: Samples) -> Sight:
    """The edge sinks below its boundary, and alpha decays faster after decisions than it used to."""
    return _decay(window, limits, edge, half_life, -1, "half_life")


def _decay(window: Span, limits: Crowding, edge: Samples, other: Samples, sign: int, name: str) -> Sight:
    """Return whether the edge sinks, as in `maker_toxicity`, while the other half's mean moved by ``deviations``."""
    edge, other = edge.within(*window), other.within(*window)
    n = round(limits.days.value)
    if len(edge.at) < n or len(other.at) < n:
        counts = f"{len(edge.at)} days and {len(other.at)} values of {name}"
        return Sight([], None, doubt=f"{counts}, {n} are needed of both")
    held, worst = _sinks(edge.value, n, limits.false_alarms.value)
    early, late = np.array_split(other.value, 2)
    error = math.sqrt(np.var(early, ddof=1) / len(early) + np.var(late, ddof=1) / len(late))
    moved = _over(sign * float(late.mean() - early.mean()), error)
    evidence = {"edge_mean": float(edge.value.mean()), f"{name}_moved_standard_errors": moved}
    spans = _from_first(edge.at, held) if moved > limits.deviations.value else []
    return Sight(spans, reached(spans, worst), evidence)


def _sinks(values: Floats, least: int, false_alarms: float) -> tuple[Mask, float]:
    """Return after which of (n,) values their sum is below the boundary, and the furthest it went, in boundaries."""
    deviation = float(np.std(values, ddof=1)) * math.sqrt(max(1.0, long_run_variance_ratio(values)))
    if not deviation > 0:
        down = bool(values[0] < 0)
        return np.full(len(values), down), math.inf if down else 0.0
    sums = np.cumsum(values) / deviation
    variance = np.arange(1.0, len(values) + 1)
    # The boundary is two-sided; half of its alarms are rises.
    alpha = 2 * false_alarms
    bound = normal_mixture_bound(variance, alpha, normal_mixture_precision(least, alpha))
    depth = -sums / bound
    depth[: least - 1] = 0.0
    return np.asarray(depth > 1), max(0.0, float(depth.max()))


def _from_first(at: Integers, held: Mask) -> list[Span]:
    """Return the span from the first time that holds to the last sample."""
    return [(int(at[np.argmax(held)]), int(at[-1]) + 1)] if held.any() else []


def _flips(fills: Fills) -> tuple[Integers, Floats]:
    """Return when the position changed side, and what the trade that ended there had earned, net of fees."""
    position = np.cumsum(fills.side * fills.quantity)
    cash = -np.cumsum(fills.side * fills.quantity * fills.price + fills.fee / 1e4 * fills.quantity * fills.price)
    worth = cash + position * fills.price
    sides = np.sign(np.where(np.abs(position) > 1e-12 * np.abs(position).max(initial=1.0), position, 0.0))
    flat_filled = np.maximum.accumulate(np.where(sides != 0, np.arange(len(sides)), 0))
    carried = sides[flat_filled] if len(sides) else sides
    at = np.flatnonzero(carried[1:] * carried[:-1] < 0) + 1
    gains = np.diff(np.concatenate([[0.0], worth[at]]))
    return fills.at[at], gains


def _over(mean: float, error: float) -> float:
    """Return a mean in standard errors; without any spread it is beyond every limit, on its side."""
    return mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
