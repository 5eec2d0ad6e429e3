"""The published warehouse: one DuckDB file with the current tables, for SQL and BI users.

It is built aside and renamed into place, so that a reader who holds the old file open keeps reading it whole, and a
crash leaves the old one. Belongs here: publication. Doesn't: anything that reads the warehouse; the lake is the truth.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import duckdb

from research_to_prod.lake.lake import Lake

_PREFIX = ".warehouse-"


def publish_warehouse(lake: Lake, path: Path) -> dict[str, int]:
    """Write all current tables of the lake to ``path``; return the number of rows by table.

    Raises
    ------
    duckdb.Error, OSError
        The old file then is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    # The folder of the target: a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=path.parent) as folder:
        built = Path(folder) / path.name
        with duckdb.connect(built) as warehouse:
            for table in lake.tables():
                rows = lake.read(table).rows
                warehouse.register("incoming", rows)
                warehouse.execute(f'CREATE TABLE "{table}" AS FROM incoming')
                warehouse.unregister("incoming")
                counts[table] = rows.num_rows
            warehouse.execute("CHECKPOINT")
        _fsync(built)
        built.replace(path)
        _fsync(path.parent)
    return counts


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
