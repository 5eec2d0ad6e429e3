"""Capacity: how much of the edge is left when the candidate trades more money.

Belongs here: the curve, and the impact that it assumes where a candidate states none. Doesn't: running the engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.costs import Costs
from research_to_prod.research.validation.measures import WHOLE, Measure, mean_and_sharpe, measures

STUDY = "capacity"
MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Of the candidate's capital."""
KEPT = 0.5
"""Share of the zero-size edge that a capital must keep to count as capacity."""


@dataclass(frozen=True)
class Capacity:
    """What the edge is at each size.

    Parameters
    ----------
    capital
        The candidate's, in quote currency.
    means
        Daily mean net return by multiple of the capital; at 0 without impact.
    """

    capital: float
    means: Mapping[float, float]

    def retained(self, multiple: float) -> float:
        """Return the share of the zero-size edge at ``multiple``; NaN without an edge."""
        return self.means[multiple] / self.means[0.0] if self.means[0.0] > 0 else math.nan

    @property
    def capacity(self) -> float:
        """The largest tested capital such that it and all smaller ones keep half of the zero-size edge.

        0 if the smallest does not; NaN without an edge. At the end of the curve it is a lower bound.
        """
        if not self.means[0.0] > 0:
            return math.nan
        largest = 0.0
        for multiple in sorted(self.means):
            if not self.retained(multiple) >= KEPT:
                break
            largest = multiple
        return largest * self.capital

    def measures(self) -> list[Measure]:
        """Return the study's rows."""
        no_edge = f"there is no edge at zero size: the daily mean is {self.means[0.0]:.6g}"
        rows = []
        for multiple, mean in self.means.items():
            item = f"{multiple:g}x"
            rows += measures(STUDY, item, "it never traded", mean=mean)
            rows += measures(STUDY, item, no_edge, retained=self.retained(multiple))
        return rows + measures(STUDY, WHOLE, no_edge, retained_at_capital=self.retained(1.0), capacity=self.capacity)


def capacity_curve(capital: float, zero_size: Floats, returns: Mapping[float, Floats]) -> Capacity:
    """Return the curve of (D,) daily net returns without impact and by multiple of the capital."""
    means = {0.0: zero_size, **returns}
    return Capacity(capital, {multiple: mean_and_sharpe(series)["mean"] for multiple, series in means.items()})


def assumed_impact(costs: Costs, bars: Bars) -> float:
    """Return the cost of trading a whole bar's volume: the candidate's, or a bar's volatility where that is larger.

    The square-root law with a coefficient of one: an order of the volume of a bar moves the price by about the bar's
    deviation of returns (Toth et al. 2011, "Anomalous price impact and the critical nature of liquidity in financial
    markets"). An assumption, to be replaced by the desk's own fills; without it a candidate whose file states no impact
    would have endless capacity. Of several markets the most volatile counts.
    """
    with np.errstate(invalid="ignore"):
        changes = np.diff(np.log(bars.close), axis=0)
    deviations = [float(np.std(each[np.isfinite(each)])) for each in changes.T if np.isfinite(each).sum() > 1]
    return max([costs.impact, *deviations])
