"""Stress: the same decisions, dearer or later.

Belongs here: the cost curve, and the latency curve with the largest latency that the edge survives. Doesn't: running
the engine (``trials``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist

import numpy as np

from research_to_prod.research.bars import Floats
from research_to_prod.research.validation.measures import WHOLE, Measure, mean_and_sharpe, measures

COST_MULTIPLIERS = (1.0, 1.5, 2.0, 3.0)
EXTRA_BARS = (0, 1, 2, 3, 5, 7, 11, 23)
"""Extra delays tested: with a candidate that trades at the next open, 1, 2, 3, 4, 6, 8, 12 and 24 bars in all."""
KEPT = 0.8
"""Share of the net edge that a latency must leave to be survived: the definition of L*."""
_SMELL_LEVEL = 0.05


def cost_stress(returns: Mapping[float, Floats]) -> list[Measure]:
    """Return the rows of (D,) daily net returns by the multiplier of all cost rates."""
    rows = []
    for multiplier, series in returns.items():
        rows += measures("cost_stress", f"{multiplier:.1f}x", "it never traded", **mean_and_sharpe(series))
    base = mean_and_sharpe(returns[1.0])["sharpe"]
    return rows + measures("cost_stress", WHOLE, "it never traded", base_sharpe=base)


@dataclass(frozen=True)
class LatencyStress:
    """What later decisions earn.

    Parameters
    ----------
    delays
        Bars between decision and trade, increasing; the first is the candidate's own.
    means, sharpes
        Daily mean net return and annual Sharpe ratio at each delay.
    bar
        Length of a bar: the resolution of the answer.
    improves
        Whether a longer delay earns significantly more for its risk than the own, which no honest signal does: the
        decision then knows something that it should not (hftbacktest's issue 256).
    """

    delays: tuple[int, ...]
    means: tuple[float, ...]
    sharpes: tuple[float, ...]
    bar: timedelta
    improves: bool

    @property
    def retained(self) -> tuple[float, ...]:
        """Share of the net edge that is left at each delay; NaN without an edge."""
        edge = self.means[0]
        return tuple(mean / edge if edge > 0 else math.nan for mean in self.means)

    @property
    def largest_delay(self) -> float:
        """The largest tested delay such that it and all smaller ones keep 80 % of the net edge; NaN without an edge."""
        if not self.means[0] > 0:
            return math.nan
        kept = [share >= KEPT for share in self.retained]
        return float(self.delays[(kept.index(False) if False in kept else len(kept)) - 1])

    @property
    def l_star_ms(self) -> float:
        """L*: the largest delay in milliseconds beyond the candidate's own; NaN without an edge."""
        return (self.largest_delay - self.delays[0]) * (self.bar / timedelta(milliseconds=1))

    def measures(self) -> list[Measure]:
        """Return the study's rows."""
        study, no_edge = "latency_stress", f"there is no net edge to keep: the daily mean is {self.means[0]:.6g}"
        rows = []
        curve = zip(self.delays, self.means, self.sharpes, self.retained, strict=True)
        for delay, mean, sharpe, retained in curve:
            item = f"delay_{delay}_bars"
            rows += measures(study, item, "it never traded", mean=mean, sharpe=sharpe)
            rows += measures(study, item, no_edge, retained=retained)
        rows += measures(study, WHOLE, no_edge, largest_delay_bars=self.largest_delay, l_star_ms=self.l_star_ms)
        return rows + measures(study, WHOLE, improves_with_latency=float(self.improves))


def latency_stress(returns: Mapping[int, Floats], bar: timedelta) -> LatencyStress:
    """Return the latency curve of (D,) daily net returns by delay in bars, the candidate's own first."""
    own, *later = returns.values()
    numbers = [mean_and_sharpe(series) for series in returns.values()]
    level = NormalDist().inv_cdf(1 - _SMELL_LEVEL / max(len(later), 1))
    return LatencyStress(
        tuple(returns),
        tuple(each["mean"] for each in numbers),
        tuple(each["sharpe"] for each in numbers),
        bar,
        any(_gain(series, own) > level for series in later),
    )


def _gain(later: Floats, own: Floats) -> float:
    """Return by how many of its standard errors the Sharpe ratio of ``later`` exceeds that of ``own``.

    Both are scaled to a deviation of one and compared day by day: they hold nearly the same positions, so the error of
    the difference is far smaller than that of each. The deviations are taken as known (Jobson and Korkie's further
    terms are of the order of the squared daily Sharpe ratio).
    """
    deviations = np.std(later, ddof=1), np.std(own, ddof=1)
    if not min(deviations) > 0:
        return 0.0
    difference = later / deviations[0] - own / deviations[1]
    error = float(np.std(difference, ddof=1)) / math.sqrt(len(difference))
    return float(np.mean(difference)) / error if error > 0 else 0.0
