"""Whether limits hold as often as they promise: exceptions of a value at risk, and bounds on a quantile.

Belongs here: counts against a binomial. Doesn't: estimating the limits (``risk``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, chdtrc, xlogy

from research_to_prod.gates.statistics._validation import between, whole


@dataclass(frozen=True)
class LikelihoodRatio:
    """A likelihood ratio statistic and its p-value; both NaN where there is too little to test."""

    statistic: float
    p_value: float


@dataclass(frozen=True)
class Christoffersen:
    """Tests of a sequence of exceptions: their frequency, their independence, and both together."""

    coverage: LikelihoodRatio
    independence: LikelihoodRatio
    conditional_coverage: LikelihoodRatio


def kupiec_test(n_exceptions: int, n_observations: int, probability: float) -> LikelihoodRatio:
    """Return Kupiec's test (1995) that exceptions happen with ``probability``: the proportion of failures.

    NaN if fewer than one exception is expected: such a sample can't tell.

    Raises
    ------
    ValueError
        If the counts are not integers, there are more exceptions than observations, or the probability is not between
        0 and 1.
    """
    n = whole("n_observations", n_observations, 1)
    x = whole("n_exceptions", n_exceptions, 0)
    p = between("probability", probability, 0, 1)
    if x > n:
        raise ValueError(f"{x} exceptions in {n} observations")
    if n * p < 1:
        return LikelihoodRatio(math.nan, math.nan)
    return _likelihood_ratio(_log_likelihood(x, n, x / n) - _log_likelihood(x, n, p), 1)


def christoffersen_test(exceptions: npt.ArrayLike, probability: float) -> Christoffersen:
    """Return Christoffersen's tests (1998) that exceptions come with ``probability`` and independently of the last.

    Conditional coverage is the sum of both statistics, over all observations for the first and all transitions for the
    second.

    Parameters
    ----------
    exceptions
        (n,) booleans, in order of time.

    Raises
    ------
    ValueError
        If ``exceptions`` is not a vector of booleans (0 and 1 count as such), or as `kupiec_test`.
    """
    hits = np.asarray(exceptions)
    if hits.ndim != 1 or not np.isin(hits, (0, 1)).all():
        raise ValueError("exceptions must be a vector of booleans, in order of time")
    hits = hits.astype(bool)
    coverage = kupiec_test(int(hits.sum()), len(hits), probability)
    before, after = hits[:-1], hits[1:]
    n, n_after_hit = len(after), int(before.sum())
    x, x_after_hit = int(after.sum()), int((before & after).sum())
    independence = LikelihoodRatio(math.nan, math.nan)
    # Without both states to come from there is no dependence to see; nor in a sample too short for the frequency.
    if 0 < n_after_hit < n and not math.isnan(coverage.statistic):
        x_after_calm, n_after_calm = x - x_after_hit, n - n_after_hit
        dependent = _log_likelihood(x_after_hit, n_after_hit, x_after_hit / n_after_hit)
        dependent += _log_likelihood(x_after_calm, n_after_calm, x_after_calm / n_after_calm)
        independence = _likelihood_ratio(dependent - _log_likelihood(x, n, x / n), 1)
    both = _likelihood_ratio((coverage.statistic + independence.statistic) / 2, 2)
    return Christoffersen(coverage, independence, both)


def quantile_upper_bound(n: int, quantile: float, confidence: float) -> int | None:
    """Return the rank (1 is the smallest) of the observation that bounds a quantile from above with ``confidence``.

    The smallest r with ``P(Bin(n, quantile) <= r - 1) >= confidence`` (Wilks, 1941), whatever the distribution; for
    independent observations. None if even the largest doesn't suffice: the 99 % quantile needs 299 for 95 %.

    Raises
    ------
    ValueError
        If ``n`` is not an integer of at least 1, or the quantile or confidence is not between 0 and 1.
    """
    n = whole("n", n, 1)
    between("quantile", quantile, 0, 1)
    between("confidence", confidence, 0, 1)
    enough = bdtr(np.arange(n, dtype=np.float64), n, quantile) >= confidence
    return int(np.argmax(enough)) + 1 if enough.any() else None


def _log_likelihood(x: int, n: int, p: float) -> float:
    return float(xlogy(x, p) + xlogy(n - x, 1 - p))


def _likelihood_ratio(log_ratio: float, degrees: int) -> LikelihoodRatio:
    # Rounding may leave a ratio of one a hair below.
    statistic = 2 * log_ratio if math.isnan(log_ratio) else max(0.0, 2 * log_ratio)
    return LikelihoodRatio(statistic, float(chdtrc(degrees, statistic)))
