"""Failure modes of the venue, and of the desk's account there.

Belongs here: rules on whether it traded, with us, and at which terms. Doesn't: the market's prices (``market``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from research_to_prod.attribution.failure_mode_policy import FatFinger, FeeTierChange, ForcedPosition, VenueOutage
from research_to_prod.attribution.failure_mode_rules.case import (
    SECOND,
    FeeSchedule,
    Fills,
    Orders,
    Samples,
    Sight,
    Span,
    Window,
    moments,
    reached,
)
from research_to_prod.market_data.series import Integers, micros


def venue_silence(
    window: Span, limits: VenueOutage, updates: Integers, updates_elsewhere: Mapping[str, Integers]
) -> Sight:
    """The venue sends nothing for longer than ``silence`` while another sends ``updates_elsewhere`` or more."""
    start, end = window
    own = np.unique(updates[(updates >= start) & (updates < end)])
    edges = np.concatenate([[start], own, [end]])
    longest = float(np.diff(edges).max()) / SECOND
    spans, most = [], 0
    elsewhere = [np.sort(each) for each in updates_elsewhere.values()]
    for i in np.flatnonzero(np.diff(edges) > limits.silence.value * SECOND):
        silence = (int(edges[i]), int(edges[i + 1]))
        counts = [int(np.diff(np.searchsorted(each, silence))[0]) for each in elsewhere]
        most = max([most, *counts])
        if max(counts, default=0) >= limits.updates_elsewhere.value:
            spans.append(silence)
    alive = sum(int(((each >= start) & (each < end)).sum()) for each in elsewhere)
    doubt = "" if alive >= limits.updates_elsewhere.value else "no other venue was seen to be open"
    evidence = {"longest_silence_s": longest, "updates_elsewhere": float(most)}
    return Sight(spans, reached(spans, longest / limits.silence.value), evidence, doubt)


def venue_halt(window: Span, halts: tuple[Window, ...]) -> Sight:
    """The venue says that it was down, or its own market findings show it, at some time of the window."""
    start, end = window
    spans = [
        (max(micros(each.start), start), min(micros(each.end), end))
        for each in halts
        if micros(each.start) < end and micros(each.end) > start
    ]
    return Sight(spans, float(bool(spans)), {"halted_s": sum(b - a for a, b in spans) / SECOND})


def venue_rejects(window: Span, limits: VenueOutage, orders: Orders) -> Sight:
    """Of any ``orders`` in a row the venue rejects more than ``rejected``."""
    start, end = window
    inside = (orders.at >= start) & (orders.at < end)
    at, rejected = orders.at[inside], orders.rejected[inside].astype(float)
    n = round(limits.orders.value)
    if len(at) < n:
        return Sight([], None, {"orders": float(len(at))}, f"{len(at)} orders, {n} are needed")
    share = np.convolve(rejected, np.ones(n), "valid") / n
    spans = [(int(at[i]), int(at[i + n - 1]) + 1) for i in np.flatnonzero(share > limits.rejected.value)]
    worst = float(share.max())
    return Sight(spans, worst / limits.rejected.value, {"rejected_share": worst, "orders": float(len(at))})


def forced_fills(window: Span, fills: Fills) -> Sight:
    """The venue marks a fill as a liquidation or as deleveraging."""
    start, end = window
    inside = (fills.at >= start) & (fills.at < end)
    at = fills.at[inside & fills.forced]
    counts = {"forced": float(len(at)), "fills": float(inside.sum())}
    return Sight(moments(at), float(bool(len(at))), counts)


def unexplained_position(window: Span, limits: ForcedPosition, fills: Fills, positions: Samples) -> Sight:
    """Between two of the venue's statements the position changes by other than the desk's fills.

    By more than ``tolerance`` of the largest position.
    """
    held = positions.within(*window)
    if len(held.at) < 2:
        return Sight([], None, doubt="fewer than two statements of the position")
    signed = np.concatenate([[0.0], np.cumsum(fills.side * fills.quantity)])
    traded = np.diff(signed[np.searchsorted(fills.at, held.at, side="right")])
    unexplained = np.abs(np.diff(held.value) - traded)
    largest = max(float(np.abs(held.value).max()), float(fills.quantity.max(initial=0.0)))
    allowed = limits.tolerance.value * largest
    spans = [(int(held.at[i]), int(held.at[i + 1])) for i in np.flatnonzero(unexplained > allowed)]
    worst = float(unexplained.max())
    return Sight(spans, worst / allowed if allowed > 0 else 0.0, {"unexplained": worst, "allowed": allowed})


def fee_tier_change(window: Span, limits: FeeTierChange, fills: Fills, fee_schedule: FeeSchedule) -> Sight:
    """In ``fills`` fills in a row of one liquidity type each is charged ``drift`` above the schedule."""
    start, end = window
    n = round(limits.fills.value)
    inside = (fills.at >= start) & (fills.at < end)
    spans: list[Span] = []
    evidence: dict[str, float] = {}
    severities, few = [], []
    for name, own, due in (
        ("maker", fills.maker, fee_schedule.maker),
        ("taker", ~fills.maker, fee_schedule.taker),
    ):
        at, above = fills.at[inside & own], fills.fee[inside & own] - due
        evidence[f"{name}_fills"] = float(len(at))
        if len(at) < n:
            few.append(f"{len(at)} {name} fills, {n} are needed")
            continue
        least = np.lib.stride_tricks.sliding_window_view(above, n).min(axis=1)
        spans += [(int(at[i]), int(at[i + n - 1]) + 1) for i in np.flatnonzero(least > limits.drift.value)]
        evidence[f"{name}_above_bp"] = float(least.max())
        severities.append(float(least.max()) / limits.drift.value)
    doubt = "; ".join(few) if len(few) == 2 else ""
    return Sight(spans, max(severities, default=None), evidence, doubt)


def off_target(window: Span, limits: FatFinger, positions: Samples, targets: Samples) -> Sight:
    """For ``off_target`` the position differs from the strategy's target by ``tolerance`` of the largest target."""
    start, end = window
    at = np.unique(np.concatenate([positions.at, targets.at]))
    at = at[(at >= start) & (at < end)]
    always = end - int(min(positions.at.min(initial=start), targets.at.min(initial=start)))
    gap = np.abs(positions.as_of(at, always) - targets.as_of(at, always))
    known = np.isfinite(gap)
    if not known.any():
        return Sight([], None, doubt="position and target are not known at one time")
    allowed = limits.tolerance.value * float(np.abs(targets.value).max())
    # Both stand until they change: the last known state holds to the end of the window.
    at, gap = np.append(at[known], end), np.append(gap[known], gap[known][-1])
    beyond = gap > allowed
    changes = np.append(beyond[:-1], False)
    starts = np.flatnonzero(changes & ~np.concatenate([[False], changes[:-1]]))
    ends = np.flatnonzero(changes & ~np.append(changes[1:], False)) + 1
    pairs = [(int(at[a]), int(at[b])) for a, b in zip(starts, ends, strict=True)]
    spans = [pair for pair in pairs if pair[1] - pair[0] > limits.off_target.value * SECOND]
    longest = max((b - a for a, b in pairs), default=0) / SECOND
    return Sight(spans, longest / limits.off_target.value, {"longest_off_target_s": longest})
