"""A proof holds only on checks that passed, in known runs, on the very materializations used, all the way up.

The graph below has the names and the shape of the real one and trivial contents: what is tested is the walk.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from research_to_prod.lake import Column, Lake, PartitionBy, Schema
from research_to_prod.lake.io_manager import inputs_metadata, version_metadata
from research_to_prod.promotion.evidence import READS, REQUIRED_CHECKS, Proof, prove

POLICY = "p" * 64
MONTH, NAME = "2024-01", "alpha"
MONTHLY = {
    "raw_candles",
    "repairs",
    "candles",
    "candle_quarantine",
    "funding_rates",
    "market_quality",
    "market_findings",
}
ROWS = Schema(
    "anything",
    (Column("partition_key", pa.string(), "partition"), Column("n", pa.int64(), "content")),
    ("n",),
    PartitionBy("partition_key"),
)
ORDER = list(reversed(READS))


def partition_of(asset: str) -> str:
    return MONTH if asset in MONTHLY else NAME


@dataclass
class World:
    """A graph of the real shape whose contents and checks the test decides."""

    instance: dg.DagsterInstance
    lake: Lake
    content: dict[str, int] = field(default_factory=dict)
    outcome: dict[str, object] = field(default_factory=dict)
    policy: str = POLICY
    hidden: str = ""
    meanwhile: Callable[[], None] | None = None
    assets: list[dg.AssetsDefinition] = field(default_factory=list)
    checks: list[dg.AssetChecksDefinition] = field(default_factory=list)

    def materialize(self, *names: str, checks: bool = True, partition: str | None = None) -> dg.ExecuteInProcessResult:
        chosen = [each for each in self.assets if each.key.to_user_string() in names]
        judges = [each for each in self.checks if next(iter(each.check_keys)).asset_key.to_user_string() in names]
        return dg.materialize(
            [*chosen, *(judges if checks else [])],
            instance=self.instance,
            partition_key=partition or partition_of(names[0]),
            raise_on_error=False,
        )

    def everything(self) -> None:
        for partition in (MONTH, NAME):
            assert self.materialize(*(name for name in ORDER if partition_of(name) == partition)).success

    def prove(self) -> Proof:
        return prove(self.instance, self.lake, NAME, POLICY)

    def refused(self, *words: str) -> bool:
        found = self.prove().refusals
        return bool(found) and all(any(word in each for each in found) for word in words)


def build_asset(world: World, name: str) -> dg.AssetsDefinition:
    partitions = (
        dg.StaticPartitionsDefinition([MONTH, "2024-02"])
        if name in MONTHLY
        else dg.StaticPartitionsDefinition([NAME, "beta"])
    )

    same_run = [each for each in READS[name] if partition_of(each) == partition_of(name)]

    @dg.asset(name=name, partitions_def=partitions, deps=same_run)
    def build(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        read = [world.lake.version(each, partition_of(each)) for each in sorted(READS[name] - {world.hidden})]
        rows = pa.table({"partition_key": [context.partition_key], "n": [world.content.get(name, 0)]})
        version = world.lake.write(name, context.partition_key, rows, ROWS)
        return dg.MaterializeResult(
            metadata={
                **version_metadata(version),
                **inputs_metadata(read),
            }
        )

    return build


def build_check(world: World, asset: str, name: str, partitions: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, blocking=True, partitions_def=partitions)
    def judge() -> dg.AssetCheckResult:
        if world.meanwhile is not None:
            meanwhile, world.meanwhile = world.meanwhile, None
            meanwhile()
        outcome = world.outcome.get(name, "pass")
        if outcome == "crash":
            raise RuntimeError("the check itself broke")
        return dg.AssetCheckResult(
            passed=outcome != "fail",
            severity=dg.AssetCheckSeverity.WARN if outcome == "warn" else dg.AssetCheckSeverity.ERROR,
            metadata={"policy_sha256": world.policy},
        )

    return judge


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Open a world in ``folder``: SQLite on disk, as people run it, whose event ids differ from those in memory."""
    (folder / "dagster").mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
        built = World(instance, Lake(folder / "lake"))
        for name in ORDER:
            asset = build_asset(built, name)
            built.assets.append(asset)
            assert asset.partitions_def is not None
            built.checks += [build_check(built, name, each, asset.partitions_def) for each in REQUIRED_CHECKS[name]]
        yield built


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything was materialized and passed its checks."""
    folder = tmp_path_factory.mktemp("proven") / "world"
    with open_world(folder) as world:
        world.everything()
    return folder


@pytest.fixture
def world(proven: Path, tmp_path: Path) -> Iterator[World]:
    """A copy of the proven world, for one test to break."""
    shutil.copytree(proven, tmp_path / "world")
    with open_world(tmp_path / "world") as world:
        yield world


def test_nothing_proves_nothing(tmp_path: Path) -> None:
    with open_world(tmp_path) as world:
        assert world.refused("gate_report[alpha] was never materialized", "check risk_gates_pass of gate_report[alpha]")


def test_a_whole_and_fresh_closure_is_proven_to_its_last_partition(world: World) -> None:
    proof = world.prove()
    assert proof.refusals == ()
    assert {each.asset for each in proof.inputs} == set(READS)
    assert {(each.asset, each.check) for each in proof.checks} == {
        (asset, check) for asset, checks in REQUIRED_CHECKS.items() for check in checks
    }
    assert all(each.passed for each in proof.checks)
    assert all(each.run_id and each.storage_id for each in proof.inputs)


@pytest.mark.parametrize("asset", [name for name in ORDER if REQUIRED_CHECKS[name]])
@pytest.mark.parametrize(
    ("outcome", "reason"),
    [("fail", "did not pass"), ("crash", "never finished"), ("warn", "severity WARN")],
)
def test_a_check_that_did_not_pass_refuses(world: World, asset: str, outcome: str, reason: str) -> None:
    check = REQUIRED_CHECKS[asset][0]
    world.outcome[check] = outcome
    world.materialize(asset)
    assert world.refused(f"check {check} of {asset}", reason)


def test_a_check_that_failed_after_a_run_at_the_same_time_passed_it_refuses(world: World) -> None:
    """Dagster orders checks by when their run was planned: the earlier run's answer may well be the later one."""
    ran = []

    def other_run() -> None:
        ran.append(world.materialize("gate_report").success)
        world.outcome["risk_gates_pass"] = "fail"

    world.meanwhile = other_run
    world.materialize("gate_report")
    assert ran == [True]
    assert world.refused("check risk_gates_pass of gate_report[alpha] did not pass")


def test_an_asset_materialized_again_without_its_checks_is_stale(world: World) -> None:
    world.materialize("gate_report", checks=False)
    assert world.refused("check risk_gates_pass of gate_report[alpha] judged another materialization")


@pytest.mark.parametrize("asset", [name for name in ORDER if name != "gate_report"])
def test_anything_materialized_again_upstream_makes_its_reader_stale(world: World, asset: str) -> None:
    world.content[asset] = 1
    world.materialize(asset)
    assert world.refused(f"{asset}[{partition_of(asset)}] was materialized again after")


def test_identical_bytes_under_a_new_version_are_read_again_too(world: World) -> None:
    """The proof is about events: a reader must have read the newest one, even when nothing changed."""
    world.materialize("candles")
    assert world.refused("candles[2024-01] was materialized again after")


@pytest.mark.parametrize("asset", ["raw_candles", "repairs", "candles", "backtest", "gate_report"])
def test_wiped_history_refuses(world: World, asset: str) -> None:
    world.instance.wipe_assets([dg.AssetKey(asset)])
    assert world.refused(f"{asset}[{partition_of(asset)}] was never materialized, or its history was wiped")


def test_a_deleted_run_refuses(world: World) -> None:
    run = world.materialize("backtest").run_id
    world.materialize("gate_report")
    assert world.prove().holds
    world.instance.delete_run(run)
    assert not world.prove().holds


def copy_of_the_newest(world: World, asset: str) -> dg.AssetMaterialization:
    record = world.instance.fetch_materializations(dg.AssetKey(asset), limit=1).records[0]
    assert record.asset_materialization is not None
    return record.asset_materialization


@pytest.mark.parametrize("asset", ["candles", "backtest", "gate_report"])
def test_a_materialization_reported_by_hand_refuses_even_with_true_metadata(world: World, asset: str) -> None:
    world.instance.report_runless_asset_event(copy_of_the_newest(world, asset))
    assert world.refused(f"{asset}[{partition_of(asset)}] was not materialized by a run that Dagster knows")


def forge_check(world: World, asset: str, check: str) -> None:
    """Report by hand that the check passed on the materialization that it truly judged."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    (judged,) = world.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert judged.event is not None
    assert judged.event.dagster_event is not None
    truth = judged.event.dagster_event.asset_check_evaluation_data
    world.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=truth.asset_key,
            check_name=truth.check_name,
            passed=True,
            metadata=truth.metadata,
            target_materialization_data=truth.target_materialization_data,
            partition=truth.partition,
        )
    )


def test_a_forged_passing_check_on_the_right_materialization_refuses(world: World) -> None:
    world.outcome["risk_gates_pass"] = "fail"
    world.materialize("gate_report")
    forge_check(world, "gate_report", "risk_gates_pass")
    assert world.refused("check risk_gates_pass of gate_report[alpha] was not evaluated by a run that Dagster knows")


def test_evidence_of_another_partition_refuses(world: World) -> None:
    world.outcome["risk_gates_pass"] = "fail"
    world.materialize("gate_report")
    world.outcome["risk_gates_pass"] = "pass"
    world.materialize("gate_report", partition="beta")
    assert world.refused("check risk_gates_pass of gate_report[alpha] did not pass")


def test_a_verdict_under_another_policy_refuses(world: World) -> None:
    world.policy = "q" * 64
    world.materialize("gate_report")
    assert world.refused("judged under another policy")


def test_a_lake_that_moved_without_dagster_refuses(world: World) -> None:
    world.lake.write("candles", MONTH, pa.table({"partition_key": [MONTH], "n": [9]}), ROWS)
    assert world.refused("candles[2024-01] in the lake is not what its newest materialization wrote")


def test_a_materialization_that_hides_an_input_refuses(world: World) -> None:
    world.hidden = "market_quality"
    world.materialize("gate_report")
    assert world.refused("gate_report[alpha] does not record that it read market_quality")


def test_every_refusal_is_given_not_only_the_first(world: World) -> None:
    world.outcome |= {"accounts_add_up": "fail", "risk_gates_pass": "fail"}
    world.materialize("backtest")
    world.materialize("gate_report")
    assert world.refused("check accounts_add_up", "check risk_gates_pass")


def test_the_event_log_still_speaks_the_dialect_that_the_proof_reads(world: World) -> None:
    """The contract test of the storage calls: semi-public in 1.13, so an upgrade must fail here first."""
    storage = world.instance.event_log_storage
    (execution,) = storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("candles"), "matches_contract"), 10, None
    )
    newest = storage.get_latest_storage_id_by_partition(
        dg.AssetKey("candles"), dg.DagsterEventType.ASSET_MATERIALIZATION, {MONTH}
    )
    assert execution.partition == MONTH
    assert execution.status.value == "SUCCEEDED"
    assert world.instance.get_run_by_id(execution.run_id) is not None
    assert execution.event is not None
    assert execution.event.dagster_event is not None
    evaluation = execution.event.dagster_event.asset_check_evaluation_data
    assert evaluation.target_materialization_data is not None
    assert evaluation.target_materialization_data.storage_id == newest[MONTH]
