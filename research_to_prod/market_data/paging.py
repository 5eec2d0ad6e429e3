"""Reading a series page by page to a proven end.

A feed says how a venue pages one series: forward or backward, by time, by id or by the venue's own cursor. One loop
walks all of them. Belongs here: the feed and the loop. Doesn't: requests and retries (``venue``), what a feed's
parameters are (``dialects``).

Times are whole microseconds since 1970: venues stamp by milliseconds, microseconds or float seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from research_to_prod.market_data.venue_errors import VenueUnknown

if TYPE_CHECKING:
    from research_to_prod.market_data.strict_ccxt import Body


_STEP = 1_000
"""Finest stamp of a series whose pages don't overlap, a millisecond: two rows are at least that far apart."""


_TELLINGS = 3
"""Times in a row that a page must be empty: a venue in trouble answers an empty list where rows are."""


class Terminal(StrEnum):
    """What ended a fetch, and so what its certificate rests on."""

    EMPTY_INTERVAL = "empty_interval"
    EMPTY_PAGE = "empty_page"
    END_REACHED = "end_reached"
    CAUGHT_UP = "caught_up"
    HISTORY_CUT = "history_cut"


@dataclass(frozen=True)
class Want:
    """What the next page is asked for.

    Parameters
    ----------
    start, stop
        The part of the interval not yet seen, at most one window of the feed.
    anchor
        The venue's cursor after the last page, for feeds that have one; None before the first row.
    limit
        Rows that the page may hold.
    """

    start: int
    stop: int
    anchor: str | None
    limit: int


@dataclass(frozen=True)
class Feed:
    """How one series of one market is paged and read.

    Parameters
    ----------
    method
        The ccxt endpoint method.
    ask
        Gives the parameters of a page.
    rows
        Gives the rows of a body, in the order sent; raises VenueShape on rows of another market.
    at
        Gives a row's time.
    values
        Gives a row's values, by column.
    limit
        Rows that a page may hold.
    backward
        Whether pages go from the end of the interval to its start.
    identity
        Gives a row's id, for rows that may be sent twice; the repetition is dropped, a contradiction is an error.
    anchor
        Gives the cursor after a page from its body and rows; later pages are asked by it alone.
    holds
        Tells whether a row may follow a cursor; one that may not shows that the venue ignores the cursor.
    overlap
        Whether each page begins with the last rows of the one before it, because the cursor is coarser than the rows.
    window
        Longest span between the bounds of a request; None without a bound.
    open_ended
        Whether the venue takes no bound on the far side, so that a page may run past the interval.
    slack
        How far a page may reach back behind its near bound, because the venue rounds it.
    needs_start
        Whether only a row at or before the start proves that the venue's history reaches back to it.
    retention
        Age beyond which the venue drops rows: an older start is proven by a row before it only.
    single
        Whether there is one page only, the newest rows.
    """

    method: str
    ask: Callable[[Want], Mapping[str, Any]]
    rows: Callable[[Any], Sequence[Any]]
    at: Callable[[Any], int]
    values: Callable[[Any], tuple[Any, ...]]
    limit: int
    backward: bool = False
    identity: Callable[[Any], str] | None = None
    anchor: Callable[[Any, Sequence[Any]], str] | None = None
    holds: Callable[[Any, str], bool] = field(default=lambda _row, _anchor: True)
    overlap: bool = False
    window: int | None = None
    open_ended: bool = False
    slack: int = 0
    needs_start: bool = False
    retention: int | None = None
    single: bool = False


@dataclass(frozen=True)
class Pages:
    """Rows within the interval with their place on each page, the hash of each body, and what proved the end."""

    pages: tuple[tuple[tuple[int, Any], ...], ...]
    bodies: tuple[str, ...]
    terminal: Terminal

    def rows(self) -> list[tuple[int, int, Any]]:
        """Return page, place on the page, and row, in the order sent."""
        return [(number, place, row) for number, page in enumerate(self.pages) for place, row in page]


def walk(
    read: Callable[[str, Mapping[str, Any]], Body],
    feed: Feed,
    start: int,
    stop: int,
    *,
    venue: str,
    last: int,
    now: int,
) -> Pages:
    """Read pages of ``feed`` until the end of ``[start, stop)`` is proven.

    A page shorter than the limit proves nothing: the venue's own limit may be lower than the one asked for. An end is
    proven by a page that is empty three times in a row, by a row on or past the far end, or, where pages overlap, by a
    page below the limit that brings nothing new. A venue that says "empty" of rows for longer can't be told from one
    that has none; that the bars are missing, and that other venues have them, is then seen by the rules of quality.

    Parameters
    ----------
    venue
        Its name, for errors.
    last
        Time whose row ends a forward walk: the open of the last bar; ``stop`` where rows keep no grid.
    now
        The venue's clock.

    Raises
    ------
    VenueUnknown
        If a page contradicts what was asked for or what came before.
    """
    state = _Walk(feed, start, stop, venue)
    terminal = Terminal.END_REACHED if start < stop else Terminal.EMPTY_INTERVAL
    while state.lo < state.hi and (feed.backward or state.lo <= last):
        want = state.want()
        for _ in range(_TELLINGS):
            body = read(feed.method, feed.ask(want))
            page = feed.rows(body.content)
            if page:
                break
        ended = state.take(page, body, want)
        if ended is not None:
            terminal = ended
            break
    if start < stop and _cut(feed, state, terminal, start, now):
        terminal = Terminal.HISTORY_CUT
    return Pages(tuple(state.pages), tuple(state.bodies), terminal)


def _cut(feed: Feed, state: _Walk, terminal: Terminal, start: int, now: int) -> bool:
    """Tell whether the venue may have dropped what lies between ``start`` and the oldest row that it served."""
    if state.oldest is not None and state.oldest < start + (1 if feed.needs_start else 0):
        return False
    if feed.needs_start or feed.single:
        return True
    reached = terminal is Terminal.END_REACHED and feed.backward
    return feed.retention is not None and start < now - feed.retention and not reached


class _Walk:
    """The part of the interval not yet seen, and the rows seen so far."""

    def __init__(self, feed: Feed, start: int, stop: int, venue: str) -> None:
        self.feed = feed
        self.name = f"{venue} {feed.method}"
        self.start, self.stop = start, stop
        self.lo, self.hi = start, stop
        self.anchor: str | None = None
        self.limit = feed.limit
        self.pages: list[tuple[tuple[int, Any], ...]] = []
        self.bodies: list[str] = []
        self.oldest: int | None = None
        self._seen: dict[str, Any] = {}

    def want(self) -> Want:
        lo, hi, window = self.lo, self.hi, self.feed.window
        if window is not None:
            lo, hi = (max(lo, hi - window), hi) if self.feed.backward else (lo, min(hi, lo + window))
        return Want(lo, hi, self.anchor, self.limit)

    def take(self, page: Sequence[Any], body: Body, want: Want) -> Terminal | None:
        """Add a page and move on; return what it proves, None when there is more to ask."""
        feed, times = self.feed, [self.feed.at(row) for row in page]
        self._check(page, times, want)
        fresh = [each for each in zip(range(len(page)), page, times, strict=True) if self._is_new(each[1])]
        self.pages.append(tuple((place, row) for place, row, at in fresh if self.start <= at < self.stop))
        self.bodies.append(body.sha256)
        self.oldest = min([*times, *([] if self.oldest is None else [self.oldest])], default=None)
        if feed.single:
            return Terminal.END_REACHED
        if not page:
            return self._skip(want)
        if any(at < self.start for at in times) if feed.backward else any(at >= self.stop for at in times):
            return Terminal.END_REACHED
        # Rows of the step that the near bound was rounded to, or of the one before: nothing lies beyond them.
        news = bool(fresh) and (any(at < want.stop for at in times) if feed.backward else max(times) >= want.start)
        if not news and feed.overlap and len(page) >= want.limit:
            raise VenueUnknown(
                f"{self.name}: {len(page)} rows share one step of the venue's cursor; what lies between them and the "
                "next page cannot be asked for"
            )
        if not news:
            return Terminal.CAUGHT_UP if feed.overlap else self._skip(want)
        if feed.anchor is not None:
            self.anchor = feed.anchor(body.content, page)
            # After a page below its limit the next row, if any, is expected past the end: one row can prove that.
            self.limit = 1 if len(page) < want.limit and not feed.overlap else feed.limit
        elif feed.backward:
            self.hi = min(times) + (1 if feed.overlap else 0)
        else:
            self.lo = max(times) + (0 if feed.overlap else _STEP)
        return None

    def _skip(self, want: Want) -> Terminal | None:
        """Pass over a window without rows; past the last one the end is proven."""
        if want.anchor is not None:
            return Terminal.EMPTY_PAGE
        if self.feed.backward:
            self.hi = want.start
        else:
            self.lo = want.stop
        return None if self.lo < self.hi else Terminal.EMPTY_PAGE

    def _check(self, page: Sequence[Any], times: Sequence[int], want: Want) -> None:
        feed, number = self.feed, len(self.bodies)
        if feed.single:
            return
        if want.anchor is not None:
            astray = sum(not feed.holds(row, want.anchor) for row in page)
            if astray:
                raise VenueUnknown(
                    f"{self.name}: {astray} rows of page {number} do not follow {want.anchor}; the cursor does not hold"
                )
            return
        near, far = (
            (lambda at: at >= want.stop + feed.slack, lambda at: at < want.start - feed.slack)
            if feed.backward
            else (lambda at: at < want.start - feed.slack, lambda at: at >= want.stop)
        )
        if number and any(near(at) for at in times):
            raise VenueUnknown(f"{self.name}: page {number} repeats what came before; the cursor does not hold")
        outside = sum(near(at) or (far(at) and not feed.open_ended) for at in times)
        if outside:
            raise VenueUnknown(f"{self.name}: {outside} rows lie outside the interval asked for")

    def _is_new(self, row: Any) -> bool:
        """Tell whether a row came for the first time; rows without an id are all kept."""
        if self.feed.identity is None:
            return True
        name = self.feed.identity(row)
        if name not in self._seen:
            self._seen[name] = row
            return True
        if self._seen[name] != row:
            raise VenueUnknown(f"{self.name}: trade {name} came with two different contents")
        return False
