"""Complete, certified reads from a venue through ccxt.

Belongs here: what can be read of markets; nothing here writes to a venue. Doesn't: the account (``account_reads``),
retries and certificates (``reads``), shapes and codes (``dialects``), error classes (``strict_ccxt``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from research_to_prod.market_data.account_reads import AccountReads
from research_to_prod.market_data.capabilities import Capability
from research_to_prod.market_data.certificates import Fetched
from research_to_prod.market_data.contracts import BOOK, FUNDING_RATES, RAW_CANDLES, TRADES
from research_to_prod.market_data.credentials import Credentials
from research_to_prod.market_data.dialects import dialect
from research_to_prod.market_data.dialects.base import EPOCH, Book, Market
from research_to_prod.market_data.instruments import Instrument, VenueStatus
from research_to_prod.market_data.reads import time_of
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
    kept = None if venue.order_history_days is None else timedelta(days=venue.order_history_days)
    return VenueClient(venue.name, spoken, transport, sleep, kept)


class VenueClient(AccountReads):
    """Complete reads of one venue. Every method raises :class:`VenueError` rather than return a part as the whole.

    What the venue cannot give is refused before any request, with :class:`VenueUnsupported`. Not safe for use by
    several threads at once.
    """

    def status(self) -> VenueStatus:
        """Return whether the venue trades, by its own word."""
        self._need(Capability.STATUS)
        return self._ask(self._dialect.status())

    def instruments(self) -> tuple[Instrument, ...]:
        """Return the contract terms of every market that the venue lists, by symbol."""
        self._need(Capability.INSTRUMENTS)
        return tuple(_instrument(each) for _, each in sorted(self._markets().items()))

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
        at = before if book.at is None else time_of(book.at)
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
