"""Cash-and-carry: long spot and short the perpetual while longs have been paying funding."""

import numpy as np
import pandas as pd
from pydantic import Field

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.signals import bars_in, closes_on, hold
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.values import StrategyType

TYPE = StrategyType.CARRY


class Parameters(StrategyParameters):
    """Window of the trailing funding, the rate that makes it worth the costs, how much to hold."""

    lookback_hours: int = Field(default=168, ge=8, le=8760)
    rebalance_hours: int = Field(default=24, ge=1, le=720)
    minimum_annual_rate: float = Field(default=0.0, ge=-1, le=5)
    """Trailing funding, as a fraction of notional a year, above which the pair is held."""
    gross: float = Field(default=1.0, gt=0, le=5)
    """Both legs of all pairs together, as a multiple of equity."""


def warm_up(parameters: Parameters) -> int:
    """Return the bars of one hour (or longer) before the first position."""
    return parameters.lookback_hours


def target_positions(bars: Bars, parameters: Parameters) -> Floats:
    """Return (T, M) weights: +g spot and -g perpetual of each pair that has paid enough, 0 elsewhere.

    Raises
    ------
    ValueError
        If no spot market ``A/B`` of the universe has its linear perpetual ``A/B:B`` beside it.
    """
    column = {symbol: index for index, symbol in enumerate(bars.symbols)}
    pairs = [(column[s], column[f"{s}:{s.split('/')[1]}"]) for s in column if f"{s}:{s.split('/')[-1]}" in column]
    if not pairs:
        raise ValueError(f"carry needs a spot market and its perpetual, such as A/B and A/B:B; got {bars.symbols}")
    spot, perpetual = (list(legs) for legs in zip(*pairs, strict=True))
    length = bars_in(bars, parameters.lookback_hours)
    paid = pd.DataFrame(bars.funding[:, perpetual]).rolling(length, min_periods=length).sum().to_numpy()
    annual = paid * (8760 / parameters.lookback_hours)
    complete = np.isfinite(bars.close[:, spot]) & np.isfinite(bars.close[:, perpetual]) & np.isfinite(annual)
    decides = closes_on(bars, parameters.rebalance_hours)[:, None] & complete
    held = hold(np.where(decides, (annual > parameters.minimum_annual_rate).astype(np.float64), np.nan))
    weights = np.zeros(bars.close.shape)
    weights[:, spot] = held * (parameters.gross / 2 / len(pairs))
    weights[:, perpetual] = -weights[:, spot]
    return weights
