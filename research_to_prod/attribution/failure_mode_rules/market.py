"""Failure modes of the market: volatility, the book, forced orders, prices that come apart.

Belongs here: rules on what everybody could see. Doesn't: the venue (``venue``), what the desk did (``own``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from research_to_prod.attribution.failure_mode_policy import (
    BasisBlowOut,
    FundingSqueeze,
    LiquidationCascade,
    LiquidityVacuum,
    StablecoinDepeg,
    VolatilityShock,
)
from research_to_prod.attribution.failure_mode_rules.case import (
    DAY,
    HOUR,
    SECOND,
    Liquidations,
    MarketBars,
    Samples,
    Sight,
    Span,
    lasting,
    reached,
    unseen,
    usual,
)
from research_to_prod.market_data.liquidity import observe
from research_to_prod.market_data.series import Floats, Integers

_FEWEST_HISTORY = 100  # samples of the basis that its deviation is measured on


def volatility_shock(window: Span, limits: VolatilityShock, seen: float, bars: MarketBars, profile: pa.Table) -> Sight:
    """For ``lasting`` of some ``within`` bars have ``ratio`` times their hour's usual volatility, and ``floor``.

    Volatility is the range of the bar for the square root of its length, as in the liquidity profile, whose median is
    the usual one. A bar whose usual volatility is unknown, or that is missing, is not hot. A bar as long as ``lasting``
    counts alone: its volatility is that of all of it.
    """
    start, end = window
    length = bars.length // timedelta(microseconds=1)
    measured = observe(bars.rows, bars.length)["volatility"]
    inside = (measured.ts >= start) & (measured.ts < end)
    at = measured.ts[inside]
    volatility = np.exp(measured.logs[inside])
    ratio = volatility / usual(profile, "volatility", at)
    excess = np.nan_to_num(np.minimum(ratio / limits.ratio.value, volatility / limits.floor.value))
    known = at[np.isfinite(ratio)]
    longest = max(limits.longest_bucket.value, length / SECOND)
    doubt = unseen(known, window, longest, seen)
    if length > limits.longest_bucket.value * SECOND:
        doubt = f"bars of {length // SECOND} s are too coarse to exclude a shock of minutes"
    if not len(known):
        return Sight([], None, doubt=doubt)

    slots = (at - at[0]) // length
    # Times, not bars: three bars of five were minutes of a minute's bars, and five hours of an hour's.
    least = max(1, math.ceil(limits.lasting.value * SECOND / length))
    width = max(least, int(limits.within.value * SECOND // length))
    filled = np.zeros(int(slots[-1]) + 2 * width - 1)
    filled[slots + width - 1] = excess
    groups = np.lib.stride_tricks.sliding_window_view(filled, width)
    # A group is as severe as the weakest of the bars that it takes.
    severe = np.sort(groups, axis=1)[:, -least]
    spans = []
    for group in np.flatnonzero(severe > 1):
        hot = np.flatnonzero(groups[group] > 1) + group - (width - 1)
        spans.append((int(at[0] + hot[0] * length), int(at[0] + (hot[-1] + 1) * length)))
    hottest = int(np.argmax(excess))
    evidence = {"hottest_times_usual": float(ratio[hottest]), "hottest_volatility": float(volatility[hottest])}
    return Sight(spans, float(severe.max()), evidence | {"bars": float(len(known))}, doubt)


def liquidity_vacuum(
    window: Span, limits: LiquidityVacuum, seen: float, spread: Samples, depth: Samples, profile: pa.Table
) -> Sight:
    """For ``lasting`` the depth is below ``depth``, or the spread above ``spread``, times what is usual at the hour.

    Both sides are observed: a depth estimated from bars, live or in the profile, is no book.
    """
    start, end = window
    gap = round(limits.longest_sample.value * SECOND)
    spans: list[Span] = []
    evidence: dict[str, float] = {}
    severities, doubts = [], []
    for name, samples, sign in (("depth", depth, -1), ("spread", spread, 1)):
        limit = getattr(limits, name).value
        own = samples.within(start, end)
        ratio = own.value / usual(profile, name, own.at, observed=True)
        known = np.isfinite(ratio)
        held = known & (sign * (ratio - limit) > 0)
        spans += lasting(own.at, held, limits.lasting.value, gap)
        doubt = unseen(own.at[known], window, limits.longest_sample.value, seen)
        doubts += [f"{name}: {doubt}"] if doubt else []
        if known.any():
            worst = float((sign * ratio[known]).max() * sign)
            evidence[f"{name}_of_usual"] = worst
            severities.append((limit / max(worst, 1e-9)) if sign < 0 else worst / limit)
    return Sight(spans, reached(spans, max(severities, default=math.nan)), evidence, "; ".join(doubts))


def liquidation_cascade(
    window: Span, limits: LiquidationCascade, liquidations: Liquidations, open_interest: Samples
) -> Sight:
    """Liquidations ``within`` reach ``ratio`` times their mean before, on one side, while open interest falls.

    One side has at least ``one_sided`` of them; open interest falls by ``open_interest`` in ``open_interest_within``,
    sampled no coarser than a quarter of that.
    """
    start, end = window
    within, reach = (round(each.value * SECOND) for each in (limits.within, limits.open_interest_within))
    total = liquidations.longs + liquidations.shorts
    before = liquidations.at < start
    history = start - int(liquidations.at[0]) if len(liquidations.at) else 0
    if history < limits.history.value * DAY or not total[before].sum() > 0:
        return Sight(
            (), None, doubt=f"{history / DAY:.1f} days of liquidations before, {limits.history.value:g} needed"
        )
    mean = float(total[before].sum()) * within / history

    inside = np.flatnonzero((liquidations.at >= start) & (liquidations.at < end))
    at = liquidations.at[inside]
    sums = [_in_window(liquidations.at, side, at, within) for side in (liquidations.longs, liquidations.shorts)]
    both = sums[0] + sums[1]
    ratio, one_sided = both / mean, np.maximum(*sums) / np.where(both > 0, both, np.nan)
    interest = [open_interest.as_of(each, reach // 4) for each in (at, at - reach)]
    fall = 1 - interest[0] / interest[1]
    large = (ratio > limits.ratio.value) & (one_sided >= limits.one_sided.value)
    held = large & (fall >= limits.open_interest.value)
    doubt = ""
    if (large & ~np.isfinite(fall)).any():
        doubt = "liquidations as in a cascade, but open interest is sampled too coarsely or not at all"
    evidence, severity = {"mean": mean}, 0.0
    if len(at):
        worst = int(np.argmax(np.where(held, ratio, 0) if held.any() else ratio))
        named = {"times_mean": ratio, "one_sided": one_sided, "open_interest_fall": fall}
        evidence |= {name: float(each[worst]) for name, each in named.items() if np.isfinite(each[worst])}
        severity = float(ratio[worst]) / limits.ratio.value
    spans = [(max(start, int(t) - within), int(t) + 1) for t in at[held]]
    return Sight(spans, reached(spans, severity), evidence, doubt)


def funding_extreme(window: Span, limits: FundingSqueeze, seen: float, funding: Samples) -> Sight:
    """A payment, scaled to eight hours, is beyond its ``quantile`` over the half year before and beyond ``floor``.

    In magnitude. The window of the finding is the interval that was paid for.
    """
    start, end = window
    at, interval = funding.at, np.diff(funding.at)
    if not len(at):
        return Sight([], 0.0, {"payments": 0.0})
    if len(at) < 2:
        return Sight([], None, doubt="fewer than two payments")
    # Venues stamp payments up to milliseconds off the hour, and a hole is no longer interval.
    hours = np.maximum(1, np.rint(np.concatenate([interval[:1], interval]) / HOUR))
    pause = float(np.median(hours))
    scaled = np.abs(funding.value) * 8 / np.minimum(hours, pause)
    past = (at < start) & (at >= start - 182 * DAY)
    inside = (at >= start) & (at < end)
    known = (start - int(at[past][0])) / DAY if past.any() else 0.0
    doubt = unseen(at, window, pause * 3600 + 60, seen)
    if known < limits.history.value:
        return Sight([], None, doubt=f"{known:.0f} days of funding before, {limits.history.value:g} are needed")
    extreme = max(float(np.quantile(scaled[past], limits.quantile.value)), limits.floor.value)
    held = inside & (scaled > extreme)
    spans = [(max(start, int(at[i] - hours[i] * HOUR)), int(at[i]) + 1) for i in np.flatnonzero(held)]
    worst = float(scaled[inside].max(initial=0.0))
    return Sight(spans, worst / extreme, {"extreme": extreme, "largest": worst, "payments": float(inside.sum())}, doubt)


def carry_loss(window: Span, limits: FundingSqueeze, carry_share: float) -> Sight:
    """Funding and borrowing are at least ``loss`` of the loss of the episode."""
    limit = limits.loss.value
    held = carry_share >= limit
    return Sight([window] if held else [], carry_share / limit, {"carry_share": carry_share})


def basis_blow_out(window: Span, limits: BasisBlowOut, seen: float, basis: Samples) -> Sight:
    """For ``lasting`` the basis is ``deviations`` beyond its median of the ``history`` before, and ``floor`` from it.

    Deviations are median absolute ones.
    """
    start, _ = window
    before = basis.within(start - round(limits.history.value) * DAY, start)
    own = basis.within(*window)
    if len(before.at) < _FEWEST_HISTORY or before.at[-1] - before.at[0] < 0.9 * limits.history.value * DAY:
        return Sight([], None, doubt=f"fewer than {limits.history.value:g} days of the basis before the window")
    middle = float(np.median(before.value))
    deviation = float(np.median(np.abs(before.value - middle)))
    extreme = max(limits.deviations.value * deviation, limits.floor.value)
    sight = _apart(Samples(own.at, np.abs(own.value - middle)), extreme, limits, window, seen)
    return replace(sight, evidence={**sight.evidence, "usual": middle, "extreme": extreme})


def stablecoin_depeg(
    window: Span, limits: StablecoinDepeg, seen: float, stablecoins: Mapping[str, Mapping[str, Samples]]
) -> Sight:
    """For ``lasting`` a stablecoin is ``deviation`` from a dollar, on one venue or more.

    ``venues`` says on how many at once: from the policy's number on it is the coin, below that a venue's book.
    """
    spans: list[Span] = []
    evidence: dict[str, float] = {}
    doubts, severities = [], []
    for coin, venues in sorted(stablecoins.items()):
        apart = []
        for venue, samples in sorted(venues.items()):
            own = samples.within(*window)
            sight = _apart(Samples(own.at, np.abs(own.value - 1)), limits.deviation.value, limits, window, seen)
            apart.append(bool(sight.spans))
            spans += sight.spans
            evidence |= {f"{coin}_{venue}_{name}": each for name, each in sight.evidence.items()}
            doubts += [f"{coin} on {venue}: {sight.doubt}"] if sight.doubt else []
            severities += [sight.severity] if sight.severity is not None else []
        evidence[f"{coin}_venues_apart"] = float(sum(apart))
        evidence[f"{coin}_is_global"] = float(sum(apart) >= limits.venues.value)
    doubt = "; ".join(doubts) if stablecoins else "no stablecoin was watched"
    return Sight(spans, max(severities, default=None), evidence, doubt)


def _apart(own: Samples, extreme: float, limits: BasisBlowOut | StablecoinDepeg, window: Span, seen: float) -> Sight:
    """Return when a deviation is beyond ``extreme`` for long enough; coarse samples can prove that, but no absence."""
    longest = limits.longest_sample.value
    step = int(np.median(np.diff(own.at))) if len(own.at) > 1 else 0
    spans = lasting(own.at, own.value > extreme, limits.lasting.value, max(round(longest * SECOND), 3 * step // 2))
    doubt = unseen(own.at, window, longest, seen)
    if not len(own.at):
        return Sight([], None, doubt=doubt)
    worst = float(own.value.max())
    return Sight(spans, reached(spans, worst / extreme), {"largest": worst}, doubt)


def _in_window(at: Integers, amount: Floats, ends: Integers, length: int) -> Floats:
    """Return what amounts in the ``length`` up to and including each of the ``ends`` add up to."""
    sums = np.concatenate([[0.0], np.cumsum(amount)])
    first, last = np.searchsorted(at, ends - length, side="right"), np.searchsorted(at, ends, side="right")
    return np.asarray(sums[last] - sums[first])
