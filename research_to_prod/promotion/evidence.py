"""The event-log proof: what a promotion rests on, found in Dagster's event log, or every reason why it isn't there.

Dagster's ``blocking=True`` holds within one run only: a later run of the promotion alone succeeds, and runless events,
wiped history and re-materialized upstreams fake the rest. So the promotion proves its own case over the full upstream
closure: each partition's newest materialization was made by a known run, is the very state that its consumer read and
that the lake holds now, and each required check passed on exactly that materialization, in a known run.

This is the one module that reads the event log, ``event_log_storage`` included (semi-public in 1.13: contract test in
``tests/promotion/test_evidence.py``). Belongs here: the constants of what is required, and the walk. Doesn't: gates,
decisions, the ledger. There is no bypass. Whoever can write Dagster's database can forge run ids: the proof guards the
process, the signed ledger guards its outcome.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import dagster as dg

from research_to_prod.lake import Lake, LakeError, Version
from research_to_prod.lake.io_manager import read_versions
from research_to_prod.promotion.record import Check, Input
from research_to_prod.values import Stage

REQUIRED_CHECKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "raw_candles": (),
        "repairs": (),
        "candles": ("matches_contract", "accounts_for_every_row"),
        "candle_quarantine": (),
        "funding_rates": ("is_plausible", "is_regular"),
        "market_quality": ("accounts_for_every_bar",),
        "market_findings": (),
        "candidate": (),
        "trials": ("stand_in_the_trial_ledger",),
        "backtest": ("accounts_add_up", "sees_no_future", "does_not_depend_on_warm_up"),
        "validation": ("is_complete",),
        "gate_report": (
            "data_quality_gates_pass",
            "statistics_gates_pass",
            "robustness_gates_pass",
            "implementation_gates_pass",
            "latency_gates_pass",
            "risk_gates_pass",
            "readiness_gates_pass",
        ),
    }
)
"""The checks that must have passed, by asset; declared, never gathered from what the log happens to hold."""

READS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "gate_report": frozenset(
            {
                "candidate",
                "backtest",
                "trials",
                "validation",
                "candles",
                "funding_rates",
                "market_quality",
                "market_findings",
            }
        ),
        "validation": frozenset({"candidate", "trials", "candles", "funding_rates"}),
        "backtest": frozenset({"candidate", "candles", "funding_rates"}),
        "trials": frozenset({"candidate", "candles", "funding_rates"}),
        "market_quality": frozenset({"candles", "candle_quarantine"}),
        "market_findings": frozenset({"raw_candles", "repairs", "candles", "candle_quarantine"}),
        "candles": frozenset({"raw_candles", "repairs"}),
        "candle_quarantine": frozenset({"raw_candles", "repairs"}),
        "repairs": frozenset({"raw_candles"}),
        "raw_candles": frozenset(),
        "funding_rates": frozenset(),
        "candidate": frozenset(),
    }
)
"""What each asset must have recorded as read, consumers before producers: the declared upstream closure."""

TRADING_CHECKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **REQUIRED_CHECKS,
        "readiness": (),
        "kill_drill": ("kills_everything",),
        "slippage": ("components_add_up",),
        "decisions": (),
        "orders": (),
        "order_events": (),
        "fills": (),
        "quotes": ("is_plausible",),
        "trades": (),
    }
)
"""The checks that must have passed for a way to money: those of research too, and those of the desk's own records."""

TRADING_READS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "gate_report": READS["gate_report"]
        | {"decisions", "orders", "order_events", "quotes", "slippage", "readiness"},
        "readiness": frozenset({"candidate", "kill_drill"}),
        **{asset: reads for asset, reads in READS.items() if asset != "gate_report"},
        "kill_drill": frozenset(),
        "slippage": frozenset({"decisions", "orders", "fills", "quotes"}),
        **dict.fromkeys(("decisions", "orders", "order_events", "fills", "quotes", "trades"), frozenset()),
    }
)
"""The declared upstream closure of a way to money."""

MAY_READ: Mapping[str, frozenset[str]] = MappingProxyType({"slippage": frozenset({"trades"})})
"""What an asset may have read besides: costs rest on quotes, and the public tape is not recorded for every day."""

POLICY_BOUND = frozenset(("gate_report", check) for check in REQUIRED_CHECKS["gate_report"])
"""Checks whose verdict holds only under the policy that they name in their metadata."""


_PAGE = 1000


@dataclass(frozen=True)
class Proof:
    """What was found.

    Parameters
    ----------
    inputs
        Every partition of the upstream closure with its exact version, run and event.
    checks
        Every required check that was found, by its event.
    refusals
        Every reason why the case is not proven; empty when it is.
    """

    inputs: tuple[Input, ...]
    checks: tuple[Check, ...]
    refusals: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was refused."""
        return not self.refusals


def prove(
    instance: dg.DagsterInstance, lake: Lake, candidate: str, policy_sha256: str, to_stage: Stage = Stage.PAPER
) -> Proof:
    """Prove the case of ``candidate`` from the event log, from its gate report down to the raw candles.

    Parameters
    ----------
    instance
        The instance whose event log holds the runs.
    lake
        Holds the rows; its newest versions must be the ones that were judged.
    policy_sha256
        Hash of the policy in force; a verdict under another one proves nothing.
    to_stage
        What is asked for: on the way to money the desk's own records must be proven too, on the way to paper there are
        none that could count.
    """
    money = to_stage is not Stage.PAPER
    reads, required = (TRADING_READS, TRADING_CHECKS) if money else (READS, REQUIRED_CHECKS)
    walk = _Walk(instance, lake, reads, required, policy_sha256)
    walk.expect("gate_report", candidate, None)
    return walk.prove()


def unproven_months(instance: dg.DagsterInstance, lake: Lake, months: Sequence[str]) -> set[str]:
    """Return those of ``months`` whose market data, or anything that it was made from, is not proven."""
    walk = _Walk(instance, lake, READS, REQUIRED_CHECKS)
    for asset in ("market_quality", "market_findings", "funding_rates"):
        for month in months:
            walk.expect(asset, month, None)
    walk.prove()
    # A month of market data is made of the same month upstream, so a refusal names the month it spoils.
    return walk.refused & set(months)


@dataclass
class _Walk:
    """One pass over the closure, consumers first: every expectation on a partition is known when it comes up."""

    instance: dg.DagsterInstance
    lake: Lake
    reads: Mapping[str, frozenset[str]]
    required: Mapping[str, tuple[str, ...]]
    policy_sha256: str = ""
    inputs: list[Input] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    _expected: dict[str, dict[str, list[tuple[str, Version]]]] = field(default_factory=dict)
    _known_runs: dict[str, bool] = field(default_factory=dict)

    def prove(self) -> Proof:
        """Walk from the expected partitions to the end of their closure."""
        for each in self.reads:
            self.visit(each)
        return Proof(tuple(self.inputs), tuple(self.checks), tuple(dict.fromkeys(self.refusals)))

    def expect(self, asset: str, partition: str, read: tuple[str, Version] | None) -> None:
        """Note that a consumer (named first) read ``partition`` of ``asset`` at a version."""
        readings = self._expected.setdefault(asset, {}).setdefault(partition, [])
        if read is not None:
            readings.append(read)

    def visit(self, asset: str) -> None:
        """Judge every expected partition of ``asset``, and expect what it read in turn."""
        partitions = sorted(self._expected.get(asset, {}))
        if not partitions:
            return
        events = self._newest_materializations(asset, partitions)
        current = self._current_versions(asset, partitions)
        proven: dict[str, int] = {}
        for partition in partitions:
            event = events.get(partition)
            if event is None or event.asset_materialization is None:
                self._refuse(asset, partition, "was never materialized, or its history was wiped; materialize it again")
            elif not self._is_known(event.run_id):
                self._refuse(
                    asset, partition, "was not materialized by a run that Dagster knows; materialize it in a run"
                )
            elif self._matches(asset, partition, event.asset_materialization.metadata, current.get(partition)):
                version = current[partition]
                proven[partition] = event.storage_id
                self.inputs.append(
                    Input(
                        asset=asset,
                        partition=partition,
                        lake_version=version.version,
                        content_sha256=version.content_sha256,
                        rows=version.rows,
                        run_id=event.run_id,
                        storage_id=event.storage_id,
                    )
                )
                self._follow(asset, partition, event.asset_materialization.metadata)
        self._require_checks(asset, partitions, proven)

    def _matches(self, asset: str, partition: str, metadata: Mapping[str, Any], version: Version | None) -> bool:
        """Whether event log, lake and every consumer speak of one state of the partition."""
        if version is None:
            self._refuse(asset, partition, "is not in the lake; materialize it again")
            return False
        recorded = {name: _value(metadata, name) for name in ("lake_version", "content_sha256")}
        if recorded != {"lake_version": version.version, "content_sha256": version.content_sha256}:
            self._refuse(
                asset, partition, "in the lake is not what its newest materialization wrote; materialize it again"
            )
            return False
        stale = [
            consumer
            for consumer, read in self._expected[asset][partition]
            if (read.version, read.content_sha256) != (version.version, version.content_sha256)
        ]
        for consumer in stale:
            self._refuse(
                asset, partition, f"was materialized again after {consumer} read it; materialize {consumer} again"
            )
        return not stale

    def _follow(self, asset: str, partition: str, metadata: Mapping[str, Any]) -> None:
        """Expect what the materialization says that it read."""
        if not self.reads[asset]:
            return
        try:
            read = read_versions(metadata)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._refuse(asset, partition, "does not record which versions it read; materialize it again")
            return
        for missing in sorted(self.reads[asset] - {version.table for version in read}):
            self._refuse(asset, partition, f"does not record that it read {missing}; materialize it again")
        for version in read:
            if version.table not in self.reads[asset] | MAY_READ.get(asset, frozenset()):
                self._refuse(asset, partition, f"read {version.table}, which is not a declared input")
            elif version.partition is None:
                self._refuse(asset, partition, f"read {version.table} without a partition, which nothing can prove")
            else:
                self.expect(version.table, version.partition, (f"{asset}[{partition}]", version))

    def _require_checks(self, asset: str, partitions: Sequence[str], proven: Mapping[str, int]) -> None:
        for name in self.required[asset]:
            executions = self._newest_executions(dg.AssetCheckKey(dg.AssetKey(asset), name), partitions)
            for partition in partitions:
                for execution in executions.get(partition, [None]):
                    reason = self._check_refusal(execution, proven.get(partition), (asset, name) in POLICY_BOUND)
                    if reason is not None:
                        self._refuse(asset, partition, reason, check=name)
                    if execution is not None:
                        self.checks.append(
                            Check(
                                asset=asset,
                                check=name,
                                partition=partition,
                                passed=reason is None,
                                run_id=execution.run_id or "none",
                                storage_id=execution.id,
                            )
                        )

    def _check_refusal(self, execution: Any, storage_id: int | None, policy_bound: bool) -> str | None:  # noqa: FBT001
        """Return why an execution of a check proves nothing about the materialization, or None."""
        if execution is None:
            return "was never evaluated; run it"
        event = None if execution.event is None else execution.event.dagster_event
        status = execution.status.value
        if status == "PLANNED" or event is None:
            return "was planned and never finished (crashed, skipped or still running); run it again"
        evaluation = event.asset_check_evaluation_data
        target = evaluation.target_materialization_data
        reason = None
        if status != "SUCCEEDED" or not evaluation.passed:
            reason = "did not pass"
        elif evaluation.severity is not dg.AssetCheckSeverity.ERROR:
            reason = "passed with severity WARN, which blocks nothing and so proves nothing"
        elif storage_id is None:
            reason = "judged a materialization that is itself refused"
        elif target is None or target.storage_id != storage_id:
            reason = "judged another materialization; run it on the newest"
        elif not self._is_known(execution.run_id):
            reason = "was not evaluated by a run that Dagster knows; run it"
        elif policy_bound and _value(evaluation.metadata, "policy_sha256") != self.policy_sha256:
            reason = "judged under another policy than the one in force; materialize gate_report again"
        return reason

    def _newest_executions(self, key: dg.AssetCheckKey, partitions: Sequence[str]) -> dict[str, list[Any]]:
        """Return, for each partition, the execution of a check that was planned last and the one that answered last.

        They are two when runs overlapped, and a clock set back cannot make the one stand in for the other: both count.
        """
        found: dict[str, list[Any]] = {}
        cursor, wanted = None, set(partitions)
        while True:
            # Newest plans first; who answered last may stand anywhere, so that the whole history is read.
            page = self.instance.event_log_storage.get_asset_check_execution_history(key, _PAGE, cursor)
            for execution in page:
                if execution.partition in wanted:
                    newest = found.setdefault(execution.partition, [execution])
                    if _answered_at(execution) > _answered_at(newest[-1]):
                        newest[1:] = [execution]
            if len(page) < _PAGE:
                return found
            cursor = page[-1].id

    def _newest_materializations(self, asset: str, partitions: Sequence[str]) -> dict[str, dg.EventLogRecord]:
        newest = self.instance.event_log_storage.get_latest_storage_id_by_partition(
            dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, set(partitions)
        )
        if not newest:
            return {}
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), storage_ids=list(newest.values())), limit=len(newest)
        ).records
        by_id = {record.storage_id: record for record in records}
        return {partition: by_id[each] for partition, each in newest.items() if each in by_id}

    def _current_versions(self, asset: str, partitions: Sequence[str]) -> dict[str, Version]:
        try:
            found = self.lake.versions(asset)
        except LakeError:
            return {}
        return {partition: found[partition] for partition in partitions if partition in found}

    def _is_known(self, run_id: str | None) -> bool:
        if not run_id:
            return False
        if run_id not in self._known_runs:
            self._known_runs[run_id] = self.instance.get_run_by_id(run_id) is not None
        return self._known_runs[run_id]

    def _refuse(self, asset: str, partition: str, reason: str, check: str = "") -> None:
        self.refused.add(partition)
        self.refusals.append(f"{f'check {check} of ' if check else ''}{asset}[{partition}] {reason}")


def _answered_at(execution: Any) -> float:
    return -math.inf if execution.event is None else float(execution.event.timestamp)


def _value(metadata: Mapping[str, Any], name: str) -> object:
    return getattr(metadata.get(name), "value", None)
