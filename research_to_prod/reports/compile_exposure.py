"""Whether each strategy holds what it meant to, and what the desk says that it holds.

Belongs here: the day's last target, what the fills make of it, and the desk's own statement. Doesn't: what the venue
says (reconciliation of fills), and what a wrong position earned (the waterfall).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.shadow_days import Place, position_change
from research_to_prod.reports.month_lines import ExposureLine
from research_to_prod.values import day_bounds


def exposures(
    day: str, decisions: pa.Table, fills: pa.Table, shadow: pa.Table, positions: pa.Table
) -> tuple[ExposureLine, ...]:
    """Return a line for each market that a strategy holds or trades on ``day``.

    Parameters
    ----------
    decisions, fills, shadow
        ``DECISIONS``, ``FILLS`` and ``SHADOW`` rows; those of other days are ignored. The target is what the day's
        last decision would have held once filled, sent or not: the position that it found and the quantity that it
        wanted.
    positions
        ``POSITIONS`` rows of the day; the last statement of each market is compared with its fills at that instant.
    """
    start, end = day_bounds(day)
    decided = _of_day(decisions, "decided_at", start, end).sort_by("decided_at")
    last = {_place(row): row for row in decided.to_pylist()}
    traded: dict[Place, list[dict[str, Any]]] = {}
    for row in _of_day(fills, "filled_at", start, end).to_pylist():
        traded.setdefault(_place(row), []).append(row)
    stated = {_place(row): row for row in positions.sort_by("held_at").to_pylist()}
    rows = shadow.filter(pc.equal(shadow["day"], day)).to_pylist()
    found = [
        _line(row, last.get(_place(row)), traded.get(_place(row), []), stated.get(_place(row)))
        for row in sorted(rows, key=_place)
    ]
    return tuple(found)


def _line(
    row: Mapping[str, Any], decision: Mapping[str, Any] | None, fills: list[dict[str, Any]],
    stated: Mapping[str, Any] | None,
) -> ExposureLine:  # fmt: skip
    opening, held, mid, capital = (
        row[name] for name in ("opening_position", "closing_position", "closing_mid", "capital")
    )
    target = by_fills = None
    if opening is not None and decision is not None:
        found = _held(opening, fills, decision["decided_at"])
        target = found + decision["side"] * decision["target_quantity"]
    if opening is not None and stated is not None:
        by_fills = _held(opening, fills, stated["held_at"])
    drift, difference = _between(held, target, mid), _between(stated["position"] if stated else None, by_fills, mid)
    return ExposureLine(
        **_place(row)._asdict(),
        target_weight=_weight(target, mid, capital),
        held_weight=_weight(held, mid, capital),
        drift_money=drift,
        held=held,
        stated_at=stated["held_at"] if stated else None,
        stated=stated["position"] if stated else None,
        by_fills=by_fills,
        difference_money=difference,
    )


def _held(opening: Decimal, fills: list[dict[str, Any]], until: datetime) -> Decimal:
    return opening + sum((position_change(fill) for fill in fills if fill["filled_at"] < until), Decimal(0))


def _between(one: Decimal | None, other: Decimal | None, mid: Decimal | None) -> Decimal | None:
    """Return the difference in quote currency; None where one side or the mid is not known."""
    if one is None or other is None or mid is None:
        return None
    return ((one - other) * mid).quantize(Decimal("1e-8"))


def _weight(position: Decimal | None, mid: Decimal | None, capital: Decimal | None) -> float | None:
    return None if position is None or mid is None or capital is None else float(position * mid / capital)


def _of_day(rows: pa.Table, name: str, start: datetime, end: datetime) -> pa.Table:
    return rows.filter(pc.and_(pc.greater_equal(rows[name], start), pc.less(rows[name], end)))


def _place(row: Mapping[str, Any]) -> Place:
    return Place(row["strategy"], row["venue"], row["symbol"])
