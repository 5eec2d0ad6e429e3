"""Runs of named jobs, one partition a run, on two processes, with their progress shown.

What a proof rests on is materialized one partition a run: a run over a range evaluates a partitioned check once, with
no partition. Belongs here: executing, progress, freeing the runs of a killed process. Doesn't: which runs and why.
"""

from __future__ import annotations

import fcntl
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
from textwrap import indent

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.research.automation import new_candidates
from research_to_prod.promotion.files import make_folder, replace_file
from research_to_prod.settings import Settings

_TAG = "r2p/pid"
_OPEN = ExitStack()


class NoSuchRunError(ValueError):
    """The job, or a partition of it, that was asked for does not exist; the message names those that do."""


@dataclass(frozen=True)
class Run:
    """One run that has ended; ``why`` has a line for each check and each step that failed in it."""

    job: str
    partition: str | None
    run_id: str
    success: bool
    why: tuple[str, ...] = ()

    def failure(self) -> str:
        """Return what people are told when it failed."""
        head = f"{self.job} {self.partition or ''} failed: run {self.run_id} in `make dev`"
        return "\n".join([head, *(indent(each, "  ") for each in self.why)])


@dataclass
class Runner:
    """Executes jobs on the persistent instance.

    Parameters
    ----------
    settings
        Where data goes.
    instance
        The persistent instance that keeps the history.
    console
        Where progress is shown: bars in a terminal, a line a job elsewhere.
    """

    settings: Settings
    instance: dg.DagsterInstance
    console: Console
    _workers: ProcessPoolExecutor

    def each(self, title: str, job: str, partitions: Sequence[str | None]) -> Iterator[Run]:
        """Run ``job`` for each partition, and yield the runs as they end.

        Parameters
        ----------
        partitions
            Partition keys; None for a job without partitions.
        """
        with self._progress(title, len(partitions)) as advance:
            runs = {self._workers.submit(_materialize, job, partition): partition for partition in partitions}
            for done in as_completed(runs):
                yield Run(job, runs[done], *done.result())
                advance(runs[done] or title)

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


@contextmanager
def open_runner(settings: Settings, console: Console) -> Iterator[Runner]:
    """Open the instance and two workers; free the runs of killed processes, add the partitions of new candidates."""
    # Two processes: a run is half Python and half SQLite, so one leaves a core idle.
    with (
        open_instance(settings) as instance,
        ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=_start_worker) as workers,
    ):
        _free_dead_runs(instance)
        instance.add_dynamic_partitions(CANDIDATES.name or "", new_candidates(instance, settings))
        yield Runner(settings, instance, console, workers)


def partition_keys(job: str, asked: Sequence[str], instance: dg.DagsterInstance) -> list[str | None]:
    """Return the partitions of ``job`` that ``asked`` names, each a key or a range ``FIRST..LAST``.

    Raises
    ------
    NoSuchRunError
        If there is no such job or partition, or the job has partitions and none is asked for.
    """
    from research_to_prod.definitions import defs

    jobs = sorted(each.name for each in defs.jobs or ())
    if job not in jobs:
        raise NoSuchRunError(f"there is no job {job!r}; there are {', '.join(jobs)}")
    definition = defs.resolve_job_def(job).partitions_def
    if definition is None:
        if asked:
            raise NoSuchRunError(f"job {job} has no partitions; leave {', '.join(asked)} out")
        return [None]
    known = list(definition.get_partition_keys(dynamic_partitions_store=instance))
    chosen: list[str | None] = []
    for each in asked:
        first, _, last = each.partition("..")
        unknown = [key for key in dict.fromkeys((first, last or first)) if key not in known]
        if unknown:
            raise NoSuchRunError(f"job {job} has no partition {', '.join(unknown)}; it has {known[0]} to {known[-1]}")
        chosen += known[known.index(first) : known.index(last or first) + 1]
    if not chosen:
        raise NoSuchRunError(f"job {job} needs partitions, such as {known[-1] if known else 'a candidate'}")
    return chosen


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the persistent Dagster instance: its configuration under the data folder, made from the settings."""
    shipped = instance_configuration(settings)
    configured = settings.dagster_home / "dagster.yaml"
    with ExitStack() as stack:
        with _alone(settings.dagster_home):
            if not configured.exists() or configured.read_bytes() != shipped:
                replace_file(configured, shipped)
            instance = stack.enter_context(dg.DagsterInstance.from_config(str(settings.dagster_home)))
            # The storages create their files on first use.
            instance.get_runs(limit=1)
        yield instance


def instance_configuration(settings: Settings) -> bytes:
    """Return the ``dagster.yaml`` of the settings; services are named by their variables, so no password lies in it."""
    parts = ["dagster.yaml"]
    parts += ["dagster.postgres.yaml"] if settings.postgres else []
    parts += ["dagster.celery.yaml" if settings.broker else "dagster.local.yaml"]
    return b"".join((Path(__file__).parent / part).read_bytes() for part in parts)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the lock under which an instance is opened.

    Two processes that create SQLite's files at once stamp their schema twice, and no process can open them again.
    """
    make_folder(home)
    with (home / ".opening").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _free_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs whose process was killed as failed; nobody else would."""
    unfinished = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    )
    for run in instance.get_runs(unfinished):
        if _TAG in run.tags and not Path(f"/proc/{run.tags[_TAG]}").exists():
            instance.report_run_failed(run, "the process that ran this was killed")


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


def _materialize(job: str, partition: str | None) -> tuple[str, bool, tuple[str, ...]]:
    """Execute one run in a worker; return its id, whether it succeeded, and what failed in it."""
    from research_to_prod.definitions import defs

    result = defs.resolve_job_def(job).execute_in_process(
        instance=_worker_instance(),
        partition_key=partition,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={_TAG: str(os.getpid())},
        raise_on_error=False,
    )
    return result.run_id, result.success, () if result.success else tuple(failed(result))


def failed(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """Yield a line for each check and step that failed; a step that a blocking check ended says nothing new."""
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed and found.severity is dg.AssetCheckSeverity.ERROR:
                told = f": {found.description}" if found.description else ""
                yield f"{found.asset_key.to_user_string()}, check {found.check_name}{told}"
        elif event.is_step_failure:
            data = event.step_failure_data
            # A refusal is told whole: its reasons are what the run was for.
            if data.user_failure_data is not None and data.user_failure_data.description:
                yield data.user_failure_data.description
            elif data.error is not None:
                cause = data.error.cause or data.error
                if cause.cls_name != "DagsterAssetCheckFailedError":
                    yield f"{event.step_key}: {cause.message.strip().splitlines()[0]}"
