"""What the book could lose: the formulas against numbers worked by hand, and the laws that they keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.operations.book_risk import Contract, expected_shortfall, funding_due, liquidation_distance

MIDNIGHT = datetime(2026, 1, 6, tzinfo=UTC)
EIGHT = timedelta(hours=8)
MONEY = st.floats(1, 1e7)
DEVIATION = st.floats(1e-5, 0.2)


def test_the_shortfall_of_a_normal_tail_is_the_textbook_s() -> None:
    """2.338 deviations at 97.5 %: phi(1.95996) = 0.05845, over 0.025."""
    assert expected_shortfall([(1.0, [1.0])], 0.975) == pytest.approx(2.3378, abs=1e-4)
    assert expected_shortfall([(1.0, [1.0])], 0.99) == pytest.approx(2.6652, abs=1e-4)


@given(MONEY, st.lists(DEVIATION, min_size=1, max_size=24), MONEY, st.lists(DEVIATION, min_size=1, max_size=24))
def test_the_shortfall_of_two_positions_is_the_sum_of_theirs_and_grows_with_time(
    one: float, ahead: list[float], other: float, later: list[float]
) -> None:
    both = expected_shortfall([(one, ahead), (other, later)], 0.975)
    alone = expected_shortfall([(one, ahead)], 0.975), expected_shortfall([(other, later)], 0.975)
    assert both == pytest.approx(sum(alone))
    assert expected_shortfall([(one, [*ahead, 0.01])], 0.975) > alone[0]


def test_a_book_without_positions_loses_nothing() -> None:
    assert expected_shortfall([], 0.975) == 0


@given(st.floats(1, 1e7), st.lists(st.tuples(MONEY, st.floats(0, 0.2)), min_size=1, max_size=4))
def test_at_the_distance_what_is_left_is_what_the_venue_demands(
    equity: float, given: list[tuple[float, float]]
) -> None:
    contracts = [Contract(*each) for each in given]
    distance = liquidation_distance(equity, contracts)
    assert distance is not None
    value = sum(each.value for each in contracts)
    margin = sum(each.value * each.maintenance_margin for each in contracts)
    left, demanded = equity - distance * value, margin * (1 + distance)
    if equity > margin:
        assert left == pytest.approx(demanded, rel=1e-6, abs=1e-6 * value)
    else:
        assert distance == 0


def test_without_a_contract_there_is_no_distance() -> None:
    assert liquidation_distance(1000, []) is None


def test_the_next_payment_is_one_interval_on_and_a_long_pays_a_positive_rate() -> None:
    stamped = [(MIDNIGHT - EIGHT, 0.0002), (MIDNIGHT + timedelta(milliseconds=7), 0.0001)]
    due = funding_due(200_000, stamped, MIDNIGHT + timedelta(hours=1))
    assert due is not None
    assert (due.due_at, due.rate, due.received) == (MIDNIGHT + EIGHT, 0.0001, -20.0)
    short = funding_due(-200_000, stamped, MIDNIGHT + timedelta(hours=1))
    assert short is not None
    assert short.received == 20.0


@given(st.integers(0, 100_000))
def test_the_next_payment_is_always_ahead_by_at_most_an_interval(minutes: int) -> None:
    now = MIDNIGHT + timedelta(minutes=minutes)
    due = funding_due(1.0, [(MIDNIGHT - EIGHT, 0.0), (MIDNIGHT, 0.0)], now)
    assert due is not None
    assert timedelta(0) < due.due_at - now <= EIGHT
    assert (due.due_at - MIDNIGHT) % EIGHT == timedelta(0)


def test_with_one_payment_or_two_at_once_the_interval_is_not_known() -> None:
    assert funding_due(1.0, [(MIDNIGHT, 0.1)], MIDNIGHT) is None
    assert funding_due(1.0, [(MIDNIGHT, 0.1), (MIDNIGHT, 0.1)], MIDNIGHT) is None
