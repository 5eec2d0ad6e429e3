"""A day on the sandbox venue at full speed: everything that runs by itself, minute by minute, while things go wrong.

The real client asks the venue over HTTP; its clock is the simulated one. Each minute are done: the measuring that a
desk's systems would do, and the sensors `venue_status`, `alerter` and `control_watcher`; every fifth the schedule of
reconciliation, and hourly the run that it asks for. Faults come in episodes on the wire, and one request in a hundred
fails besides. Every seventh tick of the alerter is repeated, every fiftieth is killed on the way. A person takes each
page after three minutes and resolves what has been calm for ten. ``python -m benchmarks.soak``, or ``make soak``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import dagster as dg

from benchmarks._alert_systems import operate
from benchmarks.alerter_day import WRITING, failing
from research_to_prod.defs.execution import assets as execution
from research_to_prod.defs.operations.alerting import live_evaluations
from research_to_prod.defs.operations.assets import reconciliation
from research_to_prod.defs.operations.watching import (
    alerter,
    control_watcher,
    reconciliation_schedule,
    venue_status,
)
from research_to_prod.defs.resources import SANDBOX, SANDBOX_SEED, Venues, build_resources
from research_to_prod.defs.runner import open_instance
from research_to_prod.execution.contracts import VENUE_RECORDS
from research_to_prod.lake import Lake
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueClient, VenueError, connect
from research_to_prod.operations.control_journal import ControlJournal
from research_to_prod.operations.delivery.heartbeat import FILE, last_beat
from research_to_prod.operations.incidents.store import IncidentStore
from research_to_prod.operations.readings import Measured, Readings
from research_to_prod.operations.traffic_log import TrafficLog
from research_to_prod.operations.watch import INCIDENTS
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, FaultSwitch
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer
from research_to_prod.settings import Settings

START = datetime(2026, 1, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HELD = ("BTC/USDT", "DOGE/USDT", "ETH/USDT:USDT")
GRACE = 20  # minutes after an episode in which what it began may still be told
DESK = (execution.fills, execution.order_events, execution.ledger_entries, execution.positions)
NOISE = tuple(
    FaultRule("*", kind, probability=0.0025)
    for kind in (FaultKind.RESET, FaultKind.BAD_GATEWAY, FaultKind.EMPTY_BODY, FaultKind.CUT_JSON)
)


@dataclass(frozen=True)
class Episode:
    """What is wrong on the wire from one minute to before another, and the rule whose incident it is."""

    begin: int
    end: int
    rule: str
    faults: tuple[FaultRule, ...]


def always(pattern: str, *kinds: FaultKind) -> tuple[FaultRule, ...]:
    """Return faults that every request to ``pattern`` gets, the first of them."""
    return tuple(FaultRule(pattern, kind, probability=1.0) for kind in kinds)


EPISODES = (
    Episode(120, 140, "venue_status", always("*", FaultKind.BAD_GATEWAY)),
    Episode(420, 445, "certificate_missing", always("*/aggTrades", FaultKind.CUT_JSON)),
    Episode(700, 712, "venue_status", always("/sapi/*", FaultKind.SERVER_ERROR)),
    Episode(980, 1010, "certificate_missing", always("*/aggTrades", FaultKind.WRONG_SHAPE)),
    Episode(1250, 1280, "venue_status", always("*", FaultKind.RESET)),
)


class Clocked(Venues):
    """Clients of one sandbox, whose clock and waits are the simulation's."""

    def __init__(self, server: SandboxServer, now: Callable[[], datetime]) -> None:
        super().__init__({})
        self.server, self._now = server, now

    def client(self, venue: VenueSpec) -> VenueClient:
        """Return a client that signs by the simulated clock."""
        keys = Credentials(key=API_KEY, secret=API_SECRET)
        client = connect(venue, base_url=self.server.base_url, credentials=keys, sleep=lambda _: None)
        exchange = client._transport._exchange  # noqa: SLF001 - ccxt has no other place for a clock
        exchange.milliseconds = lambda: int(self._now().timestamp() * 1000)
        return client


@dataclass
class Soak:
    """One installation, its venue, and what the day has left so far."""

    data: Path
    instance: dg.DagsterInstance
    server: SandboxServer
    episodes: Sequence[Episode]
    now: datetime = START
    cursors: dict[str, str | None] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    reconciled: list[tuple[str, bool]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.resources = build_resources({"R2P_DATA": str(self.data)}, clock=lambda: self.now)
        self.resources["venues"] = Clocked(self.server, lambda: self.now)
        self.settings, self.lake = self.resources["settings"], Lake(self.data / "lake")
        spec = VenueSpec(name=SANDBOX, ccxt="binance", rate_limit_ms=1)
        self.client = Clocked(self.server, lambda: self.now).client(spec)
        self.incidents = IncidentStore(self.settings.operations / INCIDENTS)
        self.desk = SandboxDesk(SandboxMarket(SANDBOX_SEED))
        self.deliver(START - timedelta(days=1))

    def deliver(self, day: datetime) -> None:
        """Let the simulated desk drop its records of a day that is over."""
        self.desk.write_inbox(f"{day:%Y-%m-%d}", self.settings.inbox)
        self.materialize(f"{day:%Y-%m-%d}", *DESK)

    def minute(self, number: int, *, reconcile_every: int) -> None:
        """Do all that one minute has."""
        self.now = START + number * MINUTE
        going = [rule for each in self.episodes if each.begin <= number < each.end for rule in each.faults]
        self.server.switch = FaultSwitch(FaultPlan(rules=(*going, *NOISE), seed=number))
        self.measure()
        self.tick(venue_status)
        if number % 50 == 49:
            with patch(WRITING, failing), contextlib.suppress(OSError):
                self.tick(alerter)
            self.now += timedelta(seconds=20)  # a daemon tries again
        started = time.process_time()
        self.tick(alerter)
        self.cpu.append(time.process_time() - started)
        if number % 7 == 0:
            self.tick(alerter)
        self.tick(control_watcher)
        if number % 5 == 0:
            self.reconcile(run=(number + 5) % reconcile_every == 0)
        with self.incidents.work() as work:
            operate(work, self.now)

    def tick(self, sensor: dg.SensorDefinition) -> None:
        """Evaluate a sensor as a daemon does."""
        given = {name: each for name, each in self.resources.items() if name in sensor.required_resource_keys}
        with dg.build_sensor_context(self.instance, cursor=self.cursors.get(sensor.name), resources=given) as context:
            found = sensor(context)
        if isinstance(found, dg.SensorResult):
            self.cursors[sensor.name] = found.cursor or self.cursors.get(sensor.name)
            self.asked += [f"{sensor.name} {each.run_key}" for each in found.run_requests or ()]

    def measure(self) -> None:
        """Write down what a desk's own systems see of the market that it holds."""
        found: list[Measured] = []
        whole = True
        for symbol in HELD:
            try:
                got = self.client.trades(symbol, self.now - 5 * MINUTE, self.now)
            except VenueError:
                whole = False
                continue
            whole &= got.certificate.complete
            if got.rows.num_rows:
                age = (self.now - max(got.rows["ts"].to_pylist())).total_seconds()
                market = {"venue": SANDBOX, "instrument": symbol}
                found.append(Measured(metric="market_data_age", value=age, at=self.now, **market))
        # What these requests came back as the sensor counts with its own, and takes it for a reading of the account.
        heard = [each for each in self.client.heard if each.at > self.now - MINUTE]
        heard[-1:] = [each.model_copy(update={"fetches": 1, "incomplete": int(not whole)}) for each in heard[-1:]]
        TrafficLog(self.settings.operations).add(heard)
        venue: list[dict[str, Any]] = [
            {"metric": each, "value": 0.0} for each in ("unknown_orders", "forced_events", "unknown_outcome_age")
        ]
        found += [Measured(venue=SANDBOX, at=self.now, **each) for each in venue]
        Readings(self.settings.operations).add(found, self.now)

    def reconcile(self, *, run: bool) -> None:
        """Ask the schedule, and do what it asks for where a run fits into the time of this soak."""
        # Closed here: what the garbage collector closes in the venue's thread leaves Dagster a dead instance.
        with dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=self.now, resources={"settings": self.settings}
        ) as context:
            asked = reconciliation_schedule(context)
        if not isinstance(asked, dg.RunRequest):
            return
        self.asked.append(f"reconcile {asked.run_key}")
        if run and asked.partition_key is not None:
            done = self.materialize(asked.partition_key, *DESK, execution.venue_records, reconciliation)
            self.reconciled.append((asked.partition_key, done))

    def materialize(self, day: str, *assets: Any) -> bool:
        """Run assets of a day and return whether that worked: while the venue is away fills can't be read."""
        result = dg.materialize(
            list(assets), instance=self.instance, resources=self.resources, partition_key=day, raise_on_error=False
        )
        return result.success


def soak(
    data: Path, minutes: int, episodes: Sequence[Episode] = EPISODES, *, reconcile_every: int = 60
) -> dict[str, object]:
    """Go through so many minutes from midnight on, and return what they cost and left."""
    memory: list[int] = []
    server = SandboxServer(SANDBOX_SEED, lambda: START)
    with (
        open_instance(Settings(data=data)) as instance,
        server,
    ):
        day = Soak(data, instance, server, episodes)
        server.clock = lambda: day.now
        for number in range(minutes):
            day.minute(number, reconcile_every=reconcile_every)
            if number in {minutes // 4, minutes - 1}:
                memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        written = {each.name: each.stat().st_size // 1024 for each in sorted(day.settings.operations.iterdir())}
        if minutes >= 1440:
            # The night after: the day is over, and what was kept of it is stored.
            day.now = START + timedelta(days=1, hours=2, minutes=20)
            day.deliver(START)
            day.materialize(f"{START:%Y-%m-%d}", execution.venue_records, reconciliation, live_evaluations)
        return told_of(day, minutes, memory) | {"files, kB": written}


def told_of(day: Soak, minutes: int, memory: list[int]) -> dict[str, object]:
    """Return what a soak has shown, ``wrong`` first: what should not be."""
    log = day.incidents.read().log
    opened = [each for each in log if each.event == "opened" or (each.event == "moved" and each.to == "reopened")]
    subjects = {each.incident_id: each.opened for each in log if each.opened is not None}
    told = Counter[tuple[int, str]]()
    strangers = []
    for each in opened:
        about, at = subjects[each.incident_id], (each.at - START) // MINUTE
        if about.blind or not each.page:
            continue
        near = [e for e in day.episodes if e.begin <= at < e.end + GRACE]
        own = [e.begin for e in near if e.rule == about.rule]
        told[(own[0] if own else -1, about.rule)] += 1
        if not near:
            strangers.append(f"{about.rule} at minute {at}")
    expected = Counter({(each.begin, each.rule): 1 for each in day.episodes if each.begin < minutes})
    sign = last_beat(day.settings.operations / FILE)
    turns = 0 if sign is None else sign.turn + 1
    asked = Counter(day.asked)
    due = {f"reconcile {(START - timedelta(days=1)):%Y-%m-%d} at {START + n * MINUTE:%Y%m%dT%H%M}"
           for n in range(0, minutes, 5)}  # fmt: skip
    days = sorted({*(each for each, _ in day.reconciled), *([f"{START:%Y-%m-%d}"] if minutes >= 1440 else [])})
    tables = [*VENUE_RECORDS, "breaks", "postings"]
    missing = [f"{table} {each}" for each in days for table in tables if not day.lake.has(table, each)]
    ladders = ControlJournal(day.settings.controls).ladders()
    wrong = {
        "turns missing": minutes - turns,
        "reconciliations not asked for": sorted(due - set(asked)),
        "asked for twice": [name for name, count in asked.items() if count > 1],
        "episodes with other than one incident": {
            f"{begin} {rule}": told[begin, rule] for begin, rule in expected if told[begin, rule] != 1
        },
        "pages outside of every episode": strangers,
        "partitions missing": missing,
    }
    return {
        "wrong": {name: what for name, what in wrong.items() if what},
        "turns": turns,
        "faults injected": dict(sorted(Counter(str(each.kind) for each in day.server.journal.records).items())),
        "requests": day.server.requests,
        "incidents opened, and of them not seen": (len(opened), sum(subjects[e.incident_id].blind for e in opened)),
        "reconciliations asked for, run, and of them failed": (
            len(due & set(asked)),
            len(day.reconciled),
            sum(not done for _, done in day.reconciled),
        ),
        "ladders": {f"{t.scope.value} {t.name}".strip(): int(s.level) for t, s in ladders.states.items()},
        "CPU of an alerter's tick, median, and of the last hour, ms": [
            round(1e3 * median(each)) for each in (day.cpu[1:] or [0.0], day.cpu[-60:])
        ],
        "largest memory after a quarter and at the end, MB": memory,
    }


def main() -> int:
    """Run the day and print what it showed; 1 where something of it should not be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=int, default=1440, help="how long the day is")
    minutes = parser.parse_args().minutes
    started = time.monotonic()
    logging.disable(logging.WARNING)  # a client says of each attempt that it is made again, Dagster of each step
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        found = soak(Path(folder), minutes)
    found["seconds"] = round(time.monotonic() - started)
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in found.items()))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
