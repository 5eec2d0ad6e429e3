"""Reading a venue to a proven end: retries, pages, certificates.

Belongs here: what every read is made of. Doesn't: what can be read (``venue``, ``account_reads``), shapes and codes
(``dialects``), the loop over pages (``paging``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from research_to_prod.market_data.capabilities import Capability, require
from research_to_prod.market_data.certificates import Certificate, issue
from research_to_prod.market_data.dialects.base import EPOCH, Ask, Dialect, Market
from research_to_prod.market_data.paging import Feed, Pages, Terminal, walk
from research_to_prod.market_data.traffic import Bracket, Heard
from research_to_prod.market_data.venue_errors import VenueError, VenueRejected, VenueUnknown, VenueUnsupported

if TYPE_CHECKING:
    from research_to_prod.market_data.strict_ccxt import Body, Transport

logger = logging.getLogger(__name__)

ATTEMPTS = 6
"""Times that one read is tried."""

PATIENCE = 120.0
"""Seconds of Retry-After that are waited out; a longer wish ends the fetch."""

_MICROSECOND = timedelta(microseconds=1)

_T = TypeVar("_T")


class Reads:
    """One venue's transport, and reads of it that are repeated, walked to their end and certified."""

    def __init__(
        self,
        name: str,
        spoken: Dialect,
        transport: Transport,
        sleep: Callable[[float], None],
        keeps_orders: timedelta | None = None,
    ) -> None:
        self.name = name
        self._dialect = spoken
        self._transport = transport
        self._sleep = sleep
        self._keeps_orders = keeps_orders
        self._banned: tuple[str, datetime | None] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def clock(self, symbol: str | None = None) -> datetime:
        """Return the venue's time; with ``symbol``, that of the market's own host."""
        self._need(Capability.CLOCK)
        return time_of(self._ask(self._dialect.clock(None if symbol is None else self._market(symbol))))

    def bracket(self, turn: int) -> Bracket:
        """Ask one of the venue's hosts for its time, between two looks at our clock; ``turn`` picks the host."""
        self._need(Capability.CLOCK)
        hosts = self._dialect.clocks()
        said = self._ask(hosts[turn % len(hosts)])
        return Bracket(*self._transport.bracket, time_of(said), self._dialect.clock_step * _MICROSECOND)

    @property
    def heard(self) -> tuple[Heard, ...]:
        """What this client's requests of the last minutes came back as."""
        return self._transport.traffic.spells

    @property
    def banned(self) -> bool:
        """Whether a ban keeps this client from asking."""
        return self._ban() is not None

    def _ban(self) -> str | None:
        """Return why nothing may be asked; a ban without an end holds for as long as the client lives."""
        if self._banned is None:
            return None
        why, until = self._banned
        return why if until is None or self._transport.now < until else None

    def _need(self, capability: Capability, *, signed: bool = False) -> None:
        require(self._dialect.ccxt, capability, self.name)
        if signed and not self._transport.signed:
            raise VenueUnsupported(
                f"{self.name}: {capability} needs an API key; name its environment variables in universe.yaml "
                "(key_variable, secret_variable, and passphrase_variable where the venue has one)"
            )

    def _walk(self, feed: Feed, start: datetime, end: datetime, now: datetime, last: datetime | None = None) -> Pages:
        times = {"last": micros(end if last is None else last), "now": micros(now)}
        return walk(self._read, feed, micros(start), micros(end), venue=self.name, **times)

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
            oldest = min((time_of(feed.at(row)) for _, _, row in got.rows()), default=None)
            remedy = self._dialect.remedies.get(what, "start later, or read the older part from files")
            raise VenueUnknown(
                f"{self.name} {symbol}: the venue's {what} do not reach back to {start:%Y-%m-%dT%H:%MZ}; the oldest "
                f"in the interval is {f'{oldest:%Y-%m-%dT%H:%MZ}' if oldest else 'none'}, and what lies before it is "
                f"unknown, not absent; {remedy}"
            )
        return got

    def _certify(
        self,
        feed: Feed,
        scope: str,
        symbol: str | None,
        interval: tuple[datetime, datetime],
        got: Pages,
        before: datetime,
    ) -> Certificate:
        return self._issue(feed.method, scope, interval, got, (before, self.clock(symbol)))

    def _issue(
        self,
        endpoint: str,
        scope: str,
        interval: tuple[datetime, datetime],
        got: Pages,
        clocks: tuple[datetime, datetime],
    ) -> Certificate:
        return issue(
            venue=self.name,
            endpoint=endpoint,
            scope=scope,
            interval=interval,
            bodies=got.bodies,
            rows=sum(map(len, got.pages)),
            terminal=got.terminal,
            complete=got.terminal is not Terminal.HISTORY_CUT,
            clocks=clocks,
        )

    def _columns(
        self, feed: Feed, symbol: str, got: Pages, certificate: Certificate
    ) -> tuple[list[tuple[Any, ...]], dict[str, list[Any]]]:
        """Return the values of each row, and the columns that all series share."""
        rows = got.rows()
        columns: dict[str, list[Any]] = {
            "venue": [self.name] * len(rows),
            "symbol": [symbol] * len(rows),
            "ts": [time_of(feed.at(row)) for _, _, row in rows],
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
        ban = self._ban()
        if ban is not None:
            raise VenueRejected(ban, banned=True)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return read()
            except VenueError as error:
                if error.banned:
                    lasts = error.retry_after
                    until = None if lasts is None else self._transport.now + timedelta(seconds=lasts)
                    self._banned = str(error), until
                wait = error.retry_after if error.retry_after is not None else 0.5 * 2 ** (attempt - 1)
                if not error.retryable or attempt == ATTEMPTS or wait > PATIENCE:
                    raise
                logger.warning(
                    "%s %s: attempt %d of %d in %.1f s: %s", self.name, what, attempt + 1, ATTEMPTS, wait, error
                )
            self._sleep(wait)
        raise AssertionError("unreachable")


def micros(when: datetime) -> int:
    """Return a time in whole microseconds."""
    return (when - EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> datetime:
    """Return the time of whole microseconds."""
    return EPOCH + microseconds * _MICROSECOND
