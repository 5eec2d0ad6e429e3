"""What a growing daily series says about its mean, at every look.

A series is positive when worse: expected less shadow P&L for the edge, shadow less live for execution. The evidence is
Robbins' one-sided normal mixture on sums divided by their long-run deviation, so that nobody pays for looking daily.
The deviation is estimated from the series to date (Newey-West, never below the plain one): then the bounds hold from
some length on and not exactly (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2024, "Time-uniform central limit
theory"), which is what the burn-in is for and what the study of the verdicts measures.

Belongs here: arithmetic on one series. Doesn't: what an effect is called (``verdict``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from research_to_prod.gates.statistics import (
    normal_mixture_bound,
    normal_mixture_log_evidence,
    normal_mixture_precision,
)
from research_to_prod.research.bars import Floats

_LONGEST_HORIZON = 100 * 365


@dataclass(frozen=True)
class Look:
    """A series of ``n`` days as one look sees it, in the unit of the series.

    Parameters
    ----------
    mean
        The estimated effect over all days.
    deviation
        Long-run deviation of a day: that of the mean is this over sqrt(n).
    precision
        Of the mixture, in days.
    later
        Days since each later start, and the mean of them: a change after a good year would drown in the mean of all.
    """

    n: int
    mean: float
    deviation: float
    precision: float
    later: tuple[tuple[int, float], ...] = ()

    def log_evidence(self) -> float:
        """Return the log e-value against "never worse": of starts ``k`` = 0, 1, ... at weights 1 / ((k + 1)(k + 2)).

        A mean of e-processes with weights that sum to less than 1 is one. A start in the future counts for nothing.
        """
        return float(np.logaddexp.reduce(self._log_evidence_by_start()))

    def log_evidence_against(self, effect: float) -> float:
        """Return the log e-value against "the mean is ``effect`` or above"."""
        return self._log_evidence(self.n, effect - self.mean)

    def strongest(self) -> tuple[int, float]:
        """Return the days since the start that carries most evidence, and the estimated effect since then."""
        return ((self.n, self.mean), *self.later)[int(np.argmax(self._log_evidence_by_start()))]

    def _log_evidence_by_start(self) -> list[float]:
        starts = ((self.n, self.mean), *self.later)
        return [
            self._log_evidence(n, mean) - math.log((start + 1) * (start + 2)) for start, (n, mean) in enumerate(starts)
        ]

    def _log_evidence(self, n: int, mean: float) -> float:
        return normal_mixture_log_evidence(n * mean / self.deviation, float(n), self.precision, one_sided=True)

    def width(self, alpha: float, n: int | None = None) -> float:
        """Return how far a bound of error ``alpha`` on one side lies from the mean, now or after ``n`` days."""
        days = np.array([float(n or self.n)])
        # Half of a two-sided bound: above 2 deviations the other side adds nothing.
        return float(self.deviation * normal_mixture_bound(days, 2 * alpha, self.precision)[0] / days[0])

    def days_to_decide(self, effect: float, alpha_yes: float, alpha_no: float, power: float) -> int:
        """Return the days of record still needed to tell an effect of this size from none.

        After them the right one of the two answers has come with probability ``power``; where that point has passed
        without any, the days until the bounds are too narrow to hold both zero and the effect.
        """

        def likely(n: int) -> bool:
            slack = float(ndtri(power)) * self.deviation / math.sqrt(n)
            return max(self.width(alpha_yes, n), self.width(alpha_no, n)) + slack <= effect

        def certain(n: int) -> bool:
            return self.width(alpha_yes, n) + self.width(alpha_no, n) <= effect

        wanted = certain if likely(self.n) else likely
        low, high = self.n, 2 * self.n
        while not wanted(high):
            if high > _LONGEST_HORIZON:
                return high - self.n
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if wanted(middle) else (middle, high)
        return high - self.n


def looks(series: Floats, decide_by: float, alpha: float, restart: int) -> list[Look]:
    """Return what each daily look at an (n,) series of finite values sees, from its third day.

    Parameters
    ----------
    decide_by
        Days at which the bounds of error ``alpha`` are about as tight as they can be.
    restart
        A change is looked for from the first day and from every ``restart``-th on.
    """
    deviations = long_run_deviations(series).tolist()
    totals = [0.0, *np.cumsum(series).tolist()]
    precision = normal_mixture_precision(decide_by, 2 * alpha)
    return [
        Look(
            n,
            totals[n] / n,
            deviations[n - 1],
            precision,
            tuple((n - start, (totals[n] - totals[start]) / (n - start)) for start in range(restart, n, restart)),
        )
        for n in range(3, len(series) + 1)
    ]


def long_run_deviations(series: Floats) -> Floats:
    """Return the long-run deviation of a day, as known after each of (n,) days; NaN for the first two.

    The plain variance (n - 1 degrees of freedom) times `gates.statistics.long_run_variance_ratio` of the days so far,
    at least 1: negative autocorrelation earns no credit.
    """
    n = np.arange(1, len(series) + 1, dtype=np.float64)
    total = np.cumsum(series)
    mean = total / n

    def products(lag: int) -> Floats:
        """Sum of (x_t - mean)(x_(t - lag) - mean) over the days so far, for each number of days."""
        found = np.zeros(len(series))
        if lag < len(series):
            later = total - (total[lag - 1] if lag else 0.0)
            earlier = np.concatenate([np.zeros(lag), total[: len(series) - lag]])
            crossed = np.concatenate([np.zeros(lag), np.cumsum(series[lag:] * series[: len(series) - lag])])
            found[lag:] = (crossed - mean * (later + earlier) + (n - lag) * mean**2)[lag:]
        return found

    squares = products(0)
    lags = np.minimum((4 * (n / 100) ** (2 / 9)).astype(int), n - 1)
    weighted = np.zeros(len(series))
    for lag in range(1, int(lags.max(initial=0)) + 1):
        weighted += np.maximum(1 - lag / (lags + 1), 0.0) * products(lag)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = squares / (n - 1) * np.maximum(1.0, 1 + 2 * weighted / squares)
    variance[:2] = np.nan
    return np.asarray(np.sqrt(variance))
