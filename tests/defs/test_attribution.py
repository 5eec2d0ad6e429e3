"""Slippage and markouts in the graph, on the simulated desk's first two days."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from research_to_prod.defs.attribution.assets import latency_costs, markouts, slippage
from research_to_prod.defs.attribution.checks import (
    components_add_up,
    costs_cover_the_orders,
    latency_adds_up,
    markouts_add_up,
    markouts_cover_the_fills,
)
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import read_versions
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.market import SandboxMarket

DAYS = ("2026-01-01", "2026-01-02")
CHECKS = [components_add_up, costs_cover_the_orders, latency_adds_up, markouts_add_up, markouts_cover_the_fills]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that holds the desk's records of two days, and no public trades."""
    folder = tmp_path_factory.mktemp("desk")
    desk, lake = SandboxDesk(SandboxMarket(7)), Lake(folder / "lake")
    for day in DAYS:
        for path in desk.write_inbox(day, folder / "inbox"):
            kind = path.parent.name
            lake.write(kind, day, pq.read_table(path), TABLES[kind])
    return folder


@pytest.fixture(scope="module")
def made(delivered: Path) -> dict[str, dg.ExecuteInProcessResult]:
    return {day: materialize(delivered, day) for day in DAYS}


def materialize(folder: Path, day: str) -> dg.ExecuteInProcessResult:
    resources = build_resources({"R2P_DATA": str(folder)})
    assets = [slippage, latency_costs, markouts, *CHECKS]
    return dg.materialize(assets, partition_key=day, resources=resources, raise_on_error=False)


def evaluations(result: dg.ExecuteInProcessResult) -> Iterator[tuple[str, bool]]:
    return ((each.check_name, each.passed) for each in result.get_asset_check_evaluations())


def test_every_check_passes_on_the_simulated_desk(made: dict[str, dg.ExecuteInProcessResult], delivered: Path) -> None:
    lake = Lake(delivered / "lake")
    for day, result in made.items():
        assert result.success
        assert dict(evaluations(result)) == {check.check_key.name: True for check in CHECKS}
        costs = lake.read("slippage", day).rows
        assert costs.num_rows > 10
        assert costs["excluded_reason"].null_count == costs.num_rows
        assert costs["interval_vwap"].null_count == costs.num_rows


def test_every_order_has_its_way_to_the_venue_split_where_it_was_sent(
    made: dict[str, dg.ExecuteInProcessResult], delivered: Path
) -> None:
    lake = Lake(delivered / "lake")
    for day in made:
        rows, costs = lake.read("latency_costs", day).rows, lake.read("slippage", day).rows
        assert rows["order_id"] == costs["order_id"]
        assert rows["delay"].null_count == rows["before_sending"].null_count == 0
        assert pc.min(rows["child_orders"]).as_py() >= 1
        # The simulated desk's careless strategy sends seconds after it decided, the careful ones within 100 ms.
        assert pc.max(rows["decision_to_live_ms"]).as_py() > 1_000
        assert pc.min(rows["decision_to_live_ms"]).as_py() < 100


def test_each_fill_is_marked_once_at_each_horizon(made: dict[str, dg.ExecuteInProcessResult], delivered: Path) -> None:
    lake = Lake(delivered / "lake")
    marked, fills = lake.read("markouts", DAYS).rows, lake.read("fills", DAYS).rows
    # The simulated desk decides at the full hour, so all of its fills have matured at midnight.
    assert pc.max(pc.minute(fills["filled_at"])).as_py() < 30
    key = ["venue", "symbol", "fill_id"]
    counts = marked.group_by(key).aggregate([("horizon_seconds", "count_distinct")])
    assert counts.select(key).sort_by([(k, "ascending") for k in key]) == fills.select(key).sort_by(
        [(k, "ascending") for k in key]
    )
    assert set(counts["horizon_seconds_count_distinct"].to_pylist()) == {6}


def test_what_was_read_of_both_days_is_recorded(made: dict[str, dg.ExecuteInProcessResult]) -> None:
    read = {
        event.asset_key.to_user_string(): {
            (each.table, each.partition) for each in read_versions(event.materialization.metadata)
        }
        for event in made[DAYS[1]].get_asset_materialization_events()
    }
    assert read["markouts"] == {(table, day) for table in ("orders", "fills", "quotes") for day in DAYS}
    assert read["slippage"] == {(t, day) for t in ("decisions", "orders", "fills", "quotes") for day in DAYS}


def test_without_quotes_the_checks_say_that_costs_do_not_speak_for_the_day(delivered: Path, tmp_path: Path) -> None:
    lake, full = Lake(tmp_path / "lake"), Lake(delivered / "lake")
    for kind in ("decisions", "orders", "fills"):
        lake.write(kind, DAYS[0], full.read(kind, DAYS[0]).rows, TABLES[kind])
    lake.write("quotes", DAYS[0], TABLES["quotes"].empty(), TABLES["quotes"])
    result = materialize(tmp_path, DAYS[0])
    assert result.success
    passed = dict(evaluations(result))
    assert passed["components_add_up"]
    assert not passed["costs_cover_the_orders"]
    assert not passed["markouts_cover_the_fills"]


def test_a_fill_without_an_order_fails_the_coverage(delivered: Path, tmp_path: Path) -> None:
    lake, full = Lake(tmp_path / "lake"), Lake(delivered / "lake")
    for kind in ("decisions", "orders", "fills", "quotes"):
        rows = full.read(kind, DAYS[0]).rows
        lake.write(kind, DAYS[0], rows.slice(1) if kind == "orders" else rows, TABLES[kind])
    assert not dict(evaluations(materialize(tmp_path, DAYS[0])))["costs_cover_the_orders"]
