"""Escalation: an unread page goes on to the next person, and a costly one to the mitigation ladder."""

from __future__ import annotations

from pathlib import Path

import pytest

from research_to_prod.operations.incidents.escalation import overdue
from research_to_prod.operations.incidents.lifecycle import Status
from tests.operations.alerting.book import ACCOUNT, POLICY, context, held, reading
from tests.operations.incidents.firings import Play, pages

PAGING = POLICY.settings.paging
STALE = reading("market_data_age", 100)
LOST = reading("unknown_orders", 1, ACCOUNT)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_an_unread_p2_reaches_the_second_after_fifteen_minutes_and_the_owner_after_forty_five(play: Play) -> None:
    play.see(STALE)
    assert play.wait(899) == []
    assert pages(play.wait(1)) == ["P2 md_stale to second"]
    assert play.wait(1799) == []
    assert pages(play.wait(1)) == ["P2 md_stale to owner"]
    assert play.wait(86_400) == []


def test_an_unread_p1_reaches_the_second_after_five_minutes_and_the_owner_after_fifteen(play: Play) -> None:
    play.see(LOST, about=context())
    assert pages(play.wait(300)) == ["P1 unknown_order to second"]
    assert pages(play.wait(600)) == ["P1 unknown_order to owner"]


def test_an_unread_p1_asks_for_the_ladder_when_the_book_can_bear_no_more(play: Play) -> None:
    """2 million at 11 UTC bear 39.8 s, long before the second person's five minutes."""
    play.see(LOST, about=context(held(2e6)))
    assert play.wait(39) == []
    assert not overdue(play.only, PAGING, play.now)
    assert pages(play.wait(1)) == ["P1 unknown_order to ladder"]
    assert overdue(play.only, PAGING, play.now)
    assert pages(play.wait(260)) == ["P1 unknown_order to second"]
    play.person(play.only, Status.ACKED)
    assert not overdue(play.only, PAGING, play.now)


def test_where_the_blind_time_is_not_known_an_unread_p1_asks_when_the_second_person_is_told(play: Play) -> None:
    play.see(LOST, about=context(held(None)))
    assert play.only.page is not None
    assert play.only.page.blind_seconds is None
    assert play.wait(299) == []
    assert not overdue(play.only, PAGING, play.now)
    assert pages(play.wait(1)) == ["P1 unknown_order to ladder", "P1 unknown_order to second"]
    assert overdue(play.only, PAGING, play.now)


def test_a_flat_book_never_asks_for_the_ladder(play: Play) -> None:
    play.see(LOST, about=context())
    steps = play.wait(100_000)
    assert pages(steps) == ["P1 unknown_order to second", "P1 unknown_order to owner"]


def test_whoever_takes_it_ends_the_escalation_and_reopening_begins_it_anew(play: Play) -> None:
    play.see(STALE)
    play.wait(900)
    play.person(play.only, Status.ACKED, Status.RESOLVED)
    assert play.wait(10_000) == []
    play.states.clear()
    play.see(STALE)
    assert pages(play.wait(900)) == ["P2 md_stale to second"]


def test_what_went_calm_by_itself_wakes_nobody_else(play: Play) -> None:
    play.see(STALE)
    for after in (30, 30):
        play.see(reading("market_data_age", 0.1), after=after)
    assert play.wait(10_000) == []


def test_a_turn_that_comes_late_takes_every_step_that_is_due(play: Play) -> None:
    play.see(STALE)
    assert pages(play.wait(10_000)) == ["P2 md_stale to second", "P2 md_stale to owner"]
