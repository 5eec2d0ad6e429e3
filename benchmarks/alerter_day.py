"""A day of the alerter, a tick a minute at full speed: what a tick costs, and what a day leaves.

The book is exposed, four things are measured every minute, and five faults begin at known ones. Every seventh tick is
done twice and every fiftieth fails on the way, as under a daemon that is killed. ``python -m benchmarks.alerter_day``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from unittest.mock import patch

import dagster as dg
import pyarrow as pa

from benchmarks._harness import Claim, report
from research_to_prod.defs.operations.watching import alerter
from research_to_prod.execution.contracts import POSITIONS
from research_to_prod.lake import Lake
from research_to_prod.operations.delivery.heartbeat import FILE, last_beat
from research_to_prod.operations.readings import Measured, Readings
from research_to_prod.operations.watch import INCIDENTS
from research_to_prod.settings import Settings

START = datetime(2026, 1, 6, tzinfo=UTC)
MARKET = {"venue": "sandbox", "instrument": "ETH/USDT:USDT"}
FAULTS = {
    120: ("venue_not_ok", 15), 400: ("unknown_orders", 3), 700: ("venue_not_ok", 40), 1000: ("unknown_orders", 5),
    1300: ("forced_events", 2),
}  # fmt: skip
"""Minute at which a fault begins: its metric, and how many minutes it is measured."""

WRITING = "research_to_prod.operations.watch.write_textfile"


def position() -> pa.Table:
    """Return a long position of 200,000, stated at the day's beginning."""
    row = {"strategy": "carry", "venue": "sandbox", "symbol": MARKET["instrument"], "held_at": START}
    money = {"position": Decimal(100), "entry_price": Decimal(2000), "mark_price": Decimal(2000)}
    return pa.Table.from_pylist([row | money], schema=POSITIONS.arrow)


def readings(minute: int, now: datetime) -> list[Measured]:
    """Return what the desk's systems write in one minute."""
    broken = {name for start, (name, lasts) in FAULTS.items() if start <= minute < start + lasts}
    given = [Measured(metric="market_data_age", value=0.5, at=now, **MARKET)]
    at_venue = ("venue_not_ok", "unknown_orders", "forced_events")
    return given + [Measured(metric=each, venue="sandbox", value=float(each in broken), at=now) for each in at_venue]


def failing(*_: object) -> None:
    """Stand for a disk that refuses."""
    raise OSError("no space")


def main() -> int:
    """Run the day and print what it cost and left; 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=int, default=1440, help="how long the day is")
    minutes = parser.parse_args().minutes
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        dg.DagsterInstance.ephemeral() as instance,
    ):
        claims = day(Path(folder), minutes, instance)
    return report(f"a day of the alerter, {minutes:,} ticks", {}, claims)


def day(data: Path, minutes: int, instance: dg.DagsterInstance) -> list[Claim]:
    """Return what a day of ``minutes`` ticks cost and left."""
    settings, cursor = Settings(data=data), None
    lake = Lake(settings.lake)
    lake.write("positions", "2026-01-06", position(), POSITIONS)
    cpu: list[float] = []
    memory: list[int] = []
    asked: list[str | None] = []
    for minute in range(minutes):
        now = START + timedelta(minutes=minute)
        Readings(settings.operations).add(readings(minute, now), now)
        for again in (False, True) if minute % 7 == 0 else (False,):
            given = {"lake": lake, "settings": settings, "clock": lambda now=now: now}
            with dg.build_sensor_context(instance, cursor=cursor, resources=given) as context:
                assert context.resources  # opened before the clock starts: a daemon has its own
                if minute % 50 == 49 and not again:
                    with (
                        patch("research_to_prod.operations.watch.write_textfile", failing),
                        contextlib.suppress(OSError),
                    ):
                        alerter(context)
                started = time.process_time()
                found = alerter(context)
                if not again:
                    cpu.append(time.process_time() - started)
            assert isinstance(found, dg.SensorResult)
            cursor = found.cursor or cursor
            asked += [each.run_key for each in found.run_requests or ()]
        if minute in {minutes // 4, minutes - 1}:
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    lines = [json.loads(each) for each in (settings.operations / INCIDENTS).read_text().splitlines()]
    begun = {each["incident_id"]: each["opened"] for each in lines if each.get("event") == "opened"}
    opened = [each for each in begun.values() if not each["blind"]]
    moved = [each for each in lines if each.get("event") == "moved" and each["to"] == "reopened"]
    reopened = [each for each in moved if not begun[each["incident_id"]]["blind"]]
    sign = last_beat(settings.operations / FILE)
    kilobytes = {path.name: path.stat().st_size // 1024 for path in sorted(settings.operations.glob("*.*"))}
    sys.stderr.write(f"incidents by rule: {dict(Counter(each['rule'] for each in opened))}; files, kB: {kilobytes}\n")
    faults, turns = sum(start < minutes for start in FAULTS), 0 if sign is None else sign.turn + 1
    return [
        Claim(f"turns that are missing of {minutes:,}", minutes - turns, at_most=0),
        Claim(f"incidents of {faults} faults, those that came back included", len(opened) + len(reopened),
              at_least=faults, at_most=faults),
        Claim("risk postures asked for twice", len(asked) - len(set(asked)), at_most=0),
        Claim("CPU of a tick, median, ms", 1e3 * median(cpu[1:]), at_most=200),
        Claim("CPU of a tick, largest after the first, ms", 1e3 * max(cpu[1:]), at_most=200),
        Claim("memory at the end over that after a quarter", memory[1] / memory[0], at_most=1.1),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
