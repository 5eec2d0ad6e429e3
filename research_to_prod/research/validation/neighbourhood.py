"""The parameter neighbourhood: whether the edge is a plateau or a needle.

Belongs here: which parameter sets are near, and how they compare. Doesn't: trying them (``trials``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.research.validation.measures import WHOLE, Measure, measures

STUDY = "neighbourhood"
STEPS = (-0.2, -0.1, 0.1, 0.2)
"""By how much a parameter is moved, as a share of its value."""


@dataclass(frozen=True)
class Neighbourhood:
    """Annual Sharpe ratios of the own parameters and of each neighbour; NaN for one that never traded.

    Parameters
    ----------
    median_ratio
        Median of the neighbours over the own; NaN unless the own is positive and each neighbour has one.
    minimum
        Of the neighbours; NaN if one has none.
    """

    base: float
    neighbours: Mapping[str, float]

    @property
    def median_ratio(self) -> float:
        """See the class."""
        if not self.base > 0 or not self.neighbours:
            return math.nan
        return float(np.median(list(self.neighbours.values()))) / self.base

    @property
    def minimum(self) -> float:
        """See the class."""
        return float(np.min(list(self.neighbours.values()))) if self.neighbours else math.nan

    def measures(self) -> list[Measure]:
        """Return the study's rows; each neighbour is a trial in the ledger."""
        idle = sorted(name for name, sharpe in self.neighbours.items() if math.isnan(sharpe))
        why_not = "there are no neighbours: no numeric parameter can be moved within its bounds"
        if self.neighbours:
            why_not = f"{', '.join(idle)} never traded" if idle else f"the own Sharpe ratio is {self.base:.6g}"
        rows = []
        for name, sharpe in self.neighbours.items():
            rows += measures(STUDY, name, "it never traded", sharpe=sharpe, trial=1.0)
        rows += measures(STUDY, WHOLE, "the own parameters never traded", base_sharpe=self.base)
        rows += measures(STUDY, WHOLE, why_not, median_ratio=self.median_ratio, minimum_sharpe=self.minimum)
        return rows + measures(STUDY, WHOLE, neighbours=len(self.neighbours))


def neighbours_of(own: StrategyParameters) -> dict[str, StrategyParameters]:
    """Return the neighbours by ``parameter:step``: each numeric parameter moved alone by each of `STEPS`.

    Integers are rounded and stay integers. What equals the own or an earlier neighbour, or lies outside the strategy's
    bounds, is left out, as is a parameter that is 0: no share of it leads anywhere.
    """
    found: dict[str, StrategyParameters] = {}
    values = own.model_dump()
    for name, value in sorted(values.items()):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        for step in STEPS:
            moved = value * (1 + step)
            try:
                near = type(own)(**{**values, name: round(moved) if isinstance(value, int) else moved})
            except ValidationError:
                continue
            if near != own and near not in found.values():
                found[f"{name}:{step:+.0%}"] = near
    return found


def compare_neighbours(own: Floats, neighbours: Mapping[str, Floats]) -> Neighbourhood:
    """Compare the (D,) daily net returns of the own parameters with those of each neighbour."""
    sharpes = {name: annualised_sharpe_ratio(sharpe_ratio(returns)) for name, returns in neighbours.items()}
    return Neighbourhood(annualised_sharpe_ratio(sharpe_ratio(own)), sharpes)
