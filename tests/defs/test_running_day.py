"""The running day compared in the graph: what both sides have told is judged, and nothing that one may still tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.soak import Clocked
from research_to_prod.defs.operations.running_day import COMPARED, running_breaks
from research_to_prod.defs.operations.watching import running_day_schedule
from research_to_prod.defs.resources import SANDBOX_SEED, build_resources
from research_to_prod.defs.runner import open_instance
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.lake import Lake
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.server import SandboxServer
from research_to_prod.settings import Settings

DAY = "2026-01-06"  # the desk loses its fill of 07:00:11
TIMES = {"fills": "filled_at", "order_events": "occurred_at", "ledger_entries": "booked_at", "positions": "held_at"}


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 6, hour, minute, tzinfo=UTC)


class Day:
    """A desk that delivers while its day runs, and the venue at the same time of day."""

    def __init__(self, folder: Path, server: SandboxServer) -> None:
        self.settings, self.now = Settings(data=folder), at(0)
        self.delivered = SandboxDesk(SandboxMarket(SANDBOX_SEED)).deliveries(DAY)
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
def day(tmp_path: Path) -> Iterator[Day]:
    with SandboxServer(SANDBOX_SEED, lambda: at(0)) as server:
        yield Day(tmp_path, server)


def test_what_the_desk_has_not_told_yet_is_not_missing_and_what_it_lost_is_found_once_it_went_on(day: Day) -> None:
    assert day.look(at(7), at(8, 10)) == []
    assert day.measured() == {"fill_breaks": 0, "position_sign_flips": 0, "position_break_share": 0}
    (lost,) = day.look(at(8), at(8, 15))
    assert (lost["class"], lost["verdict"], lost["first_seen_at"]) == ("missing_fill_internal", "confirmed", day.now)
    assert day.measured()["fill_breaks"] == 1
    (again,) = day.look(at(8), at(8, 20))
    assert (again["break_id"], again["first_seen_at"]) == (lost["break_id"], lost["first_seen_at"])


def test_a_desk_that_has_delivered_nothing_is_told_so(day: Day) -> None:
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
