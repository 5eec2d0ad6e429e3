"""What the simulated desk's systems note beside decisions, orders and fills: events, positions, money, fees.

Belongs here: the rows of those drops, from the day's truth. Doesn't: what happened (`_execution`, `ledger`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from research_to_prod.execution.contracts import FEE_SCHEDULES, LEDGER_ENTRIES, ORDER_EVENTS, POSITIONS
from research_to_prod.sandbox._execution import FEES, VENUE, ChildOrder, ParentOrder, received
from research_to_prod.sandbox._underlying import micros
from research_to_prod.sandbox.ledger import UNIT, Books, Fill, FundingPayment, Holder, Leg, LegKind
from research_to_prod.sandbox.market import SandboxMarket

_ENTRY_TYPES = {
    LegKind.DEPOSIT: "deposit",
    LegKind.TRADE: "trade",
    LegKind.REALIZED_PNL: "realized_pnl",
    LegKind.COMMISSION: "fee",
    LegKind.FUNDING_FEE: "funding",
}

_Happened = tuple[str, datetime | None, datetime, Decimal | None, Decimal]
"""An event, when by the venue's clock, when we did or learned it, its price and its quantity."""


def order_events(orders: Iterable[ParentOrder], children: Iterable[ChildOrder], fills: Sequence[Fill]) -> pa.Table:
    """Return what happened to each child order: live, each of ``fills``, our cancel of what stayed open, its end."""
    strategies = {order.order_id: order.strategy for order in orders}
    by_child: dict[tuple[str, str], list[Fill]] = {}
    for fill in fills:
        by_child.setdefault((fill.symbol, fill.venue_order_id), []).append(fill)
    rows: list[dict[str, Any]] = []
    for child in children:
        limit = child.price if child.kind == "LIMIT" else None
        happened: list[_Happened] = [("new", child.created_at, received(child.created_at), limit, child.quantity)]
        own = by_child.get((child.symbol, child.venue_order_id), [])
        happened += [("fill", each.filled_at, received(each.filled_at), each.price, each.quantity) for each in own]
        if child.executed < child.quantity:
            left, ended = child.quantity - child.executed, child.updated_at
            happened.append(("cancel_sent", None, _asked(ended), limit, left))
            happened.append(("cancelled", ended, received(ended), limit, left))
        child_id = f"{child.order_id}-{child.venue_order_id}"
        rows += [
            {
                "event_id": f"{child_id}-{number}",
                "child_id": child_id,
                "venue_order_id": child.venue_order_id,
                "order_id": child.order_id,
                "strategy": strategies[child.order_id],
                "venue": VENUE,
                "symbol": child.symbol,
                "side": child.side,
                "event": event,
                "occurred_at": at,
                "received_at": learned,
                "price": price,
                "quantity": quantity,
                "post_only": child.kind == "LIMIT",
            }
            for number, (event, at, learned, price, quantity) in enumerate(happened, start=1)
        ]
    return pa.Table.from_pylist(rows, schema=ORDER_EVENTS.arrow)


def _asked(cancelled: datetime) -> datetime:
    """Return when the desk sent the cancel that the venue carried out at ``cancelled``: 3 to 22 ms before."""
    return cancelled - timedelta(milliseconds=3 + micros(cancelled) // 1000 % 20)


def positions(
    market: SandboxMarket,
    strategies: Mapping[str, str],
    opening: Books,
    events: Sequence[Fill | FundingPayment],
    start: datetime,
    held: Callable[[Books, str], Decimal],
) -> pa.Table:
    """Return what each strategy held at each full hour of the day, before anything was traded in it.

    Parameters
    ----------
    strategies
        Symbol -> the one strategy that trades it.
    held
        The strategy's share of a symbol in some books.
    """
    hours = [start + timedelta(hours=hour) for hour in range(24)]
    marks = {symbol: market.mid(symbol, np.array([micros(hour) for hour in hours])).tolist() for symbol in strategies}
    books, waiting = opening.copy(), list(reversed(events))
    rows: list[dict[str, Any]] = []
    for number, hour in enumerate(hours):
        # Orders take minutes, so the events of an hour are all posted before those of the next.
        while waiting and _time(waiting[-1]) <= hour:
            _post(books, waiting.pop())
        for symbol, strategy in strategies.items():
            position = held(books, symbol)
            cost = books.entry_costs.get(symbol)
            rows.append(
                {
                    "strategy": strategy,
                    "venue": VENUE,
                    "symbol": symbol,
                    "held_at": hour,
                    "position": position,
                    "entry_price": None if cost is None or position == 0 else (cost / position).quantize(UNIT),
                    "mark_price": Decimal(f"{marks[symbol][number]:.8f}"),
                }
            )
    return pa.Table.from_pylist(rows, schema=POSITIONS.arrow)


def _time(event: Fill | FundingPayment) -> datetime:
    return event.filled_at if isinstance(event, Fill) else event.at


def _post(books: Books, event: Fill | FundingPayment) -> None:
    if isinstance(event, Fill):
        books.fill(event)
    else:
        books.funding(event)


def ledger_entries(legs: Sequence[Leg], strategies: Mapping[str, str], first_id: int) -> pa.Table:
    """Return what moved the desk's two wallets; ids as the venue's income has them."""
    rows: list[dict[str, Any]] = []
    for number, leg in enumerate(legs):
        if leg.holder not in {Holder.SPOT, Holder.FUTURES}:
            continue
        _, _, rest = leg.event.partition(" ")
        symbol, _, reference = rest.partition(" ")
        rows.append(
            {
                "venue": VENUE,
                "account": leg.holder.value,
                "entry_id": str(first_id + number),
                "booked_at": leg.at,
                "entry_type": _ENTRY_TYPES[leg.kind],
                "currency": leg.asset,
                "amount": leg.amount,
                "symbol": symbol or None,
                "strategy": strategies.get(symbol),
                "reference": reference or None,
            }
        )
    return pa.Table.from_pylist(rows, schema=LEDGER_ENTRIES.arrow)


def fee_schedules(symbols: Iterable[str], at: datetime) -> pa.Table:
    """Return what the venue asks for each market; it has no tiers."""
    rates = {"maker_rate": FEES["maker"], "taker_rate": FEES["taker"]}
    rows = [{"venue": VENUE, "symbol": symbol, "stated_at": at} | rates for symbol in symbols]
    return pa.Table.from_pylist(rows, schema=FEE_SCHEDULES.arrow)
