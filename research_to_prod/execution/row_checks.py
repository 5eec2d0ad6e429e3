"""From delivered rows to typed ones: each row of a kind is what its contract says, or has a reason why not.

Belongs here: reading one file's bytes, exact casts, and the rules about the values of one row. Doesn't: finding files
and settling rows that contradict each other (inbox), writing (inbox_writer).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from research_to_prod.execution.contracts import ENTRY_TYPES, FORCED_FLAGS, LIQUIDITY_FLAGS, ORDER_EVENT_TYPES
from research_to_prod.lake.schema import TIMESTAMP, Column, Schema
from research_to_prod.market_data.universe import SYMBOL
from research_to_prod.values import day_bounds

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
    """A file cannot be read or written at all: wrong columns, wrong types, not the format its name says."""


@dataclass(frozen=True)
class CheckedRows:
    """The rows of one file, told apart.

    Parameters
    ----------
    accepted
        Rows of the declared columns and types, and ``row``, the 1-based number in the file.
    refused
        ``QUARANTINE`` rows.
    """

    accepted: pa.Table
    refused: pa.Table

    @property
    def delivered(self) -> int:
        """How many data rows the file has."""
        return int(self.accepted.num_rows + self.refused.num_rows)


def check_file(name: str, content: bytes, schema: Schema, day: str) -> CheckedRows:
    """Read one delivered file and judge each of its rows.

    Raises
    ------
    InboxError
        If the file cannot be read; lists every fault of its columns.
    """
    delivered, malformed = read_file(name, content)
    return check_rows(name, delivered, schema, day, malformed)


def check_rows(name: str, delivered: pa.Table, schema: Schema, day: str, malformed: pa.Table) -> CheckedRows:
    """Judge the rows of a table as they came; ``malformed`` are the ``QUARANTINE`` rows that are not in it."""
    typed, reasons = _typed(name, delivered, schema)
    reasons = _judge(typed, reasons, schema, day)
    bad = pc.not_equal(reasons, "")
    skipped = set(malformed.column("row").to_pylist())
    total = delivered.num_rows + len(skipped)
    numbers = [number for number in range(1, total + 1) if number not in skipped]
    typed = typed.append_column("row", pa.array(numbers, pa.int64()))
    refused = quarantined(name, typed.column("row").filter(bad), pc.filter(reasons, bad), delivered.filter(bad))
    return CheckedRows(typed.filter(pc.invert(bad)), pa.concat_tables([malformed, refused]))


def quarantined(name: str, numbers: pa.ChunkedArray, reasons: pa.Array, rows: pa.Table) -> pa.Table:
    """Return rows of one file as ``QUARANTINE`` rows."""
    content = as_json(rows)
    columns = [pa.array([name] * len(content), pa.string()), numbers, reasons, pa.array(content, pa.string())]
    return pa.table(columns, schema=QUARANTINE)


def as_json(rows: pa.Table) -> list[str]:
    """Return each row as the JSON that quarantine keeps of it."""
    # Arrow's times reach beyond the year 9999, where Python's end.
    shown = [pc.cast(each, pa.string()) if pa.types.is_temporal(each.type) else each for each in rows.columns]
    return [json.dumps(row, default=str) for row in pa.table(shown, rows.column_names).to_pylist()]


def read_file(name: str, content: bytes) -> tuple[pa.Table, pa.Table]:
    """Return the file's rows (CSV as text), and the CSV lines that do not have as many cells as the header.

    Raises
    ------
    InboxError
        If the bytes are not what the name says.
    """
    broken: list[dict[str, object]] = []

    def keep(row: pa_csv.InvalidRow) -> str:
        reason = f"line has {row.actual_columns} cells, the header has {row.expected_columns}"
        broken.append({"file": name, "row": (row.number or 1) - 1, "reason": reason, "content": json.dumps(row.text)})
        return "skip"

    try:
        if name.endswith(".parquet"):
            stored = pq.read_table(io.BytesIO(content))
            # Arrow reads names and texts that are no UTF-8, and fails where they are first used.
            stored.validate(full=True)
            return stored.rename_columns(stored.column_names), QUARANTINE.empty_table()
        # The whole file: Arrow swallows what `keep` raises of a line that is no UTF-8.
        header = content.decode("utf-8-sig").partition("\n")[0].strip("\r").split(",")
        names = [cell.strip('"') for cell in header]
        table = pa_csv.read_csv(
            io.BytesIO(content),
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=keep),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    # Of a damaged Parquet footer Arrow says OSError.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InboxError(f"{name} cannot be read: {error}; write it again under a temporary name and rename") from error
    return table, pa.Table.from_pylist(broken, QUARANTINE)


def _typed(name: str, delivered: pa.Table, schema: Schema) -> tuple[pa.Table, pa.StringArray]:
    """Return the declared columns in their declared types, and per row why it is refused ('' if it is not)."""
    declared = [column.name for column in schema.columns]
    problems = [f"unknown column {each!r}" for each in delivered.column_names if each not in declared]
    problems += [
        f"missing column {column.name!r}"
        for column in schema.columns
        if column.name not in delivered.column_names and not column.nullable
    ]
    problems += [f"column {each!r} twice" for each in declared if delivered.column_names.count(each) > 1]
    if problems:
        raise InboxError(f"{name} refused: {'; '.join(problems)}")
    columns: list[pa.ChunkedArray] = []
    reasons: pa.StringArray = pa.repeat("", delivered.num_rows)
    for column in schema.columns:
        if column.name not in delivered.column_names:
            columns.append(pa.chunked_array([pa.nulls(delivered.num_rows, column.type)]))
            continue
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


_Rule = tuple[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]]


def _one_of(name: str, words: tuple[str, ...]) -> _Rule:
    return f"{name} is none of {', '.join(words)}", lambda values: pc.is_in(values, pa.array(words))


# Rules by column name, for rows of every kind; NULL passes, because nullability is judged before.
_RULES: dict[str, _Rule] = {
    # Another spelling would be another market, without quotes and without the venue's fills.
    "symbol": ("symbol is no ccxt unified symbol", lambda v: pc.match_substring_regex(v, f"^(?:{SYMBOL.pattern})$")),
    "side": ("side is neither +1 nor -1", lambda values: pc.is_in(values, pa.array([1, -1], pa.int64()))),
    "quantity": ("quantity is not positive", _positive),
    "target_quantity": ("target_quantity is not positive", _positive),
    "price": ("price is not positive", _positive),
    "liquidity": _one_of("liquidity", LIQUIDITY_FLAGS),
    "forced": _one_of("forced", FORCED_FLAGS),
    "event": _one_of("event", ORDER_EVENT_TYPES),
    "entry_type": _one_of("entry_type", ENTRY_TYPES),
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
