"""The compiled inner loops of the gates' statistics. Imported lazily: numba takes a second or more to load.

A kernel fills the slice [start, stop) of its result and releases the interpreter lock, so that `over_threads` may hand
slices to several threads. No sum crosses a slice: the bytes are the same on one thread and on many. The threads are
Python's, not numba's own: those end a forked child, and may not be entered by two threads at once.

Belongs here: loops. Doesn't: validation and conventions; the same in plain NumPy is in ``oracle``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from research_to_prod.gates.statistics._validation import Integers
from research_to_prod.research.bars import Floats


def over_threads(kernel: Callable[..., None], n: int, *arguments: Any, threads: int | None = None) -> None:
    """Run ``kernel(start, stop, *arguments)`` over slices of ``range(n)``, one for each thread (default: each core)."""
    threads = max(1, min(threads or os.cpu_count() or 1, n))
    edges = [n * i // threads for i in range(threads + 1)]
    if threads == 1:
        kernel(0, n, *arguments)
        return
    with ThreadPoolExecutor(threads) as pool:
        for slice_ in [pool.submit(kernel, *edge, *arguments) for edge in itertools.pairwise(edges)]:
            slice_.result()


# Leave to reorder a row's sums makes vector instructions possible (8 against 32 ms for 10,000 x 1,000). The order is
# the compiler's, fixed for a processor; processors may differ in the last bits, which gates round away.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def moments(start: int, stop: int, returns: Floats, result: Floats) -> None:
    """Write (Sharpe ratio, skewness, kurtosis) of the rows of (n_series, n) ``returns`` to (n_series, 3) ``result``."""
    n = returns.shape[1]
    for i in range(start, stop):
        mean = 0.0
        for t in range(n):
            mean += returns[i, t]
        mean /= n
        second, third, fourth = 0.0, 0.0, 0.0
        for t in range(n):
            centred = returns[i, t] - mean
            squared = centred * centred
            second += squared
            third += squared * centred
            fourth += squared * squared
        variance = second / n
        # A constant series has a deviation of rounding dust, not always of zero.
        if not variance > 1e-24 * (variance + mean * mean):
            result[i] = np.nan
            continue
        result[i, 0] = mean / np.sqrt(second / (n - 1))
        result[i, 1] = third / n / variance**1.5
        result[i, 2] = fourth / n / variance**2


@njit(cache=True, nogil=True, error_model="numpy")
def _performance(sums: Floats, squares: Floats, n: int, by_sharpe: bool) -> Floats:  # noqa: FBT001 - a kernel
    """Return what ranks trials: their Sharpe ratio up to a common factor, or their sum; see ``overfitting``."""
    if not by_sharpe:
        return sums
    result = np.empty(len(sums))
    for k in range(len(sums)):
        spread = squares[k] - sums[k] * sums[k] / n
        ratio = sums[k] / np.sqrt(spread)
        if not spread > 1e-14 * squares[k]:
            ratio = 0.0 if sums[k] == 0.0 else np.copysign(np.inf, sums[k])
        result[k] = ratio
    return result


@njit(cache=True, nogil=True)
def _rank(chosen: Floats, other: Floats) -> tuple[float, float]:
    """Return the rank (1 is worst, ties averaged) and value in ``other`` of the first best of ``chosen``."""
    best = 0
    for k in range(1, len(chosen)):
        if chosen[k] > chosen[best]:
            best = k
    value = other[best]
    below, equal = 0, 0
    for k in range(len(other)):
        below += other[k] < value
        equal += other[k] == value
    return below + (equal + 1) / 2, value


@njit(cache=True, nogil=True)
def cross_validate(
    start: int, stop: int, masks: Integers, low: Floats, high: Floats, n: int, by_sharpe: bool, result: Floats  # noqa: FBT001
) -> None:  # fmt: skip
    """Write, for each split, the out-of-sample rank and value of the trial that is best in sample.

    Parameters
    ----------
    masks
        (n_pairs,) bits of the blocks in sample; the complement's split is served by the same pass, and written to the
        mirrored row.
    low, high
        (2, 2^h, n_trials) sums, and sums of squares, of every subset of the lower and the upper h blocks: any split's
        sum is one addition, without drift.
    n
        Rows in sample.
    result
        (2 n_pairs, 2).
    """
    subsets = low.shape[1]
    for i in range(start, stop):
        a, b = masks[i] % subsets, masks[i] // subsets
        c, d = subsets - 1 - a, high.shape[1] - 1 - b
        inside = _performance(low[0, a] + high[0, b], low[1, a] + high[1, b], n, by_sharpe)
        outside = _performance(low[0, c] + high[0, d], low[1, c] + high[1, d], n, by_sharpe)
        result[i, 0], result[i, 1] = _rank(inside, outside)
        result[len(result) - 1 - i, 0], result[len(result) - 1 - i, 1] = _rank(outside, inside)


@njit(cache=True, nogil=True)
def continue_blocks(starts: Integers, uniforms: Floats, probability: float) -> None:
    """Turn (n,) random positions into those of a stationary bootstrap: each new block begins with ``probability``."""
    n = len(starts)
    for t in range(1, n):
        if uniforms[t] > probability:
            following = starts[t - 1] + 1
            starts[t] = 0 if following == n else following


@njit(cache=True, nogil=True)
def resampled_maxima(
    start: int, stop: int, starts: Integers, uniforms: Floats, probability: float,
    values: Floats, centres: Floats, result: Floats,
) -> None:  # fmt: skip
    """Write the maxima over columns of resampled means less each of the centres.

    Parameters
    ----------
    starts, uniforms
        (reps, n) random positions, overwritten, and numbers in [0, 1).
    values
        (n, k).
    centres
        (c, k).
    result
        (reps, c).
    """
    n, k = values.shape
    counts, means = np.empty(n, np.int64), np.empty(k)
    for r in range(start, stop):
        continue_blocks(starts[r], uniforms[r], probability)
        counts[:] = 0
        for t in range(n):
            counts[starts[r, t]] += 1
        means[:] = 0.0
        for t in range(n):
            # About a third of the rows is absent from a resample.
            if counts[t] > 0:
                for j in range(k):
                    means[j] += counts[t] * values[t, j]
        for c in range(len(centres)):
            largest = -np.inf
            for j in range(k):
                largest = max(largest, means[j] / n - centres[c, j])
            result[r, c] = largest


@njit(cache=True, nogil=True)
def resampled_falls(
    start: int, stop: int, starts: Integers, uniforms: Floats, probability: float, returns: Floats, result: Floats
) -> None:
    """Write the largest fall from a peak of the compounded returns along each resampled path.

    Parameters
    ----------
    starts, uniforms
        (reps, horizon) random positions and numbers in [0, 1).
    returns
        (n,).
    result
        (reps,) as fractions of the peak; the first peak is what it began with.
    """
    n, horizon = len(returns), starts.shape[1]
    for r in range(start, stop):
        equity, peak, fall, position = 1.0, 1.0, 0.0, 0
        for t in range(horizon):
            position += 1
            if t == 0 or uniforms[r, t] <= probability:
                position = starts[r, t]
            elif position == n:
                position = 0
            equity *= 1 + returns[position]
            peak = max(peak, equity)
            fall = max(fall, (peak - equity) / peak)
        result[r] = fall
