"""Liquidity by hour of the week: what volume, volatility, spread and depth usually are at this hour, and how they vary.

A profile is made for one week from the eight whole weeks before it, never from the week itself. NumPy computes on
arrays in time order, so that the same bars give the same bytes in any order of rows and on any number of threads.
Belongs here: the profile. Doesn't: the regime of this minute (``regime``), drawing, thresholds of alerts.

With hourly bars an hour of the week has eight observations, fewer than the 24 needed: there every bin falls back to the
hour of the day (56 observations), and weekends look like weekdays. Bars of 15 minutes or less tell them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data.contracts import LIQUIDITY_METRICS, LIQUIDITY_PROFILE
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.values import day_bounds, timeframe_length

WEEKS = 8
"""Whole weeks that a profile looks back on."""

HOURS = 168
"""Hours of the week; number 0 is Monday 00:00 UTC."""

_MINIMUM_WEEKS, _MINIMUM_OBSERVATIONS = 4, 24
_THIN, _DEEP = 0.2, 0.8
_MAD_TO_SIGMA = 1.4826  # 1 / norm.ppf(0.75)
_HOUR = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Regime(StrEnum):
    """How liquid a market is, in the order of precedence: whoever acts on one heeds the first that holds."""

    STRESSED = "stressed"
    """Live values are far from those of the hour; never in a profile."""
    UNKNOWN = "unknown"
    """Too little was seen to say; to be handled as thin."""
    THIN = "thin"
    NORMAL = "normal"
    DEEP = "deep"


class Basis(StrEnum):
    """Which observations a bin's median and deviation come from."""

    HOUR_OF_WEEK = "hour_of_week"
    HOUR_OF_DAY = "hour_of_day"
    NONE = "none"


@dataclass(frozen=True)
class Series:
    """Observations of one metric in time order: opens in microseconds since 1970, and natural logarithms (n,)."""

    ts: Integers
    logs: Floats


def hour_of_week(at: datetime) -> int:
    """Return the hour of the week, 0 to 167, 0 being Monday 00:00 UTC."""
    at = at.astimezone(UTC)
    return 24 * at.weekday() + at.hour


def window_of(week: str) -> tuple[datetime, datetime]:
    """Return start and end of the eight whole weeks before ``week``, the date of a Monday.

    Raises
    ------
    ValueError
        If the date is no Monday.
    """
    end = day_bounds(week)[0]
    if end.weekday() != 0:
        raise ValueError(f"week {week} does not begin on a Monday")
    return end - timedelta(weeks=WEEKS), end


def months_of(week: str) -> tuple[str, ...]:
    """Return the months ``YYYY-MM`` that the window of ``week`` touches, in order."""
    start, end = window_of(week)
    return tuple(sorted({f"{start + timedelta(days=day):%Y-%m}" for day in range((end - start).days)}))


def profile_week(
    candles: pa.Table, markets: Sequence[MarketSpec], week: str, books: pa.Table | None = None
) -> pa.Table:
    """Return the profile of every market for ``week``.

    Parameters
    ----------
    candles
        CANDLES that cover the window, in any order. Bars outside the window are ignored, and so are bars that a repair
        filled: their volume is another market's.
    markets
        The universe. Of a market's timeframes the shortest counts; one that doesn't divide the hour can't be profiled.
    week
        ``YYYY-MM-DD``, a Monday.
    books
        Observed quotes, where there are any: columns ``venue, symbol, ts`` (time of the observation), ``spread_bp``
        (basis points of mid) and ``depth`` (quote currency within 10 basis points of mid), each positive or null. They
        replace the proxy of that metric for that market.

    Returns
    -------
    pa.Table
        LIQUIDITY_PROFILE, 168 rows a market. Each metric is a natural logarithm, observed once a bar:

        volume
            Amount traded times the mean of open, high, low and close.
        volatility
            Parkinson's (1980) range ``ln(H / L) / sqrt(4 ln 2)``, scaled to the square root of one hour.
        spread
            Proxy: Corwin and Schultz (2012), from the ranges of two adjacent bars; estimates below 0 count as 0. A
            weak one: on five-minute bars of bitcoin its ``s`` was 1.4 to 12.5 and up to 21 of 168 medians were 0, so a
            live z-score of it says next to nothing. Give ``books`` where the spread matters.
        depth
            Proxy: the inverse of Amihud's (2002) illiquidity, quote volume for each 10 basis points of |ln(C / O)|.

        ``med`` is the median, ``s`` 1.4826 times the median absolute deviation, ``n`` the number of observations. An
        hour of the week needs 4 weeks and 24 observations; the hour of the day stands in for it (``basis``), and
        without as many there the bin is unknown. A bar without trades has a logarithm of minus infinity, which a median
        can order; a median that is not finite is null. By its median volume a bin is thin up to the 20 % quantile of
        the market's known bins, deep from the 80 % quantile on, thin when both.
    """
    start, end = window_of(week)
    finest: dict[tuple[str, str], MarketSpec] = {}
    for market in sorted(markets, key=lambda each: (each.venue, each.symbol, each.length)):
        finest.setdefault((market.venue, market.symbol), market)
    rows: list[dict[str, Any]] = []
    for market in finest.values():
        found = observe(_chosen(candles, market, start, end), market.length)
        seen = {} if books is None else _observed(books, market, start, end)
        bars = {name: Series(each.ts + market.length // _MICROSECOND, each.logs) for name, each in found.items()}
        newest = max((int(each.ts[-1]) for each in (bars | seen).values() if len(each.ts)), default=None)
        rows += _rows(market, week, found | seen, seen.keys(), newest)
    return LIQUIDITY_PROFILE.conform(pa.Table.from_pylist(rows, schema=LIQUIDITY_PROFILE.arrow), week)


def known_before(candles: pa.Table, week: str) -> pa.Table:
    """Return the bars (CANDLES, any timeframes) that had ended when ``week`` began."""
    begun = pa.scalar(window_of(week)[1], TIMESTAMP)
    timeframes = pc.unique(candles["timeframe"])
    lengths = pa.array([timeframe_length(each) for each in timeframes.to_pylist()], pa.duration("us"))
    length = lengths.take(pc.index_in(candles["timeframe"], value_set=timeframes).combine_chunks())
    return candles.filter(pc.less_equal(pc.add(candles["ts"], length), begun))


def observe(bars: pa.Table, length: timedelta) -> dict[str, Series]:
    """Return what the bars of one market say of each metric; a live value is measured by the same function.

    Parameters
    ----------
    bars
        CANDLES of one market and timeframe, ordered by time.
    length
        Length of a bar.
    """
    ts: Integers = bars["ts"].cast(pa.int64()).to_numpy()
    open_, high, low, close, volume = (bars[name].to_numpy() for name in ("open", "high", "low", "close", "volume"))
    with np.errstate(divide="ignore", invalid="ignore"):
        quote = volume * ((open_ + high + low + close) / 4)
        volatility = np.log(high / low) / np.sqrt(4 * np.log(2)) * np.sqrt(_HOUR / length)
        moved = np.abs(np.log(close / open_))
        # A bar without trades shows no depth, whatever its prices say.
        depth = np.where(quote > 0, np.log(quote) - np.log(moved) + np.log(1e-3), -np.inf)
        adjacent = np.diff(ts) == length // _MICROSECOND
        spread = np.log(1e4 * corwin_schultz(high, low))[adjacent]
        return {
            "volume": Series(ts, np.log(quote)),
            "volatility": Series(ts, np.log(volatility)),
            "spread": Series(ts[1:][adjacent], spread),
            "depth": Series(ts, depth),
        }


def corwin_schultz(high: Floats, low: Floats) -> Floats:
    """Return the spread (n - 1,) that each two successive bars imply, as a fraction of price, at least 0.

    Corwin and Schultz (2012), equations 14 and 18. Their overnight correction is left out: this market never closes.
    """
    squared = np.log(high / low) ** 2
    beta = squared[:-1] + squared[1:]
    gamma = np.log(np.maximum(high[:-1], high[1:]) / np.minimum(low[:-1], low[1:])) ** 2
    divisor = 3 - 2 * np.sqrt(2)
    alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / divisor - np.sqrt(gamma / divisor)
    spread: Floats = np.maximum(0, 2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha)))
    return spread


def _chosen(candles: pa.Table, market: MarketSpec, start: datetime, end: datetime) -> pa.Table:
    """Return the market's own bars that opened and ended within the window, ordered by time."""
    if _HOUR % market.length:
        return candles.slice(0, 0)
    mask = pc.and_(_within(candles, market, start, end - market.length), candles["repair"].is_null())
    return candles.filter(pc.and_(mask, pc.equal(candles["timeframe"], market.timeframe))).sort_by("ts")


def _within(rows: pa.Table, market: MarketSpec, start: datetime, last: datetime) -> pa.ChunkedArray:
    mask = pc.and_(pc.equal(rows["venue"], market.venue), pc.equal(rows["symbol"], market.symbol))
    mask = pc.and_(mask, pc.greater_equal(rows["ts"], pa.scalar(start, TIMESTAMP)))
    return pc.and_(mask, pc.less_equal(rows["ts"], pa.scalar(last, TIMESTAMP)))


def _observed(books: pa.Table, market: MarketSpec, start: datetime, end: datetime) -> dict[str, Series]:
    """Return the metrics that were observed of the market, instead of estimated from bars."""
    rows = books.filter(_within(books, market, start, end - _MICROSECOND)).sort_by("ts")
    found = {}
    for metric, column in (("spread", "spread_bp"), ("depth", "depth")):
        given = rows.filter(rows[column].is_valid())
        if given.num_rows:
            with np.errstate(divide="ignore"):
                found[metric] = Series(given["ts"].cast(pa.int64()).to_numpy(), np.log(given[column].to_numpy()))
    return found


def _rows(
    market: MarketSpec, week: str, found: Mapping[str, Series], observed: Collection[str], newest: int | None
) -> list[dict[str, Any]]:
    start = int(window_of(week)[0].timestamp()) * 1_000_000
    metrics = {name: _summary(found[name], start) for name in LIQUIDITY_METRICS}
    regimes = _regimes([each["med"] for each in metrics["volume"]])
    named = {"venue": market.venue, "symbol": market.symbol, "timeframe": market.timeframe, "week": week}
    proxies = {f"{name}_is_proxy": name not in observed for name in ("spread", "depth")}
    return [
        named
        | {"how": how, "regime": regimes[how].value, "observed_to": newest}
        | proxies
        | {f"{name}_{field}": value for name, bins in metrics.items() for field, value in bins[how].items()}
        for how in range(HOURS)
    ]


def _summary(series: Series, start: int) -> list[dict[str, Any]]:
    """Return median, deviation, number and basis of each of the 168 bins."""
    hours = (series.ts - start) // (_HOUR // _MICROSECOND)
    weeks, how = hours // HOURS, hours % HOURS
    by_day = [_robust(series.logs, weeks, how % 24 == hour, Basis.HOUR_OF_DAY) for hour in range(24)]
    bins = []
    for each in range(HOURS):
        own = _robust(series.logs, weeks, how == each, Basis.HOUR_OF_WEEK)
        bins.append(own if own["basis"] is not Basis.NONE else by_day[each % 24])
    return bins


def _robust(logs: Floats, weeks: Integers, chosen: npt.NDArray[np.bool_], basis: Basis) -> dict[str, Any]:
    """Return the order statistics of the chosen observations; their order among each other doesn't matter."""
    values = logs[chosen]
    few = len(values) < _MINIMUM_OBSERVATIONS or len(np.unique(weeks[chosen])) < _MINIMUM_WEEKS
    if few:
        return {"med": None, "s": None, "n": len(values), "basis": Basis.NONE}
    with np.errstate(invalid="ignore"):
        med = float(np.median(values))
    if not np.isfinite(med):
        return {"med": None, "s": None, "n": len(values), "basis": basis}
    s = _MAD_TO_SIGMA * float(np.median(np.abs(values - med)))
    return {"med": med, "s": s if np.isfinite(s) else None, "n": len(values), "basis": basis}


def _regimes(medians: Sequence[float | None]) -> list[Regime]:
    known = np.array([each for each in medians if each is not None])
    if not len(known):
        return [Regime.UNKNOWN] * HOURS
    low, high = np.quantile(known, [_THIN, _DEEP])
    return [
        Regime.UNKNOWN
        if each is None
        else Regime.THIN
        if each <= low
        else Regime.DEEP
        if each >= high
        else Regime.NORMAL
        for each in medians
    ]
