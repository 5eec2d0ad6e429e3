"""Donchian breakout: act on a close outside the range of the past hours until a close outside a shorter range."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.signals import bars_in, latched
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.values import StrategyType

TYPE = StrategyType.SWING


class Parameters(StrategyParameters):
    """Lengths of the two channels, which breakouts to join, and how much to hold."""

    entry_hours: int = Field(default=120, ge=2, le=8760)
    exit_hours: int = Field(default=48, ge=1, le=8760)
    fade: bool = False
    """Trade against the breakout instead of with it."""
    sides: Literal["both", "long", "short"] = "both"
    """Which breakouts count: above the range (long, when not faded), below it, or both."""
    session: Literal["any", "asia", "europe", "america"] = "any"
    """Act only on breakouts whose bar closes in that third of the UTC day: from 0, 8 or 16 o'clock."""
    leverage: float = Field(default=1.0, gt=0, le=5)
    """Largest gross exposure over all markets, as a multiple of equity."""

    @model_validator(mode="after")
    def _exit_is_not_slower(self) -> "Parameters":
        # A close beyond the longer range is then beyond the shorter one too, so long and short never overlap.
        if self.exit_hours > self.entry_hours:
            raise ValueError(f"exit_hours {self.exit_hours} must not exceed entry_hours {self.entry_hours}")
        return self


def warm_up(parameters: Parameters) -> int:
    """Return the bars of one hour (or longer) before the first position."""
    return parameters.entry_hours


def target_positions(bars: Bars, parameters: Parameters) -> Floats:
    """Return (T, M) weights: +1, 0 or -1 times each market's share of the leverage."""
    above_entry, below_entry = _outside(bars, bars_in(bars, parameters.entry_hours))
    above_exit, below_exit = _outside(bars, bars_in(bars, parameters.exit_hours))
    acts = _in_session(bars, parameters.session)[:, None]
    long = latched(above_entry & acts, below_exit) * (parameters.sides != "short")
    short = latched(below_entry & acts, above_exit) * (parameters.sides != "long")
    direction = short - long if parameters.fade else long - short
    return direction * parameters.leverage / len(bars.symbols)


def _in_session(bars: Bars, session: str) -> npt.NDArray[np.bool_]:
    """Return the (T,) mask of bars that close in the session's third of the day; a close at 08:00 is Europe's first."""
    if session == "any" or len(bars) < 2:
        return np.ones(len(bars), bool)
    hour = (bars.ts + (bars.ts[1] - bars.ts[0])).astype("datetime64[h]").astype(np.int64) % 24
    return np.asarray(hour // 8 == ("asia", "europe", "america").index(session), dtype=bool)


def _outside(bars: Bars, length: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where the close lies above and below the range of the ``length`` bars before it; a NaN is neither."""
    # At least half of the window must be there: a range of a few bars after an outage is broken by anything.
    highest = pd.DataFrame(bars.high).rolling(length, min_periods=(length + 1) // 2).max().shift(1).to_numpy(copy=True)
    lowest = pd.DataFrame(bars.low).rolling(length, min_periods=(length + 1) // 2).min().shift(1).to_numpy(copy=True)
    # Without a whole window of time (not of prices) there is no range yet.
    highest[:length], lowest[:length] = np.nan, np.nan
    return bars.close > highest, bars.close < lowest
