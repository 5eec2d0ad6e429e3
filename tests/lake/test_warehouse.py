"""The published warehouse appears whole, and never disturbs a reader."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from research_to_prod.lake import Column, Lake, Schema
from research_to_prod.lake.warehouse import publish_warehouse

NUMBERS = Schema("numbers", (Column("n", pa.int64(), "number"),), key=("n",))

HOLDER = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print("open", flush=True)
    sys.stdin.readline()
    print(connection.execute("SELECT count(*) FROM numbers").fetchone()[0], flush=True)
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.write("numbers", None, pa.table({"n": [1, 2]}), NUMBERS)
    return lake


def count(path: Path) -> int:
    with duckdb.connect(path, read_only=True) as connection:
        (found,) = connection.execute("SELECT count(*) FROM numbers").fetchone() or (None,)
    assert isinstance(found, int)
    return found


def test_it_is_replaced_while_another_process_holds_the_old_one_open(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    assert publish_warehouse(lake, path) == {"numbers": 2}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "open\n"
        lake.write("numbers", None, pa.table({"n": [1, 2, 3]}), NUMBERS)
        publish_warehouse(lake, path)
        assert count(path) == 3
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "2\n", "the reader still sees the file that it opened"


def test_a_failed_build_leaves_the_old_file_and_no_rubbish(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    publish_warehouse(lake, path)
    for file in (Path(lake.root) / "numbers").glob("*.parquet"):
        file.write_bytes(b"not parquet")
    with pytest.raises((OSError, pa.ArrowInvalid)):
        publish_warehouse(lake, path)
    assert count(path) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lake", "warehouse.duckdb"]
