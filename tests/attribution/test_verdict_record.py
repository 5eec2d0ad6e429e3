"""Days become the record that is judged, and a backtest an expectation without its luck."""

import math
from decimal import Decimal

import numpy as np
import pytest

from research_to_prod.attribution.shadow import Market, PairedDay
from research_to_prod.attribution.verdict_record import deflated_expectation, strategy_record

D = Decimal


def test_a_record_adds_up_the_markets_of_a_strategy_in_bps_of_its_capital():
    def day(symbol: str, shadow: int, live: int, selection: int | None) -> PairedDay:
        chosen = None if selection is None else D(selection)
        return PairedDay(Market("carry", symbol), D(shadow), D(live), chosen, D(0), orders=3)

    days = [[day("A/USDT", 10, 8, None), day("B/USDT", -4, -5, 2)], [day("A/USDT", 1, 1, None)]]
    record = strategy_record("carry", days, capital=D(10_000), expected=5.0)
    assert record.shadow.tolist() == [6.0, 1.0]
    assert record.live.tolist() == [3.0, 1.0]
    assert record.selection.tolist() == [2.0]
    assert (record.expected, record.orders) == (5.0, 9)
    with pytest.raises(ValueError, match=r"day 1 has no market; a day of carry is among them; the capital is 0"):
        strategy_record("swing", [days[0], []], capital=D(0), expected=5.0)


def test_the_expectation_is_what_luck_leaves_of_the_backtest():
    returns = np.random.default_rng(1).normal(0.0016, 0.01, 1095)
    few, many = deflated_expectation(returns, 2), deflated_expectation(returns, 500)
    assert 0 < many < few < 1e4 * returns.mean()
    # The best of 500 worthless trials of three years reaches an annual Sharpe ratio of about 1.76.
    assert 1e4 * returns.mean() - many == pytest.approx(1.76 / math.sqrt(365) * 1e4 * returns.std(), rel=0.05)
    with pytest.raises(ValueError, match="n_trials"):
        deflated_expectation(returns, 1)
