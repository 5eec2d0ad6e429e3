"""The stationary bootstrap: resampling that keeps the dependence of neighbouring days.

Blocks of geometric length wrap around the end (Politis and Romano, 1994). The random numbers are drawn in the order in
which the package arch draws them: the same seed gives its resamples.

Belongs here: resampling and intervals from it. Doesn't: tests built on it (``selection``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from research_to_prod.gates.statistics._validation import Integers, between, constant, series, whole
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import sharpe_ratio


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval, and the mean block length that it rests on."""

    lower: float
    upper: float
    block_size: float


def stationary_bootstrap_interval(
    returns: Floats,
    statistic: Callable[[Floats], float] = sharpe_ratio,
    *,
    confidence: float = 0.95,
    block_size: float | None = None,
    reps: int = 10_000,
    seed: int | np.random.SeedSequence,
) -> Interval:
    """Return the percentile interval of ``statistic`` over stationary resamples of (n,) returns.

    Parameters
    ----------
    statistic
        Of (n,) returns; the Sharpe ratio per observation by default.
    block_size
        Mean block length in observations; by default that of `optimal_block_size`.

    Raises
    ------
    ValueError
        For fewer than 20 returns, one that is not finite, no variance, fewer than 100 resamples, or a statistic that
        is not a number on a resample.
    """
    returns = series("returns", returns, least=20)
    between("confidence", confidence, 0, 1)
    reps = whole("reps", reps, 100)
    size = optimal_block_size(returns) if block_size is None else _block_size(block_size, len(returns))
    values = np.empty(reps)
    done = 0
    for starts in resampled_positions(len(returns), size, reps, seed):
        values[done : done + len(starts)] = [statistic(returns[positions]) for positions in starts]
        done += len(starts)
    if not np.isfinite(values).all():
        raise ValueError(f"the statistic is not a number on {int((~np.isfinite(values)).sum())} of {reps} resamples")
    tail = (1 - confidence) / 2
    lower, upper = np.percentile(values, [100 * tail, 100 * (1 - tail)])
    return Interval(float(lower), float(upper), size)


def resampled_drawdowns(
    returns: Floats, horizon: int, *, block_size: float | None = None, reps: int, seed: int | np.random.SeedSequence
) -> Floats:
    """Return (reps,) largest falls from a peak over ``horizon`` observations of stationary resamples.

    Parameters
    ----------
    returns
        (n,) returns that compound.
    block_size
        Mean block length in observations; by default that of `optimal_block_size`.

    Raises
    ------
    ValueError
        For fewer than 20 returns, one that is not finite, no variance, or fewer than 100 resamples.
    """
    returns = series("returns", returns, least=20)
    horizon, reps = whole("horizon", horizon, 1), whole("reps", reps, 100)
    size = optimal_block_size(returns) if block_size is None else _block_size(block_size, len(returns))

    from research_to_prod.gates.statistics._kernels import over_threads, resampled_falls

    generator = np.random.default_rng(seed)
    starts, uniforms = generator.integers(len(returns), size=(reps, horizon)), generator.random((reps, horizon))
    falls = np.empty(reps)
    over_threads(resampled_falls, reps, starts, uniforms, 1 / size, returns, falls)
    return falls


def optimal_block_size(returns: Floats) -> float:
    """Return the mean block length that suits the dependence of (n,) returns; at least 1.

    Politis and White (2004) with the correction of Patton, Politis and White (2009), as arch computes it.

    Raises
    ------
    ValueError
        For fewer than 20 returns, one that is not finite, or no variance.
    """
    returns = series("returns", returns, least=20)
    if constant(returns[:, None])[0]:
        raise ValueError("returns don't vary")

    from arch.bootstrap import optimal_block_length

    return max(1.0, float(optimal_block_length(returns)["stationary"].iloc[0]))


def draw(n: int, reps: int, seed: int | np.random.SeedSequence) -> Iterator[tuple[Integers, Floats]]:
    """Yield batches of (batch, n) random positions and uniforms, ``reps`` rows in all; memory is bounded."""
    generator = np.random.default_rng(seed)
    batch = max(1, 2**22 // n)
    for first in range(0, reps, batch):
        size = min(batch, reps - first)
        starts, uniforms = np.empty((size, n), np.int64), np.empty((size, n))
        for row in range(size):
            starts[row] = generator.integers(n, size=n)
            uniforms[row] = generator.random(n)
        yield starts, uniforms


def resampled_positions(n: int, block_size: float, reps: int, seed: int | np.random.SeedSequence) -> Iterator[Integers]:
    """Yield batches of (batch, n) positions: stationary resamples of n observations, ``reps`` rows in all."""
    from research_to_prod.gates.statistics._kernels import continue_blocks

    for starts, uniforms in draw(n, reps, seed):
        for row in range(len(starts)):
            continue_blocks(starts[row], uniforms[row], 1 / block_size)
        yield starts


def _block_size(value: float, n: int) -> float:
    if not 1 <= value <= n:
        raise ValueError(f"block_size must lie between 1 and the {n} observations, is {value}")
    return float(value)
