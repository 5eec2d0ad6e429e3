"""An event log that is written event by event, and a small graph: for tests that hold the proof to its words.

That real runs write such events is held by ``test_evidence``; here a test decides order, time and content of each.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRun
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import StepMaterializationData

from research_to_prod.lake import LakeError, Version
from research_to_prod.lake.io_manager import inputs_metadata, version_metadata
from research_to_prod.promotion import evidence
from research_to_prod.promotion.evidence import Proof, prove
from research_to_prod.values import Stage, digest

POLICY, NAME, OTHER = digest("policy"), "alpha", "beta"
MONTHS = ("2024-01", "2024-02")
READS = {
    "gate_report": frozenset({"backtest", "candles"}),
    "backtest": frozenset({"candles"}),
    "candles": frozenset[str](),
}
CHECKS: dict[str, tuple[str, ...]] = {
    "gate_report": ("risk_gates_pass",),
    "backtest": ("accounts_add_up", "sees_no_future"),
    "candles": (),
}


class NewestVersions:
    """What the walk asks of a lake."""

    def __init__(self) -> None:
        self.newest: dict[str, dict[str | None, Version]] = {}

    def versions(self, table: str) -> dict[str | None, Version]:
        if table not in self.newest:
            raise LakeError(f"no table {table}")
        return self.newest[table]


class DagsterLog:
    """Dagster's own, in memory, into which events are written one by one."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def run(self) -> str:
        run = DagsterRun(job_name="nightly")
        self.instance.add_run(run)
        return run.run_id

    def materialized(self, told: dg.AssetMaterialization, run: str) -> int:
        if run:
            self._store(DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(told), run)
        else:
            self.instance.report_runless_asset_event(told)
        partition = told.partition or ""
        return self.instance.event_log_storage.get_latest_storage_id_by_partition(
            told.asset_key, DagsterEventType.ASSET_MATERIALIZATION, {partition}
        )[partition]

    def planned(self, key: dg.AssetCheckKey, partition: str, run: str, at: float | None) -> None:
        planned = AssetCheckEvaluationPlanned(
            asset_key=key.asset_key, check_name=key.name, partitions_subset=DefaultPartitionsSubset({partition})
        )
        self._store(DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned, run, at)

    def answered(self, told: dg.AssetCheckEvaluation, run: str, at: float | None) -> None:
        if run:
            self._store(DagsterEventType.ASSET_CHECK_EVALUATION, told, run, at)
        else:
            self.instance.report_runless_asset_event(told)

    def wipe(self, asset: str) -> None:
        self.instance.wipe_assets([dg.AssetKey(asset)])

    def _store(self, kind: DagsterEventType, data: Any, run: str, at: float | None = None) -> None:
        event = DagsterEvent(event_type_value=kind.value, job_name="nightly", event_specific_data=data)
        self.instance.report_dagster_event(event, run, timestamp=at)


@dataclass(frozen=True)
class Execution:
    """An execution of a check as the log keeps it."""

    id: int
    key: dg.AssetCheckKey
    partition: str | None
    run_id: str
    status: Any
    event: Any


class PlainLog:
    """What the proof asks of Dagster, answered from two lists in microseconds (held to it by ``test_event_log``)."""

    def __init__(self) -> None:
        self.instance = self.event_log_storage = self
        self._materializations: list[Any] = []
        self._executions: list[Execution] = []
        self._ids, self._questions, self._runs = itertools.count(1), itertools.count(1), set[str]()

    def run(self) -> str:
        run = f"run-{len(self._runs)}"
        self._runs.add(run)
        return run

    def materialized(self, told: dg.AssetMaterialization, run: str) -> int:
        record = SimpleNamespace(storage_id=next(self._ids), run_id=run, asset_materialization=told)
        self._materializations.append(record)
        return int(record.storage_id)

    def planned(self, key: dg.AssetCheckKey, partition: str, run: str, at: float | None) -> None:
        event = SimpleNamespace(timestamp=at or time.time(), dagster_event=SimpleNamespace())
        status = SimpleNamespace(value="PLANNED")
        self._executions.append(Execution(next(self._ids), key, partition, run, status, event))

    def answered(self, told: dg.AssetCheckEvaluation, run: str, at: float | None) -> None:
        answer = SimpleNamespace(asset_check_evaluation_data=told)
        event = SimpleNamespace(timestamp=at or time.time(), dagster_event=answer)
        key, status = told.asset_check_key, SimpleNamespace(value="SUCCEEDED" if told.passed else "FAILED")
        for index, each in enumerate(self._executions):
            if run and (each.key, each.run_id, each.partition) == (key, run, told.partition):
                self._executions[index] = replace(each, status=status, event=event)
                return
        self._executions.append(Execution(next(self._ids), key, told.partition, run, status, event))

    def wipe(self, asset: str) -> None:
        key = dg.AssetKey(asset)
        self._materializations = [
            each for each in self._materializations if each.asset_materialization.asset_key != key
        ]
        self._executions = [each for each in self._executions if each.key.asset_key != key]

    def get_run_by_id(self, run_id: str) -> str | None:
        return run_id if run_id in self._runs else None

    def get_latest_storage_id_by_partition(
        self, asset_key: dg.AssetKey, event_type: DagsterEventType, partitions: AbstractSet[str]
    ) -> dict[str, int]:
        assert event_type is DagsterEventType.ASSET_MATERIALIZATION
        told = [(each.asset_materialization, each.storage_id) for each in self._materializations]
        return {each.partition: at for each, at in told if each.asset_key == asset_key and each.partition in partitions}

    def fetch_materializations(self, records_filter: dg.AssetRecordsFilter, limit: int) -> Any:
        assert limit > 0
        wanted = records_filter.storage_ids
        found = [
            each
            for each in reversed(self._materializations)
            if each.asset_materialization.asset_key == records_filter.asset_key
            and (wanted is None or each.storage_id in wanted)
        ]
        return SimpleNamespace(records=found[:limit])

    def get_asset_check_execution_history(
        self, check_key: dg.AssetCheckKey, limit: int, cursor: int | None = None
    ) -> list[Execution]:
        assert limit > 0
        assert next(self._questions) < 10_000, "it asks for ever"
        found = [each for each in reversed(self._executions) if each.key == check_key]
        return [each for each in found if not cursor or each.id < cursor][:limit]


@dataclass
class Desk:
    """An event log and a lake in which a test may write anything."""

    log: Any
    lake: NewestVersions = field(default_factory=NewestVersions)
    made: dict[tuple[str, str], int] = field(default_factory=dict)

    def make(self, asset: str, partition: str, *read: tuple[str, str], run: str | None = None, **says: Any) -> str:
        """Materialize, having read the newest versions; ``says`` is metadata in place of the true one."""
        run = self.log.run() if run is None else run
        table = self.lake.newest.setdefault(asset, {})
        count = sum(len(each) for each in self.lake.newest.values())
        before = table.get(partition)
        number = count if before is None else before.version + 100
        version = table[partition] = Version(asset, partition, number, digest([asset, partition, number]), 10 + count)
        said = {
            **version_metadata(version),
            **inputs_metadata([self.lake.newest[each][key] for each, key in read]),
        } | says
        told = dg.AssetMaterialization(asset, metadata=said, partition=partition)
        self.made[asset, partition] = self.log.materialized(told, run)
        return run

    def plan(self, asset: str, check: str, partition: str, at: float | None = None) -> str:
        run: str = self.log.run()
        self.log.planned(dg.AssetCheckKey(dg.AssetKey(asset), check), partition, run, at)
        return run

    def answer(
        self, asset: str, check: str, partition: str, *, run: str | None = None, at: float | None = None, **other: Any
    ) -> str:
        """Let a check pass on the newest materialization, or whatever else is said."""
        run = self.plan(asset, check, partition, at) if run is None else run
        said = {
            "passed": True,
            "severity": dg.AssetCheckSeverity.ERROR,
            "metadata": {"policy_sha256": POLICY},
            "target_materialization_data": AssetCheckEvaluationTargetMaterializationData(
                storage_id=self.made.get((asset, partition), 0), run_id=run, timestamp=1.0
            ),
        } | other
        told = dg.AssetCheckEvaluation(asset_key=dg.AssetKey(asset), check_name=check, partition=partition, **said)
        self.log.answered(told, run, at)
        return run

    def everything(self, name: str = NAME) -> None:
        for month in MONTHS:
            self.make("candles", month)
        self.make("backtest", name, *(("candles", month) for month in MONTHS))
        for check in CHECKS["backtest"]:
            self.answer("backtest", check, name)
        self.report(name)

    def report(self, name: str = NAME, **says: Any) -> None:
        self.make("gate_report", name, ("backtest", name), ("candles", MONTHS[0]), **says)
        self.answer("gate_report", "risk_gates_pass", name)

    def prove(self, to_stage: Stage = Stage.PAPER) -> Proof:
        return prove(self.log.instance, self.lake, NAME, POLICY, to_stage)  # type: ignore[arg-type]

    def refusals(self) -> set[str]:
        return set(self.prove().refusals)


@contextmanager
def small_graph() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "READS", READS)
        patch.setattr(evidence, "REQUIRED_CHECKS", CHECKS)
        patch.setattr(evidence, "TRADING_READS", READS | {"gate_report": frozenset({"orders"}), "orders": frozenset()})
        patch.setattr(evidence, "TRADING_CHECKS", {**CHECKS, "orders": ("are_whole",)})
        yield
