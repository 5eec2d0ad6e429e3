"""What a table of the lake holds: columns with types, units and meaning; key; partitioning.

Belongs here: the declaration, and the check that rows conform to it. Doesn't: storage, and rules about
values (those are the contracts of the rooms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.slices import Slicing

TIMESTAMP = pa.timestamp("us", tz="UTC")
# Money and quantities that reconcile are exact; 18 decimals hold wei, 20 digits before the point hold SHIB.
DECIMAL = pa.decimal128(38, 18)

PARTITION = "partition"
"""Name of the hive partition column that the lake adds in storage and removes on read."""

SLICE = "slice"
"""Name of the second one, of tables whose partitions are stored in slices."""


class SchemaError(ValueError):
    """Rows do not have the declared columns, types, key or partition; the message lists everything wrong."""


@dataclass(frozen=True)
class Column:
    """One declared column: name, Arrow type, meaning, unit, and whether it may be null."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True)
class PartitionBy:
    """How a row's partition, and the file within it, follow from one of its columns.

    Parameters
    ----------
    column
        A timestamp column with ``time_format`` (``%Y-%m`` for months, ``%Y-%m-%d`` for days: texts that ascend with
        time), or a string column that itself holds the partition's key.
    slice_days
        Days that share one file; a span of such a table's partition can be replaced alone. None: the partition is one
        file and replaced whole, which is cheapest to write and to read.
    """

    column: str
    time_format: str | None = None
    slice_days: int | None = None


MONTH_OF_TS = PartitionBy("ts", "%Y-%m")


@dataclass(frozen=True)
class Schema:
    """A declared table.

    Parameters
    ----------
    description
        What one row is.
    columns
        The declared columns, in order.
    key
        Columns that identify a row; unique within a partition, and the order in which rows are read back.
    partition_by
        None for a table that is replaced whole.
    """

    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition_by: PartitionBy | None = None

    def __post_init__(self) -> None:
        # Two rows in two slices could else have one key: whoever replaces a span sees its own slices only.
        if self.slicing is not None and self.slicing.column not in self.key:
            raise ValueError(f"slices by {self.slicing.column!r} need it in the key {', '.join(self.key)}")

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the declared columns."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    @property
    def slicing(self) -> Slicing | None:
        """How the rows of a partition are split into files; None if they aren't."""
        by = self.partition_by
        return None if by is None or by.slice_days is None else Slicing(by.column, by.slice_days)

    @property
    def hive(self) -> list[str]:
        """The columns that the lake adds in storage."""
        return [] if self.partition_by is None else [PARTITION] if self.slicing is None else [PARTITION, SLICE]

    @property
    def stored(self) -> pa.Schema:
        """The Arrow schema of the stored columns."""
        return pa.schema([*self.arrow, *(pa.field(name, pa.string(), nullable=False) for name in self.hive)])

    def empty(self) -> pa.Table:
        """Return a table of these columns without rows."""
        return self.arrow.empty_table()

    def conform(self, rows: pa.Table | pd.DataFrame, partition: str | None) -> pa.Table:
        """Return ``rows`` with exactly the declared columns, matched by name, sorted by key; or refuse.

        Lossless widening (int32 to int64, large_string to string, nanoseconds that are whole microseconds) is
        accepted; anything that would change a value is not.

        Raises
        ------
        SchemaError
            Listing every unknown, missing, mistyped or null column, rows outside the partition, repeated keys.
        """
        table = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
        declared = {column.name for column in self.columns}
        problems = [f"unknown column {name!r}" for name in table.column_names if name not in declared]
        problems += [
            f"column {name!r} appears more than once" for name in declared if table.column_names.count(name) > 1
        ]
        columns: list[pa.ChunkedArray] = []
        for column in self.columns:
            if table.column_names.count(column.name) != 1:
                if column.name not in table.column_names:
                    problems.append(f"missing column {column.name!r} ({column.type})")
                continue
            values = table.column(column.name)
            try:
                values = _widen(values, column.type)
            except pa.ArrowInvalid as error:
                problems.append(f"column {column.name!r} is {values.type}, declared {column.type}: {error}")
                continue
            if not column.nullable and values.null_count:
                problems.append(f"column {column.name!r} has {values.null_count} nulls and is declared not null")
            columns.append(values)
        if problems:
            raise SchemaError("rows refused: " + "; ".join(problems))
        conformed = pa.table(columns, schema=self.arrow)
        ascending = ascends(conformed, self.key)
        if not ascending:
            conformed = in_order(conformed, self.key)
            ascending = ascends(conformed, self.key)
        problems += self._outside(conformed, partition)
        # Hashing keys costs more than all the rest, and rows that ascend strictly have proven theirs unique already.
        problems += [] if ascending else self._repeated(conformed)
        if problems:
            raise SchemaError("rows refused: " + "; ".join(problems))
        return conformed

    def _outside(self, rows: pa.Table, partition: str | None) -> list[str]:
        if self.partition_by is None:
            return [] if partition is None else [f"table is not partitioned, partition {partition!r} given"]
        if partition is None:
            return [f"table is partitioned by {self.partition_by.column!r}, no partition given"]
        keys = rows.column(self.partition_by.column)
        if self.partition_by.time_format is not None:
            # A text for each row costs 2 us; all lie in one period when the first and the last do.
            ends = pa.array(pc.min_max(keys).as_py().values(), keys.type).drop_null()
            if set(pc.strftime(ends, format=self.partition_by.time_format).to_pylist()) <= {partition}:
                return []
            keys = pc.strftime(keys, format=self.partition_by.time_format)
        outside = pc.sum(pc.not_equal(keys, partition)).as_py() or 0
        return [f"{outside} rows lie outside partition {partition!r}"] if outside else []

    def _repeated(self, rows: pa.Table) -> list[str]:
        distinct = rows.select(list(self.key)).group_by(list(self.key)).aggregate([]).num_rows
        repeated = rows.num_rows - distinct
        return [f"{repeated} rows repeat the key {', '.join(self.key)}"] if repeated else []


def in_order(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return ``rows`` sorted by ``key``.

    Rows that ascend already are returned as they are, 10 times faster than sorting; parts that ascend, one after the
    other (the markets of a month, slice by slice), are put in order piece by piece, 5 times faster.
    """
    if ascends(rows, key):
        return rows
    pieces = _pieces_in_order(rows, key)
    return pieces if ascends(pieces, key) else rows.sort_by([(name, "ascending") for name in key])


def _pieces_in_order(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the runs of rows that share the key's texts, sorted by their first rows; as they are, if there are many.

    Whether the result ascends is for the caller to see.
    """
    changes = np.zeros(rows.num_rows, bool)
    changes[0] = True
    for name in key:
        column = rows[name]
        if pa.types.is_string(column.type) and not column.null_count:
            changes[1:] |= pc.not_equal(column.slice(1), column.slice(0, rows.num_rows - 1)).to_numpy()
    starts = np.flatnonzero(changes)
    # A chunk a piece is what comes back: pieces of single rows made every later filter of a month's orders take 2 s.
    if len(starts) > min(1000 + rows.num_rows // 100, rows.num_rows // 16):
        return rows
    lengths = np.diff(starts, append=rows.num_rows)
    first = rows.select(list(key)).take(pa.array(starts))
    order = pc.sort_indices(first, [(name, "ascending") for name in key]).to_pylist()
    return pa.concat_tables([rows.slice(starts[number], lengths[number]) for number in order])


def ascends(rows: pa.Table, key: Sequence[str]) -> bool:
    """Tell whether each row's key is greater than the one before: sorted by ``key``, and no key twice.

    A null or a float has no order to rely on (NaN), so such a key is never said to ascend.
    """
    if rows.num_rows < 2:
        return True
    tied = np.ones(rows.num_rows - 1, bool)
    for column in rows.select(list(key)).columns:
        if column.null_count or pa.types.is_floating(column.type):
            return False
        before, after = column.slice(0, rows.num_rows - 1), column.slice(1)
        equal = pc.equal(after, before).to_numpy()
        # The texts before the time hardly ever change: only where they do, their order is compared.
        decided = pa.array(np.flatnonzero(tied & ~equal))
        if pc.any(pc.less(after.take(decided), before.take(decided))).as_py():
            return False
        tied &= equal
        if not tied.any():
            return True
    return False


def _widen(values: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Cast without changing any value; refuse casts between kinds (text to number, number to time)."""
    if values.type == target:
        return values
    if pa.types.is_null(values.type):
        return values.cast(target)
    kinds = (
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_timestamp,
        lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
        lambda t: pa.types.is_list(t) or pa.types.is_large_list(t),
    )
    same_kind = any(kind(values.type) and kind(target) for kind in kinds)
    zones = pa.types.is_timestamp(target) and values.type.tz != target.tz
    if not same_kind or zones:
        raise pa.ArrowInvalid("no lossless conversion")
    return values.cast(target, safe=True)
