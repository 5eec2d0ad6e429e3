"""Complete, certified reads from a venue through ccxt.

Belongs here: retries of reads, and the certificate of each fetch. Nothing here writes to a venue. Doesn't: shapes and
codes (``dialects``), the loop over pages (``paging``), error classes (``strict_ccxt``), files (``files``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from research_to_prod.market_data.capabilities import Capability, require
from research_to_prod.market_data.certificates import Certificate, Fetched, issue
from research_to_prod.market_data.contracts import BOOK, FUNDING_RATES, RAW_CANDLES, TRADES
from research_to_prod.market_data.credentials import Credentials
from research_to_prod.market_data.dialects import dialect
from research_to_prod.market_data.dialects.base import EPOCH, Ask, Book, Dialect, Market
from research_to_prod.market_data.instruments import Instrument, TradingFee, VenueStatus
from research_to_prod.market_data.paging import Feed, Pages, Terminal, walk
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue_errors import (
    VenueError,
    VenueRejected,
    VenueShape,
    VenueUnavailable,
    VenueUnknown,
    VenueUnsupported,
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
    "VenueUnsupported",
    "connect",
]

logger = logging.getLogger(__name__)

ATTEMPTS = 6
"""Times that one read is tried."""

PATIENCE = 120.0
"""Seconds of Retry-After that are waited out; a longer wish ends the fetch."""

_MICROSECOND = timedelta(microseconds=1)

_T = TypeVar("_T")


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
        Needed for :meth:`VenueClient.fees` and :meth:`VenueClient.my_trades` only.
    sleep
        Waits between attempts, in seconds.
    """
    from research_to_prod.market_data.strict_ccxt import Transport

    spoken = dialect(venue.ccxt)
    transport = Transport(
        venue.name,
        spoken,
        base_url=base_url,
        key=credentials.key.get_secret_value() if credentials else "",
        secret=credentials.secret.get_secret_value() if credentials else "",
        passphrase=credentials.passphrase.get_secret_value() if credentials else "",
        rate_limit_ms=venue.rate_limit_ms,
    )
    return VenueClient(venue.name, spoken, transport, sleep)


class VenueClient:
    """Complete reads of one venue. Every method raises :class:`VenueError` rather than return a part as the whole.

    What the venue cannot give is refused before any request, with :class:`VenueUnsupported`. Not safe for use by
    several threads at once.
    """

    def __init__(self, name: str, spoken: Dialect, transport: Transport, sleep: Callable[[float], None]) -> None:
        self.name = name
        self._dialect = spoken
        self._transport = transport
        self._sleep = sleep
        self._banned: str | None = None

    def __repr__(self) -> str:
        return f"VenueClient({self.name!r})"

    def clock(self, symbol: str | None = None) -> datetime:
        """Return the venue's time; with ``symbol``, that of the market's own host."""
        self._need(Capability.CLOCK)
        return _time(self._ask(self._dialect.clock(None if symbol is None else self._market(symbol))))

    def status(self) -> VenueStatus:
        """Return whether the venue trades, by its own word."""
        self._need(Capability.STATUS)
        return self._ask(self._dialect.status())

    def instruments(self) -> tuple[Instrument, ...]:
        """Return the contract terms of every market that the venue lists, by symbol."""
        self._need(Capability.INSTRUMENTS)
        return tuple(_instrument(each) for _, each in sorted(self._markets().items()))

    def fees(self, symbol: str) -> TradingFee:
        """Return what the account pays in a market, before any discount that the venue applies to the invoice."""
        self._need(Capability.FEES, signed=True)
        maker, taker = self._ask(self._dialect.fees(self._market(symbol)))
        return TradingFee(symbol, maker, taker)

    def candles(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> Fetched[pa.Table]:
        """Fetch the bars that open in ``[start, end)`` and had ended by the venue's clock.

        Returns
        -------
        Fetched
            RAW_CANDLES in the order sent, repetitions included. The certificate's interval ends early where the
            venue's clock had not reached ``end``.

        Raises
        ------
        VenueUnknown
            If the venue may have dropped bars at the start of the interval: their absence would prove nothing.
        """
        self._need(Capability.CANDLES)
        self._dialect.timeframe(timeframe)
        market, length = self._market(symbol), timeframe_length(timeframe)
        before = self.clock(symbol)
        end = max(start, min(end, EPOCH + (before - EPOCH) // length * length))
        feed = self._dialect.candles(market, timeframe)
        got = self._whole(feed, symbol, start, end, before, Capability.CANDLES, last=end - length)
        certificate = self._certify(feed, f"{symbol} {timeframe}", symbol, (start, end), got, before)
        sent, columns = self._columns(feed, symbol, got, certificate)
        for position, name in enumerate(("open", "high", "low", "close", "volume")):
            columns[name] = [values[position] for values in sent]
        columns["timeframe"] = [timeframe] * len(sent)
        return Fetched(pa.table(columns).select(RAW_CANDLES.arrow.names).cast(RAW_CANDLES.arrow), certificate)

    def trades(self, symbol: str, start: datetime, end: datetime) -> Fetched[pa.Table]:
        """Fetch the public trades in ``[start, end)``, as TRADES in the order sent, each once.

        Returns
        -------
        Fetched
            Where the venue no longer serves the start of the interval, the certificate's terminal is ``history_cut``
            and it is not ``complete``: the rows are real, and what lies before them is unknown.
        """
        self._need(Capability.TRADES)
        market = self._market(symbol)
        before = self.clock(symbol)
        end = max(start, min(end, before))
        feed = self._dialect.trades(market)
        got = self._walk(feed, start, end, before)
        certificate = self._certify(feed, symbol, symbol, (start, end), got, before)
        sent, columns = self._columns(feed, symbol, got, certificate)
        for position, name in enumerate(("trade_id", "price", "amount")):
            columns[name] = [values[position] for values in sent]
        columns["side"] = [1 if values[3] == "buy" else -1 for values in sent]
        return Fetched(pa.table(columns).select(TRADES.arrow.names).cast(TRADES.arrow), certificate)

    def book(self, symbol: str, depth: int = 100) -> pa.Table:
        """Return one snapshot of the order book as BOOK, at most ``depth`` levels a side.

        Its time is the venue's stamp, or the venue's clock before the request where the venue stamps none.
        """
        self._need(Capability.BOOK)
        market = self._market(symbol)
        before = self.clock(symbol)
        book = self._ask(self._dialect.book(market, depth))
        _check_order(self.name, symbol, book)
        at = before if book.at is None else _time(book.at)
        rows = [
            {
                "venue": self.name,
                "symbol": symbol,
                "ts": at,
                "side": side,
                "level": level,
                "price": price,
                "size": size,
            }
            for side, levels in (("ask", book.asks), ("bid", book.bids))
            for level, (price, size) in enumerate(levels[:depth])
        ]
        return pa.Table.from_pylist(rows, schema=BOOK.arrow)

    def funding_rates(self, symbol: str, start: datetime, end: datetime) -> Fetched[pa.Table]:
        """Fetch the funding payments in ``[start, end)``, as FUNDING_RATES; repetitions are kept as sent.

        Raises
        ------
        VenueUnknown
            If the venue may have dropped payments at the start of the interval.
        """
        self._need(Capability.FUNDING_RATES)
        market = self._market(symbol)
        if not market["linear"]:
            raise VenueRejected(f"{self.name} {symbol} is no linear perpetual and has no funding")
        before = self.clock(symbol)
        end = max(start, min(end, before))
        feed = self._dialect.funding_rates(market)
        got = self._whole(feed, symbol, start, end, before, Capability.FUNDING_RATES)
        certificate = self._certify(feed, symbol, symbol, (start, end), got, before)
        sent, columns = self._columns(feed, symbol, got, certificate)
        columns["rate"] = [rate for rate, _ in sent]
        columns["mark_price"] = [mark for _, mark in sent]
        return Fetched(pa.table(columns).select(FUNDING_RATES.arrow.names).cast(FUNDING_RATES.arrow), certificate)

    def my_trades(self, symbol: str, start: datetime, end: datetime) -> Fetched[tuple[dict[str, Any], ...]]:
        """Fetch the account's trades in ``[start, end)`` as ccxt's unified trades, amounts as decimal text, by id.

        A trade that is sent twice alike is returned once.
        """
        self._need(Capability.MY_TRADES, signed=True)
        market = self._market(symbol)
        before = self.clock(symbol)
        end = max(start, min(end, before))
        feed = self._dialect.my_trades(market)
        got = self._whole(feed, symbol, start, end, before, Capability.MY_TRADES)
        certificate = self._certify(feed, symbol, symbol, (start, end), got, before)
        rows = sorted((row for _, _, row in got.rows()), key=lambda row: int(row["id"]))
        return Fetched(tuple(self._transport.parse_trade(row, market) for row in rows), certificate)

    def _need(self, capability: Capability, *, signed: bool = False) -> None:
        require(self._dialect.ccxt, capability, self.name)
        if signed and not self._transport.signed:
            raise VenueUnsupported(
                f"{self.name}: {capability} needs an API key; name its environment variables in universe.yaml "
                "(key_variable, secret_variable, and passphrase_variable where the venue has one)"
            )

    def _walk(self, feed: Feed, start: datetime, end: datetime, now: datetime, last: datetime | None = None) -> Pages:
        times = {"last": _micros(end if last is None else last), "now": _micros(now)}
        return walk(self._read, feed, _micros(start), _micros(end), venue=self.name, **times)

    def _whole(
        self,
        feed: Feed,
        symbol: str,
        start: datetime,
        end: datetime,
        now: datetime,
        what: Capability,
        last: datetime | None = None,
    ) -> Pages:
        """Walk, and refuse a series whose start the venue no longer serves."""
        got = self._walk(feed, start, end, now, last)
        if got.terminal is Terminal.HISTORY_CUT:
            oldest = min((_time(feed.at(row)) for _, _, row in got.rows()), default=None)
            remedy = self._dialect.remedies.get(what, "start later, or read the older part from files")
            raise VenueUnknown(
                f"{self.name} {symbol}: the venue's {what} do not reach back to {start:%Y-%m-%dT%H:%MZ}; the oldest "
                f"in the interval is {f'{oldest:%Y-%m-%dT%H:%MZ}' if oldest else 'none'}, and what lies before it is "
                f"unknown, not absent; {remedy}"
            )
        return got

    def _certify(
        self, feed: Feed, scope: str, symbol: str, interval: tuple[datetime, datetime], got: Pages, before: datetime
    ) -> Certificate:
        return issue(
            venue=self.name,
            endpoint=feed.method,
            scope=scope,
            interval=interval,
            bodies=got.bodies,
            rows=sum(map(len, got.pages)),
            terminal=got.terminal,
            complete=got.terminal is not Terminal.HISTORY_CUT,
            clocks=(before, self.clock(symbol)),
        )

    def _columns(
        self, feed: Feed, symbol: str, got: Pages, certificate: Certificate
    ) -> tuple[list[tuple[Any, ...]], dict[str, list[Any]]]:
        """Return the values of each row, and the columns that all series share."""
        rows = got.rows()
        columns: dict[str, list[Any]] = {
            "venue": [self.name] * len(rows),
            "symbol": [symbol] * len(rows),
            "ts": [_time(feed.at(row)) for _, _, row in rows],
            "fetch_id": [certificate.fetch_id] * len(rows),
            "page": [page for page, _, _ in rows],
            "row": [place for _, place, _ in rows],
        }
        return [feed.values(row) for _, _, row in rows], columns

    def _markets(self) -> Mapping[str, Market]:
        return self._retry(self._transport.markets, "markets")

    def _market(self, symbol: str) -> Market:
        markets = self._markets()
        if symbol not in markets:
            raise VenueRejected(f"{self.name} does not list {symbol!r}; it lists {len(markets)} other symbols")
        market = markets[symbol]
        if not any(market[kind] for kind in self._dialect.kinds):
            kinds = " nor ".join(self._dialect.kinds)
            raise VenueUnsupported(f"{self.name} {symbol} is not {kinds}, which is what this client reads of the venue")
        return market

    def _ask(self, ask: Ask[_T]) -> _T:
        return ask.read(self._read(ask.method, ask.parameters).content)

    def _read(self, method: str, parameters: Mapping[str, Any]) -> Body:
        return self._retry(lambda: self._transport.get(method, parameters), method)

    def _retry(self, read: Callable[[], _T], what: str) -> _T:
        """Repeat what failed in transit, if the transport says that it may be repeated: never an order."""
        if self._banned is not None:
            raise VenueRejected(self._banned, banned=True)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return read()
            except VenueError as error:
                if error.banned:
                    self._banned = str(error)
                wait = error.retry_after if error.retry_after is not None else 0.5 * 2 ** (attempt - 1)
                if not error.retryable or attempt == ATTEMPTS or wait > PATIENCE:
                    raise
                logger.warning(
                    "%s %s: attempt %d of %d in %.1f s: %s", self.name, what, attempt + 1, ATTEMPTS, wait, error
                )
            self._sleep(wait)
        raise AssertionError("unreachable")


def _instrument(market: Market) -> Instrument:
    precision, least = market["precision"], market["limits"]["cost"]["min"]
    return Instrument(
        symbol=market["symbol"],
        tick=_decimal(precision["price"]),
        lot=_decimal(precision["amount"]),
        min_notional=_decimal(least),
        contract_size=_decimal(market["contractSize"]),
        linear=bool(market["linear"]),
        inverse=bool(market["inverse"]),
        active=bool(market["active"]),
        maker=_decimal(market["maker"]),
        taker=_decimal(market["taker"]),
    )


def _decimal(value: Any) -> str | None:
    return None if value is None else format(Decimal(str(value)), "f")


def _check_order(venue: str, symbol: str, book: Book) -> None:
    """Refuse a book whose levels are not best first: it was merged or cut on the way."""
    bids, asks = ([price for price, _ in side] for side in (book.bids, book.asks))
    if bids != sorted(set(bids), reverse=True) or asks != sorted(set(asks)):
        raise VenueShape(f"{venue} {symbol}: the levels of the book are not ordered from the best price on")


def _micros(when: datetime) -> int:
    return (when - EPOCH) // _MICROSECOND


def _time(microseconds: int) -> datetime:
    return EPOCH + microseconds * _MICROSECOND
