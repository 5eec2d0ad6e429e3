"""Tests of the best of many trials against a benchmark, by resampling all trials together.

Belongs here: the reality check and its descendants. Doesn't: corrections that need only a count (``sharpe``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_to_prod.gates.statistics._validation import magnitude, panel, whole
from research_to_prod.gates.statistics.bootstrap import draw
from research_to_prod.research.bars import Floats


@dataclass(frozen=True)
class SuperiorPredictiveAbility:
    """Three p-values of "no trial beats the benchmark", which differ in what they assume of poor trials.

    Parameters
    ----------
    lower
        Every trial below the benchmark counts as far below it: the liberal bound.
    consistent
        Only those significantly below do: Hansen's p-value, the one to judge by.
    upper
        None does: the conservative bound, White's reality check.
    """

    lower: float
    consistent: float
    upper: float


def superior_predictive_ability(
    returns: Floats,
    benchmark: float | Floats = 0.0,
    *,
    block_size: float | None = None,
    reps: int = 1000,
    seed: int | np.random.SeedSequence,
    studentised: bool = True,
) -> SuperiorPredictiveAbility:
    """Return the p-values of Hansen's test that the best of many trials beats the benchmark by luck.

    Hansen (2005), "A test for superior predictive ability": the statistic is the largest mean difference in units of
    its own deviation, held against a stationary bootstrap of all trials together.

    arch 8.0.0 takes losses instead of returns, and a wrong sign silently gives a wrong answer; and its maximum is of
    plain means, so the loudest trial decides what luck can do. ``studentised=False`` is its test, and gives its
    p-values for the same seed.

    Parameters
    ----------
    returns
        (n_observations, n_trials) returns of every trial, per observation; positive is good.
    benchmark
        What a trial has to beat: one number, or (n_observations,) returns.
    block_size
        Mean block length in observations; sqrt(n_observations) by default, rounded down.

    Raises
    ------
    ValueError
        For no trial, fewer than 20 observations, more trials than observations (a transposed array), a value that is
        not finite, a difference that doesn't vary, or fewer than 100 resamples.
    """
    benchmark = np.asarray(benchmark, dtype=np.float64)
    returns = np.asarray(returns, dtype=np.float64)
    if benchmark.ndim > 1 or (benchmark.ndim == 1 and benchmark.shape != returns.shape[:1]):
        raise ValueError(f"benchmark must be a number or have shape ({len(returns)},), has {benchmark.shape}")
    differences = panel(returns - (benchmark[:, None] if benchmark.ndim else benchmark), 20, least_trials=1)
    n = len(differences)
    reps = whole("reps", reps, 100)
    size = float(int(np.sqrt(n))) if block_size is None else float(block_size)
    if not 1 <= size <= n:
        raise ValueError(f"block_size must lie between 1 and the {n} observations, is {block_size}")

    from research_to_prod.gates.statistics._kernels import over_threads, resampled_maxima

    # One scale for all changes no comparison and keeps squares from overflowing.
    differences = differences / magnitude(differences)
    deviations = bootstrap_deviations(differences, size)
    means = differences.mean(axis=0)
    poor = means < -deviations * np.sqrt(2 * np.log(np.log(n)))
    centres = np.stack([np.maximum(means, 0.0), np.where(poor, 0.0, means), means])
    if studentised:
        differences, centres, means = differences / deviations, centres / deviations, means / deviations
    exceeded = np.zeros(3)
    for starts, uniforms in draw(n, reps, seed):
        maxima = np.empty((len(starts), 3))
        over_threads(resampled_maxima, len(starts), starts, uniforms, 1 / size, differences, centres, maxima)
        exceeded += (maxima > means.max()).sum(axis=0)
    return SuperiorPredictiveAbility(*(float(count) / reps for count in exceeded))


def bootstrap_deviations(values: Floats, block_size: float) -> Floats:
    """Return (k,) deviations that the means of (n, k) values have over stationary resamples, in closed form.

    Politis and Romano (1994), lemma 1: autocovariances, weighted by ``(1 - i/n) (1 - p)^i + (i/n) (1 - p)^(n - i)``.
    """
    n = len(values)
    spectrum = np.fft.rfft(values - values.mean(axis=0), 2 * n, axis=0)
    covariances = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, 2 * n, axis=0)[:n] / n
    lag = np.arange(n)
    stay = 1 - 1 / block_size
    weights = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
    weights[1:] *= 2
    return np.asarray(np.sqrt((weights[:, None] * covariances).sum(axis=0) / n))
