"""How a stored table comes to be what was declared after it was made.

Columns are only ever added, nullable and behind the others, or allowed to be null: files that are there stay as they
are, every version keeps its columns and its content hash, and rows from before are null where a column came later.
Anything else that changes is refused: it would make old versions unreadable, or their hashes untrue. Belongs here:
holding a table against its declaration, and upgrading it. Doesn't: writing rows (``lake.py``).
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
        With every column that differs, and what to do.
    """
    if outdated := outdated_columns(table, delta, schema):
        told = ", ".join(outdated)
        raise SchemaError(f"table {table} was made by a release that declared {told} otherwise; run `r2p upgrade`")


def outdated_columns(table: str, delta: DeltaTable, schema: Schema) -> list[str]:
    """Return the declared columns that the table was made without, or made not to be null although they may be.

    Raises
    ------
    SchemaError
        If it can't be upgraded: columns that nobody declares, other types, new ones that are not nullable or not
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
    loosened = [field.name for field in have if not field.nullable and want.field(field.name).nullable]
    return [*loosened, *(each.name for each in later)]


def upgrade(table: str, delta: DeltaTable, schema: Schema) -> list[str]:
    """Make the table what ``schema`` declares; return the columns that it was not.

    Raises
    ------
    SchemaError
        As `outdated_columns`; nothing is changed then.
    CommitFailedError
        If somebody else committed meanwhile: do it again.
    """
    outdated = outdated_columns(table, delta, schema)
    have = stored_columns(delta).names
    once = CommitProperties(max_commit_retries=0)
    for name in outdated:
        if name in have:
            delta.alter.drop_column_not_null(name, commit_properties=once)
    if later := [schema.arrow.field(name) for name in outdated if name not in have]:
        # First: whoever sees the columns knows that files may lack them.
        delta.alter.set_table_properties({_LATER: "true"}, raise_if_not_exists=False, commit_properties=once)
        delta.alter.add_columns(list(DeltaSchema.from_arrow(pa.schema(later)).fields), commit_properties=once)
    return outdated


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
