"""Two Dagster runs of one table at once, and a run that fails: neither loses, doubles nor half-writes a partition."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from research_to_prod.lake import Lake, Version
from research_to_prod.settings import Settings

MONTHS = ("2024-01", "2024-02", "2024-03", "2024-04")
TABLES = ("raw_candles", "candles", "candle_quarantine", "market_quality", "market_findings")
HOURS = (datetime(2024, 5, 1, tzinfo=UTC) - datetime(2024, 1, 1, tzinfo=UTC)) // timedelta(hours=1)
UNIVERSE = """
markets:
  - {venue: v, symbol: A/B, timeframe: 1h, since: 2024-01-01, until: 2024-05-01, source: {files: bars.csv}}
"""
RUN = """
import sys
from pathlib import Path
from research_to_prod.definitions import defs
from research_to_prod.defs.runner import open_instance
from research_to_prod.settings import Settings
import os

job = defs.resolve_job_def("market_data")
print("ready", flush=True)
sys.stdin.readline()
with open_instance(Settings.from_environment(os.environ)) as instance:
    for month in sys.argv[1:]:
        result = job.execute_in_process(instance=instance, partition_key=month, raise_on_error=False)
        print(month, result.success, flush=True)
"""


class Desk:
    """A desk of one market, read from one vendor's file, on data of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(Settings().desk / "policies", folder / "desk" / "policies")
        (folder / "desk" / "universe.yaml").write_text(UNIVERSE)
        (folder / "vendor").mkdir()
        self.deliver(close="11")

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "data" / "lake")

    def deliver(self, close: str) -> None:
        times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(HOURS)]
        lines = [f"v,A/B,1h,{at:%Y-%m-%dT%H:%M:%SZ},10,12,9,{close},3" for at in times]
        text = "\n".join(["venue,symbol,timeframe,ts,open,high,low,close,volume", *lines])
        (self.folder / "vendor" / "bars.csv").write_text(text)

    def run_at_once(self, *months: Sequence[str]) -> list[list[str]]:
        """Materialize the months of each process, all of them started at one moment; return what each printed."""
        environment = {f"R2P_{name.upper()}": str(self.folder / name) for name in ("data", "desk", "vendor")}
        processes = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", RUN, *each],
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for each in months
        ]
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        return [each.communicate(timeout=300)[0].splitlines() for each in processes]

    def versions(self) -> dict[str, dict[str | None, Version]]:
        return {table: self.lake.versions(table) for table in TABLES}


@pytest.mark.slow
def test_runs_of_other_and_of_the_same_partitions_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    printed = desk.run_at_once(MONTHS, MONTHS[::-1])
    assert printed == [[f"{month} True" for month in MONTHS], [f"{month} True" for month in MONTHS[::-1]]]
    for table in ("raw_candles", "candles"):
        rows = desk.lake.read(table).rows
        assert rows.num_rows == HOURS, table
        assert rows.select(["venue", "symbol", "timeframe", "ts"]).group_by("ts").aggregate([]).num_rows == HOURS
    assert all(set(found) == set(MONTHS) for found in desk.versions().values())


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_partition_as_it_was(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run_at_once(MONTHS[:1]) == [["2024-01 True"]]
    before = desk.versions()
    desk.deliver(close="eleven")
    assert desk.run_at_once(MONTHS[:1]) == [["2024-01 False"]]
    assert desk.versions() == before
    desk.deliver(close="10.5")
    assert desk.run_at_once(MONTHS[:1]) == [["2024-01 True"]]
    assert desk.versions()["candles"] != before["candles"]
