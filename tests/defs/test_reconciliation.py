"""Reconciliation in the graph: the lost fill is found, its late delivery ends the break, and the checks say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.soak import Clocked
from research_to_prod.defs.execution import assets as execution
from research_to_prod.defs.operations import checks
from research_to_prod.defs.operations.assets import reconciliation
from research_to_prod.defs.operations.running_day import COMPARED, running_breaks
from research_to_prod.defs.operations.watching import running_day_schedule
from research_to_prod.defs.resources import SANDBOX_SEED, Venues, build_resources
from research_to_prod.defs.runner import open_instance
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.lake import Lake
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import VenueClient
from research_to_prod.market_data.venue_errors import VenueUnavailable
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan, Journal
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.record_faults import RecordFault, Records
from research_to_prod.sandbox.server import SandboxServer
from research_to_prod.settings import Settings

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


# The desk loses its fill of 07:00:11.
TIMES = {"fills": "filled_at", "order_events": "received_at", "ledger_entries": "booked_at", "positions": "held_at"}


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 6, hour, minute, tzinfo=UTC)


def with_sendings(events: pa.Table) -> pa.Table:
    """The sandbox's desk notes its orders from the venue's first word on; this one when it sent them, too."""
    sent = [
        row | {"event_id": f"{row['event_id']} sent", "event": "sent", "occurred_at": None, "venue_order_id": None,
               "received_at": row["received_at"] - timedelta(seconds=1)}
        for row in events.to_pylist()
        if row["event"] == "new"
    ]  # fmt: skip
    return pa.concat_tables([events, pa.Table.from_pylist(sent, schema=events.schema)])


class RunningDay:
    """A desk that delivers while its day runs, and the venue at the same time of day."""

    def __init__(self, folder: Path, server: SandboxServer) -> None:
        self.settings, self.now = Settings(data=folder), at(0)
        self.delivered = SandboxDesk(SandboxMarket(SANDBOX_SEED)).deliveries(DAY)
        self.delivered["order_events"] = with_sendings(self.delivered["order_events"])
        server.clock = lambda: self.now
        self.resources: dict[str, object] = build_resources({"R2P_DATA": str(folder)}, clock=lambda: self.now)
        self.resources["venues"] = Clocked(server, lambda: self.now)

    def look(self, told: datetime, now: datetime) -> list[dict[str, Any]]:
        """Deliver everything up to ``told``, and compare at ``now``."""
        self.now = now
        for kind in COMPARED:
            rows = self.delivered[kind]
            early = pc.less_equal(rows[TIMES[kind]], pa.scalar(told, rows[TIMES[kind]].type))
            InboxWriter(self.settings.inbox).write(kind, DAY, rows.filter(early))
        assert dg.materialize([running_breaks], resources=self.resources).success
        rows = Lake(self.settings.lake).read("running_breaks", DAY).rows
        return [row for row in rows.to_pylist() if row["status"] == "open"]

    def measured(self) -> dict[str, float | None]:
        lines = (self.settings.operations / f"readings-{DAY}.jsonl").read_text().splitlines()
        return {each["metric"]: each.get("value") for each in map(json.loads, lines)}


@pytest.fixture
def day(tmp_path: Path) -> Iterator[RunningDay]:
    with SandboxServer(SANDBOX_SEED, lambda: at(0)) as server:
        yield RunningDay(tmp_path, server)


def test_what_the_desk_has_not_told_yet_is_not_missing_and_what_it_lost_is_found_once_it_went_on(
    day: RunningDay,
) -> None:
    assert day.look(at(7), at(8, 10)) == []
    calm = day.measured()
    # The venue's own word of its margin: the account is rich, and no hour's deviation is known here.
    assert 0 < (calm.pop("margin_ratio") or 0) < 0.01
    assert calm.pop("liquidation_distance") is None
    assert set(calm.values()) == {0}
    assert calm.keys() == {
        "fill_breaks", "position_break_lots", "position_break_share", "position_sign_flips", "balance_break_value",
        "balance_break_share", "unknown_orders", "forced_events", "unexpected_movements", "funding_mismatch",
        "funding_mismatch_value", "funding_mismatches_in_a_row", "unknown_outcome_age", "outcome_burn", "ack_latency",
        "reject_rate",
    }  # fmt: skip
    (lost,) = day.look(at(8), at(8, 15))
    assert (lost["class"], lost["verdict"], lost["first_seen_at"]) == ("missing_fill_internal", "confirmed", day.now)
    found = day.measured()
    assert {metric: value for metric, value in found.items() if value and metric in calm} == {"fill_breaks": 1}
    (again,) = day.look(at(8), at(8, 20))
    assert (again["break_id"], again["first_seen_at"]) == (lost["break_id"], lost["first_seen_at"])


def test_what_the_desk_lost_of_its_running_day_is_measured_by_the_metrics_that_are_about_it(day: RunningDay) -> None:
    """The fill that it loses anyway, an order that it forgot, and a payment of funding that it never booked."""
    truth = Records(day.delivered, {}, np.random.default_rng(0), Journal())
    assert truth.inject(RecordFault.FORGOTTEN_ORDER)
    assert truth.inject(RecordFault.LOST_FUNDING)
    day.delivered |= {kind: truth.table(kind) for kind in COMPARED}
    day.look(at(22), at(22, 10))
    found = {metric: value for metric, value in day.measured().items() if value and metric != "margin_ratio"}
    money = found.pop("funding_mismatch_value")
    assert found == {"fill_breaks": 1, "unknown_orders": 1, "funding_mismatch": 1, "funding_mismatches_in_a_row": 1}
    assert money
    assert money > 1


def test_a_desk_that_has_delivered_nothing_is_told_so(day: RunningDay) -> None:
    day.now = at(1)
    result = dg.materialize([running_breaks], resources=day.resources, raise_on_error=False)
    assert not result.success
    assert not (day.settings.operations / f"readings-{DAY}.jsonl").exists()


def test_the_schedule_waits_for_deliveries_and_asks_under_an_id_of_each_tick(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)

    def asked(now: datetime) -> dg.RunRequest | dg.SkipReason:
        with open_instance(settings) as instance:
            context = dg.build_schedule_context(
                instance=instance, scheduled_execution_time=now, resources={"settings": settings}
            )
            found = running_day_schedule(context)
        assert isinstance(found, dg.RunRequest | dg.SkipReason)
        return found

    for kind in ("fills", "positions"):
        assert isinstance(asked(at(9)), dg.SkipReason)
        (settings.inbox / kind).mkdir(parents=True)
        (settings.inbox / kind / f"{DAY}.parquet").touch()
    one, other = asked(at(9)), asked(at(9) + timedelta(minutes=5))
    assert isinstance(one, dg.RunRequest)
    assert isinstance(other, dg.RunRequest)
    assert one.run_key != other.run_key
    assert isinstance(asked(at(9) + timedelta(days=1)), dg.SkipReason)
