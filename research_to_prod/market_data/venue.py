"""Complete, certified reads from a venue through ccxt.

Belongs here: retries of reads, cursors to a proven end, and the certificate of each fetch. Nothing here writes to a
venue. Doesn't: shapes and error classes (``strict_ccxt``), files (``files``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, SecretStr

from research_to_prod.market_data.certificates import Fetched, issue
from research_to_prod.market_data.contracts import FUNDING_RATES, RAW_CANDLES, TRADES
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue_errors import (
    VenueError,
    VenueRejected,
    VenueShape,
    VenueUnavailable,
    VenueUnknown,
)
from research_to_prod.values import timeframe_length

if TYPE_CHECKING:
    from research_to_prod.market_data.strict_ccxt import Body, Transport

__all__ = [
    "Credentials",
    "Fetched",
    "VenueClient",
    "VenueError",
    "VenueRejected",
    "VenueShape",
    "VenueUnavailable",
    "VenueUnknown",
    "connect",
]

logger = logging.getLogger(__name__)

PAGE_LIMIT = 1000
"""Rows that a page may hold; the most that spot and futures both allow."""

ATTEMPTS = 6
"""Times that one read is tried."""

PATIENCE = 120.0
"""Seconds of Retry-After that are waited out; a longer wish ends the fetch."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Binance refuses longer intervals between startTime and endTime on account trades.
_TRADE_WINDOW = {"spot": timedelta(hours=24), "linear": timedelta(days=7)}

_T = TypeVar("_T")


class Credentials(BaseModel):
    """An API key and its secret; neither shows in a repr."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr
    secret: SecretStr

    @classmethod
    def from_environment(cls, venue: VenueSpec, environment: Mapping[str, str]) -> Credentials | None:
        """Read the variables that ``venue`` names; None when it names none.

        Raises
        ------
        ValueError
            Naming the variables that are not set.
        """
        if venue.key_variable is None or venue.secret_variable is None:
            return None
        unset = [name for name in (venue.key_variable, venue.secret_variable) if not environment.get(name)]
        if unset:
            raise ValueError(f"venue {venue.name} needs the environment variables {', '.join(unset)}")
        return cls(key=environment[venue.key_variable], secret=environment[venue.secret_variable])


@dataclass(frozen=True)
class _Pages:
    """Rows of each page as sent, and how their end was proven."""

    pages: tuple[tuple[Any, ...], ...]
    bodies: tuple[str, ...]
    terminal: str


def connect(
    venue: VenueSpec,
    *,
    base_url: str | None = None,
    credentials: Credentials | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> VenueClient:
    """Return a client of ``venue``; nothing is requested yet.

    Parameters
    ----------
    base_url
        Scheme, host and port of a peer that stands in for the venue; None for the venue itself.
    credentials
        Needed for :meth:`VenueClient.my_trades` only.
    sleep
        Waits between attempts, in seconds.

    Raises
    ------
    ValueError
        If the venue's ccxt exchange has no strict client: an unchecked one would turn faults into absence.
    """
    if venue.ccxt != "binance":
        raise ValueError(
            f"venue {venue.name}: there is no strict client for ccxt {venue.ccxt!r} yet, only for 'binance'"
        )
    from research_to_prod.market_data.strict_ccxt import Transport

    transport = Transport(
        venue.name,
        base_url=base_url,
        key=credentials.key.get_secret_value() if credentials else "",
        secret=credentials.secret.get_secret_value() if credentials else "",
        rate_limit_ms=venue.rate_limit_ms,
    )
    return VenueClient(venue.name, transport, sleep)


class VenueClient:
    """Complete reads of one venue. Every method raises :class:`VenueError` rather than return a part as the whole.

    Not safe for use by several threads at once.
    """

    def __init__(self, name: str, transport: Transport, sleep: Callable[[float], None]) -> None:
        self.name = name
        self._transport = transport
        self._sleep = sleep
        self._banned: str | None = None

    def __repr__(self) -> str:
        return f"VenueClient({self.name!r})"

    def clock(self, symbol: str | None = None) -> datetime:
        """Return the venue's time; with ``symbol``, that of the market's own host."""
        linear = symbol is not None and self._market(symbol)["linear"]
        body = self._read("fapiPublicGetTime" if linear else "publicGetTime", {})
        return _time(body.content["serverTime"])

    def candles(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> Fetched[pa.Table]:
        """Fetch the bars that open in ``[start, end)`` and had ended by the venue's clock.

        Returns
        -------
        Fetched
            RAW_CANDLES in the order sent, repetitions included. The certificate's interval ends early where the
            venue's clock had not reached ``end``.
        """
        market = self._market(symbol)
        length = timeframe_length(timeframe)
        before = self.clock(symbol)
        end = max(start, min(end, _EPOCH + (before - _EPOCH) // length * length))
        method = "fapiPublicGetKlines" if market["linear"] else "publicGetKlines"
        asked = {"symbol": market["id"], "interval": timeframe}
        got = self._pages(method, asked, start, end, lambda row: row[0], last=end - length)
        rows = sum(map(len, got.pages))
        certificate = issue(
            venue=self.name,
            endpoint=method,
            scope=f"{symbol} {timeframe}",
            interval=(start, end),
            bodies=got.bodies,
            rows=rows,
            terminal=got.terminal,
            clocks=(before, self.clock(symbol)),
        )
        columns: dict[str, list[Any]] = {
            "venue": [self.name] * rows,
            "symbol": [symbol] * rows,
            "timeframe": [timeframe] * rows,
            "ts": [_time(row[0]) for page in got.pages for row in page],
        }
        for position, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
            columns[name] = [float(row[position]) for page in got.pages for row in page]
        columns["fetch_id"] = [certificate.fetch_id] * rows
        columns["page"] = [number for number, page in enumerate(got.pages) for _ in page]
        columns["row"] = [position for page in got.pages for position in range(len(page))]
        return Fetched(pa.table(columns, schema=RAW_CANDLES.arrow), certificate)

    def funding_rates(self, symbol: str, start: datetime, end: datetime) -> Fetched[pa.Table]:
        """Fetch the funding payments in ``[start, end)``, as FUNDING_RATES; repetitions are kept as sent."""
        market = self._market(symbol)
        if not market["linear"]:
            raise VenueRejected(f"{self.name} {symbol} is no linear perpetual and has no funding")
        before = self.clock(symbol)
        end = max(start, min(end, before))
        asked = {"symbol": market["id"]}
        got = self._pages("fapiPublicGetFundingRate", asked, start, end, lambda row: row["fundingTime"], last=end)
        sent = [row for page in got.pages for row in page]
        self._same_market(sent, market)
        certificate = issue(
            venue=self.name,
            endpoint="fapiPublicGetFundingRate",
            scope=symbol,
            interval=(start, end),
            bodies=got.bodies,
            rows=len(sent),
            terminal=got.terminal,
            clocks=(before, self.clock(symbol)),
        )
        rows = [
            {
                "venue": self.name,
                "symbol": symbol,
                "ts": _time(row["fundingTime"]),
                "rate": float(row["fundingRate"]),
                # Binance leaves the mark price empty for payments before November 2023.
                "mark_price": float(row["markPrice"]) if row.get("markPrice") else None,
                "fetch_id": certificate.fetch_id,
            }
            for row in sent
        ]
        return Fetched(pa.Table.from_pylist(rows, schema=FUNDING_RATES.arrow), certificate)

    def trades(self, symbol: str, start: datetime, end: datetime) -> Fetched[pa.Table]:
        """Fetch the public (aggregate) trades in ``[start, end)`` as TRADES; one sent twice alike is one row."""
        market = self._market(symbol)
        method = "fapiPublicGetAggTrades" if market["linear"] else "publicGetAggTrades"
        before = self.clock(symbol)
        end = max(start, min(end, before))
        opened, stop = _milliseconds(start), _milliseconds(end)
        seen: dict[int, tuple[int, int, Mapping[str, Any]]] = {}
        bodies: list[str] = []
        cursor, newest, terminal = {"startTime": opened}, -1, "end_reached" if start < end else "empty_interval"
        while start < end and newest < stop and terminal != "empty_page":
            body = self._read(method, {"symbol": market["id"], "limit": PAGE_LIMIT, **cursor})
            for position, row in enumerate(body.content):
                known = seen.setdefault(row["a"], (len(bodies), position, row))[2]
                if row["T"] < opened or row["a"] < cursor.get("fromId", 0) or known != row:
                    raise VenueUnknown(f"{self.name}: trade {row['a']} lies before {cursor} or came with two contents")
                newest = max(newest, row["T"])
            bodies.append(body.sha256)
            terminal = terminal if body.content else "empty_page"
            # A cursor by time loses trades that share a millisecond.
            cursor = {"fromId": max(seen, default=-1) + 1}
        rows = [each for each in seen.values() if each[2]["T"] < stop]
        certificate = issue(
            venue=self.name,
            endpoint=method,
            scope=symbol,
            interval=(start, end),
            bodies=bodies,
            rows=len(rows),
            terminal=terminal,
            clocks=(before, self.clock(symbol)),
        )
        columns: dict[str, list[Any]] = {
            "venue": [self.name] * len(rows),
            "symbol": [symbol] * len(rows),
            "trade_id": [str(row["a"]) for _, _, row in rows],
            "ts": [_time(row["T"]) for _, _, row in rows],
            "price": [float(row["p"]) for _, _, row in rows],
            "amount": [float(row["q"]) for _, _, row in rows],
            "side": [-1 if row["m"] else 1 for _, _, row in rows],  # m: the buyer was the maker, so the taker sold
            "fetch_id": [certificate.fetch_id] * len(rows),
            "page": [page for page, _, _ in rows],
            "row": [position for _, position, _ in rows],
        }
        return Fetched(pa.table(columns, schema=TRADES.arrow), certificate)

    def my_trades(self, symbol: str, start: datetime, end: datetime) -> Fetched[tuple[dict[str, Any], ...]]:
        """Fetch the account's trades in ``[start, end)`` as ccxt's unified trades, amounts as decimal text, by id.

        Windows of time are searched for the first trade; from there pages follow trade ids to an empty page or past
        ``end``, because a cursor by time loses trades that share a millisecond. A trade that is sent twice alike is
        returned once.
        """
        market = self._market(symbol)
        method = "fapiPrivateGetUserTrades" if market["linear"] else "privateGetMyTrades"
        window = _TRADE_WINDOW["linear" if market["linear"] else "spot"]
        before = self.clock(symbol)
        end = max(start, min(end, before))
        trades: dict[int, Mapping[str, Any]] = {}
        bodies: list[str] = []
        opened, cursor, limit, terminal = start, None, PAGE_LIMIT, "empty_interval"
        while opened < end:
            asked: dict[str, Any] = {"symbol": market["id"], "limit": limit}
            if cursor is None:
                closed = min(opened + window, end)
                asked |= {"startTime": _milliseconds(opened), "endTime": _milliseconds(closed) - 1}
            else:
                asked["fromId"] = cursor  # excludes startTime and endTime on both hosts
            body = self._read(method, asked)
            page: list[Mapping[str, Any]] = body.content
            bodies.append(body.sha256)
            self._same_market(page, market)
            self._add_trades(trades, page, cursor)
            terminal = "empty_page"
            if any(_time(row["time"]) >= end for row in page):
                terminal = "end_reached"
                break
            if page:
                cursor = max(row["id"] for row in page) + 1
                # After a page below its limit the next trade, if any, is expected past the end: one row can prove that.
                limit = 1 if len(page) < limit else PAGE_LIMIT
            elif cursor is not None:
                break
            else:
                opened = closed
        inside = [row for _, row in sorted(trades.items()) if start <= _time(row["time"]) < end]
        certificate = issue(
            venue=self.name,
            endpoint=method,
            scope=symbol,
            interval=(start, end),
            bodies=bodies,
            rows=len(inside),
            terminal=terminal,
            clocks=(before, self.clock(symbol)),
        )
        return Fetched(tuple(self._transport.parse_trade(row, market) for row in inside), certificate)

    def _add_trades(
        self, trades: dict[int, Mapping[str, Any]], page: Sequence[Mapping[str, Any]], cursor: int | None
    ) -> None:
        for row in page:
            if cursor is not None and row["id"] < cursor:
                raise VenueUnknown(f"{self.name}: trade {row['id']} came for fromId {cursor}; the cursor does not hold")
            known = trades.setdefault(row["id"], row)
            if known != row:
                raise VenueUnknown(f"{self.name}: trade {row['id']} came with two different contents")

    def _same_market(self, rows: Sequence[Any], market: Mapping[str, Any]) -> None:
        foreign = {row["symbol"] for row in rows} - {market["id"]}
        if foreign:
            raise VenueShape(
                f"{self.name}: asked for {market['id']}, got rows of {', '.join(sorted(map(str, foreign)))}"
            )

    def _pages(
        self,
        method: str,
        asked: Mapping[str, Any],
        start: datetime,
        end: datetime,
        milliseconds_of: Callable[[Any], int],
        *,
        last: datetime,
    ) -> _Pages:
        """Read pages by time until one is empty or holds a row at or after ``last``.

        A page shorter than the limit proves nothing: the venue's own limit may be lower than the one asked for.
        """
        pages: list[tuple[Any, ...]] = []
        bodies: list[str] = []
        cursor, stop = _milliseconds(start), _milliseconds(end)
        terminal = "end_reached" if cursor < stop else "empty_interval"
        while cursor < stop and (not pages or cursor <= _milliseconds(last)):
            parameters = {**asked, "startTime": cursor, "endTime": stop - 1, "limit": PAGE_LIMIT}
            body = self._read(method, parameters)
            times = [milliseconds_of(row) for row in body.content]
            outside = [each for each in times if not _milliseconds(start) <= each < stop]
            if outside:
                raise VenueUnknown(f"{self.name} {method}: {len(outside)} rows lie outside the interval asked for")
            if times and max(times) < cursor:
                raise VenueUnknown(f"{self.name} {method}: page {len(pages)} repeats what came before; no progress")
            pages.append(tuple(body.content))
            bodies.append(body.sha256)
            if not times:
                terminal = "empty_page"
                break
            cursor = max(times) + 1
        return _Pages(tuple(pages), tuple(bodies), terminal)

    def _market(self, symbol: str) -> dict[str, Any]:
        return self._retry(lambda: self._transport.market(symbol), f"market {symbol}")

    def _read(self, method: str, parameters: Mapping[str, Any]) -> Body:
        return self._retry(lambda: self._transport.get(method, parameters), method)

    def _retry(self, read: Callable[[], _T], what: str) -> _T:
        """Repeat a read that failed in transit; every call of this client is a read, so repeating is safe."""
        if self._banned is not None:
            raise VenueRejected(self._banned)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return read()
            except (VenueUnavailable, VenueShape) as error:
                asked = error.retry_after if isinstance(error, VenueUnavailable) else None
                wait = asked if asked is not None else 0.5 * 2 ** (attempt - 1)
                if attempt == ATTEMPTS or wait > PATIENCE:
                    raise
                logger.warning(
                    "%s %s: attempt %d of %d in %.1f s: %s", self.name, what, attempt + 1, ATTEMPTS, wait, error
                )
            except VenueRejected as error:
                if error.banned:
                    self._banned = str(error)
                raise
            self._sleep(wait)
        raise AssertionError("unreachable")


def _milliseconds(when: datetime) -> int:
    """Return the first whole millisecond at or after ``when``."""
    return -((_EPOCH - when) // _MILLISECOND)


def _time(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _MILLISECOND
