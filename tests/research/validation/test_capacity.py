"""Capacity: size costs by the square root, and half of the zero-size edge is the limit."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.research.bars import Bars
from research_to_prod.research.costs import Costs
from research_to_prod.research.validation.capacity import MULTIPLES, Capacity, assumed_impact, capacity_curve

DAYS = 200


def square_root_curve(edge: float, impact: float, capital: float = 1000.0) -> Capacity:
    """Return the curve of an edge of which size takes ``impact`` times the root of the multiple a day."""
    noise = np.random.default_rng(4).normal(0, 0.01, DAYS)
    noise -= noise.mean()
    sized = {multiple: noise + edge - impact * math.sqrt(multiple) for multiple in MULTIPLES}
    return capacity_curve(capital, noise + edge, sized)


def test_the_capacity_of_a_square_root_impact_is_the_one_computed_by_hand() -> None:
    # 1 - 0.2 sqrt(m): 80 % at 1x, 60 % at 4x, 43 % at 8x.
    curve = square_root_curve(0.001, 0.0002)
    assert curve.retained(1.0) == pytest.approx(0.8)
    assert curve.retained(4.0) == pytest.approx(0.6)
    assert curve.retained(8.0) == pytest.approx(1 - 0.2 * math.sqrt(8))
    assert curve.capacity == 4 * 1000


@given(st.floats(1e-5, 1e-2), st.floats(1e-6, 1e-2))
def test_what_is_left_falls_with_size_and_capacity_with_impact(edge: float, impact: float) -> None:
    curve = square_root_curve(edge, impact)
    kept = [curve.retained(multiple) for multiple in (0.0, *MULTIPLES)]
    assert kept[0] == 1
    assert all(later < earlier for earlier, later in pairwise(kept))
    assert square_root_curve(edge, 2 * impact).capacity <= curve.capacity


def test_a_later_recovery_does_not_count_as_capacity() -> None:
    assert Capacity(100.0, {0.0: 1.0, 0.25: 0.9, 0.5: 0.4, 1.0: 0.8}).capacity == 25


def test_the_order_in_which_sizes_were_run_does_not_matter() -> None:
    assert Capacity(100.0, {1.0: 0.4, 0.5: 0.6, 0.25: 0.9, 0.0: 1.0}).capacity == 50


def test_capacity_is_nothing_when_the_smallest_size_loses_half_and_at_the_end_a_lower_bound() -> None:
    assert Capacity(100.0, {0.0: 1.0, 0.25: 0.49, 1.0: 0.1}).capacity == 0
    assert Capacity(100.0, {0.0: 1.0, 0.25: 0.9, 1.0: 0.5}).capacity == 100


@pytest.mark.parametrize("edge", [0.0, -0.001])
def test_without_an_edge_at_zero_size_there_is_no_capacity_and_the_rows_say_why(edge: float) -> None:
    curve = Capacity(100.0, {0.0: edge, 1.0: edge - 0.001})
    assert math.isnan(curve.capacity)
    rows = {(row.item, row.metric): row for row in curve.measures()}
    for metric in ("capacity", "retained_at_capital"):
        assert rows["all", metric].value is None
        assert "no edge at zero size" in rows["all", metric].reason
    assert rows["1x", "mean"].value == pytest.approx(edge - 0.001)


def test_each_size_has_its_rows() -> None:
    items = {row.item for row in square_root_curve(0.001, 0.0002).measures()}
    assert items == {"0x", "0.25x", "0.5x", "1x", "2x", "4x", "8x", "all"}


def bars(close: np.ndarray) -> Bars:
    ts = np.datetime64("2024-01-01", "us") + np.arange(len(close)) * np.timedelta64(1, "h")
    names = tuple(f"M{number}/USDT" for number in range(close.shape[1]))
    return Bars(ts, names, close, close, close, close, np.ones_like(close), np.zeros_like(close))


def test_the_assumed_impact_is_the_most_volatile_markets_deviation_of_a_bar() -> None:
    signs = np.where(np.arange(101) % 2, 1.0, -1.0)[:, np.newaxis]
    prices = bars(np.exp(signs * [[0.005, 0.01]]))
    # A log price that jumps between +0.01 and -0.01 has changes of +-0.02.
    assert assumed_impact(Costs(), prices) == pytest.approx(0.02)


def test_a_stated_impact_that_is_larger_is_kept() -> None:
    assert assumed_impact(Costs(impact=0.5), bars(np.full((50, 1), 100.0))) == 0.5


def test_bars_that_are_missing_leave_the_assumed_impact_finite() -> None:
    close = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, (500, 2)), axis=0))
    close[100:110, 0] = np.nan
    close[:, 1] = np.nan
    assert 0.008 < assumed_impact(Costs(), bars(close)) < 0.012
