"""Writing the inbox: what an order management system calls to hand over a day, and what reads a foreign export.

Belongs here: files that are there whole or not at all, under the names that the inbox reads. Doesn't: the rules of a
row (row_checks).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.execution.row_checks import QUARANTINE, InboxError, check_rows
from research_to_prod.lake.schema import Schema
from research_to_prod.promotion.files import replace_file
from research_to_prod.values import day_bounds

_PART = re.compile(r"[A-Za-z0-9_-]*")
_SHOWN_ROWS = 10


class InboxWriter:
    """Writes an order management system's records of a day as files that the inbox takes whole.

    Parameters
    ----------
    folder
        The inbox; folders of kinds are made as needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self, kind: str, day: str, rows: pa.Table | Sequence[Mapping[str, Any]], *, part: str = "", revision: int = 0
    ) -> Path:
        """Write the records of ``kind`` for the UTC day ``YYYY-MM-DD`` and return the file.

        The same call again replaces the file; a reader sees the old one or the new one, never half.

        Parameters
        ----------
        rows
            Columns as in ``execution.contracts``; those that may be null may be left out. Of mappings, amounts are
            ``Decimal`` or text and times have a zone. No rows say that nothing happened.
        part
            Tells files of one day apart, where a day is delivered in pieces: letters, digits, ``-`` and ``_``.
        revision
            Rows of a higher revision replace those with the same key of lower ones.

        Raises
        ------
        InboxError
            If a column or any row would be refused; lists the first ten such rows. Nothing is written then.
        """
        schema = _schema(kind)
        name = _file_name(day, part, revision)
        table = rows if isinstance(rows, pa.Table) else _table(name, rows, schema.arrow)
        checked = check_rows(name, table, schema, day, QUARANTINE.empty_table())
        if checked.refused.num_rows:
            shown = [f"row {row['row']}: {row['reason']}" for row in checked.refused.slice(0, _SHOWN_ROWS).to_pylist()]
            more = checked.refused.num_rows - len(shown)
            raise InboxError(f"{kind}/{name} not written: {'; '.join(shown)}{f'; and {more} more' if more else ''}")
        accepted = checked.accepted.select(schema.arrow.names)
        if accepted.group_by(list(schema.key)).aggregate([]).num_rows < accepted.num_rows:
            raise InboxError(f"{kind}/{name} not written: rows repeat {', '.join(schema.key)}; each key once a file")
        return self._publish(kind, name, accepted)

    def write_unjudged(self, kind: str, day: str, rows: pa.Table, *, part: str, revision: int = 0) -> Path:
        """Write rows that come from elsewhere as they are: the inbox refuses what is wrong with them, row by row."""
        _schema(kind)
        return self._publish(kind, _file_name(day, part, revision), rows)

    def _publish(self, kind: str, name: str, rows: pa.Table) -> Path:
        content = io.BytesIO()
        pq.write_table(rows, content)
        target = self.folder / kind / name
        replace_file(target, content.getvalue())
        return target


def _schema(kind: str) -> Schema:
    if kind not in INBOX_KINDS:
        raise InboxError(f"there is no kind {kind!r}; kinds are {', '.join(INBOX_KINDS)}")
    return INBOX_KINDS[kind]


def _file_name(day: str, part: str, revision: int) -> str:
    try:
        padded = f"{day_bounds(day)[0]:%Y-%m-%d}"
    except ValueError:
        padded = ""
    if day != padded:
        raise InboxError(f"{day!r} is no day YYYY-MM-DD")
    if _PART.fullmatch(part) is None or revision < 0:
        raise InboxError(f"part {part!r} must be of letters, digits, - and _, revision {revision} not negative")
    return f"{day}{f'-{part}' if part else ''}{f'.r{revision}' if revision else ''}.parquet"


def _table(name: str, rows: Sequence[Mapping[str, Any]], declared: pa.Schema) -> pa.Table:
    """Return mappings as a table of their own types, so that nothing is cast silently."""
    columns = dict.fromkeys(column for row in rows for column in row) if rows else declared.empty_table().to_pydict()
    # Arrow takes a time without a zone beside one with a zone for UTC.
    naive = sorted(
        {key for row in rows for key, value in row.items() if isinstance(value, datetime) and value.tzinfo is None}
    )
    if naive:
        raise InboxError(f"{name} not written: times without a zone in {', '.join(naive)}")
    try:
        return pa.table({column: [row.get(column) for row in rows] for column in columns})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InboxError(f"{name} not written: values of different types in one column: {error}") from error
