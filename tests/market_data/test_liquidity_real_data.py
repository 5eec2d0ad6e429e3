"""What published studies say of bitcoin's week is what the profile finds in real bars, and where its proxies end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research_to_prod.market_data.contracts import CANDLES
from research_to_prod.market_data.liquidity import profile_week
from research_to_prod.market_data.universe import MarketSpec

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "market_data"
FOLDER = Path(os.environ.get("R2P_REAL_DATA") or DEFAULT)
FIVE_MINUTES = "binance__BTC-USDT_USDT__5m__2023-01_2024-05"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not FOLDER.is_dir(), reason=f"no real market data: R2P_REAL_DATA is not set and {DEFAULT} absent"
    ),
]


def profile(file: str, week: str, **market: Any) -> pd.DataFrame:
    rows = pq.read_table(FOLDER / "candles" / f"{file}.parquet")
    rows = rows.append_column("repair", pa.nulls(len(rows), pa.string())).select(CANDLES.arrow.names)
    spec = MarketSpec(venue="binance", since="2017-08-17", **market)
    frame: pd.DataFrame = profile_week(rows.cast(CANDLES.arrow), [spec], week).to_pandas()
    return frame


@pytest.mark.parametrize("week", ["2023-09-04", "2024-03-04"])
def test_bitcoin_is_deepest_in_the_afternoon_of_weekdays_and_thin_at_weekends(week: str) -> None:
    rows = profile(FIVE_MINUTES, week, symbol="BTC/USDT:USDT", timeframe="5m")
    assert set(rows["volume_basis"]) == {"hour_of_week"}
    hours = rows["volume_med"].to_numpy().reshape(7, 24)
    weekdays, weekend = hours[:5], hours[5:]
    assert set(np.argsort(-np.median(weekdays, axis=0))[:3]) <= {13, 14, 15, 16, 17}
    assert np.exp(np.median(weekdays) - np.median(weekend)) > 1.5
    thin = rows[rows["regime"] == "thin"]["how"]
    assert (thin >= 120).mean() > 0.7
    assert (rows[rows["regime"] == "deep"]["how"] < 120).all()


def test_volatility_peaks_with_volume_so_that_active_is_not_the_same_as_cheap() -> None:
    rows = profile(FIVE_MINUTES, "2024-03-04", symbol="BTC/USDT:USDT", timeframe="5m")
    assert rows["volume_med"].corr(rows["volatility_med"]) > 0.5


def test_hourly_bars_do_not_see_the_weekend() -> None:
    rows = profile("binance__BTC-USDT__1h", "2024-03-04", symbol="BTC/USDT", timeframe="1h")
    assert set(rows["volume_basis"]) == {"hour_of_day"}
    hours = rows["volume_med"].to_numpy().reshape(7, 24)
    assert (hours == hours[0]).all()
    assert set(np.argsort(-hours[0])[:3]) <= {13, 14, 15, 16, 17}
