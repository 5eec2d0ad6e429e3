"""Mean reversion: fade a log price that lies far from its trailing mean, in units of its trailing deviation."""

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.signals import bars_in, latched
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.values import StrategyType

TYPE = StrategyType.INTRADAY


class Parameters(StrategyParameters):
    """Window of the z-score, where to enter, where to leave, how much to hold."""

    lookback_hours: int = Field(default=48, ge=4, le=8760)
    entry_z: float = Field(default=2.0, gt=0, le=10)
    exit_z: float = Field(default=0.5, ge=0, le=10)
    leverage: float = Field(default=1.0, gt=0, le=5)
    """Largest gross exposure over all markets, as a multiple of equity."""

    @model_validator(mode="after")
    def _exit_is_inside(self) -> "Parameters":
        if self.exit_z >= self.entry_z:
            raise ValueError(f"exit_z {self.exit_z} must be less than entry_z {self.entry_z}")
        return self


def warm_up(parameters: Parameters) -> int:
    """Return the bars of one hour (or longer) before the first position."""
    return parameters.lookback_hours


def target_positions(bars: Bars, parameters: Parameters) -> Floats:
    """Return (T, M) weights: long below -entry_z until above -exit_z, short above entry_z until below exit_z."""
    length = bars_in(bars, parameters.lookback_hours)
    log_price = pd.DataFrame(np.log(bars.close))
    window = log_price.rolling(length, min_periods=(length + 1) // 2)
    deviation = window.std()
    # A window without movement has no scale; pandas leaves rounding dust of about 1e-8 there instead of 0.
    z = ((log_price - window.mean()) / deviation.where(deviation > 1e-7)).to_numpy(copy=True)
    z[:length] = np.nan
    long = latched(z <= -parameters.entry_z, z >= -parameters.exit_z)
    short = latched(z >= parameters.entry_z, z <= parameters.exit_z)
    return (long - short) * parameters.leverage / len(bars.symbols)
