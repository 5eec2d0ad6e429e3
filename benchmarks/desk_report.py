"""The desk report of a generated month of 100,000 fills, from the lake to its three files, in a fresh process.

Timed is the asset as the nightly run materializes it, the imports of drawing and templates included.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks._desk_month import FILLS_AN_ORDER, write_month
from benchmarks._harness import Claim, peak_memory, report
from research_to_prod.lake import Lake

DAYS, FILLS = 30, 100_000


class Built(NamedTuple):
    """What a report took, and how large it is."""

    seconds: float
    cpu_seconds: float
    page_bytes: int
    json_bytes: int
    parquet_bytes: int
    memory: float


def build(data: str, day: str) -> Built:
    """Materialize the report of ``day`` over the tables that are there."""
    import dagster as dg

    from research_to_prod.defs.reports.assets import desk_report
    from research_to_prod.defs.resources import build_resources

    resources = build_resources({"R2P_DATA": data})
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    began, used = time.perf_counter(), time.process_time()
    dg.materialize([desk_report], partition_key=day, resources=resources, run_config=quiet)
    took, used = time.perf_counter() - began, time.process_time() - used
    sizes = [
        (Path(data) / "reports" / f"desk-report-{day}.{kind}").stat().st_size for kind in ("html", "json", "parquet")
    ]
    return Built(took, used, *sizes, peak_memory())


def main() -> int:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as data:
        lake = Lake(Path(data) / "lake")
        # One order in seven lacks two of its fills.
        days = write_month(lake, DAYS, round(FILLS / DAYS / (FILLS_AN_ORDER - 2 / 7)) + 1)
        fills = sum(each.rows for each in lake.versions("fills").values())
        runs = []
        for _ in range(3):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                runs.append(pool.submit(build, data, days[-1]).result())
    last = runs[-1]
    seconds = {"desk report": np.array([run.seconds for run in runs])}
    claims = [
        Claim("fills of the month", fills, at_least=FILLS),
        Claim("slowest of three builds, s", max(run.seconds for run in runs), at_most=10),
        Claim("processor time of it, s: far less than the above says that the machine was busy", last.cpu_seconds),
        Claim("page, MB", last.page_bytes / 1e6, at_most=2),
        Claim("JSON, MB", last.json_bytes / 1e6),
        Claim("Parquet, MB", last.parquet_bytes / 1e6),
        Claim("peak memory of the process, GB", last.memory),
    ]
    title = f"The desk report of {fills:,} fills in {DAYS} days ({time.perf_counter() - began:.0f} s in all)"
    return report(title, seconds, claims)


if __name__ == "__main__":
    sys.exit(main())
