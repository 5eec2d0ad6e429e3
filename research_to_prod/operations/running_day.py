"""The day that still runs: its records compared as far as both sides have told them, and what that measures.

Belongs here: how far the desk has told, and the measurements for the alerter. Doesn't: comparing (``daily``), reading
the account (``execution.account_reading``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.operations.contracts import BreakClass, BreakStatus, BreakVerdict
from research_to_prod.operations.daily import DayTables, reconcile_day
from research_to_prod.operations.readings import Measured
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy

_FILLS = frozenset({BreakClass.MISSING_FILL_INTERNAL, BreakClass.MISSING_FILL_VENUE, BreakClass.DUPLICATE_FILL})


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


def measured(
    breaks: pa.Table, certificates: Mapping[str, pa.Table], capital: float, now: datetime
) -> tuple[Measured, ...]:
    """Return what a comparison says to the alerter's rules, by venue; None where the venue was not read completely.

    Parameters
    ----------
    certificates
        FETCH_CERTIFICATES by table of the venue's records.
    capital
        Of the book, quote currency.
    """
    found = []
    for venue in sorted({name for rows in certificates.values() for name in rows["venue"].to_pylist()}):
        confirmed = [
            row
            for row in breaks.to_pylist()
            if (row["venue"], row["status"], row["verdict"]) == (venue, BreakStatus.OPEN, BreakVerdict.CONFIRMED)
        ]
        positions = [
            row for row in confirmed if row["class"] in {BreakClass.POSITION_SIGN, BreakClass.POSITION_QUANTITY}
        ]
        money = [row["money"] for row in positions]
        share = None if None in money else float(sum(money)) / capital
        flips = sum(row["class"] == BreakClass.POSITION_SIGN for row in positions)
        lost = sum(row["class"] in _FILLS for row in confirmed)
        for metric, value, table in (
            ("fill_breaks", float(lost), "venue_fills"),
            ("position_sign_flips", float(flips), "venue_positions"),
            ("position_break_share", share, "venue_positions"),
        ):
            told = value if _is_whole(certificates.get(table), venue) else None
            found.append(Measured(metric=metric, venue=venue, value=told, at=now, evidence="running_breaks"))
    return tuple(found)


def _is_whole(rows: pa.Table | None, venue: str) -> bool:
    own = [] if rows is None else [row["complete"] for row in rows.to_pylist() if row["venue"] == venue]
    return bool(own) and all(own)
