"""Which quote stood in a market at an instant.

Belongs here: the as-of match of events and quotes, with its age limit. Doesn't: what the quotes are used for.

The match is strictly before the event: one's own fill moves the quote of the same instant (taking ``<=`` for ``<``
changed a benchmark by 1.0 on a price of 100 in a five-row example). Among quotes of one instant the highest sequence
number stands; DuckDB's ASOF join picks an unspecified one, so it serves as a test oracle on deduplicated quotes only.

Quotes come in pieces, and a better match in a later piece replaces an earlier one: neither the order of the pieces nor
where they are cut can change a result, and memory holds one piece whatever the days weigh.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake import Lake
from research_to_prod.lake.log import Version

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Market = tuple[str, str]
Clock = Literal["quoted_at", "received_at"]

MAX_QUOTE_AGE = timedelta(seconds=2)
"""Default age limit; liquid majors update many times a second, so an older quote means a hole in the recording."""

_NEVER = np.iinfo(np.int64).min
_MICROSECOND = timedelta(microseconds=1)


class Unmatched(IntEnum):
    """Why no quote may be used at an instant; 0 stands for a match."""

    NO_TIME = 1
    NO_QUOTE = 2
    TOO_OLD = 3
    UNUSABLE = 4

    @property
    def text(self) -> str:
        """The reason in words."""
        return _TEXTS[self]


_TEXTS = {
    Unmatched.NO_TIME: "time not recorded",
    Unmatched.NO_QUOTE: "no quote before it",
    Unmatched.TOO_OLD: "quote too old",
    Unmatched.UNUSABLE: "quote crossed or not positive",
}


@dataclass(frozen=True)
class QuoteMatch:
    """The quote that stood at each of N instants; NaN where none may be used.

    Parameters
    ----------
    bid, ask
        (N,) float64, quote currency per base unit.
    age
        (N,) ``timedelta64[us]`` from the quote to the instant, NaT where no quote may be used.
    reason
        (N,) int8: 0 where matched, else an ``Unmatched``.
    """

    bid: Floats
    ask: Floats
    age: npt.NDArray[np.timedelta64]
    reason: npt.NDArray[np.int8]

    @property
    def mid(self) -> Floats:
        """(N,) midpoint of bid and ask."""
        return (self.bid + self.ask) / 2

    def touch(self, side: npt.NDArray[np.int64] | Floats) -> Floats:
        """(N,) price at which a taker of ``side`` (+1/-1) trades: the ask for a buy, the bid for a sell."""
        return np.where(np.asarray(side) > 0, self.ask, self.bid)

    def why(self) -> pa.Array:
        """(N,) the reason in words, null where matched."""
        texts = pa.array([None, *(each.text for each in Unmatched)], pa.string())
        return texts.take(pa.array(self.reason))

    def exclusions(self) -> dict[str, int]:
        """Count of instants without a usable quote, by reason."""
        counts = np.bincount(self.reason, minlength=len(Unmatched) + 1)
        return {each.text: int(counts[each]) for each in Unmatched if counts[each]}


@dataclass(frozen=True)
class StoredQuotes:
    """Quotes as the lake holds them, read in pieces each time they are gone through."""

    lake: Lake
    versions: tuple[Version, ...]

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield pieces of at most a row group, only the columns that a match needs."""
        columns = ("venue", "symbol", "quoted_at", "received_at", "sequence", "bid", "ask")
        for version in self.versions:
            yield from self.lake.pieces(version, columns)


def match_quotes(
    events: pa.Table, instants: Mapping[str, Clock], quotes: Iterable[pa.Table], max_age: timedelta = MAX_QUOTE_AGE
) -> dict[str, QuoteMatch]:
    """Return, for each instant of each event, the last quote of its market strictly before it.

    Parameters
    ----------
    events
        N rows with ``venue``, ``symbol`` and the timestamp columns of ``instants`` (null: the instant never came).
        Fastest in the order of market, then time.
    instants
        Column of ``events`` -> clock: ``quoted_at`` for instants of the venue's clock (fills), ``received_at`` for
        instants of ours (decision, arrival, end): what we could have known.
    quotes
        ``QUOTES`` rows in pieces, each of any markets in any order; fastest in the order of the lake.
    max_age
        A quote older than this is not used.
    """
    codes, names = _market_codes(events)
    order = None if (codes[1:] >= codes[:-1]).all() else np.argsort(codes, kind="stable")
    markets = {names[code]: rows for code, rows in _runs(codes if order is None else codes[order])}
    limit = max_age // _MICROSECOND
    searches = {name: _Search(_microseconds(events, name, order), markets) for name in instants}
    # One thread an instant: their searches share nothing but the quotes, so the result is that of one thread.
    with ThreadPoolExecutor(max(len(searches), 1)) as pool:
        for market, rows in _runs_of_markets(quotes):
            if market not in markets:
                continue
            runs = {clock: _run(rows, clock) for clock in set(instants.values())}
            done = [pool.submit(searches[name].improve, market, runs[instants[name]], limit) for name in searches]
            for each in done:
                each.result()
    return {name: search.judged(order, limit) for name, search in searches.items()}


_Run = tuple[Integers, Integers, Floats, Floats]
"""Times, sequences, bids and asks of one market, in the order of (time, sequence)."""


class _Search:
    """One instant of N events in market order, and the best quote found for each so far."""

    def __init__(self, asked: Integers, markets: Mapping[Market, slice]) -> None:
        self._asked = asked
        self._markets = markets
        self._at, self._sequence = np.full(len(asked), _NEVER), np.full(len(asked), _NEVER)
        self._bid, self._ask = np.full(len(asked), np.nan), np.full(len(asked), np.nan)
        # Both never fall, so a binary search in them bounds the events of a span of time, whatever order these have.
        self._highest_until = {each: np.maximum.accumulate(asked[rows]) for each, rows in markets.items()}
        self._lowest_from = {each: np.minimum.accumulate(asked[rows][::-1])[::-1] for each, rows in markets.items()}
        self._earliest = dict.fromkeys(markets, int(np.iinfo(np.int64).max))
        self._waiting: dict[Market, _Run] = {}

    def improve(self, market: Market, run: _Run, max_age: int) -> None:
        """Take in quotes of one market.

        The last of them waits for those that come next, and stands until their first. Compared at once with all events
        within the age limit, a market of sixteen pieces a day had each event asked about by each of them.
        """
        first, last = int(run[0][0]), int(run[0][-1])
        self._earliest[market] = min(self._earliest[market], first)
        if market in self._waiting:
            until = int(self._waiting[market][0][0]) + max_age
            follows = first > until - max_age
            self._search(market, self._waiting[market], min(until, first) if follows else until)
        self._search(market, run, last)
        times, sequences, bid, ask = run
        self._waiting[market] = times[-1:], sequences[-1:], bid[-1:], ask[-1:]

    def _search(self, market: Market, run: _Run, latest: int) -> None:
        from research_to_prod.attribution import _asof_kernel as kernel

        start = self._markets[market].start
        low = start + int(self._highest_until[market].searchsorted(run[0][0], side="right"))
        high = start + int(self._lowest_from[market].searchsorted(latest, side="right"))
        mine = slice(low, max(low, high))
        kernel.improve(
            self._asked[mine], latest, *run, self._at[mine], self._sequence[mine], self._bid[mine], self._ask[mine]
        )

    def judged(self, order: npt.NDArray[np.intp] | None, max_age: int) -> QuoteMatch:
        """Return what was found, in the events' own order (``order`` is their market order)."""
        from research_to_prod.attribution import _asof_kernel as kernel

        for market, run in self._waiting.items():
            self._search(market, run, int(run[0][0]) + max_age)
        reason = np.zeros(len(self._asked), np.int8)
        codes = (Unmatched.NO_TIME.value, Unmatched.NO_QUOTE.value, Unmatched.TOO_OLD.value, Unmatched.UNUSABLE.value)
        for market, rows in self._markets.items():
            kernel.judge(
                self._asked[rows], _NEVER, self._earliest[market], max_age, self._at[rows],
                self._bid[rows], self._ask[rows], codes, reason[rows],
            )  # fmt: skip
        age = np.where(reason == 0, self._asked - self._at, _NEVER).view("timedelta64[us]")
        if order is None:
            return QuoteMatch(self._bid, self._ask, age, reason)
        own = np.empty_like(order)
        own[order] = np.arange(len(order))
        return QuoteMatch(self._bid[own], self._ask[own], age[own], reason[own])


def compile_ahead() -> None:
    """Compile the kernels into their cache, by matching one event to one quote."""
    event = {"venue": "v", "symbol": "A/B", "at": 2, "quoted_at": 1, "sequence": 1, "bid": 1.0, "ask": 1.0}
    rows = pa.Table.from_pylist([event])
    rows = rows.cast(rows.schema.set(2, pa.field("at", _US)).set(3, pa.field("quoted_at", _US)))
    match_quotes(rows, {"at": "quoted_at"}, [rows])


_US = pa.timestamp("us", tz="UTC")


def _microseconds(table: pa.Table, name: str, order: npt.NDArray[np.intp] | None = None) -> Integers:
    """Return a timestamp column as integer microseconds, null as ``_NEVER``."""
    column = table.column(name)
    micros = (column if column.type == _US else column.cast(_US)).cast(pa.int64())
    values: Integers = (micros.fill_null(_NEVER) if micros.null_count else micros).to_numpy()
    return _read_only(values if order is None else values[order])


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Arrow's arrays are; numba compiles again for those that are not."""
    values.flags.writeable = False
    return values


def _market_codes(table: pa.Table) -> tuple[npt.NDArray[np.int32], list[Market]]:
    """Return a number per row, and the market that each number stands for."""
    venues, symbols = (_encoded(table.column(name)) for name in ("venue", "symbol"))
    names = [(venue, symbol) for venue in venues.dictionary.to_pylist() for symbol in symbols.dictionary.to_pylist()]
    codes: npt.NDArray[np.int32] = symbols.indices.to_numpy()
    if len(venues.dictionary) > 1:
        codes = codes + venues.indices.to_numpy() * np.int32(len(symbols.dictionary))
    return codes, names


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    texts = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    return texts.chunk(0) if texts.num_chunks == 1 else texts.unify_dictionaries().combine_chunks()


def _runs(codes: npt.NDArray[np.int32]) -> Iterator[tuple[int, slice]]:
    """Yield the stretches of one code."""
    edges = [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(codes)]
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            yield int(codes[start]), slice(start, stop)


def _runs_of_markets(pieces: Iterable[pa.Table]) -> Iterator[tuple[Market, pa.Table]]:
    for piece in pieces:
        codes, names = _market_codes(piece)
        for code, rows in _runs(codes):
            yield names[code], piece.slice(rows.start, rows.stop - rows.start)


def _run(rows: pa.Table, clock: Clock) -> _Run:
    from research_to_prod.attribution import _asof_kernel as kernel

    run = [_microseconds(rows, clock), *(rows.column(name).to_numpy() for name in ("sequence", "bid", "ask"))]
    if not kernel.is_ordered(_read_only(run[0]), _read_only(run[1])):
        order = np.lexsort((run[1], run[0]))
        run = [column[order] for column in run]
    times, sequences, bid, ask = map(_read_only, run)
    return times, sequences, bid, ask
