"""A ccxt exchange that refuses what ccxt would quietly parse into nothing.

ccxt 4.5 turns an empty, HTML or cut body with status 200 into ``[]``, ``{}`` totals or rows whose ids are None, and
valid JSON of the wrong shape into empty results. Here every body is checked against its endpoint's contract before
ccxt parses it.

Belongs here: the shape contracts, one request, and the class of its failure. Doesn't: retries, cursors and certificates
(``venue``). Imported lazily: ccxt takes seconds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import ccxt

from research_to_prod.market_data.venue_errors import (
    RedactingFilter,
    VenueError,
    VenueRejected,
    VenueShape,
    VenueUnavailable,
    VenueUnknown,
    redact,
)
from research_to_prod.values import sha256_hex

Check = Callable[[Any], str | None]
"""Returns what is wrong with a decoded body, or None."""

# Codes with which Binance says "not now" under varying statuses and ccxt classes: -1008 arrives as ExchangeError,
# -1016 as BadRequest.
_TRANSIENT_CODES = frozenset({-1000, -1001, -1003, -1006, -1007, -1008, -1016, -1034})


def _numeric(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def _list_of(check: Check) -> Check:
    def checked(body: Any) -> str | None:
        if not isinstance(body, list):
            return f"is {type(body).__name__}, not a list"
        for index, row in enumerate(body):
            problem = check(row)
            if problem is not None:
                return f"row {index} {problem}"
        return None

    return checked


def _record(**fields: type) -> Check:
    """Check for an object with fields of exactly these types; ``float`` means a number or the text of one."""

    def wrong(value: Any, kind: type) -> bool:
        return not _numeric(value) if kind is float else type(value) is not kind

    def checked(body: Any) -> str | None:
        if not isinstance(body, dict):
            return f"is {type(body).__name__}, not an object"
        bad = [f"{name} ({kind.__name__})" for name, kind in fields.items() if wrong(body.get(name), kind)]
        return f"has no valid {', '.join(bad)}" if bad else None

    return checked


def _kline(row: Any) -> str | None:
    if not isinstance(row, list) or len(row) != 12:
        return "is not a list of 12"
    if type(row[0]) is not int:
        return "has no integer open time"
    return None if all(_numeric(value) for value in row[1:6]) else "has a price or volume that is not a number"


_AGGREGATE_TRADE = _record(a=int, p=float, q=float, T=int, m=bool)
_LISTED = _record(symbol=str, status=str, baseAsset=str, quoteAsset=str)
_TRADE: dict[str, type] = {
    "symbol": str,
    "id": int,
    "orderId": int,
    "time": int,
    "price": float,
    "qty": float,
    "commission": float,
    "commissionAsset": str,
}


def _exchange_info(body: Any) -> str | None:
    problem = _record(symbols=list)(body)
    if problem is not None:
        return problem
    return _list_of(_LISTED)(body["symbols"]) if body["symbols"] else "lists no symbols"


SHAPES: Mapping[str, Check] = {
    "/api/v3/time": _record(serverTime=int),
    "/fapi/v1/time": _record(serverTime=int),
    "/api/v3/exchangeInfo": _exchange_info,
    "/fapi/v1/exchangeInfo": _exchange_info,
    "/api/v3/klines": _list_of(_kline),
    "/fapi/v1/klines": _list_of(_kline),
    "/fapi/v1/fundingRate": _list_of(_record(symbol=str, fundingRate=float, fundingTime=int)),
    "/api/v3/aggTrades": _list_of(_AGGREGATE_TRADE),
    "/fapi/v1/aggTrades": _list_of(_AGGREGATE_TRADE),
    "/api/v3/myTrades": _list_of(_record(**_TRADE, isBuyer=bool, isMaker=bool)),
    "/fapi/v1/userTrades": _list_of(_record(**_TRADE, side=str, maker=bool)),
}
"""What each endpoint's body must be; a path that is not listed is refused."""


class StrictBinance(ccxt.binance):
    """``ccxt.binance`` that checks each body's form and shape, and remembers the last answer for the classifier."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.last_status: int | None = None
        self.last_headers: Mapping[str, str] = {}
        self.last_body = ""
        super().__init__(config)
        # ccxt logs request headers with the API key at DEBUG.
        self.logger = logging.getLogger(f"{__name__}.silenced")
        self.logger.disabled = True

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, response_headers: Any, response_body: str, *request: Any
    ) -> str:
        """Keep the answer; ccxt calls this before it decodes the body."""
        self.last_status, self.last_headers, self.last_body = code, response_headers, response_body
        return str(super().on_rest_response(code, reason, url, method, response_headers, response_body, *request))

    def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Request and decode, or raise :class:`VenueShape`."""
        self.last_status, self.last_headers, self.last_body = None, {}, ""
        path = urlsplit(url).path
        check = next((check for suffix, check in SHAPES.items() if path.endswith(suffix)), None)
        if check is None or method != "GET":
            raise VenueRejected(f"{method} {path} has no contract; this client only reads {', '.join(sorted(SHAPES))}")
        decoded = super().fetch(url, method, headers, body)
        what = f"body of {path} ({len(self.last_body)} characters, SHA-256 {sha256_hex(self.last_body.encode())[:16]})"
        if not isinstance(decoded, list | dict):
            raise VenueShape(f"{what} is not JSON; it starts {redact(self.last_body[:60])!r}")
        problem = check(decoded)
        if problem is not None:
            raise VenueShape(f"{what} {problem}")
        return decoded


@dataclass(frozen=True)
class Body:
    """One accepted answer."""

    content: Any
    sha256: str


class Transport:
    """One venue's exchange object and the classification of what it raises.

    Parameters
    ----------
    base_url
        Replaces scheme and host of every endpoint, for a peer on loopback; None for the real venue.
    key, secret
        Credentials; empty for public data.
    rate_limit_ms
        Milliseconds between requests of weight 1; None for ccxt's own value.
    """

    def __init__(self, venue: str, *, base_url: str | None, key: str, secret: str, rate_limit_ms: float | None) -> None:
        self.venue = venue
        self._secrets = (secret, key)
        config: dict[str, Any] = {
            "enableRateLimit": True,
            "timeout": 10_000,
            "options": {
                "fetchMarkets": {"types": ["spot", "linear"]},
                "fetchMargins": False,
                "fetchCurrencies": False,
                "adjustForTimeDifference": bool(key),
            },
        }
        if key:
            config |= {"apiKey": key, "secret": secret}
        if rate_limit_ms is not None:
            config["rateLimit"] = rate_limit_ms
        self._exchange = StrictBinance(config)
        self._skewed = False
        # Exact decimal text; ``number = Decimal`` breaks ccxt's fees ({cost: None}).
        self._exchange.number = str
        # A redirect would carry the API key's header to another host.
        self._exchange.session.max_redirects = 0
        if base_url is not None:
            urls = self._exchange.urls["api"]
            for name, url in urls.items():
                if isinstance(url, str):
                    urls[name] = base_url.rstrip("/") + urlsplit(url).path
        wire = logging.getLogger("urllib3.connectionpool")
        if not any(isinstance(each, RedactingFilter) for each in wire.filters):
            wire.addFilter(RedactingFilter())

    def __repr__(self) -> str:
        return f"Transport({self.venue!r})"

    def market(self, symbol: str) -> dict[str, Any]:
        """Return ccxt's description of ``symbol``, loading the venue's markets on first use."""
        markets = self._call(self._exchange.load_markets)
        if symbol not in markets:
            raise VenueRejected(f"{self.venue} does not list {symbol!r}; it lists {len(markets)} other symbols")
        market: dict[str, Any] = markets[symbol]
        if not (market["spot"] or market["linear"]):
            raise VenueRejected(
                f"{self.venue} {symbol} is neither spot nor linear, the two kinds that this client reads"
            )
        return market

    def get(self, method: str, parameters: Mapping[str, Any]) -> Body:
        """Call one of ccxt's endpoint methods, such as ``publicGetKlines``, and return the checked body.

        Raises
        ------
        VenueError
            Of the class that tells what the caller may do; its text holds no query string and no secret.
        """
        if self._skewed:
            self._call(self._exchange.load_time_difference)
            self._skewed = False
        content = self._call(lambda: getattr(self._exchange, method)(dict(parameters)))
        return Body(content, sha256_hex(self._exchange.last_body.encode()))

    def parse_trade(self, row: Mapping[str, Any], market: Mapping[str, Any]) -> dict[str, Any]:
        """Return ccxt's unified form of a trade, amounts as text."""
        trade: dict[str, Any] = self._call(lambda: self._exchange.parse_trade(dict(row), market))
        return trade

    def _call(self, request: Callable[[], Any]) -> Any:
        problem: VenueError
        try:
            return request()
        except VenueError as error:
            problem = error
        except ccxt.BaseError as error:
            problem = self._classify(error)
        except (TypeError, AttributeError, KeyError, IndexError, ValueError) as error:
            # ccxt's parsers raise these on rows that passed the shape check and still surprise them.
            problem = VenueShape(f"{self.venue}: ccxt could not parse the answer: {type(error).__name__}")
        # Outside the handlers: ccxt's exception, whose text has the signed URL, is not even the context of ours.
        raise problem

    def _classify(self, error: ccxt.BaseError) -> VenueError:
        """Decide what a failed read means, by status and venue code first: ccxt's classes alone mislead."""
        status, code = self._exchange.last_status, self._code()
        text = f"{self.venue}: {type(error).__name__}, status {status}: " + redact(str(error)[:300], self._secrets)
        if status == 418:
            wait = f"{text}; the venue banned this address: stop, and wait for {self._retry_after()} s"
            return VenueRejected(wait, banned=True)
        if status == 429:
            return VenueUnavailable(text, self._retry_after() or 1.0)
        if status is None or status >= 500 or code in _TRANSIENT_CODES:
            return VenueUnavailable(text, self._retry_after())
        if code == -1021:
            # The difference that ccxt measured on connecting has drifted; it is measured again before the next attempt.
            self._skewed = True
            return VenueUnavailable(f"{text}; our clock and the venue's drift apart: correct the clock of this machine")
        if status >= 400 or code is not None:
            return VenueRejected(text)
        return VenueUnknown(text)

    def _code(self) -> int | None:
        try:
            body = json.loads(self._exchange.last_body)
        except ValueError:
            return None
        code = body.get("code") if isinstance(body, dict) else None
        return code if isinstance(code, int) else None

    def _retry_after(self) -> float | None:
        """Return the seconds of the Retry-After header, which ccxt doesn't parse."""
        value = next((v for k, v in self._exchange.last_headers.items() if k.lower() == "retry-after"), None)
        if value is None:
            return None
        if value.strip().isdigit():
            return float(value)
        sent = next((v for k, v in self._exchange.last_headers.items() if k.lower() == "date"), None)
        try:
            since = parsedate_to_datetime(sent) if sent else datetime.max.replace(tzinfo=UTC)
            return max(0.0, (parsedate_to_datetime(value) - since).total_seconds())
        except ValueError:
            return None
