"""The venue's records of a day as they are in the lake, straight from the truth: no HTTP, no ccxt.

Belongs here: the short way for trials of many days. Doesn't: what the venue answers (`account`, `statements`); a test
holds the two to one result.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from research_to_prod.execution.contracts import VENUE_RECORDS
from research_to_prod.market_data.certificates import Certificate, certificates_table, issue
from research_to_prod.sandbox._execution import VENUE, Ids
from research_to_prod.sandbox.desk import FIRST_DAY, DeskDay, SandboxDesk
from research_to_prod.sandbox.ledger import Books, Fill, Holder, Leg, LegKind
from research_to_prod.values import day_bounds

_SECOND = timedelta(seconds=1)
_STATES = {"FILLED": "closed", "CANCELED": "canceled"}
_FETCH = "sandbox"


def venue_tables(desk: SandboxDesk, day: str) -> dict[str, pa.Table]:
    """Return the venue's records of a day, complete, by the names of their assets."""
    simulated = desk.simulate_day(day)
    rows = {
        "venue_fills": [_fill(each) for each in simulated.fills],
        "venue_orders": _orders(simulated),
        **_held(simulated),
        "venue_income": _income(simulated),
    }
    found = {}
    for name, each in rows.items():
        whole = [row | {"venue": VENUE, "fetch_id": _FETCH} for row in each]
        schema = VENUE_RECORDS[name]
        found[name] = schema.conform(pa.Table.from_pylist(whole, schema=schema.arrow), day)
    return found


def certificates(desk: SandboxDesk, day: str) -> dict[str, pa.Table]:
    """Return complete certificates for all that `venue_tables` gives, as FETCH_CERTIFICATES."""
    symbols, wallets = tuple(desk.market.instruments), ("spot", "futures")
    scopes = {"venue_fills": symbols, "venue_orders": symbols, "venue_balances": wallets, "venue_income": wallets}
    return {
        name: certificates_table([_certificate(name, scope, day) for scope in each], f"{name}-{day}")
        for name, each in {**scopes, "venue_positions": ("futures",)}.items()
    }


def _certificate(endpoint: str, scope: str, day: str) -> Certificate:
    read_at = day_bounds(day)[1] + timedelta(hours=2)
    return issue(
        venue=VENUE,
        endpoint=endpoint,
        scope=scope,
        interval=day_bounds(day),
        bodies=(),
        rows=0,
        terminal="end_reached",
        clocks=(read_at, read_at),
    )


def _fill(fill: Fill) -> dict[str, Any]:
    names = ("symbol", "venue_order_id", "side", "quantity", "price", "liquidity", "fee", "fee_currency")
    return {name: getattr(fill, name) for name in names} | {"trade_id": fill.fill_id, "traded_at": _cut(fill.filled_at)}


def _orders(day: DeskDay) -> list[dict[str, Any]]:
    return [
        {
            "symbol": child.symbol,
            "venue_order_id": child.venue_order_id,
            "client_order_id": f"{child.order_id}-{child.venue_order_id}",
            "side": child.side,
            "quantity": child.quantity,
            "filled": child.executed,
            "price": child.price if child.kind == "LIMIT" else None,
            "order_type": child.kind.lower(),
            "status": _STATES[child.status],
            "created_at": _cut(child.created_at),
            "updated_at": _cut(child.updated_at),
        }
        for child in day.children
    ]


def _held(day: DeskDay) -> dict[str, list[dict[str, Any]]]:
    start, end = day_bounds(day.day)
    opening = Books() if day.day == FIRST_DAY.isoformat() else day.opening
    found: dict[str, list[dict[str, Any]]] = {"venue_balances": [], "venue_positions": []}
    for moment, at, books in (("opening", start, opening), ("closing", end, day.books_at(end - _SECOND / 1000))):
        common = {"day": day.day, "moment": moment, "snapshot_at": at - _SECOND}
        for (holder, asset), amount in books.balances.items():
            if holder in {Holder.SPOT, Holder.FUTURES} and amount:
                found["venue_balances"].append(common | {"account": holder.value, "asset": asset, "amount": amount})
            elif holder is Holder.CONTRACTS and amount:
                found["venue_positions"].append(common | {"symbol": asset, "position": amount})
    return found


def _income(day: DeskDay) -> list[dict[str, Any]]:
    first = ((day_bounds(day.day)[0].date() - FIRST_DAY).days + 1) * Ids.DAY
    found = []
    for number, leg in enumerate(day.legs):
        futures = leg.holder is Holder.FUTURES
        if futures or (leg.holder is Holder.SPOT and leg.kind is LegKind.DEPOSIT and leg.amount > Decimal(0)):
            found.append(_payment(leg, str(first + number), futures=futures))
    return found


def _payment(leg: Leg, number: str, *, futures: bool) -> dict[str, Any]:
    _, _, rest = leg.event.partition(" ")
    symbol, _, info = rest.partition(" ")
    word = ("TRANSFER" if leg.kind is LegKind.DEPOSIT else leg.kind.name) if futures else "deposit"
    return {
        "account": leg.holder.value,
        "income_id": number,
        "income_type": word,
        "asset": leg.asset,
        "amount": leg.amount,
        "symbol": symbol or None,
        "reference": info or (None if futures else f"sandbox-{leg.asset}"),
        "booked_at": _cut(leg.at),
    }


def _cut(at: Any) -> Any:
    """Return a time as the venue words it: whole milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
