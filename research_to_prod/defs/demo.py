"""The demo: the whole graph, materialized once through a persistent Dagster instance, with its progress shown.

It runs the same jobs that people and the schedule run. A demo that was killed is started again and finishes: months
whose proof already holds are not fetched twice, everything else is simply done again. Belongs here: the order, the
display, the closing table. Doesn't: anything that decides; nothing here knows which candidate should pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.promotion.decision import latest_decisions
from research_to_prod.defs.research.automation import new_candidates
from research_to_prod.defs.resources import SANDBOX_SEED, utc_now
from research_to_prod.definitions import defs
from research_to_prod.lake import Lake
from research_to_prod.promotion.evidence import prove_data
from research_to_prod.promotion.record import RecordType
from research_to_prod.research.candidate import Candidate, load_candidates
from research_to_prod.settings import Settings

DAYS = ("2026-01-05", "2026-01-06")
_TAG = "r2p/demo_pid"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Demo:
    """One run of the demo.

    Parameters
    ----------
    settings
        Where its data goes.
    instance
        The persistent instance that keeps the history.
    definitions
        The graph.
    console
        Where progress and the closing table are shown.
    """

    settings: Settings
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    console: Console

    def run(self) -> bool:
        """Materialize everything; return whether every step did what it should."""
        started = time.monotonic()
        candidates = load_candidates(self.settings.desk / "candidates")
        months = sorted({month for candidate in candidates for month in candidate.window.months})
        self._free_dead_runs()
        self.instance.add_dynamic_partitions(CANDIDATES.name or "", new_candidates(self.instance, self.settings))
        lake = Lake(self.settings.lake)
        fine = self._each("market data", "market_data", months, skip=lambda month: self._have_month(lake, month))
        fine &= self._each("trials, backtests, gates", "research", [each.name for each in candidates], may_fail=True)
        fine &= self._each("promotion", "promote", [each.name for each in candidates], may_fail=True)
        fine &= self._each("production manifest", "production", [None])
        self._deliver_inbox()
        fine &= self._each("after the trade", "nightly", list(DAYS))
        fine &= self._each("warehouse", "publish_warehouse", [None])
        self._show(candidates, time.monotonic() - started)
        return fine

    def _each(
        self,
        title: str,
        job: str,
        partitions: Sequence[str | None],
        *,
        skip: Callable[[str], bool] = lambda _: False,
        may_fail: bool = False,
    ) -> bool:
        """Run a job for each partition; a refusal is a result where ``may_fail``, and an error elsewhere."""
        resolved = self.definitions.resolve_job_def(job)
        fine = True
        with self._progress(title, len(partitions)) as advance:
            for partition in partitions:
                if partition is None or not skip(partition):
                    result = resolved.execute_in_process(
                        instance=self.instance,
                        partition_key=partition,
                        run_config=_QUIET,
                        tags={_TAG: str(os.getpid())},
                        raise_on_error=False,
                    )
                    if not result.success and not may_fail:
                        fine = False
                        self.console.print(f"[red]{job} {partition or ''} failed[/]: run {result.run_id}, see `make dev`")
                advance(partition or title)
        return fine

    @contextmanager
    def _progress(self, title: str, total: int) -> Iterator[Callable[[str], None]]:
        if not self.console.is_terminal:
            started = time.monotonic()
            yield lambda label: None
            self.console.print(f"{title}: {total} done in {time.monotonic() - started:.1f} s")
            return
        columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda label: bar.update(task, advance=1, description=f"{title} {label}" if total > 1 else title)

    def _have_month(self, lake: Lake, month: str) -> bool:
        tables = ("market_quality", "funding_rates")
        return all(prove_data(self.instance, lake, table, month).holds for table in tables)

    def _free_dead_runs(self) -> None:
        """Mark runs of a demo that was killed as failed; nobody else would."""
        unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
        for run in self.instance.get_runs(unfinished):
            if _TAG in run.tags and not Path(f"/proc/{run.tags[_TAG]}").exists():
                self.instance.report_run_failed(run, "the demo that ran this was killed")

    def _deliver_inbox(self) -> None:
        """Let the simulated desk drop its records, as the desk's own systems do every day."""
        from research_to_prod.sandbox.desk import SandboxDesk
        from research_to_prod.sandbox.market import SandboxMarket

        desk = SandboxDesk(SandboxMarket(SANDBOX_SEED))
        for day in DAYS:
            desk.write_inbox(day, self.settings.inbox)

    def _show(self, candidates: Sequence[Candidate], seconds: float) -> None:
        decisions = latest_decisions(self.settings, utc_now())
        table = Table("candidate", "decision", "why", title="What the gates decided", title_justify="left")
        for candidate in candidates:
            record = decisions.get(candidate.name)
            if record is None:
                table.add_row(candidate.name, "[yellow]undecided[/]", "its run failed; see `make dev`")
            elif record.type is RecordType.PROMOTE:
                passed = sum(gate.gating for gate in record.gates)
                why = f"all {passed} gates pass on {record.n_trials} trials; ledger record {record.seq}"
                table.add_row(candidate.name, f"[green]promoted to {record.to_stage}[/]", why)
            else:
                gates = [gate for gate in record.gates if gate.gating and gate.verdict != "pass"]
                why = "\n".join(f"{gate.gate}: {gate.reason}" for gate in gates) or "\n".join(record.reasons[:3])
                table.add_row(candidate.name, "[red]refused[/]", why)
        self.console.print(table)
        self.console.print(f"The desk report of {DAYS[-1]}: {self.settings.reports / f'desk-report-{DAYS[-1]}.html'}")
        self.console.print(f"All tables for SQL: {self.settings.warehouse}")
        self.console.print(
            f"Done in {seconds:.0f} s. Next: [bold]make dev[/] opens the lineage graph with this history; "
            "then add a file to research_to_prod/desk/candidates/."
        )


def run_demo(settings: Settings, console: Console) -> bool:
    """Run the demo on the persistent instance of ``settings``; return whether all steps did what they should."""
    with open_instance(settings) as instance:
        return Demo(settings, instance, defs, console).run()


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the persistent Dagster instance under the data folder, with the project's ``dagster.yaml``."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    shipped = Path(__file__).parent / "dagster.yaml"
    (home / "dagster.yaml").write_bytes(shipped.read_bytes())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance
