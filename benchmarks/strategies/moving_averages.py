"""The benchmark's strategy: hold half of equity while the fast moving average lies above the slow one."""

import numpy as np
from numba import njit
from pydantic import Field

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.values import StrategyType

TYPE = StrategyType.INTRADAY
WEIGHT = 0.5


class Parameters(StrategyParameters):
    """Lengths of the averages, in bars."""

    fast: int = Field(default=20, ge=1)
    slow: int = Field(default=50, ge=2)


def warm_up(parameters: Parameters) -> int:
    """Return the bars before the first position."""
    return parameters.slow - 1


def target_positions(bars: Bars, parameters: Parameters) -> Floats:
    """Return (T, 1) weights."""
    weights = np.empty_like(bars.close)
    _hold_above(bars.close[:, 0], parameters.fast, parameters.slow, weights[:, 0])
    return weights


# Not cached: a strategy file is loaded under a name that numba could not import again.
@njit(nogil=True, error_model="numpy")
def _hold_above(close: Floats, fast: int, slow: int, weights: Floats) -> None:
    # Prices are whole ticks, so the sums are exact and no engine sees another crossing than the others.
    fast_sum, slow_sum = 0.0, 0.0
    for t in range(len(close)):
        fast_sum += close[t] - (close[t - fast] if t >= fast else 0.0)
        slow_sum += close[t] - (close[t - slow] if t >= slow else 0.0)
        weights[t] = WEIGHT if t >= slow - 1 and fast_sum * slow > slow_sum * fast else 0.0
