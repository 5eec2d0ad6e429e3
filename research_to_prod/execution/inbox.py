"""The desk's inbox: the files in which order management systems hand over their records of a day.

Belongs here: finding a day's files, reading them exactly, separating good rows from bad. Doesn't: storage, and any
judgement across tables (that is reconciliation).

For authors of order management systems
---------------------------------------
Write one or more files a day and kind::

    <inbox>/<kind>/<YYYY-MM-DD><anything>.parquet     or .csv (UTF-8, comma, header line)

``kind`` is ``decisions``, ``orders``, ``fills`` or ``quotes``; the columns are those of ``execution.contracts``, in any
order. The day is the UTC day of ``decided_at``, ``sent_at``, ``filled_at`` and ``quoted_at`` respectively.

- A day on which nothing happened is a file with a header and no rows. No file means "not delivered", an error.
- Write under a name that starts with ``.`` or ends in ``.tmp``, then rename: such names are never read.
- Decimals are text in CSV and ``decimal`` (or text) in Parquet, with at most 18 digits after the point. Floats are
  refused for money and quantities, because they have lost the number already.
- Times carry their zone (``2026-01-02T03:04:05.678901Z``); in Parquet, timestamps with a zone.
- An empty CSV cell is null. Booleans are ``true`` and ``false``.
- Delivering the same rows again is harmless, in the same file or another. Two rows with one key and different
  content contradict each other: both go to quarantine until a delivery settles which is right.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.lake.schema import TIMESTAMP, Column, Schema
from research_to_prod.values import day_bounds, sha256_hex

QUARANTINE = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
    ]
)
"""A refused row: file name, 1-based number of the data row in it, why, and the row as delivered (JSON text)."""


class InboxError(ValueError):
    """A delivered file cannot be read at all: wrong columns, wrong types, not the format its name says."""


class MissingDeliveryError(FileNotFoundError):
    """The desk has delivered no file for this kind and day; the message names what is expected where."""


@dataclass(frozen=True)
class DeliveredFile:
    """One file of a delivery, identified by its content."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Delivery:
    """What the desk delivered of one kind for one day.

    Parameters
    ----------
    rows
        Good rows, conforming to the kind's schema, sorted by key.
    files
        The files read, by name.
    quarantined
        Refused rows, ``QUARANTINE`` columns.
    repeated_rows
        Exact repetitions of a good row that were dropped.
    """

    rows: pa.Table
    files: tuple[DeliveredFile, ...]
    quarantined: pa.Table
    repeated_rows: int


def read_inbox(folder: Path, kind: str, day: str) -> Delivery:
    """Read everything that the desk delivered of ``kind`` for the UTC day ``YYYY-MM-DD``.

    Raises
    ------
    MissingDeliveryError
        If no file is there.
    InboxError
        If a file has unknown or missing columns, wrong types, or cannot be parsed; lists every fault of the file.
    """
    schema = INBOX_KINDS[kind]
    day_bounds(day)
    paths = sorted(
        path
        for path in (folder / kind).glob(f"{day}*")
        if path.suffix in {".parquet", ".csv"} and not path.name.startswith(".")
    )
    if not paths:
        raise MissingDeliveryError(
            f"no {kind} delivered for {day}: expected {folder / kind / day}*.parquet or .csv; "
            "a day without any is delivered as a file without rows"
        )
    files: list[DeliveredFile] = []
    parts: list[pa.Table] = []
    refused: list[pa.Table] = []
    for path in paths:
        content = path.read_bytes()
        delivered, malformed = _read(path.name, content)
        files.append(DeliveredFile(path.name, sha256_hex(content), delivered.num_rows + malformed.num_rows))
        typed, reasons = _typed(path.name, delivered, schema)
        reasons = _judge(typed, reasons, schema, day)
        bad = pc.not_equal(reasons, "")
        typed = typed.append_column("file", pa.repeat(path.name, typed.num_rows))
        skipped = set(malformed.column("row").to_pylist())
        numbers = [number for number in range(1, files[-1].rows + 1) if number not in skipped]
        typed = typed.append_column("row", pa.array(numbers, pa.int64()))
        parts.append(typed.filter(pc.invert(bad)))
        refused += [malformed, _quarantine(delivered, typed, reasons, bad)]
    return _settle(pa.concat_tables(parts), tuple(files), refused, schema, day)


def _read(name: str, content: bytes) -> tuple[pa.Table, pa.Table]:
    """Return the file's rows (CSV as text), and the CSV lines that do not have as many cells as the header."""
    broken: list[dict[str, object]] = []

    def keep(row: pa_csv.InvalidRow) -> str:
        reason = f"line has {row.actual_columns} cells, the header has {row.expected_columns}"
        broken.append({"file": name, "row": (row.number or 1) - 1, "reason": reason, "content": json.dumps(row.text)})
        return "skip"

    try:
        if name.endswith(".parquet"):
            return pq.read_table(io.BytesIO(content)), QUARANTINE.empty_table()
        header = content.partition(b"\n")[0].decode("utf-8-sig").strip("\r").split(",")
        names = [cell.strip('"') for cell in header]
        table = pa_csv.read_csv(
            io.BytesIO(content),
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=keep),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InboxError(f"{name} cannot be read: {error}; write it again under a temporary name and rename") from error
    return table, pa.Table.from_pylist(broken, QUARANTINE)


def _typed(name: str, delivered: pa.Table, schema: Schema) -> tuple[pa.Table, pa.StringArray]:
    """Return the declared columns in their declared types, and per row why it is refused ('' if it is not)."""
    declared = [column.name for column in schema.columns]
    problems = [f"unknown column {each!r}" for each in delivered.column_names if each not in declared]
    problems += [f"missing column {each!r}" for each in declared if each not in delivered.column_names]
    problems += [f"column {each!r} twice" for each in declared if delivered.column_names.count(each) > 1]
    if problems:
        raise InboxError(f"{name} refused: {'; '.join(problems)}")
    columns: list[pa.ChunkedArray] = []
    reasons: pa.StringArray = pa.repeat("", delivered.num_rows)
    for column in schema.columns:
        values = delivered.column(column.name)
        try:
            columns.append(_cast(values, column))
        except pa.ArrowInvalid as error:
            if not pa.types.is_string(values.type):
                problems.append(f"column {column.name!r} is {values.type}, declared {column.type}: {error}")
                continue
            parsed, unreadable = _cast_each(values, column)
            columns.append(parsed)
            reasons = _append(reasons, unreadable, f"{column.name} is not a {column.type}")
            values = pc.if_else(unreadable, "", values)
        if not column.nullable:
            reasons = _append(reasons, pc.is_null(values), f"{column.name} is missing")
    if problems:
        raise InboxError(f"{name} refused: {'; '.join(problems)}")
    return pa.table(columns, names=declared), reasons


# Arrow casts between these kinds and numbers without a word (a time to its microseconds, say).
_KINDS = {"a time": pa.types.is_timestamp, "true or false": pa.types.is_boolean, "text": pa.types.is_string}


def _cast(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Cast without changing any value; text is parsed, floats are refused for decimals, times need their zone."""
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    delivered = values.type
    if pa.types.is_decimal(column.type) and pa.types.is_floating(delivered):
        raise pa.ArrowInvalid("a float has already lost the exact amount; deliver decimal or text")
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(delivered) and delivered.tz is None:
        raise pa.ArrowInvalid("a time without a zone; deliver UTC timestamps")
    if not (pa.types.is_string(delivered) or pa.types.is_null(delivered)):
        for name, is_kind in _KINDS.items():
            if is_kind(column.type) != is_kind(delivered):
                raise pa.ArrowInvalid(f"one of the two is {name}, the other not")
    try:
        return values.cast(column.type, safe=True)
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise pa.ArrowInvalid(str(error)) from error


def _cast_each(values: pa.ChunkedArray, column: Column) -> tuple[pa.ChunkedArray, pa.BooleanArray]:
    """Cast text value by value, null where it cannot be read; only called for a column that has such a value."""
    cells: list[object] = []
    unreadable: list[bool] = []
    for text in values.to_pylist():
        try:
            cells.append(pa.scalar(text, pa.string()).cast(column.type).as_py())
            unreadable.append(False)
        except pa.ArrowInvalid:
            cells.append(None)
            unreadable.append(True)
    return pa.chunked_array([pa.array(cells, column.type)]), pa.array(unreadable)


def _positive(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.greater(values, pa.scalar(0, values.type))


# Rules by column name, for rows of every kind; NULL passes, because nullability is judged before.
_RULES: dict[str, tuple[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]]] = {
    "side": ("side is neither +1 nor -1", lambda values: pc.is_in(values, pa.array([1, -1], pa.int64()))),
    "quantity": ("quantity is not positive", _positive),
    "price": ("price is not positive", _positive),
    "liquidity": ("liquidity is neither maker nor taker", lambda v: pc.is_in(v, pa.array(["maker", "taker"]))),
}


def _judge(typed: pa.Table, reasons: pa.StringArray, schema: Schema, day: str) -> pa.StringArray:
    """Add to ``reasons`` what is wrong with the values of each row."""
    for name, (reason, rule) in _RULES.items():
        if name in typed.column_names:
            values = typed.column(name)
            reasons = _append(reasons, pc.and_(pc.invert(rule(values)), pc.is_valid(values)), reason)
    if schema.partition_by is None:
        return reasons
    times = typed.column(schema.partition_by.column)
    start, end = (pa.scalar(bound, TIMESTAMP) for bound in day_bounds(day))
    other = pc.or_(pc.less(times, start), pc.greater_equal(times, end))
    return _append(reasons, other, f"{schema.partition_by.column} is not on {day} (UTC)")


def _append(reasons: pa.StringArray, where: pa.Array, reason: str) -> pa.StringArray:
    if not pc.any(where).as_py():
        return reasons
    joined = pc.if_else(pc.equal(reasons, ""), reason, pc.binary_join_element_wise(reasons, reason, "; "))
    return pc.if_else(pc.fill_null(where, fill_value=False), joined, reasons)


def _quarantine(delivered: pa.Table, typed: pa.Table, reasons: pa.StringArray, bad: pa.BooleanArray) -> pa.Table:
    content = [json.dumps(row, default=str) for row in delivered.filter(bad).to_pylist()]
    numbered = typed.filter(bad)
    return pa.table(
        [numbered.column("file"), numbered.column("row"), pc.filter(reasons, bad), pa.array(content, pa.string())],
        schema=QUARANTINE,
    )


def _settle(
    rows: pa.Table, files: tuple[DeliveredFile, ...], refused: list[pa.Table], schema: Schema, day: str
) -> Delivery:
    """Drop exact repetitions, quarantine rows that contradict each other, and conform the rest."""
    names, key = [column.name for column in schema.columns], list(schema.key)
    kept, repeated = rows, 0
    # Grouping by every column costs ten times grouping by the key, and a usual delivery repeats nothing.
    if rows.group_by(key, use_threads=False).aggregate([]).num_rows < rows.num_rows:
        distinct = rows.group_by(names, use_threads=False).aggregate([("file", "first"), ("row", "first")])
        counts = distinct.group_by(key, use_threads=False).aggregate([([], "count_all")])
        contradictory = counts.filter(pc.greater(counts.column("count_all"), 1)).select(key)
        refused.append(_contradictions(distinct.join(contradictory, key, join_type="left semi"), names, key))
        kept = distinct.join(contradictory, key, join_type="left anti")
        repeated = rows.num_rows - distinct.num_rows
    return Delivery(
        rows=schema.conform(kept.select(names), day),
        files=files,
        quarantined=pa.concat_tables(refused).sort_by([("file", "ascending"), ("row", "ascending")]),
        repeated_rows=repeated,
    )


def _contradictions(rows: pa.Table, names: list[str], key: list[str]) -> pa.Table:
    reasons = pa.repeat(f"rows with the same {', '.join(key)} and different content", rows.num_rows)
    content = [json.dumps(row, default=str) for row in rows.select(names).to_pylist()]
    columns = [rows.column("file_first"), rows.column("row_first"), reasons, pa.array(content, pa.string())]
    return pa.table(columns, schema=QUARANTINE)
