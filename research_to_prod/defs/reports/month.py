"""The tables of the days up to a desk report's own, as they lie in the lake."""

from __future__ import annotations

import dagster as dg

from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.reports.compile_month import LENGTH, MonthTables, days_up_to

MONTH = dg.TimeWindowPartitionMapping(start_offset=1 - LENGTH, allow_nonexistent_upstream_partitions=True)

MONTH_TABLES = {
    **dict.fromkeys(("decisions", "orders", "fills", "slippage", "latency_costs", "markouts", "shadow"), False),
    **dict.fromkeys(("fee_schedules", "order_events"), True),
}
"""Table -> whether a recorded day may lack it."""


def read_month(lake: Lake, day: str) -> tuple[MonthTables, tuple[Snapshot, ...]]:
    """Read the tables of each day among the `LENGTH` up to ``day`` on which all of them were made.

    Raises
    ------
    LakeError
        If one of them was not made for ``day`` itself. A day before it that lacks one is left out whole.
    """
    needed = [name for name, may_lack in MONTH_TABLES.items() if not may_lack]
    made = [set(lake.versions(name)) if name in lake.tables() else set() for name in needed]
    days = [each for each in days_up_to(day) if each == day or all(each in versions for versions in made)]
    read = {name: _read(lake, name, days if name in needed else _there(lake, name, days)) for name in MONTH_TABLES}
    positions = _read(lake, "positions", _there(lake, "positions", [day]))
    rows = {name: snapshot.rows for name, snapshot in read.items()}
    month = MonthTables(day=day, days=tuple(days), positions=positions.rows, **rows)
    return month, (*read.values(), positions)


def _read(lake: Lake, name: str, days: list[str]) -> Snapshot:
    return lake.read(name, days) if days else Snapshot(TABLES[name].empty(), ())


def _there(lake: Lake, name: str, days: list[str]) -> list[str]:
    return [each for each in days if lake.has(name, each)]
