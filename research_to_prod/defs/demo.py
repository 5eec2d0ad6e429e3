"""The demo: the whole graph, materialized once through a persistent Dagster instance, with its progress shown.

It runs the same jobs that people and the schedule run. A demo that was killed is started again and finishes: months
whose proof already holds are not fetched twice, everything else is simply done again. Belongs here: the order, the
display, the closing table. Doesn't: anything that decides; nothing here knows which candidate should pass.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.promotion.decision import latest_decisions
from research_to_prod.defs.research.automation import new_candidates
from research_to_prod.defs.resources import SANDBOX_SEED, utc_now
from research_to_prod.lake import Lake
from research_to_prod.promotion.evidence import prove_data
from research_to_prod.promotion.files import replace_file
from research_to_prod.promotion.record import RecordType
from research_to_prod.research.candidate import Candidate, load_candidates
from research_to_prod.settings import Settings

DAYS = ("2026-01-05", "2026-01-06")
_TAG = "r2p/demo_pid"
_OPEN = ExitStack()


@dataclass
class Demo:
    """One run of the demo.

    Parameters
    ----------
    settings
        Where its data goes.
    instance
        The persistent instance that keeps the history.
    workers
        Processes that execute the runs.
    console
        Where progress and the closing table are shown.
    """

    settings: Settings
    instance: dg.DagsterInstance
    workers: ProcessPoolExecutor
    console: Console

    def run(self) -> bool:
        """Materialize everything; return whether every step did what it should."""
        started = time.monotonic()
        candidates = load_candidates(self.settings.desk / "candidates")
        names = [candidate.name for candidate in candidates]
        self._free_dead_runs()
        self.instance.add_dynamic_partitions(CANDIDATES.name or "", new_candidates(self.instance, self.settings))
        fine = self._each("market data", "market_data", self._months_to_fetch(candidates))
        fine &= self._each("trials, backtests, gates", "research", names, may_fail=True)
        fine &= self._each("promotion", "promote", names, may_fail=True)
        fine &= self._each("production manifest", "production", [None])
        self._deliver_inbox()
        fine &= self._each("after the trade", "nightly", list(DAYS))
        fine &= self._each("warehouse", "publish_warehouse", [None])
        self._show(candidates, time.monotonic() - started)
        return fine

    def _each(self, title: str, job: str, partitions: Sequence[str | None], *, may_fail: bool = False) -> bool:
        """Run a job for each partition; a refusal is a result where ``may_fail``, and an error elsewhere."""
        fine = True
        with self._progress(title, len(partitions)) as advance:
            runs = {self.workers.submit(_materialize, job, partition): partition for partition in partitions}
            for done in as_completed(runs):
                run_id, success = done.result()
                if not success and not may_fail:
                    fine = False
                    self.console.print(f"[red]{job} {runs[done] or ''} failed[/]: run {run_id}, see `make dev`")
                advance(runs[done] or title)
        return fine

    def _months_to_fetch(self, candidates: Sequence[Candidate]) -> list[str]:
        """Return the months of all windows whose data is not proven yet; an earlier demo may have brought some."""
        lake = Lake(self.settings.lake)
        months = sorted({month for candidate in candidates for month in candidate.window.months})
        tables = ("market_quality", "funding_rates")
        return [m for m in months if not all(prove_data(self.instance, lake, table, m).holds for table in tables)]

    @contextmanager
    def _progress(self, title: str, total: int) -> Iterator[Callable[[str], None]]:
        if not self.console.is_terminal:
            started = time.monotonic()
            yield lambda _: None
            self.console.print(f"{title}: {total} done in {time.monotonic() - started:.1f} s")
            return
        columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda label: bar.update(task, advance=1, description=f"{title} {label}" if total > 1 else title)

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
    # Two processes: a run is half Python and half SQLite, so one leaves a core idle.
    with (
        open_instance(settings) as instance,
        ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=_start_worker) as workers,
    ):
        return Demo(settings, instance, workers, console).run()


def _start_worker() -> None:
    """End with the parent: a pool's worker doesn't notice that a killed parent is gone."""
    parent = parent_process()

    def follow() -> None:
        wait([parent.sentinel])  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@cache
def _worker_instance() -> dg.DagsterInstance:
    """Open the instance once a worker (0.2 s a time); it lives as long as the process."""
    return _OPEN.enter_context(open_instance(Settings.from_environment(os.environ)))


def _materialize(job: str, partition: str | None) -> tuple[str, bool]:
    """Execute one run in a worker; return its id and whether it succeeded."""
    from research_to_prod.definitions import defs

    result = defs.resolve_job_def(job).execute_in_process(
        instance=_worker_instance(),
        partition_key=partition,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={_TAG: str(os.getpid())},
        raise_on_error=False,
    )
    return result.run_id, result.success


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the persistent Dagster instance under the data folder, with the project's ``dagster.yaml``."""
    shipped = (Path(__file__).parent / "dagster.yaml").read_bytes()
    configured = settings.dagster_home / "dagster.yaml"
    if not configured.exists() or configured.read_bytes() != shipped:
        replace_file(configured, shipped)
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        yield instance
