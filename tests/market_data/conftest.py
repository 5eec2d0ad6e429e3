"""A scripted HTTP peer for one exact fault at a time; by default in Binance's dialect (others: ``venues``)."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueClient, connect

HOUR = 3_600_000
CANARY_KEY = "canaryKEYcanaryKEYcanaryKEYcanaryKEY"
CANARY_SECRET = "canarySECRETcanarySECRETcanarySECRET"


@dataclass
class Reply:
    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing_bytes: int = 0
    reset: bool = False

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def _symbols(*, perpetual: bool) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01", "minPrice": "0.01", "maxPrice": "1000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.00001", "minQty": "0.00001", "maxQty": "9000"},
    ]
    common = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
    common |= {"orderTypes": ["LIMIT", "MARKET"], "filters": filters, "permissions": ["SPOT"]}
    contract = {"contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1, "marginAsset": "USDT"}
    return {"symbols": [common | contract if perpetual else common]}


class Peer:
    """Answers from ``routes`` (path -> function of the query or form), after the queued ``faults`` of that path."""

    def __init__(self) -> None:
        self.now = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self.routes: dict[str, Callable[[dict[str, str]], Any]] = {
            "/api/v3/time": lambda _: {"serverTime": self.now},
            "/fapi/v1/time": lambda _: {"serverTime": self.now},
            "/api/v3/exchangeInfo": lambda _: _symbols(perpetual=False),
            "/fapi/v1/exchangeInfo": lambda _: _symbols(perpetual=True),
        }
        self.base_url = ""

    def asked(self, path: str) -> list[dict[str, str]]:
        return [query for each, query in self.requests if each == path]

    def answer(self, path: str, query: dict[str, str]) -> Reply:
        self.requests.append((path, query))
        if self.faults[path]:
            return self.faults[path].popleft()
        body = self.routes[path](query) if path in self.routes else Reply(b"no such path", 404)
        return body if isinstance(body, Reply) else Reply(body)

    def queue(self, path: str, *, times: int = 1, **reply: Any) -> None:
        """Answer the next requests of ``path`` with this reply instead of its route."""
        self.faults[path].extend([Reply(**reply)] * times)

    def serve_once(self, path: str, body: Any) -> None:
        """Answer one request of ``path`` with ``body`` and every later one with an empty list: the end of a cursor."""
        self.queue(path, body=body)
        self.routes[path] = lambda _: []

    def serve_klines(self, rows: list[list[Any]], path: str = "/api/v3/klines") -> None:
        def klines(query: dict[str, str]) -> list[list[Any]]:
            start, end, limit = (int(query[name]) for name in ("startTime", "endTime", "limit"))
            return [row for row in rows if start <= row[0] <= end][:limit]

        self.routes[path] = klines


@contextmanager
def _serving(served: Peer) -> Iterator[Peer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer("")

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

        def answer(self, form: str) -> None:
            url = urlsplit(self.path)
            served.headers.append(dict(self.headers.items()))
            reply = served.answer(url.path, dict(parse_qsl(url.query)) | dict(parse_qsl(form)))
            if reply.reset:
                # Linger 0 makes close() send RST at once; a plain close would only stall the client.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.content) + reply.missing_bytes))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(reply.content)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
            """Keep the test output quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A connection that the test resets is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    served.base_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with _serving(Peer()) as served:
        yield served


@pytest.fixture
def reply() -> type[Reply]:
    """For routes that answer with more than a body."""
    return Reply


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the client asked to wait, in order."""
    return []


@pytest.fixture
def client(peer: Peer, waits: list[float]) -> VenueClient:
    credentials = Credentials(key=CANARY_KEY, secret=CANARY_SECRET)
    spec = VenueSpec(name="peer", ccxt="binance", rate_limit_ms=0.1)
    return connect(spec, base_url=peer.base_url, credentials=credentials, sleep=waits.append)


@pytest.fixture
def kline() -> Callable[..., list[Any]]:
    def make(ts: int, close: str = "10.5") -> list[Any]:
        return [ts, "10", "11", "9", close, "3.5", ts + HOUR - 1, "36", 12, "1", "10", "0"]

    return make
