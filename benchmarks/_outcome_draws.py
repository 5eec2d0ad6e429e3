"""What a desk of the outcome study has: its candidates, and what is true of each in research and live.

Belongs here: drawing. Doesn't: judging (``_outcome_regimes``), counting (``_outcome_page``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.false_promotions import COSTS_OF_EDGE, DAYS, SEED, VOLATILITY, autocorrelated, best_of
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR

TRIALS, LIVE = 200, 365
"""Trials of a search; days of the live window, which begins when research ends."""
FAMILY, CORRELATION = 25, 0.9
"""So many of a search's trials are variants of one idea, and so correlated is their noise."""
TRACKING = 0.0005
"""Daily deviation of live less shadow: 5 bp of timing and fills, a twentieth of the strategy's own."""
LIVE_COSTS = 4.0
"""Live costs of a candidate whose execution is worse than assumed, in multiples of the costs assumed."""


@dataclass(frozen=True)
class Kind:
    """What is true of a candidate.

    Parameters
    ----------
    sharpe
        Annual Sharpe ratio of each of the family in research, net of the costs assumed; 0: no edge.
    idea
        Candidates of one idea share the noise of their families.
    ends
        Share of the live window after which the edge is gone; None: it stays.
    costs
        Costs live, in multiples of those assumed.
    """

    what: str
    sharpe: float
    idea: int
    family: int = FAMILY
    correlation: float = CORRELATION
    ends: tuple[float, float] | None = None
    costs: float = 1.0


KINDS = (
    Kind("edge, Sharpe 3", 3.0, idea=0),
    Kind("edge, Sharpe 3, a variant of the first", 3.0, idea=0),
    Kind("edge, Sharpe 2", 2.0, idea=1),
    Kind("overfitted, independent trials", 0.0, idea=2, family=0, correlation=0.0),
    Kind("overfitted, trials correlated 0.5", 0.0, idea=3, family=TRIALS, correlation=0.5),
    Kind("decayed: Sharpe 3 until live begins", 3.0, idea=4, ends=(0.0, 0.0)),
    Kind("decaying: Sharpe 3 that ends within", 3.0, idea=5, ends=(0.0, 1.0)),
    Kind("worse costs: Sharpe 3, live costs fourfold", 3.0, idea=6, costs=LIVE_COSTS),
)

MIXTURES = {
    "all eight": (0, 1, 2, 3, 4, 5, 6, 7),
    "few edges: Sharpe 3, Sharpe 2, two overfitted": (0, 2, 3, 4),
    "no edge lives on: two overfitted, decayed, worse costs": (3, 4, 5, 7),
}
"""What is proposed to a desk, as places in `KINDS`."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A candidate: the search that found it, and its days live.

    Parameters
    ----------
    research
        (DAYS, TRIALS) daily net returns.
    shadow
        (LIVE,) what the model earns on the live days.
    tracking
        (LIVE,) noise of live less shadow.
    worse
        What live pays beyond the costs assumed, a day.
    edge
        (LIVE,) true annual Sharpe ratio of each live day, net of what live pays.
    """

    kind: Kind
    research: Floats
    shadow: Floats
    tracking: Floats
    worse: float
    edge: Floats

    @property
    def best(self) -> Floats:
        """The returns in research of what is proposed: the best trial in sample."""
        return self.research[:, best_of(self.research)]

    @property
    def live(self) -> Floats:
        """(LIVE,) daily net returns of real money."""
        return self.shadow + self.tracking - self.worse

    @property
    def alive(self) -> np.ndarray:
        """(LIVE,) whether the edge is there: at least half of what was planted is left, net of live costs."""
        return (self.edge > 0) & (self.edge >= self.kind.sharpe / 2)

    @property
    def cost(self) -> float:
        """Costs that were assumed, a day; noise pays what Sharpe 3 would."""
        return COSTS_OF_EDGE * (self.kind.sharpe or 3.0) / math.sqrt(DAYS_A_YEAR) * VOLATILITY


def drawn(number: int, desk: int) -> Drawn:
    """Draw candidate ``number`` of a desk."""
    kind, days = KINDS[number], DAYS + LIVE
    rng = np.random.default_rng(np.random.SeedSequence((SEED, desk, number)))
    noise = autocorrelated(rng, (days, TRIALS))
    idea = np.random.default_rng(np.random.SeedSequence((SEED, desk, len(KINDS) + kind.idea)))
    shared = autocorrelated(idea, (days, 1))
    own = noise[:, : kind.family] * math.sqrt(1 - kind.correlation)
    noise[:, : kind.family] = math.sqrt(kind.correlation) * shared + own
    ends = LIVE if kind.ends is None else round(LIVE * rng.uniform(*kind.ends))
    there = np.arange(days) < DAYS + ends
    noise[:, : kind.family] += (there * kind.sharpe / math.sqrt(DAYS_A_YEAR))[:, None]
    returns = noise * VOLATILITY
    research, best = returns[:DAYS], best_of(returns[:DAYS])
    worse = (kind.costs - 1) * COSTS_OF_EDGE * kind.sharpe / math.sqrt(DAYS_A_YEAR) * VOLATILITY
    carried = there[DAYS:] * kind.sharpe * (best < kind.family)
    return Drawn(
        kind=kind,
        research=research,
        shadow=returns[DAYS:, best],
        tracking=rng.standard_normal(LIVE) * TRACKING,
        worse=worse,
        edge=carried - worse / VOLATILITY * math.sqrt(DAYS_A_YEAR),
    )
