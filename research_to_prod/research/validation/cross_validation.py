"""Combinatorial purged cross-validation: many out-of-sample histories from one.

Belongs here: the splits' choices and the paths that they make up. Doesn't: thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_to_prod.research.bars import Floats
from research_to_prod.research.validation.measures import WHOLE, Measure, measures
from research_to_prod.research.validation.splits import (
    TrialPanel,
    annual_sharpes,
    cross_validation_splits,
    group_bounds,
)

STUDY = "cpcv"
GROUPS, TEST_GROUPS = 10, 2
"""45 splits and 9 paths, each a whole out-of-sample history."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What the splits and paths came to; Sharpe ratios are annual, NaN where the chosen trial didn't trade.

    Parameters
    ----------
    is_sharpes, oos_sharpes
        (splits,) of the trial chosen in each split, on its training and on its test days.
    path_sharpes
        (paths,) of each path over all days. Path p takes each group from the p-th split that tests it.
    """

    is_sharpes: Floats
    oos_sharpes: Floats
    path_sharpes: Floats

    @property
    def quantile_05(self) -> float:
        """The 5 % quantile of the paths' Sharpe ratios; NaN if one has none."""
        return float(np.quantile(self.path_sharpes, 0.05))

    @property
    def positive_share(self) -> float:
        """Share of the paths with a positive Sharpe ratio; NaN if one has none."""
        return float("nan") if np.isnan(self.path_sharpes).any() else float(np.mean(self.path_sharpes > 0))

    def measures(self) -> list[Measure]:
        """Return the study's rows."""
        idle = "the trials chosen on a path did not trade out of sample"
        rows = measures(STUDY, WHOLE, paths=len(self.path_sharpes))
        rows += measures(STUDY, WHOLE, idle, quantile_05=self.quantile_05, positive_share=self.positive_share)
        for number, (inside, outside) in enumerate(zip(self.is_sharpes, self.oos_sharpes, strict=True)):
            values = {"is_sharpe": float(inside), "oos_sharpe": float(outside)}
            rows += measures(STUDY, f"split_{number:02d}", "the chosen trial did not trade out of sample", **values)
        for number, sharpe in enumerate(self.path_sharpes):
            rows += measures(STUDY, f"path_{number:02d}", idle, sharpe=float(sharpe))
        return rows


def cross_validate(
    panel: TrialPanel, *, purge: int, embargo: int, groups: int = GROUPS, test_groups: int = TEST_GROUPS
) -> CrossValidation:
    """Choose the trial of the best Sharpe ratio in each split's training, and follow it through its test groups.

    Parameters
    ----------
    purge, embargo
        Days, as for `splits.cross_validation_splits`.

    Raises
    ------
    ValueError
        If there are too few days, or no trial traded in a training.
    """
    splits = cross_validation_splits(panel.days, groups=groups, test_groups=test_groups, purge=purge, embargo=embargo)
    bounds = group_bounds(panel.days, groups)
    inside, outside = np.empty(len(splits)), np.empty(len(splits))
    tested: dict[tuple[int, int], list[int]] = {bound: [] for bound in bounds}
    for number, split in enumerate(splits):
        chosen = panel.best(split.training)
        if chosen is None:
            raise ValueError("no trial traded in the training of a split")
        inside[number] = panel.sharpes(split.training)[chosen]
        outside[number] = panel.sharpes(split.test)[chosen]
        for bound in split.test:
            tested[bound].append(chosen)
    # (paths, groups): whom each path follows through each group.
    followed = np.array([tested[bound] for bound in bounds]).T
    sums = np.stack([panel.sums([bound])[0][:, followed[:, group]] for group, bound in enumerate(bounds)])
    return CrossValidation(inside, outside, annual_sharpes(sums.sum(axis=0), panel.days))
