"""The recursion test: whether a strategy's late positions depend on where its history starts.

The idea of freqtrade's recursive-analysis: what never forgets (a running sum, a schedule counted from the first bar, a
mean that decays slowly) decides differently live, where history starts elsewhere than in the backtest. The history is
cut at its start by one, two, four and eight warm-ups, and the second half's positions must stay what they were.

Belongs here: the histories and the comparison. Doesn't: verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_to_prod.research.bars import Bars
from research_to_prod.research.strategy import Strategy, StrategyParameters

MULTIPLES = (1, 2, 4, 8)
"""How many warm-ups are cut off."""
TOLERANCE = 1e-9
"""Of a decision, relative: a moving window's sum rounds differently from another start (1e-12), a memory moves more."""


@dataclass(frozen=True)
class Recursion:
    """What the comparison saw.

    Parameters
    ----------
    starts
        First bars of the histories that were compared with the whole; empty if it is too short to compare any.
    late_bars
        Bars of the second half whose positions depend on where history starts; empty for a sound strategy.
    forgets_after
        Bars of history, at most, after which positions were those of the whole: live histories must be that long.
    """

    starts: tuple[int, ...]
    late_bars: tuple[int, ...]
    forgets_after: int

    @property
    def sound(self) -> bool:
        """Whether something was compared and nothing differed."""
        return bool(self.starts) and not self.late_bars


def warm_up_dependence(strategy: Strategy, parameters: StrategyParameters, bars: Bars) -> Recursion:
    """Compare positions across histories that start later and later.

    A start must leave one warm-up before the second half. One bar more than whole warm-ups is cut off: a schedule
    counted from the first bar often has a period that divides the warm-up.
    """
    warm_up, late = max(1, strategy.warm_up(parameters)), len(bars) // 2
    starts = tuple(each * warm_up + 1 for each in MULTIPLES if (each + 1) * warm_up + 1 <= late)
    whole = strategy.decisions(bars, parameters)
    differing: set[int] = set()
    forgets_after = 0
    for start in starts:
        part = strategy.decisions(bars.window(start, len(bars)), parameters)
        same = np.isclose(part, whole[start:], rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True).all(axis=1)
        rows = np.flatnonzero(~same) + start
        differing |= set(rows[rows >= late].tolist())
        forgets_after = max(forgets_after, int(rows[-1]) + 1 - start if len(rows) else 0)
    return Recursion(starts, tuple(sorted(differing)), forgets_after)
