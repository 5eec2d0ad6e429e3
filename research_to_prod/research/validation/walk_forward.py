"""Walk-forward: choose on the past, earn on the next block, again and again.

Belongs here: the folds and their sum. Doesn't: thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.validation.measures import WHOLE, Measure, measures
from research_to_prod.research.validation.splits import TrialPanel, walk_forward_splits


@dataclass(frozen=True)
class Fold:
    """One fold: the trial that was chosen, daily means and annual Sharpe ratios in and out of sample."""

    chosen: int
    is_mean: float
    oos_mean: float
    is_sharpe: float
    oos_sharpe: float
    oos_days: int


@dataclass(frozen=True)
class WalkForward:
    """What the folds come to.

    Parameters
    ----------
    oos_sharpe
        Annual Sharpe ratio of the out-of-sample days of all folds, one after the other.
    efficiency
        Sum of out-of-sample means over sum of in-sample means; NaN when the latter is not positive: two negative sums
        have a positive ratio, which a competitor reported as robust.
    positive_share
        Share of folds that earn out of sample.
    """

    folds: tuple[Fold, ...]
    oos_sharpe: float
    efficiency: float
    positive_share: float

    def measures(self, study: str) -> list[Measure]:
        """Return the study's rows."""
        rows = []
        for number, fold in enumerate(self.folds):
            values = {name: getattr(fold, name) for name in ("is_mean", "oos_mean", "is_sharpe", "oos_sharpe")}
            rows += measures(study, f"fold_{number:02d}", "it did not trade", **values, oos_days=fold.oos_days)
        rows += measures(study, WHOLE, "nothing was earned in sample", efficiency=self.efficiency)
        rows += measures(study, WHOLE, "nothing was traded out of sample", oos_sharpe=self.oos_sharpe)
        return rows + measures(study, WHOLE, positive_share=self.positive_share, folds=len(self.folds))


def walk_forward(panel: TrialPanel, *, rolling: bool, purge: int) -> WalkForward:
    """Choose the trial of the best Sharpe ratio before each block of days, and follow it through the block.

    Parameters
    ----------
    rolling
        Whether the training has a constant length; otherwise it grows from the first day.
    purge
        Days between training and test.

    Raises
    ------
    ValueError
        If there are too few days, or no trial traded in a training.
    """
    folds, earned = [], []
    for split in walk_forward_splits(panel.days, rolling=rolling, purge=purge):
        chosen = panel.best(split.training)
        if chosen is None:
            raise ValueError(f"no trial traded in the training before day {split.test[0][0]}")
        ((start, stop),) = split.test
        earned.append(panel.returns[start:stop, chosen])
        folds.append(
            Fold(
                chosen,
                float(panel.means(split.training)[chosen]),
                float(panel.means(split.test)[chosen]),
                float(panel.sharpes(split.training)[chosen]),
                float(panel.sharpes(split.test)[chosen]),
                stop - start,
            )
        )
    inside, outside = (sum(getattr(fold, name) for fold in folds) for name in ("is_mean", "oos_mean"))
    series: Floats = np.concatenate(earned)
    return WalkForward(
        tuple(folds),
        annualised_sharpe_ratio(sharpe_ratio(series)),
        outside / inside if inside > 0 else math.nan,
        float(np.mean([fold.oos_mean > 0 for fold in folds])),
    )
