"""Market making: equal to its oracle, and right on tapes whose truth is known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import research_to_prod
from research_to_prod.research.bars import Bars
from research_to_prod.research.candidate import Candidate, Window
from research_to_prod.research.costs import Costs
from research_to_prod.research.look_ahead import look_ahead_bars
from research_to_prod.research.market_making import Quoting, Tape, run_market_making, tape_of_bars
from research_to_prod.research.market_making_oracle import run_market_making_oracle
from research_to_prod.research.recursion import warm_up_dependence
from research_to_prod.research.strategy import Quotes, load_strategy
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import accounting_residuals, backtest_candidate, run_trials

STRATEGIES = Path(research_to_prod.__file__).parent / "desk" / "strategies"
FREE = Costs(taker_fee=0, maker_fee=0, half_spread=0)


def flat_bars(steps: int, price: float = 100.0, markets: int = 1) -> Bars:
    level = np.full((steps, markets), price)
    ts = np.datetime64("2024-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    symbols = tuple(f"M{m}/Q" for m in range(markets))
    return Bars(ts, symbols, level, level + 1, level - 1, level, np.full_like(level, 8.0), np.zeros_like(level))


def tape(*trades: tuple[int, float, float, int]) -> Tape:
    """Trades of the first market as (bar, price, size, side)."""
    bar, price, size, side = (np.array(each) for each in zip(*trades, strict=True))
    return Tape(bar, np.zeros_like(bar), price.astype(float), size.astype(float), side.astype(float))


def always(bars: Bars, bid: float, ask: float, size: float) -> Quotes:
    return Quotes(*(np.full(bars.close.shape, each) for each in (bid, ask, size, size)))


def fills(
    trades: Tape, queue: float = 5.0, size: float = 2.0, inventory: float = 100.0, steps: int = 3
) -> list[tuple[int, float, float]]:
    bars = flat_bars(steps)
    quoting = Quoting(queue_ahead=queue, max_inventory=inventory)
    made = run_market_making(bars, always(bars, 99.0, 101.0, size), trades, FREE, 1_000.0, quoting)
    return list(zip(made.bar.tolist(), made.price.tolist(), made.units.tolist(), strict=True))


def test_volume_at_our_price_first_consumes_the_queue_ahead() -> None:
    assert fills(tape((1, 99.0, 5.0, -1))) == []
    assert fills(tape((1, 99.0, 4.0, -1), (1, 99.0, 2.5, -1))) == [(1, 99.0, 1.5)]
    assert fills(tape((1, 99.0, 50.0, -1))) == [(1, 99.0, 2.0)]


def test_a_trade_through_our_price_fills_us_whole() -> None:
    assert fills(tape((1, 98.5, 0.1, -1))) == [(1, 99.0, 2.0)]
    assert fills(tape((1, 101.5, 0.1, 1))) == [(1, 101.0, -2.0)]


def test_a_taker_of_our_own_side_does_not_fill_us() -> None:
    assert fills(tape((1, 99.0, 50.0, 1), (1, 101.0, 50.0, -1))) == []


def test_each_bars_quotes_join_the_back_of_the_queue() -> None:
    assert fills(tape((1, 99.0, 5.0, -1), (2, 99.0, 5.0, -1))) == []


def test_the_first_bar_has_no_quotes() -> None:
    assert fills(tape((0, 98.0, 5.0, -1))) == []


def test_inventory_never_exceeds_its_limit_on_either_side() -> None:
    through = tape(*((t, 98.0, 1.0, -1) for t in range(1, 9)))
    assert sum(units for _, _, units in fills(through, inventory=5.0, steps=9)) == 5.0
    other = tape(*((t, 102.0, 1.0, 1) for t in range(1, 9)))
    assert sum(units for _, _, units in fills(other, inventory=3.0, steps=9)) == -3.0


def test_a_quote_that_would_cross_the_open_is_not_placed() -> None:
    bars = flat_bars(2)
    made = run_market_making(
        bars, always(bars, 100.0, 101.0, 1.0), tape((1, 90.0, 9.0, -1)), FREE, 1_000.0,
        Quoting(queue_ahead=0, max_inventory=9),
    )  # fmt: skip
    assert len(made.units) == 0


def test_uninformed_flow_earns_the_spread_and_the_rebate() -> None:
    bars = flat_bars(3)
    trades = tape((1, 99.0, 2.0, -1), (2, 101.0, 2.0, 1))
    quoting = Quoting(queue_ahead=0, max_inventory=9, markout_bars=0)
    made = run_market_making(bars, always(bars, 99.0, 101.0, 2.0), trades, Costs(maker_fee=-0.001), 1_000.0, quoting)
    assert made.backtest.equity[-1] == pytest.approx(1_000 + 4 + 0.001 * (198 + 202))
    np.testing.assert_allclose(made.markouts, [2.0, 2.0])
    np.testing.assert_allclose(made.backtest.units[:, 0], [0, 2, 0])


def test_informed_flow_shows_as_a_markout_that_grows_worse() -> None:
    """Whoever sells to us knows that the price falls by 3 in the next bar."""
    bars = flat_bars(6)
    falling = np.array([100, 100, 97, 97, 97, 97.0])[:, None]
    bars = Bars(bars.ts, bars.symbols, falling, falling + 1, falling - 1, falling, bars.volume, bars.funding)
    trades = tape((1, 99.0, 1.0, -1))
    markouts = [
        run_market_making(
            bars, always(bars, 99.0, 101.0, 1.0), trades, FREE, 1_000.0,
            Quoting(queue_ahead=0, max_inventory=9, markout_bars=later),
        ).markouts[0]
        for later in (0, 1, 5)
    ]  # fmt: skip
    assert markouts[:2] == [1.0, -2.0]
    assert np.isnan(markouts[2])


def test_ruin_ends_it() -> None:
    bars = flat_bars(4)
    crash = np.array([100, 100, 40, 90.0])[:, None]
    bars = Bars(bars.ts, bars.symbols, crash, crash, crash, crash, bars.volume, bars.funding)
    quoting = Quoting(queue_ahead=0, max_inventory=99)
    made = run_market_making(
        bars, always(bars, 39.5, 101.0, 9.0), tape((1, 39.0, 9.0, -1), (2, 39.0, 9.0, -1)), FREE, 10.0, quoting
    )
    assert made.backtest.equity[-1] > 0
    made = run_market_making(
        bars, always(bars, 99.0, 101.0, 9.0), tape((1, 98.0, 9.0, -1), (3, 120.0, 9.0, 1)), FREE, 100.0, quoting
    )
    assert made.backtest.equity[2] == made.backtest.equity[3] == pytest.approx(100 + 9 * (40 - 99))
    assert len(made.units) == 1
    assert not made.backtest.units[2:].any()


@st.composite
def cases(draw: st.DrawFn) -> tuple[Bars, Quotes, Tape, Costs, Quoting]:
    steps, markets = draw(st.integers(1, 25)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (steps, markets)
    close = 100.0 + np.cumsum(rng.integers(-2, 3, shape), axis=0)
    open_ = close + rng.integers(-1, 2, shape)
    gone = rng.random(shape) < draw(st.sampled_from([0.0, 0.2]))
    open_[gone], close[gone] = np.nan, np.nan
    ts = np.datetime64("2024-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    high, low, volume = np.maximum(open_, close) + 1, np.minimum(open_, close) - 1, rng.lognormal(1, 1, shape)
    funding = np.where(rng.random(shape) < 0.2, rng.normal(0, 1e-3, shape), 0.0)
    bars = Bars(ts, tuple(f"M{m}/Q" for m in range(markets)), open_, high, low, close, volume, funding)
    middle = np.where(rng.random(shape) < 0.1, np.nan, close)
    quotes = Quotes(middle - rng.integers(1, 3, shape), middle + rng.integers(1, 3, shape),
                    rng.choice([0.0, 1.0, 2.5], shape), rng.choice([0.0, 1.0, 2.5], shape))  # fmt: skip
    count = draw(st.integers(0, 120))
    bar, market = np.sort(rng.integers(0, steps, count)), rng.integers(0, markets, count)
    level = np.where(np.isnan(close[bar, market]), 100.0, close[bar, market])
    trades = Tape(bar, market, level + rng.integers(-3, 4, count), rng.lognormal(0, 1, count),
                  rng.choice([-1.0, 1.0], count))  # fmt: skip
    if draw(st.booleans()):
        trades = tape_of_bars(bars)
    quoting = Quoting(
        queue_ahead=draw(st.sampled_from([0.0, 0.5, 2.0])), max_inventory=draw(st.sampled_from([0.7, 4.0, 500.0]))
    )
    return bars, quotes, trades, Costs(maker_fee=draw(st.sampled_from([-0.0002, 0.0, 0.001]))), quoting


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from([20.0, 10_000.0]))
def test_the_compiled_engine_equals_the_oracle(case: tuple[Bars, Quotes, Tape, Costs, Quoting], capital: float) -> None:
    bars, quotes, trades, costs, quoting = case
    made = run_market_making(bars, quotes, trades, costs, capital, quoting)
    slow, equity = run_market_making_oracle(bars, quotes, trades, costs, capital, quoting)
    fast = sorted(zip(made.bar.tolist(), made.market.tolist(), made.price.tolist(), made.units.tolist(), strict=True))
    assert fast == sorted(slow)
    np.testing.assert_allclose(made.backtest.equity, equity, rtol=1e-12, atol=1e-12 * 10_000)
    assert np.abs(made.backtest.units).max(initial=0.0) <= quoting.max_inventory * (1 + 1e-12)


def hourly(steps: int) -> Bars:
    rng = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.003, (steps, 1)), axis=0))
    open_ = np.vstack(([[100.0]], close[:-1]))
    ts = np.datetime64("2024-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    high, low = np.maximum(open_, close) * 1.003, np.minimum(open_, close) * 0.997
    return Bars(ts, ("BTC/USDT",), open_, high, low, close, np.full_like(close, 40.0), np.zeros_like(close))


def test_the_sample_strategy_sees_no_future_and_forgets_its_start() -> None:
    strategy = load_strategy(STRATEGIES, "market_making")
    parameters = strategy.parameters(lookback_hours=12, skew=0.5)
    bars = hourly(600)
    assert look_ahead_bars(strategy, parameters, bars) == ()
    assert warm_up_dependence(strategy, parameters, bars).sound
    quotes = strategy.quotes(bars, parameters)
    assert np.isnan(quotes.bid[:12]).all()
    assert np.isfinite(quotes.bid[13:]).all()


def test_positions_and_quotes_are_not_taken_for_each_other() -> None:
    strategy = load_strategy(STRATEGIES, "market_making")
    with pytest.raises(ValueError, match="quotes, not positions"):
        strategy.target_positions(hourly(50), strategy.parameters())
    momentum = load_strategy(STRATEGIES, "momentum")
    with pytest.raises(ValueError, match="positions, not quotes"):
        momentum.quotes(hourly(50), momentum.parameters())


def candidate(**changes: object) -> Candidate:
    fields: dict[str, object] = {
        "name": "some_maker",
        "owner": "team:research",
        "hypothesis": "Takers pay for immediacy, and the queue is short enough for us to be paid.",
        "strategy": "market_making",
        "type": "market_making",
        "venue": "sandbox",
        "universe": ("BTC/USDT",),
        "timeframe": "1h",
        "window": Window.model_validate({"start": "2024-01-01", "end": "2024-02-01"}),
        "parameters": {"lookback_hours": 12, "size": 0.5},
        "search_space": {"lookback_hours": (12, 24)},
        "capital": "1000",
        "costs": Costs(maker_fee=0.0001),
        "quoting": Quoting(queue_ahead=1.0, max_inventory=2.0),
        "strategy_sha256": load_strategy(STRATEGIES, "market_making").source_sha256,
    }
    return Candidate.model_validate({**fields, **changes})


def test_a_market_making_candidate_goes_through_trials_and_backtest(tmp_path: Path) -> None:
    strategy, bars = load_strategy(STRATEGIES, "market_making"), hourly(31 * 24)
    ledger = TrialLedger(tmp_path / "trials.jsonl")
    asked = {"run_id": "run", "recorded_at": datetime(2026, 1, 1, tzinfo=UTC)}
    rows = run_trials(candidate(), strategy, bars, ledger, **asked)
    assert rows.num_rows == ledger.count("market_making", ["BTC/USDT"]) == 2
    assert rows["sharpe_daily"].null_count == 0
    table = backtest_candidate(candidate(), strategy, bars, ledger, **asked)
    residuals = accounting_residuals(table, 1_000.0)
    assert set(residuals) == {"base", "costs_1.5x", "costs_2x"}
    assert max(residuals.values()) < 1e-9
    assert sum(table["fees"].to_pylist()) > 0


def test_quoting_is_stated_by_market_makers_and_by_nobody_else() -> None:
    with pytest.raises(ValueError, match="quoting: is given for market_making"):
        candidate(quoting=None)
    with pytest.raises(ValueError, match="quoting: is given for market_making"):
        candidate(type="swing")
