"""What a rule of a failure mode is given, and what it answers.

Belongs here: the inputs, and how samples in time become windows. Doesn't: any rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.series import Floats, Integers, Mask, instant, micros
from research_to_prod.values import day_bounds

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

Span = tuple[int, int]
"""Start and end, exclusive, in microseconds since 1970."""


@dataclass(frozen=True)
class Window:
    """A stretch of time, ``end`` exclusive."""

    start: datetime
    end: datetime


@dataclass(frozen=True, eq=False)
class Samples:
    """Finite values (n,) that were seen at times in order, microseconds since 1970."""

    at: Integers
    value: Floats

    def __post_init__(self) -> None:
        _in_order(self.at, self.value)

    def within(self, start: int, end: int) -> Samples:
        """Return the samples from ``start`` on and before ``end``."""
        first, last = np.searchsorted(self.at, [start, end])
        return Samples(self.at[first:last], self.value[first:last])

    def as_of(self, at: Integers, oldest: int) -> Floats:
        """Return the last value at or before each of (k,) times, NaN where it is older than ``oldest``."""
        if not len(self.at):
            return np.full(len(at), np.nan)
        last = np.searchsorted(self.at, at, side="right") - 1
        known = (last >= 0) & (at - self.at[np.maximum(last, 0)] <= oldest)
        return np.where(known, self.value[np.maximum(last, 0)], np.nan)


@dataclass(frozen=True, eq=False)
class MarketBars:
    """CANDLES of one market and timeframe, ordered by time."""

    rows: pa.Table
    length: timedelta


@dataclass(frozen=True, eq=False)
class Liquidations:
    """Liquidation orders in order of time, in money of the position closed (n,)."""

    at: Integers
    longs: Floats
    shorts: Floats

    def __post_init__(self) -> None:
        _in_order(self.at, self.longs, self.shorts)


@dataclass(frozen=True, eq=False)
class Orders:
    """The desk's parent orders (n,) in order of time.

    Parameters
    ----------
    client_id
        The desk's own id.
    wanted
        The quantity of its decision; NaN where unknown.
    excess_cost
        Basis points paid above what the cost model said; NaN where unknown.
    """

    at: Integers
    client_id: npt.NDArray[np.object_]
    quantity: Floats
    wanted: Floats
    rejected: Mask
    excess_cost: Floats

    def __post_init__(self) -> None:
        _in_order(self.at, self.quantity)


@dataclass(frozen=True, eq=False)
class Fills:
    """The desk's fills in the market (n,) in order of time.

    Parameters
    ----------
    bid, ask
        The touch just before; NaN where unknown.
    fee
        Basis points of the fill's value; a rebate is negative.
    forced
        Whether the venue says that it liquidated or deleveraged us.
    """

    at: Integers
    side: Integers
    quantity: Floats
    price: Floats
    bid: Floats
    ask: Floats
    fee: Floats
    maker: Mask
    forced: Mask

    def __post_init__(self) -> None:
        _in_order(self.at, self.side, self.quantity, self.price, self.fee)


@dataclass(frozen=True)
class FeeSchedule:
    """Fees that the account should pay, in basis points; a rebate is negative."""

    maker: float
    taker: float


@dataclass(frozen=True, eq=False)
class Case:
    """A window of one market and what the desk did in it. None is what nobody recorded: it is never taken for nothing.

    Series may begin before the window: what was usual is told by their history.

    Parameters
    ----------
    profile
        LIQUIDITY_PROFILE of the market, for the weeks of the window at least.
    spread, depth
        Observed: basis points of mid, quote currency within 10 basis points of mid.
    open_interest
        In any one unit.
    funding
        Payment of a long position, as a fraction of notional an interval; empty of a market that has none.
    basis
        Perpetual over spot, less 1.
    stablecoins
        Price in dollars, by coin and venue.
    updates, updates_elsewhere
        Times of quotes or trades on the desk's venue, and on others by name.
    halts
        Outages that the venue announced, or that ``venue_outage`` of the market's findings shows; empty for none.
    positions, targets
        What the venue says we hold, and what the strategy wants, signed.
    carry_share
        Share of the episode's loss that is funding and borrowing.
    markouts
        Of the desk's maker fills after five seconds, net of fee and rebate, in basis points; gains positive.
    edge
        Daily shadow P&L less what the deflated backtest expects, in its standard deviations.
    early_drift
        Price move towards the desk's side before each decision, in basis points.
    half_life
        Of the decay of alpha after decisions, as measured at each time, in any unit.
    """

    start: int
    end: int
    bars: MarketBars | None = None
    profile: pa.Table | None = None
    spread: Samples | None = None
    depth: Samples | None = None
    liquidations: Liquidations | None = None
    open_interest: Samples | None = None
    funding: Samples | None = None
    basis: Samples | None = None
    stablecoins: Mapping[str, Mapping[str, Samples]] | None = None
    updates: Integers | None = None
    updates_elsewhere: Mapping[str, Integers] | None = None
    halts: tuple[Window, ...] | None = None
    orders: Orders | None = None
    fills: Fills | None = None
    positions: Samples | None = None
    targets: Samples | None = None
    fee_schedule: FeeSchedule | None = None
    carry_share: float | None = None
    markouts: Samples | None = None
    edge: Samples | None = None
    early_drift: Samples | None = None
    half_life: Samples | None = None

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"the window from {self.window.start} to {self.window.end} is empty")
        numbers = [] if self.carry_share is None else [self.carry_share]
        if self.fee_schedule is not None:
            numbers += [self.fee_schedule.maker, self.fee_schedule.taker]
        if not np.isfinite(numbers).all():
            raise ValueError("the share of carry or the fee schedule is not finite: leave out what isn't known")

    @property
    def window(self) -> Window:
        """The whole window."""
        return Window(instant(self.start), instant(self.end))


@dataclass(frozen=True)
class Sight:
    """What one rule saw.

    Parameters
    ----------
    spans
        When it held; they may overlap.
    severity
        The worst value over its threshold, at least 1 where the rule held; None where nothing could be measured.
    evidence
        The numbers behind it, by name.
    doubt
        Why its absence is not proved; empty where it is.
    """

    spans: Sequence[Span]
    severity: float | None
    evidence: Mapping[str, float] = field(default_factory=dict)
    doubt: str = ""


def usual(profile: pa.Table, metric: str, at: Integers, *, observed: bool = False) -> Floats:
    """Return what is usual of ``metric`` at each of (k,) times, as the profile of a market says; NaN where it doesn't.

    Parameters
    ----------
    observed
        Whether estimates from bars count as nothing.
    """
    rows = profile.filter(pc.invert(profile[f"{metric}_is_proxy"])) if observed else profile
    if not rows.num_rows:
        return np.full(len(at), np.nan)
    weeks = [micros(day_bounds(each)[0]) // HOUR for each in rows["week"].to_pylist()]
    hours = np.array(weeks, np.int64) + rows["how"].to_numpy()
    order = np.argsort(hours)
    hours, logs = hours[order], rows[f"{metric}_med"].to_numpy().astype(float)[order]
    found = np.minimum(np.searchsorted(hours, at // HOUR), len(hours) - 1)
    return np.where(hours[found] == at // HOUR, np.exp(logs[found]), np.nan)


def windows_of(spans: Sequence[Span]) -> tuple[Window, ...]:
    """Return spans as windows, those that touch or overlap as one, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(Window(instant(start), instant(end)) for start, end in joined)


def moments(at: Integers) -> list[Span]:
    """Return the spans of events that have no length."""
    return [(int(each), int(each) + 1) for each in at]


def reached(spans: Sequence[Span], severity: float) -> float | None:
    """Return a rule's severity: at most 1 where it did not hold although its worst value is beyond the threshold."""
    if math.isnan(severity):
        return None
    return severity if spans else min(severity, 1.0)


def _in_order(at: Integers, *values: Floats | Integers) -> None:
    """Refuse what a comparison would take for nothing: a NaN is beyond no threshold."""
    if any(len(each) != len(at) or not np.isfinite(each).all() for each in values) or (np.diff(at) < 0).any():
        raise ValueError("as many finite values as times, in order of time, are needed: leave out what isn't known")


def lasting(at: Integers, held: Mask, least: float, longest_gap: int) -> list[Span]:
    """Return the runs of samples that hold and span ``least`` seconds from the first to the last of them.

    Samples further apart than ``longest_gap`` (microseconds) are no run: nobody saw what lay between.
    """
    index = np.flatnonzero(held)
    if not len(index):
        return []
    broken = (np.diff(index) > 1) | (np.diff(at[index]) > longest_gap)
    firsts = index[np.concatenate([[0], np.flatnonzero(broken) + 1])]
    lasts = index[np.concatenate([np.flatnonzero(broken), [len(index) - 1]])]
    return [
        (int(at[a]), int(at[b])) for a, b in zip(firsts, lasts, strict=True) if at[b] - at[a] >= round(least * SECOND)
    ]


def unseen(at: Integers, window: Span, longest: float, share: float) -> str:
    """Return why samples at ``at`` don't cover the window, or nothing.

    A sample stands for what follows it, for at most ``longest`` seconds.
    """
    start, end = window
    inside = at[(at >= start - round(longest * SECOND)) & (at < end)]
    ends = np.minimum(np.append(inside[1:], end), inside + round(longest * SECOND))
    covered = np.sum(np.maximum(np.minimum(ends, end) - np.maximum(inside, start), 0)) / (end - start)
    if covered >= share:
        return ""
    return f"samples no more than {longest:g} s apart cover {covered:.0%} of the window, {share:.0%} is needed"
