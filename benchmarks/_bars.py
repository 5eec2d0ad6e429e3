"""Bars for the benchmarks: seeded random walks on a grid of minutes, clean or with a known number of defects."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from research_to_prod.market_data.contracts import CANDLES

MINUTE = 60_000_000
"""Microseconds of a bar."""

VENUE, TIMEFRAME = "binance", "1m"


def symbols(markets: int) -> list[str]:
    """Return the symbols of the markets, in order."""
    return [f"S{number:02d}/USDT" for number in range(markets)]


def minutes(markets: int, first: datetime, after: datetime, seed: int = 7) -> pa.Table:
    """Return the bars of each market from ``first`` until before ``after``, sorted by market and time, as CANDLES."""
    random = np.random.default_rng(seed)
    start, stop = (int(each.timestamp()) * 1_000_000 for each in (first, after))
    ts = np.arange(start, stop, MINUTE)
    shape = (markets, len(ts))
    close = np.round(1000 * np.exp(np.cumsum(random.normal(0, 5e-4, shape), axis=1)), 3)
    open_ = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    spread = np.abs(random.normal(0, 3e-4, shape))
    high = np.round(np.maximum(open_, close) * (1 + spread), 3)
    low = np.round(np.minimum(open_, close) * (1 - spread), 3)
    volume = np.round(random.lognormal(1, 1.5, shape), 5)
    texts = {
        "venue": pa.repeat(VENUE, close.size),
        "symbol": pa.array(np.repeat(np.array(symbols(markets), object), len(ts)), pa.string()),
        "timeframe": pa.repeat(TIMEFRAME, close.size),
    }
    times = pa.array(np.tile(ts, markets)).cast(CANDLES.arrow.field("ts").type)
    values = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    columns = texts | {"ts": times} | {name: each.ravel() for name, each in values.items()}
    return pa.table(columns | {"repair": pa.nulls(close.size, pa.string())}, CANDLES.arrow)


def spoil(bars: pa.Table, markets: int) -> tuple[pa.Table, dict[str, int]]:
    """Return ``bars`` with defects in each market, and their number by check."""
    length = bars.num_rows // markets
    # Ten bars apart, so that no defect hides or doubles another.
    slots = np.random.default_rng(11).permutation(length // 10 - 2)[:65] * 10 + 10
    rows = (np.arange(markets)[:, None] * length + slots).T
    negative, swapped, repeated, missing, spikes = np.split(rows, [10, 20, 35, 55])
    columns = {name: bars[name].to_numpy().copy() for name in ("high", "low", "close", "volume")}
    columns["volume"][negative] = -1.0
    columns["high"][swapped], columns["low"][swapped] = columns["low"][swapped] - 1, columns["high"][swapped] + 1
    columns["close"][spikes] *= 1.5
    columns["high"][spikes] = columns["close"][spikes]
    for name, values in columns.items():
        index = bars.column_names.index(name)
        bars = bars.set_column(index, bars.schema.field(name), pa.array(values))
    kept = np.sort(np.concatenate([np.setdiff1d(np.arange(bars.num_rows), missing), repeated.ravel()]))
    counts = {
        "positive": 0,
        "volume": negative.size,
        "high": swapped.size,
        "low": swapped.size,
        "grid": 0,
        "unique": repeated.size,
        "gaps": missing.size,
        "outliers": 2 * spikes.size,  # up and down again
    }
    return bars.take(pa.array(kept)), counts
