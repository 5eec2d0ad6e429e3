"""Probability of backtest overfitting, by combinatorially symmetric cross-validation (CSCV).

Belongs here: the splits and what they say of a search as a whole. Doesn't: whether one Sharpe ratio is luck.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from research_to_prod.gates.statistics._validation import Integers, magnitude, panel, whole
from research_to_prod.research.bars import Floats


@dataclass(frozen=True, eq=False)
class BacktestOverfitting:
    """What the splits say of a search.

    Parameters
    ----------
    probability
        Share of the splits whose winner in sample ranks in the lower half out of sample (logit at most 0).
    loss_probability
        Share of the splits whose winner in sample earns nothing or less out of sample. Where every trial carries the
        same edge, the rank is a coin toss (probability near 0.5) and this is what tells the plateau from noise.
    logits
        (C(S, S/2),) log odds of the winner's relative rank out of sample, rank / (N + 1), in the order of
        ``itertools.combinations`` of the blocks in sample.
    """

    probability: float
    loss_probability: float
    logits: Floats


def probability_of_backtest_overfitting(
    returns: Floats, n_blocks: int = 16, metric: Literal["sharpe", "mean"] = "sharpe"
) -> BacktestOverfitting:
    """Return how often the best trial in sample disappoints out of sample, over all halvings of time.

    Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest overfitting". Conventions, on which
    implementations differ: rank / (N + 1), ties averaged, the first of equal winners, and a logit of exactly 0 counts
    as overfit (with an odd N, counting only < 0 gave 0.543 where this gives 0.629).

    Parameters
    ----------
    returns
        (n_observations, n_trials) returns of every trial, per observation. The first ``n_observations % n_blocks``
        are left out. A half in which a trial doesn't vary has the Sharpe ratio 0, or infinity if it earns a constant.
    n_blocks
        Even, 4 to 20: 16 blocks make 12,870 splits.

    Raises
    ------
    ValueError
        For fewer than 2 trials or 2 observations a block, more trials than observations (a transposed array), a return
        that is not finite, or a trial that doesn't vary.
    """
    blocks = whole("n_blocks", n_blocks, 4)
    if blocks % 2 or blocks > 20:
        raise ValueError(f"n_blocks must be even and at most 20, is {blocks}")
    if metric not in ("sharpe", "mean"):
        raise ValueError(f"metric must be 'sharpe' or 'mean', is {metric!r}")
    returns = panel(returns, least_observations=2 * blocks, least_trials=2)

    from research_to_prod.gates.statistics._kernels import cross_validate, over_threads

    # One scale for all changes no rank and keeps squares from overflowing.
    scaled = returns[len(returns) % blocks :] / magnitude(returns)
    grouped = scaled.reshape(blocks, -1, scaled.shape[1])
    sums = np.stack([grouped.sum(axis=1), np.square(grouped).sum(axis=1)])
    half = blocks // 2
    low, high = _subset_sums(sums[:, :half]), _subset_sums(sums[:, half:])
    masks = _pairs(blocks)
    splits = np.empty((2 * len(masks), 2))
    over_threads(cross_validate, len(masks), masks, low, high, len(scaled) // 2, metric == "sharpe", splits)
    rank, value = splits.T
    logits = np.log(rank / (returns.shape[1] + 1 - rank))
    return BacktestOverfitting(float(np.mean(logits <= 0)), float(np.mean(value <= 0)), logits)


def _subset_sums(sums: Floats) -> Floats:
    """Return (m, 2^h, n_trials) sums of every subset of the h blocks of (m, h, n_trials)."""
    table = np.zeros((len(sums), 1, sums.shape[2]))
    for block in range(sums.shape[1]):
        table = np.concatenate([table, table + sums[:, block : block + 1]], axis=1)
    return table


@functools.cache
def _pairs(n_blocks: int) -> Integers:
    """Return the halvings whose first half holds block 0, as bits; the others are their complements, mirrored."""
    others = itertools.combinations(range(1, n_blocks), n_blocks // 2 - 1)
    return np.array([1 + sum(1 << block for block in chosen) for chosen in others], dtype=np.int64)
