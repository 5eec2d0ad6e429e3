"""Pre-set limits follow from the capital allocation, and from nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.gates.limits import PreSetLimits, pre_set_limits
from research_to_prod.values import Stage, StrategyType
from tests.gates.good_evidence import POLICY

ALLOCATION = POLICY.allocation
MARKETS = ("BTC/USDT", "ETH/USDT:USDT")
PAID = st.decimals(min_value="100", max_value="1e8", places=2)


def limits(
    stage: Stage = Stage.LIVE,
    asked: Decimal | None = Decimal(100_000),
    markets: tuple[str, ...] = MARKETS,
    strategy_type: StrategyType = StrategyType.SWING,
) -> PreSetLimits:
    return pre_set_limits(strategy_type, markets, asked, ALLOCATION, stage)


def test_live_gets_what_it_asks_for_and_the_leverage_of_its_type() -> None:
    assert limits() == PreSetLimits(Decimal(100_000), "USDT", Decimal(150_000), Decimal(300_000), 2)


def test_a_canary_of_the_sample_desk_is_held_by_the_smaller_of_both_bounds() -> None:
    # A quarter is lost at the hard stop of swing: 10 bp of 2,000,000, or 5 % of what it asks for.
    assert limits(Stage.CANARY, Decimal(100_000)).capital == Decimal(8_000)
    assert limits(Stage.CANARY, Decimal(10_000)).capital == Decimal(2_000)
    assert limits(Stage.CANARY).max_position_value == Decimal(24_000)


@given(asked=PAID, strategy_type=st.sampled_from(StrategyType))
def test_a_canary_that_is_stopped_costs_no_more_than_the_book_and_its_future_bear(
    asked: Decimal, strategy_type: StrategyType
) -> None:
    capital = limits(Stage.CANARY, asked, strategy_type=strategy_type).capital
    assert capital is not None
    lost = float(capital) * ALLOCATION.types[strategy_type].drawdown_limit.value
    assert lost <= 0.001 * ALLOCATION.book_capital.value * (1 + 1e-12)
    assert lost <= 0.05 * float(asked) * (1 + 1e-12)
    assert capital <= asked


@given(asked=PAID, strategy_type=st.sampled_from(StrategyType), stage=st.sampled_from([Stage.CANARY, Stage.LIVE]))
def test_no_order_is_larger_than_the_position_and_no_limit_is_missing(
    asked: Decimal, strategy_type: StrategyType, stage: Stage
) -> None:
    found = limits(stage, asked, strategy_type=strategy_type)
    assert found.missing == ()
    assert found.max_order_value is not None
    assert found.max_position_value is not None
    assert 0 < found.max_order_value <= found.max_position_value


@pytest.mark.parametrize("markets", [("BTC/USD",), ("BTC/USDT", "BTC/USD"), ("BTC/USD:BTC",), ()])
def test_amounts_in_another_currency_than_the_allocations_are_no_limits(markets: tuple[str, ...]) -> None:
    assert limits(markets=markets).missing == ("capital", "currency", "max_order_value", "max_position_value")


def test_a_limit_that_rounds_to_nothing_is_missing() -> None:
    assert "capital" in limits(asked=Decimal("0.001")).missing
    assert "capital" in limits(asked=None).missing
