"""Whole nights of the sandbox's desk, for tests, the crash matrix and the benchmark of growth.

Without pytest, which the benchmarks' environment doesn't have.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from research_to_prod.defs.automation import NIGHTLY_TAG, nightly_schedule
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.runner import open_instance
from research_to_prod.lake import Lake
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.settings import Settings

DAYS = ("2026-01-01", "2026-01-02")
TICK = datetime(2026, 1, 3, 2, 20, tzinfo=UTC)
# Only venues that the desk's own files come from: nothing is fetched, and what the venue says is unknown.
UNIVERSE = """
markets:
  - {venue: v, symbol: A/B, timeframe: 1h, since: 2024-01-01, until: 2024-05-01, source: {files: bars.csv}}
"""
NIGHT = "import sys; from tests.defs.nights import night; night(sys.argv[1], sys.argv[2], sys.argv[3])"


def night(data: str, desk: str, day: str) -> None:
    """Run the graph's nightly job at a fixed clock, so that the same tables are the same bytes to the last file."""
    from research_to_prod.definitions import defs

    environment = {"R2P_DATA": data, "R2P_DESK": desk}
    fixed = dg.Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=defs.jobs,
        executor=defs.executor,
        resources=build_resources(environment, clock=lambda: TICK),
    )
    with open_instance(Settings.from_environment(environment)) as instance:
        made = fixed.resolve_job_def("nightly").execute_in_process(
            instance=instance,
            partition_key=day,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    assert made.success


class Desk:
    """A desk with its own data folder, whose inbox holds both days."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder / "data", desk=folder / "desk")
        shutil.copytree(Settings().desk, self.settings.desk)
        (self.settings.desk / "universe.yaml").write_text(UNIVERSE)
        self.desk = SandboxDesk(SandboxMarket(7))
        self.deliver(*DAYS)

    def deliver(self, *days: str) -> None:
        for day in days:
            self.desk.write_inbox(day, self.settings.inbox)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def start(self, day: str) -> subprocess.Popen[bytes]:
        """Start a night in a process of its own."""
        command = [sys.executable, "-W", "ignore", "-c", NIGHT, *self._folders, day]
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)

    def night(self, day: str) -> None:
        night(*self._folders, day)

    @property
    def _folders(self) -> tuple[str, str]:
        return str(self.settings.data), str(self.settings.desk)

    def due(self) -> list[str | None]:
        """Evaluate the schedule's tick."""
        with open_instance(self.settings) as instance:
            context = dg.build_schedule_context(
                instance=instance, scheduled_execution_time=TICK, resources={"settings": self.settings}
            )
            found = nightly_schedule(context)
        if isinstance(found, dg.SkipReason):
            return []
        assert isinstance(found, list)
        assert all(request.tags[NIGHTLY_TAG] for request in found)
        return [request.partition_key for request in found]

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.settings.reports.iterdir()}

    def contents(self) -> dict[tuple[str, str | None], str]:
        """Return the content hash of every partition of every table."""
        return {
            (table, partition): version.content_sha256
            for table in self.lake.tables()
            for partition, version in self.lake.versions(table).items()
        }
