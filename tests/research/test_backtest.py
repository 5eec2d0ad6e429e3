"""The backtest against arithmetic by hand, rule by rule; `test_engine_equality` holds it against its oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from research_to_prod.lake.schema import SchemaError
from research_to_prod.research.backtest import Backtest, run_backtest
from research_to_prod.research.bars import Bars
from research_to_prod.research.contracts import BACKTEST
from research_to_prod.research.costs import Costs
from research_to_prod.research.terms import Execution, Instrument

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
