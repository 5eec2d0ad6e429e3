"""Performance numbers: checked by hand, and NaN where there is nothing to compute."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from research_to_prod.research.metrics import (
    annualised_sharpe_ratio,
    daily_returns,
    max_drawdown,
    sharpe_ratio,
    skewness_and_kurtosis,
)


def hours(start: str, steps: int) -> np.ndarray:
    return np.datetime64(start, "us") + np.arange(steps) * np.timedelta64(1, "h")


def test_a_day_ends_with_the_close_of_its_last_bar_in_utc() -> None:
    equity = np.arange(1.0, 49.0)
    days, returns = daily_returns(hours("2024-01-01", 48), equity, 2.0)
    assert [str(day) for day in days] == ["2024-01-01", "2024-01-02"]
    np.testing.assert_allclose(returns, [24 / 2 - 1, 48 / 24 - 1])


def test_days_compound_to_the_whole() -> None:
    rng = np.random.default_rng(1)
    equity = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 1000)))
    _, returns = daily_returns(hours("2024-01-01T07:00", 1000), equity, 100.0)
    assert np.prod(1 + returns) == pytest.approx(equity[-1] / 100)


def test_a_day_that_begins_without_equity_has_no_return() -> None:
    equity = np.repeat([100.0, -5.0, -5.0], 24)
    _, returns = daily_returns(hours("2024-01-01", 72), equity, 100.0)
    np.testing.assert_allclose(returns, [0, -1.05, np.nan])


def test_no_bars_have_no_days() -> None:
    days, returns = daily_returns(hours("2024-01-01", 0), np.empty(0), 100.0)
    assert len(days) == len(returns) == 0


def test_sharpe_is_mean_over_sample_deviation() -> None:
    returns = np.array([0.01, -0.02, 0.03])
    assert sharpe_ratio(returns) == pytest.approx(0.0066666667 / 0.0251661148, rel=1e-8)
    assert annualised_sharpe_ratio(0.1) == pytest.approx(1.9104973)


@pytest.mark.parametrize(
    "returns",
    [[], [0.1], [0.1] * 10, [0.0] * 10, [0.1, math.nan, 0.2], [0.1, math.inf]],
)
def test_sharpe_and_moments_are_nan_where_there_is_nothing_to_measure(returns: list[float]) -> None:
    series = np.array(returns, float)
    assert math.isnan(sharpe_ratio(series))
    assert all(math.isnan(each) for each in skewness_and_kurtosis(series))


def test_kurtosis_is_not_in_excess() -> None:
    normal = np.random.default_rng(2).normal(size=200_000)
    skewness, kurtosis = skewness_and_kurtosis(normal)
    assert skewness == pytest.approx(0, abs=0.02)
    assert kurtosis == pytest.approx(3, abs=0.05)


def test_drawdown_counts_the_initial_capital_as_the_first_peak() -> None:
    assert max_drawdown(np.array([90.0, 120.0, 60.0, 130.0]), 100.0) == pytest.approx(0.5)
    assert max_drawdown(np.array([80.0, 90.0]), 100.0) == pytest.approx(0.2)
    assert max_drawdown(np.array([-50.0]), 100.0) == pytest.approx(1.5)


def test_drawdown_of_nothing_or_of_nan_is_nan() -> None:
    assert math.isnan(max_drawdown(np.empty(0), 100.0))
    assert math.isnan(max_drawdown(np.array([1.0, math.nan]), 100.0))


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(1, 1e6)))
def test_drawdown_is_the_worst_pair_of_an_earlier_peak_and_a_later_trough(equity: np.ndarray) -> None:
    curve = [100.0, *equity]
    worst = max(1 - later / earlier for i, earlier in enumerate(curve) for later in curve[i:])
    assert max_drawdown(equity, 100.0) == pytest.approx(max(worst, 0.0))
