"""The compiled passes over the columns of bars. Imported lazily: numba takes a second or more to load.

Belongs here: loops over rows. Doesn't: what a rule means (``bar_contract``), and where markets begin (``bar_proof``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# float64 holds every integer below. The contract divides in float64, so a time or a length beyond does so here too.
_EXACT = 2**53

# Texts compared at a time as one block of bytes: long for the vector code, short for what one change costs.
_BLOCK = 256


@njit(cache=True, nogil=True)
def count_values(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> tuple[int, int, int, int]:
    """Count rows with a bad price, a bad volume, a high that isn't highest, a low that isn't lowest."""
    prices = volumes = highs = lows = 0
    for i in range(len(open_)):
        o, h, l, c, v = open_[i], high[i], low[i], close[i], volume[i]  # noqa: E741 - the letters of the field
        # Comparisons with NaN are false, so each condition says what is good. Not `and`: branches forbid vector code.
        finite = (o < np.inf) & (h < np.inf) & (l < np.inf) & (c < np.inf)
        positive = (o > 0.0) & (h > 0.0) & (l > 0.0) & (c > 0.0)
        prices += not (finite & positive)
        volumes += not ((v >= 0.0) & (v < np.inf))
        highs += not ((h >= o) & (h >= l) & (h >= c))
        lows += not ((l <= o) & (l <= h) & (l <= c))
    return prices, volumes, highs, lows


@njit(cache=True, nogil=True)
def count_times(starts: Integers, lengths: Floats, ts: Integers, first: int, before: int) -> tuple[int, int, int]:
    """Count rows off the grid, rows at the time of the row before, and rows earlier than it.

    Parameters
    ----------
    starts, lengths
        (k,) row at which each run of one market starts, and the length of its bars in microseconds, NaN for no grid.
    ts
        (n,) microseconds of the rows ``first``, ``first + 1``, ... of a table; the smallest integer is no time.
    before
        Time of row ``first - 1``; of no meaning when ``first`` starts a run.
    """
    off_grid = repeated = earlier = 0
    stop = first + len(ts)
    row = first
    run = np.searchsorted(starts, first, side="right") - 1
    while row < stop:
        run_stop = min(starts[run + 1], stop) if run + 1 < len(starts) else stop
        length = lengths[run]
        step = np.int64(length) if length < _EXACT else 0
        on_grid = False
        if row == starts[run]:
            before = ts[row - first]
            on_grid = _on_grid(before, length)
            off_grid += not on_grid
            row += 1
        for i in range(row - first, run_stop - first):
            t = ts[i]
            repeated += t == before
            earlier += t < before
            # One step after a bar on the grid is on it too: the division costs more than all the rest together.
            if not (on_grid and t == before + step and before > -_EXACT and t < _EXACT):
                on_grid = _on_grid(t, length)
                off_grid += not on_grid
            before = t
        row = run_stop
        run += 1
    return off_grid, repeated, earlier


@njit(cache=True, nogil=True)
def _on_grid(t: int, length: float) -> bool:
    if t == np.iinfo(np.int64).min:
        return False
    if -_EXACT < t < _EXACT and length < _EXACT:
        return t % np.int64(length) == 0
    return np.fmod(float(t), length) == 0.0


@njit(cache=True, nogil=True)
def mark_changes(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], changed: npt.NDArray[np.bool_]) -> None:
    """Set ``changed`` (n,) where a text differs from the one before it; Arrow's ``offsets`` are (n + 1,)."""
    for lo in range(1, len(changed), _BLOCK):
        hi = min(lo + _BLOCK, len(changed))
        # Texts of one length are equal exactly when the bytes repeat with that period. Slices, and an accumulator as
        # narrow as a byte: indices that might be negative, or a wider sum, would forbid vector code.
        size = offsets[lo] - offsets[lo - 1]
        lengths = np.int32(0)
        for i in range(lo, hi):
            lengths |= (offsets[i + 1] - offsets[i]) ^ size
        same = lengths == 0
        if same:
            block = data[offsets[lo] : offsets[hi]]
            shifted = data[offsets[lo - 1] : offsets[hi - 1]]
            same = _equal(block, shifted)
        if not same:
            for i in range(lo, hi):
                one, other = data[offsets[i - 1] : offsets[i]], data[offsets[i] : offsets[i + 1]]
                changed[i] |= len(one) != len(other) or not np.all(one == other)


@njit(cache=True, nogil=True)
def mark_code_changes(codes: npt.NDArray[np.signedinteger], changed: npt.NDArray[np.bool_]) -> None:
    """Set ``changed`` (n,) where the code (n,) of a text differs from the one before it."""
    before, own, marks = codes[:-1], codes[1:], changed[1:]
    for i in range(len(own)):
        marks[i] |= own[i] != before[i]


@njit(cache=True, nogil=True)
def _equal(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    differing = np.uint8(0)
    for j in range(len(one)):
        differing |= one[j] ^ other[j]
    return differing == 0
