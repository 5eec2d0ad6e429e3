"""What runs all the time: each tick does its work once, asks once for what became true, and stays small."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from research_to_prod.definitions import defs
from research_to_prod.defs.operations.watching import alerter, control_watcher, reconciliation_schedule, venue_status
from research_to_prod.defs.runner import open_instance
from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.lake import Lake
from research_to_prod.market_data.instruments import VenueStatus
from research_to_prod.market_data.traffic import Bracket
from research_to_prod.market_data.venue_errors import VenueRejected, VenueUnavailable, VenueUnsupported
from research_to_prod.operations.alerting.kept import kept_lines
from research_to_prod.operations.control_journal import ALL, ControlJournal
from research_to_prod.operations.delivery.heartbeat import FILE, last_beat
from research_to_prod.operations.ladder import Level, Release
from research_to_prod.operations.readings import Measured, Readings
from research_to_prod.promotion.controls import Mode, Scope
from research_to_prod.settings import Settings
from tests.operations.alerting.test_day_measures import rows
from tests.operations.test_ladder import PEOPLE, POLICY, reading, signal
from tests.reports.posture_book import LONG, NOON

MINUTE = timedelta(minutes=1)


@dataclass
class Desk:
    """A data folder, and a sensor's ticks on it, each with the cursor that the last one left."""

    data: Path
    now: datetime = NOON
    venues: Any = None
    cursors: dict[str, str | None] = field(default_factory=dict)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    @property
    def settings(self) -> Settings:
        return Settings(data=self.data)

    def tick(self, sensor: dg.SensorDefinition) -> dg.SensorResult:
        given = {
            "lake": Lake(self.settings.lake), "settings": self.settings, "clock": lambda: self.now,
            "venues": self.venues,
        }  # fmt: skip
        wanted = {name: each for name, each in given.items() if name in sensor.required_resource_keys}
        with dg.build_sensor_context(self.instance, self.cursors.get(sensor.name), resources=wanted) as context:
            found = sensor(context)
        if isinstance(found, dg.SkipReason):
            return dg.SensorResult(skip_reason=found)
        assert isinstance(found, dg.SensorResult)
        if found.cursor is not None:
            self.cursors[sensor.name] = found.cursor
        return found

    def measure(self, metric: str, value: float, **subject: str) -> None:
        Readings(self.settings.operations).add([Measured(metric=metric, value=value, at=self.now, **subject)], self.now)


def keys(result: dg.SensorResult) -> list[str | None]:
    return [each.run_key for each in result.run_requests or ()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk with a long position and nothing else in its lake."""
    positions = rows(INBOX_KINDS["positions"], LONG)
    Lake(tmp_path / "lake").write("positions", "2026-01-06", positions, INBOX_KINDS["positions"])
    return Desk(tmp_path)


def test_a_tick_is_a_turn_with_a_sign_of_life_and_a_minute_has_one(desk: Desk) -> None:
    assert desk.tick(alerter).skip_reason is None
    desk.now += timedelta(seconds=30)
    again = desk.tick(alerter)
    assert "is done" in str(again.skip_reason)
    desk.now += MINUTE
    desk.tick(alerter)
    sign = last_beat(desk.settings.operations / FILE)
    assert sign is not None
    assert (sign.turn, sign.at) == (1, desk.now)


def test_a_page_asks_for_one_new_posture_and_not_again_while_it_fires(desk: Desk) -> None:
    desk.tick(alerter)
    for minute in range(3):
        desk.now += MINUTE
        desk.measure("unknown_orders", 1, venue="sandbox")
        asked = keys(desk.tick(alerter))
        assert len(asked) == (1 if minute == 0 else 0), minute


def test_a_turn_that_failed_takes_the_same_readings_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.tick(alerter)
    before = desk.cursors["alerter"]
    desk.now += MINUTE
    desk.measure("unknown_orders", 1, venue="sandbox")
    with monkeypatch.context() as broken:
        broken.setattr("research_to_prod.operations.watch.write_textfile", _fail)
        with pytest.raises(OSError, match="disk"):
            desk.tick(alerter)
    assert desk.cursors["alerter"] == before
    assert len(keys(desk.tick(alerter))) == 1
    incidents = [json.loads(line) for line in (desk.settings.operations / "incidents.jsonl").read_text().splitlines()]
    opened = [each["opened"] for each in incidents if each.get("event") == "opened"]
    assert [each["rule"] for each in opened if not each["blind"]] == ["unknown_order"]


def _fail(*_: object) -> None:
    raise OSError("the disk is full")


def test_a_clock_that_was_set_back_does_not_turn_the_cursor_back(desk: Desk) -> None:
    desk.tick(alerter)
    before = desk.cursors["alerter"]
    desk.now -= timedelta(hours=1)
    assert desk.tick(alerter).skip_reason is not None
    assert desk.cursors["alerter"] == before


def test_a_later_tick_parses_no_file_again_and_reads_no_table_but_what_is_held(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget of 200 ms, held by count of work; two tables more where there are orders and a liquidity profile."""
    desk.tick(alerter)
    parsed: list[str] = []
    reads: list[str] = []
    load, read = yaml.load, Lake.read

    def counted(stream: Any, *loader: Any, **named: Any) -> Any:
        parsed.append(str(stream)[:40])
        return load(stream, *loader, **named)

    def counted_read(self: Lake, table: str, *rest: Any, **more: Any) -> Any:
        reads.append(table)
        return read(self, table, *rest, **more)

    monkeypatch.setattr(yaml, "load", counted)
    monkeypatch.setattr(Lake, "read", counted_read)
    desk.now += MINUTE
    desk.tick(alerter)
    assert parsed == []
    assert reads == ["positions"]


def test_runs_that_schedules_asked_for_and_that_are_late_are_told_by_the_alerter(desk: Desk) -> None:
    desk.now = datetime.now(UTC) + MINUTE
    asked = {"dagster/schedule_name": "posture_schedule"}
    for minutes in (20, 35, 50):
        at = (desk.now - minutes * MINUTE).isoformat()
        tags = asked | {".dagster/scheduled_execution_time": at}
        desk.instance.create_run_for_job(defs.resolve_job_def("posture"), status=dg.DagsterRunStatus.STARTED, tags=tags)
    desk.tick(alerter)
    kept = map(json.loads, kept_lines(desk.settings.operations, f"{desk.now:%Y-%m-%d}"))
    told = [(each["value"], each["severity"]) for each in kept if each["metric"] == "asset_freshness_burn"]
    assert told == [(1.0, "P2")]


def test_an_exposed_book_that_nothing_measures_is_a_page(desk: Desk) -> None:
    assert keys(desk.tick(alerter))
    pages = (desk.settings.operations / "pages.jsonl").read_text()
    assert "Not seen" in pages


class Peer:
    """A venue whose status is what the test says, and the way to it; nothing else of it is known."""

    name, banned, heard = "sandbox", False, ()

    def __init__(self) -> None:
        self.says: VenueStatus | Exception = VenueStatus.ONLINE
        self.clock: Bracket | None = None

    def client(self, _: object) -> Peer:
        return self

    def status(self) -> VenueStatus:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def bracket(self, _: int) -> Bracket:
        if self.clock is None:
            raise VenueUnsupported("no clock")
        return self.clock


def statuses(desk: Desk) -> list[tuple[float, str]]:
    (path,) = desk.settings.operations.glob("readings-*.jsonl")
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [(each["value"], each["evidence"]) for each in found if each["metric"] == "venue_not_ok"]


def test_a_venue_that_comes_back_asks_once_and_every_answer_is_a_reading(desk: Desk) -> None:
    desk.venues = peer = Peer()
    asked = []
    for says in (VenueStatus.ONLINE, VenueStatus.MAINTENANCE, VenueUnavailable("502"), VenueStatus.ONLINE,
                 VenueStatus.ONLINE):  # fmt: skip
        peer.says = says
        asked.append(len(keys(desk.tick(venue_status))))
        desk.now += MINUTE
    assert asked == [0, 0, 0, 1, 0]
    assert statuses(desk) == [(0, "online"), (1, "maintenance"), (1, "unavailable"), (0, "online"), (0, "online")]


def test_a_status_that_is_not_known_is_no_reading_and_no_return(desk: Desk) -> None:
    desk.venues = peer = Peer()
    peer.says = VenueStatus.MAINTENANCE
    desk.tick(venue_status)
    peer.says = VenueRejected("bad key")
    desk.tick(venue_status)
    assert statuses(desk) == [(1, "maintenance")]
    peer.says = VenueStatus.ONLINE
    assert len(keys(desk.tick(venue_status))) == 1


def test_a_venue_that_has_no_status_is_still_asked_for_its_time_and_one_that_refuses_is_not(desk: Desk) -> None:
    desk.venues = peer = Peer()
    peer.clock = Bracket(desk.now, desk.now, desk.now + MINUTE, timedelta(milliseconds=1))
    for says, told in ((VenueRejected("bad key"), set()), (VenueUnsupported("no status"), {"clock_skew"})):
        peer.says = says
        desk.tick(venue_status)
        (path,) = desk.settings.operations.glob("readings-*.jsonl")
        known = [each for each in map(json.loads, path.read_text().splitlines()) if each["value"] is not None]
        assert {each["metric"] for each in known} == told


def test_the_alerter_pages_for_a_venue_that_is_down_while_something_is_held(desk: Desk) -> None:
    desk.venues = peer = Peer()
    desk.tick(alerter)
    peer.says = VenueUnavailable("502")
    desk.now += MINUTE
    desk.tick(venue_status)
    assert keys(desk.tick(alerter))
    assert "venue_status" in (desk.settings.operations / "incidents.jsonl").read_text()


def test_controls_that_change_renew_the_manifest_once_each(desk: Desk) -> None:
    assert desk.tick(control_watcher).skip_reason is not None
    journal = ControlJournal(desk.settings.controls)
    journal.read(POLICY, ALL, reading(1, signal()))
    first = keys(desk.tick(control_watcher))
    assert first == [journal.ladders().head]
    assert keys(desk.tick(control_watcher)) == []
    journal.release(POLICY, ALL, Release(NOON + timedelta(days=999), Level.OBSERVE, PEOPLE, "drill over"))
    assert keys(desk.tick(control_watcher)) == [journal.ladders().head] != first


def test_a_page_holds_its_venue_back_and_renews_the_manifest_once(desk: Desk) -> None:
    desk.tick(alerter)
    desk.tick(control_watcher)
    asked = []
    for _ in range(3):
        desk.now += MINUTE
        desk.measure("unknown_orders", 1, venue="sandbox")
        desk.tick(alerter)
        asked += keys(desk.tick(control_watcher))
    ladders = ControlJournal(desk.settings.controls).ladders()
    assert asked == [ladders.head]
    (control,) = [each for each in ladders.controls() if each.scope is Scope.VENUE]
    assert (control.name, control.mode) == ("sandbox", Mode.REDUCE_ONLY)
    assert control.reason.startswith("level 4, flatten: unknown_order/0 (P1) in a unknown market, exposure X2")


def test_a_journal_that_has_not_grown_is_not_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ControlJournal(desk.settings.controls).read(POLICY, ALL, reading(1, signal()))
    desk.tick(control_watcher)
    monkeypatch.setattr(Path, "read_bytes", _fail)
    assert desk.tick(control_watcher).skip_reason is not None


def test_a_torn_line_is_no_change_and_neither_is_its_end(desk: Desk) -> None:
    ControlJournal(desk.settings.controls).read(POLICY, ALL, reading(1, signal()))
    desk.tick(control_watcher)
    whole = desk.settings.controls.read_bytes()
    desk.settings.controls.write_bytes(whole + b'{"torn')
    assert "no new whole line" in str(desk.tick(control_watcher).skip_reason)
    desk.settings.controls.write_bytes(whole)
    assert desk.tick(control_watcher).skip_reason is not None


def test_a_journal_that_was_shortened_is_an_error_and_no_manifest(desk: Desk) -> None:
    ControlJournal(desk.settings.controls).read(POLICY, ALL, reading(1, signal()))
    desk.tick(control_watcher)
    lines = desk.settings.controls.read_bytes().splitlines(keepends=True)
    desk.settings.controls.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(dg.Failure, match="only ever grows"):
        desk.tick(control_watcher)


def scheduled(desk: Desk, instance: dg.DagsterInstance, at: datetime) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, resources={"settings": desk.settings}
    )
    found = reconciliation_schedule(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def test_reconciliation_asks_for_the_newest_day_that_is_over_under_an_id_of_its_own(desk: Desk) -> None:
    (desk.settings.inbox / "fills").mkdir(parents=True)
    with open_instance(desk.settings) as instance:
        assert isinstance(scheduled(desk, instance, NOON), dg.SkipReason)
        for day in ("2026-01-04", "2026-01-05", "2026-01-06"):
            (desk.settings.inbox / "fills" / f"{day}.parquet").touch()
        one, next_ = (scheduled(desk, instance, NOON + each * timedelta(minutes=5)) for each in (0, 1))
        assert isinstance(one, dg.RunRequest)
        assert isinstance(next_, dg.RunRequest)
        assert {one.partition_key, next_.partition_key} == {"2026-01-05"}
        assert one.run_key != next_.run_key


def test_a_reconciliation_that_still_runs_is_not_joined_by_another(desk: Desk) -> None:
    (desk.settings.inbox / "fills").mkdir(parents=True)
    (desk.settings.inbox / "fills" / "2026-01-05.parquet").touch()
    with open_instance(desk.settings) as instance:
        run = instance.create_run_for_job(
            defs.resolve_job_def("reconcile"),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": "2026-01-05"},
        )
        assert isinstance(scheduled(desk, instance, NOON), dg.SkipReason)
        instance.delete_run(run.run_id)
        assert isinstance(scheduled(desk, instance, NOON), dg.RunRequest)


def test_what_asks_over_the_network_or_needs_live_readings_is_started_by_people() -> None:
    running = {
        each.name: each.default_status is dg.DefaultSensorStatus.RUNNING
        for each in (alerter, venue_status, control_watcher)
    }
    assert running == {"alerter": False, "venue_status": False, "control_watcher": True}
    assert reconciliation_schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert defs.resolve_schedule_def("posture_schedule").default_status is dg.DefaultScheduleStatus.RUNNING
