"""The compiled backtest: equal to its oracle, equal to hand arithmetic, exact in its books."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from research_to_prod.research.terms import Execution, Instrument, Liquidity

FREE = Costs(taker_fee=0, half_spread=0, impact=0)
SERIES = (
    "equity",
    "price_pnl",
    "fees",
    "spread_cost",
    "impact_cost",
    "funding",
    "borrow_cost",
    "liquidation_cost",
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


@dataclass(frozen=True)
class Case:
    """Everything that a backtest takes."""

    bars: Bars
    weights: np.ndarray
    costs: Costs
    execution: Execution
    instruments: dict[str, Instrument]

    def run(self) -> Backtest:
        return run_backtest(self.bars, self.weights, self.costs, 10_000.0, self.execution, self.instruments)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    steps, markets = draw(st.integers(1, 60)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    volatility = draw(st.sampled_from([0.001, 0.02, 0.3]))
    close = 100 * np.exp(np.cumsum(rng.normal(0, volatility, (steps, markets)), axis=0))
    open_ = np.vstack((np.full((1, markets), 100.0), close[:-1])) * np.exp(rng.normal(0, volatility / 5, close.shape))
    high = np.maximum(open_, close) * np.exp(np.maximum(rng.normal(0, volatility, close.shape), 0))
    low = np.minimum(open_, close) * np.exp(np.minimum(rng.normal(0, volatility, close.shape), 0))
    volume = rng.lognormal(5, 2, close.shape)
    volume[rng.random(close.shape) < 0.05] = 0.0
    gone = rng.random(close.shape) < draw(st.sampled_from([0.0, 0.1, 0.6]))
    for values in (open_, high, low, close, volume):
        values[gone] = np.nan
    funding = np.where(rng.random(close.shape) < 0.2, rng.normal(0, 1e-3, close.shape), 0.0)
    weights = rng.choice([-3.0, -1.0, -0.3, 0.0, 0.0, 0.5, 1.0, 2.0], close.shape)
    weights = np.where(rng.random(close.shape) < 0.5, np.roll(weights, 1, axis=0), weights)
    ts = np.datetime64("2024-01-01T20", "us") + np.arange(steps) * np.timedelta64(1, "h")
    symbols = tuple(draw(st.sampled_from([f"M{m}/Q", f"M{m}/Q:Q"])) for m in range(markets))
    bars = Bars(ts, symbols, open_, high, low, close, volume, funding)
    costs = Costs(
        taker_fee=draw(st.sampled_from([0.0, 0.001])),
        maker_fee=draw(st.sampled_from([-0.0001, 0.0005])),
        half_spread=draw(st.sampled_from([0.0, 0.0002])),
        impact=draw(st.sampled_from([0.0, 0.01])),
    )
    execution = Execution(
        delay_bars=draw(st.integers(1, 4)),
        liquidity=draw(st.sampled_from([Liquidity.TAKER, Liquidity.TAKER, Liquidity.MAKER])),
        participation_cap=draw(st.sampled_from([None, None, 0.01, 0.5])),
    )
    instruments = {symbol: draw(terms(symbol)) for symbol in symbols if draw(st.booleans())}
    return Case(bars, weights, costs, execution, instruments)


@st.composite
def terms(draw: st.DrawFn, symbol: str) -> Instrument:
    return Instrument(
        contract_size=draw(st.sampled_from([1.0, 0.001, 10.0])),
        lot=draw(st.sampled_from([0.0, 0.1, 1.0])),
        tick=draw(st.sampled_from([0.0, 0.01, 0.5])),
        min_notional=draw(st.sampled_from([0.0, 50.0, 3_000.0])),
        max_leverage=draw(st.sampled_from([None, 0.7, 2.0])),
        maintenance_margin=draw(st.sampled_from([0.0, 0.01, 0.3])),
        liquidation_fee=draw(st.sampled_from([0.0, 0.02])),
        borrow_rate=0.0 if ":" in symbol else draw(st.sampled_from([0.0, 0.5])),
    )


# What is compared: 1e-12 of the number itself, or of the money that went into it where that cancels.
def close_to(fast: object, slow: object, scale: float) -> bool:
    return np.allclose(np.asarray(fast), np.asarray(slow), rtol=1e-12, atol=1e-12 * scale)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_the_compiled_engine_equals_the_oracle(case: Case) -> None:
    fast = case.run()
    slow = run_backtest_oracle(
        case.bars, case.weights, case.costs, 10_000.0, case.execution, case.instruments
    )
    for name in SERIES:
        assert close_to(getattr(fast, name), getattr(slow, name), 1.0), name
    assert fast.trades == slow.trades


@settings(max_examples=100, deadline=None)
@given(cases())
def test_equity_changes_by_exactly_what_was_earned_and_paid(case: Case) -> None:
    result = case.run()
    paid = result.fees + result.spread_cost + result.impact_cost + result.borrow_cost + result.liquidation_cost
    explained = result.price_pnl + result.funding - paid
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
    result = run_backtest(bars, column(1, 1, 1, 1), FREE, 1_200.0, Execution(delay_bars=2))
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
        ({"instruments": {"C/D": Instrument()}}, "terms are given for C/D"),
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
        "instruments": {},
    }
    with pytest.raises(ValueError, match=message):
        run_backtest(**{**arguments, **change})  # type: ignore[arg-type]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"shape.*capital.*C/D"):
        run_backtest(make_bars([1.0], [1.0]), column(1, 1), FREE, -1.0, instruments={"C/D": Instrument()})


def test_stressed_costs_are_a_multiple_even_beyond_the_files_bounds() -> None:
    assert Costs(taker_fee=0.04, maker_fee=0.03, half_spread=0.001, impact=0.1).stressed(2.0).model_dump() == {
        "taker_fee": 0.08,
        "maker_fee": 0.06,
        "half_spread": 0.002,
        "impact": 0.2,
    }


def test_stress_never_raises_a_rebate() -> None:
    assert Costs(maker_fee=-0.0002).stressed(2.0).maker_fee == pytest.approx(-0.0001)


def table_of(result: Backtest) -> object:
    return BACKTEST.conform(result.to_table("some_candidate", "base"), "some_candidate")


def test_the_result_conforms_to_its_table() -> None:
    result = run_backtest(make_bars([100, 110], [105, 115]), column(1, 1), FREE, 1_000.0)
    assert table_of(result).num_rows == 2  # type: ignore[attr-defined]
    with pytest.raises(SchemaError, match="outside partition"):
        BACKTEST.conform(result.to_table("some_candidate", "base"), "another")
