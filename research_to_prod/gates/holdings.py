"""What a candidate held: its positions bar by bar, and what the markets traded, for the gates on risk.

Belongs here: the values and how they follow from backtest and bars. Doesn't: limits, and running anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from research_to_prod.research.bars import Bars, Floats, is_perpetual
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.signals import carry_forward


@dataclass(frozen=True)
class Holdings:
    """Positions of the backtest at base costs.

    Parameters
    ----------
    symbols
        The M markets.
    bars_a_day
        Bars of the timeframe within 24 hours.
    weights
        (T, M) signed value of each position at each close, as a fraction of equity.
    closes
        (T, M) close prices; where there was no bar the last one known, NaN before the first.
    daily_volume
        (D, M) quote currency traded on each UTC day.
    maintenance_margin
        (M,) equity that the venue demands, as a fraction of the position's value.
    """

    symbols: tuple[str, ...]
    bars_a_day: float
    weights: Floats
    closes: Floats
    daily_volume: Floats
    maintenance_margin: Floats

    @property
    def gross(self) -> Floats:
        """(T,) gross exposure as a multiple of equity."""
        return np.asarray(np.abs(self.weights).sum(axis=1))

    @property
    def perpetual(self) -> npt.NDArray[np.bool_]:
        """(M,) which markets are perpetuals."""
        return np.array([is_perpetual(symbol) for symbol in self.symbols], dtype=bool)

    def largest_by_asset(self) -> Mapping[str, float]:
        """Return the largest gross exposure in each base asset, as a multiple of equity."""
        return {
            asset: float(np.max(np.abs(self.weights[:, [_base(each) == asset for each in self.symbols]]).sum(axis=1)))
            for asset in sorted({_base(symbol) for symbol in self.symbols})
        }


def _base(symbol: str) -> str:
    return symbol.split("/", 1)[0]


def holdings_of(candidate: Candidate, bars: Bars, units: Floats, equity: Floats) -> Holdings:
    """Return what a backtest of the candidate held.

    Parameters
    ----------
    bars
        Its universe over its window, T bars of M markets.
    units, equity
        (T, M) base units held and (T,) equity at each close.
    """
    closes = carry_forward(bars.close)
    alive = np.where(equity > 0, equity, np.nan)[:, None]
    # Nothing is held before a market's first bar, whose price is not known; after ruin nothing is either.
    held = np.divide(units * closes, alive, out=np.zeros(closes.shape), where=units != 0)
    day = bars.ts.astype("datetime64[D]")
    days = (day - day[0]).astype(np.int64) if len(day) else np.empty(0, np.int64)
    traded = np.nan_to_num(bars.close * bars.volume)
    volume = [np.bincount(days, weights=traded[:, market]) for market in range(traded.shape[1])]
    margins = {symbol: terms.maintenance_margin for symbol, terms in candidate.instruments.items()}
    return Holdings(
        symbols=bars.symbols,
        bars_a_day=float(np.timedelta64(1, "D") / (bars.ts[1] - bars.ts[0])) if len(bars) > 1 else float("nan"),
        weights=held,
        closes=closes,
        daily_volume=np.column_stack(volume),
        maintenance_margin=np.array([margins.get(symbol, 0.0) for symbol in bars.symbols]),
    )
