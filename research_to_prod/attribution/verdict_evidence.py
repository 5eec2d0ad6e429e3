"""What a growing daily series says about its mean, at every look.

A series is positive when worse: expected less shadow P&L for the edge, shadow less live for execution. The evidence is
Robbins' one-sided normal mixture on sums divided by their long-run deviation, so that nobody pays for looking daily.
The deviation is estimated from the series to date (prewhitened Newey-West, never below the plain one): then the bounds
hold from some length on and not exactly (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2024, "Time-uniform central
limit theory"), which is what the burn-in is for and what the study of the verdicts measures.

Belongs here: arithmetic on one series. Doesn't: what an effect is called (``verdict``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtri

from research_to_prod.gates.statistics import (
    normal_mixture_bound,
    normal_mixture_log_evidence,
    normal_mixture_precision,
)
from research_to_prod.research.bars import Floats

_LONGEST_HORIZON = 100 * 365

FIRST_START = 2 / 3
"""Weight of the first day among the starts of a change: most of what is wrong has been so since the strategy went live.

The others share the rest, 1 / (2k^2) or about that of the k-th.
"""

_LARGEST_AUTOREGRESSION = 0.9
"""Above it, a few dozen days are worth one observation, and say nothing of the deviation."""


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
    log_evidence
        Log e-value against "never worse", over all starts (see `looks`).
    since, effect_since
        Days since the start that carries most of it, and the estimated effect since then.
    largest_effect
        The largest effect since any start: a change after a good year drowns in the mean of all days.
    """

    n: int
    mean: float
    deviation: float
    precision: float
    log_evidence: float
    since: int
    effect_since: float
    largest_effect: float

    def log_evidence_against(self, effect: float) -> float:
        """Return the log e-value against "the mean is ``effect`` or above"."""
        total = self.n * (effect - self.mean) / self.deviation
        return normal_mixture_log_evidence(total, float(self.n), self.precision, one_sided=True)

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


def looks(series: Floats, decide_by: float, alpha: float, restart: int, least: int) -> list[Look]:
    """Return what each daily look at an (n,) series of finite values sees, from day ``least`` on.

    The evidence is the mean over starts ``k`` = 0, 1, ... at weights 2 / ((2k + 1)(2k + 3)), the first day
    (`FIRST_START`) and every ``restart``-th after it: a mean of e-processes whose weights sum to 1 at most is one.

    Parameters
    ----------
    decide_by
        Days at which the bounds of error ``alpha`` are about as tight as they can be.
    least
        Days since a start below which it counts for nothing; at least 3.
    """
    deviations = long_run_deviations(series)
    totals = np.concatenate([[0.0], np.cumsum(series)])
    precision = normal_mixture_precision(decide_by, 2 * alpha)
    starts = np.arange(0, max(len(series) - least, 0) + 1, restart)
    odd = 2.0 * np.arange(len(starts)) + 1
    weights = np.log(2 / (odd * (odd + 2)))
    days = np.arange(least, len(series) + 1)
    # (days, starts); a start without enough days yet has no evidence, and no effect that could be the largest.
    since = days[:, None] - starts
    counts = since >= least
    lengths = np.maximum(since, 1)
    effects = np.where(counts, (totals[days][:, None] - totals[starts]) / lengths, -np.inf)
    # Days that don't vary say nothing; whoever reads a look asks for a deviation above 0.
    varies = deviations[days - 1][:, None] > 0
    standardised = np.where(counts & varies, lengths * effects, 0.0) / np.where(
        varies, deviations[days - 1][:, None], 1
    )
    evidence = np.where(counts, log_evidence(standardised, lengths, precision) + weights, -np.inf)
    strongest = np.argmax(evidence, axis=1)
    rows = np.arange(len(days))
    columns = (
        days, effects[:, 0], deviations[days - 1], np.logaddexp.reduce(evidence, axis=1), since[rows, strongest],
        effects[rows, strongest], effects.max(axis=1),
    )  # fmt: skip
    return [
        Look(n, mean, deviation, precision, *seen)
        for n, mean, deviation, *seen in zip(*(each.tolist() for each in columns), strict=True)
    ]


def log_evidence(totals: Floats, variances: Floats, precision: float) -> Floats:
    """Return `gates.statistics.normal_mixture_log_evidence` of many sums at once, one-sided."""
    both = precision + variances
    return np.asarray(
        (np.log(precision / both) + totals**2 / both) / 2 + math.log(2) + log_ndtr(totals / np.sqrt(both))
    )


def long_run_deviations(series: Floats) -> Floats:
    """Return the long-run deviation of a day, as known after each of (n,) days; NaN for the first two.

    Prewhitened (Andrews and Monahan, 1992, "An improved heteroskedasticity and autocorrelation consistent covariance
    matrix estimator"): what a first-order autoregression leaves is summed with Newey-West's weights up to lag
    ``4 (n / 100)^(2/9)``, and the autoregression put back. Newey-West alone sees 1.6 of the 1.86 variances that a
    coefficient of 0.3 makes. The coefficient is corrected for its bias in short series (Kendall, 1954), and negative
    autocorrelation earns no credit: neither by it nor by the rest is the result below the plain deviation.
    """
    n = np.arange(1, len(series) + 1, dtype=np.float64)
    # No shift changes a deviation; around its first value a series cancels the fewest digits.
    series = series - series[:1]
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

    lags = np.minimum((4 * (n / 100) ** (2 / 9)).astype(int), n - 1)
    most = int(lags.max(initial=0))
    plain = [products(lag) for lag in range(most + 2)]
    with np.errstate(divide="ignore", invalid="ignore"):
        first = plain[1] / plain[0]
        # Kendall: on the average the estimate is below the coefficient by (1 + 3 times it) / n.
        coefficient = np.clip(first + (1 + 3 * first) / n, 0.0, _LARGEST_AUTOREGRESSION)

        def whitened(lag: int) -> Floats:
            """Return the same sum over x_t less the coefficient times x_(t - 1), but for its first terms."""
            return (1 + coefficient**2) * plain[lag] - coefficient * (plain[lag + 1] + plain[abs(lag - 1)])

        summed = whitened(0)
        for lag in range(1, most + 1):
            summed = summed + 2 * np.maximum(1 - lag / (lags + 1), 0.0) * whitened(lag)
        ratio = summed / (1 - coefficient) ** 2 / plain[0]
        variance = plain[0] / (n - 1) * np.maximum(1.0, ratio)
        variance[:2] = np.nan
        return np.asarray(np.sqrt(variance))
