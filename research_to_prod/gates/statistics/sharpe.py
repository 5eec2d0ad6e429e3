"""How sure one can be of a Sharpe ratio: of one series, and of the best of a counted number of trials.

Conventions: Sharpe ratios are per observation (a daily one is annualised by sqrt(365)), without a risk-free rate;
kurtosis is not in excess (normal is 3). The variance of a Sharpe ratio follows Bailey and Lopez de Prado (2012): at
the estimate, with T - 1. (The form of 2025, at the benchmark and with T, gives 0.987 where this one gives 0.913.)

Belongs here: closed forms in moments and counts. Doesn't: resampling and cross-validation of the trials themselves.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from research_to_prod.gates.statistics._validation import all_finite, between, whole
from research_to_prod.research.bars import Floats

_EULER = 0.5772156649015329
# Exact means of the maximum of 2, 3 and 4 standard normals; the asymptotic formula says 0.520 for 2.
_FEW = {
    2: 1 / math.sqrt(math.pi),
    3: 1.5 / math.sqrt(math.pi),
    4: 1.5 / math.sqrt(math.pi) * (1 + 2 / math.pi * math.asin(1 / 3)),
}


def sharpe_standard_error(sharpe: float, n_observations: float, skewness: float, kurtosis: float) -> float:
    """Return the standard error of an estimated Sharpe ratio of returns that need not be normal.

    ``sqrt((1 - g3 SR + (g4 - 1) / 4 SR^2) / (T - 1))``, Bailey and Lopez de Prado (2012). NaN for NaN input, fewer than
    2 observations, or a kurtosis that no distribution with that skewness has (such as one given in excess).
    """
    if not all_finite(sharpe, n_observations, skewness, kurtosis) or n_observations < 2:
        return math.nan
    # Kurtosis is at least 1 + skewness^2; the tolerance admits published values rounded to three digits.
    if kurtosis < (1 + skewness**2) * (1 - 1e-3):
        return math.nan
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return math.sqrt(variance / (n_observations - 1)) if variance > 0 else math.nan


def probabilistic_sharpe_ratio(
    sharpe: float, benchmark: float, n_observations: float, skewness: float, kurtosis: float
) -> float:
    """Return the probability that the true Sharpe ratio exceeds ``benchmark``.

    ``Phi((SR - SR0) / se(SR))``, Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier", eq. 11.
    NaN where `sharpe_standard_error` is.
    """
    error = sharpe_standard_error(sharpe, n_observations, skewness, kurtosis)
    return float(ndtr((sharpe - benchmark) / error))


def probabilistic_sharpe_ratios(returns: Floats, benchmark: float | Floats = 0.0) -> Floats:
    """Return the probabilistic Sharpe ratio of each row of (n_series, n_observations) returns.

    Parameters
    ----------
    benchmark
        One for all, or (n_series,): with `expected_maximum_sharpe_ratio` of each the result is the deflated ratio.

    Returns
    -------
    (n_series,) float64
        NaN for a row that holds a NaN, has fewer than 3 observations, or doesn't vary; and for a NaN benchmark.

    Raises
    ------
    ValueError
        If ``returns`` is not two-dimensional, or the benchmarks aren't one or one a series.
    """
    if np.ndim(benchmark) and np.shape(benchmark) != np.shape(returns)[:1]:
        raise ValueError(f"benchmark must be a number or have shape (n_series,), has {np.shape(benchmark)}")
    sharpe, skewness, kurtosis = sharpe_moments(returns).T
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    with np.errstate(invalid="ignore"):
        spread[~(spread > 0)] = np.nan
        return np.asarray(ndtr((sharpe - benchmark) * np.sqrt((np.shape(returns)[1] - 1) / spread)), dtype=np.float64)


def sharpe_moments(returns: Floats) -> Floats:
    """Return the (n_series, 3) Sharpe ratio, skewness and kurtosis of each row of (n_series, n_observations) returns.

    Deviations are sample deviations (n - 1), skewness and kurtosis population moments. NaN as in
    `probabilistic_sharpe_ratios`.

    Raises
    ------
    ValueError
        If ``returns`` is not two-dimensional.
    """
    returns = np.ascontiguousarray(returns, dtype=np.float64)
    if returns.ndim != 2:
        raise ValueError(f"returns must have shape (n_series, n_observations), have {returns.shape}")
    result = np.full((len(returns), 3), np.nan)
    if returns.shape[1] >= 3:
        from research_to_prod.gates.statistics._kernels import moments, over_threads

        over_threads(moments, len(returns), returns, result)
    result[~np.isfinite(result).all(axis=1)] = np.nan
    return result


def expected_maximum_sharpe_ratio(trials_sd: float, n_trials: int) -> float:
    """Return the Sharpe ratio that the best of ``n_trials`` worthless trials is expected to show.

    ``sd ((1 - gamma) Z(1 - 1/N) + gamma Z(1 - 1/(N e)))``, Bailey and Lopez de Prado (2014), "The deflated Sharpe
    ratio", eq. 1; the exact mean for fewer than 5 trials, where that approximation is off by up to 8 %.

    Parameters
    ----------
    trials_sd
        Standard deviation of the trials' Sharpe ratios, per observation.

    Raises
    ------
    ValueError
        If ``n_trials`` is not an integer of at least 2: one trial leaves nothing to deflate, and a bar of zero would
        let anything pass.
    """
    n = whole("n_trials", n_trials, 2)
    if not (math.isfinite(trials_sd) and trials_sd > 0):
        return math.nan
    if n in _FEW:
        return trials_sd * _FEW[n]
    return float(trials_sd * ((1 - _EULER) * ndtri(1 - 1 / n) + _EULER * ndtri(1 - 1 / (n * math.e))))


def deflated_sharpe_ratio(
    sharpe: float, n_observations: float, skewness: float, kurtosis: float, trials_sd: float, n_trials: int
) -> float:
    """Return the probability that the true Sharpe ratio is positive after ``n_trials`` were searched.

    The probabilistic Sharpe ratio against `expected_maximum_sharpe_ratio`, Bailey and Lopez de Prado (2014).

    Raises
    ------
    ValueError
        If ``n_trials`` is not an integer of at least 2.
    """
    benchmark = expected_maximum_sharpe_ratio(trials_sd, n_trials)
    return probabilistic_sharpe_ratio(sharpe, benchmark, n_observations, skewness, kurtosis)


def minimum_track_record_length(
    sharpe: float, benchmark: float, skewness: float, kurtosis: float, confidence: float
) -> float:
    """Return the observations after which the probabilistic Sharpe ratio reaches ``confidence``.

    ``1 + (1 - g3 SR + (g4 - 1) / 4 SR^2) (z / (SR - SR0))^2``, Bailey and Lopez de Prado (2012), eq. 15. Infinite when
    the Sharpe ratio does not exceed the benchmark, NaN for NaN input.

    Raises
    ------
    ValueError
        If ``confidence`` is not between 0.5 and 1.
    """
    between("confidence", confidence, 0.5, 1)
    variance = sharpe_standard_error(sharpe, 2, skewness, kurtosis) ** 2
    if math.isnan(variance) or not math.isfinite(benchmark):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    return float(1 + variance * (ndtri(confidence) / (sharpe - benchmark)) ** 2)


def minimum_backtest_length(n_trials: int, target_sharpe: float) -> float:
    """Return the years below which the best of ``n_trials`` worthless trials is expected to reach ``target_sharpe``.

    ``(E[max_N] / SR)^2``, Bailey, Borwein, Lopez de Prado and Zhu (2014), "Pseudo-mathematics and
    financial charlatanism".

    Parameters
    ----------
    target_sharpe
        Annualised.

    Raises
    ------
    ValueError
        If ``n_trials`` is not an integer of at least 2, or the target is not positive.
    """
    if not (math.isfinite(target_sharpe) and target_sharpe > 0):
        raise ValueError(f"target_sharpe must be positive, is {target_sharpe}")
    return (expected_maximum_sharpe_ratio(1.0, n_trials) / target_sharpe) ** 2


def long_run_variance_ratio(returns: Floats) -> float:
    """Return the long-run over the plain variance of (n,) returns: 1 without autocorrelation, above for trending ones.

    Newey and West (1987): Bartlett weights up to lag ``4 (n / 100)^(2/9)`` (their rule of 1994). NaN for fewer than 3
    observations, NaN among them, or no variance.
    """
    n = len(returns)
    if n < 3 or not np.isfinite(returns).all():
        return math.nan
    largest = float(np.max(np.abs(returns)))
    scaled = returns / largest if largest > 0 else returns
    centred = scaled - scaled.mean()
    variance = float(np.mean(centred**2))
    if math.sqrt(variance) <= 1e-12:
        return math.nan
    lags = min(int(4 * (n / 100) ** (2 / 9)), n - 1)
    products = (float(np.sum(centred[lag:] * centred[:-lag])) / n for lag in range(1, lags + 1))
    weighted = sum((1 - lag / (lags + 1)) * product for lag, product in enumerate(products, start=1))
    return 1 + 2 * weighted / variance


def null_sharpe_deviation(returns: Floats) -> float:
    """Return the sampling deviation that the Sharpe ratio of such (n,) returns would have, were their mean zero.

    ``sqrt(max(1, long-run variance ratio) / (n - 1))``: Lo (2002) for dependent returns. Negative autocorrelation earns
    no credit: it is mostly bid-ask bounce.
    """
    ratio = long_run_variance_ratio(returns)
    return math.sqrt(max(1.0, ratio) / (len(returns) - 1)) if math.isfinite(ratio) else math.nan
