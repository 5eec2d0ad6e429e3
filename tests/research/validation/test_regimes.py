"""Regimes: days are told by what was known before them, and each partition shares out the whole profit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.research.bars import Bars
from research_to_prod.research.validation.regimes import HISTORY_DAYS, label_days, regime_table

DAYS = 400
WHOLE = (("weekday", "weekend"), ("year_2023", "year_2024"))
KNOWN = (("volatility_low", "volatility_mid", "volatility_high"), ("trend_up", "trend_down"))


def bars(daily: np.ndarray) -> Bars:
    """Return six-hourly bars from 1 September 2023 on, whose days close at ``daily``."""
    close = np.repeat(daily, 4)[:, np.newaxis]
    ts = np.datetime64("2023-09-01", "us") + np.arange(len(close)) * np.timedelta64(6, "h")
    return Bars(ts, ("BTC/USDT",), close, close, close, close, np.ones_like(close), np.zeros_like(close))


def prices(days: int = DAYS, seed: int = 3) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, days)))


def test_each_day_counts_once_in_each_partition() -> None:
    labels = label_days(bars(prices()))
    for names in WHOLE:
        assert (sum(labels[name].astype(int) for name in names) == 1).all()
    for names in KNOWN:
        counted = sum(labels[name].astype(int) for name in names)
        assert (counted[HISTORY_DAYS + 1 :] == 1).all()
        assert (counted[: HISTORY_DAYS + 1] == 0).all()


def test_thirds_of_volatility_are_thirds() -> None:
    labels = label_days(bars(prices()))
    sizes = [int(labels[name].sum()) for name in KNOWN[0]]
    assert sum(sizes) == DAYS - HISTORY_DAYS - 1
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 2**32 - 1))
def test_shares_of_profit_add_up_to_the_whole(seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0.001, 0.01, DAYS)
    returns += max(0.0, 1e-4 - returns.mean())
    values = {(row.item, row.metric): row.value for row in regime_table(returns, label_days(bars(prices())))}
    for names in WHOLE:
        assert sum(values[name, "share_of_pnl"] for name in names) == pytest.approx(1)
        assert sum(values[name, "days"] for name in names) == values["all", "days"] == DAYS
    known = returns[HISTORY_DAYS + 1 :].sum() / returns.sum()
    for names in KNOWN:
        assert sum(values[name, "share_of_pnl"] for name in names) == pytest.approx(known)


def test_the_calendar_is_the_utc_calendar() -> None:
    labels = label_days(bars(prices()))
    days = np.datetime64("2023-09-01") + np.arange(DAYS)
    names = np.array([day.item().weekday() >= 5 for day in days])
    assert (labels["weekend"] == names).all()
    assert labels["year_2023"].sum() == 30 + 31 + 30 + 31


@pytest.mark.parametrize("drift", [0.01, -0.01])
def test_a_steady_trend_is_told_by_its_sign(drift: float) -> None:
    labels = label_days(bars(100 * np.exp(drift * np.arange(100))))
    up, down = labels["trend_up"][HISTORY_DAYS + 1 :], labels["trend_down"][HISTORY_DAYS + 1 :]
    assert up.all() == (drift > 0)
    assert down.all() == (drift < 0)


def test_a_days_trend_is_told_without_that_day_and_what_follows() -> None:
    rising = 100 * np.exp(0.01 * np.arange(100))
    crashed = rising.copy()
    crashed[60:] /= 10
    before, after = label_days(bars(rising))["trend_up"], label_days(bars(crashed))["trend_up"]
    assert (before[:61] == after[:61]).all()
    assert after[60]
    assert not after[61]


def test_where_volatility_only_rises_the_thirds_follow_each_other() -> None:
    signs = np.where(np.arange(200) % 2, 1.0, -1.0)
    labels = label_days(bars(100 * np.exp(signs * np.linspace(0.001, 0.05, 200))))
    low, mid, high = (np.flatnonzero(labels[name]) for name in KNOWN[0])
    assert low[0] == HISTORY_DAYS + 1
    assert low[-1] + 1 == mid[0] < mid[-1] + 1 == high[0] < high[-1] == 199


def test_a_window_shorter_than_the_history_has_neither_volatility_nor_trend_and_says_why() -> None:
    labels = label_days(bars(prices(20)))
    rows = {(row.item, row.metric): row for row in regime_table(np.full(20, 0.001), labels)}
    assert rows["trend_up", "days"].value == 0
    assert rows["volatility_low", "sharpe"].value is None
    assert rows["volatility_low", "sharpe"].reason
    assert rows["all", "days"].value == 20


def test_without_a_profit_there_is_nothing_to_share() -> None:
    rows = regime_table(np.full(DAYS, -0.001), label_days(bars(prices())))
    shares = [row for row in rows if row.metric == "share_of_pnl"]
    assert shares
    assert all(row.value is None and row.reason == "there is no profit to share" for row in shares)
