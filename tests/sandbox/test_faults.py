"""Every fault is really seen on the wire, as ordered, and the journal says so."""

import http.client
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import ccxt
import pytest

from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, FaultSwitch, Injection
from research_to_prod.sandbox.server import SandboxServer

NOW = datetime(2026, 1, 8, 1, tzinfo=UTC)
KLINES = "/api/v3/klines"
PAGE = f"{KLINES}?symbol=BTCUSDT&interval=1h&limit=5&startTime=1704067200000"
Answer = tuple[int, dict[str, str], bytes]


def _get(base_url: str, path: str) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=1)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.fixture
def faulty(desk: SandboxDesk) -> Callable[[FaultKind, float], SandboxServer]:
    def started(kind: FaultKind, seconds: float = 7.0) -> SandboxServer:
        plan = FaultPlan((FaultRule(KLINES, kind, frozenset({2}), seconds=seconds),))
        return SandboxServer(7, lambda: NOW, plan, desk)

    return started


def _second(server: SandboxServer) -> tuple[Answer, Answer]:
    """Return a healthy answer and the one with the fault."""
    return _get(server.base_url, PAGE), _get(server.base_url, PAGE)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FaultKind.RATE_LIMITED, 429),
        (FaultKind.BANNED, 418),
        (FaultKind.SERVER_ERROR, 503),
        (FaultKind.BAD_GATEWAY, 502),
    ],
)
def test_a_status_fault_has_binances_form(faulty: Callable, kind: FaultKind, status: int):
    with faulty(kind) as server:
        healthy, hit = _second(server)
        assert healthy[0] == 200
        assert hit[0] == status
        assert hit[2].startswith(b"<html>") if status == 502 else json.loads(hit[2])["code"] < 0
        assert hit[1].get("Retry-After") == (None if status >= 500 else "7")
        assert _get(server.base_url, PAGE)[0] == 200
        assert server.requests == 3
        (record,) = server.journal.records
        assert record == Injection(
            1, NOW, KLINES, kind, f"request 2 of {KLINES}", request=2, query=urlsplit(PAGE).query, rows=()
        )


BODIES: dict[FaultKind, Callable[[list, bytes], bytes]] = {
    FaultKind.HTML_BODY: lambda _rows, _body: (
        b"<html><head><title>502 Bad Gateway</title></head><body>upstream error</body></html>"
    ),
    FaultKind.EMPTY_BODY: lambda _rows, _body: b"",
    FaultKind.CUT_JSON: lambda _rows, body: body[: len(body) // 2],
    FaultKind.WRONG_SHAPE: lambda _rows, _body: b"{}",
    FaultKind.NULL_BODY: lambda _rows, _body: b"null",
    FaultKind.WRAPPED_BODY: lambda _rows, _body: b'{"data": []}',
    FaultKind.CODE_BODY: lambda _rows, _body: b'{"code": 0}',
    FaultKind.EMPTY_LIST: lambda _rows, _body: b"[]",
    FaultKind.DUPLICATE_ROWS: lambda rows, _body: json.dumps([*rows, rows[-1]]).encode(),
    FaultKind.OUT_OF_ORDER: lambda rows, _body: json.dumps([*rows[:-2], rows[-1], rows[-2]]).encode(),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_fault_comes_with_status_200_and_the_journal_names_the_rows_that_it_touched(
    faulty: Callable, kind: FaultKind
):
    with faulty(kind) as server:
        healthy, hit = _second(server)
        rows = json.loads(healthy[2])
        assert hit[0] == 200
        assert hit[2] == BODIES[kind](rows, healthy[2])
        (record,) = server.journal.records
        touched = {FaultKind.DUPLICATE_ROWS: rows[-1:], FaultKind.OUT_OF_ORDER: rows[-2:]}.get(kind, rows)
        assert (record.kind, record.rows) == (kind, tuple(row[0] for row in touched))


def test_what_changes_nothing_is_not_in_the_journal(desk: SandboxDesk):
    for kind in (FaultKind.EMPTY_LIST, FaultKind.DUPLICATE_ROWS, FaultKind.OUT_OF_ORDER, FaultKind.SAME_MILLISECOND):
        plan = FaultPlan((FaultRule(KLINES, kind, probability=1.0),))
        with SandboxServer(7, lambda: NOW, plan, desk) as server:
            after = int(NOW.timestamp() * 1000)
            assert _get(server.base_url, f"{KLINES}?symbol=BTCUSDT&interval=1h&startTime={after}")[2] == b"[]"
            assert server.journal.records == ()


def test_fills_of_one_second_share_a_millisecond_and_keep_their_order(
    desk: SandboxDesk, connect: Callable[..., ccxt.binance]
):
    rule = FaultRule("*Trades", FaultKind.SAME_MILLISECOND, probability=1.0)
    fills = [fill for day in desk.days(NOW - timedelta(days=7), NOW) for fill in day.fills]
    true = [fill for fill in fills if fill.symbol == "ETH/USDT:USDT" and fill.filled_at <= NOW]
    with SandboxServer(7, lambda: NOW, FaultPlan((rule,)), desk) as server:
        client = connect(server.base_url)
        client.milliseconds = lambda: int(NOW.timestamp() * 1000)
        first = int(true[0].fill_id)
        sent = client.fapiPrivateGetUserTrades({"symbol": "ETHUSDT", "fromId": first, "limit": 1000})
        assert [int(row["id"]) for row in sent] == [int(fill.fill_id) for fill in true]
        assert [int(row["time"]) for row in sent] == [int(fill.filled_at.timestamp()) * 1000 for fill in true]
        assert len({row["time"] for row in sent}) < len(sent) / 1.5
        (record,) = server.journal.records
        late = [fill for fill in true if fill.filled_at.microsecond >= 1000]
        assert record.rows == tuple(int(fill.fill_id) for fill in late)
        assert "signature" not in record.query


def test_transport_faults_break_the_connection(faulty: Callable):
    with faulty(FaultKind.RESET) as server:
        _get(server.base_url, PAGE)
        with pytest.raises(ConnectionResetError):
            _get(server.base_url, PAGE)
        assert [record.kind for record in server.journal.records] == ["reset"]
    with faulty(FaultKind.SHORT_BODY) as server:
        _get(server.base_url, PAGE)
        with pytest.raises(http.client.IncompleteRead):
            _get(server.base_url, PAGE)
        assert [record.kind for record in server.journal.records] == ["short_body"]
    with faulty(FaultKind.STALL, 30.0) as server:
        _get(server.base_url, PAGE)
        with pytest.raises(TimeoutError):
            _get(server.base_url, PAGE)
        assert [record.kind for record in server.journal.records] == ["stall"]


def test_a_dropped_reply_is_a_reset_after_the_request_was_carried_out(faulty: Callable):
    with faulty(FaultKind.DROPPED_REPLY) as server:
        healthy = _get(server.base_url, PAGE)
        with pytest.raises(ConnectionResetError):
            _get(server.base_url, PAGE)
        (record,) = server.journal.records
        assert record.rows == tuple(row[0] for row in json.loads(healthy[2]))


def test_a_skewed_clock_makes_signed_requests_fail(desk: SandboxDesk, connect: Callable[..., ccxt.binance]):
    rule = FaultRule("/api/v3/account", FaultKind.CLOCK_SKEW, frozenset({1}), seconds=90.0)
    with SandboxServer(7, lambda: NOW, FaultPlan((rule,)), desk) as server:
        client = connect(server.base_url)
        client.load_time_difference()
        with pytest.raises(ccxt.InvalidNonce, match="recvWindow"):
            client.privateGetAccount()
        assert client.privateGetAccount()["accountType"] == "SPOT"
        assert [record.kind for record in server.journal.records] == ["clock_skew"]


def test_ccxt_turns_some_faults_into_its_errors_and_swallows_others(
    desk: SandboxDesk, connect: Callable[..., ccxt.binance]
):
    plan = FaultPlan(
        tuple(
            FaultRule(KLINES, kind, frozenset({index}))
            for index, kind in enumerate((FaultKind.RATE_LIMITED, FaultKind.SERVER_ERROR, FaultKind.RESET), start=1)
        )
    )
    with SandboxServer(7, lambda: NOW, plan, desk) as server:
        client = connect(server.base_url)
        client.load_markets()
        with pytest.raises(ccxt.DDoSProtection):
            client.fetch_ohlcv("BTC/USDT", "1h")
        with pytest.raises(ccxt.OperationFailed):
            client.fetch_ohlcv("BTC/USDT", "1h")
        with pytest.raises(ccxt.NetworkError):
            client.fetch_ohlcv("BTC/USDT", "1h")
        assert len(client.fetch_ohlcv("BTC/USDT", "1h")) == 500
        assert len(server.journal.records) == 3


def test_a_probability_draws_the_same_requests_for_the_same_seed():
    rule = FaultRule("/fapi/*", FaultKind.SERVER_ERROR, probability=0.2)
    switches = [FaultSwitch(FaultPlan((rule,), seed=seed)) for seed in (3, 3, 4)]
    drawn = [[switch.next("/fapi/v1/klines") is not None for _ in range(500)] for switch in switches]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert 60 < sum(drawn[0]) < 140
    assert switches[0].next("/api/v3/klines") is None


def test_each_rule_counts_its_own_requests_and_the_first_that_hits_is_carried_out():
    plan = FaultPlan(
        (
            FaultRule("/a", FaultKind.STALL, frozenset({2})),
            FaultRule("/*", FaultKind.RESET, frozenset({2, 3})),
        )
    )
    switch = FaultSwitch(plan)
    hits = [switch.next(path) for path in ("/a", "/a", "/b", "/b")]
    assert [hit and (hit[0].kind, hit[1]) for hit in hits] == [None, (FaultKind.STALL, 2), (FaultKind.RESET, 3), None]


def test_the_server_ends_although_a_request_stalls(faulty: Callable):
    started = datetime.now(UTC)
    with faulty(FaultKind.STALL, 600.0) as server:
        _get(server.base_url, PAGE)
        with pytest.raises(TimeoutError):
            _get(server.base_url, PAGE)
    assert datetime.now(UTC) - started < timedelta(seconds=10)
