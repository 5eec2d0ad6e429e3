"""One side's records of a day in the form in which two sides are compared.

Belongs here: the values, and reading them from the tables of the desk and of the venue. Doesn't: comparing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from research_to_prod.operations.contracts import Account

# Columns that say how a record reached us, not what it says: two copies that differ only here are one record.
_PROVENANCE = {"received_at", "fetch_id"}


class Source(StrEnum):
    """What is asked of a venue, each with its own certificates."""

    FILLS = "fills"
    ORDERS = "orders"
    MONEY = "money"
    BALANCES = "balances"
    POSITIONS = "positions"


class MoneyKind(StrEnum):
    """Why money moved other than by a trade and its fee."""

    REALIZED_PNL = "realized_pnl"
    COMMISSION = "commission"
    """A fee as the wallet's statement has it: posted with its fill, and kept to see whether both lists are whole."""
    FUNDING = "funding"
    TRANSFER = "transfer"
    OTHER = "other"


class OrderState(StrEnum):
    """How far an order has come."""

    OPEN = "open"
    FILLED = "filled"
    ENDED = "ended"
    """Cancelled, expired or refused, with or without fills."""


@dataclass(frozen=True)
class FillRecord:
    """One fill; equal records say the same, whichever way they came.

    Parameters
    ----------
    rest
        Everything else that the record says, so that two versions of one fill can be told apart.
    """

    symbol: str
    fill_id: str
    order_id: str | None
    side: int
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    at: datetime
    rest: tuple[tuple[str, object], ...] = ()

    @property
    def value(self) -> Decimal:
        """Return the fill's value in quote currency."""
        return self.quantity * self.price

    def __str__(self) -> str:
        side = "buy" if self.side > 0 else "sell"
        return f"{side} {plain(self.quantity)} @ {plain(self.price)}, fee {plain(self.fee)} {self.fee_currency}"


@dataclass(frozen=True)
class OrderRecord:
    """One order as the venue numbers it.

    Parameters
    ----------
    order_id
        The venue's number; empty on the desk's side before it has one.
    whole
        Whether its beginning is on record, with the venue's number; of others only what happened on the day is known.
    """

    symbol: str
    order_id: str
    client_id: str | None
    side: int
    quantity: Decimal
    filled: Decimal
    state: OrderState
    at: datetime
    last_at: datetime
    whole: bool = True

    def __str__(self) -> str:
        side = "buy" if self.side > 0 else "sell"
        return f"{side} {plain(self.quantity)}, filled {plain(self.filled)}, {self.state}"


@dataclass(frozen=True)
class Movement:
    """One movement of money into (or, negative, out of) a wallet."""

    account: Account
    kind: MoneyKind
    record_id: str
    asset: str
    amount: Decimal
    symbol: str | None
    at: datetime

    def __str__(self) -> str:
        return f"{plain(self.amount)} {self.asset}"


@dataclass(frozen=True)
class Side:
    """All that one side recorded; None for what it does not record at all, which then is not compared.

    Copies that say the same are one record, whatever their order.
    """

    fills: frozenset[FillRecord] = frozenset()
    orders: frozenset[OrderRecord] | None = None
    money: frozenset[Movement] | None = None


@dataclass(frozen=True)
class Snapshot:
    """What the venue said to be held at an instant; what it does not name is zero, because the answer was complete."""

    at: datetime
    amounts: Mapping[tuple[Account, str], Decimal] = field(default_factory=lambda: MappingProxyType({}))

    def amount(self, account: Account, asset: str) -> Decimal:
        """Return what is held of ``asset`` in ``account``; of contracts, the position in the symbol."""
        return self.amounts.get((account, asset), Decimal(0))


def plain(number: Decimal) -> str:
    """Return a decimal in plain digits without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def fills_of(rows: pa.Table, fill_id: str, at: str) -> frozenset[FillRecord]:
    """Return the fills of ``FILLS`` or ``VENUE_FILLS`` rows; copies that say the same are one."""
    common = {"symbol", "side", "quantity", "price", "fee", "fee_currency", "venue_order_id", fill_id, at}
    rest = [name for name in rows.column_names if name not in common | _PROVENANCE]
    return frozenset(
        FillRecord(
            symbol=row["symbol"],
            fill_id=row[fill_id],
            order_id=row["venue_order_id"],
            side=row["side"],
            quantity=row["quantity"],
            price=row["price"],
            fee=row["fee"],
            fee_currency=row["fee_currency"],
            at=row[at],
            rest=tuple((name, row[name]) for name in rest),
        )
        for row in rows.to_pylist()
    )


_ENDS = {"cancelled", "expired", "rejected"}


def orders_of_events(rows: pa.Table) -> frozenset[OrderRecord]:
    """Return the orders that the desk's ``ORDER_EVENTS`` tell of.

    What was sent and has no number of the venue's yet has an empty ``order_id``, and is known by its name.
    """
    by_order: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    numbered: set[str] = set()
    for row in rows.to_pylist():
        number = row["venue_order_id"]
        key = (row["symbol"], row["child_id"]) if number is None else (row["symbol"], "", number)
        by_order.setdefault(key, []).append(row)
        numbered |= set() if number is None else {row["child_id"]}
    return frozenset(
        _order(events)
        for events in by_order.values()
        if events[0]["venue_order_id"] or events[0]["child_id"] not in numbered
    )


def _order(events: list[dict[str, Any]]) -> OrderRecord:
    events = sorted(events, key=lambda row: (row["received_at"], row["event_id"]))
    # A replaced order has the size of its last form.
    sized = [row for row in events if row["event"] in {"sent", "new", "replaced"}]
    filled = sum((row["quantity"] for row in events if row["event"] == "fill"), Decimal(0))
    ended = any(row["event"] in _ENDS for row in events)
    quantity = (sized or events)[-1]["quantity"]
    state = OrderState.FILLED if filled >= quantity else OrderState.ENDED if ended else OrderState.OPEN
    times = [row["occurred_at"] or row["received_at"] for row in events]
    return OrderRecord(
        symbol=events[0]["symbol"],
        order_id=events[0]["venue_order_id"] or "",
        client_id=events[0]["child_id"],
        side=events[0]["side"],
        quantity=quantity,
        filled=filled,
        state=state,
        at=times[0],
        last_at=max(times),
        whole=events[0]["venue_order_id"] is not None and any(row["event"] in {"sent", "new"} for row in sized),
    )


_STATES = {"open": OrderState.OPEN, "closed": OrderState.FILLED}


def orders_of_venue(rows: pa.Table) -> frozenset[OrderRecord]:
    """Return the orders of ``VENUE_ORDERS`` rows."""
    return frozenset(
        OrderRecord(
            symbol=row["symbol"],
            order_id=row["venue_order_id"],
            client_id=row["client_order_id"],
            side=row["side"],
            quantity=row["quantity"],
            filled=row["filled"],
            state=_STATES.get(row["status"], OrderState.ENDED),
            at=row["created_at"],
            last_at=row["updated_at"] or row["created_at"],
        )
        for row in rows.to_pylist()
    )


_DESK_KINDS = {
    "realized_pnl": MoneyKind.REALIZED_PNL,
    "funding": MoneyKind.FUNDING,
    "deposit": MoneyKind.TRANSFER,
    "withdrawal": MoneyKind.TRANSFER,
    "transfer": MoneyKind.TRANSFER,
}


def money_of_desk(rows: pa.Table) -> frozenset[Movement]:
    """Return the desk's ``LEDGER_ENTRIES`` but trades and their fees, which follow from fills."""
    return _movements(
        (row, _DESK_KINDS.get(row["entry_type"], MoneyKind.OTHER), row["entry_id"], row["currency"])
        for row in rows.to_pylist()
        if row["entry_type"] not in {"trade", "fee"}
    )


_VENUE_KINDS = {
    "REALIZED_PNL": MoneyKind.REALIZED_PNL,
    "COMMISSION": MoneyKind.COMMISSION,
    "FUNDING_FEE": MoneyKind.FUNDING,
    "TRANSFER": MoneyKind.TRANSFER,
    "deposit": MoneyKind.TRANSFER,
    "withdrawal": MoneyKind.TRANSFER,
}


def money_of_venue(income: pa.Table) -> frozenset[Movement]:
    """Return ``VENUE_INCOME`` rows."""
    return _movements(
        (row, _VENUE_KINDS.get(row["income_type"], MoneyKind.OTHER), row["income_id"], row["asset"])
        for row in income.to_pylist()
    )


def _movements(rows: Iterable[tuple[dict[str, Any], MoneyKind, str, str]]) -> frozenset[Movement]:
    # A desk may book sub-accounts that nobody reads of the venue: posted, and not compared.
    wallets = {"spot": Account.SPOT, "futures": Account.FUTURES}
    return frozenset(
        Movement(
            wallets.get(row["account"], Account.OTHER),
            kind,
            record_id,
            asset,
            row["amount"],
            row["symbol"],
            row["booked_at"],
        )
        for row, kind, record_id, asset in rows
    )


def snapshot_of(balances: pa.Table, positions: pa.Table, moment: str, at: datetime) -> Snapshot:
    """Return what ``VENUE_BALANCES`` and ``VENUE_POSITIONS`` rows say of one moment, ``opening`` or ``closing``.

    Parameters
    ----------
    at
        The moment's time, for an account that holds nothing: it has no row to say so.
    """
    amounts = {
        (Account(row["account"]), row["asset"]): row["amount"]
        for row in balances.to_pylist()
        if row["moment"] == moment
    }
    held = [row for row in positions.to_pylist() if row["moment"] == moment]
    amounts |= {(Account.CONTRACTS, row["symbol"]): row["position"] for row in held}
    return Snapshot(at, amounts)
