"""Which days a night makes, and which are late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.reports.nightly import LOOK_BACK, MOST_A_NIGHT, Late, due_days, late_days

TICK = datetime(2026, 3, 11, 2, 20, tzinfo=UTC)


def day(back: int) -> str:
    return (TICK - timedelta(days=back)).date().isoformat()


def test_a_night_makes_the_day_before_it_delivered_or_not() -> None:
    assert due_days({day(2)}, {day(1), day(2)}, TICK) == [day(1)]
    assert due_days({day(2)}, {day(2)}, TICK) == [day(1)]
    assert due_days({day(1)}, {day(1)}, TICK) == []


def test_nights_that_were_missed_are_caught_up_oldest_first() -> None:
    delivered = {day(back) for back in range(1, 5)}
    assert due_days({day(3)}, delivered, TICK) == [day(4), day(2), day(1)]


def test_a_day_that_nobody_delivered_is_asked_for_once_and_not_every_night() -> None:
    assert due_days({day(4)}, {day(4), day(2)}, TICK) == [day(2), day(1)]


def test_the_running_day_and_long_gone_ones_are_not_due() -> None:
    assert due_days(set(), {day(0), day(-1), day(LOOK_BACK.days + 1)}, TICK) == [day(1)]


def test_a_day_is_late_six_hours_after_its_end_and_an_undelivered_one_is_told_apart() -> None:
    noon = TICK.replace(hour=12)
    assert late_days({day(3)}, {day(3), day(1)}, noon) == Late((day(1),), (day(2),))
    assert late_days({day(3)}, {day(3), day(1)}, noon.replace(hour=5)) == Late((), (day(2),))
    assert late_days({day(3), day(2), day(1)}, set(), noon) == Late((), ())


def test_a_desk_without_any_day_is_late_with_the_last_one() -> None:
    assert late_days(set(), set(), TICK.replace(hour=12)) == Late((), (day(1),))


@given(st.sets(st.integers(-3, 60)), st.sets(st.integers(-3, 60)))
def test_nights_one_after_the_other_make_each_delivered_day_once_and_then_rest(made: set[int], given: set[int]) -> None:
    have, delivered = {day(each) for each in made}, {day(each) for each in given}
    nights = []
    for _ in range(12):
        due = due_days(have, delivered, TICK)
        assert due == sorted(due)
        assert len(due) <= MOST_A_NIGHT
        assert not have & set(due)
        nights += due
        have |= set(due)
    assert len(nights) == len(set(nights))
    assert due_days(have, delivered, TICK) == []
    assert have >= {each for each in delivered if day(LOOK_BACK.days) < each <= day(1)}
