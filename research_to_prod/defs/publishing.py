"""How an asset stores rows and says exactly what it stored and what it read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.lake.io_manager import inputs_metadata, version_metadata


def publish(
    lake: Lake,
    table: str,
    partition: str | None,
    rows: pa.Table | pd.DataFrame,
    *,
    read: Sequence[Snapshot] = (),
    **metadata: Any,
) -> dg.MaterializeResult:
    """Write ``rows`` as one version and return the materialization that cites it.

    Parameters
    ----------
    read
        The snapshots that the rows were made from; their exact versions are recorded, because Dagster's own input
        pointers name the wrong partition on partitioned inputs.
    metadata
        More metadata for the UI; numbers are plotted over time.
    """
    version = lake.write(table, partition, rows, TABLES[table])
    return dg.MaterializeResult(
        asset_key=table,
        data_version=dg.DataVersion(version.content_sha256),
        metadata={
            **version_metadata(version.version, version.content_sha256, version.rows),
            **inputs_metadata(each for snapshot in read for each in snapshot.versions),
            **metadata,
        },
    )


def table_preview(rows: pa.Table, limit: int = 25) -> dg.MetadataValue:
    """Return the first rows as a table for the UI."""
    records = [
        dg.TableRecord(
            {name: value if isinstance(value, str | int | float | bool) else str(value) for name, value in row.items()}
        )
        for row in rows.slice(0, limit).to_pylist()
    ]
    return dg.MetadataValue.table(records) if records else dg.MetadataValue.text("no rows")


def markdown_table(rows: pa.Table) -> dg.MarkdownMetadataValue:
    """Return the rows as a Markdown table: for text that is too long for the UI's own, whose rows grow with it."""

    def cell(value: Any) -> str:
        text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    lines = [rows.column_names, ["---"] * rows.num_columns, *([*map(cell, row.values())] for row in rows.to_pylist())]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in lines))
