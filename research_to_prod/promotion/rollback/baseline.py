"""What a candidate is held to: its mean and its noise, estimated once on a reference and then fixed.

Belongs here: estimating. Doesn't: the observations made with it (``recursions``), and what the reference is: daily net
returns of the backtest for the edge, live less shadow on paper for the implementation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from research_to_prod.promotion.rollback.policy import Standardisation
from research_to_prod.promotion.rollback.recursions import squared, standardise
from research_to_prod.research.bars import Floats

_STRONGEST = 0.5
"""Beyond, a daily return is no return but a moving average of some."""


class BaselineError(ValueError):
    """The reference can't hold a candidate to anything; the message says why."""


@dataclass(frozen=True)
class Standard:
    """How values of one kind become observations.

    Parameters
    ----------
    centre
        What is expected on average.
    autocorrelation
        Share of a day's deviation that the next day repeats; never negative: that is mostly timing between two records,
        and earns no credit.
    deviation
        Of a day's surprise.
    offset, scale
        Mean and deviation of the clipped surprises, in units of their own day's deviation. Without the offset, returns
        that fall by four deviations once in fifty days alarm a third more rarely than declared, and later.
    """

    centre: float
    autocorrelation: float
    deviation: float
    offset: float
    scale: float

    @property
    def daily_deviation(self) -> float:
        """The deviation of a day's value, what the day before foretold of it included: that of a Sharpe ratio."""
        return self.deviation / math.sqrt(1 - self.autocorrelation**2)

    @property
    def long_run_deviation(self) -> float:
        """The deviation of a long sum, by the root of its length."""
        return self.deviation * self.scale / (1 - self.autocorrelation)


@dataclass(frozen=True)
class Baseline:
    """What a candidate's live returns, and their residuals against the shadow, are held to."""

    edge: Standard
    residual: Standard | None
    """None: live and shadow haven't run together long enough to know their noise."""


def held_to_edge(returns: Floats, rules: Standardisation) -> Standard:
    """Return the standard of live returns.

    Its centre is the lower bound of the mean that the policy asks for, so that the declared rate of false alarms holds
    with that confidence; the price is that less of the edge is left to be missed.

    Parameters
    ----------
    returns
        (n,) daily net returns of the reference.

    Raises
    ------
    BaselineError
        If days are too few, missing or all equal, or the bound leaves no edge.
    """
    noise, mean = _noise(returns, rules, rules.fewest_days.value), float(np.mean(returns))
    error = noise.long_run_deviation / math.sqrt(len(returns))
    centre = mean - float(ndtri(rules.reference_confidence.value)) * error
    if centre <= 0:
        raise BaselineError(
            f"the reference mean of {mean:.3g} a day has a lower bound of {centre:.3g} at confidence "
            f"{rules.reference_confidence.value:g}: there is no edge whose loss could be seen"
        )
    return replace(noise, centre=centre)


def held_to_shadow(residuals: Floats, rules: Standardisation) -> Standard:
    """Return the standard of residuals: their noise is that of the reference, their centre is zero.

    A residual that was biased in the reference is no excuse for one that is biased now.

    Parameters
    ----------
    residuals
        (n,) daily live less shadow returns.

    Raises
    ------
    BaselineError
        If days are too few, missing or all equal.
    """
    return _noise(residuals, rules, rules.fewest_paired_days.value)


def baseline_of(returns: Floats, residuals: Floats, rules: Standardisation) -> Baseline:
    """Return what a candidate is held to.

    Parameters
    ----------
    returns
        (n,) daily net returns of the reference; none may be missing.
    residuals
        (m,) daily live less shadow returns before the watch; days that are not known are left out, and with too few
        that are, the implementation is held to nothing yet.

    Raises
    ------
    BaselineError
        As `held_to_edge` and `held_to_shadow` do.
    """
    paired = np.asarray(residuals, dtype=np.float64)
    paired = paired[np.isfinite(paired)]
    enough = len(paired) >= rules.fewest_paired_days.value
    return Baseline(held_to_edge(returns, rules), held_to_shadow(paired, rules) if enough else None)


def _noise(values: Floats, rules: Standardisation, fewest: float) -> Standard:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < fewest:
        raise BaselineError(f"a reference of shape {values.shape}: {fewest:g} days are needed")
    if missing := int((~np.isfinite(values)).sum()):
        raise BaselineError(f"{missing} of {len(values)} days of the reference are not finite")
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    if math.sqrt(variance) <= 1e-12 * float(np.max(np.abs(values))):
        raise BaselineError("the reference doesn't vary")
    correlation = float(np.mean(centred[1:] * centred[:-1])) / variance
    autocorrelation = min(max(correlation, 0.0), _STRONGEST)
    deviation = math.sqrt(variance * (1 - autocorrelation**2))
    raw = Standard(0.0, autocorrelation, deviation, 0.0, 1.0)
    floor, expected, daily = least_variance(raw, rules), 0.0, squared(deviation)
    surprises = np.empty(len(values))
    # As the detectors see them: expected less realised.
    for day, each in enumerate((-centred).tolist()):
        surprises[day], expected, daily = standardise(
            each, autocorrelation, 0.0, 1.0, rules.clip.value, rules.memory.value, floor, expected, daily
        )
    return replace(raw, offset=float(surprises.mean()), scale=float(surprises.std()))


def least_variance(standard: Standard, rules: Standardisation) -> float:
    """Return the least daily variance that a surprise is divided by."""
    return squared(rules.volatility_floor.value * standard.deviation)
