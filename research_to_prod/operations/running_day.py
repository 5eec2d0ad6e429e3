"""The day that still runs: its records compared as far as both sides have told them.

Belongs here: how far the desk has told. Doesn't: comparing (``daily``), reading the account
(``execution.account_reading``), what that measures (``alerting.record_measures``).
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.operations.daily import DayTables, reconcile_day
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy


def told_to(positions: pa.Table) -> datetime | None:
    """Return up to when the desk has told: its newest statement of positions, which comes after what it rests on."""
    newest: datetime | None = pc.max(positions["held_at"]).as_py()
    return newest


def compare_running(
    tables: DayTables, before: pa.Table, day: str, policy: ReconciliationPolicy, now: datetime
) -> pa.Table:
    """Return the ``BREAKS`` of a day that still runs, as of ``now``.

    Nothing younger than the desk's newest statement of positions is judged, less the time in flight of a stressed
    market: what the desk has not told yet is not missing.

    Raises
    ------
    ValueError
        When the desk has stated no positions of the day.
    """
    told = told_to(tables.desk["positions"]) if "positions" in tables.desk else None
    if told is None:
        raise ValueError(f"the desk has stated no positions of {day} yet: how far its fills are told is not known")
    return reconcile_day(tables, before, day, policy, now, told_to=told).breaks
