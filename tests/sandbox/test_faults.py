"""Every fault is really seen on the wire, as ordered, and the journal says so."""

import http.client
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import ccxt
import pytest

from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, FaultSwitch
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
    ("kind", "status"), [(FaultKind.RATE_LIMITED, 429), (FaultKind.BANNED, 418), (FaultKind.SERVER_ERROR, 503)]
)
def test_a_status_fault_has_binances_form(faulty: Callable, kind: FaultKind, status: int):
    with faulty(kind) as server:
        healthy, hit = _second(server)
        assert healthy[0] == 200
        assert hit[0] == status
        assert json.loads(hit[2])["code"] < 0
        assert hit[1].get("Retry-After") == (None if status == 503 else "7")
        assert _get(server.base_url, PAGE)[0] == 200
        (record,) = server.journal.records
        assert (record.kind, record.where, record.at, record.detail) == (
            kind,
            KLINES,
            NOW,
            f"request 2 of {KLINES}",
        )


def test_body_faults_come_with_status_200(faulty: Callable):
    def looks(kind: FaultKind, healthy: bytes, body: bytes) -> bool:
        rows = json.loads(healthy)
        return {
            FaultKind.HTML_BODY: body.startswith(b"<html>"),
            FaultKind.EMPTY_BODY: body == b"",
            FaultKind.CUT_JSON: healthy.startswith(body) and 0 < len(body) < len(healthy),
            FaultKind.WRONG_SHAPE: body == b"{}",
            FaultKind.DUPLICATE_ROWS: body == json.dumps([*rows, rows[-1]]).encode(),
            FaultKind.OUT_OF_ORDER: body == json.dumps([rows[1], rows[0], *rows[2:]]).encode(),
        }[kind]

    for kind in (
        FaultKind.HTML_BODY,
        FaultKind.EMPTY_BODY,
        FaultKind.CUT_JSON,
        FaultKind.WRONG_SHAPE,
        FaultKind.DUPLICATE_ROWS,
        FaultKind.OUT_OF_ORDER,
    ):
        with faulty(kind) as server:
            healthy, hit = _second(server)
            assert hit[0] == 200
            assert looks(kind, healthy[2], hit[2]), kind
            assert [record.kind for record in server.journal.records] == [kind]


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
