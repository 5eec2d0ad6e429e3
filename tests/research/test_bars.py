"""Alignment: candles and funding of several markets on one grid, holes and all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.research.bars import Bars, align_bars

START, HOUR = datetime(2024, 1, 1, tzinfo=UTC), timedelta(hours=1)


def candles(*rows: tuple[str, datetime, float]) -> pa.Table:
    symbols, times, prices = (list(each) for each in zip(*rows, strict=True)) if rows else ([], [], [])
    values = {name: pa.array(prices, pa.float64()) for name in ("open", "high", "low", "close", "volume")}
    return pa.table({"symbol": pa.array(symbols, pa.string()), "ts": pa.array(times, TIMESTAMP), **values})


def funding(*rows: tuple[str, datetime, float]) -> pa.Table:
    symbols, times, rates = (list(each) for each in zip(*rows, strict=True)) if rows else ([], [], [])
    return pa.table(
        {
            "symbol": pa.array(symbols, pa.string()),
            "ts": pa.array(times, TIMESTAMP),
            "rate": pa.array(rates, pa.float64()),
        }
    )


def align(rows: pa.Table, paid: pa.Table, symbols: tuple[str, ...] = ("A/Q", "B/Q"), steps: int = 3) -> Bars:
    return align_bars(rows, paid, symbols, START, START + steps * HOUR, HOUR)


def test_candles_in_any_order_land_in_their_cell_and_holes_are_nan() -> None:
    bars = align(candles(("B/Q", START + HOUR, 5.0), ("A/Q", START + 2 * HOUR, 3.0), ("A/Q", START, 1.0)), funding())
    np.testing.assert_array_equal(bars.close, [[1, np.nan], [np.nan, 5], [3, np.nan]])
    assert bars.ts[2] == np.datetime64("2024-01-01T02:00", "us")
    assert not bars.funding.any()


def test_other_markets_and_other_times_are_left_out() -> None:
    bars = align(candles(("C/Q", START, 9.0), ("A/Q", START - HOUR, 9.0), ("A/Q", START + 3 * HOUR, 9.0)), funding())
    assert np.isnan(bars.close).all()


def test_the_columns_follow_the_order_of_the_symbols() -> None:
    rows = candles(("A/Q", START, 1.0), ("B/Q", START, 2.0))
    np.testing.assert_array_equal(align(rows, funding(), ("B/Q", "A/Q"), 1).close, [[2, 1]])


def test_funding_stamped_some_milliseconds_late_belongs_to_the_hour() -> None:
    late = START + HOUR + timedelta(milliseconds=47)
    np.testing.assert_array_equal(align(candles(), funding(("A/Q", late, 1e-4))).funding[:, 0], [0, 1e-4, 0])


def test_funding_between_bars_is_paid_at_the_next_open_and_two_in_one_bar_add_up() -> None:
    half = START + timedelta(minutes=30)
    bars = align(candles(), funding(("A/Q", half, 1e-4), ("A/Q", START + HOUR, 2e-4)))
    np.testing.assert_allclose(bars.funding[:, 0], [0, 3e-4, 0])


def test_a_candle_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="off the grid"):
        align(candles(("A/Q", START + timedelta(minutes=5), 1.0)), funding())


def test_two_candles_of_one_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="share a market and a time"):
        align(candles(("A/Q", START, 1.0), ("A/Q", START, 2.0)), funding())


def test_no_candles_give_bars_of_nan() -> None:
    assert np.isnan(align(candles(), funding()).open).all()


def test_a_window_is_a_view_of_the_same_bars() -> None:
    bars = align(candles(("A/Q", START + HOUR, 5.0)), funding())
    part = bars.window(1, 3)
    assert len(part) == 2
    assert part.close[0, 0] == 5.0
    assert np.shares_memory(part.close, bars.close)
