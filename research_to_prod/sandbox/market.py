"""The sandbox's market: prices, quotes, books, trades and funding at any time, from a seed.

Belongs here: how the paths of `_underlying` become markets. Doesn't: the parameters (see `instruments`), the venue's
HTTP dialect and its defects (see `server`), and the desk's own trades, which leave no trace in the public tape.

Times are microseconds since the epoch in int64 arrays; datetimes where a single instant is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from research_to_prod.sandbox import _tree
from research_to_prod.sandbox._tree import Floats, Ints
from research_to_prod.sandbox._underlying import HOUR, MINUTE, ORIGIN, SIZE, Cache, Paths, instant, micros
from research_to_prod.sandbox.instruments import INSTRUMENTS, OUTAGES, STALE_RUNS, Instrument, Outage

FUNDING_INTERVAL = 8 * HOUR
DAY = 24 * HOUR
_SPAN = 30 * DAY  # bars longer than a minute are gathered and cached by this much
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candles:
    """Bars of one market, oldest first; prices on the tick, ``ts`` the open times in microseconds."""

    ts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    quote_volume: Floats
    trades: Ints

    def __len__(self) -> int:
        return len(self.ts)

    def where(self, chosen: Mask | slice) -> Candles:
        """Return the chosen bars (a mask, slice or indices)."""
        return Candles(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    def within(self, begin: int, stop: int) -> Candles:
        """Return the bars that open in [begin, stop)."""
        first, last = np.searchsorted(self.ts, [begin, stop])
        return self if last - first == len(self) else self.where(slice(first, last))


@dataclass(frozen=True)
class Quotes:
    """Best bid and ask with their sizes in base units, at the asked times."""

    ts: Ints
    bid: Floats
    bid_size: Floats
    ask: Floats
    ask_size: Floats


@dataclass(frozen=True)
class Trades:
    """The public tape: aggregated trades, ids increasing with time but not dense."""

    id: Ints
    ts: Ints
    price: Floats
    quantity: Floats
    buyer_is_maker: Mask


@dataclass(frozen=True)
class Funding:
    """Funding payments: the rate that longs pay and the mark price, at the venue's slightly late stamps."""

    ts: Ints
    rate: Floats
    mark_price: Floats


class SandboxMarket:
    """All markets of the sandbox venue for one seed.

    Parameters
    ----------
    seed
        Any integer. The same seed gives the same prices, trade for trade, in every process and in any order of asking.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.instruments = dict(INSTRUMENTS)
        self._paths = Paths(seed)
        self._bars = Cache(48)  # some months of each market, 1 MB each
        self._gathered = Cache(128)  # 46 kB each for bars of an hour, 550 kB for bars of five minutes

    def instrument(self, symbol: str) -> Instrument:
        """Return the market ``symbol``.

        Raises
        ------
        KeyError
            If the venue does not list it; the message names those that it lists.
        """
        if symbol not in self.instruments:
            raise KeyError(f"the sandbox lists {', '.join(self.instruments)}; not {symbol!r}")
        return self.instruments[symbol]

    def mid(self, symbol: str, times: Ints) -> Floats:
        """Return the mid price at ``times``, to a quarter of a second; inside the minute's bar."""
        base, perpetual = self.instrument(symbol).base, self.instrument(symbol).perpetual
        times = np.asarray(times, np.int64)
        minutes, rest = np.divmod(times - ORIGIN, MINUTE)
        first, last, high, low, variance = self._paths.at(base, minutes, "edges", "last", "high", "low", "variance")
        log = _tree.within_minute(self._paths.key(f"{base}/within"), minutes, rest / MINUTE, first, last, variance)
        price = np.exp(np.clip(log, low, high))
        # One premium for the whole minute, so that a perpetual's bar is its spot bar scaled.
        return price * (1.0 + self._paths.basis(base, ORIGIN + minutes * MINUTE)) if perpetual else price

    def half_spread(self, symbol: str, times: Ints) -> Floats:
        """Return the half spread as a fraction of the mid: wide in thin hours and volatile times."""
        minutes = (np.asarray(times, np.int64) - ORIGIN) // MINUTE
        instrument = self.instrument(symbol)
        return _half_spread(instrument, *self._paths.at(instrument.base, minutes, "activity", "depth"))

    def quote(self, symbol: str, times: Ints) -> Quotes:
        """Return the best bid and ask at ``times``, on the tick, at least one tick apart."""
        instrument, times = self.instrument(symbol), np.asarray(times, np.int64)
        mid, half = self.mid(symbol, times), self.half_spread(symbol, times)
        tick, lot = float(instrument.tick), float(instrument.lot)
        bid = np.floor(mid * (1.0 - half) / tick)
        ask = np.maximum(np.ceil(mid * (1.0 + half) / tick), bid + 1)
        sizes = [
            np.maximum(np.round(self._depth(symbol, times, side) / mid / lot), 1.0) * lot for side in ("bid", "ask")
        ]
        return Quotes(times, bid * tick, sizes[0], ask * tick, sizes[1])

    def _depth(self, symbol: str, times: Ints, side: str) -> Floats:
        """Return the quote-currency value that rests at the touch: a twentieth of a minute's turnover or so."""
        instrument = self.instrument(symbol)
        (depth,) = self._paths.at(instrument.base, (times - ORIGIN) // MINUTE, "depth")
        shape = np.exp(0.5 * _tree.normals(self._paths.key(f"{symbol}/{side}"), 20, times // 250_000))
        return instrument.turnover * 0.05 * shape * depth

    def book(self, symbol: str, time: int, levels: int) -> tuple[Floats, Floats]:
        """Return bids and asks, each (levels, 2) of price and size in base units, best first."""
        best, instrument = self.quote(symbol, np.array([time])), self.instrument(symbol)
        tick, lot = float(instrument.tick), float(instrument.lot)
        step = max(1.0, round(instrument.half_spread_bp * 1e-4 * best.bid[0] / tick))
        rank = np.arange(levels)
        growth = np.exp(0.3 * _tree.normals(self._paths.key(f"{symbol}/book"), 20, time // 250_000 * 4096 + rank))
        sides = []
        for price, size, sign in ((best.bid[0], best.bid_size[0], -1.0), (best.ask[0], best.ask_size[0], 1.0)):
            prices = (np.round(price / tick) + sign * step * rank) * tick
            sizes = np.maximum(np.round(size * (1.0 + 0.2 * rank) * np.where(rank, growth, 1.0) / lot), 1.0) * lot
            sides.append(np.column_stack((prices, sizes))[prices > 0])
        return sides[0], sides[1]

    # Bars -------------------------------------------------------------------------------------------------------

    def outages(self, symbol: str) -> tuple[Outage, ...]:
        """Return the outages of the venue and of this market."""
        base = self.instrument(symbol).base
        return tuple(each for each in OUTAGES if each.base in (None, base))

    def _minutes(self, symbol: str, block: int) -> Candles:
        return self._bars.get((symbol, block), lambda: self._compute_minutes(symbol, block))

    def _compute_minutes(self, symbol: str, block: int) -> Candles:
        instrument = self.instrument(symbol)
        path = self._paths.path(instrument.base, block)
        minutes = block * SIZE + np.arange(SIZE)
        ts = ORIGIN + minutes * MINUTE
        scale = 1.0 + self._paths.basis(instrument.base, ts) if instrument.perpetual else np.ones(SIZE)
        half = _half_spread(instrument, path.activity, path.depth)
        tick, lot = float(instrument.tick), float(instrument.lot)
        first, last = (np.round(np.exp(each) * scale / tick) for each in (path.edges[:-1], path.edges[1:]))
        # Trades print at the bid and the ask: the extremes lie half a spread outside those of the mid.
        high = np.maximum(np.ceil(np.exp(path.high) * scale * (1.0 + half) / tick), np.maximum(first, last))
        low = np.minimum(np.floor(np.exp(path.low) * scale * (1.0 - half) / tick), np.minimum(first, last))
        draw, count = _tree.paired(_tree.uniforms(self._paths.key(f"{symbol}/volume"), 0, minutes))
        value = instrument.turnover * path.activity * (0.3 - 0.7 * np.log(draw))
        volume = np.maximum(np.round(value / (last * tick) / lot), 1.0)
        volume[_inside(ts, STALE_RUNS, instrument.base)] = 0.0
        stale = volume == 0.0
        if stale.any():
            # Frozen at the last price before the run.
            frozen = _frozen(first, stale)
            first, high, low, last = (np.where(stale, frozen, each) for each in (first, high, low, last))
        close = last * tick
        volume = volume * lot
        trades = np.where(stale, 0, 4 + (count * 12.0).astype(np.int64))
        bars = Candles(ts, first * tick, high * tick, low * tick, close, volume, volume * close, trades)
        down = _inside(ts, OUTAGES, instrument.base)
        return bars.where(~down) if down.any() else bars

    def candles(
        self, symbol: str, start: datetime, end: datetime, step: timedelta, known_at: datetime | None = None
    ) -> Candles:
        """Return the bars that open in [start, end), without those in which nothing traded because of an outage.

        Parameters
        ----------
        step
            Whole minutes that divide a day.
        known_at
            Only minutes complete by then enter: the last bar may be a part of itself, as a venue serves it.
        """
        width = step // timedelta(microseconds=1)
        if width % MINUTE or DAY % width:
            raise ValueError(f"bars of {step} are not whole minutes that divide a day")
        begin = max(-(-micros(start) // width) * width, ORIGIN)
        stop = -(-micros(end) // width) * width
        if known_at is not None:
            stop = min(stop, micros(known_at) // MINUTE * MINUTE)
        if stop <= begin:
            return join([self._minutes(symbol, 0).where(slice(0, 0))])
        whole = stop // width * width
        if width == MINUTE or whole <= begin:
            return _resample(self._between(symbol, begin, stop), width)
        parts = [
            self._gather(symbol, width, part).within(begin, whole)
            for part in range((begin - ORIGIN) // _SPAN, (whole - ORIGIN - 1) // _SPAN + 1)
        ]
        return join([*parts, _resample(self._between(symbol, whole, stop), width)] if whole < stop else parts)

    def _gather(self, symbol: str, width: int, part: int) -> Candles:
        """Return all bars of ``width`` in one span, gathered once: pages ask for the same minutes again."""
        begin = ORIGIN + part * _SPAN
        stop = min(begin + _SPAN, ORIGIN + (MINUTE << _tree.DEPTH) // width * width)
        return self._gathered.get(
            (f"{symbol} {width}", part), lambda: _resample(self._between(symbol, begin, stop), width)
        )

    def _between(self, symbol: str, begin: int, stop: int) -> Candles:
        """Return the minutes in [begin, stop)."""
        first, last = (begin - ORIGIN) // MINUTE, (stop - ORIGIN) // MINUTE
        blocks = range(first // SIZE, max(first, last - 1) // SIZE + 1)
        return join([self._minutes(symbol, block).within(begin, stop) for block in blocks])

    # Tape and funding -------------------------------------------------------------------------------------------

    def trades(self, symbol: str, start: datetime, end: datetime) -> Trades:
        """Return the aggregated trades in [start, end); each minute's quantities sum to its bar's volume."""
        instrument = self.instrument(symbol)
        one = timedelta(minutes=1)
        first = instant(micros(start) // MINUTE * MINUTE)
        bars = self.candles(symbol, first, end, one)
        tick, lot = float(instrument.tick), float(instrument.lot)
        owner = np.repeat(np.arange(len(bars)), bars.trades)
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(bars.trades) - bars.trades, bars.trades)
        ids = ((bars.ts[owner] - ORIGIN) // MINUTE << 5) + rank
        key = self._paths.key(f"{symbol}/tape")
        spacing = (rank + _tree.uniforms(key, 0, ids)) / bars.trades[owner]
        ts = bars.ts[owner] + (spacing * (MINUTE // 1000)).astype(np.int64) * 1000
        weight = np.exp(_tree.normals(key, 21, ids))
        lots = np.round(bars.volume / lot)
        share = np.floor(lots[owner] * weight / np.bincount(owner, weight, len(bars))[owner])
        share[rank == 0] += (lots - np.bincount(owner, share, len(bars)))[owner[rank == 0]]
        sells = _tree.uniforms(key, 2, ids) < 0.5
        half = np.where(sells, -1.0, 1.0) * self.half_spread(symbol, ts)
        price = np.round(self.mid(symbol, ts) * (1.0 + half) / tick) * tick
        price = np.clip(price, bars.low[owner], bars.high[owner])
        kept = (share > 0) & (ts >= micros(start)) & (ts < micros(end))
        return Trades(ids[kept], ts[kept], price[kept], share[kept] * lot, sells[kept])

    def time_of_trade(self, trade_id: int) -> datetime:
        """Return the minute in which the public trade ``trade_id`` of any market lies."""
        return instant(ORIGIN + (trade_id >> 5) * MINUTE)

    def funding(self, symbol: str, start: datetime, end: datetime) -> Funding:
        """Return the funding of a perpetual in [start, end).

        The rate is Binance's: mean premium + clamp(0.01 % - mean premium, +-0.05 %), over the eight hours before.
        """
        instrument = self.instrument(symbol)
        begin = max(-(-micros(start) // FUNDING_INTERVAL), -(-ORIGIN // FUNDING_INTERVAL) + 1)
        due = np.arange(begin, -(-micros(end) // FUNDING_INTERVAL)) * FUNDING_INTERVAL
        if not instrument.perpetual or len(due) == 0:
            return Funding(np.empty(0, np.int64), np.empty(0), np.empty(0))
        samples = (due[:, None] - np.arange(1, 9) * HOUR).ravel()
        premium = self._paths.basis(instrument.base, samples).reshape(-1, 8).mean(axis=1)
        rate = np.round(premium + np.clip(1e-4 - premium, -5e-4, 5e-4), 8)
        # Real stamps are up to some milliseconds late.
        late = (_tree.uniforms(self._paths.key(f"{symbol}/funding"), 0, due // FUNDING_INTERVAL) * 8).astype(np.int64)
        return Funding(due + late * 1000, rate, np.round(self.mid(symbol, due), 8))


def _half_spread(instrument: Instrument, activity: Floats, depth: Floats) -> Floats:
    return instrument.half_spread_bp * 1e-4 * np.sqrt(np.maximum(activity, 0.2) / depth)


def _inside(ts: Ints, runs: tuple[Outage, ...], base: str) -> Mask:
    chosen = np.zeros(len(ts), bool)
    for run in runs:
        begin = micros(run.start)
        end = begin + run.hours * HOUR
        if run.base in (None, base) and begin <= ts[-1] and ts[0] < end:
            chosen |= (ts >= begin) & (ts < end)
    return chosen


def _frozen(first: Floats, stale: Mask) -> Floats:
    """Return for each stale minute the price at which its run began."""
    begins = stale & ~np.concatenate(([False], stale[:-1]))
    return first[np.maximum.accumulate(np.where(begins, np.arange(len(stale)), 0))]


def join(parts: list[Candles]) -> Candles:
    """Return the bars of ``parts`` one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Candles(
        **{each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Candles)}
    )


def _resample(minutes: Candles, width: int) -> Candles:
    """Gather minutes into bars of ``width`` microseconds."""
    if width == MINUTE or len(minutes) == 0:
        return minutes
    bar = minutes.ts // width
    first = np.flatnonzero(np.concatenate(([True], bar[1:] != bar[:-1])))
    last = np.append(first[1:], len(bar)) - 1
    return Candles(
        ts=bar[first] * width,
        open=minutes.open[first],
        high=np.maximum.reduceat(minutes.high, first),
        low=np.minimum.reduceat(minutes.low, first),
        close=minutes.close[last],
        volume=np.add.reduceat(minutes.volume, first),
        quote_volume=np.add.reduceat(minutes.quote_volume, first),
        trades=np.add.reduceat(minutes.trades, first),
    )
