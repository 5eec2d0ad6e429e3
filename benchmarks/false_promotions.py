"""How often the shipped gates promote noise, and how often they find an edge that was planted; writes the page.

Each repetition is one research project: 500 trials over 1,088 days are drawn, the best in sample becomes the candidate,
its evidence is made by the pipeline's own functions, and the shipped policy judges it. Measuring is slow and is kept on
disk, repetition by repetition; judging is fast and done anew each time, so a changed threshold costs a minute.

Belongs here: drawing, counting, the page. Doesn't: arithmetic of gates, and anything that makes a candidate pass.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

import research_to_prod
from research_to_prod.research.metrics import DAYS_A_YEAR

Floats = npt.NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]

SEED, DAYS, TRIALS, WORKERS = 20261122, 1088, 500, 2
VOLATILITY = 0.01
"""Daily; 19 % a year, about what a strategy is levered to."""
COSTS_OF_EDGE = 0.25
"""Base costs as a share of the net edge: a fifth of what is earned before costs. Noise pays what Sharpe 3 would."""


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_normal(shape)


def fat_tailed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Student's t with 4 degrees of freedom: infinite kurtosis."""
    return rng.standard_t(4, shape) / math.sqrt(2)


def autocorrelated(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """First-order autoregression with coefficient 0.1."""
    from scipy.signal import lfilter

    shocks = rng.standard_normal((shape[0] + 50, shape[1])) * math.sqrt(1 - 0.1**2)
    return np.asarray(lfilter([1.0], [1.0, -0.1], shocks, axis=0))[50:]


def clustered(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Normal shocks under one GARCH(1, 1) volatility (0.08, 0.90), as trials on one market share it."""
    burn, variance, path = 250, 1.0, []
    for shock in rng.standard_normal(shape[0] + burn):
        path.append(variance)
        variance = 0.02 + variance * (0.08 * shock**2 + 0.90)
    return rng.standard_normal(shape) * np.sqrt(path[burn:])[:, None]


@dataclass(frozen=True)
class Scenario:
    """What is true of the trials that a repetition draws.

    Parameters
    ----------
    family
        The first so many trials are correlated with each other, and carry the edge.
    sharpe
        Annual Sharpe ratio of each of the family.
    """

    what: str
    repetitions: int
    noise: Noise = normal
    family: int = 0
    correlation: float = 0.0
    sharpe: float = 0.0

    def draw(self, seed: np.random.SeedSequence, days: int = DAYS, trials: int = TRIALS) -> Floats:
        """Return (days, trials) daily net returns."""
        rng = np.random.default_rng(seed)
        noise = self.noise(rng, (days, trials))
        if self.correlation:
            shared = self.noise(rng, (days, 1))
            own = noise[:, : self.family] * math.sqrt(1 - self.correlation)
            noise[:, : self.family] = math.sqrt(self.correlation) * shared + own
        noise[:, : self.family] += self.sharpe / math.sqrt(DAYS_A_YEAR)
        return noise * VOLATILITY


def planted(sharpe: float, family: int, repetitions: int) -> Scenario:
    where = "all" if family == TRIALS else str(family)
    return Scenario(f"Sharpe {sharpe:g} in {where}", repetitions, family=family, correlation=0.9, sharpe=sharpe)


SCENARIOS = (
    Scenario("noise, independent", 200),
    Scenario("noise, correlation 0.5", 200, family=TRIALS, correlation=0.5),
    Scenario("noise, fat tails", 200, noise=fat_tailed),
    Scenario("noise, autocorrelation 0.1", 200, noise=autocorrelated),
    Scenario("noise, clustered volatility", 200, noise=clustered),
    *(planted(3.0, family, 100) for family in (1, 25, 100, TRIALS)),
    *(planted(2.0, family, 100) for family in (1, 25, 100, TRIALS)),
)


def seed_of(number: int, repetition: int) -> np.random.SeedSequence:
    return np.random.SeedSequence((SEED, number, repetition))


def best_of(returns: Floats) -> int:
    """Return the trial with the best Sharpe ratio in sample: what a researcher would propose."""
    return int(np.argmax(statistics.sharpe_moments(returns.T)[:, 0]))


def measure(returns: Floats, seed: np.random.SeedSequence) -> list[list[object]]:
    """Return the rows (study, item, metric, value) that are slow to compute and that no threshold changes."""
    resampling, bootstrap = seed.spawn(2)
    overfitting = statistics.probability_of_backtest_overfitting(returns)
    ability = statistics.superior_predictive_ability(returns, seed=resampling)
    interval = statistics.stationary_bootstrap_interval(returns[:, best_of(returns)], seed=bootstrap, reps=2000)
    return [
        ["overfitting", "all", "pbo", overfitting.probability],
        ["overfitting", "all", "loss_probability", overfitting.loss_probability],
        ["selection", "all", "spa_consistent", ability.consistent],
        ["bootstrap", "all", "sharpe_lower_95", interval.lower * math.sqrt(DAYS_A_YEAR)],
    ]


def evidence_of(returns: Floats, rows: Sequence[Sequence[object]], edge: float) -> Evidence:
    """Return the candidate's evidence, as the pipeline gathers it from such a search.

    Parameters
    ----------
    edge
        Annual Sharpe ratio of which base costs are `COSTS_OF_EDGE`.
    """
    best = returns[:, best_of(returns)]
    cost = COSTS_OF_EDGE * edge / math.sqrt(DAYS_A_YEAR) * VOLATILITY
    equity = np.cumprod(1 + best)
    return Evidence(
        candidate="drawn",
        strategy_type=StrategyType.SWING,
        completeness={"DRAWN/USDT": (1, 1)},
        unresolved={"DRAWN/USDT": ()},
        daily_returns=best,
        stressed_returns={multiple: best - (multiple - 1) * cost for multiple in (1.5, 2.0)},
        max_drawdown=max_drawdown(equity, 1.0),
        n_trials=returns.shape[1],
        trial_sharpes=np.sort(statistics.sharpe_moments(returns.T)[:, 0]),
    )
