"""Defects of real history that were counted by hand beforehand are found, no more and no less."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import research_to_prod
from research_to_prod.market_data.contracts import MARKET_QUALITY, RAW_CANDLES
from research_to_prod.market_data.ingest import Sources, fetch_funding, fetch_month
from research_to_prod.market_data.quality import profile
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "market_data"
FOLDER = Path(os.environ.get("R2P_REAL_DATA") or DEFAULT)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = load_quality_policy(Path(research_to_prod.__file__).parent / "desk" / "policies" / "market_quality.yaml")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not FOLDER.is_dir(), reason=f"no real market data: R2P_REAL_DATA is not set and {DEFAULT} absent"
    ),
]


def months(first: str, last: str) -> list[str]:
    year, month = map(int, first.split("-"))
    found = []
    while (name := f"{year:04}-{month:02}") <= last:
        found.append(name)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def measure(spec: MarketSpec, first: str, last: str) -> list[dict[str, Any]]:
    rows = []
    for month in months(first, last):
        fetched = fetch_month([spec], month, Sources(folder=FOLDER), NOW)
        judged = split(RAW_CANDLES.conform(fetched.rows, month))
        series = read_series(judged.accepted, [spec], month, NOW)
        rows += profile(series, judged.rejected, month, fetched.certificates, POLICY).to_pylist()
    return rows


def market(file: str, **given: Any) -> MarketSpec:
    return MarketSpec(**{"venue": "binance", "source": {"files": f"candles/{file}.parquet"}, **given})


@pytest.mark.slow
def test_the_28_outages_of_seven_years_of_bitcoin_are_found_and_named() -> None:
    spec = market(
        "binance__BTC-USDT__1h",
        symbol="BTC/USDT",
        timeframe="1h",
        since="2017-08-17T04:00Z",
        until="2024-04-21T15:00Z",
    )
    rows = measure(spec, "2017-08", "2024-04")
    assert sum(row["valid_bars"] for row in rows) == 58_419
    assert sum(row["gap_runs"] for row in rows) == 28
    assert sum(row["missing_bars"] for row in rows) == 128
    assert sum(row["quarantined_rows"] for row in rows) == 0
    worst = max(rows, key=lambda row: row["longest_gap_bars"])
    assert (worst["month"], worst["longest_gap_bars"], worst["gaps"]) == ("2018-02", 33, "2018-02-08T01:00Z +33")
    # No gap crosses a month's end, where it would count in both months.
    assert not any(gap.startswith(f"{row['month']}-01T00:00Z") for row in rows for gap in row["gaps"].split("; "))
    assert rows[0]["first_expected_at"] == datetime(2017, 8, 17, 4, tzinfo=UTC)
    assert rows[-1]["last_expected_at"] == datetime(2024, 4, 21, 14, tzinfo=UTC)
    assert set(rows[0]) == set(MARKET_QUALITY.arrow.names)


def test_a_source_that_repeats_close_as_high_is_quarantined() -> None:
    spec = market(
        "binance__BTC-USDT__1d__gct-2019", symbol="BTC/USDT", timeframe="1d", since="2019-01-01", until="2020-01-01"
    )
    rejected = 0
    for month in months("2019-01", "2019-12"):
        judged = split(fetch_month([spec], month, Sources(folder=FOLDER), NOW).rows)
        assert set(judged.rejected["rule"].to_pylist()) <= {"high_is_highest"}
        rejected += judged.rejected.num_rows
    assert rejected == 176


def test_the_duplicate_at_a_collection_seam_is_found() -> None:
    spec = market(
        "binance__ALGO-BTC__1m__2020-03",
        symbol="ALGO/BTC",
        timeframe="1m",
        since="2020-02-07T11:46Z",
        until="2020-03-15T11:28Z",
    )
    rows = measure(spec, "2020-02", "2020-03")
    assert [row["duplicates"] for row in rows] == [0, 1]
    assert [row["quarantined_rows"] for row in rows] == [0, 1]
    assert [row["gaps"] for row in rows] == [
        "2020-02-09T02:00Z +60; 2020-02-19T11:36Z +354",
        "2020-03-04T09:22Z +128",
    ]


def test_a_newest_first_file_keeps_its_order_in_row_and_is_sorted_after_the_split() -> None:
    spec = market("bitstamp__BTC-USD__1h", venue="bitstamp", symbol="BTC/USD", timeframe="1h", since="2018-05-15")
    raw = fetch_month([spec], "2019-03", Sources(folder=FOLDER), NOW).rows.sort_by("row")
    times = raw["ts"].to_pylist()
    assert times == sorted(times, reverse=True)
    accepted = split(raw).accepted["ts"].to_pylist()
    assert accepted == sorted(times)
    assert accepted[-1] - accepted[0] == timedelta(hours=743)


def test_real_funding_keeps_its_milliseconds() -> None:
    spec = market(
        "none",
        symbol="BTC/USDT:USDT",
        timeframe="1h",
        since="2025-03-01",
        funding={"files": "funding/binance__BTC-USDT_USDT__2025-03_2026-03.parquet"},
    )
    month = fetch_funding([spec], "2025-06", Sources(folder=FOLDER), NOW)
    assert month.rows.num_rows == 90
    assert max(ts.microsecond for ts in month.rows["ts"].to_pylist()) <= 16_000
