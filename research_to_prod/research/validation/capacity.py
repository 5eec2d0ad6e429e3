"""Capacity: how much of the edge is left when the candidate trades more money.

Belongs here: the curve, and the impact that it assumes where a candidate states none. Doesn't: running the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from research_to_prod.research.backtest import Backtest
from research_to_prod.research.bars import Bars
from research_to_prod.research.costs import Costs
from research_to_prod.research.metrics import daily_returns, last_of_each_day
from research_to_prod.research.validation.measures import WHOLE, Measure, measures

STUDY = "capacity"
MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Of the candidate's capital; 0 is the edge without impact."""
KEPT = 0.5
"""Share of the zero-size edge that a capital must keep to count as capacity."""


@dataclass(frozen=True)
class Capacity:
    """What the edge is at each size.

    The capital is held constant: the engine compounds, and after three good years it would charge the impact of many
    times the capital that is asked about (a sample candidate's equity grows 16 million times). So the impact is added
    to one run without it, trade by trade, as a share of the equity of that time.

    Parameters
    ----------
    capital
        The candidate's, in quote currency.
    edge
        Daily mean net return at zero size, that is without impact.
    impact
        Daily mean cost of impact at the candidate's capital, as a share of it. It grows with the root of the size.
    """

    capital: float
    edge: float
    impact: float

    def mean(self, multiple: float) -> float:
        """Return the daily mean net return at ``multiple`` of the capital."""
        return self.edge - self.impact * math.sqrt(multiple)

    def retained(self, multiple: float) -> float:
        """Return the share of the zero-size edge that is left at ``multiple``; NaN without an edge."""
        return self.mean(multiple) / self.edge if self.edge > 0 else math.nan

    @property
    def capacity(self) -> float:
        """The largest capital that keeps half of the zero-size edge; NaN without an edge or an impact."""
        if not (self.edge > 0 and 0 < self.impact < math.inf):
            return math.nan
        return self.capital * ((1 - KEPT) * self.edge / self.impact) ** 2

    def measures(self) -> list[Measure]:
        """Return the study's rows."""
        why_not = f"there is no edge at zero size: the daily mean is {self.edge:.6g}"
        if self.edge > 0:
            why_not = "it trades in bars without volume, or never"
        rows = []
        for multiple in MULTIPLES:
            values = {"mean": self.mean(multiple), "retained": self.retained(multiple)}
            rows += measures(STUDY, f"{multiple:g}x", why_not, **values)
        return rows + measures(STUDY, WHOLE, why_not, retained_at_capital=self.retained(1.0), capacity=self.capacity)


def capacity_curve(free: Backtest, bars: Bars, capital: float, impact: float) -> Capacity:
    """Return the curve from a run without impact.

    Parameters
    ----------
    free
        The candidate's own parameters on ``bars`` without impact, whatever its capital was.
    capital
        Constant capital, in quote currency.
    impact
        Cost of trading a whole bar's volume; a share q of it costs ``impact * sqrt(q)``, as in the engine.
    """
    before = np.concatenate(([free.initial_capital], free.equity[:-1]))[:, None]
    price = np.nan_to_num(bars.open)
    traded = np.abs(np.diff(free.units, axis=0, prepend=0.0)) * price
    share = np.divide(traded, before, out=np.zeros_like(traded), where=before > 0)
    volume = np.nan_to_num(bars.volume) * price
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(share > 0, impact * share * np.sqrt(share * capital / volume), 0.0).sum()
    days = last_of_each_day(bars.ts)
    _, returns = daily_returns(bars.ts[days], free.equity[days], free.initial_capital)
    return Capacity(capital, float(np.mean(returns)), float(cost) / len(days))


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
