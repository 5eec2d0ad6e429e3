"""An event log that is written event by event, and a small graph: for tests that hold the proof to its words.

That real runs write such events is held by ``test_evidence``; here a test decides order, time and content of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass
class Desk:
    """An event log and a lake in which a test may write anything."""

    instance: dg.DagsterInstance
    lake: NewestVersions = field(default_factory=NewestVersions)
    made: dict[tuple[str, str], int] = field(default_factory=dict)

    def run(self) -> str:
        run = DagsterRun(job_name="nightly")
        self.instance.add_run(run)
        return run.run_id

    def store(self, kind: DagsterEventType, data: Any, run: str, at: float | None = None) -> None:
        event = DagsterEvent(event_type_value=kind.value, job_name="nightly", event_specific_data=data)
        self.instance.report_dagster_event(event, run, timestamp=at)

    def make(self, asset: str, partition: str, *read: tuple[str, str], run: str | None = None, **says: Any) -> str:
        """Materialize, having read the newest versions; ``says`` is metadata in place of the true one."""
        run = self.run() if run is None else run
        table = self.lake.newest.setdefault(asset, {})
        count = sum(len(each) for each in self.lake.newest.values())
        before = table.get(partition)
        number = count if before is None else before.version + 100
        version = table[partition] = Version(asset, partition, number, digest([asset, partition, number]), 10 + count)
        said = {
            **version_metadata(version.version, version.content_sha256, version.rows),
            **inputs_metadata([self.lake.newest[each][key] for each, key in read]),
        } | says
        told = dg.AssetMaterialization(asset, metadata=said, partition=partition)
        if run:
            self.store(DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(told), run)
        else:
            self.instance.report_runless_asset_event(told)
        self.made[asset, partition] = self.newest_event(asset, partition)
        return run

    def newest_event(self, asset: str, partition: str) -> int:
        return self.instance.event_log_storage.get_latest_storage_id_by_partition(
            dg.AssetKey(asset), DagsterEventType.ASSET_MATERIALIZATION, {partition}
        )[partition]

    def plan(self, asset: str, check: str, partition: str, at: float | None = None) -> str:
        run = self.run()
        planned = AssetCheckEvaluationPlanned(
            asset_key=dg.AssetKey(asset), check_name=check, partitions_subset=DefaultPartitionsSubset({partition})
        )
        self.store(DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned, run, at)
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
        if run:
            self.store(DagsterEventType.ASSET_CHECK_EVALUATION, told, run, at)
        else:
            self.instance.report_runless_asset_event(told)
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
        return prove(self.instance, self.lake, NAME, POLICY, to_stage)  # type: ignore[arg-type]

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
