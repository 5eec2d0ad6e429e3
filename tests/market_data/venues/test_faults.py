"""What each venue's client makes of failures: never absence, never a second send, never a secret shown."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from research_to_prod.market_data.classifier import EndpointKind, Outcome
from research_to_prod.market_data.dialects import dialect
from research_to_prod.market_data.reads import ATTEMPTS
from research_to_prod.market_data.shapes import Contract, record
from research_to_prod.market_data.venue import (
    Credentials,
    VenueError,
    VenueRejected,
    VenueShape,
    VenueUnavailable,
    VenueUnknown,
    connect,
)

START = datetime(2023, 6, 1, tzinfo=UTC)
END = START + timedelta(hours=24)

# Bodies with status 200 that ccxt would parse into nothing.
WRONG_BODIES = {
    "html": b"<html><body>maintenance</body></html>",
    "empty": b"",
    "null": b"null",
    "text": b'"ok"',
    "object": b"{}",
    "list": b"[]",
    "list_of_null": b"[null]",
    "wrapped": b'{"data": []}',
    "code_zero": b'{"code": 0}',
    "okx_null": b'{"code": "0", "data": null, "msg": ""}',
    "okx_rows_of_null": b'{"code": "0", "data": [null], "msg": ""}',
    "okx_code_two": b'{"code": "2", "data": [], "msg": ""}',
    "bybit_null": b'{"retCode": 0, "retMsg": "OK", "result": null}',
    "bybit_empty": b'{"retCode": 0, "retMsg": "OK", "result": {}}',
    "bybit_rows_of_null": b'{"retCode": 0, "result": {"category": "spot", "symbol": "BTCUSDT", "list": [null]}}',
    "kraken_null": b'{"error": [], "result": null}',
    "kraken_empty": b'{"error": [], "result": {}}',
    "kraken_last_only": b'{"error": [], "result": {"last": 1}}',
    "kraken_no_error_list": b'{"error": null, "result": {}}',
    "coinbase_null": b'{"candles": null, "trades": null}',
    "coinbase_rows_of_null": b'{"candles": [null], "trades": [null]}',
    "cut": b'{"error": [], "code": "0", "retCode": 0, "result": {"XXBTZUSD": [[168557',
}


@pytest.mark.parametrize("what", ["candles", "trades"])
def test_a_wrong_body_is_never_an_empty_series(venue: Any, what: str) -> None:
    client = venue.client()
    for name, body in WRONG_BODIES.items():
        if (venue.name, name) == ("binance", "list"):
            continue  # Binance's true form of "no rows"; the next test holds it.
        venue.peer.queue(venue.paths[what], times=ATTEMPTS, body=body)
        with pytest.raises(VenueError) as caught:
            read(venue, what, client)
        # A code of the venue's own is its refusal; everything else is a shape that ccxt never gets to see.
        coded = name == "okx_code_two" and venue.name in {"okx", "binance"}
        assert isinstance(caught.value, VenueRejected if coded else VenueShape), name
        venue.peer.faults.clear()


@pytest.mark.parametrize("venue", ["binance"], indirect=True)
def test_an_empty_list_is_no_rows_where_the_venue_says_so(venue: Any) -> None:
    for what in ("candles", "trades"):
        venue.peer.routes[venue.paths[what]] = lambda _: []
        assert read(venue, what).certificate.terminal == "empty_page"


def read(venue: Any, what: str, client: Any = None) -> Any:
    client = client or venue.client()
    return client.candles(venue.spot, "1h", START, END) if what == "candles" else client.trades(venue.spot, START, END)


TRANSIT = {
    "reset": {"reset": True},
    "short": {"body": b"[]", "missing_bytes": 5},
    "down": {"status": 503, "body": b"<html>down</html>"},
    "gateway": {"status": 502},
    "slow_down": {"status": 429, "headers": {"Retry-After": "7"}},
    "html": {"body": b"<html>"},
    "empty": {"body": b""},
}


@pytest.mark.parametrize("fault", TRANSIT.values(), ids=TRANSIT.keys())
def test_what_fails_in_transit_is_read_again_and_whole(venue: Any, fault: dict[str, Any]) -> None:
    venue.peer.queue(venue.paths["candles"], times=2, **fault)
    assert read(venue, "candles").rows.num_rows == 24
    assert venue.waits == ([7.0, 7.0] if fault.get("status") == 429 else [0.5, 1.0])


def test_a_venue_that_stays_down_is_unavailable_after_bounded_attempts(venue: Any) -> None:
    venue.peer.queue(venue.paths["candles"], times=100, status=502)
    with pytest.raises(VenueUnavailable) as caught:
        read(venue, "candles")
    assert len(venue.peer.asked(venue.paths["candles"])) == ATTEMPTS
    assert caught.value.outcome is Outcome.RETRY_READ


BUSY = {
    "binance": {"status": 503, "body": {"code": -1008, "msg": "overloaded"}},
    "kraken": {"body": {"error": ["EAPI:Rate limit exceeded"]}},
    "okx": {"body": {"code": "50011", "msg": "Too Many Requests", "data": []}},
    "bybit": {"body": {"retCode": 10006, "retMsg": "Too many visits!", "result": {}}},
    "coinbase": {"status": 429, "body": {"error": "rate_limit", "message": "slow down"}},
}
MAINTENANCE = {
    "binance": {"status": 400, "body": {"code": -1016, "msg": "This service is no longer available."}},
    "kraken": {"body": {"error": ["EService:Market in cancel_only mode"]}},
}
REFUSED = {
    "binance": {"status": 400, "body": {"code": -1121, "msg": "Invalid symbol."}},
    "kraken": {"body": {"error": ["EQuery:Unknown asset pair"]}},
    "okx": {"body": {"code": "51001", "msg": "Instrument ID does not exist", "data": []}},
    "bybit": {"body": {"retCode": 10001, "retMsg": "params error", "result": {}}},
    "coinbase": {"status": 404, "body": {"error": "NOT_FOUND", "message": "product not found"}},
}
BAD_KEY = {
    "binance": {"status": 401, "body": {"code": -2015, "msg": "Invalid API-key"}},
    "kraken": {"body": {"error": ["EAPI:Invalid key"]}},
    "okx": {"status": 401, "body": {"code": "50111", "msg": "Invalid OK-ACCESS-KEY", "data": []}},
    "bybit": {"body": {"retCode": 10003, "retMsg": "API key is invalid.", "result": {}}},
    "coinbase": {"status": 401, "body": b"Unauthorized"},
}
SKEWED = {
    "binance": {"status": 400, "body": {"code": -1021, "msg": "Timestamp outside recvWindow"}},
    "okx": {"status": 401, "body": {"code": "50102", "msg": "Timestamp request expired", "data": []}},
    "bybit": {"body": {"retCode": 10002, "retMsg": "invalid request, check your timestamp", "result": {}}},
}


def test_a_venue_that_says_not_now_is_asked_again_after_a_pause(venue: Any) -> None:
    for fault in (BUSY[venue.name], MAINTENANCE.get(venue.name)):
        if fault is not None:
            venue.peer.queue(venue.paths["candles"], **fault)
    assert read(venue, "candles").rows.num_rows == 24
    assert venue.waits[0] == 1.0


def test_a_definitive_refusal_is_not_asked_again(venue: Any) -> None:
    venue.peer.queue(venue.paths["candles"], times=3, **REFUSED[venue.name])
    with pytest.raises(VenueRejected) as caught:
        read(venue, "candles")
    assert caught.value.outcome is Outcome.DEFINITIVE_REJECT
    assert (len(venue.peer.asked(venue.paths["candles"])), venue.waits) == (1, [])


def test_a_bad_key_is_not_tried_again(venue: Any) -> None:
    client = venue.client(signed=True)
    client.instruments()
    before = len(venue.peer.asked(venue.paths["fees"]))
    venue.peer.queue(venue.paths["fees"], times=3, **BAD_KEY[venue.name])
    with pytest.raises(VenueRejected, match="check the API key") as caught:
        client.fees(venue.spot)
    assert caught.value.outcome is Outcome.AUTH
    assert (len(venue.peer.asked(venue.paths["fees"])) - before, venue.waits) == (1, [])


def counted(client: Any, *counts: str) -> tuple[int, ...]:
    return tuple(sum(getattr(each, name) for each in client.heard) for name in counts)


def test_signed_requests_are_counted_as_such_and_others_not(venue: Any) -> None:
    unsigned, client = venue.client(), venue.client(signed=True)
    unsigned.instruments()
    assert counted(unsigned, "signed") == (0,)
    client.instruments()
    (before,) = counted(client, "signed")
    client.fees(venue.spot)
    assert counted(client, "signed") == (before + 1,)


def test_what_a_venue_calls_its_own_failure_is_counted_and_a_wish_to_be_asked_less_is_not(venue: Any) -> None:
    client = venue.client()
    failures = [each for each in (MAINTENANCE.get(venue.name), {"status": 502}) if each is not None]
    # Binance calls its overload an error of its servers, by its status.
    pauses = [] if venue.name == "binance" else [BUSY[venue.name]]
    for fault in (*failures, *pauses):
        venue.peer.queue(venue.paths["candles"], **fault)
    read(venue, "candles", client)
    assert counted(client, "server_errors") == (len(failures),)


@pytest.mark.parametrize("venue", SKEWED, indirect=True)
def test_a_drifted_clock_is_measured_again(venue: Any) -> None:
    client = venue.client(signed=True)
    client.instruments()
    venue.peer.queue(venue.paths["fees"], **SKEWED[venue.name])
    client.fees(venue.spot)
    assert counted(client, "clock_refusals", "server_errors") == (1, 0)
    paths = [path for path, _ in venue.peer.requests]
    refused = paths.index(venue.paths["fees"])
    assert paths[refused + 1 : refused + 3] == [venue.paths["clock"], venue.paths["fees"]]


def test_a_secret_that_cannot_sign_is_refused_without_a_request(venue: Any) -> None:
    # Kraken's signer needs base64; the others sign with any text.
    given = {"key": "k", "secret": "not base64 canarySECRET", "passphrase": "p"}
    credentials = Credentials.model_validate(given)
    client = connect(venue.spec, base_url=venue.peer.base_url, credentials=credentials, sleep=venue.waits.append)
    if venue.name != "kraken":
        assert client.fees(venue.spot)
        return
    with pytest.raises(VenueRejected, match="could not be signed") as caught:
        client.fees(venue.spot)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert venue.peer.asked(venue.paths["fees"]) == []


def test_a_path_without_a_contract_is_refused_before_it_is_sent(venue: Any) -> None:
    method = {"binance": "publicGetTicker24hr", "kraken": "publicGetTicker", "okx": "publicGetMarketTickers"}
    method |= {"bybit": "publicGetV5MarketTickers", "coinbase": "v3PublicGetBrokerageMarketProductsProductId"}
    with pytest.raises(VenueRejected, match="has no contract; this client knows only"):
        venue.client()._transport.get(method[venue.name], {"product_id": "BTC-USD"})
    assert venue.peer.requests == []


# Nothing that is not idempotent is ever repeated

ORDERS = {
    "binance": ("privatePostOrder", "/api/v3/order", {"symbol": "BTCUSDT"}),
    "kraken": ("privatePostAddOrder", "/0/private/AddOrder", {"pair": "XXBTZUSD"}),
    "okx": ("privatePostTradeOrder", "/api/v5/trade/order", {"instId": "BTC-USDT"}),
    "bybit": ("privatePostV5OrderCreate", "/v5/order/create", {"symbol": "BTCUSDT"}),
    "coinbase": ("v3PrivatePostBrokerageOrders", "/api/v3/brokerage/orders", {"product_id": "BTC-USD"}),
}
ORDER_FAULTS = TRANSIT | {
    "cut": {"body": b'{"orderId": 7, "clie'},
    "forbidden": {"status": 403, "body": b"<html>WAF</html>"},
    "wrong_shape": {"body": b"[]"},
}


@pytest.mark.parametrize("fault", ORDER_FAULTS.values(), ids=ORDER_FAULTS.keys())
def test_an_order_is_sent_once_whatever_happens(
    venue: Any, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No order is sent by this client today; the guard is held for the day on which one is.
    method, path, parameters = ORDERS[venue.name]
    spoken = type(dialect(venue.name))
    order = Contract(record(), "POST", EndpointKind.ORDER)
    monkeypatch.setattr(spoken, "contracts", {**spoken.contracts, path: order})
    client = venue.client(signed=True)
    # ccxt's own switch, which re-POSTs orders after a network error.
    client._transport._exchange.options["maxRetriesOnFailure"] = 3
    venue.peer.queue(path, times=ATTEMPTS, **fault)
    with pytest.raises(VenueError) as caught:
        client._read(method, parameters)
    assert (len(venue.peer.asked(path)), venue.waits) == (1, [])
    assert not caught.value.retryable
    limited = fault.get("status") == 429
    refused = venue.name == "coinbase" and fault.get("status") == 403
    if not limited and not refused:
        assert isinstance(caught.value, VenueUnknown)


# Secrets


def signatures(peer: Any) -> Iterator[str]:
    names = {"api-sign", "ok-access-sign", "x-bapi-sign", "cb-access-sign"}
    for headers in peer.headers:
        yield from (value for name, value in headers.items() if name.lower() in names)
    yield from (query["signature"] for _, query in peer.requests if "signature" in query)


def is_plain(value: str) -> bool:
    return "canary" not in value and len(value) < 40


SECRET_FAULTS = {
    **{
        name: {"body": body}
        for name, body in WRONG_BODIES.items()
        if name in {"html", "empty", "object", "cut", "null"}
    },
    "forbidden": {"status": 403, "body": b"<html>WAF</html>"},
    "unauthorized": {"status": 401, "body": b"no"},
    "slow_down": {"status": 429, "headers": {"Retry-After": "1"}},
    "ban": {"status": 418},
    "down": {"status": 503},
    "reset": {"reset": True},
    "short": {"body": b"[]", "missing_bytes": 5},
    "redirect": {"status": 302, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
}
OWN_FAULTS = {"busy": BUSY, "refused": REFUSED, "bad_key": BAD_KEY, "skewed": SKEWED, "maintenance": MAINTENANCE}


@pytest.mark.parametrize(
    "fault", [*SECRET_FAULTS, *OWN_FAULTS, "echo_502", "echo_200", "echo_coded", "echo_bare", "echo_cut"]
)
def test_no_failure_shows_a_secret(venue: Any, reply: Any, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "ccxt", "ccxt.base.exchange", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)
    client = venue.client(signed=True)
    path = venue.paths["fees"]
    if fault in SECRET_FAULTS:
        venue.peer.queue(path, times=3 * ATTEMPTS, **SECRET_FAULTS[fault])
    elif fault in OWN_FAULTS:
        if venue.name not in OWN_FAULTS[fault]:
            return
        venue.peer.queue(path, times=3 * ATTEMPTS, **OWN_FAULTS[fault][venue.name])
    else:
        # A proxy's error page, or a body, that repeats the whole request.
        coded = {"code": "50013", "retCode": 10016, "error": ["EGeneral:Internal error"], "errors": []}

        def echo(query: Any) -> Any:
            values = [*venue.peer.headers[-1].values(), *query.values()]
            if fault in {"echo_bare", "echo_cut"}:
                # Without the names by which a secret could be told, and across the place where the text is cut.
                pad = "x " * 145 if fault == "echo_cut" else ""
                return reply("".join(pad + each + " " for each in sorted(values, key=is_plain)).encode(), 502)
            said = {"headers": venue.peer.headers[-1], "query": dict(query), **(coded if fault == "echo_coded" else {})}
            return reply(json.dumps(said).encode(), 502 if fault == "echo_502" else 200)

        venue.peer.routes[path] = echo
    with pytest.raises(VenueError) as caught:
        client.fees(venue.spot)
    signed = set(signatures(venue.peer))
    assert signed, "the fault must hit a signed request"
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
    shown += repr(client) + repr(client._transport) + str(vars(caught.value))
    error: BaseException | None = caught.value
    while error is not None:
        shown += repr(error.args)
        error = error.__cause__ or error.__context__
    for secret in ("canaryKEY", "canaryPASSPHRASE", "Y2FuYXJ5U0VDUkVU", *signed):
        assert secret not in shown


def test_a_certificate_shows_no_secret(venue: Any) -> None:
    fetched = venue.client(signed=True).candles(venue.spot, "1h", START, END)
    for secret in ("canaryKEY", "canaryPASSPHRASE", "Y2FuYXJ5U0VDUkVU"):
        assert secret not in repr(fetched.certificate) + repr(fetched.rows.to_pylist())
