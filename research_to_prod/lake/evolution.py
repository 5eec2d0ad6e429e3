"""How a stored table comes by columns that were declared after it was made.

Columns are only ever added, nullable and behind the others: files that are there stay as they are, every version keeps
its columns and its content hash, and rows from before read as null there. Anything else that changes is refused: it
would make old versions unreadable, or their hashes untrue. Belongs here: holding a table against its declaration, and
adding. Doesn't: writing rows (``lake.py``).
"""

from __future__ import annotations

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.schema import Schema as DeltaSchema

from research_to_prod.lake.schema import Schema, SchemaError
from research_to_prod.lake.slices import Slicing

KEY_PROPERTY = "r2p.key"
SLICING_PROPERTY = "r2p.slicing"
_LATER = "r2p.later_columns"


def refuse_other_storage(table: str, delta: DeltaTable, schema: Schema) -> None:
    """Refuse a table that is not stored as ``schema`` declares.

    Raises
    ------
    SchemaError
        With every column that differs, and what to do: adding columns is `add_later_columns`'s.
    """
    if later := missing_columns(table, delta, schema):
        raise SchemaError(f"table {table} has no column {', '.join(later)} yet; run `r2p upgrade`")


def missing_columns(table: str, delta: DeltaTable, schema: Schema) -> list[str]:
    """Return the declared columns that the table was made without.

    Raises
    ------
    SchemaError
        If it can't be given them: columns that nobody declares, other types, new ones that are not nullable or not
        last, other slices.
    """
    have, want = stored_columns(delta), schema.arrow
    changed = sorted(
        field.name for field in have if field.name not in want.names or want.field(field.name).type != field.type
    )
    later = [field for field in want if field.name not in have.names]
    problems = [f"other columns or types: {', '.join(changed)}"] if changed else []
    problems += [
        f"no column {each.name}, which is not nullable, and rows have none" for each in later if not each.nullable
    ]
    if not changed and want.names[: len(have)] != have.names:
        problems += [f"the columns {', '.join(have.names)}, which are to stay the first and in this order"]
    if (stored := slicing_of(delta)) != schema.slicing:
        problems += [f"slices {stored}, declared are {schema.slicing}"]
    if delta.metadata().partition_columns != schema.hive:
        problems += [f"partitions by {delta.metadata().partition_columns}, declared are {schema.hive}"]
    if problems:
        remedy = (
            "use the release that wrote it, or move its folder out of the lake and materialize its partitions again"
        )
        raise SchemaError(f"table {table} is stored with {'; with '.join(problems)}; {remedy}")
    return [each.name for each in later]


def add_later_columns(table: str, delta: DeltaTable, schema: Schema) -> list[str]:
    """Give the table the columns that were declared after it was made; return their names.

    Raises
    ------
    SchemaError
        As `missing_columns`; nothing is changed then.
    CommitFailedError
        If somebody else committed meanwhile: ask again.
    """
    later = missing_columns(table, delta, schema)
    if later:
        once = CommitProperties(max_commit_retries=0)
        # First: whoever sees the columns knows that files may lack them.
        delta.alter.set_table_properties({_LATER: "true"}, raise_if_not_exists=False, commit_properties=once)
        fields = DeltaSchema.from_arrow(pa.schema([schema.arrow.field(name) for name in later])).fields
        delta.alter.add_columns(list(fields), commit_properties=once)
    return later


def stored_columns(delta: DeltaTable) -> pa.Schema:
    """Return the columns of the rows, without those that storage adds."""
    hive = delta.metadata().partition_columns
    return pa.schema([field for field in pa.schema(delta.schema().to_arrow()) if field.name not in hive])


def with_later_columns(rows: pa.Table, delta: DeltaTable) -> pa.Table:
    """Return rows of an earlier version with the columns that the table has now, null where they came later."""
    for field in stored_columns(delta):
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows


def files_may_lack_columns(delta: DeltaTable) -> bool:
    """Tell whether columns were added to the table after its first files were written."""
    return _LATER in delta.metadata().configuration


def slicing_of(delta: DeltaTable) -> Slicing | None:
    """Return how the table's partitions are stored in slices; None if they aren't."""
    return Slicing.parse(delta.metadata().configuration.get(SLICING_PROPERTY))
