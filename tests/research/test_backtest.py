"""The compiled backtest: equal to its oracle, equal to hand arithmetic, exact in its books."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.lake.schema import SchemaError
from research_to_prod.research.backtest import Backtest, run_backtest
from research_to_prod.research.backtest_oracle import run_backtest_oracle
from research_to_prod.research.bars import Bars
from research_to_prod.research.contracts import BACKTEST
from research_to_prod.research.costs import Costs

FREE = Costs(taker_fee=0, half_spread=0, impact=0)
SERIES = (
    "equity",
    "price_pnl",
    "fees",
    "spread_cost",
    "impact_cost",
    "funding",
    "turnover",
    "gross_exposure",
    "units",
)


def make_bars(open_: list[float], close: list[float], funding: list[float] | None = None) -> Bars:
    columns = [np.array(each, float)[:, None] for each in (open_, close, funding or [0.0] * len(open_))]
    ts = np.datetime64("2024-01-01", "us") + np.arange(len(open_)) * np.timedelta64(1, "h")
    o, c, f = columns
    return Bars(ts, ("A/B",), o, np.maximum(o, c), np.minimum(o, c), c, np.full_like(o, 1e6), f)


def column(*weights: float) -> np.ndarray:
    return np.array(weights, float)[:, None]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Bars, np.ndarray, Costs, int]:
    steps, markets = draw(st.integers(1, 60)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    volatility = draw(st.sampled_from([0.001, 0.02, 0.3]))
    close = 100 * np.exp(np.cumsum(rng.normal(0, volatility, (steps, markets)), axis=0))
    open_ = np.vstack((np.full((1, markets), 100.0), close[:-1])) * np.exp(rng.normal(0, volatility / 5, close.shape))
    volume = rng.lognormal(5, 2, close.shape)
    volume[rng.random(close.shape) < 0.05] = 0.0
    gone = rng.random(close.shape) < draw(st.sampled_from([0.0, 0.1, 0.6]))
    for values in (open_, close, volume):
        values[gone] = np.nan
    funding = np.where(rng.random(close.shape) < 0.2, rng.normal(0, 1e-3, close.shape), 0.0)
    weights = rng.choice([-3.0, -1.0, -0.3, 0.0, 0.0, 0.5, 1.0, 2.0], close.shape)
    weights = np.where(rng.random(close.shape) < 0.5, np.roll(weights, 1, axis=0), weights)
    ts = np.datetime64("2024-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    bars = Bars(ts, tuple(f"M{m}/Q" for m in range(markets)), open_, close, close, close, volume, funding)
    costs = Costs(
        taker_fee=draw(st.sampled_from([0.0, 0.001])),
        half_spread=draw(st.sampled_from([0.0, 0.0002])),
        impact=draw(st.sampled_from([0.0, 0.01])),
    )
    return bars, weights, costs, draw(st.integers(1, 4))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_compiled_engine_equals_the_oracle(case: tuple[Bars, np.ndarray, Costs, int]) -> None:
    bars, weights, costs, delay = case
    fast = run_backtest(bars, weights, costs, 10_000.0, delay)
    slow = run_backtest_oracle(bars, weights, costs, 10_000.0, delay)
    for name in SERIES:
        np.testing.assert_allclose(
            getattr(fast, name), np.array(getattr(slow, name)), rtol=1e-12, atol=1e-12, err_msg=name
        )
    assert fast.trades == slow.trades


@settings(max_examples=100, deadline=None)
@given(cases())
def test_equity_changes_by_exactly_what_was_earned_and_paid(case: tuple[Bars, np.ndarray, Costs, int]) -> None:
    bars, weights, costs, delay = case
    result = run_backtest(bars, weights, costs, 10_000.0, delay)
    explained = result.price_pnl - result.fees - result.spread_cost - result.impact_cost + result.funding
    scale = max(10_000.0, float(np.abs(explained).sum()))
    assert result.equity[-1] - 10_000.0 == pytest.approx(explained.sum(), abs=1e-9 * scale)


def test_a_decision_trades_at_the_next_bars_open() -> None:
    bars = make_bars([100, 110, 120], [105, 115, 130])
    result = run_backtest(bars, column(1, 1, 1), FREE, 1_100.0)
    np.testing.assert_allclose(result.units[:, 0], [0, 10, 10])
    np.testing.assert_allclose(result.equity, [1_100, 1_150, 1_300])
    np.testing.assert_allclose(result.net_returns, [0, 50 / 1_100, 150 / 1_150])


def test_a_longer_delay_trades_that_many_bars_later() -> None:
    bars = make_bars([100, 110, 120, 130], [100, 110, 120, 130])
    result = run_backtest(bars, column(1, 1, 1, 1), FREE, 1_200.0, delay=2)
    np.testing.assert_allclose(result.units[:, 0], [0, 0, 10, 10])


def test_the_last_bars_decision_is_never_traded() -> None:
    bars = make_bars([100, 100, 100], [100, 100, 100])
    assert run_backtest(bars, column(0, 0, 1), FREE, 1_000.0).trades == 0


def test_costs_are_charged_on_the_traded_notional() -> None:
    bars = make_bars([100, 100, 100, 100], [100, 100, 100, 100])
    result = run_backtest(bars, column(1, -1, -1, -1), Costs(taker_fee=0.001, half_spread=0.0002), 1_000.0)
    np.testing.assert_allclose(result.fees[:2], [0, 1.0])
    np.testing.assert_allclose(result.spread_cost[:2], [0, 0.2])
    # The turn sells 10 units and shorts equity's worth: 1,000 + 998.8.
    assert result.fees[2] == pytest.approx(1.9988)
    assert result.turnover[2] == pytest.approx(1_998.8 / 998.8)
    assert result.trades == 2


def test_square_root_impact_follows_the_share_of_the_bars_volume() -> None:
    bars = make_bars([100, 100], [100, 100])
    thin = replace(bars, volume=np.full((2, 1), 40.0))
    result = run_backtest(thin, column(1, 1), Costs(taker_fee=0, half_spread=0, impact=0.02), 1_000.0)
    # 10 of 40 units: a quarter of the volume, half of 2 %.
    assert result.impact_cost[1] == pytest.approx(1_000 * 0.02 * 0.5)


def test_longs_pay_positive_funding_on_the_units_held_into_the_bar_and_shorts_receive_it() -> None:
    bars = make_bars([100] * 4, [100] * 4, [0, 0.01, 0.01, 0])
    for weight, sign in ((1, -1), (-1, 1)):
        result = run_backtest(bars, column(*[weight] * 4), FREE, 1_000.0)
        # The position is opened at the second bar's open, too late for the payment due at that open.
        np.testing.assert_allclose(result.funding, [0, 0, sign * 10, 0])


def test_a_market_without_a_bar_cannot_trade_and_keeps_its_last_price() -> None:
    nan = float("nan")
    bars = make_bars([100, 100, nan, 130], [100, 110, nan, 130])
    result = run_backtest(bars, column(1, 0, 0, 0), FREE, 1_000.0)
    np.testing.assert_allclose(result.units[:, 0], [0, 10, 10, 0])
    np.testing.assert_allclose(result.equity, [1_000, 1_100, 1_100, 1_300])


def test_a_bar_without_volume_cannot_trade_while_impact_is_charged() -> None:
    bars = make_bars([100] * 3, [100] * 3)
    dry = replace(bars, volume=np.array([[5.0], [0.0], [5.0]]))
    result = run_backtest(dry, column(1, 1, 1), Costs(taker_fee=0, half_spread=0, impact=0.01), 100.0)
    assert list(result.units[:, 0] != 0) == [False, False, True]


def test_an_unchanged_target_is_not_rebalanced() -> None:
    bars = make_bars([100, 100, 150, 200], [100, 150, 200, 250])
    result = run_backtest(bars, column(0.5, 0.5, 0.5, 0.5), FREE, 1_000.0)
    assert result.trades == 1
    assert result.gross_exposure[3] > 0.5


def test_ruin_closes_everything_and_nothing_trades_again() -> None:
    bars = make_bars([100, 100, 50, 60, 70], [100, 90, 55, 60, 70])
    result = run_backtest(bars, column(3, 3, 1, -1, 2), FREE, 1_000.0)
    assert result.equity[2] == pytest.approx(1_000 + 30 * (50 - 100))
    np.testing.assert_allclose(result.equity[2:], result.equity[2])
    assert not result.units[2:].any()
    assert not result.net_returns[3:].any()


def test_no_bars_give_an_empty_result() -> None:
    result = run_backtest(make_bars([], []), np.empty((0, 1)), FREE, 1_000.0)
    assert len(result.equity) == len(result.net_returns) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": column(1, np.nan)}, "not a finite number"),
        ({"weights": column(1)}, "shape"),
        ({"initial_capital": 0.0}, "initial capital"),
        ({"initial_capital": float("nan")}, "initial capital"),
        ({"delay": 0}, "delay must be at least 1"),
        ({"bars": make_bars([100, -1], [100, 100])}, "open prices must be positive"),
        ({"bars": make_bars([100, 100], [100, 100], [0, float("nan")])}, "funding"),
    ],
)
def test_input_that_would_give_a_meaningless_result_is_refused(change: dict[str, object], message: str) -> None:
    arguments = {
        "bars": make_bars([100, 100], [100, 100]),
        "weights": column(1, 1),
        "costs": FREE,
        "initial_capital": 1_000.0,
        "delay": 1,
    }
    with pytest.raises(ValueError, match=message):
        run_backtest(**{**arguments, **change})  # type: ignore[arg-type]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"shape.*capital.*delay"):
        run_backtest(make_bars([1.0], [1.0]), column(1, 1), FREE, -1.0, delay=0)


def test_stressed_costs_are_a_multiple_even_beyond_the_files_bounds() -> None:
    assert Costs(taker_fee=0.04, half_spread=0.001, impact=0.1).stressed(2.0).model_dump() == {
        "taker_fee": 0.08,
        "half_spread": 0.002,
        "impact": 0.2,
    }


def table_of(result: Backtest) -> object:
    return BACKTEST.conform(result.to_table("some_candidate", "base"), "some_candidate")


def test_the_result_conforms_to_its_table() -> None:
    result = run_backtest(make_bars([100, 110], [105, 115]), column(1, 1), FREE, 1_000.0)
    assert table_of(result).num_rows == 2  # type: ignore[attr-defined]
    with pytest.raises(SchemaError, match="outside partition"):
        BACKTEST.conform(result.to_table("some_candidate", "base"), "another")
