"""Watching a series as it grows: charts and tests whose errors hold at every look, not at one planned end.

Observations are standardised: the change watched for shifts their mean from 0 upwards, in units of their (long-run)
deviation. For the decay of an edge they are (expected - realised return) / deviation. A NaN raises: compared with a
limit it would be silent, and silence reads as health.

Belongs here: statistics and their limits. Doesn't: what an alarm does.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from research_to_prod.gates.statistics._validation import all_finite, between, series
from research_to_prod.research.bars import Floats

# Above, a linear system in double precision no longer holds the answer.
_LONGEST_RUN = 1e12


def cusum_average_run_length(
    reference: float, threshold: float, shift: float, two_sided: bool = False, head_start: float = 0.0  # noqa: FBT001, FBT002
) -> float:  # fmt: skip
    """Return the mean number of observations until a CUSUM of unit normals alarms.

    The chart is ``C = max(0, C + z - reference)``, alarm at ``C > threshold``. Exact: the integral equation of Page
    (1954) on Gauss-Legendre nodes. Infinite above 1e12.

    Parameters
    ----------
    reference
        Allowance k, half the shift to detect; at least 0.
    threshold
        Alarm limit h, above 0 and at most 100.
    shift
        True mean of the observations, in their deviation.
    two_sided
        Two charts, up and down; their rates of alarm add.
    head_start
        C at the beginning, at least 0 and below the threshold; at most half of it for two charts, which otherwise
        disturb each other.

    Raises
    ------
    ValueError
        If a number is not finite or out of these ranges.
    """
    if not all_finite(reference, threshold, shift, head_start):
        raise ValueError("reference, threshold, shift and head start must be finite")
    if reference < 0 or not 0 < threshold <= 100:
        raise ValueError(f"reference must be at least 0 and threshold in (0, 100], are {reference} and {threshold}")
    if not 0 <= head_start < threshold or (two_sided and head_start > threshold / 2):
        raise ValueError(f"head_start must lie in [0, threshold), for two sides in [0, threshold / 2], is {head_start}")
    up, up_at_zero = _run_lengths(reference, threshold, shift, head_start)
    if not two_sided:
        return up
    down, down_at_zero = _run_lengths(reference, threshold, -shift, head_start)
    if math.isinf(up_at_zero) or math.isinf(down_at_zero):
        return min(up, down)
    # Lucas and Crosier (1982); without a head start, 1 / ARL = 1 / ARL_up + 1 / ARL_down.
    return (up * down_at_zero + up_at_zero * down - up_at_zero * down_at_zero) / (up_at_zero + down_at_zero)


def _run_lengths(reference: float, threshold: float, shift: float, start: float) -> tuple[float, float]:
    """Return the average run lengths of a one-sided chart from ``start`` and from 0.

    ``L(s) = 1 + L(0) Phi(k - s - mu) + int_0^h L(x) phi(x + k - s - mu) dx``; the unknowns are L at the nodes and L(0).
    """
    # The kernel has a width of 1: this many nodes leave an error below 1e-9 for every threshold admitted.
    nodes, weights = np.polynomial.legendre.leggauss(int(1.6 * threshold) + 32)
    nodes, weights = (nodes + 1) * threshold / 2, weights * threshold / 2
    at = np.append(nodes, 0.0)
    distance = reference - shift - at
    density = np.exp(-((nodes + distance[:, None]) ** 2) / 2) / math.sqrt(2 * math.pi)
    system = np.eye(len(at)) - np.column_stack([weights * density, ndtr(distance)])
    lengths = _solve(system, np.ones(len(at)))
    at_zero = float(lengths[-1])
    if not 0 < at_zero < _LONGEST_RUN:
        return math.inf, math.inf
    distance_of_start = reference - shift - start
    density = np.exp(-((nodes + distance_of_start) ** 2) / 2) / math.sqrt(2 * math.pi)
    return float(1 + at_zero * ndtr(distance_of_start) + (weights * density * lengths[:-1]).sum()), at_zero


def _solve(system: Floats, right: Floats) -> Floats:
    """Solve a linear system by elimination: LAPACK's result differs in the last bits with the number of its threads.

    No pivoting is needed: off the diagonal nothing is positive, and rows sum to more than zero.
    """
    rows = np.column_stack([system, right])
    n = len(right)
    for i in range(n):
        rows[i + 1 :, i:] -= (rows[i + 1 :, i] / rows[i, i])[:, None] * rows[i, i:]
    result = np.zeros(n)
    for i in reversed(range(n)):
        result[i] = (rows[i, n] - (rows[i, i + 1 : n] * result[i + 1 :]).sum()) / rows[i, i]
    return result


def cusum_threshold(reference: float, average_run_length: float) -> float:
    """Return the threshold at which a one-sided CUSUM alarms falsely once in ``average_run_length`` observations.

    Raises
    ------
    ValueError
        If the reference is negative or not finite, or the run length is not above that of a threshold of 0.01 and at
        most that of 100 (and 1e9).
    """
    if not (math.isfinite(reference) and reference >= 0):
        raise ValueError(f"reference must be finite and at least 0, is {reference}")
    lowest, highest = 0.01, 100.0
    shortest = cusum_average_run_length(reference, lowest, 0.0)
    longest = min(cusum_average_run_length(reference, highest, 0.0), 1e9)
    if not shortest < average_run_length <= longest:
        raise ValueError(f"average_run_length must lie in ({shortest:.4g}, {longest:.4g}], is {average_run_length}")

    from scipy.optimize import brentq

    while cusum_average_run_length(reference, highest / 2, 0.0) >= average_run_length:
        highest /= 2
    return float(
        brentq(
            lambda h: math.log(cusum_average_run_length(reference, h, 0.0) / average_run_length),
            lowest, highest, xtol=1e-10, rtol=1e-12,
        )
    )  # fmt: skip


class SprtDecision(enum.StrEnum):
    """Where a sequential test stands."""

    SHIFT = "SHIFT"
    NO_SHIFT = "NO_SHIFT"
    CONTINUE = "CONTINUE"


@dataclass(frozen=True, eq=False)
class Sprt:
    """A sequential probability ratio test, run over its observations.

    Parameters
    ----------
    decision
        Of the first limit crossed; later observations change nothing.
    stopped_at
        Observations used by the decision; None while it continues.
    log_ratio
        (n,) log likelihood ratio of the shift against none, after each observation.
    upper, lower
        Limits of the log ratio: ``ln((1 - beta) / alpha)`` decides for the shift, ``ln(beta / (1 - alpha))`` against.
    expected_with_shift, expected_without_shift
        Wald's approximate mean numbers of observations to a decision.
    fixed_sample_size
        Observations that a test with a planned end needs for the same errors.
    """

    decision: SprtDecision
    stopped_at: int | None
    log_ratio: Floats
    upper: float
    lower: float
    expected_with_shift: float
    expected_without_shift: float
    fixed_sample_size: float


def sprt(observations: Floats, shift: float, alpha: float = 0.05, beta: float = 0.1) -> Sprt:
    """Return Wald's test of a mean of ``shift`` against 0, for unit normal observations.

    Wald (1947), "Sequential analysis".

    Parameters
    ----------
    observations
        (n,) standardised, in order of time; none yet is fine.
    shift
        Mean under the alternative, in the observations' deviation; above 0.
    alpha, beta
        Probabilities of deciding for the shift without one, and against one that is there; below 0.5.

    Raises
    ------
    ValueError
        If an observation is not finite, or an argument is out of range.
    """
    observations = series("observations", observations, least=0)
    between("shift", shift, 0, math.inf)
    between("alpha", alpha, 0, 0.5)
    between("beta", beta, 0, 0.5)
    upper, lower = math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))
    log_ratio = np.cumsum(shift * observations - shift**2 / 2)
    crossed = np.flatnonzero((log_ratio >= upper) | (log_ratio <= lower))
    decision, stopped_at = SprtDecision.CONTINUE, None
    if len(crossed):
        decision = SprtDecision.SHIFT if log_ratio[crossed[0]] >= upper else SprtDecision.NO_SHIFT
        stopped_at = int(crossed[0]) + 1
    return Sprt(
        decision,
        stopped_at,
        log_ratio,
        upper,
        lower,
        expected_with_shift=((1 - beta) * upper + beta * lower) / (shift**2 / 2),
        expected_without_shift=(alpha * upper + (1 - alpha) * lower) / (-(shift**2) / 2),
        fixed_sample_size=float((ndtri(1 - alpha) + ndtri(1 - beta)) / shift) ** 2,
    )


@dataclass(frozen=True, eq=False)
class ConfidenceSequence:
    """Bounds on a mean after each observation that hold at all times together; (n,) each."""

    lower: Floats
    upper: Floats


def normal_mixture_confidence_sequence(
    observations: Floats, deviation: float, optimal_at: int, confidence: float = 0.95
) -> ConfidenceSequence:
    """Return two-sided bounds on the mean of (n,) sub-Gaussian observations, valid at every look.

    Robbins (1970); Howard, Ramdas, McAuliffe and Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence
    sequences", eq. 14.

    Parameters
    ----------
    deviation
        Known sub-Gaussian deviation of an observation, in its unit (winsorised or bounded residuals have one).
    optimal_at
        Number of observations at which the bounds are about as tight as they can be.

    Raises
    ------
    ValueError
        If an observation is not finite, there is none, or an argument is out of range.
    """
    observations = series("observations", observations)
    between("deviation", deviation, 0, math.inf)
    between("optimal_at", optimal_at, 0, math.inf)
    alpha = 1 - between("confidence", confidence, 0, 1)
    n = np.arange(1, len(observations) + 1, dtype=np.float64)
    variance = n * deviation**2
    width = normal_mixture_bound(variance, alpha, normal_mixture_precision(optimal_at * deviation**2, alpha)) / n
    mean = np.cumsum(observations) / n
    return ConfidenceSequence(mean - width, mean + width)


def normal_mixture_precision(variance: float, alpha: float) -> float:
    """Return the mixture's precision whose two-sided bound is tightest about when the sum has this ``variance``."""
    between("variance", variance, 0, math.inf)
    tail = 2 * math.log(1 / between("alpha", alpha, 0, 1))
    return variance / (tail + math.log1p(tail))


def normal_mixture_bound(variance: Floats, alpha: float, precision: float) -> Floats:
    """Return how far a centred sum ever strays, with probability ``1 - alpha``, as its (n,) variance grows."""
    between("precision", precision, 0, math.inf)
    total = np.asarray(variance, dtype=np.float64) + precision
    return np.asarray(np.sqrt(total * np.log(total / (precision * between("alpha", alpha, 0, 1) ** 2))))


def normal_mixture_log_evidence(total: float, variance: float, precision: float, *, one_sided: bool = False) -> float:
    """Return the log of the evidence (e-value) of a centred sum against a mean of zero.

    Above ``ln(1 / alpha)`` with probability at most alpha, at any time, while the mean is zero; with ``one_sided``,
    while it is zero or below.

    Raises
    ------
    ValueError
        If ``total`` is not finite, or the variance or the precision is not above 0.
    """
    if not math.isfinite(total):
        raise ValueError(f"total must be finite, is {total}")
    both = between("variance", variance, 0, math.inf) + between("precision", precision, 0, math.inf)
    log_evidence = (math.log(precision / both) + total**2 / both) / 2
    return log_evidence + math.log(2) + float(log_ndtr(total / math.sqrt(both))) if one_sided else log_evidence


def e_shiryaev_roberts(observations: Floats, shift: float) -> Floats:
    """Return the (n,) logs of the e-SR process: evidence, summed over when it began, for an upward shift.

    ``R = (1 + R) exp(shift z - shift^2 / 2)`` (Shin, Ramdas and Rinaldo, 2024, "E-detectors"). An alarm at
    ``log R >= ln(A)`` comes falsely once in A observations or more rarely, whatever the stopping, as long as z is
    sub-Gaussian with deviation 1 and mean at most 0. Slower than a CUSUM: it documents, the CUSUM acts.

    Parameters
    ----------
    observations
        (n,) standardised, in order of time.
    shift
        Mean to detect, in the observations' deviation; above 0.

    Raises
    ------
    ValueError
        If an observation is not finite, or the shift is not above 0 and finite.
    """
    increments = shift * series("observations", observations, least=0) - between("shift", shift, 0, math.inf) ** 2 / 2
    log_process = np.empty(len(increments))
    previous = -math.inf
    for t, increment in enumerate(increments.tolist()):
        # ln(1 + R) without leaving logs: R outgrows a float within days of a large shift.
        previous = max(previous, 0.0) + math.log1p(math.exp(-abs(previous))) + increment
        log_process[t] = previous
    return log_process
