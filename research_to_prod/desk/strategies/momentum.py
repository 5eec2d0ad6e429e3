"""Time-series momentum: hold the direction of the trailing return.

After Moskowitz, Ooi and Pedersen (2012), "Time series momentum": the sign of the past return, optionally scaled to a
volatility target.
"""

import numpy as np
import pandas as pd
from pydantic import Field

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.signals import bars_in, carry_forward, closes_on, hold
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.values import StrategyType

TYPE = StrategyType.SWING


class Parameters(StrategyParameters):
    """How far to look back, how often to decide again, how much to hold."""

    lookback_hours: int = Field(default=72, ge=2, le=8760)
    rebalance_hours: int = Field(default=24, ge=1, le=720)
    leverage: float = Field(default=1.0, gt=0, le=5)
    """Largest gross exposure over all markets, as a multiple of equity."""
    target_volatility: float | None = Field(default=None, gt=0, le=5)
    """Annualised volatility that each market's position is scaled to, never beyond the leverage; None: always full."""


def warm_up(parameters: Parameters) -> int:
    """Return the bars of one hour (or longer) before the first position."""
    return parameters.lookback_hours


def target_positions(bars: Bars, parameters: Parameters) -> Floats:
    """Return (T, M) weights: the sign of the trailing return times each market's share of the leverage."""
    lookback = bars_in(bars, parameters.lookback_hours)
    log_price = np.log(carry_forward(bars.close))
    trailing = np.full_like(log_price, np.nan)
    trailing[lookback:] = log_price[lookback:] - log_price[:-lookback]
    size = np.ones_like(trailing)
    if parameters.target_volatility is not None:
        changes = pd.DataFrame(np.diff(log_price, axis=0, prepend=np.nan))
        bars_a_year = bars_in(bars, 8760)
        volatility = changes.rolling(lookback, min_periods=lookback).std().to_numpy() * np.sqrt(bars_a_year)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.minimum(1.0, parameters.target_volatility / volatility / parameters.leverage)
    wanted = np.sign(trailing) * size * parameters.leverage / len(bars.symbols)
    decides = closes_on(bars, parameters.rebalance_hours)[:, None] & np.isfinite(bars.close)
    return hold(np.where(decides, wanted, np.nan))
