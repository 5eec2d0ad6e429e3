"""The three engines on generated cases: the oracle in plain Python, the compiled ledger, the sweep's summary."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.research import sweep as sweep_module
from research_to_prod.research.backtest import Backtest, run_backtest
from research_to_prod.research.backtest_oracle import run_backtest_oracle
from research_to_prod.research.bars import Bars
from research_to_prod.research.costs import Costs
from research_to_prod.research.metrics import daily_returns, max_drawdown
from research_to_prod.research.sweep import Sweep
from research_to_prod.research.terms import Execution, Instrument, Liquidity

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


@dataclass(frozen=True)
class Case:
    """Everything that a backtest takes."""

    bars: Bars
    weights: np.ndarray
    costs: Costs
    execution: Execution
    instruments: dict[str, Instrument]
    capital: float = 10_000.0

    def run(self) -> Backtest:
        return run_backtest(self.bars, self.weights, self.costs, self.capital, self.execution, self.instruments)


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
    slow = run_backtest_oracle(case.bars, case.weights, case.costs, case.capital, case.execution, case.instruments)
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


@settings(max_examples=400, deadline=None)
@given(cases())
def test_the_summary_is_that_of_the_whole_ledger(case: Case) -> None:
    assert_summary_is_that_of_the_ledger(case)


@pytest.mark.parametrize("weights", [(0.5,), (-0.5,), (0.5, 0.4), (0.9, -0.5), (-0.3, -0.4)])
@pytest.mark.parametrize("drift", [-0.002, 0.0, 0.002])
def test_positions_held_for_weeks_are_summarised_as_the_ledger_has_them(
    weights: tuple[float, ...], drift: float
) -> None:
    """A rising curve makes new peaks in most blocks of bars, a falling one in none."""
    assert_summary_is_that_of_the_ledger(held(1_000, weights, drift))


@pytest.mark.parametrize("weight", [-0.9, -0.4, 0.9, 3.0])
@pytest.mark.parametrize("factor", [0.6, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("row", [1, 2, 500, 999])
def test_an_open_that_no_close_shows_ruins_the_summary_as_it_ruins_the_ledger(
    weight: float, factor: float, row: int
) -> None:
    case = held(1_000, (weight,), 0.0)
    case.bars.open[row] *= factor
    case.bars.high[row], case.bars.low[row] = (
        pick(case.bars.open[row], case.bars.close[row]) for pick in (np.maximum, np.minimum)
    )
    assert_summary_is_that_of_the_ledger(case)


def test_sets_in_a_row_come_to_what_each_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    case = held(300, (0.5, 0.4), 0.0)
    rng = np.random.default_rng(3)
    sets = [np.where(rng.random((300, 1)) < share, case.weights, 0.0) for share in (0.0, 0.01, 0.5, 1.0, 0.3)]
    sweep = Sweep(case.bars, case.costs, case.capital)
    alone = [sweep.outcome(each) for each in sets]
    for gathered in (0, 5, sweep_module.GATHERED):
        monkeypatch.setattr(sweep_module, "GATHERED", gathered)
        for one, other in zip(sweep.outcomes(iter(sets)), alone, strict=True):
            np.testing.assert_equal(asdict(one), asdict(other))
    assert sweep.outcomes([]) == ()


def test_one_wrong_set_among_others_is_refused() -> None:
    case = held(300, (0.5,), 0.0)
    wrong = case.weights.copy()
    wrong[250] = np.nan
    sweep = Sweep(case.bars, case.costs, case.capital)
    with pytest.raises(ValueError, match="finite"):
        sweep.outcomes([case.weights, wrong, case.weights])
    with pytest.raises(ValueError, match="shape"):
        sweep.outcomes([case.weights, case.weights[:-1]])


def held(steps: int, weights: tuple[float, ...], drift: float) -> Case:
    """Return positions taken in the second bar and held to the end, on a seeded random walk of hours."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(drift, 0.004, (steps, len(weights))), axis=0))
    open_ = np.vstack((close[:1], close[:-1]))
    ts = np.datetime64("2024-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    symbols = tuple(f"M{m}/Q" for m in range(len(weights)))
    extremes = np.maximum(open_, close), np.minimum(open_, close)
    bars = Bars(ts, symbols, open_, *extremes, close, np.ones_like(close), np.zeros_like(close))
    return Case(bars, np.tile(weights, (steps, 1)), Costs(), Execution(), {})


def assert_summary_is_that_of_the_ledger(case: Case) -> None:
    whole = case.run()
    part = Sweep(case.bars, case.costs, case.capital, case.execution, case.instruments).outcome(case.weights)
    # Where wild prices take equity to almost nothing, its last digits are those of what was lost.
    money = 1e-12 * max(float(np.abs(whole.equity).max()), case.capital)
    assert part.final_equity == pytest.approx(whole.equity[-1], rel=1e-12, abs=money)
    assert part.trades == whole.trades
    assert part.max_drawdown == pytest.approx(max_drawdown(whole.equity, case.capital), rel=1e-11, abs=1e-12)
    _, returns = daily_returns(case.bars.ts, whole.equity, case.capital)
    np.testing.assert_allclose(part.daily_returns, returns, rtol=1e-9, atol=1e-11)
