"""The desk's and the venue's rows as the records that are compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from research_to_prod.execution.contracts import LEDGER_ENTRIES, ORDER_EVENTS
from research_to_prod.operations.contracts import Account
from research_to_prod.operations.records import MoneyKind, OrderState, money_of_desk, orders_of_events
from tests.operations.worlds import world

AT = datetime(2026, 1, 2, 3, tzinfo=UTC)


def event(number: int, name: str, quantity: str = "2", **changes: Any) -> dict[str, Any]:
    row = {"event_id": f"e{number}", "child_id": "c1", "venue_order_id": "7", "order_id": "o", "strategy": "s"}
    row |= {"venue": "v", "symbol": "BTC/USDT", "side": 1, "event": name, "quantity": Decimal(quantity)}
    return row | {"received_at": AT + timedelta(seconds=number), "occurred_at": None, "price": None} | changes


def orders(*events: dict[str, Any]) -> Any:
    return orders_of_events(pa.Table.from_pylist(list(events), schema=ORDER_EVENTS.arrow))


def test_an_order_is_what_its_events_add_up_to() -> None:
    (order,) = orders(event(3, "cancelled", "0.5"), event(1, "new"), event(2, "fill", "1.5"))
    assert (order.quantity, order.filled, order.state) == (Decimal(2), Decimal("1.5"), OrderState.ENDED)
    assert (order.at, order.last_at, order.whole) == (AT + timedelta(seconds=1), AT + timedelta(seconds=3), True)
    (order,) = orders(event(1, "new"), event(2, "replaced", "3"), event(3, "fill", "3"))
    assert (order.quantity, order.state) == (Decimal(3), OrderState.FILLED)


def test_an_order_that_began_on_another_day_is_not_whole() -> None:
    (order,) = orders(event(1, "fill", "1"), event(2, "cancelled", "1"))
    assert not order.whole


def test_what_was_sent_and_never_answered_is_known_by_its_name_and_what_was_answered_by_its_number() -> None:
    (order,) = orders(event(1, "sent", venue_order_id=None))
    assert (order.order_id, order.client_id, order.state, order.whole) == ("", "c1", OrderState.OPEN, False)
    (order,) = orders(event(1, "sent", venue_order_id=None), event(2, "new"))
    assert (order.order_id, order.whole) == ("7", True)


def test_trades_and_fees_in_the_desks_books_follow_from_fills_and_are_not_counted_twice() -> None:
    entry = {"venue": "v", "account": "futures", "booked_at": AT, "currency": "USDT", "amount": Decimal(1)}
    kinds = ("trade", "fee", "realized_pnl", "funding", "deposit", "withdrawal", "transfer", "interest")
    rows = [entry | {"entry_id": kind, "entry_type": kind} for kind in kinds]
    found = money_of_desk(pa.Table.from_pylist(rows, schema=LEDGER_ENTRIES.arrow))
    assert {(each.record_id, each.kind) for each in found} == {
        ("realized_pnl", MoneyKind.REALIZED_PNL),
        ("funding", MoneyKind.FUNDING),
        ("deposit", MoneyKind.TRANSFER),
        ("withdrawal", MoneyKind.TRANSFER),
        ("transfer", MoneyKind.TRANSFER),
        ("interest", MoneyKind.OTHER),
    }
    assert {each.account for each in found} == {Account.FUTURES}


def test_money_of_a_sub_account_that_nobody_reads_is_booked_and_not_compared() -> None:
    entry = {"venue": "v", "account": "margin", "booked_at": AT, "currency": "USDT", "amount": Decimal(1)}
    rows = [entry | {"entry_id": "1", "entry_type": "deposit"}]
    money = money_of_desk(pa.Table.from_pylist(rows, schema=LEDGER_ENTRIES.arrow))
    assert {each.account for each in money} == {Account.OTHER}
    sound = world([])
    assert replace(sound, desk=replace(sound.desk, money=(sound.desk.money or frozenset()) | money)).findings() == ()
