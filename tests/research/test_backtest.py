"""The backtest against arithmetic by hand, rule by rule; `test_engine_equality` holds it against its oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from research_to_prod.lake.schema import SchemaError
from research_to_prod.research.backtest import NEXT_OPEN, Backtest, run_backtest
from research_to_prod.research.bars import Bars
from research_to_prod.research.contracts import BACKTEST
from research_to_prod.research.costs import Costs
from research_to_prod.research.terms import Execution, Instrument, Liquidity

FREE = Costs(taker_fee=0, half_spread=0, impact=0)


def make_bars(open_: list[float], close: list[float], funding: list[float] | None = None) -> Bars:
    columns = [np.array(each, float)[:, None] for each in (open_, close, funding or [0.0] * len(open_))]
    ts = np.datetime64("2024-01-01", "us") + np.arange(len(open_)) * np.timedelta64(1, "h")
    o, c, f = columns
    return Bars(ts, ("A/B",), o, np.maximum(o, c), np.minimum(o, c), c, np.full_like(o, 1e6), f)


def column(*weights: float) -> np.ndarray:
    return np.array(weights, float)[:, None]


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


def trade(
    *weights: float, bars: Bars | None = None, costs: Costs = FREE, execution: Execution = NEXT_OPEN, **terms: float
) -> Backtest:
    """Run on a market at 100, capital 1,000, with the given terms."""
    bars = bars or make_bars([100] * len(weights), [100] * len(weights))
    instruments = {bars.symbols[0]: Instrument(**terms)}  # type: ignore[arg-type]
    return run_backtest(bars, column(*weights), costs, 1_000.0, execution, instruments)


def test_units_are_rounded_towards_zero_to_whole_contracts() -> None:
    assert trade(0.87, 0.87, lot=2, contract_size=0.5).units[1, 0] == pytest.approx(8.0)
    assert trade(-0.87, -0.87, lot=2, contract_size=0.5).units[1, 0] == pytest.approx(-8.0)
    assert trade(0.03, 0.03, lot=0.1).units[1, 0] == pytest.approx(0.3)
    assert trade(0.01, 0.01, lot=1).trades == 0


def test_the_price_after_the_half_spread_is_rounded_against_us_to_the_tick() -> None:
    # 100 + 1 bp is 100.01: with ticks of 0.25 a buy pays 100.25 and a sale gets 99.75.
    costs = Costs(taker_fee=0, half_spread=0.0001)
    result = trade(0.5, 0.0, 0.0, costs=costs, tick=0.25)
    np.testing.assert_allclose(result.spread_cost, [0, 5 * 0.25, 5 * 0.25])


def test_an_order_below_the_smallest_notional_waits_until_it_is_large_enough() -> None:
    bars = make_bars([100, 100, 100, 50, 50], [100, 100, 100, 50, 50])
    weights = (0.5, 0.53, 0.53, 0.53, 0.53)
    # 3 % of 1,000 is too small; after the fall the weight lacks 12 % of 750.
    result = trade(*weights, bars=bars, min_notional=100)
    np.testing.assert_allclose(result.units[:, 0], [0, 5, 5, 7.95, 7.95])


def test_flattening_a_perpetual_is_never_too_small_and_leaving_dust_on_spot_is() -> None:
    bars = make_bars([100, 100, 1, 1], [100, 100, 1, 1])
    perpetual = replace(bars, symbols=("A/B:B",))
    assert trade(0.5, 0, 0, 0, bars=bars, min_notional=100).units[3, 0] == 5
    assert trade(0.5, 0, 0, 0, bars=perpetual, min_notional=100).units[3, 0] == 0


def test_a_position_is_cut_to_the_largest_leverage() -> None:
    assert trade(5, 5, max_leverage=2).units[1, 0] == pytest.approx(20)
    assert trade(-5, -5, max_leverage=2).units[1, 0] == pytest.approx(-20)


def test_what_exceeds_the_share_of_a_bars_volume_is_carried_to_the_next_bars() -> None:
    bars = replace(make_bars([100] * 5, [100] * 5), volume=np.full((5, 1), 40.0))
    result = trade(1, 1, 1, 1, 1, bars=bars, execution=Execution(participation_cap=0.1))
    np.testing.assert_allclose(result.units[:, 0], [0, 4, 8, 10, 10])
    assert result.trades == 3


def test_a_makers_order_fills_only_where_the_bar_trades_through_it_and_pays_the_makers_fee() -> None:
    costs = Costs(taker_fee=0.01, maker_fee=-0.001, half_spread=0.01)
    maker = Execution(liquidity=Liquidity.MAKER)
    bars = make_bars([100, 100, 100], [100, 101, 99])
    result = trade(0.5, 0.5, 0.5, bars=bars, costs=costs, execution=maker)
    np.testing.assert_allclose(result.units[:, 0], [0, 0, 5])
    np.testing.assert_allclose(result.fees, [0, 0, -0.5])
    assert not result.spread_cost.any()


def test_a_spot_short_pays_for_what_it_borrowed() -> None:
    result = trade(-1, -1, -1, borrow_rate=0.0876)
    # An hour of 8.76 % a year on 1,000, from the bar after the one that sold.
    np.testing.assert_allclose(result.borrow_cost, [0, 0, 0.01])
    assert not trade(1, 1, 1, borrow_rate=0.0876).borrow_cost.any()


def test_a_position_without_margin_is_closed_at_the_bars_worst_price_and_pays_for_it() -> None:
    bars = make_bars([100, 100, 100, 100], [100, 100, 100, 120])
    low = np.array([[100.0], [100.0], [82.0], [100.0]])
    result = trade(5, 5, 5, 5, bars=replace(bars, low=low), maintenance_margin=0.03, liquidation_fee=0.01)
    # 50 units at 82 are worth 4,100 and need 123; equity is 1,000 - 900 = 100.
    np.testing.assert_allclose(result.units[:, 0], [0, 50, 0, 0])
    np.testing.assert_allclose(result.liquidation_cost, [0, 0, 41, 0])
    np.testing.assert_allclose(result.equity, [1_000, 1_000, 59, 59])


def test_a_short_is_liquidated_at_the_high_and_a_gap_at_the_open() -> None:
    bars = make_bars([100, 100, 100, 100], [100, 100, 100, 100])
    high = replace(bars, high=np.array([[100.0], [118.0], [100.0], [100.0]]))
    assert trade(-5, -5, -5, -5, bars=high, maintenance_margin=0.03).equity[1] == pytest.approx(100)
    gap = make_bars([100, 100, 82, 120], [100, 100, 120, 120])
    assert trade(5, 5, 5, 5, bars=gap, maintenance_margin=0.03).equity[2] == pytest.approx(100)


def test_after_a_liquidation_a_market_trades_again_when_its_target_changes() -> None:
    bars = make_bars([100] * 5, [100] * 5)
    low = np.array([[100.0], [100.0], [82.0], [100.0], [100.0]])
    result = trade(5, 5, 5, 1, 1, bars=replace(bars, low=low), maintenance_margin=0.03)
    np.testing.assert_allclose(result.units[:, 0], [0, 50, 0, 0, 1])


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
