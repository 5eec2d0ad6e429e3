"""Tail losses and the share of risk that each part of a book carries.

Belongs here: closed forms on past returns, weights and covariances. Doesn't: optimisers (a solver's tolerance is no
contract) and limits.
"""

from __future__ import annotations

import math

import numpy as np

from research_to_prod.gates.statistics._validation import all_finite, between, constant
from research_to_prod.research.bars import Floats


def expected_shortfall(returns: Floats, level: float = 0.975) -> float:
    """Return the mean loss over the worst ``1 - level`` of (n,) returns; losses are positive.

    The last observation counts with the fraction that completes the tail (Acerbi and Tasche, 2002). NaN if the tail
    holds less than one observation, a return is not finite, or the returns don't vary.

    Raises
    ------
    ValueError
        If ``returns`` is not a vector or ``level`` is not between 0 and 1.
    """
    if np.ndim(returns) != 1:
        raise ValueError(f"returns must have shape (n_observations,), have {np.shape(returns)}")
    return float(component_expected_shortfall(np.asarray(returns, dtype=np.float64)[:, None], level)[0])


def component_expected_shortfall(returns: Floats, level: float = 0.975) -> Floats:
    """Return what each strategy loses on the book's worst days; the components add up to the book's shortfall.

    Parameters
    ----------
    returns
        (n_observations, n_strategies) contributions to the book's return (weight times return, or money).

    Returns
    -------
    (n_strategies,) float64
        Mean loss over the book's tail, as in `expected_shortfall`; negative for a strategy that hedges. All NaN where
        the book's shortfall is.

    Raises
    ------
    ValueError
        If ``returns`` is not two-dimensional, has more strategies than observations (a transposed array), or ``level``
        is not between 0 and 1.
    """
    returns = np.asarray(returns, dtype=np.float64)
    between("level", level, 0, 1)
    if returns.ndim != 2:
        raise ValueError(f"returns must have shape (n_observations, n_strategies), have {returns.shape}")
    n, strategies = returns.shape
    if strategies > n > 0:
        raise ValueError(f"{strategies} strategies on {n} observations: time must run down the rows")
    # 40 x (1 - 0.975) is 1.0000000000000009 in floats: what is an integer but for rounding counts as one.
    tail = round(n * (1 - level), 9)
    book = returns.sum(axis=1)
    if tail < 1 or not np.isfinite(returns).all() or constant(book[:, None])[0]:
        return np.full(strategies, np.nan)
    worst = np.argsort(book, kind="stable")[: math.ceil(tail)]
    weights = np.ones(len(worst))
    weights[-1] -= len(worst) - tail
    return np.asarray(-(weights[:, None] * returns[worst]).sum(axis=0) / tail)


def risk_contributions(weights: Floats, covariance: Floats) -> Floats:
    """Return the (k,) shares of a portfolio's variance that its parts carry: ``w_i (C w)_i / w'Cw``, which sum to 1.

    All NaN if a number is not finite, the matrix is no covariance (not symmetric, or a negative eigenvalue), or the
    portfolio has no variance.

    Raises
    ------
    ValueError
        If the shapes are not (k,) and (k, k).
    """
    weights, covariance = np.asarray(weights, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    k = len(weights) if weights.ndim == 1 else -1
    if covariance.shape != (k, k):
        raise ValueError(f"weights (k,) and covariance (k, k) have shapes {weights.shape} and {covariance.shape}")
    # Sums rather than a matrix product: the same bytes on any number of BLAS threads.
    parts = weights * (covariance * weights).sum(axis=1)
    variance, gross = parts.sum(), np.abs(parts).sum()
    if not math.isfinite(gross) or not variance > 1e-12 * gross or not _is_covariance(covariance):
        return np.full(k, np.nan)
    return np.asarray(parts / variance)


def _is_covariance(matrix: Floats) -> bool:
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-9, atol=0):
        return False
    eigenvalues = np.linalg.eigvalsh(matrix)
    return bool(eigenvalues[0] >= -1e-9 * eigenvalues[-1])


def fractional_kelly_cap(mean_lower_bound: float, variance: float, fraction: float = 0.25) -> float:
    """Return the largest leverage that a cautious Kelly bettor would take: ``fraction x mean / variance``, at least 0.

    0 for what is not finite or has no variance: the cap that lets nothing through.

    Parameters
    ----------
    mean_lower_bound
        Lower confidence bound of the mean return (the estimate itself overbets), per period.
    variance
        Of the return, per the same period.

    Raises
    ------
    ValueError
        If ``fraction`` is not above 0 and at most 1: more than the full Kelly fraction loses growth for more risk.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie above 0 and not above 1, is {fraction}")
    if not all_finite(mean_lower_bound, variance) or variance <= 0:
        return 0.0
    cap = fraction * mean_lower_bound / variance
    return max(0.0, cap) if math.isfinite(cap) else 0.0


def kelly_ruin_probability(fraction: float, remaining: float) -> float:
    """Return the probability of ever falling to ``remaining`` of the capital at a ``fraction`` of Kelly's leverage.

    ``remaining^(2 / fraction - 1)`` in continuous time, Thorp (2006): a half for full Kelly down to a half, 0.0078
    for a quarter.

    Raises
    ------
    ValueError
        If ``fraction`` is not above 0 and below 2, or ``remaining`` is not between 0 and 1.
    """
    between("fraction", fraction, 0, 2)
    return float(between("remaining", remaining, 0, 1) ** (2 / fraction - 1))
