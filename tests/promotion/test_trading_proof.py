"""On the way to money the desk's own records are proven like market data; the way to paper knows none of them.

The graph has the names and the shape of the declared closure, trivial contents, and one partition.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from research_to_prod.lake import Column, Lake, PartitionBy, Schema
from research_to_prod.lake.io_manager import inputs_metadata, version_metadata
from research_to_prod.promotion.evidence import TRADING_CHECKS, TRADING_READS, Proof, prove
from research_to_prod.values import Stage

POLICY, NAME = "p" * 64, "alpha"
ROWS = Schema(
    "anything",
    (Column("partition_key", pa.string(), "partition"), Column("n", pa.int64(), "content")),
    ("n",),
    PartitionBy("partition_key"),
)
ORDER = list(TRADING_READS)[::-1]
OWN = ("decisions", "order_events", "orders", "quotes", "readiness", "slippage")
ONE = dg.StaticPartitionsDefinition([NAME])


@dataclass
class World:
    instance: dg.DagsterInstance
    lake: Lake
    hidden: frozenset[str] = frozenset()
    failing: str = ""
    content: dict[str, int] = field(default_factory=dict)

    def materialize(self, *names: str, checks: bool = True) -> None:
        judges = [self.check(name, each) for name in names for each in TRADING_CHECKS[name]] if checks else []
        dg.materialize(
            [*(self.asset(name) for name in names), *judges],
            instance=self.instance,
            partition_key=NAME,
            raise_on_error=False,
        )

    def asset(self, name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=ONE, deps=sorted(TRADING_READS[name]))
        def build() -> dg.MaterializeResult:
            read = [self.lake.version(each, NAME) for each in sorted(TRADING_READS[name] - self.hidden)]
            rows = pa.table({"partition_key": [NAME], "n": [self.content.get(name, 0)]})
            version = self.lake.write(name, NAME, rows, ROWS)
            known = version_metadata(version)
            return dg.MaterializeResult(metadata={**known, **inputs_metadata(read)})

        return build

    def check(self, asset: str, name: str) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=asset, name=name, blocking=True, partitions_def=ONE)
        def judge() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=name != self.failing, metadata={"policy_sha256": POLICY})

        return judge

    def prove(self, to_stage: Stage = Stage.CANARY) -> Proof:
        return prove(self.instance, self.lake, NAME, POLICY, to_stage)


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    (folder / "dagster").mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
        yield World(instance, Lake(folder / "lake"))


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything was materialized and passed its checks."""
    folder = tmp_path_factory.mktemp("proven") / "world"
    with open_world(folder) as world:
        world.materialize(*ORDER)
    return folder


@pytest.fixture
def world(proven: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copytree(proven, tmp_path / "world")
    with open_world(tmp_path / "world") as opened:
        yield opened


@pytest.mark.parametrize("to_stage", [Stage.CANARY, Stage.LIVE])
def test_a_way_to_money_is_proven_down_to_the_desk_s_records(world: World, to_stage: Stage) -> None:
    found = world.prove(to_stage)
    assert found.refusals == ()
    assert {each.asset for each in found.inputs} == TRADING_READS.keys() - {"trades"}
    assert {("slippage", "components_add_up"), ("quotes", "is_plausible")} <= {
        (each.asset, each.check) for each in found.checks
    }


def test_on_the_way_to_paper_a_report_that_read_them_is_refused(world: World) -> None:
    assert set(world.prove(Stage.PAPER).refusals) == {
        f"gate_report[{NAME}] read {table}, which is not a declared input" for table in OWN
    }


def test_a_report_that_did_not_read_them_proves_no_way_to_money(world: World) -> None:
    world.hidden = frozenset(OWN)
    world.materialize("gate_report")
    assert set(world.prove().refusals) == {
        f"gate_report[{NAME}] does not record that it read {table}; materialize it again"
        for table in sorted(world.hidden)
    }


@pytest.mark.parametrize(
    ("asset", "check"),
    [("slippage", "components_add_up"), ("quotes", "is_plausible"), ("kill_drill", "kills_everything")],
)
def test_records_whose_check_failed_are_refused(world: World, asset: str, check: str) -> None:
    world.failing = check
    world.materialize(*[each for each in ORDER if each in (asset, "slippage", "readiness", "gate_report")])
    assert any(each.startswith(f"check {check} of {asset}[{NAME}]") for each in world.prove().refusals)


def test_records_that_came_again_after_they_were_judged_are_refused(world: World) -> None:
    world.content["orders"] = 1
    world.materialize("orders")
    refused = world.prove().refusals
    for reader in ("gate_report", "slippage"):
        assert any(f"orders[{NAME}] was materialized again after {reader}" in each for each in refused)
