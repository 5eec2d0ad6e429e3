"""The sandbox venue over HTTP on loopback, in Binance's REST dialect, with faults on demand.

Belongs here: HTTP, signatures, request weights, and carrying out the faults of a plan. Doesn't: what the answers are
(`dialect` for public endpoints, `account` for private ones).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from research_to_prod.sandbox.account import Account
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.dialect import PublicApi, Query, Rows, VenueRefusal, integer, milliseconds
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, FaultSwitch, Journal, skewed
from research_to_prod.sandbox.market import SandboxMarket

API_KEY = "sandbox-key"
API_SECRET = "sandbox-secret"  # noqa: S105 - opens nothing but the simulation
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>upstream error</body></html>"
_STATUS_FAULTS: Mapping[FaultKind, tuple[int, bytes]] = {
    FaultKind.RATE_LIMITED: (429, b'{"code": -1003, "msg": "Too much request weight used; current limit is 6000."}'),
    FaultKind.BANNED: (418, b'{"code": -1003, "msg": "Way too much request weight used; IP banned."}'),
    FaultKind.SERVER_ERROR: (
        503,
        b'{"code": -1000, "msg": "An unknown error occurred while processing the request."}',
    ),
    FaultKind.BAD_GATEWAY: (502, _HTML),
}
_BODY_FAULTS: Mapping[FaultKind, Callable[[bytes], bytes]] = {
    FaultKind.HTML_BODY: lambda _body: _HTML,
    FaultKind.EMPTY_BODY: lambda _body: b"",
    FaultKind.CUT_JSON: lambda body: body[: max(1, len(body) // 2)],
    FaultKind.WRONG_SHAPE: lambda _body: b"{}",
    FaultKind.NULL_BODY: lambda _body: b"null",
    FaultKind.WRAPPED_BODY: lambda _body: b'{"data": []}',
    FaultKind.CODE_BODY: lambda _body: b'{"code": 0}',
    FaultKind.EMPTY_LIST: lambda _body: b"[]",
}
_ROW_FAULTS: Mapping[FaultKind, Callable[[Rows], Rows]] = {
    FaultKind.DUPLICATE_ROWS: lambda rows: [*rows, rows[-1]],
    FaultKind.OUT_OF_ORDER: lambda rows: [*rows[:-2], rows[-1], rows[-2]],
    FaultKind.SAME_MILLISECOND: lambda rows: [
        row | {name: row[name] // 1000 * 1000 for name in ("time", "T") if name in row}
        if isinstance(row, dict)
        else row
        for row in rows
    ],
}


def wall_clock() -> datetime:
    """Return the machine's time; the sandbox's only reading of it, and replaceable."""
    return datetime.now(UTC)


class SandboxServer:
    """The venue, served from a thread of this process while the context is open.

    Parameters
    ----------
    seed
        Of the market and the desk.
    clock
        The venue's time; nothing after it is answered.
    faults
        What goes wrong on the wire; the desk's own faults are in its plan.
    desk
        Whose account is served; that of ``seed`` when None.
    """

    def __init__(
        self,
        seed: int,
        clock: Callable[[], datetime] = wall_clock,
        faults: FaultPlan | None = None,
        desk: SandboxDesk | None = None,
    ) -> None:
        self.clock = clock
        self.journal = Journal()
        self.desk = desk or SandboxDesk(SandboxMarket(seed))
        self.switch = FaultSwitch(faults or FaultPlan())
        self.closing = threading.Event()
        self._account = Account(self.desk)
        self._public = {
            "/api/v3/": PublicApi(self.desk.market, perpetual=False).endpoints,
            "/fapi/v1/": PublicApi(self.desk.market, perpetual=True).endpoints,
        }
        self._private = self._account.endpoints
        self._writes = self._account.resting.writes
        self._weight: dict[str, tuple[int, int]] = {}
        self._requests = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, raw_query: str, key: str | None, now: datetime) -> tuple[int, Any]:
        """Return HTTP status and JSON value for one request, as the venue without faults gives them."""
        query = dict(parse_qsl(raw_query, keep_blank_values=True))
        try:
            private = self._writes.get((method, path)) or (self._private.get(path) if method == "GET" else None)
            if private is not None:
                self._authenticate(raw_query, query, key, now)
                return 200, private(query, now)
            if method == "GET" and path == "/sapi/v1/system/status":
                return 200, {"status": 0, "msg": "normal"}
            for prefix, endpoints in self._public.items():
                if method == "GET" and path.startswith(prefix) and path.removeprefix(prefix) in endpoints:
                    return 200, endpoints[path.removeprefix(prefix)](query, now)
        except VenueRefusal as refusal:
            return refusal.status, {"code": refusal.code, "msg": refusal.message}
        return 404, {"code": -1000, "msg": f"Path {path}, Method {method} is not served by the sandbox."}

    @staticmethod
    def _authenticate(raw_query: str, query: Query, key: str | None, now: datetime) -> None:
        if key is None or not hmac.compare_digest(key, API_KEY):
            raise VenueRefusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        signed, _, signature = raw_query.rpartition("&signature=")
        expected = hmac.new(API_SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise VenueRefusal(-1022, "Signature for this request is not valid.")
        stamp, window = integer(query, "timestamp"), integer(query, "recvWindow") or 5000
        if stamp is None:
            raise VenueRefusal(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
        here = milliseconds(now)
        if stamp >= here + 1000:
            raise VenueRefusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if here - stamp > min(window, 60_000):
            raise VenueRefusal(-1021, "Timestamp for this request is outside of the recvWindow.")

    @property
    def requests(self) -> int:
        """How many requests have come so far, answered or not."""
        return self._requests

    def count(self) -> int:
        """Count one request and return its number."""
        with self._lock:
            self._requests += 1
            return self._requests

    def weigh(self, path: str, weight: int, now: datetime) -> int:
        """Count request weight and return what this minute has used of the host's own."""
        minute, host = milliseconds(now) // 60_000, path.split("/")[1]
        with self._lock:
            before, used = self._weight.get(host, (minute, 0))
            used = weight + (used if before == minute else 0)
            self._weight[host] = (minute, used)
        return used


def _handler(venue: SandboxServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Small writes must not wait for acknowledgements: without it each keep-alive answer takes 40 ms.
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            # An unread body would be taken for the next request of a kept connection.
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self.number = venue.count()
            url = urlsplit(self.path)
            hit = venue.switch.next(url.path)
            now = venue.clock()
            if hit is not None and hit[0].kind in _STATUS_FAULTS:
                status, body = _STATUS_FAULTS[hit[0].kind]
                self._note(hit, now)
                headers = {} if status >= 500 else {"Retry-After": f"{hit[0].seconds:.0f}"}
                return self._send(status, body, now, headers)
            if hit is not None and hit[0].kind in (FaultKind.STALL, FaultKind.RESET):
                self._note(hit, now)
                return self._hang_up(hit[0])
            key = self.headers.get("X-MBX-APIKEY")
            skew = hit[0] if hit is not None else None
            status, answer = venue.answer(self.command, url.path, url.query or sent, key, skewed(now, skew))
            if hit is None:
                return self._send(status, json.dumps(answer).encode(), now)
            return self._spoil(hit, status, answer, now)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class names them

        def _spoil(self, hit: tuple[FaultRule, int], status: int, answer: Any, now: datetime) -> None:
            kind, body = hit[0].kind, json.dumps(answer).encode()
            rows = answer if isinstance(answer, list) else []
            if kind in (FaultKind.SHORT_BODY, FaultKind.DROPPED_REPLY):
                self._note(hit, now, tuple(map(_key, rows)))
                if kind is FaultKind.DROPPED_REPLY:
                    return self._hang_up(hit[0])
                self.close_connection = True
                return self._send(status, body[: len(body) // 2], now, length=len(body))
            sent, lost = body, tuple(map(_key, rows))
            if kind in _BODY_FAULTS:
                sent = _BODY_FAULTS[kind](body)
            elif kind in _ROW_FAULTS and len(rows) > 1:
                changed = _ROW_FAULTS[kind](rows)
                sent, lost = json.dumps(changed).encode(), _touched(rows, changed)
            if kind is FaultKind.OTHERS_ASK:
                self._note(hit, now)
                venue.weigh(urlsplit(self.path).path, hit[0].weight, now)
            elif kind is FaultKind.CLOCK_SKEW:
                self._note(hit, now)
            elif sent != body:
                # What changes nothing was not injected: a repetition where there are no rows, [] instead of [].
                self._note(hit, now, lost)
            return self._send(status, sent, now)

        def _note(self, hit: tuple[FaultRule, int], now: datetime, rows: tuple[int | str, ...] = ()) -> None:
            url, (rule, occurrence) = urlsplit(self.path), hit
            detail = f"request {occurrence} of {rule.pattern}"
            query = url.query.partition("&signature=")[0]
            venue.journal.add(now, url.path, rule.kind, detail, request=self.number, query=query, rows=rows)

        def _hang_up(self, rule: FaultRule) -> None:
            self.close_connection = True
            if rule.kind is FaultKind.STALL:
                venue.closing.wait(rule.seconds)
                return
            # Linger 0 makes the close a reset; a plain close only looks like a stall to the client.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def _send(
            self,
            status: int,
            body: bytes,
            now: datetime,
            headers: Mapping[str, str] | None = None,
            length: int | None = None,
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("X-MBX-USED-WEIGHT-1M", str(venue.weigh(urlsplit(self.path).path, 2, now)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent: the journal is the record."""

    return Handler


def _key(row: Any) -> int | str:
    """Return what the venue knows a row by."""
    if isinstance(row, list):
        return int(row[0])
    names = ("id", "a", "tranId", "orderId", "fundingTime", "symbol")
    return next((row[name] for name in names if name in row), json.dumps(row, sort_keys=True))


def _touched(rows: Rows, changed: Rows) -> tuple[int | str, ...]:
    """Return the keys of rows that are not, or not only, where they were."""
    moved = [before for before, after in zip(rows, changed, strict=False) if before != after]
    return tuple(map(_key, [*moved, *changed[len(rows) :]]))
