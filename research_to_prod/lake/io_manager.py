"""Dagster's door to the lake: outputs become versions, inputs load as the type that the asset asks for.

Belongs here: the I/O manager. Doesn't: domain code, and reads whose exact versions a decision must cite (those call
``Lake.read`` and record what it returns).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa

from research_to_prod.lake.lake import Lake
from research_to_prod.lake.log import Version
from research_to_prod.lake.schema import Schema


class LakeIOManager(dg.IOManager):
    """Stores each asset partition as one commit; the table is named like the asset.

    Parameters
    ----------
    lake
        Where tables live.
    schemas
        The declared schema of each table.
    """

    def __init__(self, lake: Lake, schemas: Mapping[str, Schema]) -> None:
        self._lake = lake
        self._schemas = schemas

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame | pa.Table) -> None:
        """Write ``obj`` as the asset's partition, and attach the version to the materialization."""
        table = context.asset_key.path[-1]
        if table not in self._schemas:
            raise dg.DagsterInvariantViolationError(
                f"asset {table} returns rows but declares no schema; add it to the tables of the definitions"
            )
        partition = context.partition_key if context.has_asset_partitions else None
        version = self._lake.write(table, partition, obj, self._schemas[table])
        context.add_output_metadata(version_metadata(version) | row_counts(self._lake, version))

    def load_input(self, context: dg.InputContext) -> pd.DataFrame | pa.Table | duckdb.DuckDBPyRelation:
        """Load the upstream asset's partitions as the annotated type: data frame, Arrow table, lazy DuckDB relation."""
        table = context.asset_key.path[-1]
        partitions = list(context.asset_partition_keys) if context.has_asset_partitions else None
        wanted = context.dagster_type.typing_type
        if wanted is duckdb.DuckDBPyRelation:
            return self._lake.relation(table, partitions)
        rows = self._lake.read(table, partitions).rows
        if wanted is pd.DataFrame:
            return rows.to_pandas()
        if wanted is pa.Table:
            return rows
        raise dg.DagsterInvariantViolationError(
            f"input {table} is annotated {wanted}; annotate pandas.DataFrame, pyarrow.Table or duckdb.DuckDBPyRelation"
        )


def version_metadata(version: Version) -> dict[str, dg.MetadataValue]:
    """Return the metadata by which a proof finds the exact rows of a materialization again."""
    return {
        "lake_version": dg.MetadataValue.int(version.version),
        "content_sha256": dg.MetadataValue.text(version.content_sha256),
    }


def row_counts(lake: Lake, version: Version) -> dict[str, dg.MetadataValue]:
    """Return the rows of the whole table, which the UI shows beside the asset, and of the partition just written."""
    if version.partition is None:
        return {"dagster/row_count": dg.MetadataValue.int(version.rows)}
    rows = sum(each.rows for each in lake.versions(version.table).values())
    return {
        "dagster/row_count": dg.MetadataValue.int(rows),
        "dagster/partition_row_count": dg.MetadataValue.int(version.rows),
    }


def read_versions(metadata: Mapping[str, Any]) -> list[Version]:
    """Return the versions that a materialization recorded as read in its metadata ``inputs``.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the metadata has another form.
    """
    return [
        Version(table, partition or None, int(state["version"]), str(state["content_sha256"]), int(state["rows"]))
        for table, partitions in metadata["inputs"].value.items()
        for partition, state in partitions.items()
    ]


def inputs_metadata(versions: Iterable[Version]) -> dict[str, dg.MetadataValue]:
    """Return the metadata by which an asset records what it read, the form that `read_versions` reads back."""
    grouped: dict[str, dict[str, dict[str, Any]]] = {}
    for each in versions:
        state = {"version": each.version, "content_sha256": each.content_sha256, "rows": each.rows}
        grouped.setdefault(each.table, {})[each.partition or ""] = state
    return {"inputs": dg.MetadataValue.json(grouped)}
