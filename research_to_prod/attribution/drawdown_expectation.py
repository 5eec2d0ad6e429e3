"""Whether a drawdown was to be expected from what the backtest promised, less what the search flattered it by.

Belongs here: what is known of drawdowns of a series with a drift, in closed form and by resampling, and the card that
holds a live window against it. Doesn't: episodes in money (``drawdowns``), what the desk does about it.

Returns are per day, of constant capital, and are added up: a drawdown is a sum of them, in the same unit. The closed
forms watch a Brownian motion all the time; daily closes miss about 0.06 annual deviations of its depth, so that what
they call expected is a little deep.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from research_to_prod.gates.statistics import (
    expected_maximum_sharpe_ratio,
    null_sharpe_deviation,
    optimal_block_size,
)
from research_to_prod.gates.statistics.bootstrap import resampled_positions
from research_to_prod.market_data.series import Integers
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR, annualised_sharpe_ratio, sharpe_ratio

FEWEST_LIVE = 20
"""Live days below which nothing is said: a drawdown and a recovery hardly fit into fewer."""

FEWEST_BACKTEST = 180
"""Backtest days below which nothing is said: half a year, in which a quarterly drawdown has come twice."""

QUANTILES = (0.5, 0.9, 0.95, 0.99)
"""Of depth and length, shown on the card."""

_SECONDS_A_DAY = 86_400
_SEAM = 1e-8  # around a = 1 the first eigenfunction is linear


class Standing(StrEnum):
    """The answer of the card."""

    WITHIN = "within"
    BEYOND = "beyond"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Measure:
    """The deepest or the longest drawdown of the live window, among those of the resamples.

    Parameters
    ----------
    observed
        A fraction of capital, or seconds.
    quantiles
        What was to be expected, at each of `QUANTILES`.
    exceedance
        Share of resamples that were at least as bad, the live window counted with them.
    """

    observed: float
    quantiles: tuple[float, ...]
    exceedance: float

    @property
    def percentile(self) -> float:
        """Where the observed one stands, from 0 to 100; a tie counts as at least as bad."""
        return 100 * (1 - self.exceedance)


@dataclass(frozen=True)
class Current:
    """The drawdown at the end of the live window, and how often a strategy is in a deeper or longer one.

    Parameters
    ----------
    depth, seconds
        0 at a high.
    depth_probability, length_probability
        In the long run, of a Brownian motion with the deflated Sharpe ratio; 1 where that is 0: it never recovers.
    """

    depth: float
    seconds: float
    depth_probability: float
    length_probability: float


@dataclass(frozen=True)
class Card:
    """What was to be expected of a live window, and where it stands.

    Parameters
    ----------
    reason
        Why it is not within expectation, or why nothing can be said; empty within.
    sharpe
        Annual Sharpe ratio of the backtest, and after deflation: the resamples have the latter.
    depth, length
        None where inconclusive, and so are the three below.
    expected_depth
        Mean of the deepest drawdown of a Brownian motion with that drift (Magdon-Ismail), a fraction of capital.
    normal_exceedance
        Probability that such a motion falls at least as deep within the window.
    current
        How the window ends.
    by_sharpe
        The exceedance of the depth if the true annual Sharpe ratio were another one.
    """

    standing: Standing
    reason: str
    live_days: int
    backtest_days: int
    sharpe: tuple[float, float]
    depth: Measure | None = None
    length: Measure | None = None
    expected_depth: float | None = None
    normal_exceedance: float | None = None
    current: Current | None = None
    by_sharpe: tuple[tuple[float, float], ...] = ()


def deflated_sharpe(returns: Floats, n_trials: int) -> float:
    """Return the daily Sharpe ratio of (n,) returns less what the best of worthless ones shows, at least 0.

    The benchmark of the deflated Sharpe ratio (Bailey and Lopez de Prado, 2014), taken off instead of tested against:
    a haircut, not an unbiased estimate. A drift below zero is never assumed: it would excuse any loss.
    """
    null = expected_maximum_sharpe_ratio(null_sharpe_deviation(returns), n_trials) if n_trials > 1 else 0.0
    return max(0.0, sharpe_ratio(returns) - null)


def expectation_card(
    live: Floats, backtest: Floats, n_trials: int, *, seed: int, reps: int = 4000, alpha: float = 0.05
) -> Card:
    """Return whether the worst drawdown of the live window is within what the deflated backtest lets expect.

    Stationary resamples (Politis and Romano, 1994) of the backtest, as long as the live window, keep its tails and its
    dependence; its mean is replaced by the deflated one. Depth and length are each held against their resamples at
    ``alpha / 2``: a strategy that does what its deflated backtest promised is called beyond in at most a share
    ``alpha`` of windows looked at once. Looking daily asks for a sequential test instead.

    Parameters
    ----------
    live
        (n,) daily returns, at the exposure at which ``backtest`` is stated too.
    backtest
        (m,) daily returns, net of costs; at least as many as live ones.
    n_trials
        Trials that the backtest was chosen from, as the trial ledger counts them.

    Raises
    ------
    ValueError
        If ``alpha`` is not between 0 and 1, there are fewer than 1 trial, or fewer than 100 resamples.
    """
    if not 0 < alpha < 1 or n_trials < 1 or reps < 100:
        raise ValueError(f"alpha {alpha}, {n_trials} trials, {reps} resamples: see what is asked of each")
    live, backtest = np.asarray(live, np.float64), np.asarray(backtest, np.float64)
    if problems := _problems(live, backtest):
        unknown = (math.nan, math.nan)
        return Card(Standing.INCONCLUSIVE, "; ".join(problems), len(live), len(backtest), unknown)

    n, deviation = len(live), float(np.std(backtest, ddof=1))
    daily = deflated_sharpe(backtest, n_trials)
    own = sharpe_ratio(backtest)
    assumed = sorted({0.0, daily / 2, daily, own})
    noise = backtest - backtest.mean()
    depths, lengths = np.empty((len(assumed), reps)), np.empty(reps)
    done = 0
    for positions in resampled_positions(len(backtest), optimal_block_size(backtest), reps, seed):
        paths = noise[positions[:, :n]]
        batch = slice(done, done := done + len(paths))
        for row, sharpe in enumerate(assumed):
            depths[row, batch] = deepest(paths + sharpe * deviation)
        lengths[batch] = longest(paths + daily * deviation)
    depth = _measure(float(deepest(live[None])[0]), depths[assumed.index(daily)])
    length = _measure(_SECONDS_A_DAY * float(longest(live[None])[0]), _SECONDS_A_DAY * lengths)
    beyond = {"depth": depth, "length": length}
    reasons = [
        f"{name}: only {each.exceedance:.2%} of resamples are as bad; beyond expectation below {alpha / 2:.2%}"
        for name, each in beyond.items()
        if each.exceedance < alpha / 2
    ]
    return Card(
        standing=Standing.BEYOND if reasons else Standing.WITHIN,
        reason="; ".join(reasons),
        live_days=n,
        backtest_days=len(backtest),
        sharpe=(annualised_sharpe_ratio(own), annualised_sharpe_ratio(daily)),
        depth=depth,
        length=length,
        expected_depth=expected_maximum_drawdown(daily * deviation, deviation, n),
        normal_exceedance=maximum_drawdown_probability(depth.observed, daily * deviation, deviation, n),
        current=_current(live, annualised_sharpe_ratio(daily), deviation * math.sqrt(DAYS_A_YEAR)),
        by_sharpe=tuple(
            (annualised_sharpe_ratio(sharpe), _measure(depth.observed, simulated).exceedance)
            for sharpe, simulated in zip(assumed, depths, strict=True)
        ),
    )


def deepest(returns: Floats) -> Floats:
    """Return the deepest drawdown (r,) of each row of (r, n) returns added up from 0; 0 where none."""
    paths = np.cumsum(returns, axis=1)
    highest = np.maximum.accumulate(np.maximum(paths, 0), axis=1)
    return np.asarray((highest - paths).max(axis=1))


def longest(returns: Floats) -> Integers:
    """Return the steps (r,) of the longest drawdown of each row, from its high to the return there or to the end."""
    paths = np.concatenate([np.zeros((len(returns), 1)), np.cumsum(returns, axis=1)], axis=1)
    steps = np.arange(paths.shape[1])
    at_high = np.maximum.accumulate(np.where(paths >= np.maximum.accumulate(paths, axis=1), steps, 0), axis=1)
    age = steps - at_high
    # One that is under water before the last step lasts one step more at least: it recovers there, or goes on.
    return np.asarray(np.maximum(age[:, -1], (age[:, :-1] + (age[:, :-1] > 0)).max(axis=1)))


def maximum_drawdown_probability(depth: float, drift: float, volatility: float, horizon: float) -> float:
    """Return the probability that a Brownian motion falls ``depth`` below its running maximum within ``horizon``.

    The first passage of a reflected motion, by its eigenfunctions; Magdon-Ismail, Atiya, Pratap and Abu-Mostafa (2004),
    "On the maximum drawdown of a Brownian motion", eq. 4.

    Parameters
    ----------
    depth, drift, volatility, horizon
        In any units that agree: ``drift`` a time unit, ``volatility`` a square root of one.

    Raises
    ------
    ValueError
        If volatility or horizon is not positive and finite, or the drift over the horizon is below minus two
        deviations: there the terms cancel to noise, and no desk expects such a strategy to have drawdowns.
    """
    if not (0 < volatility < math.inf and 0 < horizon < math.inf):
        raise ValueError(f"volatility {volatility} and horizon {horizon} must be positive and finite")
    # In units of volatility and horizon.
    h, mu = depth / (volatility * math.sqrt(horizon)), drift * math.sqrt(horizon) / volatility
    if not mu >= -2:
        raise ValueError(f"the drift is {mu:.2f} deviations over the horizon; from -2 on it can be computed")
    if not h > 0:
        return 1.0 if h <= 0 else math.nan
    a = mu * h
    # The first mode decays as exp(-pi^2 / 8 h^2) or faster: below this nothing survives that a float could tell from 0.
    if h < 0.15:
        return 1.0
    theta = _roots(a, int(10 * h) + 20)
    survival = float(np.sum(2 * theta * np.sin(theta) / (theta**2 + a**2 - a) * np.exp(-(theta**2) / (2 * h**2))))
    survival *= math.exp(-a - mu**2 / 2)
    return min(1.0, max(0.0, 1 - survival - _slowest(a, h, mu)))


def expected_maximum_drawdown(drift: float, volatility: float, horizon: float) -> float:
    """Return the mean of the deepest drawdown of a Brownian motion within ``horizon``; Magdon-Ismail et al. (2004).

    ``1.2533 volatility sqrt(horizon)`` without drift. The probability above, integrated over depth: their table of the
    function ``Q`` is 0.1 to 0.4 % off.
    """
    from scipy.integrate import quad

    scale = volatility * math.sqrt(horizon)
    mu = drift * math.sqrt(horizon) / volatility
    most = 9.0 + max(0.0, -mu)
    value, _ = quad(maximum_drawdown_probability, 0, most, args=(mu, 1.0, 1.0), epsabs=1e-7, limit=200)
    return float(value * scale)


def current_depth_probability(annual_sharpe: float, depth: float) -> float:
    """Return how often a strategy is more than ``depth`` annual deviations below its high: ``exp(-2 SR depth)``.

    In the long run, with a positive Sharpe ratio; 1 without one. The setting of Rej, Seager and Bouchaud (2017).
    """
    return math.exp(-2 * max(0.0, annual_sharpe) * max(0.0, depth))


def current_length_probability(annual_sharpe: float, years: float) -> float:
    """Return how often the last high of a strategy is more than ``years`` back, in the long run; 1 without an edge.

    The age of an excursion of a reflected Brownian motion:
    ``2 (1 + S^2 t) Phi(-S sqrt(t)) - S sqrt(2 t / pi) exp(-S^2 t / 2)``.
    """
    from scipy.special import ndtr

    s = max(0.0, annual_sharpe) * math.sqrt(years)
    return float(2 * (1 + s**2) * ndtr(-s) - s * math.sqrt(2 / math.pi) * math.exp(-(s**2) / 2))


def _problems(live: Floats, backtest: Floats) -> list[str]:
    problems = []
    for name, returns, least in (("live", live, FEWEST_LIVE), ("backtest", backtest, FEWEST_BACKTEST)):
        if returns.ndim != 1 or len(returns) < least:
            problems.append(f"{len(returns)} {name} days are too few, {least} are needed")
        elif not np.isfinite(returns).all():
            problems.append(f"{int((~np.isfinite(returns)).sum())} {name} returns are not finite")
    if len(live) > len(backtest):
        problems.append(f"the live window of {len(live)} days is longer than the backtest of {len(backtest)}")
    if not problems and math.isnan(sharpe_ratio(backtest)):
        problems.append("the backtest's returns don't vary")
    return problems


def _current(live: Floats, annual_sharpe: float, annual_deviation: float) -> Current:
    path = np.concatenate([[0.0], np.cumsum(live)])
    depth = float(path.max() - path[-1])
    days = int(np.argmax(path[::-1] == path.max()))
    return Current(
        depth,
        float(_SECONDS_A_DAY * days),
        current_depth_probability(annual_sharpe, depth / annual_deviation),
        current_length_probability(annual_sharpe, days / DAYS_A_YEAR),
    )


def _measure(observed: float, simulated: Floats) -> Measure:
    # A sum of floats in another order may differ in its last bits: what is equal but for those is a tie.
    as_bad = int(np.sum(simulated >= observed * (1 - 1e-9)))
    return Measure(
        observed,
        tuple(float(each) for each in np.quantile(simulated, QUANTILES)),
        (1 + as_bad) / (1 + len(simulated)),
    )


def _roots(a: float, n: int) -> Floats:
    """Return the first n positive roots of ``tan x = x / a``."""
    branches = np.pi * np.arange(0 if a < 1 - _SEAM else 1, n)
    roots = branches + np.pi / 2
    for _ in range(30):  # each step takes at least two thirds of the error away, beyond the first branch
        roots = branches + np.arctan2(roots, a)
    if 0 < a < 1 - _SEAM:
        roots[0] = _bisect(lambda x: math.sin(x) * a > x * math.cos(x), math.pi / 2, 0.0)
    return np.asarray(roots, np.float64)


def _bisect(holds: Callable[[float], bool], yes: float, no: float) -> float:
    """Return where between ``yes`` and ``no`` a condition ceases to hold."""
    for _ in range(80):
        middle = (yes + no) / 2
        yes, no = (middle, no) if holds(middle) else (yes, middle)
    return (yes + no) / 2


def _slowest(a: float, h: float, mu: float) -> float:
    """Return the part of the survival whose eigenvalue is below ``mu^2 / 2``: there is one from ``a = 1`` on."""
    if a < 1 - _SEAM:
        return 0.0
    if a <= 1 + _SEAM:
        return 3 * math.exp(-1 - mu**2 / 2)
    eta = _bisect(lambda x: a * math.tanh(x) > x, 0.0, a)
    # exp(-a) sinh(eta), without overflow.
    weight = (math.exp(eta - a) - math.exp(-eta - a)) / 2
    return 2 * eta * weight / (eta**2 - a**2 + a) * math.exp(-(mu**2) / 2 + eta**2 / (2 * h**2))
