"""The ledger adds up, whatever came in which order."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.execution.contracts import VENUE_FILLS
from research_to_prod.operations.contracts import Account, Book
from research_to_prod.operations.ledger import (
    balances,
    post_adjustment,
    post_side,
    postings_from,
    postings_table,
    unbalanced,
)
from research_to_prod.operations.records import Side, fills_of
from tests.operations.worlds import DAY, NOON, PERPETUAL, World, fill, movement, world, worlds


@given(worlds())
@settings(max_examples=40)
def test_every_event_adds_up_to_nothing_in_every_asset(sound: World) -> None:
    legs = post_side(Book.DESK, sound.desk)
    assert unbalanced(legs) == {}
    totals: dict[str, Decimal] = {}
    for (_, asset), amount in balances(legs).items():
        totals[asset] = totals.get(asset, Decimal(0)) + amount
    assert set(totals.values()) <= {Decimal(0)}


def test_a_torn_event_is_named() -> None:
    legs = post_side(Book.VENUE, Side(frozenset({fill()})))
    assert list(unbalanced(legs[:-1])) == [(Book.VENUE, "fill BTC/USDT 1", "USDT")]


def test_what_each_event_moves() -> None:
    spot = fill("1", quantity=Decimal(2), price=Decimal(100), fee=Decimal("0.01"), fee_currency="BTC")
    perpetual = fill("2", symbol=PERPETUAL, side=-1, quantity=Decimal(3), fee=Decimal("0.2"))
    side = Side(frozenset({spot, perpetual}), money=frozenset({movement("f", Decimal("-1.5"))}))
    assert balances(post_side(Book.DESK, side)) == {
        (Account.SPOT, "BTC"): Decimal("1.99"),
        (Account.MARKET, "BTC"): Decimal(-2),
        (Account.FEES, "BTC"): Decimal("0.01"),
        (Account.SPOT, "USDT"): Decimal(-200),
        (Account.MARKET, "USDT"): Decimal(200),
        (Account.CONTRACTS, PERPETUAL): Decimal(-3),
        (Account.MARKET, PERPETUAL): Decimal(3),
        (Account.FUTURES, "USDT"): Decimal("-1.7"),
        (Account.FEES, "USDT"): Decimal("0.2"),
        (Account.FUNDING, "USDT"): Decimal("1.5"),
    }


def test_a_fill_of_which_there_are_two_versions_is_not_posted() -> None:
    side = Side(frozenset({fill(), fill(price=Decimal(101))}))
    assert post_side(Book.DESK, side) == ()


def test_a_correcting_entry_stands_against_suspense() -> None:
    legs = post_adjustment("break", NOON, Account.SPOT, "BTC", Decimal("1e-9"))
    assert unbalanced(legs) == {}
    assert balances(legs)[Account.SUSPENSE, "BTC"] == Decimal("-1e-9")


def venue_rows(sound: World) -> list[dict[str, object]]:
    return [
        {
            "venue": "v",
            "symbol": each.symbol,
            "trade_id": each.fill_id,
            "venue_order_id": each.order_id,
            "side": each.side,
            "quantity": each.quantity,
            "price": each.price,
            "liquidity": "taker",
            "fee": each.fee,
            "fee_currency": each.fee_currency,
            "traded_at": each.at,
            "fetch_id": "f",
        }
        for each in sound.venue.fills
    ]


@given(worlds(minimum=1), st.data())
@settings(max_examples=40)
def test_any_order_repetition_and_split_of_pages_gives_the_same_ledger(sound: World, data: st.DataObject) -> None:
    rows = venue_rows(sound)
    # Any multiset of the rows that holds each, in any order, cut anywhere into pages that other fetches brought.
    again = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    mixed = data.draw(st.permutations([*rows, *again]))
    cut = data.draw(st.integers(0, len(mixed)))
    pages = [mixed[:cut], [row | {"fetch_id": "g"} for row in mixed[cut:]]]
    parts = [pa.Table.from_pylist(page, schema=VENUE_FILLS.arrow) for page in pages]
    first, other = (
        Side(fills_of(part, "trade_id", "traded_at"))
        for part in (pa.Table.from_pylist(rows, schema=VENUE_FILLS.arrow), pa.concat_tables(parts))
    )
    assert post_side(Book.VENUE, first) == post_side(Book.VENUE, other)
    assert first == other


def test_the_table_says_what_the_legs_say() -> None:
    sound = world([fill("1"), fill("2", symbol=PERPETUAL)], [movement("f", Decimal(2), at=NOON + timedelta(hours=4))])
    legs = post_side(Book.VENUE, sound.venue)
    table = postings_table(legs, "v", DAY)
    assert table.num_rows == len(legs)
    assert balances(postings_from(table)) == balances(legs)
    assert unbalanced(postings_from(table)) == {}
