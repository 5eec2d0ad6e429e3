"""Versioned tables: the lake, its schemas, the DuckDB engine over it, and the published warehouse."""

from research_to_prod.lake.lake import Lake, Snapshot
from research_to_prod.lake.log import LakeError, Version
from research_to_prod.lake.pinned import PinnedLake, Reader
from research_to_prod.lake.schema import Column, PartitionBy, Schema, SchemaError

__all__ = [
    "Column",
    "Lake",
    "LakeError",
    "PartitionBy",
    "PinnedLake",
    "Reader",
    "Schema",
    "SchemaError",
    "Snapshot",
    "Version",
]
