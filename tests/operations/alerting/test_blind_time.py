"""The blind-time budget: the worked example of the research, and the laws that it obeys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.operations.alerting.blind_time import Stake, blind_time, exit_cost, hours_to_unwind
from tests.operations.alerting.book import DAY, POLICY

TERMS = POLICY.settings.blind_time
BUDGET = 5_000.0
# Binance BTC/FDUSD within 10 bp, July and August 2025 (Amberdata): 3.86 million at 11 UTC, 2.36 million at 21 UTC.
AT_11 = Stake(2e6, 0.03 / DAY, 0.5e-4, 3.86e6, 5e7)
AT_21 = replace(AT_11, depth=2.36e6)


def test_two_million_at_eleven_may_be_blind_for_forty_seconds_at_twenty_one_for_twenty_seven() -> None:
    assert blind_time([AT_11], BUDGET, TERMS).seconds == pytest.approx(40, abs=0.5)
    assert blind_time([AT_21], BUDGET, TERMS).seconds == pytest.approx(27, abs=0.5)


def test_in_a_storm_the_exit_alone_costs_more_than_the_budget_so_that_the_position_is_reduced_first() -> None:
    found = blind_time([replace(AT_21, volatility=0.12 / DAY, depth=0.2 * 2.36e6)], BUDGET, TERMS)
    assert found.exit_cost == pytest.approx(8_600, abs=50)
    assert found.reduce_first
    assert found.seconds == TERMS.shortest.value


def test_a_tenth_of_the_position_may_be_blind_for_nearly_two_hours() -> None:
    assert blind_time([replace(AT_21, value=2e5)], BUDGET, TERMS).seconds / 60 == pytest.approx(110, abs=1)


def test_a_flat_book_may_be_blind_for_a_day() -> None:
    assert blind_time([], BUDGET, TERMS).seconds == TERMS.longest.value
    assert blind_time([replace(AT_21, value=0.0, depth=0.0)], BUDGET, TERMS).seconds == TERMS.longest.value


def test_a_market_without_volatility_may_be_blind_for_a_day() -> None:
    assert blind_time([replace(AT_21, volatility=0.0)], BUDGET, TERMS).seconds == TERMS.longest.value


positive = st.floats(1e-2, 1e9, allow_subnormal=False)
stakes = st.builds(Stake, positive, st.floats(0, 1e-2), st.floats(0, 1e-2), positive, positive)


@given(st.lists(stakes, min_size=1, max_size=4), positive)
def test_it_stays_within_its_limits_and_more_at_stake_never_lengthens_it(book: list[Stake], budget: float) -> None:
    less, more = blind_time(book[1:], budget, TERMS), blind_time(book, budget, TERMS)
    assert TERMS.shortest.value <= more.seconds <= less.seconds <= TERMS.longest.value
    assert more.exit_cost >= less.exit_cost


@given(stakes, positive, st.floats(1, 10))
def test_a_thinner_or_wilder_market_and_a_smaller_budget_never_lengthen_it(
    stake: Stake, budget: float, times: float
) -> None:
    usual = blind_time([stake], budget, TERMS).seconds
    assert blind_time([replace(stake, depth=stake.depth / times)], budget, TERMS).seconds <= usual
    assert blind_time([replace(stake, volatility=stake.volatility * times)], budget, TERMS).seconds <= usual
    assert blind_time([stake], budget / times, TERMS).seconds <= usual


def test_the_exit_cost_is_the_half_spread_and_the_walk_to_where_the_position_ends() -> None:
    assert exit_cost(AT_11) == pytest.approx(2e6 * 0.5e-4 + 2e6 * 1e-3 * 2e6 / 3.86e6)


def test_the_time_to_unwind_is_that_of_the_slowest_position_at_a_tenth_of_the_volume() -> None:
    slow = replace(AT_11, value=1e6, hour_volume=1e6)
    assert hours_to_unwind([AT_11, slow], TERMS) == pytest.approx(10)
    assert hours_to_unwind([], TERMS) == 0
