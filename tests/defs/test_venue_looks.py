"""The sensor looks at the sandbox over HTTP; each fault makes its own rule fire and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from research_to_prod.definitions import defs
from research_to_prod.defs.execution.assets import read_accounts
from research_to_prod.defs.operations.promised_runs import DUE_IN, OTHERWISE, promised_runs
from research_to_prod.defs.operations.watching import DUE_AFTER, venue_status
from research_to_prod.defs.resources import SANDBOX_SEED, Venues
from research_to_prod.lake import Lake
from research_to_prod.market_data.traffic import Heard
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueClient, VenueError, connect
from research_to_prod.operations.alerting.burn_measures import Promised
from research_to_prod.operations.alerting.evaluation import Key, Observation, State
from research_to_prod.operations.readings import Cursor, Readings
from research_to_prod.operations.traffic_log import TrafficLog
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, FaultSwitch
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer
from research_to_prod.settings import Settings
from tests.operations.alerting.book import POLICY, context, firing, held, judged

NOON = datetime(2026, 1, 7, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class Desk(Venues):
    """A data folder, the sandbox, and clients that sign by the test's clock; one turn of rules a minute."""

    data: Path
    server: SandboxServer
    now: datetime = NOON
    cursor: str | None = None
    taken: Cursor | None = None
    states: dict[Key, State] = field(default_factory=dict)

    def __hash__(self) -> int:
        return id(self)

    @property
    def settings(self) -> Settings:
        return Settings(data=self.data)

    def client(self, venue: VenueSpec) -> VenueClient:
        keys = Credentials(key=API_KEY, secret=API_SECRET)
        client = connect(venue, base_url=self.server.base_url, credentials=keys, sleep=lambda _: None)
        client._transport._exchange.milliseconds = lambda: int(self.now.timestamp() * 1000)
        return client

    def inject(self, *rules: FaultRule) -> None:
        self.server.switch = FaultSwitch(FaultPlan(rules))

    def read_accounts(self) -> None:
        """Read the account as a run does, in another process than the sensor's."""
        read_accounts(Lake(self.settings.lake), self.settings, self, f"{self.now:%Y-%m-%d}")

    def look(self) -> dict[str, Observation]:
        """Tick the sensor, and return what it wrote down."""
        resources = {"settings": self.settings, "venues": self, "clock": lambda: self.now}
        with dg.build_sensor_context(cursor=self.cursor, resources=resources) as ticking:
            result = venue_status(ticking)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        taken = Readings(self.settings.operations).since(self.taken, frozenset(POLICY.metrics), self.now)
        assert taken.refused == ()
        self.taken = taken.cursor
        return {each.metric: each for each in taken.observations}

    def fires(self, minutes: int = 3) -> set[str]:
        """Look once a minute, judge every rule on a held book, and return what was seen at last, by rule."""
        told: set[str] = set()
        for _ in range(minutes):
            self.now += MINUTE
            result = judged(self.look().values(), context(held()), self.states, self.now)
            self.states = dict(result.states)
            told = {f"{each.case.rule}: {each.metric} ({each.severity})" for each in firing(result) if each.known}
        return told


@pytest.fixture(scope="module")
def trader() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(SANDBOX_SEED))


@pytest.fixture
def desk(tmp_path: Path, trader: SandboxDesk) -> Iterator[Desk]:
    with SandboxServer(SANDBOX_SEED, desk=trader) as server:
        desk = Desk(tmp_path, server)
        server.clock = lambda: desk.now
        yield desk


def test_a_calm_venue_has_a_value_for_everything_and_fires_nothing(desk: Desk) -> None:
    desk.read_accounts()
    assert desk.fires() == set()
    desk.now += MINUTE
    values = {name: each.value for name, each in desk.look().items()}
    assert values.pop("rate_budget") == pytest.approx(0, abs=0.1)
    assert values.pop("clock_skew") == pytest.approx(0, abs=0.01)
    assert values == dict.fromkeys(
        ("venue_not_ok", "server_errors", "clock_refusals", "venue_bans", "certificate_burn", "incomplete_fetches"), 0
    )


def test_without_a_reading_of_the_account_what_rests_on_it_is_not_known(desk: Desk) -> None:
    found = desk.look()
    assert found["clock_refusals"].value is None
    assert "certificate_burn" not in found


def test_a_look_costs_two_requests_and_in_an_outage_only_the_status(desk: Desk) -> None:
    desk.look()
    asked = desk.server.requests
    desk.now += MINUTE
    desk.look()
    assert desk.server.requests == asked + 2
    desk.inject(FaultRule("/sapi/*", FaultKind.BAD_GATEWAY, probability=1.0))
    asked, faults = desk.server.requests, len(desk.server.journal.records)
    desk.look()
    assert desk.server.requests - asked == len(desk.server.journal.records) - faults == 6


LOOKED: Sequence[tuple[str, FaultRule]] = (
    ("venue_status: server_errors (P2)",
     FaultRule("/sapi/*", FaultKind.SERVER_ERROR, frozenset({*range(1, 6), *range(7, 12), *range(13, 18)}))),
    ("clock_skew: clock_skew (P3)", FaultRule("*/time", FaultKind.CLOCK_SKEW, probability=1.0, seconds=0.3)),
    ("clock_skew: clock_skew (P3)", FaultRule("*/time", FaultKind.CLOCK_SKEW, probability=1.0, seconds=-0.3)),
    ("rate_budget: rate_budget (P3)", FaultRule("/api/*", FaultKind.OTHERS_ASK, probability=1.0, weight=4800)),
    ("rate_budget: rate_budget (P3)", FaultRule("/fapi/*", FaultKind.OTHERS_ASK, probability=1.0, weight=1900)),
    ("rate_budget: venue_bans (P2)", FaultRule("/sapi/*", FaultKind.BANNED, frozenset({2}), seconds=600)),
)  # fmt: skip


@pytest.mark.parametrize(("told", "fault"), LOOKED, ids=lambda each: each if isinstance(each, str) else "")
def test_one_fault_makes_its_own_rule_fire_and_no_other(desk: Desk, told: str, fault: FaultRule) -> None:
    desk.inject(fault)
    assert desk.fires() == {told}


READ: Sequence[tuple[set[str], FaultRule]] = (
    ({"clock_skew: clock_refusals (P2)"},
     FaultRule("/fapi/v1/commissionRate", FaultKind.CLOCK_SKEW, frozenset({1}), seconds=30)),
    ({"certificate_missing: certificate_burn (P2)"}, FaultRule("*/allOrders", FaultKind.CUT_JSON, probability=1.0)),
)  # fmt: skip


@pytest.mark.parametrize(("told", "fault"), READ, ids=["clock_refusals", "certificate_burn"])
def test_what_a_run_met_at_the_venue_is_told_by_the_sensor(desk: Desk, told: set[str], fault: FaultRule) -> None:
    desk.inject(fault)
    desk.read_accounts()
    desk.inject()
    assert desk.fires() == told


def test_a_reading_that_failed_is_written_down_too(desk: Desk) -> None:
    desk.inject(FaultRule("*/myTrades", FaultKind.BAD_GATEWAY, probability=1.0))
    with pytest.raises(VenueError):
        desk.read_accounts()
    heard, _ = TrafficLog(desk.settings.operations).within(NOON - MINUTE, NOON)
    assert (sum(each.fetches for each in heard), sum(each.incomplete for each in heard)) == (1, 1)
    assert sum(each.server_errors for each in heard) == 6


def test_what_is_heard_over_midnight_is_found_and_a_line_that_nobody_can_read_is_named(tmp_path: Path) -> None:
    log = TrafficLog(tmp_path)
    midnight = NOON + 12 * timedelta(hours=1)
    heard = tuple(Heard(venue="sandbox", at=midnight + n * MINUTE, answers=1, used={"/api/": 0.5}) for n in (-2, -1, 1))
    log.add(heard)
    path = tmp_path / "traffic-2026-01-08.jsonl"
    path.write_bytes(path.read_bytes() + b'{"venue": "sandbox"}\n')
    found, refused = log.within(midnight - 2 * MINUTE, midnight + 2 * MINUTE)
    assert found == heard[1:]
    assert refused == ("traffic of 2026-01-08, line 2: Field required",)


class TestPromisedRuns:
    """Runs that schedules asked for, in a real event log, by its own clock."""

    def run(self, instance: dg.DagsterInstance, asked: datetime, *, fails: bool = False, **tags: str) -> dg.DagsterRun:
        @dg.op
        def work() -> None:
            if fails:
                raise ValueError("it breaks")

        @dg.job
        def posture() -> None:
            work()

        named = {"dagster/schedule_name": "posture_schedule", ".dagster/scheduled_execution_time": asked.isoformat()}
        result = posture.execute_in_process(instance=instance, raise_on_error=False, tags=named | tags)
        return result.dagster_run

    def test_a_run_that_succeeded_and_one_tried_again_are_done_and_one_that_failed_is_not(self) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            now = datetime.now(UTC)
            self.run(instance, now, fails=True)
            assert promised_runs(instance, now + MINUTE) == (Promised(now + DUE_IN["posture_schedule"], None),)
            self.run(instance, now)
            (found,) = promised_runs(instance, now + MINUTE) or ()
            assert not found.late
            assert found.succeeded is not None
            assert now <= found.succeeded <= now + MINUTE

    def test_a_run_that_was_done_after_its_time_is_late(self) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            now = datetime.now(UTC)
            self.run(instance, now - DUE_IN["posture_schedule"] - MINUTE)
            (found,) = promised_runs(instance, now + MINUTE) or ()
            assert found.late

    def test_a_log_that_begins_later_tells_nothing_of_before_and_runs_that_people_ask_for_promise_nothing(self) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            now = datetime.now(UTC)
            assert promised_runs(instance, now) is None
            instance.create_run_for_job(defs.resolve_job_def("posture"))
            assert promised_runs(instance, now) is None
            assert promised_runs(instance, now + MINUTE) == ()

    def test_a_run_is_late_when_the_next_one_is_asked_for_or_the_night_s_tables_are_due(self) -> None:
        ticks: Callable[[str], str] = lambda name: str(defs.resolve_schedule_def(name).cron_schedule)  # noqa: E731
        assert {name: ticks(name) for name in DUE_IN} == {
            "reconciliation_schedule": "*/5 * * * *",
            "running_day_schedule": "*/5 * * * *",
            "posture_schedule": "7,22,37,52 * * * *",
        }
        night = defs.resolve_schedule_def("nightly_schedule").cron_schedule
        assert night == "20 2 * * *"
        assert timedelta(hours=2, minutes=20) + OTHERWISE == DUE_AFTER
