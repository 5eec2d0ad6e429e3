"""What our requests say of a venue: counted over minutes, and nothing said of what was not asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from research_to_prod.market_data.traffic import Bracket, Heard, Traffic
from research_to_prod.operations.alerting.venue_measures import VenueLook, incomplete_in_a_row, observe_venue, skew_of
from tests.operations.alerting.book import NOON

SECOND = timedelta(seconds=1)


def heard(seconds_ago: float, **counts: Any) -> Heard:
    return Heard(venue="sandbox", at=NOON - seconds_ago * SECOND, **counts)


def told(*spells: Heard, **look: Any) -> dict[str, tuple[float | None, int | None]]:
    return {o.metric: (o.value, o.count) for o in observe_venue(VenueLook("sandbox", spells, **look), NOON)}


def bracket(off: float, took: float, step: float = 0.001) -> Bracket:
    """Our question at noon, and a venue whose clock is ahead by ``off`` seconds."""
    step_of = timedelta(seconds=step)
    true = NOON + took / 2 * SECOND + off * SECOND
    # A venue cuts its time to its step.
    return Bracket(NOON, NOON + took * SECOND, NOON + (true - NOON) // step_of * step_of, step_of)


def test_of_nothing_asked_nothing_is_known() -> None:
    assert told() == dict.fromkeys(("server_errors", "clock_refusals"), (None, 0)) | dict.fromkeys(
        ("rate_budget", "venue_bans"), (None, None)
    )


def test_servers_errors_are_a_share_of_the_answers_of_two_minutes_by_all_clients() -> None:
    spells = (heard(10, answers=6, server_errors=3), heard(100, answers=6), heard(130, answers=90, server_errors=90))
    assert told(*spells)["server_errors"] == (0.25, 12)


def test_requests_without_an_answer_are_no_answers() -> None:
    assert told(heard(10, unanswered=30))["server_errors"] == (None, 0)
    assert told(heard(10, unanswered=30))["venue_bans"] == (None, None)


def test_what_comes_after_the_moment_is_not_known_yet() -> None:
    assert told(heard(-10, answers=6, server_errors=6, signed=1, clock_refusals=1)) == told()


def test_timestamps_can_be_refused_of_signed_requests_only() -> None:
    assert told(heard(10, answers=5))["clock_refusals"] == (None, 0)
    assert told(heard(10, answers=5, signed=2))["clock_refusals"] == (0, 2)
    assert told(heard(290, answers=5, signed=2, clock_refusals=1))["clock_refusals"] == (1, 2)


def test_the_budget_is_that_of_the_host_with_least_left() -> None:
    spells = (heard(10, used={"/api/": 0.2}), heard(70, used={"/fapi/": 0.8}), heard(200, used={"/api/": 0.99}))
    (found,) = [o for o in observe_venue(VenueLook("sandbox", spells), NOON) if o.metric == "rate_budget"]
    assert (found.value, found.evidence) == (0.8, "/fapi/")


def test_a_ban_is_counted_and_stands_for_as_long_as_it_keeps_us_from_asking() -> None:
    assert told(heard(10, answers=2))["venue_bans"] == (0, None)
    assert told(heard(10, answers=2, bans=1))["venue_bans"] == (1, None)
    assert told(banned=True)["venue_bans"] == (1, None)


@pytest.mark.parametrize("off", [0.6, -0.6, 0.05])
def test_the_skew_is_the_distance_from_the_middle_of_the_question(off: float) -> None:
    assert skew_of(bracket(off, took=0.04)) == pytest.approx(abs(off), abs=0.001)


def test_a_slow_answer_calls_no_clock_right_and_a_wrong_one_still_wrong() -> None:
    assert skew_of(bracket(0.0, took=3)) is None
    assert skew_of(bracket(1.0, took=3)) is None
    assert skew_of(bracket(5.0, took=3)) == pytest.approx(5, abs=0.001)


def test_a_venue_that_tells_whole_seconds_calls_no_clock_right() -> None:
    assert skew_of(bracket(0.0, took=0.04, step=1)) is None
    assert skew_of(bracket(2.0, took=0.04, step=1)) == pytest.approx(2, abs=0.5)


def test_a_question_that_was_answered_later_is_not_known_yet() -> None:
    assert "clock_skew" not in told(bracket=bracket(0.6, took=0.04))


@pytest.mark.parametrize(
    ("looks", "run"), [([0, 1, 2], 2), ([1, 2, 0], 0), ([3, 1, 1], 3), ([0], 0), ([], None)], ids=str
)
def test_readings_in_a_row_that_are_not_complete_are_counted_from_the_newest_back(
    looks: list[int], run: int | None
) -> None:
    """Of six fetches each, so many not complete; oldest first, five minutes apart, other spells between them."""
    newest = 240
    spells = [heard(newest + 300 * back, fetches=6, incomplete=each) for back, each in enumerate(reversed(looks))]
    others = (heard(10, answers=5), heard(-20, fetches=6, incomplete=6))
    found = list(incomplete_in_a_row([*spells, *others], "sandbox", NOON))
    assert [each.value for each in found] == ([] if run is None else [run])
    assert all(each.at == NOON - newest * SECOND and each.count == len(looks) for each in found)
    assert list(incomplete_in_a_row(spells, "another", NOON)) == []


def test_a_client_counts_by_spells_and_remembers_ten_minutes() -> None:
    traffic = Traffic("sandbox")
    for second, used in ((0, 0.1), (9, 0.3), (10, 0.2)):
        traffic.note(NOON + second * SECOND, {"/api/": used}, answers=1)
    assert [(each.answers, each.used) for each in traffic.spells] == [(2, {"/api/": 0.3}), (1, {"/api/": 0.2})]
    traffic.note(NOON + timedelta(minutes=10, seconds=5), {}, unanswered=1)
    assert [each.answers for each in traffic.spells] == [2, 1, 0]
    traffic.note(NOON + timedelta(minutes=11), {}, unanswered=1)
    assert [each.answers for each in traffic.spells] == [0, 0]
