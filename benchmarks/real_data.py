"""The sample strategies on real bars, through the functions of the pipeline; writes the page with what came of it.

Files are read, judged and examined as the market data assets do it, then searched, validated and gated as those of the
candidates do. Belongs here: which markets and searches, and the page. Doesn't: anything that a desk would decide on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import research_to_prod
from research_to_prod.market_data.certificates import Certificate
from research_to_prod.market_data.examination import examine
from research_to_prod.market_data.findings import findings_table
from research_to_prod.market_data.ingest import Sources, fetch_funding, fetch_month
from research_to_prod.market_data.quality import profile
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.research.bars import Bars, align_bars
from research_to_prod.research.candidate import Candidate, Window
from research_to_prod.research.costs import Costs
from research_to_prod.research.strategy import load_strategy
from research_to_prod.values import timeframe_length

DESK = Path(research_to_prod.__file__).parent / "desk"
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
"""After the last bar of every file."""
SPOT = Costs(taker_fee=0.001, half_spread=0.0001)
PERPETUAL = Costs(taker_fee=0.0005, half_spread=0.0001)

SEARCHES: dict[str, dict[str, tuple[Any, ...]]] = {
    "momentum": {"lookback_hours": (24, 48, 72, 96, 120, 168), "rebalance_hours": (12, 24, 48)},
    "breakout": {
        "entry_hours": (48, 96, 120, 168, 240),
        "exit_hours": (12, 24, 48),
        "sides": ("both", "long", "short"),
    },
    "mean_reversion": {
        "lookback_hours": (24, 48, 96, 168),
        "entry_z": (1.5, 2.0, 2.5, 3.0),
        "exit_z": (0.0, 0.5, 1.0),
    },
    "carry": {
        "lookback_hours": (72, 168, 336),
        "rebalance_hours": (8, 24, 72),
        "minimum_annual_rate": (0.0, 0.05, 0.1),
    },
}
"""Written down before the first run; never narrowed to what worked."""
FIXED: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("momentum", "breakout", "mean_reversion"), {"leverage": 0.5}),
    "carry": {"gross": 1.0},
}


@dataclass(frozen=True)
class Market:
    """One universe on one venue, its files and its window.

    Parameters
    ----------
    files
        By symbol: the candle file and the funding file, if any, both relative to the folder of data.
    """

    venue: str
    files: dict[str, tuple[str, str | None]]
    start: date
    end: date
    costs: Costs
    strategies: tuple[str, ...] = ("momentum", "breakout", "mean_reversion")

    @property
    def what(self) -> str:
        last = date(self.end.year, self.end.month, 1)
        return f"{self.venue} {' and '.join(self.files)}, {self.start:%Y-%m} to {last:%Y-%m}"

    @property
    def window(self) -> Window:
        return Window(start=self.start, end=self.end)

    @cached_property
    def specs(self) -> tuple[MarketSpec, ...]:
        window = self.window
        return tuple(
            MarketSpec.model_validate(
                {
                    "venue": self.venue,
                    "symbol": symbol,
                    "timeframe": "1h",
                    "since": window.start_at,
                    "until": window.end_at,
                    "source": {"files": candles},
                    "funding": {"files": funding} if funding else False,
                }
            )
            for symbol, (candles, funding) in self.files.items()
        )


def _perpetual(venue: str, start: date) -> Market:
    stem = f"{venue}__BTC-USDT_USDT__"
    files = (f"candles/{stem}1h__2025-03_2026-03.parquet", f"funding/{stem}2025-03_2026-03.parquet")
    return Market(venue, {"BTC/USDT:USDT": files}, start, date(2026, 3, 1), PERPETUAL)


FIVE_MINUTES = "candles/binance__BTC-USDT_USDT__5m__2023-01_2024-05.parquet"
HOURLY = "candles/hourly.parquet"
"""What `gather_hours` makes of `FIVE_MINUTES`."""
MARKETS = (
    Market(
        "binance",
        {"BTC/USDT": ("candles/binance__BTC-USDT__1h.parquet", None)},
        date(2017, 9, 1),
        date(2024, 4, 1),
        SPOT,
    ),
    Market(
        "bitstamp",
        {"BTC/USD": ("candles/bitstamp__BTC-USD__1h.parquet", None)},
        date(2018, 6, 1),
        date(2022, 3, 1),
        SPOT,
    ),
    Market(
        "binance",
        {"ETH/USDT": ("candles/binance__ETH-USDT__1h__2023.parquet", None)},
        date(2023, 1, 1),
        date(2024, 1, 1),
        SPOT,
    ),
    Market(
        "kraken",
        {"BTC/USDT": ("candles/kraken__BTC-USDT__1h__2023-03_2024-03.parquet", None)},
        date(2023, 4, 1),
        date(2024, 3, 1),
        SPOT,
    ),
    _perpetual("binance", date(2025, 4, 1)),
    _perpetual("bybit", date(2025, 4, 1)),
    _perpetual("okx", date(2026, 1, 1)),
    Market(
        "binance",
        {
            "BTC/USDT": ("candles/binance__BTC-USDT__1h.parquet", None),
            "BTC/USDT:USDT": (HOURLY, "funding/binance__BTC-USDT_USDT__2023-01_2024-05.parquet"),
        },
        date(2023, 1, 1),
        date(2024, 4, 1),
        SPOT,
        ("carry",),
    ),
)


@dataclass(frozen=True)
class History:
    """What the market data assets hold of a market's window."""

    bars: Bars
    quality: pa.Table
    findings: pa.Table


def read_history(market: Market, folder: Path) -> History:
    """Fetch, judge and examine the window month by month, and align it."""
    sources, policy = Sources(folder=folder), load_quality_policy(DESK / "policies" / "market_quality.yaml")
    candles, funding, quality, findings = [], [], [], []
    for month in market.window.months:
        fetched = fetch_month(market.specs, month, sources, AS_OF)
        paid = fetch_funding(market.specs, month, sources, AS_OF)
        if failed := (*fetched.failures, *paid.failures):
            raise ValueError("; ".join(each.error for each in failed))
        judged = split(fetched.rows)
        series = read_series(judged.accepted, market.specs, month, AS_OF)
        quality.append(profile(series, judged.rejected, month, fetched.certificates, policy))
        found = examine(series, fetched.rows, judged.rejected, month, AS_OF, fetched.certificates, policy)
        findings.append(findings_table(found, month))
        candles.append(judged.accepted)
        funding.append(paid.rows)
    window = market.window
    bars = align_bars(
        pa.concat_tables(candles), pa.concat_tables(funding), list(market.files), window.start_at, window.end_at,
        timeframe_length("1h"),
    )  # fmt: skip
    return History(bars, pa.concat_tables(quality), pa.concat_tables(findings))
