"""The venue's own records of our account, from ccxt's unified dictionaries to declared rows.

Belongs here: the strict translation of what the venue client returns. Doesn't: fetching (market_data.account_reads),
comparing with the desk's records (operations.reconciliation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from research_to_prod.execution.contracts import (
    VENUE_BALANCES,
    VENUE_FILLS,
    VENUE_INCOME,
    VENUE_ORDERS,
    VENUE_POSITIONS,
)
from research_to_prod.lake.schema import Schema
from research_to_prod.market_data.account_reads import Paid, Wallet
from research_to_prod.market_data.dialects.base import Margin, Mark

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIDES = {"buy": 1, "sell": -1}
_STATES = frozenset({"open", "closed", "canceled", "expired", "rejected"})
_SHOWN_PROBLEMS = 10


class VenueRecordError(ValueError):
    """The venue's answer lacks what a record must have; the message lists each row and field."""


def venue_fills_table(trades: Sequence[Mapping[str, Any]], venue: str, fetch_id: str) -> pa.Table:
    """Return ccxt trades of our account as ``VENUE_FILLS`` rows, in the order given.

    Parameters
    ----------
    trades
        Unified trades of ccxt, fetched with ``exchange.number = str`` so that every amount is text. A row is not
        deduplicated here: two rows with one id are a fact about the fetch.
    venue
        Venue name as in the universe file.
    fetch_id
        The fetch whose certificate covers these rows.

    Raises
    ------
    VenueRecordError
        If any id, order, time, symbol, side, amount, price, liquidity or fee is missing, or an amount is a float. ccxt
        turns a cut or wrong-shaped body into rows whose id and time are None: those must never become "no such fill".
    """
    return _table("trades", trades, venue, fetch_id, VENUE_FILLS, _fill)


def venue_orders_table(orders: Sequence[Mapping[str, Any]], venue: str, fetch_id: str) -> pa.Table:
    """Return ccxt orders of our account as ``VENUE_ORDERS`` rows, in the order given.

    Raises
    ------
    VenueRecordError
        If any id, time, symbol, side, amount, filled amount or state is missing, or an amount is a float.
    """
    return _table("orders", orders, venue, fetch_id, VENUE_ORDERS, _order)


def venue_balances_table(wallets: Sequence[Wallet], moment: str, venue: str, day: str, fetch_id: str) -> pa.Table:
    """Return wallets at one moment of a day as ``VENUE_BALANCES`` rows; an asset that is not held has none."""
    return _held(VENUE_BALANCES, wallets, moment, venue, day, fetch_id)


def venue_positions_table(wallets: Sequence[Wallet], moment: str, venue: str, day: str, fetch_id: str) -> pa.Table:
    """Return the contracts of wallets at one moment of a day as ``VENUE_POSITIONS`` rows."""
    return _held(VENUE_POSITIONS, wallets, moment, venue, day, fetch_id)


def venue_income_table(paid: Sequence[Paid], account: str, venue: str, fetch_id: str) -> pa.Table:
    """Return payments of one wallet as ``VENUE_INCOME`` rows."""
    rows = [
        {
            "venue": venue,
            "account": account,
            "income_id": each.payment.payment_id,
            "income_type": each.payment.kind,
            "asset": each.payment.asset,
            "amount": Decimal(each.payment.amount),
            "symbol": each.symbol,
            "reference": each.payment.reference,
            "booked_at": each.at,
            "fetch_id": fetch_id,
        }
        for each in paid
    ]
    return pa.Table.from_pylist(rows, schema=VENUE_INCOME.arrow)


def _held(schema: Schema, wallets: Sequence[Wallet], moment: str, venue: str, day: str, fetch_id: str) -> pa.Table:
    rows = []
    for wallet in wallets:
        common = {"day": day, "venue": venue, "moment": moment, "snapshot_at": wallet.at, "fetch_id": fetch_id}
        if schema is VENUE_BALANCES:
            rows += [
                common | {"account": wallet.account, "asset": asset, "amount": Decimal(amount)} | margin
                for asset, amount in wallet.balances.items()
                for margin in [_margin(wallet.margins.get(asset))]
                if Decimal(amount) or margin["maintenance_margin"]
            ]
        else:
            rows += [
                common | {"symbol": symbol, "position": Decimal(amount)} | _mark(wallet.marks.get(symbol))
                for symbol, amount in wallet.positions.items()
                if Decimal(amount)
            ]
    return pa.Table.from_pylist(rows, schema=schema.arrow)


def _margin(stated: Margin | None) -> dict[str, Decimal | None]:
    balance, maintenance = (None, None) if stated is None else (Decimal(stated.balance), Decimal(stated.maintenance))
    return {"margin_balance": balance, "maintenance_margin": maintenance}


def _mark(stated: Mark | None) -> dict[str, Decimal | None]:
    price, liquidation = (None, None) if stated is None else (Decimal(stated.price), Decimal(stated.liquidation))
    return {"mark_price": price, "liquidation_price": liquidation}


@dataclass
class _Reader:
    """Takes fields out of one row and notes what is wrong with them."""

    number: int
    row: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)

    def fault(self, what: str) -> None:
        self.problems.append(f"row {self.number} (id {self.row.get('id')!r}): {what}")

    def text(self, name: str) -> str:
        value = self.row.get(name)
        if not isinstance(value, str) or not value:
            self.fault(f"{name} is {value!r}")
            return ""
        return value

    def one_of(self, name: str, known: Mapping[str, int] | frozenset[str]) -> str:
        value = self.row.get(name)
        if value not in known:
            self.fault(f"{name} is {value!r}")
            return ""
        return str(value)

    def time(self, name: str) -> datetime:
        value = self.row.get(name)
        if not isinstance(value, int) or value <= 0:
            self.fault(f"{name} is {value!r}")
            value = 0
        return _EPOCH + timedelta(milliseconds=value)

    def amount(self, name: str, value: Any, *, least: str) -> Decimal:
        """Return exact decimal text as a number that is ``positive``, ``zero`` or more, or ``any``."""
        if not isinstance(value, str | Decimal):
            self.fault(f"{name} is {value!r}, not decimal text")
            return Decimal(0)
        try:
            number = Decimal(value)
        except InvalidOperation:
            self.fault(f"{name} is {value!r}")
            return Decimal(0)
        wrong = {"positive": number <= 0, "zero": number < 0, "any": False} if number.is_finite() else {least: True}
        if wrong[least]:
            self.fault(f"{name} is {value!r}")
            return Decimal(0)
        return number


def _table(
    what: str,
    rows: Sequence[Mapping[str, Any]],
    venue: str,
    fetch_id: str,
    schema: Schema,
    read: Callable[[_Reader], dict[str, Any]],
) -> pa.Table:
    problems: list[str] = []
    found = [
        {"venue": venue, "fetch_id": fetch_id} | read(_Reader(number, row, problems)) for number, row in enumerate(rows)
    ]
    if problems:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise VenueRecordError(f"{what} of {venue}, fetch {fetch_id}, refused: {shown}{more}; fetch again")
    return pa.Table.from_pylist(found, schema=schema.arrow)


def _fill(trade: _Reader) -> dict[str, Any]:
    fee = trade.row.get("fee") or {}
    if not isinstance(fee.get("currency"), str):
        trade.fault(f"fee is {trade.row.get('fee')!r}, without a currency")
    return {
        "symbol": trade.text("symbol"),
        "trade_id": trade.text("id"),
        "venue_order_id": trade.text("order"),
        "side": _SIDES.get(trade.one_of("side", _SIDES), 0),
        "quantity": trade.amount("amount", trade.row.get("amount"), least="positive"),
        "price": trade.amount("price", trade.row.get("price"), least="positive"),
        "liquidity": trade.one_of("takerOrMaker", frozenset({"taker", "maker"})),
        "fee": trade.amount("fee cost", fee.get("cost"), least="any"),
        "fee_currency": fee.get("currency"),
        "traded_at": trade.time("timestamp"),
    }


def _order(order: _Reader) -> dict[str, Any]:
    price, updated = order.row.get("price"), order.row.get("lastUpdateTimestamp")
    limit = Decimal(0) if price is None else order.amount("price", price, least="zero")
    return {
        "symbol": order.text("symbol"),
        "venue_order_id": order.text("id"),
        "client_order_id": order.row.get("clientOrderId"),
        "side": _SIDES.get(order.one_of("side", _SIDES), 0),
        "quantity": order.amount("amount", order.row.get("amount"), least="positive"),
        "filled": order.amount("filled", order.row.get("filled"), least="zero"),
        # A market order has none, which venues and ccxt word as 0, as nothing, or as its average.
        "price": limit if limit and order.row.get("type") != "market" else None,
        "order_type": order.text("type"),
        "status": order.one_of("status", _STATES),
        "created_at": order.time("timestamp"),
        "updated_at": None if updated is None else order.time("lastUpdateTimestamp"),
    }
