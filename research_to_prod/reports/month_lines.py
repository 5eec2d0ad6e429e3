"""What the desk report says of the days up to its own, because a single day has too few orders to answer from.

Belongs here: frozen values. Doesn't: computing them (``compile_month``), and what is said of the day itself.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LatencyLine(Value):
    """What a strategy's delay cost, of the orders that took a certain time from decision to live; cost positive."""

    strategy: str
    from_ms: int
    to_ms: int | None
    orders: int
    split: int
    """Orders whose quote at sending is known."""
    median_ms: float
    slowest_ms: float
    """95th percentile."""
    median_sent_ms: float
    before_sending: float
    on_the_way: float
    delay: float
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None


class DriftLine(Value):
    """How far the market went a strategy's way after its fills: what as much later would have cost."""

    strategy: str
    horizon_seconds: int
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None
    fills: int
    parents: int


class ToxicityLine(Value):
    """Net markout of a market's maker fills 5 s on, after fee and rebate."""

    strategy: str
    venue: str
    symbol: str
    verdict: str
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None
    fills: int
    parents: int
    lost: float
    """Money lost by then over all of them; a gain is negative."""


class ComparisonLine(Value):
    """Cost of one venue, style or size, as it is and with all else held equal."""

    factor: str
    level: str
    orders: int
    raw_bps: float
    adjusted_bps: float | None
    low_bps: float | None
    high_bps: float | None


class HourLine(Value):
    """Cost beyond the model of the orders sent in one hour of the week (0: Monday 00:00 UTC)."""

    hour: int
    orders: int
    beyond: float
    beyond_bps: float | None
    low_bps: float | None
    high_bps: float | None


class CalibrationLine(Value):
    """What the model charges a strategy and what it paid, in basis points of executed value."""

    strategy: str
    orders: int
    without: int
    """Orders without a model."""
    charged_bps: float | None
    paid_bps: float | None
    timing_bps: float | None
    beyond: float | None
    beyond_bps: float | None
    low_bps: float | None
    high_bps: float | None
    z: float | None


class MissedLine(Value):
    """What a strategy did not trade, and whether it was the better part."""

    strategy: str
    decisions: int
    unsent: int
    orders: int
    filled_share: float | None
    """Filled by ordered quantity, weighted by value."""
    opportunity: float
    selection_money: Decimal | None
    """What the unfilled earned beyond the filled's mean, over the days on which there were both."""
    selection_days: int
    selection_low: float | None
    selection_high: float | None
    """Of the 95 % interval of a day's mean; None below 8 days."""


class FillChance(Value):
    """How likely a resting order is filled within a time; cancels censored."""

    seconds: int
    probability: float
    low: float | None
    high: float | None
    at_risk: int


class FeeLine(Value):
    """What was paid in fees at a venue, and what its schedule asks."""

    venue: str
    liquidity: str
    fills: int
    scheduled: int
    unpriced: int
    value: float
    fees: float
    paid_bps: float | None
    scheduled_bps: float | None
    beyond: float | None


class FeeChangeLine(Value):
    """Why a strategy's fees of the day differ from the mean of the days before; cost positive."""

    strategy: str
    days_before: int
    today_money: Decimal
    rate_money: Decimal | None
    mix_money: Decimal | None
    volume_money: Decimal | None
    reason: str | None
    """Why it is not split."""


class FundingLine(Value):
    """Funding due on a strategy's positions; received positive."""

    strategy: str
    today_money: Decimal | None
    before_money: Decimal | None
    """Mean of the days before."""
    days_before: int


class ExposureLine(Value):
    """What a strategy meant to hold of a market at the day's end, what its fills say, and what the desk states."""

    strategy: str
    venue: str
    symbol: str
    target_weight: float | None
    """Of the day's last decision, as a share of capital."""
    held_weight: float | None
    drift_money: Decimal | None
    """(held - target) at the closing mid."""
    held: Decimal | None
    stated_at: datetime | None
    stated: Decimal | None
    by_fills: Decimal | None
    """What the desk stated last, and what its fills say for that instant."""
    difference_money: Decimal | None


class ReplayFill(Value):
    """One fill of a replay."""

    seconds: float
    price: float
    quantity: float
    maker: bool


class Replay(Value):
    """One order from before its decision until after its end; seconds since the decision."""

    order_id: str
    symbol: str
    side: int
    sent: float
    live: float | None
    ended: float
    seconds: tuple[float, ...]
    bid: tuple[float, ...]
    ask: tuple[float, ...]
    """Quotes of the time, thinned to their extremes."""
    quotes: int
    """How many there were."""
    fills: tuple[ReplayFill, ...]
    """Thinned likewise."""
    all_fills: int


class Month(Value):
    """The recorded days among the thirty up to the report's own."""

    first_day: str
    days: int
    latency: tuple[LatencyLine, ...]
    latency_excluded: int
    drift: tuple[DriftLine, ...]
    toxicity: tuple[ToxicityLine, ...]
    comparison: tuple[ComparisonLine, ...]
    hours: tuple[HourLine, ...]
    calibration: tuple[CalibrationLine, ...]
    missed: tuple[MissedLine, ...]
    fill_chances: tuple[FillChance, ...]
    resting_orders: int
    fees: tuple[FeeLine, ...]
    fee_changes: tuple[FeeChangeLine, ...]
    funding: tuple[FundingLine, ...]
    exposures: tuple[ExposureLine, ...]
