"""Whatever is done to a desk, in whatever order, the proof holds exactly when an independent model says so.

The graph has the diamond of the real one (a reader and its reader's reader read the same months), so that an example
takes about a second; `test_evidence` tests the real one, on disk. Every event comes from Dagster itself.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from research_to_prod.gates.evaluation import Gate, GateReport
from research_to_prod.lake import Column, Lake, PartitionBy, Schema, Version
from research_to_prod.lake.io_manager import inputs_metadata, version_metadata
from research_to_prod.promotion import evidence
from research_to_prod.promotion.decision import already_promoted, decide
from research_to_prod.promotion.evidence import prove
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.manifest import production_manifest
from research_to_prod.promotion.record import Case, Policy, RecordType
from research_to_prod.promotion.stages import stage_of
from research_to_prod.values import Stage, Verdict, canonical_json, digest, sha256_hex

MONTHS, NAMES = ("2024-01", "2024-02"), ("alpha", "beta")
READS = {
    "gate_report": frozenset({"backtest", "candles"}),
    "backtest": frozenset({"candles"}),
    "candles": frozenset({"raw_candles"}),
    "raw_candles": frozenset[str](),
}
CHECKS = {
    "gate_report": ("risk_gates_pass",),
    "backtest": ("accounts_add_up",),
    "candles": ("matches_contract",),
    "raw_candles": (),
}
PARTITIONS = {asset: NAMES if asset in {"gate_report", "backtest"} else MONTHS for asset in READS}
PLACES = [(asset, partition) for asset, partitions in PARTITIONS.items() for partition in partitions]
JUDGED = [(asset, partition) for asset, partition in PLACES if CHECKS[asset]]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ROWS = Schema(
    "anything",
    (Column("partition_key", pa.string(), "partition"), Column("n", pa.int64(), "content")),
    ("n",),
    PartitionBy("partition_key"),
)
POLICIES = {digest(each): canonical_json(each) for each in ("strict", "lax")}
OUTCOMES = st.sampled_from(["pass", "pass", "pass", "fail", "warn", "crash"])

Place = tuple[str, str]
Token = tuple[int, str]
"""A state of a partition in the lake: version and hash."""


@dataclass(frozen=True, eq=False)
class Made:
    """One materialization, as the model knows it; ``run`` is None when it was reported by hand."""

    run: str | None
    wrote: Token
    read: dict[Place, Token]
    says_all_it_read: bool


@dataclass(frozen=True)
class Answer:
    """One evaluation of a check: of what, by whom, under which policy, and how it ended."""

    of: Made | None
    run: str | None
    outcome: str
    policy: str


@dataclass
class World:
    """What the graph below does when it runs."""

    lake: Lake
    policy: str = digest("strict")
    outcome: str = "pass"
    hidden: Place | None = None
    meanwhile: Callable[[], None] | None = None
    wrote: dict[Place, Version] = field(default_factory=dict)
    read: dict[Place, dict[Place, Version]] = field(default_factory=dict)

    def inputs(self, asset: str, partition: str) -> list[Place]:
        same = PARTITIONS[asset]
        return [
            (each, key)
            for each in sorted(READS[asset])
            for key in (PARTITIONS[each] if PARTITIONS[each] != same else (partition,))
        ]

    def build(self, asset: str, partition: str) -> dict[str, Any]:
        read = {place: self.lake.version(*place) for place in self.inputs(asset, partition)}
        version = self.write(asset, partition)
        self.read[asset, partition], self.wrote[asset, partition] = read, version
        said = [version for place, version in read.items() if place != self.hidden]
        return {**version_metadata(version), **inputs_metadata(said)}

    def write(self, asset: str, partition: str) -> Version:
        return self.lake.write(asset, partition, pa.table({"partition_key": [partition], "n": [0]}), ROWS)

    def judge(self) -> dg.AssetCheckResult:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile, outcome = self.meanwhile, None, self.outcome
            meanwhile()
            self.outcome = outcome
        if self.outcome == "crash":
            raise RuntimeError("the check itself broke")
        return dg.AssetCheckResult(
            passed=self.outcome != "fail",
            severity=dg.AssetCheckSeverity.WARN if self.outcome == "warn" else dg.AssetCheckSeverity.ERROR,
            metadata={"policy_sha256": self.policy},
        )


def graph_of(world: World) -> tuple[dict[str, dg.AssetsDefinition], dict[str, dg.AssetChecksDefinition]]:
    """Return the assets of a world and the check of each, by name of the asset."""

    def asset_of(name: str) -> dg.AssetsDefinition:
        same_run = [each for each in READS[name] if PARTITIONS[each] == PARTITIONS[name]]

        @dg.asset(name=name, partitions_def=dg.StaticPartitionsDefinition(list(PARTITIONS[name])), deps=same_run)
        def build(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata=world.build(name, context.partition_key))

        return build

    def check_of(asset: dg.AssetsDefinition, name: str) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=asset, name=name, blocking=True, partitions_def=asset.partitions_def)
        def judge() -> dg.AssetCheckResult:
            return world.judge()

        return judge

    assets = {name: asset_of(name) for name in READS}
    return assets, {asset: check_of(assets[asset], *names) for asset, names in CHECKS.items() if names}


class ProofAgreesWithTheModel(RuleBasedStateMachine):
    """A desk with two candidates on two months, and everything that may be done to it.

    The model below knows what was done, never what the event log says of it.
    """

    case: Case
    report: Gate

    @initialize()
    def everything_is_made(self) -> None:
        self.opened = ExitStack()
        folder = Path(self.opened.enter_context(TemporaryDirectory()))
        self.instance = self.opened.enter_context(dg.DagsterInstance.ephemeral())
        self.world = World(Lake(folder / "lake"))
        self.assets, self.checks = graph_of(self.world)
        self.now = self.case.recorded_at
        self.ledger = Ledger(folder / "ledger", open_keys(folder / "keys", self.now))
        self.force = digest("strict")
        self.runs: list[str] = []
        self.made: dict[Place, list[Made]] = {place: [] for place in PLACES}
        self.answers: dict[Place, list[Answer]] = {place: [] for place in JUDGED}
        self.stored: dict[Place, Token] = {}
        self.deserved: set[str] = set()
        for month in MONTHS:
            self.run("raw_candles", "candles", partition=month)
        for name in NAMES:
            self.run("backtest", "gate_report", partition=name)

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.close()

    def run(self, *assets: str, partition: str, checked: bool = True, outcome: str = "pass") -> None:
        """Materialize, with the checks or without, and note it."""
        self.world.outcome, self.world.policy = outcome, self.force
        checks = [self.checks[asset] for asset in assets if checked and asset in self.checks]
        done = dg.materialize(
            [*(self.assets[asset] for asset in assets), *checks],
            instance=self.instance,
            partition_key=partition,
            raise_on_error=False,
            run_config=QUIET,
        )
        self.runs.append(done.run_id)
        for asset in assets:
            self.note_made((asset, partition), done.run_id)
            if checked and asset in self.checks:
                self.note_answer((asset, partition), done.run_id, outcome)

    def note_made(self, place: Place, run: str) -> None:
        wrote = token(self.world.wrote[place])
        read = {each: token(version) for each, version in self.world.read[place].items()}
        self.made[place].append(Made(run, wrote, read, self.world.hidden not in read))
        self.stored[place] = wrote

    def note_answer(self, place: Place, run: str | None, outcome: str) -> None:
        """Note that a check judged what is newest now."""
        newest = self.made[place][-1] if self.made[place] else None
        self.answers[place].append(Answer(newest, run, outcome, self.force))

    @rule(place=st.sampled_from(PLACES), outcome=OUTCOMES)
    def materialize(self, place: Place, outcome: str) -> None:
        self.run(place[0], partition=place[1], outcome=outcome)

    @rule(name=st.sampled_from(NAMES))
    def make_a_candidates_case_again(self, name: str) -> None:
        self.run("backtest", "gate_report", partition=name)

    @rule()
    def make_everything_again(self) -> None:
        for place in reversed(PLACES):
            if not self.proven(*place):
                self.run(place[0], partition=place[1])

    @rule(place=st.sampled_from(JUDGED))
    def materialize_with_its_check_deselected(self, place: Place) -> None:
        self.run(place[0], partition=place[1], checked=False)

    @rule(place=st.sampled_from(JUDGED), outcome=OUTCOMES)
    def two_runs_at_once(self, place: Place, outcome: str) -> None:
        """A second run makes the partition and judges it between the first one's materialization and its check."""

        asset, partition = place
        first_wrote: list[Token] = []

        def second() -> None:
            first_wrote.append(token(self.world.wrote[place]))
            self.run(asset, partition=partition)

        self.world.meanwhile = second
        self.run(asset, partition=partition, outcome=outcome)
        # Noted when they ended; made in the other order. A check that broke says nothing later than its plan.
        *_, of_second, of_first = self.made[place]
        self.made[place][-2:] = [replace(of_first, wrote=first_wrote[0]), of_second]
        *_, second_says, first_says = self.answers[place]
        says = [second_says, replace(first_says, of=of_second)]
        self.answers[place][-2:] = says[:: -1 if outcome == "crash" else 1]
        self.stored[place] = of_second.wrote

    @rule(place=st.sampled_from(JUDGED))
    def materialize_and_hide_an_input(self, place: Place) -> None:
        self.world.hidden = self.world.inputs(*place)[0]
        self.run(place[0], partition=place[1])
        self.world.hidden = None

    @rule(asset=st.sampled_from(list(READS)))
    def wipe(self, asset: str) -> None:
        self.instance.wipe_assets([dg.AssetKey(asset)])
        for partition in PARTITIONS[asset]:
            self.made[asset, partition] = []
            if CHECKS[asset]:
                self.answers[asset, partition] = []

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def delete_a_run(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.instance.delete_run(run)
        for made in self.made.values():
            made[:] = [each for each in made if each.run != run]

    @rule(place=st.sampled_from(PLACES))
    def forge_a_materialization(self, place: Place) -> None:
        """Report by hand the newest one again, word for word."""
        asset, partition = place
        if not self.made[place]:
            return
        (record,) = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition]), limit=1
        ).records
        assert record.asset_materialization is not None
        self.instance.report_runless_asset_event(record.asset_materialization)
        newest = self.made[place][-1]
        self.made[place].append(Made(None, newest.wrote, newest.read, newest.says_all_it_read))

    @rule(place=st.sampled_from(JUDGED))
    def forge_a_check(self, place: Place) -> None:
        """Report by hand that the check passed on what is newest; Dagster takes one such report a partition."""
        asset, partition = place
        if any(each.run is None for each in self.answers[place]):
            return
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition]), limit=1
        ).records
        target = [
            AssetCheckEvaluationTargetMaterializationData(
                storage_id=each.storage_id, run_id=each.run_id, timestamp=each.timestamp
            )
            for each in records
        ]
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(asset),
                check_name=CHECKS[asset][0],
                passed=True,
                metadata={"policy_sha256": dg.MetadataValue.text(self.force)},
                target_materialization_data=target[0] if target else None,
                partition=partition,
            )
        )
        self.note_answer(place, None, "pass")

    @rule(place=st.sampled_from(PLACES))
    def change_the_lake_behind_dagster(self, place: Place) -> None:
        self.stored[place] = token(self.world.write(*place))

    @rule(policy=st.sampled_from(sorted(POLICIES)))
    def change_the_policy(self, policy: str) -> None:
        self.force = policy

    @rule(name=st.sampled_from(NAMES))
    def promote(self, name: str) -> None:
        """Decide, record, and derive what may trade, as the assets `promotion` and `production_manifest` do."""
        found = prove(self.instance, self.world.lake, name, self.force)
        report = GateReport(name, self.case.policy.id, self.force, (self.report,))
        records = self.ledger.records()
        sha256 = self.case.candidate_sha256
        if already_promoted(records, name, sha256, Stage.PAPER, sha256_hex(report.canonical_bytes())):
            return
        self.now += timedelta(seconds=1)
        changes = {
            "decision_id": f"decision-{len(records)}",
            "recorded_at": self.now,
            "candidate": name,
            "from_stage": stage_of(name, sha256, records),
            "policy": Policy(id=self.case.policy.id, sha256=self.force),
            "inputs": found.inputs,
            "checks": found.checks,
        }
        draft = decide(Case.model_validate(dict(self.case) | changes), report, found.refusals)
        if self.proven("gate_report", name):
            self.deserved.add(name)
        assert (draft.type is RecordType.PROMOTE) == self.proven("gate_report", name)
        self.ledger.append(draft, [POLICIES[self.force], canonical_json(1), report.canonical_bytes()])

    def proven(self, asset: str, partition: str) -> bool:
        """Whether it is proven, from what was done alone."""
        place = asset, partition
        if not self.made[place]:
            return False
        newest = self.made[place][-1]
        if newest.run not in self.runs or self.stored[place] != newest.wrote or not newest.says_all_it_read:
            return False
        if CHECKS[asset] and not self.passed(place, newest):
            return False
        return all(self.proven(*each) and self.made[each][-1].wrote == read for each, read in newest.read.items())

    def passed(self, place: Place, newest: Made) -> bool:
        if not self.answers[place]:
            return False
        last = self.answers[place][-1]
        in_force = place[0] != "gate_report" or last.policy == self.force
        return last.outcome == "pass" and last.of is newest and last.run in self.runs and in_force

    @invariant()
    def the_proof_holds_exactly_when_the_model_says_so(self) -> None:
        for name in NAMES:
            found = prove(self.instance, self.world.lake, name, self.force)
            assert found.holds == self.proven("gate_report", name), found.refusals

    @invariant()
    def nothing_trades_that_was_never_proven(self) -> None:
        records = self.ledger.records()
        entries = production_manifest(records, self.now).entries
        assert {entry.candidate for entry in entries} <= self.deserved
        assert {record.candidate for record in records if record.type is RecordType.PROMOTE} <= self.deserved


def token(version: Version) -> Token:
    return version.version, version.content_sha256


@contextmanager
def small_graph() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "READS", READS)
        patch.setattr(evidence, "REQUIRED_CHECKS", CHECKS)
        patch.setattr(evidence, "POLICY_BOUND", frozenset({("gate_report", "risk_gates_pass")}))
        yield


@pytest.mark.slow
def test_the_proof_agrees_with_a_model_under_any_sequence_of_events(
    draft_fields: Callable[[int], dict[str, Any]],
) -> None:
    fields = {name: value for name, value in draft_fields(1).items() if name in Case.model_fields}
    ProofAgreesWithTheModel.case = Case.model_validate(fields)
    ProofAgreesWithTheModel.report = Gate(
        gate="deflated_sharpe_ratio",
        family="statistics",
        gating=True,
        verdict=Verdict.PASS,
        value=0.97,
        threshold=0.95,
        margin=0.02,
        comparison=">=",
        samples=1088,
        power=0.8,
        minimum_track_record=497.0,
        reason="0.97; required >= 0.95",
        remedy="",
    )
    with small_graph():
        run_state_machine_as_test(ProofAgreesWithTheModel, settings=settings(max_examples=10, stateful_step_count=8))
