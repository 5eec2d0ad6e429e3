"""The recursion test: whether a strategy's late positions depend on where its history starts.

The idea of freqtrade's recursive-analysis: an indicator that never forgets (an exponential mean, a running sum) gives
other positions live, where history starts later than in the backtest. The same late bars are computed from histories
that start at several distances before them, and compared with those of the whole history.

Belongs here: the histories and the comparison. Doesn't: verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_to_prod.research.bars import Bars
from research_to_prod.research.strategy import Strategy, StrategyParameters

MULTIPLES = (1, 2, 4)
"""Lengths of history before the compared bars, in warm-ups."""
WINDOWS = 8
"""Moments spread over the history at which late bars are compared."""
TOLERANCE = 1e-9
"""Of a weight: a window's sum rounds differently from another start (1e-12 seen), a memory moves far more."""


@dataclass(frozen=True)
class Recursion:
    """What the comparison saw.

    Parameters
    ----------
    compared
        Positions compared; 0 if the history is too short to compare any.
    bars
        Rows whose positions differ, in order.
    """

    compared: int
    bars: tuple[int, ...]


def depends_on_warm_up(strategy: Strategy, parameters: StrategyParameters, bars: Bars, settle: int = 0) -> Recursion:
    """Compare late positions across histories of one, two and four warm-ups, and the whole.

    Parameters
    ----------
    settle
        Bars after the warm-up in which a position may still be that of a decision made before the shorter history
        starts; they are not compared.
    """
    raise NotImplementedError
