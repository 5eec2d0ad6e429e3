"""Training and test days, and the Sharpe ratios of every trial over them, fast.

A trial matrix is (D, N): daily net returns of N parameter sets over the same D days. Nothing is fitted on it but the
choice of a column, so what leaks from test to training is only what days share: positions held over the border, and the
history that a decision looks back on. Purging drops those days beside each test block, the embargo drops more after it.

Belongs here: day arithmetic and sums. Doesn't: what a study concludes from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR

Interval = tuple[int, int]
"""Days from the first (inclusive) to the second (exclusive)."""


@dataclass(frozen=True)
class Split:
    """Disjoint intervals of days, in order, to choose on and to test on."""

    training: tuple[Interval, ...]
    test: tuple[Interval, ...]


def walk_forward_splits(
    days: int, *, rolling: bool, purge: int, folds: int = 8, training_blocks: int = 4
) -> tuple[Split, ...]:
    """Return the folds of a walk-forward test: each block of days is tested on what lies before it.

    Parameters
    ----------
    days
        Cut into ``training_blocks + folds`` blocks of equal length, the remainder at the start.
    rolling
        Whether the training keeps the length of ``training_blocks``; otherwise it is anchored at the first day and
        grows.
    purge
        Days left out between training and test.

    Raises
    ------
    ValueError
        If a fold would have no training left.
    """
    block = days // (training_blocks + folds)
    first = days - folds * block
    if block < 2 or first - purge < 2:
        raise ValueError(
            f"{days} days are too few for {folds} folds after a training of {first} less a purge of {purge}"
        )
    return tuple(
        Split(((start - first if rolling else 0, start - purge),), ((start, start + block),))
        for start in range(first, days, block)
    )


def cross_validation_splits(days: int, *, groups: int, test_groups: int, purge: int, embargo: int) -> tuple[Split, ...]:
    """Return the splits of combinatorial purged cross-validation, in the order of ``itertools.combinations``.

    Lopez de Prado (2018), "Advances in financial machine learning", chapter 12.

    Parameters
    ----------
    groups, test_groups
        Days are cut into that many groups of equal length (the remainder one day each to the first ones); each choice
        of ``test_groups`` of them is a split.
    purge
        Training days left out on each side of a test group.
    embargo
        Training days left out after a test group, beyond the purge.

    Raises
    ------
    ValueError
        If a split would have fewer than two training days, or the groups make no sense.
    """
    if not 1 <= test_groups < groups <= days:
        raise ValueError(f"{test_groups} of {groups} groups of {days} days can't be tested")
    bounds = group_bounds(days, groups)
    splits = []
    for chosen in itertools.combinations(range(groups), test_groups):
        keep = np.ones(days, bool)
        for group in chosen:
            start, stop = bounds[group]
            keep[max(0, start - purge) : stop + purge + embargo] = False
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
        training = tuple((int(a), int(b)) for a, b in edges.reshape(-1, 2))
        if keep.sum() < 2:
            raise ValueError(f"{days} days are too few: a split has no training left after purge and embargo")
        splits.append(Split(training, tuple(bounds[group] for group in chosen)))
    return tuple(splits)


def group_bounds(days: int, groups: int) -> tuple[Interval, ...]:
    """Return the intervals of ``groups`` groups of days."""
    parts = np.array_split(np.arange(days), groups)
    return tuple((int(part[0]), int(part[-1]) + 1) for part in parts)


class TrialPanel:
    """Means and Sharpe ratios of all columns of a trial matrix over any intervals of days.

    Running sums make an interval cost N operations, not N times its days.

    Parameters
    ----------
    returns
        (D, N) finite daily net returns.

    Raises
    ------
    ValueError
        If there are no trials or days, or a return is not finite.
    """

    def __init__(self, returns: Floats) -> None:
        if returns.ndim != 2 or not returns.size:
            raise ValueError(f"returns must have shape (days, trials), have {returns.shape}")
        if not np.isfinite(returns).all():
            raise ValueError(f"{int((~np.isfinite(returns)).sum())} returns are not finite")
        self.returns = returns
        self.days, self.trials = returns.shape
        # One scale for all changes no rank and keeps squares from overflowing.
        self._scale = float(np.abs(returns).max()) or 1.0
        scaled = returns / self._scale
        self._sums = np.zeros((2, self.days + 1, self.trials))
        np.cumsum(scaled, axis=0, out=self._sums[0, 1:])
        np.cumsum(scaled * scaled, axis=0, out=self._sums[1, 1:])

    def sums(self, intervals: Sequence[Interval]) -> tuple[Floats, int]:
        """Return (2, N) sums of scaled returns and of their squares, and the number of days."""
        total = np.zeros((2, self.trials))
        for start, stop in intervals:
            total += self._sums[:, stop] - self._sums[:, start]
        return total, sum(stop - start for start, stop in intervals)

    def means(self, intervals: Sequence[Interval]) -> Floats:
        """Return (N,) mean daily returns."""
        total, days = self.sums(intervals)
        return total[0] / days * self._scale

    def sharpes(self, intervals: Sequence[Interval]) -> Floats:
        """Return (N,) annual Sharpe ratios; NaN for a trial that doesn't vary there."""
        return annual_sharpes(*self.sums(intervals))

    def best(self, intervals: Sequence[Interval]) -> int | None:
        """Return the first of the trials with the highest Sharpe ratio, or None if none has one."""
        sharpes = self.sharpes(intervals)
        return None if np.isnan(sharpes).all() else int(np.nanargmax(sharpes))


def annual_sharpes(sums: Floats, days: int) -> Floats:
    """Return annual Sharpe ratios from (2, ...) sums of a `TrialPanel`; NaN where the returns don't vary."""
    mean = sums[0] / days
    variance = (sums[1] - days * mean * mean) / max(days - 1, 1)
    # Differences of running sums leave dust of up to 2e-13 where a return is constant after ten wild years. Taken for
    # variance, it made annual Sharpe ratios of hundreds. So less than 1e-6 of the largest return is no deviation.
    varies = (variance > 1e-12) & (days > 1)
    deviation = np.sqrt(np.where(varies, variance, 1.0))
    return np.where(varies, mean / deviation * np.sqrt(DAYS_A_YEAR), np.nan)
