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
from research_to_prod.sandbox.dialect import PublicApi, Query, VenueRefusal, integer, milliseconds
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, FaultSwitch, Journal, skewed
from research_to_prod.sandbox.market import SandboxMarket

API_KEY = "sandbox-key"
API_SECRET = "sandbox-secret"  # noqa: S105 - opens nothing but the simulation
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>upstream error</body></html>"
_STATUS_FAULTS = {
    FaultKind.RATE_LIMITED: (429, {"code": -1003, "msg": "Too much request weight used; current limit is 6000."}),
    FaultKind.BANNED: (418, {"code": -1003, "msg": "Way too much request weight used; IP banned."}),
    FaultKind.SERVER_ERROR: (503, {"code": -1000, "msg": "An unknown error occurred while processing the request."}),
}
_BODY_FAULTS: Mapping[FaultKind, Callable[[bytes], bytes]] = {
    FaultKind.HTML_BODY: lambda _body: _HTML,
    FaultKind.EMPTY_BODY: lambda _body: b"",
    FaultKind.CUT_JSON: lambda body: body[: max(1, len(body) // 2)],
    FaultKind.WRONG_SHAPE: lambda _body: b"{}",
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
        self._weight = (0, 0)
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
        if method != "GET":
            return 400, {"code": -1106, "msg": f"The sandbox trades through its own desk and takes no {method}."}
        query = dict(parse_qsl(raw_query, keep_blank_values=True))
        try:
            if path == "/sapi/v1/system/status":
                return 200, {"status": 0, "msg": "normal"}
            for prefix, endpoints in self._public.items():
                if path.startswith(prefix) and path.removeprefix(prefix) in endpoints:
                    return 200, endpoints[path.removeprefix(prefix)](query, now)
            if path in self._private:
                self._authenticate(raw_query, query, key, now)
                return 200, self._private[path](query, now)
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

    def weigh(self, weight: int, now: datetime) -> int:
        """Count request weight and return what this minute has used."""
        minute = milliseconds(now) // 60_000
        with self._lock:
            used = weight + (self._weight[1] if self._weight[0] == minute else 0)
            self._weight = (minute, used)
        return used


def _handler(venue: SandboxServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Small writes must not wait for acknowledgements: without it each keep-alive answer takes 40 ms.
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            # An unread body would be taken for the next request of a kept connection.
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            hit = venue.switch.next(url.path)
            rule, occurrence = hit if hit is not None else (None, 0)
            now = venue.clock()
            if rule is not None and rule.kind in _STATUS_FAULTS:
                status, body = _STATUS_FAULTS[rule.kind]
                self._note(rule, occurrence, now)
                headers = {} if status == 503 else {"Retry-After": f"{rule.seconds:.0f}"}
                return self._send(status, json.dumps(body).encode(), now, headers)
            if rule is not None and rule.kind in (FaultKind.STALL, FaultKind.RESET):
                self._note(rule, occurrence, now)
                return self._hang_up(rule)
            key = self.headers.get("X-MBX-APIKEY")
            status, answer = venue.answer(self.command, url.path, url.query, key, skewed(now, rule))
            if rule is None:
                return self._send(status, json.dumps(answer).encode(), now)
            return self._spoil(rule, occurrence, status, answer, now)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class names them

        def _spoil(self, rule: FaultRule, occurrence: int, status: int, answer: Any, now: datetime) -> None:
            rows = isinstance(answer, list) and len(answer) > 1
            if rule.kind in (FaultKind.DUPLICATE_ROWS, FaultKind.OUT_OF_ORDER) and not rows:
                return self._send(status, json.dumps(answer).encode(), now)
            self._note(rule, occurrence, now)
            if rule.kind is FaultKind.DUPLICATE_ROWS:
                answer = [*answer, answer[-1]]
            elif rule.kind is FaultKind.OUT_OF_ORDER:
                answer = [answer[1], answer[0], *answer[2:]]
            body = json.dumps(answer).encode()
            if rule.kind is FaultKind.SHORT_BODY:
                self.close_connection = True
                return self._send(status, body[: len(body) // 2], now, length=len(body))
            return self._send(status, _BODY_FAULTS.get(rule.kind, bytes)(body), now)

        def _note(self, rule: FaultRule, occurrence: int, now: datetime) -> None:
            venue.journal.add(now, urlsplit(self.path).path, rule.kind, f"request {occurrence} of {rule.pattern}")

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
            self.send_header("X-MBX-USED-WEIGHT-1M", str(venue.weigh(2, now)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent: the journal is the record."""

    return Handler
