"""Regimes: when the profit was made.

Belongs here: labelling days by what was known before them, and the table by label. Doesn't: choosing a strategy by
regime, market_data's regimes of data quality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.metrics import last_of_each_day
from research_to_prod.research.signals import carry_forward
from research_to_prod.research.validation.measures import WHOLE, Measure, mean_and_sharpe, measures

STUDY = "regimes"
HISTORY_DAYS = 30
"""Days before a day by which its volatility and trend are told."""

Mask = npt.NDArray[np.bool_]


def label_days(bars: Bars) -> dict[str, Mask]:
    """Return for each regime the (D,) mask of the UTC days that belong to it.

    Volatility and trend are those of the ``HISTORY_DAYS`` before the day, of the mean daily log return over all
    markets; the thirds of volatility are of this very window. The first days have neither.
    """
    last = last_of_each_day(bars.ts)
    days = bars.ts[last].astype("datetime64[D]")
    prices = np.log(carry_forward(bars.close)[last])
    changes = np.nan_to_num(np.diff(prices, axis=0, prepend=np.full((1, prices.shape[1]), np.nan))).mean(axis=1)
    volatility, trend = np.full(len(days), np.nan), np.full(len(days), np.nan)
    # The first change is none: history begins with the second day.
    if len(days) > HISTORY_DAYS + 1:
        windows = np.lib.stride_tricks.sliding_window_view(changes[1:-1], HISTORY_DAYS)
        volatility[HISTORY_DAYS + 1 :], trend[HISTORY_DAYS + 1 :] = windows.std(axis=1), windows.sum(axis=1)
    known = np.isfinite(volatility)
    low, high = np.quantile(volatility[known], [1 / 3, 2 / 3]) if known.any() else (math.nan, math.nan)
    # 1970-01-01 was a Thursday.
    weekend = (days.astype(np.int64) + 3) % 7 >= 5
    years = days.astype("datetime64[Y]").astype(str)
    return {
        "volatility_low": known & (volatility <= low),
        "volatility_mid": known & (volatility > low) & (volatility <= high),
        "volatility_high": known & (volatility > high),
        "trend_up": known & (trend > 0),
        "trend_down": known & (trend <= 0),
        "weekday": ~weekend,
        "weekend": weekend,
        **{f"year_{year}": years == year for year in sorted(set(years.tolist()))},
    }


def regime_table(returns: Floats, labels: Mapping[str, Mask]) -> list[Measure]:
    """Return the rows of (D,) daily net returns by regime.

    ``share_of_pnl`` is of the sum of daily returns; without a profit there is nothing to share.
    """
    total = float(np.sum(returns))
    rows = []
    for name, mask in labels.items():
        rows += measures(STUDY, name, "too few days, or no trades", **mean_and_sharpe(returns[mask]))
        rows += measures(STUDY, name, days=int(mask.sum()))
        share = float(np.sum(returns[mask])) / total if total > 0 else math.nan
        rows += measures(STUDY, name, "there is no profit to share", share_of_pnl=share)
    return rows + measures(STUDY, WHOLE, days=len(returns))
