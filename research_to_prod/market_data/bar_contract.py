"""What a valid bar is: the pandera contract, the only place that says so.

Belongs here: rules about one bar, and uniqueness. Doesn't: rules about series (``quality``), and what happens to the
rows that break a rule (``quarantine``). Imported lazily: pandera takes seconds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from research_to_prod.market_data.bar_proof import length_us
from research_to_prod.market_data.contracts import BAR_KEY

_PRICES = ["open", "high", "low", "close"]


class BarContract(pa.DataFrameModel):
    """A bar of one market; the name of each rule is the name that the quarantine reports.

    Columns admit nulls so that a rule, not the column's type, names what is wrong; ``ignore_na=False`` makes each rule
    judge nulls instead of skipping them, which is pandera's default.
    """

    venue: Series[str] = pa.Field(nullable=True)
    symbol: Series[str] = pa.Field(nullable=True)
    timeframe: Series[str] = pa.Field(nullable=True)
    ts: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs={"unit": "us", "tz": "UTC"}, nullable=True)
    open: Series[np.float64] = pa.Field(nullable=True)
    high: Series[np.float64] = pa.Field(nullable=True)
    low: Series[np.float64] = pa.Field(nullable=True)
    close: Series[np.float64] = pa.Field(nullable=True)
    volume: Series[np.float64] = pa.Field(nullable=True)

    @pa.dataframe_check(ignore_na=False)
    @classmethod
    def market_is_named(cls, bars: pd.DataFrame) -> pd.Series:
        """Venue and symbol are not empty."""
        return bars["venue"].fillna("").ne("") & bars["symbol"].fillna("").ne("")

    @pa.dataframe_check(ignore_na=False)
    @classmethod
    def ts_is_on_grid(cls, bars: pd.DataFrame) -> pd.Series:
        """Time of open is a whole multiple of the timeframe since 1970; an unknown timeframe has no grid."""
        known = {each: length_us(each) for each in bars["timeframe"].dropna().unique()}
        lengths = bars["timeframe"].map(known).astype("float64")
        times = bars["ts"].astype("int64").where(bars["ts"].notna())
        return (times % lengths).eq(0)

    @pa.dataframe_check(ignore_na=False)
    @classmethod
    def prices_are_finite_positive(cls, bars: pd.DataFrame) -> pd.Series:
        """Open, high, low and close are finite and above zero."""
        prices = bars[_PRICES]
        return (prices.gt(0) & prices.lt(np.inf)).all(axis=1)

    @pa.dataframe_check(ignore_na=False)
    @classmethod
    def volume_is_finite_not_negative(cls, bars: pd.DataFrame) -> pd.Series:
        """Volume is finite and at least zero."""
        return bars["volume"].ge(0) & bars["volume"].lt(np.inf)

    @pa.dataframe_check(ignore_na=False)
    @classmethod
    def high_is_highest(cls, bars: pd.DataFrame) -> pd.Series:
        """High is at least open, low and close."""
        return bars["high"].ge(bars[["open", "low", "close"]].max(axis=1, skipna=False))

    @pa.dataframe_check(ignore_na=False)
    @classmethod
    def low_is_lowest(cls, bars: pd.DataFrame) -> pd.Series:
        """Low is at most open, high and close."""
        return bars["low"].le(bars[["open", "high", "close"]].min(axis=1, skipna=False))

    @pa.dataframe_check(ignore_na=False)
    @classmethod
    def unique_by_key(cls, bars: pd.DataFrame) -> pd.Series:
        """No other row has the same market and time."""
        return ~bars.duplicated(list(BAR_KEY), keep=False)
