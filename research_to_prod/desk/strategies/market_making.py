"""Market making: a bid and an ask around the close, as wide as recent bars move.

After the idea of Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book": the half-spread grows
with volatility. Quotes are decided from bars alone, so the skew follows the trailing return and not the inventory.
"""

import numpy as np
import pandas as pd
from pydantic import Field

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.signals import bars_in
from research_to_prod.research.strategy import Quotes, StrategyParameters
from research_to_prod.values import StrategyType

TYPE = StrategyType.MARKET_MAKING


class Parameters(StrategyParameters):
    """Window of the volatility, how wide to quote in its units, how much."""

    lookback_hours: int = Field(default=24, ge=2, le=8760)
    width: float = Field(default=0.5, gt=0, le=10)
    """Half-spread in deviations of one bar's return."""
    minimum_half_spread: float = Field(default=0.0002, gt=0, le=0.05)
    skew: float = Field(default=0.0, ge=-1, le=1)
    """Share of the half-spread by which both quotes move with the trailing bar's return, in its deviations."""
    size: float = Field(default=0.1, gt=0)
    """Units of base currency on each side."""


def warm_up(parameters: Parameters) -> int:
    """Return the bars of one hour (or longer) before the first quote."""
    return parameters.lookback_hours


def quotes(bars: Bars, parameters: Parameters) -> Quotes:
    """Return a bid and an ask around each close; none where a bar of the window is missing."""
    length = bars_in(bars, parameters.lookback_hours)
    changes = pd.DataFrame(np.diff(np.log(bars.close), axis=0, prepend=np.nan))
    deviation: Floats = changes.rolling(length, min_periods=length).std().to_numpy()
    half = np.maximum(parameters.width * deviation, parameters.minimum_half_spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.clip(np.nan_to_num(changes.to_numpy() / deviation), -1.0, 1.0)
    middle = bars.close * (1.0 + parameters.skew * moved * half)
    sizes = np.where(np.isfinite(half), parameters.size, 0.0)
    # A half-spread of the whole price and more would quote at nothing; half of it is already no quote that trades.
    half = np.minimum(half, 0.5)
    return Quotes(middle * (1.0 - half), middle * (1.0 + half), sizes, sizes)
