"""Trades as ccxt gives them become declared rows, or an error: never a missing fill."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from research_to_prod.execution.contracts import VENUE_FILLS
from research_to_prod.execution.venue_records import VenueRecordError, venue_fills_table

TRADE: dict[str, Any] = {
    "id": "28457",
    "order": "100234",
    "timestamp": 1767323045006,
    "symbol": "BTC/USDT",
    "side": "sell",
    "amount": "12.00000001",
    "price": "4.00000100",
    "takerOrMaker": "maker",
    "fee": {"cost": "-0.0101", "currency": "USDT"},
}


def test_a_trade_becomes_a_row_with_its_exact_amounts() -> None:
    table = venue_fills_table([TRADE], "sandbox", "fetch-1")
    assert VENUE_FILLS.conform(table, "2026-01-02").to_pylist() == [
        {
            "venue": "sandbox",
            "symbol": "BTC/USDT",
            "trade_id": "28457",
            "venue_order_id": "100234",
            "side": -1,
            "quantity": Decimal("12.00000001"),
            "price": Decimal("4.00000100"),
            "liquidity": "maker",
            "fee": Decimal("-0.0101"),
            "fee_currency": "USDT",
            "traded_at": datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC),
            "fetch_id": "fetch-1",
        }
    ]


def test_no_trades_are_a_table_without_rows() -> None:
    assert venue_fills_table([], "sandbox", "fetch-1") == VENUE_FILLS.empty()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": None}, "id is None"),
        ({"id": ""}, "id is ''"),
        ({"order": None}, "order is None"),
        ({"timestamp": None}, "timestamp is None"),
        ({"timestamp": 0}, "timestamp is 0"),
        ({"symbol": None}, "symbol is None"),
        ({"side": None}, "side is None"),
        ({"price": None}, "price is None"),
        ({"price": "0"}, "price is '0'"),
        ({"price": "Infinity"}, "price is 'Infinity'"),
        ({"amount": 1.5}, "amount is 1.5, not decimal text"),
        ({"amount": "1,5"}, "amount is '1,5'"),
        ({"takerOrMaker": None}, "takerOrMaker is None"),
        ({"fee": None}, "without a currency"),
        ({"fee": {"cost": None, "currency": "BNB"}}, "fee cost is None"),
    ],
)
def test_a_trade_that_lacks_something_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(VenueRecordError) as error:
        venue_fills_table([TRADE, TRADE | changes], "sandbox", "fetch-1")
    assert named in str(error.value)
    assert "row 1" in str(error.value)


def test_every_fault_is_counted_and_the_message_stays_short() -> None:
    # What ccxt makes of an HTML body: one row per character, all fields None.
    with pytest.raises(VenueRecordError) as error:
        venue_fills_table([{} for _ in range(5000)], "sandbox", "fetch-1")
    assert "more; fetch again" in str(error.value)
    assert len(str(error.value)) < 1000


def test_what_ccxt_itself_parses_is_accepted() -> None:
    import ccxt

    exchange = ccxt.binance({"options": {"defaultType": "spot"}})
    exchange.number = str
    market = exchange.safe_market_structure(
        {"id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "spot": True, "type": "spot"}
    )
    body = {
        "symbol": "BTCUSDT",
        "id": 28457,
        "orderId": 100234,
        "price": "64000.10000000",
        "qty": "0.00012000",
        "quoteQty": "7.68001200",
        "commission": "0.00000012",
        "commissionAsset": "BTC",
        "time": 1767323045006,
        "isBuyer": True,
        "isMaker": False,
        "isBestMatch": True,
    }
    row = venue_fills_table([exchange.parse_trade(body, market)], "sandbox", "f").to_pylist()[0]
    assert (row["trade_id"], row["side"], row["liquidity"]) == ("28457", 1, "taker")
    assert (row["quantity"], row["fee"], row["fee_currency"]) == (Decimal("0.00012"), Decimal("0.00000012"), "BTC")
