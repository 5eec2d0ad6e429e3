"""The desk's records of a day and the day before, as attribution reads them.

An order may be worked over midnight, and half an hour of markouts may lie beyond it: whatever ends on a day needs the
day before too, where it was recorded. The first day of a desk has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import pyarrow as pa

from research_to_prod.attribution.quote_match import StoredQuotes
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake, Snapshot

_MAY_LACK = {"trades", "order_events"}
TWO_DAYS = dg.TimeWindowPartitionMapping(start_offset=-1, allow_nonexistent_upstream_partitions=True)


@dataclass(frozen=True)
class Records:
    """Rows of two days by table, their quotes unread, and what of each was there to be read."""

    tables: tuple[pa.Table, ...]
    quotes: StoredQuotes
    read: tuple[Snapshot, ...]


def read_records(lake: Lake, day: str, *names: str) -> Records:
    """Read tables, and find the quotes, of ``day`` and the day before it.

    Raises
    ------
    LakeError
        If one of the desk's own tables was not written for ``day``; the public tape and order events may be missing.
    """
    before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
    snapshots = []
    for name in names:
        days = [each for each in (before, day) if (each == day and name not in _MAY_LACK) or lake.has(name, each)]
        snapshots.append(lake.read(name, days) if days else Snapshot(TABLES[name].empty(), ()))
    quoted = [lake.version("quotes", each) for each in (before, day) if each == day or lake.has("quotes", each)]
    quotes = StoredQuotes(lake, tuple(quoted))
    read = (*snapshots, Snapshot(TABLES["quotes"].empty(), quotes.versions))
    return Records(tuple(each.rows for each in snapshots), quotes, read)
