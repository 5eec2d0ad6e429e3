"""Orders that are sent to the sandbox from outside: they rest, are cancelled, and are never filled.

What is filled is the simulated desk's to trade, whose books are the venue's truth. So an order must rest at least 1 %
away from the market, and one that the market has come to since expires unfilled.

Belongs here: placing, listing and cancelling such orders, reduce-only, and the countdown that cancels. Doesn't: the
desk's own orders (`account`), signatures and HTTP (`server`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from research_to_prod.sandbox._underlying import micros
from research_to_prod.sandbox.dialect import Query, VenueRefusal, integer, milliseconds
from research_to_prod.sandbox.instruments import Instrument
from research_to_prod.sandbox.market import SandboxMarket

_DISTANCE = Decimal("0.01")
_FIRST_ID = 9_000_000_000_000
"""Above every number that the desk's own orders get in a lifetime."""

Listed = Callable[[Query], Instrument]
Held = Callable[[str, datetime], Decimal]


@dataclass(frozen=True)
class RestingOrder:
    """One order that rests."""

    number: int
    client_id: str
    instrument: Instrument
    side: int
    price: Decimal
    quantity: Decimal
    reduce_only: bool
    at: datetime


class RestingOrders:
    """The orders from outside, of both hosts.

    Parameters
    ----------
    listed
        By host (True: futures), the market that a query names.
    held
        The account's contracts of a market at a time: what a reduce-only order may reduce.
    """

    def __init__(self, market: SandboxMarket, listed: Mapping[bool, Listed], held: Held) -> None:
        self._market = market
        self._listed = listed
        self._held = held
        self._orders: dict[int, RestingOrder] = {}
        self._ends: dict[str, datetime] = {}
        self._count = 0
        self._lock = threading.Lock()
        self.writes: dict[tuple[str, str], Callable[[Query, datetime], Any]] = {
            ("POST", "/api/v3/order"): lambda query, now: self._place(query, now, perpetual=False),
            ("POST", "/fapi/v1/order"): lambda query, now: self._place(query, now, perpetual=True),
            ("DELETE", "/api/v3/openOrders"): lambda query, now: self._cancel_all(query, now, perpetual=False),
            ("DELETE", "/fapi/v1/allOpenOrders"): lambda query, now: self._cancel_all(query, now, perpetual=True),
            ("POST", "/fapi/v1/countdownCancelAll"): self._countdown,
        }

    def open(self, query: Query, now: datetime, *, perpetual: bool) -> list[dict[str, Any]]:
        """Return what rests at ``now``, of one market or of the whole host."""
        with self._lock:
            self._expire(now)
            wanted = self._listed[perpetual](query).symbol if "symbol" in query else None
            return [
                _worded(each, "NEW")
                for each in self._orders.values()
                if each.instrument.perpetual is perpetual and wanted in (None, each.instrument.symbol)
            ]

    def _place(self, query: Query, now: datetime, *, perpetual: bool) -> dict[str, Any]:
        instrument = self._listed[perpetual](query)
        if query.get("type") not in {"LIMIT", "LIMIT_MAKER"}:
            raise VenueRefusal(-1106, "The sandbox trades through its own desk; from outside it takes resting orders.")
        side, reduce_only = _side(query), query.get("reduceOnly", "false") == "true"
        price, quantity = (_amount(query, name) for name in ("price", "quantity"))
        if quantity % instrument.lot or price % instrument.tick or quantity * price < instrument.min_notional:
            raise VenueRefusal(-1013, "Filter failure: LOT_SIZE, PRICE_FILTER or NOTIONAL")
        if side * (self._mid(instrument, now) - price) < _DISTANCE * price:
            raise VenueRefusal(-2010, "The sandbox rests orders from outside only 1 % and more away from the market.")
        if reduce_only and (not perpetual or self._held(instrument.symbol, now) * side >= 0):
            raise VenueRefusal(-2022, "ReduceOnly Order is rejected.")
        with self._lock:
            self._expire(now)
            self._count += 1
            number = _FIRST_ID + self._count
            client_id = query.get("newClientOrderId", f"outside-{number}")
            order = RestingOrder(number, client_id, instrument, side, price, quantity, reduce_only, now)
            self._orders[number] = order
        return _worded(order, "NEW")

    def _cancel_all(self, query: Query, now: datetime, *, perpetual: bool) -> Any:
        instrument = self._listed[perpetual](query)
        with self._lock:
            self._expire(now)
            mine = [each for each in self._orders.values() if each.instrument is instrument]
            for each in mine:
                del self._orders[each.number]
        if perpetual:
            return {"code": 200, "msg": "The operation of cancel all open order is done."}
        if not mine:
            raise VenueRefusal(-2011, "Unknown order sent.")
        return [_worded(each, "CANCELED") for each in mine]

    def _countdown(self, query: Query, now: datetime) -> dict[str, Any]:
        instrument, wait = self._listed[True](query), integer(query, "countdownTime")
        if wait is None:
            raise VenueRefusal(-1102, "Mandatory parameter 'countdownTime' was not sent, was empty/null, or malformed.")
        with self._lock:
            self._expire(now)
            if wait:
                self._ends[instrument.symbol] = now + timedelta(milliseconds=wait)
            else:
                self._ends.pop(instrument.symbol, None)
        return {"symbol": instrument.venue_id, "countdownTime": str(wait)}

    def _expire(self, now: datetime) -> None:
        """End what a countdown has reached, and what the market has come to; looked at when anybody looks."""
        ended = {symbol for symbol, end in self._ends.items() if end <= now}
        for symbol in ended:
            del self._ends[symbol]
        for order in list(self._orders.values()):
            met = order.side * (self._mid(order.instrument, now) - order.price) <= 0
            if met or order.instrument.symbol in ended:
                del self._orders[order.number]

    def _mid(self, instrument: Instrument, now: datetime) -> Decimal:
        return Decimal(repr(float(self._market.mid(instrument.symbol, np.array([micros(now)]))[0])))


def _side(query: Query) -> int:
    if query.get("side") not in {"BUY", "SELL"}:
        raise VenueRefusal(-1117, "Invalid side.")
    return 1 if query["side"] == "BUY" else -1


def _amount(query: Query, name: str) -> Decimal:
    try:
        amount = Decimal(query.get(name, ""))
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise VenueRefusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return amount


def _worded(order: RestingOrder, status: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "symbol": order.instrument.venue_id,
        "orderId": order.number,
        "clientOrderId": order.client_id,
        "price": str(order.price),
        "origQty": str(order.quantity),
        "executedQty": "0",
        "status": status,
        "timeInForce": "GTC",
        "type": "LIMIT" if order.instrument.perpetual else "LIMIT_MAKER",
        "side": "BUY" if order.side > 0 else "SELL",
        "stopPrice": "0",
        "time": milliseconds(order.at),
        "updateTime": milliseconds(order.at),
    }
    if order.instrument.perpetual:
        return row | {"avgPrice": "0", "cumQuote": "0", "reduceOnly": order.reduce_only, "positionSide": "BOTH"}
    return row | {"orderListId": -1, "cummulativeQuoteQty": "0", "transactTime": milliseconds(order.at)}
