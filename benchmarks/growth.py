"""What grows with the desk: the nightly run at 1, 10 and 100 times the sample's day, the demo, the definitions' load.

A night is to cost at most linearly more time and memory. The larger days are the sandbox's own day with every decision,
order, fill, order event, entry of the venue's ledger and quote repeated under other ids, some microseconds later;
positions and fees stay, so that reconciliation finds many breaks: its hardest case.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks._harness import Claim, Seconds, in_turns, ratio, report
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.settings import Settings
from tests.defs.nights import DAYS, UNIVERSE

SCALES = (1, 10, 100)
_STAY = {"positions", "fee_schedules"}
_NAMES = {
    "decision_id", "order_id", "fill_id", "venue_order_id", "event_id", "child_id", "entry_id", "reference",
}  # fmt: skip
_NIGHT = (
    "import json, sys, time; from tests.defs.nights import night; from benchmarks._harness import peak_memory;"
    "began = time.perf_counter(); night(*sys.argv[1:]); print(json.dumps([time.perf_counter() - began, peak_memory()]))"
)
_LOAD = [sys.executable, "-W", "ignore", "-c"]


def repeated(rows: pa.Table, times: int) -> pa.Table:
    """Return the rows so many times, the copies under other ids and some microseconds later."""
    copies = []
    for copy in range(times):
        columns = dict(zip(rows.column_names, rows.columns, strict=True))
        for name, values in columns.items():
            if name in _NAMES:
                columns[name] = pc.binary_join_element_wise(values, str(copy), "-")
            elif name == "sequence":
                columns[name] = pc.add(pc.multiply(values, times), copy)
            elif pa.types.is_timestamp(values.type):
                columns[name] = pc.add(values, pa.scalar(10 * copy, pa.duration("us"))).cast(values.type)
        copies.append(pa.table(columns).cast(rows.schema))
    return pa.concat_tables(copies)


def night(folder: Path, times: int) -> tuple[int, float, float]:
    """Run the night of a day so many times the sample's; return its fills, wall seconds and peak memory in GB."""
    settings = Settings(data=folder / "data", desk=folder / "desk")
    shutil.copytree(Settings().desk, settings.desk)
    (settings.desk / "universe.yaml").write_text(UNIVERSE)
    desk = SandboxDesk(SandboxMarket(7))
    writer = InboxWriter(settings.inbox)
    delivered = {**desk.deliveries(DAYS[0]), "quotes": desk.quotes(DAYS[0])}
    for kind, rows in delivered.items():
        writer.write(kind, DAYS[0], rows if kind in _STAY else repeated(rows, times))
    command = [*_LOAD, _NIGHT, str(settings.data), str(settings.desk), DAYS[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return delivered["fills"].num_rows * times, seconds, memory


def demo(folder: Path) -> float:
    """Return the wall seconds of the demo on an empty data folder."""
    began = time.perf_counter()
    command = [*_LOAD[:-1], "-m", "research_to_prod.cli", "demo"]
    subprocess.run(command, env={"R2P_DATA": str(folder), "PATH": ""}, capture_output=True, check=True)
    return time.perf_counter() - began


def load() -> Seconds:
    """Time a process that loads the definitions beside one that imports what they are made of."""
    codes = {"definitions": "import research_to_prod.definitions", "dagster and pandas": "import dagster, pandas"}
    return in_turns(
        {name: lambda code=code: subprocess.run([*_LOAD, code], check=True) for name, code in codes.items()}, rounds=5
    )


def main() -> int:
    """Measure all three, and return 1 when a target is missed."""
    with tempfile.TemporaryDirectory(prefix="r2p-growth-") as folder:
        nights = {times: night(Path(folder) / str(times), times) for times in SCALES}
        demonstration = demo(Path(folder) / "demo")
    seconds: Seconds = {f"night of {fills:,} fills": np.array([took]) for fills, took, _ in nights.values()}
    claims = [Claim(f"memory of the night of {fills:,} fills, GB", memory) for fills, _, memory in nights.values()]
    for less, more in pairwise(SCALES):
        (_, took, held), (_, took_more, held_more) = nights[less], nights[more]
        claims += [
            Claim(f"time at {more} over {less} times the sample", took_more / took, at_most=more / less),
            Claim(f"memory at {more} over {less} times the sample", held_more / held, at_most=more / less),
        ]
    loaded = load()
    seconds |= loaded | {"demo": np.array([demonstration])}
    claims += [
        Claim("demo from an empty folder, s", demonstration, at_most=120),
        Claim("load of the definitions over dagster and pandas", ratio(loaded, "definitions", "dagster and pandas")),
    ]
    return report("What grows with the desk", seconds, claims)


if __name__ == "__main__":
    sys.exit(main())
