"""What the strict client returns, refuses and proves, against a peer that commits one exact fault at a time."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from research_to_prod.lake.schema import SchemaError
from research_to_prod.market_data.contracts import FUNDING_RATES, RAW_CANDLES
from research_to_prod.market_data.reads import ATTEMPTS
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import (
    Credentials,
    VenueError,
    VenueRejected,
    VenueShape,
    VenueUnavailable,
    VenueUnknown,
    connect,
)

HOUR = 3_600_000
START = datetime(2023, 6, 1, tzinfo=UTC)
END = datetime(2023, 7, 1, tzinfo=UTC)
T0 = int(START.timestamp() * 1000)
KLINES = "/api/v3/klines"
SPOT_TRADES = "/api/v3/myTrades"
SWAP_TRADES = "/fapi/v1/userTrades"


def fetch(client: Any, start: datetime = START, end: datetime = END) -> Any:
    return client.candles("BTC/USDT", "1h", start, end)


def opens(fetched: Any) -> list[int]:
    return [int(ts.timestamp() * 1000) for ts in fetched.rows["ts"].to_pylist()]


# Pages and their proven end


def test_an_empty_page_proves_the_end(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(30)])
    fetched = fetch(client)
    assert opens(fetched) == [T0 + i * HOUR for i in range(30)]
    assert (fetched.certificate.terminal, fetched.certificate.pages, fetched.certificate.rows) == ("empty_page", 2, 30)
    assert fetched.certificate.complete
    assert (fetched.certificate.interval_start, fetched.certificate.interval_end) == (START, END)
    RAW_CANDLES.conform(fetched.rows, "2023-06")


def test_a_venue_with_shorter_pages_than_asked_for_loses_nothing(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(720)])
    whole = peer.routes[KLINES]
    peer.routes[KLINES] = lambda query: whole(query)[:200]
    fetched = fetch(client)
    assert opens(fetched) == [T0 + i * HOUR for i in range(720)]
    assert (fetched.certificate.terminal, fetched.certificate.pages) == ("end_reached", 4)


def test_an_interval_of_exactly_one_full_page_ends_at_its_last_bar(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(2000)])
    fetched = fetch(client, end=START + timedelta(hours=1000))
    assert fetched.rows.num_rows == 1000
    assert (fetched.certificate.terminal, len(peer.asked(KLINES))) == ("end_reached", 1)


def test_a_full_page_before_the_end_is_followed_by_an_empty_one(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(1000)])
    fetched = fetch(client, end=START + timedelta(hours=1500))
    assert fetched.rows.num_rows == 1000
    assert (fetched.certificate.terminal, fetched.certificate.pages) == ("empty_page", 2)


def test_pages_join_without_loss_or_repetition(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(3000)])
    fetched = fetch(client, end=START + timedelta(hours=2500))
    assert opens(fetched) == [T0 + i * HOUR for i in range(2500)]
    assert [int(each["startTime"]) for each in peer.asked(KLINES)] == [T0, T0 + 999 * HOUR + 1, T0 + 1999 * HOUR + 1]
    assert fetched.rows["page"].to_pylist() == [0] * 1000 + [1] * 1000 + [2] * 500
    assert fetched.rows["row"].to_pylist() == [*range(1000), *range(1000), *range(500)]


def test_a_page_that_repeats_is_an_error(peer: Any, client: Any, kline: Any) -> None:
    peer.routes[KLINES] = lambda _: [kline(T0 + i * HOUR) for i in range(1000)]
    with pytest.raises(VenueUnknown, match="repeats"):
        fetch(client, end=START + timedelta(hours=2500))


def test_rows_outside_the_interval_are_an_error(peer: Any, client: Any, kline: Any) -> None:
    peer.routes[KLINES] = lambda _: [kline(T0 - HOUR), kline(T0)]
    with pytest.raises(VenueUnknown, match="1 rows lie outside"):
        fetch(client)


def test_duplicate_and_disordered_rows_are_kept_as_sent(peer: Any, client: Any, kline: Any) -> None:
    sent = [kline(T0 + HOUR), kline(T0), kline(T0), kline(T0 + 2 * HOUR, close="10.9")]
    peer.serve_once(KLINES, sent)
    fetched = fetch(client)
    assert opens(fetched) == [T0 + HOUR, T0, T0, T0 + 2 * HOUR]
    assert fetched.rows["close"].to_pylist() == [10.5, 10.5, 10.5, 10.9]
    assert fetched.rows["row"].to_pylist() == [0, 1, 2, 3]


def test_a_bar_still_open_by_the_venues_clock_is_not_fetched(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(100)])
    peer.now = T0 + 10 * HOUR + HOUR // 2
    fetched = fetch(client)
    assert opens(fetched)[-1] == T0 + 9 * HOUR
    assert fetched.certificate.interval_end == START + timedelta(hours=10)


def test_the_same_answer_has_the_same_fetch_id_and_another_answer_another(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0)])
    first = fetch(client).certificate
    peer.now += 5000
    second = fetch(client).certificate
    assert first.fetch_id == second.fetch_id
    assert first.venue_clock_before != second.venue_clock_before
    peer.serve_klines([kline(T0, close="10.6")])
    assert fetch(client).certificate.fetch_id != first.fetch_id


def test_an_interval_in_the_future_is_empty_and_says_so(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0)])
    fetched = fetch(client, start=datetime(2025, 1, 1, tzinfo=UTC), end=datetime(2025, 2, 1, tzinfo=UTC))
    assert (fetched.rows.num_rows, fetched.certificate.terminal) == (0, "empty_interval")
    assert fetched.certificate.interval_start == fetched.certificate.interval_end
    assert not peer.asked(KLINES)


# Bodies that ccxt would parse into nothing

WRONG_BODIES = {
    "html": b"<html><body>maintenance</body></html>",
    "empty": b"",
    "object": b"{}",
    "wrapped": b'{"data": []}',
    "code_zero": b'{"code": 0}',
    "null": b"null",
    "cut": b'[[1685577600000, "10", "11", "9", "10.5", "3.5"',
    "rows_of_six": b'[[1685577600000, "10", "11", "9", "10.5", "3.5"]]',
    "text_for_a_price": b'[[1685577600000, "ten", "11", "9", "10.5", "3.5", 1, "36", 12, "1", "10", "0"]]',
    "text_for_a_time": b'[["now", "10", "11", "9", "10.5", "3.5", 1, "36", 12, "1", "10", "0"]]',
}


@pytest.mark.parametrize("body", WRONG_BODIES.values(), ids=WRONG_BODIES.keys())
def test_a_wrong_body_is_never_an_empty_market(peer: Any, client: Any, waits: list[float], body: bytes) -> None:
    peer.queue(KLINES, times=ATTEMPTS, body=body)
    with pytest.raises(VenueShape):
        fetch(client)
    assert len(waits) == ATTEMPTS - 1


def test_a_wrong_body_that_heals_is_read_again(peer: Any, client: Any, kline: Any, waits: list[float]) -> None:
    peer.serve_klines([kline(T0)])
    for body in (b"", b"<html>", b'[["'):
        peer.queue(KLINES, body=body)
    assert fetch(client).rows.num_rows == 1
    assert waits == [0.5, 1.0, 2.0]


def test_a_market_list_without_symbols_is_an_error(peer: Any, client: Any) -> None:
    peer.queue("/api/v3/exchangeInfo", times=ATTEMPTS, body={"symbols": []})
    with pytest.raises(VenueShape, match="symbols is an empty list"):
        fetch(client)


def test_what_ccxt_cannot_parse_is_a_wrong_shape(peer: Any, client: Any) -> None:
    listed = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": [7]}
    peer.queue("/api/v3/exchangeInfo", times=ATTEMPTS, body={"symbols": [listed]})
    with pytest.raises(VenueShape, match="could not parse"):
        fetch(client)


def test_a_clock_without_a_time_is_an_error(peer: Any, client: Any) -> None:
    peer.queue("/fapi/v1/time", times=ATTEMPTS, body={})
    with pytest.raises(VenueShape, match="serverTime"):
        client.clock("BTC/USDT:USDT")


# Failures in transit


def test_rate_limit_waits_as_long_as_the_venue_asks(peer: Any, client: Any, kline: Any, waits: list[float]) -> None:
    peer.serve_klines([kline(T0)])
    peer.queue(KLINES, status=429, body={"code": -1003, "msg": "slow down"}, headers={"Retry-After": "7"})
    assert fetch(client).rows.num_rows == 1
    assert waits == [7.0]


def test_retry_after_may_be_a_date(peer: Any, client: Any, kline: Any, waits: list[float]) -> None:
    peer.serve_klines([kline(T0)])
    when = datetime.now(UTC) + timedelta(seconds=30)
    peer.queue(KLINES, status=429, headers={"Retry-After": when.strftime("%a, %d %b %Y %H:%M:%S GMT")})
    fetch(client)
    assert waits == [pytest.approx(30.0, abs=2.0)]


def test_a_wait_beyond_patience_ends_the_fetch(peer: Any, client: Any, waits: list[float]) -> None:
    peer.queue(KLINES, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(VenueUnavailable, match="429"):
        fetch(client)
    assert waits == []


def test_a_ban_stops_the_venue(peer: Any, client: Any, kline: Any, waits: list[float]) -> None:
    peer.serve_klines([kline(T0)])
    peer.queue(KLINES, status=418, body={"code": -1003, "msg": "banned"}, headers={"Retry-After": "120"})
    with pytest.raises(VenueRejected, match=r"banned this address.*120"):
        fetch(client)
    before = len(peer.requests)
    with pytest.raises(VenueRejected, match="banned this address"):
        fetch(client)
    assert (len(peer.requests), waits) == (before, [])


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_fault_is_read_again(peer: Any, client: Any, kline: Any, waits: list[float], status: int) -> None:
    peer.serve_klines([kline(T0)])
    peer.queue(KLINES, times=2, status=status, body=b"<html>bad gateway</html>")
    assert fetch(client).rows.num_rows == 1
    assert waits == [0.5, 1.0]


def test_a_transient_code_is_read_again_whatever_its_status(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0)])
    peer.queue(KLINES, status=400, body={"code": -1016, "msg": "This service is no longer available."})
    peer.queue(KLINES, status=503, body={"code": -1008, "msg": "Server is currently overloaded."})
    assert fetch(client).rows.num_rows == 1


def test_reset_and_short_bodies_are_read_again(peer: Any, client: Any, kline: Any, waits: list[float]) -> None:
    peer.serve_klines([kline(T0)])
    peer.queue(KLINES, reset=True)
    peer.queue(KLINES, body=[kline(T0)], missing_bytes=100)
    assert fetch(client).rows.num_rows == 1
    assert waits == [0.5, 1.0]


def test_a_venue_that_stays_down_is_unavailable_after_bounded_attempts(peer: Any, client: Any) -> None:
    peer.queue(KLINES, times=100, status=502)
    with pytest.raises(VenueUnavailable):
        fetch(client)
    assert len(peer.asked(KLINES)) == ATTEMPTS


def test_a_fault_on_the_second_page_returns_nothing(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(2000)])
    first = peer.routes[KLINES]
    peer.routes[KLINES] = lambda query: first(query) if int(query["startTime"]) == T0 else {}
    with pytest.raises(VenueShape):
        fetch(client, end=START + timedelta(hours=2000))


# Definitive answers


def test_an_unknown_symbol_is_rejected_at_once(client: Any, waits: list[float]) -> None:
    with pytest.raises(VenueRejected, match="does not list 'NOPE/USDT'"):
        client.candles("NOPE/USDT", "1h", START, END)
    assert waits == []


def test_a_symbol_that_the_venue_refuses_is_rejected_at_once(peer: Any, client: Any, waits: list[float]) -> None:
    peer.queue(KLINES, status=400, body={"code": -1121, "msg": "Invalid symbol."})
    with pytest.raises(VenueRejected, match="Invalid symbol"):
        fetch(client)
    assert waits == []


def test_a_refusal_with_status_200_is_rejected(peer: Any, client: Any) -> None:
    peer.queue(KLINES, body={"code": -1121, "msg": "Invalid symbol."})
    with pytest.raises(VenueRejected):
        fetch(client)


def test_an_exchange_without_a_strict_client_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no strict client for ccxt 'gate', only for binance, kraken"):
        VenueSpec(name="gate", ccxt="gate")
    with pytest.raises(ValueError, match="no strict client for ccxt 'gate'"):
        connect(VenueSpec.model_construct(name="gate", ccxt="gate", rate_limit_ms=None))


# Funding


def funding(ts: int, rate: str = "0.0001", **extra: Any) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "fundingTime": ts, "fundingRate": rate, **extra}


def test_funding_keeps_the_venues_milliseconds_and_an_empty_mark_price_is_null(peer: Any, client: Any) -> None:
    sent = [funding(T0 + 8, markPrice=""), funding(T0 + 8 * HOUR + 3, "-0.00025", markPrice="27000.5")]
    peer.serve_once("/fapi/v1/fundingRate", sent)
    fetched = client.funding_rates("BTC/USDT:USDT", START, END)
    rows = FUNDING_RATES.conform(fetched.rows, "2023-06").to_pylist()
    assert [(row["rate"], row["mark_price"]) for row in rows] == [(0.0001, None), (-0.00025, 27000.5)]
    assert rows[0]["ts"] == START + timedelta(milliseconds=8)
    assert fetched.certificate.terminal == "empty_page"


def test_funding_of_another_market_is_an_error(peer: Any, client: Any) -> None:
    peer.serve_once("/fapi/v1/fundingRate", [funding(T0) | {"symbol": "ETHUSDT"}])
    with pytest.raises(VenueShape, match="ETHUSDT"):
        client.funding_rates("BTC/USDT:USDT", START, END)


def test_a_spot_market_has_no_funding(client: Any) -> None:
    with pytest.raises(VenueRejected, match="no funding"):
        client.funding_rates("BTC/USDT", START, END)


# The account's trades


def trade(number: int, ts: int, **extra: Any) -> dict[str, Any]:
    row = {"symbol": "BTCUSDT", "id": number, "orderId": 77, "price": "27000.12345678", "qty": "0.00100000"}
    row |= {"quoteQty": "27.00012346", "commission": "0.02700012", "commissionAsset": "USDT", "time": ts}
    return row | {"isBuyer": True, "isMaker": False, "isBestMatch": True} | extra


def swap_trade(number: int, ts: int) -> dict[str, Any]:
    row = {key: value for key, value in trade(number, ts).items() if not key.startswith("is")}
    return row | {"side": "SELL", "buyer": False, "maker": True, "positionSide": "BOTH", "realizedPnl": "0"}


def serve_trades(peer: Any, path: str, rows: list[dict[str, Any]], window: int) -> None:
    def answer(query: dict[str, str]) -> list[dict[str, Any]]:
        assert "signature" in query
        assert not ("fromId" in query and "startTime" in query)
        if "fromId" in query:
            chosen = [row for row in rows if row["id"] >= int(query["fromId"])]
        else:
            start, end = int(query["startTime"]), int(query["endTime"])
            assert end - start <= window
            chosen = [row for row in rows if start <= row["time"] <= end]
        return chosen[: int(query["limit"])]

    peer.routes[path] = answer


@pytest.mark.parametrize(
    ("path", "symbol", "window", "make"),
    [(SPOT_TRADES, "BTC/USDT", 24 * HOUR, trade), (SWAP_TRADES, "BTC/USDT:USDT", 7 * 24 * HOUR, swap_trade)],
)
def test_trades_that_share_milliseconds_across_pages_are_each_returned_once(
    peer: Any, client: Any, path: str, symbol: str, window: int, make: Any
) -> None:
    # 2,500 trades in groups of seven to the millisecond: a time cursor loses some at each page's edge.
    rows = [make(1000 + i, T0 + 5 + i // 7) for i in range(2500)]
    serve_trades(peer, path, [make(1, T0 - 1), *rows, make(9999, T0 + 40 * 24 * HOUR)], window)
    fetched = client.my_trades(symbol, START, END)
    assert [int(row["id"]) for row in fetched.rows] == [row["id"] for row in rows]
    assert fetched.certificate.rows == 2500


def test_quiet_windows_are_searched_until_the_first_trade(peer: Any, client: Any) -> None:
    serve_trades(peer, SPOT_TRADES, [trade(1, T0 + 50 * HOUR), trade(2, T0 + 90 * HOUR)], 24 * HOUR)
    fetched = client.my_trades("BTC/USDT", START, START + timedelta(days=4))
    assert [row["id"] for row in fetched.rows] == ["1", "2"]
    # Two quiet days and the end are each told three times before they are believed.
    assert ["fromId" in query for query in peer.asked(SPOT_TRADES)] == [False] * 7 + [True] * 4
    assert fetched.certificate.terminal == "empty_page"


def test_one_trade_past_the_end_proves_it_without_fetching_what_follows(peer: Any, client: Any) -> None:
    rows = [trade(1 + i, T0 + i * HOUR) for i in range(500)]
    serve_trades(peer, SPOT_TRADES, rows, 24 * HOUR)
    fetched = client.my_trades("BTC/USDT", START, START + timedelta(days=1))
    assert [row["id"] for row in fetched.rows] == [str(1 + i) for i in range(24)]
    assert [query["limit"] for query in peer.asked(SPOT_TRADES)] == ["1000", "1"]
    assert fetched.certificate.terminal == "end_reached"


def test_shorter_pages_of_trades_than_asked_for_lose_nothing(peer: Any, client: Any) -> None:
    rows = [trade(1 + i, T0 + i // 3) for i in range(100)]
    serve_trades(peer, SPOT_TRADES, rows, 24 * HOUR)
    whole = peer.routes[SPOT_TRADES]
    peer.routes[SPOT_TRADES] = lambda query: whole(query)[:7]
    assert len(client.my_trades("BTC/USDT", START, START + timedelta(days=1)).rows) == 100


def test_amounts_of_trades_are_exact_text(peer: Any, client: Any) -> None:
    serve_trades(peer, SPOT_TRADES, [trade(1, T0)], 24 * HOUR)
    row = client.my_trades("BTC/USDT", START, START + timedelta(days=1)).rows[0]
    assert (row["price"], row["amount"]) == ("27000.12345678", "0.00100000")
    assert (row["fee"]["cost"], row["fee"]["currency"]) == ("0.02700012", "USDT")
    assert (row["side"], row["takerOrMaker"], row["order"], row["symbol"]) == ("buy", "taker", "77", "BTC/USDT")


def test_a_trade_sent_twice_alike_is_one_trade(peer: Any, client: Any) -> None:
    peer.serve_once(SPOT_TRADES, [trade(1, T0), trade(1, T0)])
    assert len(client.my_trades("BTC/USDT", START, START + timedelta(days=1)).rows) == 1


def test_a_trade_sent_with_two_contents_is_an_error(peer: Any, client: Any) -> None:
    peer.routes[SPOT_TRADES] = lambda _: [trade(1, T0), trade(1, T0, qty="2")]
    with pytest.raises(VenueUnknown, match="two different contents"):
        client.my_trades("BTC/USDT", START, START + timedelta(days=1))


def test_a_venue_that_ignores_the_id_cursor_is_caught(peer: Any, client: Any) -> None:
    peer.routes[SPOT_TRADES] = lambda _: [trade(i, T0 + i) for i in range(1000)]
    with pytest.raises(VenueUnknown, match="cursor does not hold"):
        client.my_trades("BTC/USDT", START, START + timedelta(days=1))


@pytest.mark.parametrize("body", [b"<html>", b"", b"{}", b"null", b'[{"id": 1}]', b'[{"id": 1, "ti'])
def test_a_wrong_body_is_never_no_trades(peer: Any, client: Any, body: bytes) -> None:
    peer.queue(SPOT_TRADES, times=ATTEMPTS, body=body)
    with pytest.raises(VenueShape):
        client.my_trades("BTC/USDT", START, START + timedelta(days=1))


def test_an_empty_answer_of_the_right_shape_is_certified_absence(peer: Any, client: Any) -> None:
    serve_trades(peer, SPOT_TRADES, [], 24 * HOUR)
    fetched = client.my_trades("BTC/USDT", START, START + timedelta(days=1))
    assert (fetched.rows, fetched.certificate.complete, fetched.certificate.pages) == ((), True, 1)


def test_a_drifted_clock_is_measured_again(peer: Any, client: Any) -> None:
    serve_trades(peer, SPOT_TRADES, [trade(1, T0)], 24 * HOUR)
    peer.queue(SPOT_TRADES, status=400, body={"code": -1021, "msg": "Timestamp outside recvWindow"})
    client.my_trades("BTC/USDT", START, START + timedelta(days=1))
    paths = [path for path, _ in peer.requests]
    refused = paths.index(SPOT_TRADES)
    assert paths[refused + 1 : refused + 3] == ["/api/v3/time", SPOT_TRADES]


# Secrets

FAULTS: dict[str, dict[str, Any]] = {
    "html": {"body": b"<html>"},
    "empty": {"body": b""},
    "object": {"body": b"{}"},
    "echo": {"status": 502, "body": b"X-MBX-APIKEY: canaryKEYcanaryKEYcanaryKEYcanaryKEY signature=deadbeef"},
    "bad_key": {"status": 401, "body": {"code": -2015, "msg": "Invalid API-key"}},
    "bad_signature": {"status": 400, "body": {"code": -1022, "msg": "Signature for this request is not valid."}},
    "skew": {"status": 400, "body": {"code": -1021, "msg": "Timestamp outside recvWindow"}},
    "forbidden": {"status": 403, "body": b"<html>WAF</html>"},
    "slow_down": {"status": 429, "headers": {"Retry-After": "1"}},
    "ban": {"status": 418},
    "down": {"status": 503},
    "reset": {"reset": True},
    "short": {"body": b"[]", "missing_bytes": 5},
    "redirect": {"status": 302, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
    "wrong_type": {"body": [trade(1, T0, commissionAsset=["no", "text"])]},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_no_failure_shows_a_secret(
    peer: Any, client: Any, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    peer.queue(SPOT_TRADES, times=ATTEMPTS, **fault)
    with pytest.raises(VenueError) as caught:
        client.my_trades("BTC/USDT", START, START + timedelta(days=1))
    signatures = [query["signature"] for query in peer.asked(SPOT_TRADES)]
    assert signatures, "the fault must hit a signed request"
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(client) + caplog.text
    error: BaseException | None = caught.value
    while error is not None:
        shown += repr(error.args)
        error = error.__cause__ or error.__context__
    for secret in ("canaryKEY", "canarySECRET", "deadbeef", *signatures):
        assert secret not in shown


def test_credentials_come_from_named_variables_and_do_not_show() -> None:
    spec = VenueSpec(name="peer", ccxt="binance", key_variable="PEER_KEY", secret_variable="PEER_SECRET")  # noqa: S106
    credentials = Credentials.from_environment(spec, {"PEER_KEY": "canaryKEY", "PEER_SECRET": "canarySECRET"})
    assert "canary" not in repr(credentials)
    assert credentials is not None
    assert credentials.secret.get_secret_value() == "canarySECRET"
    with pytest.raises(ValueError, match="PEER_SECRET"):
        Credentials.from_environment(spec, {"PEER_KEY": "x"})
    assert Credentials.from_environment(VenueSpec(name="peer", ccxt="binance"), {}) is None


def test_the_raw_rows_of_another_month_do_not_conform(peer: Any, client: Any, kline: Any) -> None:
    peer.serve_klines([kline(T0)])
    with pytest.raises(SchemaError):
        RAW_CANDLES.conform(fetch(client).rows, "2023-07")


def test_bodies_are_hashed_as_received(peer: Any, client: Any, kline: Any) -> None:
    import hashlib

    body = json.dumps([kline(T0)]).encode()
    peer.serve_once(KLINES, body)
    pages = "".join(hashlib.sha256(each).hexdigest() for each in (body, b"[]"))
    assert fetch(client).certificate.body_sha256 == hashlib.sha256(pages.encode()).hexdigest()
