"""The account's orders, payments and statements: complete, or an error, or a certificate that says it is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from research_to_prod.market_data.dialects.base import Margin, Mark
from research_to_prod.market_data.reads import ATTEMPTS
from research_to_prod.market_data.venue import VenueRejected, VenueShape, VenueUnknown

START = datetime(2023, 6, 1, tzinfo=UTC)
END = START + timedelta(days=1)
T0 = int(START.timestamp() * 1000)
HOUR = 3_600_000
SPOT_ORDERS, SWAP_ORDERS = "/api/v3/allOrders", "/fapi/v1/allOrders"
INCOME = "/fapi/v1/income"
DEPOSITS, WITHDRAWALS = "/sapi/v1/capital/deposit/hisrec", "/sapi/v1/capital/withdraw/history"
TRANSFERS, SNAPSHOTS = "/sapi/v1/asset/transfer", "/sapi/v1/accountSnapshot"
Row = dict[str, Any]


def order(number: int, time: int, **changes: Any) -> Row:
    row = {"symbol": "BTCUSDT", "orderId": number, "clientOrderId": f"c{number}", "time": time, "updateTime": time + 5}
    row |= {"price": "27000.10", "origQty": "0.5", "executedQty": "0.2", "cummulativeQuoteQty": "5400.02"}
    row |= {"status": "CANCELED", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "stopPrice": "0"}
    return row | changes


def swap_order(number: int, time: int) -> Row:
    row = order(number, time, cumQuote="5400.02", avgPrice="27000.1", positionSide="BOTH", reduceOnly=False)
    return {name: value for name, value in row.items() if name != "cummulativeQuoteQty"}


def paid(number: int, time: int, **changes: Any) -> Row:
    row = {"symbol": "BTCUSDT", "incomeType": "COMMISSION", "income": "-0.01", "asset": "USDT", "info": "7"}
    return row | {"time": time, "tranId": number, "tradeId": "7"} | changes


def serve_orders(peer: Any, path: str, rows: list[Row]) -> None:
    def answer(query: dict[str, str]) -> list[Row]:
        if "orderId" in query:
            chosen = [row for row in rows if row["orderId"] >= int(query["orderId"])]
        else:
            chosen = [row for row in rows if int(query["startTime"]) <= row["time"] <= int(query["endTime"])]
        return chosen[: int(query["limit"])]

    peer.routes[path] = answer


def serve_payments(peer: Any, rows: list[Row], order_of_rows: Callable[[list[Row]], list[Row]] = list) -> None:
    for path in (DEPOSITS, WITHDRAWALS):
        peer.routes[path] = lambda _: []
    peer.routes[TRANSFERS] = lambda _: {"total": 0}

    def answer(query: dict[str, str]) -> list[Row]:
        start, end = int(query["startTime"]), int(query["endTime"])
        return order_of_rows([row for row in rows if start <= row["time"] <= end])[: int(query["limit"])]

    peer.routes[INCOME] = answer


@pytest.fixture(autouse=True)
def _a_day_later(peer: Any) -> None:
    peer.now = T0 + 26 * HOUR


@pytest.mark.parametrize(
    ("path", "symbol", "make"), [(SPOT_ORDERS, "BTC/USDT", order), (SWAP_ORDERS, "BTC/USDT:USDT", swap_order)]
)
def test_orders_that_share_milliseconds_across_pages_are_each_returned_once(
    peer: Any, client: Any, path: str, symbol: str, make: Any
) -> None:
    rows = [make(1000 + i, T0 + 5 + i // 7) for i in range(2500)]
    serve_orders(peer, path, [make(1, T0 - 1), *rows, make(9999, T0 + 25 * HOUR)])
    fetched = client.my_orders(symbol, START, END)
    assert [int(row["id"]) for row in fetched.rows] == [row["orderId"] for row in rows]
    assert fetched.certificate.complete
    first = fetched.rows[0]
    assert (first["amount"], first["filled"], first["status"], first["clientOrderId"]) == (
        "0.5",
        "0.2",
        "canceled",
        "c1000",
    )


def test_orders_that_the_venue_may_have_forgotten_are_not_certified(peer: Any, client: Any) -> None:
    for days, spot, swap in ((2, True, True), (5, True, False), (100, False, False)):
        peer.now = T0 + days * 24 * HOUR
        for path, symbol, kept in ((SPOT_ORDERS, "BTC/USDT", spot), (SWAP_ORDERS, "BTC/USDT:USDT", swap)):
            serve_orders(peer, path, [])
            assert client.my_orders(symbol, START, END).certificate.complete is kept, (days, symbol)


def test_payments_that_share_milliseconds_across_pages_are_each_returned_once(peer: Any, client: Any) -> None:
    # A fill books its profit and its fee in one millisecond: a cursor by time loses one at each page's edge.
    rows = [paid(i, T0 + i // 7) for i in range(2500)]
    serve_payments(peer, [paid(-1, T0 - 1), *rows, paid(9999, T0 + 25 * HOUR)])
    found = {each.certificate.scope: each for each in client.payments(START, END)}
    assert sorted(found) == ["futures", "spot", "spot 1", "spot 2", "spot 3"]
    assert [int(each.payment.payment_id) for each in found["futures"].rows] == list(range(2500))
    (first, *_) = found["futures"].rows
    assert (first.payment.kind, first.payment.amount, first.symbol, first.at) == (
        "COMMISSION",
        "-0.01",
        "BTC/USDT:USDT",
        START,
    )
    assert all(each.certificate.complete for each in found.values())


def test_a_venue_that_serves_the_newest_payments_first_is_caught(peer: Any, client: Any) -> None:
    serve_payments(peer, [paid(i, T0 + i) for i in range(2500)], lambda rows: rows[::-1])
    with pytest.raises(VenueUnknown, match="before the first one served"):
        client.payments(START, END)
    # One page of them is all of them, whichever way it is ordered.
    serve_payments(peer, [paid(i, T0 + i) for i in range(700)], lambda rows: rows[::-1])
    assert len({row.payment.payment_id for each in client.payments(START, END) for row in each.rows}) == 700


def test_more_payments_in_a_millisecond_than_a_page_holds_are_an_error(peer: Any, client: Any) -> None:
    serve_payments(peer, [paid(i, T0 + 5) for i in range(1500)])
    with pytest.raises(VenueUnknown, match="share one step"):
        client.payments(START, END)


def test_a_payment_of_a_contract_that_is_not_listed_is_an_error(peer: Any, client: Any) -> None:
    serve_payments(peer, [paid(1, T0, symbol="GONEUSDT")])
    with pytest.raises(VenueUnknown, match="GONEUSDT"):
        client.payments(START, END)


def test_money_that_came_and_went_is_signed_and_what_is_pending_is_left_out(peer: Any, client: Any) -> None:
    serve_payments(peer, [])
    deposit = {"id": "d1", "amount": "5.5", "coin": "BTC", "status": 1, "insertTime": T0 + 1, "txId": "0xd"}
    withdrawal = {"id": "w1", "amount": "2", "transactionFee": "0.5", "coin": "BTC", "status": 6}
    withdrawal |= {"applyTime": "2023-06-01 03:00:00", "txId": "0xw"}
    moved = {"asset": "USDT", "amount": "10", "tranId": 5, "status": "CONFIRMED", "timestamp": T0 + 4 * HOUR}

    def asked(query: dict[str, str], time: int) -> bool:
        return int(query["startTime"]) <= time <= int(query["endTime"])

    def transfers(query: dict[str, str]) -> Row:
        number = 5 if query["type"] == "MAIN_UMFUTURE" else 6
        found = [moved | {"tranId": number}] if asked(query, T0 + 4 * HOUR) else []
        return {"total": len(found)} | ({"rows": found} if found else {})

    pending = deposit | {"id": "d2", "status": 0}
    peer.routes[DEPOSITS] = lambda query: [deposit, pending] if asked(query, T0 + 1) else []
    peer.routes[WITHDRAWALS] = lambda query: [withdrawal] if asked(query, T0 + 3 * HOUR) else []
    peer.routes[TRANSFERS] = transfers
    rows = [row for each in client.payments(START, END) for row in each.rows]
    assert [(row.payment.kind, row.payment.asset, row.payment.amount, row.at.hour) for row in rows] == [
        ("deposit", "BTC", "5.5", 0),
        ("withdrawal", "BTC", "-2.5", 3),
        ("transfer", "USDT", "-10", 4),
        ("transfer", "USDT", "10", 4),
    ]


def statement(kind: str, time: int) -> Row:
    if kind == "SPOT":
        data: Row = {"balances": [{"asset": "BTC", "free": "1.5", "locked": "0.25"}]}
    else:
        legs = [{"symbol": "BTCUSDT", "positionAmt": "2.0"}, {"symbol": "BTCUSDT", "positionAmt": "-0.5"}]
        data = {"assets": [{"asset": "USDT", "walletBalance": "10"}], "position": legs}
    return {"type": kind.lower(), "updateTime": time, "data": data}


def serve_statements(peer: Any, *times: int) -> None:
    peer.routes[SNAPSHOTS] = lambda query: {
        "code": 200,
        "msg": "",
        "snapshotVos": [statement(query["type"], time) for time in times],
    }


def test_the_wallets_at_the_ends_of_two_days(peer: Any, client: Any) -> None:
    serve_statements(peer, T0 - 1000, T0 + 24 * HOUR - 1000)
    spot, futures = client.statements(START - timedelta(seconds=1), END - timedelta(seconds=1))
    assert [wallet.at for wallet in spot.rows] == [START - timedelta(seconds=1), END - timedelta(seconds=1)]
    assert spot.rows[0].balances == {"BTC": "1.75"}
    # Both legs of a hedged position are one position.
    assert (futures.rows[1].balances, futures.rows[1].positions) == ({"USDT": "10"}, {"BTC/USDT:USDT": "1.5"})
    assert spot.certificate.complete
    assert (futures.certificate.scope, futures.certificate.complete) == ("futures", True)


def test_a_day_that_is_not_stated_is_unknown(peer: Any, client: Any) -> None:
    serve_statements(peer, T0 + 24 * HOUR - 1000)
    found = client.statements(START - timedelta(seconds=1), END - timedelta(seconds=1))
    assert [each.certificate.complete for each in found] == [False, False]
    assert {each.certificate.terminal for each in found} == {"history_cut"}


READS: dict[str, Callable[[Any], Any]] = {
    SNAPSHOTS: lambda client: client.statements(START, START),
    "/api/v3/account": lambda client: client.holdings(),
    SPOT_ORDERS: lambda client: client.my_orders("BTC/USDT", START, END),
    DEPOSITS: lambda client: client.payments(START, END),
    TRANSFERS: lambda client: client.payments(START, END),
    INCOME: lambda client: client.payments(START, END),
}


@pytest.mark.parametrize("body", [b"<html>", b"", b"{}", b"null", b'{"data": []}', b'{"code": 0}', b'[{"id": 1}]'])
@pytest.mark.parametrize("path", READS)
def test_a_wrong_body_is_never_an_empty_wallet_or_list(peer: Any, client: Any, path: str, body: bytes) -> None:
    serve_payments(peer, [])
    peer.queue(path, times=ATTEMPTS, body=body)
    with pytest.raises(VenueShape):
        READS[path](client)


def test_what_is_held_now_has_a_certificate_for_each_wallet(peer: Any, client: Any) -> None:
    peer.routes["/api/v3/account"] = lambda _: {"balances": [{"asset": "BTC", "free": "1", "locked": "2"}]}
    usdt = {"asset": "USDT", "walletBalance": "7.5", "marginBalance": "9", "maintMargin": "2"}
    peer.routes["/fapi/v3/account"] = lambda _: {"assets": [usdt]}
    legs = [("1", "50"), ("-4", "130"), ("0", "0")]
    peer.routes["/fapi/v3/positionRisk"] = lambda _: [
        {"symbol": "BTCUSDT", "positionAmt": held, "markPrice": "100", "liquidationPrice": price}
        for held, price in legs
    ]
    spot, futures, contracts = client.holdings()
    assert (spot.rows.account, spot.rows.balances) == ("spot", {"BTC": "3"})
    assert (futures.rows.balances, contracts.rows.positions) == ({"USDT": "7.5"}, {"BTC/USDT:USDT": "-3"})
    assert futures.rows.margins == {"USDT": Margin("9", "2")}
    # Of two legs the one that the venue would close first, and none of a flat one.
    assert contracts.rows.marks == {"BTC/USDT:USDT": Mark("100", "130")}
    assert all(each.certificate.complete and each.certificate.genuine for each in (spot, futures, contracts))


def test_the_account_is_not_read_without_a_key(peer: Any, client: Any) -> None:
    peer.queue(SNAPSHOTS, status=401, body={"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
    with pytest.raises(VenueRejected, match="check the API key"):
        client.statements(START, START)
