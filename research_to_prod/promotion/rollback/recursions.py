"""One step of each detector, in scalars: Python runs them for a reading, numba compiles the same text for a history.

Squares are products: Python's ``**`` asks the C library's ``pow``, which numba doesn't, and once in some thousand days
the two differ in the last bit.

Belongs here: arithmetic on numbers that are known. Doesn't: what a missing one means, limits, and what an alarm does.
"""

from __future__ import annotations

import math


def standardise(
    deviation: float, autocorrelation: float, offset: float, scale: float, clip: float, memory: float, floor: float,
    expected: float, variance: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Return one observation of unit long-run deviation, the deviation expected next, and the variance of it.

    The part of a deviation that the day before foretold is taken out (first-order autoregression), the rest is divided
    by the daily deviation known before (exponential weights) and clipped. A shift m of the mean then shifts the
    observations by m over the long-run deviation, ``deviation x scale / (1 - autocorrelation)``: dividing the
    deviations themselves by that has the same shift, but steps that follow each other, and a run length 10 % longer
    than the exact one (coefficient 0.2).

    Parameters
    ----------
    deviation
        What was expected on average, less what came.
    offset, scale
        Mean and deviation of the clipped surprises of a healthy series: clipping moves the mean of a skewed one.
    floor
        Least variance to divide by.
    expected, variance
        As returned the day before.
    """
    spread = math.sqrt(max(variance, floor))
    surprise = min(max((deviation - expected) / spread, -clip), clip)
    # What was clipped is not believed, neither by the next day's expectation nor by its variance.
    following = autocorrelation * (expected + surprise * spread)
    believed = surprise * spread
    return (surprise - offset) / scale, following, memory * variance + (1 - memory) * (believed * believed)


def squared(value: float) -> float:
    """Return the square of ``value``, the same bits compiled or not."""
    return value * value


def cusum(chart: float, observation: float, reference: float) -> float:
    """Return Page's chart after one more observation."""
    return max(0.0, chart + observation - reference)


def log_likelihood_ratio(ratio: float, observation: float, shift: float) -> float:
    """Return the log likelihood ratio of ``shift`` against none after one more observation."""
    return ratio + shift * observation - shift * shift / 2


def log1p_shiryaev_roberts(evidence: float, observation: float, shift: float) -> float:
    """Return ``ln(1 + R)`` of the e-SR process after one more observation; 0 at the beginning.

    ``R = (1 + R) exp(shift z - shift^2 / 2)``, in logs because R outgrows a float.
    """
    log_process = evidence + shift * observation - shift * shift / 2
    return max(log_process, 0.0) + math.log1p(math.exp(-abs(log_process)))
