"""What one write changes: the rows that its commit stores, those they replace, and what the partition then holds.

Belongs here: a partition replaced whole, and a span of one. Doesn't: committing (``lake.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from research_to_prod.lake import files, log
from research_to_prod.lake.content import content_hash
from research_to_prod.lake.evolution import stored_columns
from research_to_prod.lake.log import LakeError, Version
from research_to_prod.lake.schema import PARTITION, SLICE, Schema, SchemaError
from research_to_prod.lake.slices import Contents, Slicing, combined_hash, contents

Span = tuple[datetime, datetime]
"""From the first time until before the second."""


@dataclass(frozen=True)
class Change:
    """What one commit does to one partition (or to an unpartitioned table).

    Parameters
    ----------
    stored
        The rows to add, with the storage's columns.
    replaces
        The SQL predicate of the stored rows to remove; None for all of the table.
    content_sha256, rows, slices
        What the partition holds after it.
    """

    stored: pa.Table
    replaces: str | None
    content_sha256: str
    rows: int
    slices: Contents | None = None


def whole(conformed: pa.Table, partition: str | None, schema: Schema) -> Change:
    """Return the change that makes ``conformed`` all that the partition holds."""
    if partition is None:
        return Change(conformed, None, content_hash(conformed), conformed.num_rows)
    replaces = f"{PARTITION} = '{partition}'"
    if schema.slicing is None:
        stored = _with_text(conformed, PARTITION, partition)
        return Change(stored, replaces, content_hash(conformed), conformed.num_rows)
    parts = schema.slicing.split(conformed)
    return _sliced(parts, contents(parts), partition, schema, replaces)


def sparing(change: Change, conformed: pa.Table, schema: Schema, delta: DeltaTable, current: Version | None) -> Change:
    """Return ``change``, which writes the partition whole, without the slices that are stored as they should be.

    What the log says of a slice is believed only when its file says so too: a partition whose files were changed or
    broken is healed by writing it again.
    """
    if schema.slicing is None or change.slices is None or current is None:
        return change
    held = log.slices(delta, current)
    alike = [name for name, each in change.slices.items() if held.get(name) == each]
    if not alike:
        return change
    partition = str(current.partition)
    try:
        (found,) = files.rows(delta, [partition], schema.key, slices=(alike[0], alike[-1]))
    except (OSError, pa.ArrowInvalid):
        return change
    parts, stored = schema.slicing.split(conformed), schema.slicing.split(found)
    stay = [name for name in alike if name in stored and stored[name].equals(parts[name])]
    if not stay:
        return change
    parts = {name: rows for name, rows in parts.items() if name not in stay}
    names = ", ".join(f"'{name}'" for name in stay)
    replaces = f"{change.replaces} AND {SLICE} NOT IN ({names})"
    return _sliced(parts, change.slices, partition, schema, replaces)


def within(span: Span, conformed: pa.Table, schema: Schema, delta: DeltaTable, current: Version) -> Change:
    """Return the change that makes ``conformed`` all that the partition of ``current`` holds within ``span``.

    Raises
    ------
    SchemaError
        If the table is not stored in slices, the span is empty, or rows lie outside it.
    LakeError
        If the stored rows that share a file with the span are not those that were committed: a new hash over them
        would hide it.
    """
    slicing, partition = schema.slicing, str(current.partition)
    if slicing is None:
        raise SchemaError(f"{current.table} has one file a partition, without slices; write the whole partition")
    told = f"from {span[0]} until before {span[1]}"
    if span[0] >= span[1]:
        raise SchemaError(f"the span {told} is empty")
    outside = pc.sum(slicing.outside(conformed, span)).as_py() or 0
    if outside:
        raise SchemaError(f"rows refused: {outside} rows lie outside the span {told}")
    first, last = slicing.names(span)
    held = log.slices(delta, current)
    touched = {name: each for name, each in held.items() if first <= name <= last}
    (found,) = files.rows(delta, [partition], schema.key, slices=(first, last))
    if contents(slicing.split(found)) != touched:
        held = _counted_anew(slicing, schema, delta, current, held)
        touched = {name: each for name, each in held.items() if first <= name <= last}
    kept = found.filter(slicing.outside(found, span))
    parts = slicing.split(schema.conform(pa.concat_tables([kept, conformed]), partition))
    held = {name: each for name, each in held.items() if name not in touched} | contents(parts)
    replaces = f"{PARTITION} = '{partition}' AND {SLICE} >= '{first}' AND {SLICE} <= '{last}'"
    return _sliced(parts, held, partition, schema, replaces)


def _counted_anew(slicing: Slicing, schema: Schema, delta: DeltaTable, current: Version, held: Contents) -> Contents:
    """Return the contents of the slices of ``current`` with the columns that the table was given since.

    Raises
    ------
    LakeError
        If it was given none, or the stored rows are not what was committed: a new hash over them would hide it.
    """
    partition = str(current.partition)
    columns = stored_columns(DeltaTable(delta.table_uri, version=current.version)).names
    (rows,) = files.rows(delta, [partition], schema.key)
    if columns == rows.column_names or contents(slicing.split(rows.select(columns))) != held:
        raise LakeError(f"{current.table} {partition}: the stored files were changed; write the whole partition again")
    return contents(slicing.split(rows))


def _sliced(parts: dict[str, pa.Table], held: Contents, partition: str, schema: Schema, replaces: str) -> Change:
    texts = [_with_text(_with_text(rows, PARTITION, partition), SLICE, name) for name, rows in parts.items()]
    stored = pa.concat_tables(texts) if texts else schema.stored.empty_table()
    return Change(stored, replaces, combined_hash(held), sum(rows for _, rows in held.values()), held)


def _with_text(rows: pa.Table, name: str, text: str) -> pa.Table:
    return rows.append_column(pa.field(name, pa.string(), nullable=False), pa.repeat(text, rows.num_rows))
