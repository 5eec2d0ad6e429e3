"""One market's bars as arrays: what the profile and the rules of data quality compute on.

Belongs here: cutting tables by market, runs, and the robust scale of returns. Doesn't: thresholds and verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from research_to_prod.market_data.certificates import Certificate, covered
from research_to_prod.market_data.contracts import BAR_VALUES, CANDLES, MARKET_KEY
from research_to_prod.market_data.universe import MarketSpec

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
MarketKey = tuple[str, str, str]

HOUR = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MONDAY = 4 * 24  # hours from 1970-01-01, a Thursday, to the next Monday

MINIMUM_RETURNS = 20
"""Returns below which nothing has a usable scale; a month of daily bars has 27 to 30."""

_CUT = 6.0

HOURLY_RETURNS = 24
"""Returns that an hour of the week must have to be its own scale; four weeks of hourly bars have 4, of minutes 240."""

_MAD_TO_SIGMA = 1.4826  # 1 / norm.ppf(0.75): scales the MAD of a normal distribution to its standard deviation
_MEAN_TO_SIGMA = 1.2533  # sqrt(pi / 2): the same for its mean absolute deviation


@dataclass(frozen=True)
class Bars:
    """Bars of one market, (n,) each: time of open in microseconds since 1970, prices, volume, filled by a repair."""

    ts: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    filled: Mask

    @classmethod
    def of(cls, table: pa.Table) -> Bars:
        """Return the bars of ``table`` in its order; a null value is NaN. Raw bars have no repairs."""
        repaired = "repair" in table.column_names
        return cls(
            ts=table["ts"].cast(pa.int64()).to_numpy(),
            filled=table["repair"].is_valid().to_numpy() if repaired else np.zeros(table.num_rows, bool),
            **{name: table[name].to_numpy() for name in BAR_VALUES},
        )

    def __len__(self) -> int:
        return len(self.ts)

    def where(self, chosen: Mask | Integers | slice) -> Bars:
        """Return the chosen bars."""
        return Bars(*(getattr(self, each.name)[chosen] for each in fields(self)))

    @property
    def moved(self) -> Mask:
        """Bars whose four prices are not all equal."""
        columns = (self.open, self.high, self.low, self.close)
        return np.asarray(np.maximum.reduce(columns) > np.minimum.reduce(columns))


def micros(at: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(ts: int | np.integer) -> datetime:
    """Return microseconds since 1970 as a UTC datetime."""
    return _EPOCH + timedelta(microseconds=int(ts))


def by_market(table: pa.Table) -> dict[MarketKey, pa.Table]:
    """Return the rows of each market, in their order; slices where a market's rows lie together, as in the lake."""
    if not table.num_rows:
        return {}
    codes = np.zeros(table.num_rows, np.int64)
    for name in MARKET_KEY:
        column = table[name].combine_chunks().dictionary_encode()
        codes = codes * (len(column.dictionary) + 1) + column.indices.fill_null(-1).to_numpy() + 1
    starts = np.concatenate(([0], np.flatnonzero(np.diff(codes)) + 1))
    parts: dict[MarketKey, list[pa.Table]] = {}
    for start, stop in zip(starts, np.append(starts[1:], table.num_rows), strict=True):
        part = table.slice(start, stop - start)
        venue, symbol, timeframe = (part[name][0].as_py() for name in MARKET_KEY)
        parts.setdefault((venue, symbol, timeframe), []).append(part)
    return {key: pa.concat_tables(each) for key, each in parts.items()}


def runs(flags: Mask) -> tuple[Integers, Integers]:
    """Return the starts and lengths of the maximal runs of True in ``flags`` (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return edges[::2], edges[1::2] - edges[::2]


def robust_scale(values: Floats) -> float:
    """Return 1.4826 MAD, or 1.2533 times the mean absolute deviation where more than half the values are equal.

    Both estimate the standard deviation of a normal distribution (Iglewicz and Hoaglin 1993). 0 when all are equal.
    """
    distance = np.abs(values - np.median(values))
    return _MAD_TO_SIGMA * float(np.median(distance)) or _MEAN_TO_SIGMA * float(np.mean(distance))


@dataclass(frozen=True)
class Returns:
    """Log returns between bars that are adjacent on the grid.

    Parameters
    ----------
    to
        (m,) index of the bar at which each return ends.
    value
        (m,) log returns.
    scale
        Robust standard deviation of all of them; 0 when there are fewer than 20, or they never differ.
    z
        (m,) robust z-scores; None without a scale.
    """

    to: Integers
    value: Floats
    scale: float
    z: Floats | None


def returns_of(bars: Bars, length: int) -> Returns:
    """Return the returns of ``bars`` (ordered, ``length`` microseconds each) with their robust z-scores.

    A return is scaled by those of its hour of the week (UTC, by the bar's open) if that hour has 24 of them, else by
    those of its hour of the day under the same condition, else by all. No hour's scale is taken below a quarter of
    that of all: a quiet hour's own scale would make an ordinary trade an outlier.
    """
    to = np.flatnonzero(np.diff(bars.ts) == length) + 1
    value = np.log(bars.close[to]) - np.log(bars.close[to - 1])
    whole = robust_scale(value) if len(value) >= MINIMUM_RETURNS else 0.0
    if whole == 0:
        return Returns(to, value, whole, None)
    hour = bars.ts[to] // HOUR - _FIRST_MONDAY
    centre, scale = np.full(len(value), np.median(value)), np.full(len(value), whole)
    for period in (24, 168):
        for members in _groups(hour % period):
            if len(members) >= HOURLY_RETURNS:
                centre[members] = np.median(value[members])
                scale[members] = max(robust_scale(value[members]), whole / 4)
    return Returns(to, value, whole, (value - centre) / scale)


def _groups(labels: Integers) -> Iterator[Integers]:
    order = np.argsort(labels, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


@dataclass(frozen=True)
class Series:
    """Validated bars of one market on its grid, and when they were expected.

    Parameters
    ----------
    bars
        In order, unique, on the grid, within the expected range.
    first, length, expected
        Open of the first expected bar and length of a bar in microseconds; number of expected bars.
    """

    market: MarketSpec
    bars: Bars
    first: int
    length: int
    expected: int

    @property
    def key(self) -> MarketKey:
        """Venue, symbol and timeframe."""
        return self.market.venue, self.market.symbol, self.market.timeframe

    @property
    def name(self) -> str:
        """The series in words, as ``Finding.against`` has it."""
        return " ".join(self.key)

    @property
    def base(self) -> str:
        """The asset, such as BTC."""
        return self.market.symbol.partition("/")[0]

    @property
    def pair(self) -> str:
        """The pair without its settlement, such as BTC/USDT for BTC/USDT:USDT."""
        return self.market.symbol.partition(":")[0]

    @cached_property
    def slots(self) -> Integers:
        """(n,) place of each bar on the grid, 0 for the first expected one."""
        return (self.bars.ts - self.first) // self.length

    @cached_property
    def missing(self) -> Mask:
        """(expected,) whether the bar is not there."""
        absent = np.ones(self.expected, bool)
        absent[self.slots] = False
        return absent

    @cached_property
    def place(self) -> Integers:
        """(expected,) index of the bar in ``bars``; meaningless where it is missing."""
        return np.cumsum(~self.missing) - 1

    @cached_property
    def returns(self) -> Returns:
        """Returns between adjacent bars, with their robust z-scores."""
        return returns_of(self.bars, self.length)

    @cached_property
    def closes(self) -> Floats:
        """(expected,) closes on the grid, NaN where the bar is missing."""
        grid = np.full(self.expected, np.nan)
        grid[self.slots] = self.bars.close
        return grid

    @cached_property
    def steady_returns(self) -> Floats:
        """(expected,) returns on the grid, cut at 6 robust deviations, 0 where there is none: one crash is no clock."""
        grid, bound = np.zeros(self.expected), _CUT * self.returns.scale
        grid[self.slots[self.returns.to]] = np.clip(self.returns.value, -bound, bound)
        return grid

    @cached_property
    def still(self) -> Mask:
        """(n - 1,) whether a bar and the next on the grid have one close and no volume."""
        bars = self.bars
        quiet = bars.volume == 0
        same: Mask = (np.diff(bars.ts) == self.length) & (np.diff(bars.close) == 0) & quiet[1:] & quiet[:-1]
        return same

    @cached_property
    def traded_before(self) -> Integers:
        """(n + 1,) number of bars with volume before each bar: differences count them within a range."""
        return np.concatenate(([0], np.cumsum(self.bars.volume > 0)))

    def traded(self, start: int, stop: int) -> int:
        """Return how many bars with volume open in ``[start, stop)`` microseconds."""
        left, right = np.searchsorted(self.bars.ts, [start, stop])
        return int(self.traded_before[right] - self.traded_before[left])


def read_series(candles: pa.Table, markets: Sequence[MarketSpec], month: str, as_of: datetime) -> tuple[Series, ...]:
    """Return one month of each market, in the order of ``markets``, from CANDLES.

    Rows of markets that are not listed are ignored. ``as_of`` is the time of the fetch: a bar that had not ended by
    then is not expected.
    """
    accepted = by_market(candles)
    keys = [(each.venue, each.symbol, each.timeframe) for each in markets]
    tables = [accepted.get(key, CANDLES.empty()) for key in keys]
    return tuple(_series(market, table, month, as_of) for market, table in zip(markets, tables, strict=True))


def _series(market: MarketSpec, candles: pa.Table, month: str, as_of: datetime) -> Series:
    first, stop = market.bars_of(month, as_of)
    expected = (stop - first) // market.length
    bars = Bars.of(candles)
    own = Series(market, bars, micros(first), int(market.length.total_seconds()) * 1_000_000, expected)
    inside = (own.slots >= 0) & (own.slots < expected)
    order = np.argsort(bars.ts[inside], kind="stable")
    return replace(own, bars=bars.where(np.flatnonzero(inside)[order]))


def uncovered(own: Series, certificates: Sequence[Certificate]) -> Mask:
    """Return (expected,) whether no complete fetch covers the bar."""
    market = own.market
    unknown = np.ones(own.expected, bool)
    if own.expected:
        start, stop = own.first, own.first + own.expected * own.length
        scope = f"{market.symbol} {market.timeframe}"
        for begin, end in covered(certificates, market.venue, scope, instant(start), instant(stop)):
            # A bar is covered when all of it was asked for: only its open lies in the interval.
            unknown[-(-(micros(begin) - start) // own.length) : -(-(micros(end) - start) // own.length)] = False
    return unknown


def common(one: Series, other: Series) -> tuple[slice, slice]:
    """Return the part of each series' grid that both expect; both have one timeframe."""
    start = max(one.first, other.first)
    stop = min(each.first + each.expected * each.length for each in (one, other))
    count = max(0, (stop - start) // one.length)
    first, second = ((start - each.first) // each.length for each in (one, other))
    return slice(first, first + count), slice(second, second + count)


def aligned(one: Series, other: Series) -> tuple[Integers, Integers]:
    """Return the indices of the bars that both series have, in each; both have one timeframe."""
    mine, theirs = common(one, other)
    both = ~one.missing[mine] & ~other.missing[theirs]
    return one.place[mine][both], other.place[theirs][both]
