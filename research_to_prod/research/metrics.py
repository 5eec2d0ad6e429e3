"""Performance of an equity curve.

Conventions: a day is a UTC day, a year has 365 of them; Sharpe ratios are mean over sample deviation (n - 1) without a
risk-free rate; skewness and kurtosis are population moments, kurtosis not in excess (normal is 3). What can't be
computed is NaN, never 0.

Belongs here: numbers that describe one series. Doesn't: their significance (the gates).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from research_to_prod.research.bars import Floats

DAYS_A_YEAR = 365


def last_of_each_day(ts: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Return the row of the last bar of each UTC day, for (T,) increasing bar open times."""
    days = ts.astype("datetime64[D]")
    return np.flatnonzero(np.append(days[1:] != days[:-1], values=True)) if len(days) else np.empty(0, np.int64)


def daily_returns(
    ts: npt.NDArray[np.datetime64], equity: Floats, initial_capital: float
) -> tuple[npt.NDArray[np.datetime64], Floats]:
    """Return the UTC days, and each day's return from the equity at the close of its last bar.

    Parameters
    ----------
    ts
        (T,) bar open times, increasing.
    equity
        (T,) equity at each bar's close.

    Returns
    -------
    days, returns
        (D,) ``datetime64[D]`` and float64; NaN for a day that begins with no equity left.
    """
    last = last_of_each_day(ts)
    return ts[last].astype("datetime64[D]"), returns_between(equity[last], initial_capital)


def returns_between(closing: Floats, initial_capital: float) -> Floats:
    """Return the return of each period from the equity at its close (D,); NaN where it begins with no equity left."""
    before = np.concatenate(([initial_capital], closing[:-1]))[: len(closing)]
    return np.divide(closing - before, before, out=np.full(len(closing), np.nan), where=before > 0)


def sharpe_ratio(returns: Floats) -> float:
    """Return mean over sample deviation of (n,) returns, per period; NaN for under 2, a NaN, or no variance."""
    scaled = _scaled(returns)
    return math.nan if scaled is None else float(np.mean(scaled)) / float(np.std(scaled, ddof=1))


def _scaled(returns: Floats) -> Floats | None:
    """Return the returns over their largest magnitude, so that no power overflows; None if they don't vary."""
    if len(returns) < 2 or not np.isfinite(returns).all():
        return None
    largest = float(np.max(np.abs(returns)))
    scaled = returns / largest if largest > 0 else np.zeros(len(returns))
    # A constant series has a deviation of rounding dust (1.4e-17 for ten times 0.1), not always of zero.
    return scaled if float(np.std(scaled)) > 1e-12 else None


def annualised_sharpe_ratio(daily_sharpe: float) -> float:
    """Return a daily Sharpe ratio times sqrt(365)."""
    return daily_sharpe * math.sqrt(DAYS_A_YEAR)


def skewness_and_kurtosis(returns: Floats) -> tuple[float, float]:
    """Return the standardised third and fourth population moments of (n,) returns; NaN where Sharpe is."""
    scaled = _scaled(returns)
    if scaled is None:
        return math.nan, math.nan
    standard = (scaled - np.mean(scaled)) / np.std(scaled)
    return float(np.mean(standard**3)), float(np.mean(standard**4))


def max_drawdown(equity: Floats, initial_capital: float) -> float:
    """Return the largest fall from a running peak (the initial capital is the first) as a fraction of that peak.

    More than 1 when equity ends below zero; NaN for an empty or NaN curve.
    """
    if len(equity) == 0 or not np.isfinite(equity).all():
        return math.nan
    curve = np.concatenate(([initial_capital], equity))
    peak = np.maximum.accumulate(curve)
    return float(np.max((peak - curve) / peak))
