"""A month's tables for tests: all empty but those given."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from research_to_prod.attribution.contracts import LATENCY_COSTS, MARKOUTS, SLIPPAGE
from research_to_prod.attribution.pnl_contracts import SHADOW
from research_to_prod.execution.contracts import DECISIONS, FEE_SCHEDULES, FILLS, ORDER_EVENTS, ORDERS, POSITIONS
from research_to_prod.reports.compile_month import MonthTables

SCHEMAS = {
    "decisions": DECISIONS, "orders": ORDERS, "fills": FILLS, "slippage": SLIPPAGE, "latency_costs": LATENCY_COSTS,
    "markouts": MARKOUTS, "shadow": SHADOW, "fee_schedules": FEE_SCHEDULES, "order_events": ORDER_EVENTS,
    "positions": POSITIONS,
}  # fmt: skip


def month_tables(day: str, *earlier: str, **tables: pa.Table | list[dict[str, Any]]) -> MonthTables:
    """Return the tables of ``earlier`` days and ``day``; rows given as dicts may lack columns."""
    found = {
        name: table if isinstance(table, pa.Table) else pa.Table.from_pylist(table, schema=SCHEMAS[name].arrow)
        for name, table in tables.items()
    }
    empty = {name: schema.empty() for name, schema in SCHEMAS.items()}
    return MonthTables(day=day, days=(*earlier, day), **(empty | found))
