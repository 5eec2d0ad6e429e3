"""Reconciliation in the graph: the lost fill is found, its late delivery ends the break, and the checks say so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from research_to_prod.defs.execution import assets as execution
from research_to_prod.defs.operations import checks
from research_to_prod.defs.operations.assets import reconciliation
from research_to_prod.defs.resources import SANDBOX_SEED, Venues, build_resources
from research_to_prod.lake import Lake
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import VenueClient
from research_to_prod.market_data.venue_errors import VenueUnavailable
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan
from research_to_prod.sandbox.market import SandboxMarket

DAY = "2026-01-06"
DESK = (execution.fills, execution.order_events, execution.ledger_entries, execution.positions)
CHECKS = (
    checks.records_agree,
    checks.breaks_are_dealt_with_in_time,
    checks.every_event_adds_up,
    checks.suspense_is_small,
)


class Night:
    """The nightly job's part on one lake, as often as wanted."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self.instance = folder, instance
        self.now = datetime(2026, 1, 7, 2, 20, tzinfo=UTC)
        self.resources: dict[str, object] = build_resources({"R2P_DATA": str(folder)}, clock=lambda: self.now)
        self.lake = Lake(folder / "lake")

    def run(self, *assets: Any, **resources: object) -> dict[str, dg.AssetCheckEvaluation]:
        result = dg.materialize(
            list(assets), instance=self.instance, resources=self.resources | resources, partition_key=DAY
        )
        return {each.check_name: each for each in result.get_asset_check_evaluations()}

    def breaks(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.lake.read("breaks", DAY).rows.to_pylist()
        return rows


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        night = Night(folder, instance)
        SandboxDesk(SandboxMarket(SANDBOX_SEED)).write_inbox(DAY, folder / "inbox")
        assert night.run(*DESK, execution.venue_records)[execution.ACCOUNT_READ].passed
        yield night


def test_the_lost_fill_is_the_one_break_and_what_went_wrong_is_dealt_with_within_the_hour(night: Night) -> None:
    found = night.run(reconciliation, *CHECKS)
    (row,) = night.breaks()
    assert (row["class"], row["status"], row["first_seen_at"]) == ("missing_fill_internal", "open", night.now)
    assert {name: each.passed for name, each in found.items()} == {
        "records_agree": False,
        "breaks_are_dealt_with_in_time": True,
        "every_event_adds_up": True,
        "suspense_is_small": True,
    }
    night.now += timedelta(hours=2)
    found = night.run(reconciliation, *CHECKS)
    assert [each["first_seen_at"] for each in night.breaks()] == [row["first_seen_at"]]
    assert found["breaks_are_dealt_with_in_time"].metadata["oldest"].value == [
        f"{DAY} p2 missing_fill_internal {row['symbol']}"
    ]


def test_both_books_are_posted_and_the_break_is_the_difference_between_them(night: Night) -> None:
    night.run(reconciliation)
    rows = night.lake.read("postings", DAY).rows.to_pylist()
    desk, venue = ({row["event_id"] for row in rows if row["book"] == book} for book in ("desk", "venue"))
    (lost,) = night.breaks()
    assert venue - desk == {f"fill {lost['symbol']} {lost['record_id']}"}
    assert desk - venue == set()


class Down(Venues):
    """A venue whose statements and orders cannot be read."""

    def client(self, venue: VenueSpec) -> VenueClient:
        client = super().client(venue)

        def fail(*_: object) -> Any:
            raise VenueUnavailable("down for the night")

        client.my_orders = client.statements = fail  # type: ignore[method-assign]
        return client


def test_what_was_read_completely_is_not_replaced_by_a_reading_that_was_not(night: Night) -> None:
    names = ("venue_orders", "venue_balances", "venue_positions", "venue_fills")
    before = {name: night.lake.version(name, DAY) for name in names}
    found = night.run(execution.venue_records, venues=Down({}))
    assert not found[execution.ACCOUNT_READ].passed
    assert found[execution.ACCOUNT_READ].severity is dg.AssetCheckSeverity.WARN
    after = {name: night.lake.version(name, DAY) for name in names}
    assert {name for name in names if after[name] != before[name]} <= {"venue_fills"}
    night.run(reconciliation)
    assert [row["class"] for row in night.breaks()] == ["missing_fill_internal"]


def test_its_late_delivery_ends_the_break(night: Night) -> None:
    night.run(reconciliation)
    (before,) = night.breaks()
    SandboxDesk(SandboxMarket(SANDBOX_SEED), faults=FaultPlan()).write_inbox(DAY, night.folder / "inbox")
    night.now += timedelta(hours=1)
    found = night.run(*DESK, reconciliation, *CHECKS)
    (row,) = night.breaks()
    assert (row["break_id"], row["status"], row["resolution"]) == (before["break_id"], "resolved", "evidence")
    assert all(each.passed for each in found.values())


def test_a_desk_that_records_no_orders_payments_and_positions_is_told_what_is_not_compared(
    tmp_path: Path, night: Night
) -> None:
    desk = SandboxDesk(SandboxMarket(SANDBOX_SEED))
    desk.write_inbox(DAY, tmp_path / "inbox")
    for kind in ("order_events", "ledger_entries", "positions"):
        (tmp_path / "inbox" / kind / f"{DAY}.parquet").unlink()
    bare = Night(tmp_path, night.instance)
    for table in ("venue_fills", "venue_orders", "venue_balances", "venue_positions", "venue_income"):
        bare.lake.write(table, DAY, night.lake.read(table, DAY).rows, execution.VENUE_RECORDS[table])
        key = f"{table}-{DAY}"
        bare.lake.write("fetch_certificates", key, night.lake.read("fetch_certificates", key).rows, FETCH_CERTIFICATES)
    result = dg.materialize(
        [*DESK, reconciliation], instance=night.instance, resources=bare.resources, partition_key=DAY
    )
    (told, *_) = [
        each
        for each in result.asset_materializations_for_node("reconciliation")
        if each.asset_key.to_user_string() == "breaks"
    ]
    assert told.metadata["not_compared"].value == [
        "orders: no order_events delivered",
        "payments and transfers: no ledger_entries delivered",
        "beliefs: no positions delivered",
    ]
    assert [row["class"] for row in bare.breaks()] == ["missing_fill_internal"]
