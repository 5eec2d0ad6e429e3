"""What the sandbox venue lists, and the truth that was planted in each market.

Belongs here: contract terms, the parameters of each price path, the outages and broken bars, all as documented
constants. Doesn't: any arithmetic on them.

Planted truth
-------------
``BTC``   a trend that trailing returns of two to four days detect: a real edge.
``ETH``   the same kind of edge at half as much volatility again: too risky when leveraged.
``SOL``   a martingale: every rule's expected return before costs is zero.
``DOGE``  the trend of BTC, in a market with missing hours and broken bars (2023 to 2025); the trend fades out during
January 2026, so that what was found on history does not live on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

LISTED_AT = datetime(2022, 12, 1, tzinfo=UTC)


class BarDefect(StrEnum):
    """How the venue's answer for one hourly bar is wrong."""

    HIGH_BELOW_CLOSE = "high_below_close"
    NEGATIVE_VOLUME = "negative_volume"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Process:
    """How the price of one underlying moves.

    Parameters
    ----------
    base_price
        Price around which the path starts, in quote currency.
    beta
        Loading on the common market factor.
    volatility
        Annual volatility of the asset's own noise.
    reverting
        Whether the own noise returns to zero every 2**11 minutes (1.4 days); else it is a martingale.
    trend, trend_days
        Half range of the trend's log level, and mean days between its turning points; 0 where there is no edge.
    swing
        Half range of the slow swing's log level (knots every 60 days).
    edge_fades
        First and last instant of the trend's fading to nothing; None where it stays.
    """

    base_price: float
    beta: float
    volatility: float
    reverting: bool
    trend: float = 0.0
    trend_days: float = 8.0
    swing: float = 0.0
    edge_fades: tuple[datetime, datetime] | None = None


@dataclass(frozen=True)
class Instrument:
    """One listed market: names, contract terms, liquidity.

    Parameters
    ----------
    symbol, venue_id
        ccxt's unified symbol, and the venue's own.
    tick, lot, min_notional
        Price step, quantity step, and least value of an order.
    turnover
        Mean quote volume of a minute.
    half_spread_bp
        Mean half spread in basis points of the mid.
    """

    symbol: str
    venue_id: str
    base: str
    quote: str
    perpetual: bool
    tick: Decimal
    lot: Decimal
    min_notional: Decimal
    turnover: float
    half_spread_bp: float
    listed_at: datetime = LISTED_AT


@dataclass(frozen=True)
class Outage:
    """A time in which nothing traded: of one market, or of the whole venue (``base`` is None)."""

    name: str
    start: datetime
    hours: int
    base: str | None = None


@dataclass(frozen=True)
class BrokenBar:
    """One hourly bar that the venue serves wrongly."""

    base: str
    open_at: datetime
    defect: BarDefect


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MARKET_VOLATILITY = 0.10
"""Annual volatility of the common factor, a martingale."""

PROCESSES = {
    "BTC": Process(42_000.0, 1.0, 0.34, reverting=True, trend=0.12, swing=0.15),
    "ETH": Process(2_400.0, 1.3, 0.62, reverting=True, trend=0.18, swing=0.20),
    "SOL": Process(90.0, 1.5, 0.80, reverting=False),
    "DOGE": Process(
        0.12, 1.2, 0.34, reverting=True, trend=0.12, swing=0.15, edge_fades=(_at("2026-01-01"), _at("2026-02-01"))
    ),
}


def _market(
    base: str, tick: str, lot: str, turnover: float, half_spread_bp: float, *, perpetual: bool = False
) -> Instrument:
    return Instrument(
        symbol=f"{base}/USDT:USDT" if perpetual else f"{base}/USDT",
        venue_id=f"{base}USDT",
        base=base,
        quote="USDT",
        perpetual=perpetual,
        tick=Decimal(tick),
        lot=Decimal(lot),
        min_notional=Decimal(5),
        turnover=turnover,
        half_spread_bp=half_spread_bp,
    )


INSTRUMENTS = {
    market.symbol: market
    for market in (
        _market("BTC", "0.01", "0.00001", 1.2e6, 0.4),
        _market("ETH", "0.01", "0.0001", 7e5, 0.6),
        _market("SOL", "0.001", "0.001", 3e5, 1.2),
        _market("DOGE", "0.00001", "1", 1.5e5, 1.8),
        _market("BTC", "0.1", "0.001", 4e6, 0.3, perpetual=True),
        _market("ETH", "0.01", "0.001", 2.5e6, 0.4, perpetual=True),
        _market("SOL", "0.001", "0.01", 9e5, 0.9, perpetual=True),
    )
}

# Six hours in three years: completeness 99.977 %, below which the other markets do not fall.
OUTAGES = (
    Outage("matching engine upgrade", _at("2023-03-24T12:00"), 2),
    Outage("database failover", _at("2024-05-17T03:00"), 1),
    Outage("cooling failure in one zone", _at("2025-08-29T06:00"), 3),
    # 164 hours of DOGE alone: completeness of 2023 to 2025 near 99.3 %.
    Outage("wallet maintenance", _at("2023-01-19T02:00"), 9, "DOGE"),
    Outage("feed handler stuck", _at("2023-04-08T17:00"), 16, "DOGE"),
    Outage("symbol halted, token migration", _at("2023-07-02T08:00"), 31, "DOGE"),
    Outage("archive never backfilled", _at("2023-11-14T21:00"), 7, "DOGE"),
    Outage("feed handler stuck", _at("2024-02-10T05:00"), 22, "DOGE"),
    Outage("wallet maintenance", _at("2024-06-21T00:00"), 6, "DOGE"),
    Outage("archive never backfilled", _at("2024-10-05T13:00"), 19, "DOGE"),
    Outage("symbol halted, price band breached", _at("2025-01-25T18:00"), 12, "DOGE"),
    Outage("feed handler stuck", _at("2025-05-11T10:00"), 28, "DOGE"),
    Outage("wallet maintenance", _at("2025-09-30T04:00"), 14, "DOGE"),
)

# Hours in which DOGE was quoted but did not trade: flat bars without volume.
STALE_RUNS = (
    Outage("quotes frozen", _at("2023-09-09T01:00"), 8, "DOGE"),
    Outage("quotes frozen", _at("2025-03-16T14:00"), 11, "DOGE"),
)

BROKEN_BARS = (
    BrokenBar("DOGE", _at("2023-02-11T15:00"), BarDefect.HIGH_BELOW_CLOSE),
    BrokenBar("DOGE", _at("2023-06-18T04:00"), BarDefect.HIGH_BELOW_CLOSE),
    BrokenBar("DOGE", _at("2024-01-03T09:00"), BarDefect.NEGATIVE_VOLUME),
    BrokenBar("DOGE", _at("2024-04-27T22:00"), BarDefect.DUPLICATE),
    BrokenBar("DOGE", _at("2024-08-05T06:00"), BarDefect.HIGH_BELOW_CLOSE),
    BrokenBar("DOGE", _at("2025-07-07T11:00"), BarDefect.HIGH_BELOW_CLOSE),
)
