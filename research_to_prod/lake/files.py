"""The Parquet files of one table version: how they are written, found and read.

Belongs here: files. Doesn't: which version, which partitions, and what they mean (``lake.py``).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from deltalake import ColumnProperties, DeltaTable, WriterProperties
from deltalake.fs import DeltaStorageHandler

from research_to_prod.lake.evolution import files_may_lack_columns, stored_columns
from research_to_prod.lake.schema import PARTITION, SLICE, Schema, in_order

# Rows are stored in key order, so small groups let a reader of one market skip the others; 2**16 rows are 1.5 months of
# one market's minutes, and smaller groups compress worse.
_ROW_GROUP = 1 << 16
_MINUTES_OF_A_DAY = 1440


def parquet(schema: Schema) -> WriterProperties:
    """Return how files are written: a dictionary for texts only.

    Prices and times hardly repeat within a group: without one a month of bars takes half the time and 3/4 of the space.
    """
    plain = [field.name for field in schema.arrow if not pa.types.is_string(field.type)]
    return WriterProperties(
        compression="ZSTD",
        # A market's minutes of a slice are a group: a reader of one market decodes no other's.
        max_row_group_size=_ROW_GROUP if schema.slicing is None else schema.slicing.days * _MINUTES_OF_A_DAY,
        column_properties=dict.fromkeys(plain, ColumnProperties(dictionary_enabled=False)),
    )


def rows(
    delta: DeltaTable,
    partitions: Sequence[str | None],
    key: Sequence[str],
    where: Mapping[str, str] | None = None,
    slices: tuple[str, str] | None = None,
) -> Iterator[pa.Table]:
    """Read each partition (None: the unpartitioned table) in the order of ``key``, without the storage's columns.

    Parameters
    ----------
    where
        Only the rows with these values.
    slices
        Only those from the first to the last of these names.
    """
    conditions = [pc.field(name) == value for name, value in (where or {}).items()]
    condition = functools.reduce(operator.and_, conditions) if conditions else None
    # No sort sees more than one partition.
    for stored in datasets(delta, partitions, slices):
        yield in_order(stored.to_table(filter=condition), key)


def datasets(
    delta: DeltaTable,
    partitions: Sequence[str | None],
    slices: tuple[str, str] | None = None,
    *,
    encoded: bool = False,
) -> Iterator[pads.Dataset]:
    """Yield the files of each partition as a dataset, without the storage's columns.

    Parameters
    ----------
    slices
        Only those from the first to the last of these names.
    encoded
        Texts come dictionary-encoded.
    """
    hive = delta.metadata().partition_columns
    declared = stored_columns(delta)
    form = pads.ParquetFileFormat()
    if encoded:
        texts = {field.name for field in declared if pa.types.is_string(field.type)}
        form = pads.ParquetFileFormat(dictionary_columns=texts)
        code = pa.dictionary(pa.int32(), pa.string())
        declared = pa.schema([field.with_type(code) if field.name in texts else field for field in declared])
    # Delta finds the files of one partition among 1,000 in 0.5 ms, the loop below in 3; of 1,000 it needs 40.
    alone = len(partitions) == 1 and partitions[0] is not None
    filters = [(PARTITION, "=", partitions[0])] if alone else []
    if slices is not None:
        filters += [(SLICE, ">=", slices[0]), (SLICE, "<=", slices[1])]
    paths: dict[str | None, list[str]] = {}
    for uri in delta.file_uris(file_pruning_predicate=filters or None):
        # The last steps of a URI are the partition, the slice and the file, whatever scheme and encoding precede.
        steps = unquote(uri).split("/")[-len(hive) - 1 :]
        partition = steps[0].removeprefix(f"{PARTITION}=") if hive else None
        paths.setdefault(partition, []).append("/".join(steps))
    # Not delta-rs's own dataset: that builds an expression per column and file of the whole table (40 ms at 36 files).
    storage = pafs.PyFileSystem(DeltaStorageHandler(delta.table_uri))
    for partition in partitions:
        # By path they are in the order of time.
        found = sorted(paths.get(partition, ()))
        yield pads.dataset(found, declared, form, storage) if found else pads.dataset(declared.empty_table())


def is_remote(uri: str) -> bool:
    """Tell whether a lake or table lies in an object store, not in a folder."""
    return urlsplit(uri).scheme not in {"", "file"}


def folders(root: str) -> list[str]:
    """Return the names of the folders directly under a root, sorted; none of a root that is not there."""
    if not is_remote(root):
        return sorted(each.name for each in Path(root).glob("*") if each.is_dir())
    found = pafs.PyFileSystem(DeltaStorageHandler(root)).get_file_info(pafs.FileSelector("", recursive=False))
    return sorted(each.base_name for each in found if each.type is pafs.FileType.Directory)


def relation(
    connection: duckdb.DuckDBPyConnection, delta: DeltaTable, partitions: Sequence[str] | None = None
) -> duckdb.DuckDBPyRelation:
    """Return a lazy relation over the files of one table version, without the storage's columns."""
    filters = None if partitions is None else [(PARTITION, "in", list(partitions))]
    if is_remote(delta.table_uri) or files_may_lack_columns(delta):
        # Through delta-rs: DuckDB's own S3 client is an extension, which it would fetch from the internet, and DuckDB
        # takes the columns of the first file for those of all.
        stored = connection.from_arrow(delta.to_pyarrow_dataset(file_pruning_predicate=filters))
        hive = delta.metadata().partition_columns
        return stored.select(*[duckdb.ColumnExpression(name) for name in stored.columns if name not in hive])
    # delta-rs percent-encodes its URIs; DuckDB wants the path, and a checkout may lie under one with a space.
    paths = [
        unquote(urlsplit(uri).path) if "://" in uri else unquote(uri)
        for uri in delta.file_uris(file_pruning_predicate=filters)
    ]
    if not paths:
        empty = pa.schema(delta.schema().to_arrow()).empty_table()
        return connection.from_arrow(empty.drop_columns(delta.metadata().partition_columns))
    # Delta keeps partition columns in the path only, so plain files hold exactly the declared columns.
    return connection.read_parquet(paths)
