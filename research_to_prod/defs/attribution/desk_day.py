"""The desk's records of one day as live against model reads them, with the end of the day before."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
import pyarrow as pa

from research_to_prod.attribution.quote_match import StoredQuotes
from research_to_prod.attribution.shadow_days import DeskDay
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake, Snapshot

DAY_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True)


def read_before(lake: Lake, table: str, day: str) -> Snapshot:
    """Read what a daily table holds of all days before one; no rows where there are none."""
    made = sorted(each for each in (lake.versions(table) if table in lake.tables() else ()) if each and each < day)
    return lake.read(table, made) if made else Snapshot(TABLES[table].empty(), ())


def read_desk_day(lake: Lake, day: str) -> tuple[DeskDay, tuple[Snapshot, ...]]:
    """Read the day's records, the desk's own statement of its positions where there is one, and how the day began.

    Where the day before was never made though earlier ones were, what was held then is not known any more.
    """
    decisions, orders, fills = (lake.read(name, day) for name in ("decisions", "orders", "fills"))
    quotes = StoredQuotes(lake, (lake.version("quotes", day),))
    read = [decisions, orders, fills, Snapshot(TABLES["quotes"].empty(), quotes.versions)]
    positions = before = None
    if lake.has("positions", day):
        read.append(lake.read("positions", day))
        positions = read[-1].rows
    made = [each for each in (lake.versions("shadow") if "shadow" in lake.tables() else ()) if each and each < day]
    if made:
        read.append(lake.read("shadow", max(made)))
        before = read[-1].rows
        if max(made) != (date.fromisoformat(day) - timedelta(days=1)).isoformat():
            unknown = pa.nulls(before.num_rows, before.schema.field("closing_position").type)
            for name in ("closing_position", "closing_mid"):
                before = before.set_column(before.column_names.index(name), name, unknown)
    return DeskDay(day, decisions.rows, orders.rows, fills.rows, quotes, positions, before), tuple(read)
