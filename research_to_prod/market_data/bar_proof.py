"""Proves in one pass that bars satisfy their contract, so that only what breaks it needs pandera's explanation.

``bar_contract`` says what a valid bar is; this module counts the rows that break each of its rules, many times faster
and without naming them. Tests hold the two to the same verdicts. Belongs here: counting. Doesn't: the rules' meaning,
and which rows broke one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.contracts import BAR_KEY, BAR_VALUES, CANDLES, MARKET_KEY
from research_to_prod.values import timeframe_length

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

# Rows that a thread takes at a time: the columns of a piece fit the second-level cache.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Violations:
    """How many rows break each rule of ``BarContract``, by the rule's name.

    ``unique_by_key`` counts the rows beyond the first of each market and time; pandera names the first as well.
    """

    market_is_named: int
    ts_is_on_grid: int
    prices_are_finite_positive: int
    volume_is_finite_not_negative: int
    high_is_highest: int
    low_is_lowest: int
    unique_by_key: int

    @property
    def none(self) -> bool:
        """Whether every row satisfies the whole contract."""
        return not any(astuple(self))


def count_violations(bars: pa.Table) -> Violations:
    """Count the rows that break each rule of the contract of bars.

    Columns are read where they lie; only one with nulls is copied. Rows may be in any order: repetitions are found
    between neighbours, and where the order doesn't make equal keys neighbours, by hashing the keys (some 30 times
    slower, still exact).

    Parameters
    ----------
    bars
        A table with the key and the values of CANDLES, nulls allowed, other columns ignored; the text columns may be
        dictionaries.

    Raises
    ------
    TypeError
        If a column has another type: the contract refuses those, and there is nothing to count.
    """
    from research_to_prod.market_data import _bar_kernel as kernel

    _refuse_other_types(bars)
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        starts, markets = _runs(bars.select(list(MARKET_KEY)), pool)
        lengths = _lengths(markets["timeframe"])
        values = pool.map(lambda columns: kernel.count_values(*columns), _values(bars.select(list(BAR_VALUES))))
        times = pool.map(lambda piece: kernel.count_times(starts, lengths, *piece), _times(bars.select(["ts"])))
        prices, volumes, highs, lows = np.sum([(0, 0, 0, 0), *values], axis=0).tolist()
        off_grid, repeated, earlier = np.sum([(0, 0, 0), *times], axis=0).tolist()
    unnamed = int(np.diff(starts, append=bars.num_rows)[_unnamed(markets)].sum())
    if earlier or _distinct(markets) < len(starts):
        repeated = bars.num_rows - _distinct(bars.select(list(BAR_KEY)))
    return Violations(unnamed, off_grid, prices, volumes, highs, lows, repeated)


def length_us(timeframe: str) -> float:
    """Return the length of a timeframe's bar in microseconds, NaN for a text that is no timeframe."""
    try:
        return timeframe_length(timeframe) / timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return float("nan")


def compile_ahead() -> None:
    """Compile the kernels into their cache, by counting one bar, with its texts plain and as dictionaries."""
    bar = {"venue": "v", "symbol": "A/B", "timeframe": "1h", "ts": 0} | dict.fromkeys(BAR_VALUES, 1.0)
    bars = pa.Table.from_pylist([bar]).cast(pa.schema([CANDLES.arrow.field(name) for name in bar]))
    coded = {name: bars[name].dictionary_encode() if name in MARKET_KEY else bars[name] for name in bar}
    count_violations(bars)
    count_violations(pa.table(coded))


def _refuse_other_types(bars: pa.Table) -> None:
    problems = []
    for name in (*BAR_KEY, *BAR_VALUES):
        declared = CANDLES.arrow.field(name).type
        kind = bars.schema.field(name).type
        if (kind.value_type if pa.types.is_dictionary(kind) and name in MARKET_KEY else kind) != declared:
            problems.append(f"{name} is {kind}, declared {declared}")
    if problems:
        raise TypeError(f"not bars: {'; '.join(problems)}")


def _runs(keys: pa.Table, pool: ThreadPoolExecutor) -> tuple[Integers, pa.Table]:
    """Return the rows (k,) at which a run of rows of one market starts, and the markets of the runs as texts."""
    changed = np.ones(keys.num_rows, np.bool_)
    batches = _batches(keys)
    firsts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    list(pool.map(_mark, batches, (changed[lo:hi] for lo, hi in itertools.pairwise(firsts))))
    # The first row of each piece is marked whether it differs or not: the marked rows are few, and compared exactly.
    marked = np.flatnonzero(changed)
    markets = _as_texts(keys.take(pa.array(marked)))
    starts = np.zeros(len(marked), np.bool_)
    starts[:1] = True
    for column in markets.columns:
        codes = column.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
        starts[1:] |= codes[1:] != codes[:-1]
    return marked[starts], markets.filter(pa.array(starts))


def _mark(batch: pa.RecordBatch, changed: npt.NDArray[np.bool_]) -> None:
    """Leave ``changed`` (n,) true at the first row of a batch and where its market may differ from the row before."""
    from research_to_prod.market_data._bar_kernel import mark_changes, mark_code_changes

    if any(column.null_count for column in batch.columns):
        return
    changed[1:] = False
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            mark_code_changes(_read_only(column.indices.to_numpy()), changed)
        else:
            _, offsets, data = column.buffers()
            within = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
            mark_changes(within, np.frombuffer(data or b"", np.uint8), changed)


def _unnamed(markets: pa.Table) -> npt.NDArray[np.bool_]:
    named = pc.and_(*(pc.not_equal(pc.fill_null(markets[name], ""), "") for name in ("venue", "symbol")))
    return ~named.to_numpy()


def _lengths(timeframes: pa.ChunkedArray) -> Floats:
    known = {text: length_us(text) for text in timeframes.unique().drop_null().to_pylist()}
    return np.array([known.get(text, np.nan) for text in timeframes.to_pylist()], np.float64)


def _as_texts(keys: pa.Table) -> pa.Table:
    return keys.cast(pa.schema([(name, CANDLES.arrow.field(name).type) for name in keys.column_names]))


def _distinct(keys: pa.Table) -> int:
    return _as_texts(keys).group_by(keys.column_names).aggregate([]).num_rows


def _batches(bars: pa.Table) -> list[pa.RecordBatch]:
    return [batch for batch in bars.to_batches(max_chunksize=_PIECE) if batch.num_rows]


def _values(bars: pa.Table) -> Iterator[list[Floats]]:
    for batch in _batches(bars):
        yield [_read_only(column.to_numpy(zero_copy_only=False)) for column in batch.columns]


def _times(bars: pa.Table) -> Iterator[tuple[Integers, int, int]]:
    """Yield the times of each piece, its first row, and the time of the row before it."""
    first, before = 0, 0
    for batch in _batches(bars):
        micros = batch.column("ts").view(pa.int64())
        if micros.null_count:
            micros = micros.fill_null(np.iinfo(np.int64).min)
        times = _read_only(micros.to_numpy())
        yield times, first, before
        first, before = first + len(times), int(times[-1])


def _read_only(values: npt.NDArray[T]) -> npt.NDArray[T]:
    # Arrow's memory is read-only and a copy isn't: two types for numba, which would compile the loop for each mix.
    values.setflags(write=False)
    return values
