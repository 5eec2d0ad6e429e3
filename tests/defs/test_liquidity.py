"""The weekly profile in the graph: which months it reads, what it records, when it is made, and its check."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.definitions import defs
from research_to_prod.defs.market_data import liquidity
from research_to_prod.defs.market_data.liquidity import liquidity_profile
from research_to_prod.defs.partitions import MONTHS, WEEKS
from research_to_prod.defs.resources import build_resources
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import read_versions
from research_to_prod.market_data.contracts import CANDLES
from research_to_prod.market_data.liquidity import months_of, profile_week
from research_to_prod.values import month_bounds

WEEK = "2024-03-04"


def month_of_bars(month: str, seed: int) -> pa.Table:
    start, end = month_bounds(month)
    n = (end - start) // timedelta(hours=1)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, n)))
    values = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close * 1.001, "volume": close}
    market = {"venue": ["sandbox"] * n, "symbol": ["BTC/USDT"] * n, "timeframe": ["1h"] * n, "repair": [None] * n}
    return pa.table(market | values | {"ts": [start + timedelta(hours=k) for k in range(n)]}).select(
        CANDLES.arrow.names
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    for seed, month in enumerate(("2024-01", "2024-02", "2024-03")):
        lake.write("candles", month, month_of_bars(month, seed), CANDLES)
    return lake


def materialize(tmp_path: Path, week: str = WEEK) -> dg.ExecuteInProcessResult:
    resources = build_resources({"R2P_DATA": str(tmp_path)})
    return dg.materialize([liquidity_profile], partition_key=week, resources=resources, raise_on_error=False)


def test_it_reads_the_months_of_its_window_and_shows_a_small_picture(lake: Lake, tmp_path: Path) -> None:
    result = materialize(tmp_path)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    read = read_versions(event.materialization.metadata)
    assert [each.partition for each in read] == ["2024-01", "2024-02", "2024-03"]
    assert lake.read("liquidity_profile", WEEK).rows.num_rows == 7 * 168
    (picture,) = re.findall(r"base64,([^)]+)\)", str(event.materialization.metadata["volume"].value))
    assert 2_000 < len(base64.b64decode(picture)) < 100_000


def test_another_future_gives_the_same_bytes_and_another_past_does_not(lake: Lake, tmp_path: Path) -> None:
    assert materialize(tmp_path).success
    before = lake.version("liquidity_profile", WEEK)
    march = month_of_bars("2024-03", 2)
    known = (datetime(2024, 3, 4, tzinfo=UTC) - datetime(2024, 3, 1, tzinfo=UTC)) // timedelta(hours=1)
    future = pa.concat_tables([march.slice(0, known), month_of_bars("2024-03", 99).slice(known)])
    lake.write("candles", "2024-03", future, CANDLES)
    assert materialize(tmp_path).success
    after = lake.version("liquidity_profile", WEEK)
    assert after.version > before.version
    assert after.content_sha256 == before.content_sha256
    lake.write("candles", "2024-02", month_of_bars("2024-02", 98), CANDLES)
    assert materialize(tmp_path).success
    assert lake.version("liquidity_profile", WEEK).content_sha256 != before.content_sha256


def test_a_profile_that_looks_ahead_is_caught(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake that the check is for: a window that ends a week too late."""
    real = profile_week

    def ahead(candles: pa.Table, markets: object, week: str) -> pa.Table:
        later = f"{datetime.fromisoformat(week) + timedelta(weeks=1):%Y-%m-%d}"
        rows = real(candles, markets, later)  # type: ignore[arg-type]
        at = rows.column_names.index("week")
        return rows.set_column(at, "week", pa.array([week] * rows.num_rows, pa.string()))

    monkeypatch.setattr("research_to_prod.market_data.liquidity.profile_week", ahead)
    (check,) = materialize(tmp_path).get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("uses_past_only", False)


@pytest.mark.usefixtures("lake")
def test_a_month_that_was_never_materialized_fails_and_writes_nothing(tmp_path: Path) -> None:
    result = materialize(tmp_path, "2024-05-06")
    assert not result.success
    assert not Lake(tmp_path / "lake").has("liquidity_profile", "2024-05-06")


def test_the_graph_knows_which_months_a_week_rests_on() -> None:
    mapped = defs.resolve_asset_graph().get_partition_mapping(
        dg.AssetKey("liquidity_profile"), parent_asset_key=dg.AssetKey("candles")
    )
    assert mapped == liquidity._EIGHT_WEEKS_BEFORE
    months = mapped.get_upstream_mapped_partitions_result_for_partitions(
        WEEKS.subset_with_partition_keys(["2026-01-05"]), WEEKS, MONTHS
    )
    assert list(months.partitions_subset.get_partition_keys()) == ["2025-11", "2025-12", "2026-01"]


def test_the_first_week_has_its_whole_window_in_the_months() -> None:
    first = WEEKS.get_first_partition_key()
    assert first is not None
    assert datetime.fromisoformat(first).weekday() == 0
    assert months_of(first)[0] == MONTHS.get_first_partition_key()


def test_a_week_is_profiled_on_its_monday() -> None:
    schedule = defs.resolve_schedule_def("liquidity_schedule")
    at = datetime(2026, 1, 5, 0, 30, tzinfo=UTC)
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
    requests = schedule.evaluate_tick(context).run_requests
    assert [each.partition_key for each in requests or []] == ["2026-01-05"]
    assert schedule.cron_schedule == "30 0 * * 1"


def test_the_job_of_a_month_does_not_profile_weeks() -> None:
    names = {key.to_user_string() for key in defs.resolve_job_def("market_data").asset_layer.executable_asset_keys}
    assert "liquidity_profile" not in names
    assert {"repairs", "candles", "market_quality"} <= names
