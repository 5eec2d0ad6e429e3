"""A copy of a table is one of its versions, with all before it, or none at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from research_to_prod.lake import Column, Lake, LakeError, PartitionBy, Schema, Version
from research_to_prod.lake.copying import copy_table

NUMBERS = Schema(
    "numbers by their writer",
    (Column("name", pa.string(), "writer"), Column("n", pa.int64(), "number")),
    key=("name", "n"),
    partition_by=PartitionBy("name"),
)


def write(root: Path, name: str, n: int) -> Version:
    return Lake(root).write("numbers", name, pa.table({"name": [name], "n": pa.array([n], pa.int64())}), NUMBERS)


def test_copies_taken_one_after_the_other_while_others_write_are_each_a_version_that_was(tmp_path: Path) -> None:
    root, stop = tmp_path / "a lake", threading.Event()
    made = [write(root, "ann", 0)]

    def keep_writing() -> None:
        while not stop.is_set():
            made.append(write(root, "ann", len(made)))

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        # Past the first checkpoint, which the log points at, and across others.
        copied: list[int] = []
        while len(copied) < 3 or copied[-1] < 45:
            target = tmp_path / f"copy {len(copied)}"
            copied.append(copy_table(f"{root}/numbers", f"{target}/numbers"))
    finally:
        stop.set()
        writer.join()
    for number, version in enumerate(copied):
        copy = Lake(tmp_path / f"copy {number}")
        assert copy.history("numbers", "ann") == tuple(made[:version])
        assert copy.read_version(made[version - 1])["n"].to_pylist() == [version - 1]


def test_a_table_without_partitions_is_copied_too(tmp_path: Path) -> None:
    whole = Schema("numbers", NUMBERS.columns, key=("name", "n"))
    rows = pa.table({"name": ["ann"], "n": pa.array([1], pa.int64())})
    made = Lake(tmp_path / "lake").write("numbers", None, rows, whole)
    copy_table(f"{tmp_path}/lake/numbers", f"{tmp_path}/copy/numbers")
    assert Lake(tmp_path / "copy").read_version(made).to_pylist() == rows.to_pylist()


def test_a_log_with_a_hole_is_not_copied(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "lake", "ann", n)
    (tmp_path / "lake" / "numbers" / "_delta_log" / f"{2:020d}.json").unlink()
    with pytest.raises(LakeError, match="lacks a commit before version 3"):
        copy_table(f"{tmp_path}/lake/numbers", f"{tmp_path}/copy/numbers")
    assert Lake(tmp_path / "copy").tables() == []


def test_what_is_no_table_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "lake" / "numbers" / "_delta_log").mkdir(parents=True)
    with pytest.raises(LakeError, match="no Delta table"):
        copy_table(f"{tmp_path}/lake/numbers", f"{tmp_path}/copy/numbers")
