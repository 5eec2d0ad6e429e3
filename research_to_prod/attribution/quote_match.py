"""Which quote stood in a market at an instant.

Belongs here: the as-of match of events and quotes, with its age limit. Doesn't: what the quotes are used for.

The match is strictly before the event: one's own fill moves the quote of the same instant (taking ``<=`` for ``<``
changed a benchmark by 1.0 on a price of 100 in a five-row example). Among quotes of one instant the highest sequence
number stands; DuckDB's ASOF join picks an unspecified one, so it serves as a test oracle on deduplicated quotes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Clock = Literal["quoted_at", "received_at"]

MAX_QUOTE_AGE = timedelta(seconds=2)
"""Default age limit; liquid majors update many times a second, so an older quote means a hole in the recording."""

NO_TIME, NO_QUOTE = "time not recorded", "no quote before it"
TOO_OLD, UNUSABLE = "quote too old", "quote crossed or not positive"


@dataclass(frozen=True)
class QuoteMatch:
    """The quote that stood at each of N instants; NaN where none may be used.

    Parameters
    ----------
    bid, ask
        (N,) float64, quote currency per base unit.
    age
        (N,) ``timedelta64[us]`` from the quote to the instant, NaT where there is no quote.
    reason
        (N,) object: None where matched, else ``NO_TIME``, ``NO_QUOTE``, ``TOO_OLD`` or ``UNUSABLE``.
    """

    bid: Floats
    ask: Floats
    age: npt.NDArray[np.timedelta64]
    reason: npt.NDArray[np.object_]

    @property
    def mid(self) -> Floats:
        """(N,) midpoint of bid and ask."""
        return (self.bid + self.ask) / 2

    def touch(self, side: npt.NDArray[np.int64] | Floats) -> Floats:
        """(N,) price at which a taker of ``side`` (+1/-1) trades: the ask for a buy, the bid for a sell."""
        return np.where(np.asarray(side) > 0, self.ask, self.bid)

    def exclusions(self) -> dict[str, int]:
        """Count of instants without a usable quote, by reason."""
        reasons, counts = np.unique(self.reason[self.reason != None].astype(str), return_counts=True)  # noqa: E711
        return dict(zip(reasons.tolist(), counts.tolist(), strict=True))


def match_quotes(
    events: pa.Table, at: str, quotes: pa.Table, clock: Clock, max_age: timedelta = MAX_QUOTE_AGE
) -> QuoteMatch:
    """Return, for each event, the last quote of its market strictly before it.

    Parameters
    ----------
    events
        N rows with ``venue``, ``symbol`` and the timestamp column ``at`` (null: the instant never came).
    quotes
        ``QUOTES`` rows, any order.
    clock
        ``quoted_at`` for instants of the venue's clock (fills), ``received_at`` for instants of ours (decision,
        arrival, end): what we could have known.
    max_age
        A quote older than this is not used.
    """
    n = events.num_rows
    times = _microseconds(events, at)
    no_time = pc.is_null(events.column(at)).to_numpy(zero_copy_only=False)
    position = np.full(n, -1, np.int64)
    quote_times, bid, ask = (np.empty(0, np.int64), np.empty(0), np.empty(0))
    if n and quotes.num_rows:
        quote_market, event_market = _markets(quotes, events)
        order = np.lexsort((quotes.column("sequence").to_numpy(), _microseconds(quotes, clock), quote_market))
        quote_market = quote_market[order]
        quote_times = _microseconds(quotes, clock)[order]
        bid, ask = (quotes.column(name).to_numpy().astype(np.float64)[order] for name in ("bid", "ask"))
        for market in np.unique(event_market[event_market >= 0]):
            start, stop = np.searchsorted(quote_market, [market, market + 1])
            mine = np.flatnonzero((event_market == market) & ~no_time)
            found = np.searchsorted(quote_times[start:stop], times[mine], side="left") - 1
            position[mine] = np.where(found >= 0, found + start, -1)

    matched = position >= 0
    age = np.full(n, np.timedelta64("NaT"), dtype="timedelta64[us]")
    age[matched] = (times[matched] - quote_times[position[matched]]).astype("timedelta64[us]")
    bids, asks = np.full(n, np.nan), np.full(n, np.nan)
    bids[matched], asks[matched] = bid[position[matched]], ask[position[matched]]

    reason: npt.NDArray[np.object_] = np.full(n, None, dtype=object)
    with np.errstate(invalid="ignore"):
        reason[~((bids > 0) & (asks >= bids) & np.isfinite(asks))] = UNUSABLE
        reason[matched & (age > np.timedelta64(max_age))] = TOO_OLD
    reason[~matched] = NO_QUOTE
    reason[no_time] = NO_TIME
    refused = reason != None  # noqa: E711 - elementwise
    bids[refused] = asks[refused] = np.nan
    return QuoteMatch(bids, asks, age, reason)


def _microseconds(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """Return a timestamp column as integer microseconds; null as 0."""
    micros = table.column(name).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray(pc.fill_null(micros, 0).to_numpy(), dtype=np.int64)


def _markets(quotes: pa.Table, events: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return a number per (venue, symbol) for quotes and events; -1 for an event in a market never quoted."""
    names = [pc.binary_join_element_wise(t.column("venue"), t.column("symbol"), "\0") for t in (quotes, events)]
    known = pc.unique(names[0])
    numbers = [pc.fill_null(pc.index_in(each, value_set=known), -1).to_numpy().astype(np.int64) for each in names]
    return numbers[0], numbers[1]
