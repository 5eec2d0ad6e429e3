"""The bars that a strategy and the backtest engine see: aligned arrays for several markets.

Belongs here: alignment of candles and funding on one grid. Doesn't: fetching, validation, resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """Aligned bars of M markets over T steps of a regular UTC grid.

    Parameters
    ----------
    ts
        (T,) ``datetime64[us]``, bar open times in UTC, strictly increasing with a constant step.
    symbols
        The M unified symbols, in column order.
    open, high, low, close, volume
        (T, M) float64 in quote currency and base units; NaN where the market has no bar.
    funding
        (T, M) float64, funding rate that a long position held at the bar's open pays, as a fraction of notional;
        0 where none is due and for spot.
    """

    ts: npt.NDArray[np.datetime64]
    symbols: tuple[str, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    funding: Floats

    def __len__(self) -> int:
        return len(self.ts)

    def window(self, start: int, stop: int) -> Bars:
        """Return the bars ``start`` to ``stop`` (exclusive) as views."""
        part = slice(start, stop)
        return Bars(
            self.ts[part], self.symbols, self.open[part], self.high[part], self.low[part],
            self.close[part], self.volume[part], self.funding[part],
        )  # fmt: skip


def is_perpetual(symbol: str) -> bool:
    """Return whether a unified symbol is of a perpetual (``BTC/USDT:USDT``) and not of a spot market (``BTC/USDT``)."""
    return ":" in symbol


def align_bars(
    candles: pa.Table, funding: pa.Table, symbols: Sequence[str], start: datetime, end: datetime, step: timedelta
) -> Bars:
    """Lay the candles and funding of ``symbols`` on the grid from ``start`` (inclusive) to ``end`` (exclusive).

    Parameters
    ----------
    candles
        Columns ``symbol, ts, open, high, low, close, volume`` (one timeframe, one venue), any order.
    funding
        Columns ``symbol, ts, rate``; a payment is booked on the first bar that opens at or after its time
        rounded to the second (venues stamp it some milliseconds off the hour).

    Raises
    ------
    ValueError
        If a candle lies off the grid, or two candles share market and time.
    """
    ts = np.arange(
        np.datetime64(start.replace(tzinfo=None), "us"),
        np.datetime64(end.replace(tzinfo=None), "us"),
        np.timedelta64(step),
    )
    shape = (len(ts), len(symbols))
    width = step // timedelta(microseconds=1)
    origin = int(ts[0].astype("int64")) if len(ts) else 0

    rows, cols, chosen = _cells(candles, symbols, origin, len(ts), width, exact=True)
    flat = rows * len(symbols) + cols
    if len(np.unique(flat)) != len(flat):
        raise ValueError("two candles share a market and a time; the candles table must be unique by both")
    fields: dict[str, Floats] = {}
    for name in ("open", "high", "low", "close", "volume"):
        values = np.full(shape, np.nan)
        values[rows, cols] = candles.column(name).to_numpy()[chosen]
        fields[name] = values

    due = np.zeros(shape)
    rows, cols, chosen = _cells(funding, symbols, origin, len(ts), width, exact=False)
    np.add.at(due, (rows, cols), funding.column("rate").to_numpy()[chosen])
    return Bars(ts=ts, symbols=tuple(symbols), funding=due, **fields)


def _cells(
    table: pa.Table, symbols: Sequence[str], origin: int, steps: int, width: int, *, exact: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return grid rows and columns of the table's rows that fall inside, and the mask that chose them."""
    if table.num_rows == 0:
        empty = np.empty(0, np.int64)
        return empty, empty, np.empty(0, bool)
    found = pc.index_in(table.column("symbol"), value_set=pa.array(symbols, pa.string()))
    cols = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    times = table.column("ts").to_numpy().astype("datetime64[us]").astype("int64") - origin
    if not exact:
        second = 1_000_000
        times = (times + second // 2) // second * second
    rows = -(-times // width)
    chosen = (cols >= 0) & (rows >= 0) & (rows < steps)
    if exact and np.any(times[chosen] % width):
        raise ValueError("candles lie off the grid of their timeframe")
    return rows[chosen], cols[chosen], chosen
