"""Measurements of a month, against brute force and against examples small enough to count by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import research_to_prod
from research_to_prod.market_data.certificates import Certificate, issue
from research_to_prod.market_data.contracts import CANDLE_QUARANTINE, CANDLES
from research_to_prod.market_data.quality import profile
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec

START = datetime(2024, 2, 1, tzinfo=UTC)
LATER = datetime(2024, 6, 1, tzinfo=UTC)
HOURS = 29 * 24
POLICY = load_quality_policy(Path(research_to_prod.__file__).parent / "desk" / "policies" / "market_quality.yaml")


def market(**changes: Any) -> MarketSpec:
    return MarketSpec(**{"venue": "v", "symbol": "A/B", "timeframe": "1h", "since": "2023-01-01", **changes})


def candles(hours: list[int], close: list[float] | None = None, volume: list[float] | None = None) -> pa.Table:
    n = len(hours)
    closes = close or [10.0] * n
    columns = {
        "venue": ["v"] * n,
        "symbol": ["A/B"] * n,
        "timeframe": ["1h"] * n,
        "ts": [START + timedelta(hours=hour) for hour in hours],
        **dict.fromkeys(("open", "high", "low", "close"), closes),
        "volume": volume or [1.0] * n,
        "repair": [None] * n,
    }
    return pa.table(columns, schema=CANDLES.arrow)


def seen(start: datetime, end: datetime, **changes: Any) -> Certificate:
    """Return the certificate of a fetch of the market that saw ``[start, end)``."""
    asked = {"venue": "v", "endpoint": "e", "scope": "A/B 1h", "interval": (start, end), **changes}
    return issue(**asked, bodies=["b"], rows=1, terminal="end_reached")


WHOLE = seen(START - timedelta(days=400), LATER)


def measure(bars: pa.Table, spec: MarketSpec | None = None, as_of: datetime = LATER, **kwargs: Any) -> dict[str, Any]:
    quarantine = kwargs.get("quarantine", CANDLE_QUARANTINE.empty())
    series = read_series(bars, [spec or market()], "2024-02", as_of)
    (row,) = profile(series, quarantine, "2024-02", kwargs.get("certificates", [WHOLE]), POLICY).to_pylist()
    return row  # type: ignore[no-any-return]


def test_a_whole_month_is_complete() -> None:
    row = measure(candles(list(range(HOURS))))
    assert (row["expected_bars"], row["valid_bars"], row["missing_bars"], row["completeness"]) == (HOURS, HOURS, 0, 1.0)
    assert (row["gap_runs"], row["longest_gap_bars"], row["gaps"]) == (0, 0, "")
    assert (row["first_expected_at"], row["last_expected_at"]) == (START, START + timedelta(hours=HOURS - 1))


def test_each_gap_is_named() -> None:
    gone = {0, 5, 6, 7, HOURS - 1}
    row = measure(candles([hour for hour in range(HOURS) if hour not in gone]))
    assert row["gaps"] == "2024-02-01T00:00Z +1; 2024-02-01T05:00Z +3; 2024-02-29T23:00Z +1"
    assert (row["gap_runs"], row["longest_gap_bars"], row["missing_bars"]) == (3, 3, 5)


def test_a_market_without_a_row_is_wholly_missing() -> None:
    row = measure(CANDLES.empty())
    assert (row["missing_bars"], row["gap_runs"], row["completeness"]) == (HOURS, 1, 0.0)
    assert row["outlier_returns"] is None


@pytest.mark.parametrize(
    ("changes", "as_of", "expected"),
    [
        ({"since": "2024-02-29T20:30Z"}, LATER, 3),  # 21, 22 and 23 h
        ({"until": "2024-02-01T03:30Z"}, LATER, 3),  # the bar of 3 h has not ended
        ({}, START + timedelta(hours=2, minutes=59), 2),
        ({"since": "2024-03-01"}, LATER, 0),
        ({"until": "2024-02-01"}, LATER, 0),
        ({}, START, 0),
    ],
)
def test_only_bars_that_the_market_owes_are_expected(changes: dict[str, Any], as_of: datetime, expected: int) -> None:
    row = measure(CANDLES.empty(), market(**changes), as_of)
    assert row["expected_bars"] == expected
    if not expected:
        assert (row["completeness"], row["first_expected_at"], row["last_expected_at"]) == (None, None, None)


def test_duplicates_are_counted_from_the_quarantine_of_this_market() -> None:
    rows = [
        {"symbol": "A/B", "rule": "duplicate"},
        {"symbol": "A/B", "rule": "volume_is_finite_not_negative,conflicting_duplicate"},
        {"symbol": "A/B", "rule": "high_is_highest"},
        {"symbol": "C/D", "rule": "duplicate"},
    ]
    whole = {"venue": "v", "timeframe": "1h", "ts": START, "fetch_id": "f", "page": 0}
    quarantine = pa.Table.from_pylist(
        [{**whole, "row": index, **row} for index, row in enumerate(rows)], schema=CANDLE_QUARANTINE.arrow
    )
    row = measure(candles([0]), quarantine=quarantine)
    assert (row["duplicates"], row["quarantined_rows"]) == (2, 3)


def test_a_stale_run_needs_three_adjacent_bars_without_volume_and_movement() -> None:
    #        two bars | three bars   | moved        | with volume  | broken by a gap
    close = [10, 10, 20, 20, 20, 30, 31, 32, 40, 40, 40, 50, 50, 50]
    volume = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    hours = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14]
    row = measure(candles(hours, [float(x) for x in close], [float(x) for x in volume]))
    assert (row["stale_runs"], row["longest_stale_bars"], row["zero_volume_bars"]) == (1, 3, 13)


def test_an_outlier_is_judged_against_the_months_own_returns() -> None:
    steps = np.random.default_rng(7).normal(0, 0.01, 200)
    steps[100] = 0.5
    close = list(10 * np.exp(np.cumsum(steps)))
    assert measure(candles(list(range(200)), close))["outlier_returns"] == 1


def test_a_return_over_a_gap_is_no_outlier() -> None:
    steps = np.random.default_rng(7).normal(0, 0.01, 200)
    steps[100] = 0.5
    close = list(10 * np.exp(np.cumsum(steps)))
    hours = [hour if hour < 100 else hour + 1 for hour in range(200)]
    assert measure(candles(hours, close))["outlier_returns"] == 0


def test_a_month_without_scale_gives_no_verdict_on_outliers() -> None:
    assert measure(candles(list(range(100))))["outlier_returns"] is None
    assert measure(candles(list(range(5)), [10.0, 11.0, 10.0, 12.0, 50.0]))["outlier_returns"] is None


def test_an_outlier_is_judged_against_its_own_hour_of_the_day() -> None:
    rng = np.random.default_rng(3)
    hour = np.arange(HOURS) % 24
    steps = rng.normal(0, np.where(hour == 16, 0.05, 0.001), HOURS)
    busy = measure(candles(list(range(HOURS)), list(10 * np.exp(np.cumsum(steps)))))
    steps[hour == 16] = rng.normal(0, 0.001, int((hour == 16).sum()))
    steps[240 + 4] = 0.05
    quiet = measure(candles(list(range(HOURS)), list(10 * np.exp(np.cumsum(steps)))))
    assert (busy["outlier_returns"], quiet["outlier_returns"]) == (0, 1)


@pytest.mark.parametrize(
    ("certificates", "unknown"),
    [
        ([], HOURS),
        ([seen(START, START + timedelta(hours=HOURS))], 0),
        ([seen(START, START + timedelta(hours=10)), seen(START + timedelta(hours=12), LATER)], 2),
        ([seen(START + timedelta(minutes=1), LATER)], 1),  # the first open was not asked for
        ([seen(START, LATER, scope="A/B 1d")], HOURS),
        ([seen(START, LATER, venue="w")], HOURS),
        ([replace(seen(START, LATER), complete=False)], HOURS),
    ],
)
def test_a_bar_that_no_complete_fetch_of_the_market_covers_is_unknown(
    certificates: list[Certificate], unknown: int
) -> None:
    row = measure(candles(list(range(HOURS))), certificates=certificates)
    assert (row["unknown_bars"], row["missing_bars"]) == (unknown, 0)
    assert row["completeness"] == (None if unknown else 1.0)


@given(st.sets(st.integers(0, 60)), st.integers(0, 30), st.integers(31, 60))
def test_missing_bars_equal_brute_force(present: set[int], since: int, until: int) -> None:
    spec = market(since=START + timedelta(hours=since), until=START + timedelta(hours=until))
    row = measure(candles(sorted(present)), spec)
    missing = [hour for hour in range(since, until) if hour not in present]
    assert row["missing_bars"] == len(missing)
    assert row["expected_bars"] == until - since
    assert row["gap_runs"] == sum(hour - 1 not in missing for hour in missing)
    named = [gap.split(" +") for gap in row["gaps"].split("; ") if gap]
    spelled = [
        datetime.fromisoformat(start) + timedelta(hours=step) for start, length in named for step in range(int(length))
    ]
    assert spelled == [START + timedelta(hours=hour) for hour in missing]
    assert row["longest_gap_bars"] == max((int(length) for _, length in named), default=0)
    assert math.isclose(row["completeness"], 1 - len(missing) / (until - since))
