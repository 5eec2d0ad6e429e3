"""How an asset stores rows and says exactly what it stored and what it read."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.lake.io_manager import inputs_metadata, row_counts, version_metadata

REPORTS = "/reports/"
"""Where the UI has the reports (``defs/ui.py``): its pages can't lead to a file of the machine that serves them."""
LARGEST_PICTURE = 100_000
"""Bytes that one picture may not reach."""


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
        # What people look for comes first: the UI keeps this order, and the inputs of three years fill pages.
        metadata={
            **metadata,
            **row_counts(lake, version),
            **version_metadata(version),
            **inputs_metadata(each for snapshot in read for each in snapshot.versions),
        },
    )


def report_link(name: str) -> dg.UrlMetadataValue:
    """Return the metadata by which a page of the UI opens a report."""
    return dg.MetadataValue.url(f"{REPORTS}{name}")


def image(content: bytes, title: str) -> dg.MarkdownMetadataValue:
    """Return a PNG or SVG that the UI shows inline."""
    return dg.MetadataValue.md(image_link(content, title))


def drawing(inline: str, title: str) -> dg.MarkdownMetadataValue:
    """Return an inline SVG, as the pages of the desk have them, that the UI shows."""
    from research_to_prod.reports.svg import document

    return image(document(inline), title)


def image_link(content: bytes, title: str) -> str:
    """Return the Markdown of a picture, its bytes included.

    Raises
    ------
    ValueError
        From 100 kB on: the event log keeps every picture for ever.
    """
    if len(content) >= LARGEST_PICTURE:
        raise ValueError(f"picture {title!r} has {len(content)} bytes; draw it with fewer points")
    kind = "svg+xml" if content.startswith(b"<svg") else "png"
    return f"![{title}](data:image/{kind};base64,{base64.b64encode(content).decode()})"


def table_preview(rows: pa.Table, limit: int = 25) -> dg.MetadataValue:
    """Return the first rows as a table for the UI."""
    records = [
        dg.TableRecord(
            # NaN and infinity are no JSON: the browser would refuse the whole page.
            {
                name: value if isinstance(value, str | int) or _finite(value) else str(value)
                for name, value in row.items()
            }
        )
        for row in rows.slice(0, limit).to_pylist()
    ]
    return dg.MetadataValue.table(records) if records else dg.MetadataValue.text("no rows")


def _finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def markdown_table(rows: pa.Table) -> dg.MarkdownMetadataValue:
    """Return the rows as a Markdown table: for text that is too long for the UI's own, whose rows grow with it."""

    def cell(value: Any) -> str:
        text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    lines = [rows.column_names, ["---"] * rows.num_columns, *([*map(cell, row.values())] for row in rows.to_pylist())]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in lines))
