"""From firing to incident: one page a cause, news is told, and what a parent hides speaks when the parent ends."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.operations.incidents.fingerprint import fingerprint
from research_to_prod.operations.incidents.lifecycle import Status
from research_to_prod.operations.incidents.store import IncidentStore
from tests.operations.alerting.book import ACCOUNT, BTC, ETH, NOON, VENUE, context, held, reading
from tests.operations.incidents.firings import Play, pages

DOWN, UP = reading("venue_not_ok", 1, VENUE), reading("venue_not_ok", 0, VENUE)
STALE, FRESH = reading("market_data_age", 100, BTC), reading("market_data_age", 0.1, BTC)
BREAK = reading("position_break_lots", 3, ACCOUNT)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_a_fingerprint_does_not_change_with_how_bad_it_is(play: Play) -> None:
    play.see(STALE)
    for value, regime in ((1000, Regime.NORMAL), (5000, Regime.STRESSED)):
        play.see(reading("market_data_age", value), after=60, about=context(held(), regime=regime))
    assert play.only.occurrences == 3
    assert play.only.opened.fingerprint == fingerprint("test", "md_stale", BTC)


def test_every_part_of_what_it_is_about_makes_another_fingerprint() -> None:
    subjects = [Subject(*("x" if place == each else "" for place in range(5))) for each in range(5)]
    marks = {fingerprint("test", "md_stale", each) for each in (Subject(), *subjects)}
    marks |= {fingerprint("live", "md_stale", Subject()), fingerprint("test", "md_gap", Subject())}
    assert len(marks) == 8


def test_the_first_firing_pages_and_the_next_are_only_counted(play: Play) -> None:
    assert pages(play.see(STALE)) == ["P2 md_stale to on-call"]
    assert play.see(STALE, after=60) == []
    assert play.only.occurrences == 2


def test_what_goes_on_costs_a_short_line_a_moment_however_much_it_is(play: Play) -> None:
    path = play.folder / "incidents.jsonl"
    play.see(STALE, BREAK, DOWN)
    play.see(STALE, BREAK, DOWN, after=60)
    before = path.stat().st_size
    for _ in range(10):
        play.see(STALE, BREAK, DOWN, after=60)
    assert path.stat().st_size - before <= 10 * 80
    assert [each.occurrences for each in play.store.read().all()] == [12, 12, 12]
    play.see(STALE, BREAK, UP, after=60)
    play.store = IncidentStore(path)  # another process
    play.see(STALE, BREAK, UP, after=60)
    counts = {each.opened.rule: each.occurrences for each in play.store.read().all()}
    assert counts == {"md_stale": 14, "position_break": 14, "venue_status": 14}  # its calm has not lasted yet
    assert IncidentStore(path).read().all() == play.store.read().all()


def test_what_gets_worse_pages_again(play: Play) -> None:
    play.see(STALE)
    assert pages(play.see(STALE, after=60, about=context(held(), regime=Regime.STRESSED))) == ["P1 md_stale to on-call"]
    assert play.see(STALE, after=60) == []
    assert play.only.severity is Severity.P1


def test_what_woke_nobody_ends_by_itself_and_what_did_waits_for_a_person(play: Play) -> None:
    play.see(reading("basis", 60, ETH))
    play.see(reading("basis", 60, ETH), after=60)
    for after in (60, 300):
        play.see(reading("basis", 0, ETH), after=after)
    assert play.only.status is Status.RESOLVED
    play.see(STALE)
    for after in (30, 30):
        play.see(FRESH, after=after)
    (page,) = play.open
    assert (page.status, page.calm) == (Status.MITIGATED, True)


def test_what_went_calm_and_comes_back_pages_again(play: Play) -> None:
    play.see(STALE)
    for after in (30, 30):
        play.see(FRESH, after=after)
    (step,) = play.see(STALE, after=600)
    assert step.to is Status.REOPENED
    assert pages([step]) == ["P2 md_stale to on-call"]


def test_within_a_day_it_is_the_same_incident_and_later_another_one(play: Play) -> None:
    play.see(BREAK)
    play.person(play.only, Status.ACKED, Status.RESOLVED)
    play.states.clear()
    play.see(BREAK, after=86_000)
    assert (play.only.status, play.only.acked_by) == (Status.REOPENED, None)
    play.person(play.only, Status.ACKED, Status.RESOLVED)
    play.states.clear()
    play.see(BREAK, after=90_000)
    assert len(play.store.read().all()) == 2


def test_a_person_s_mitigation_is_not_doubted_while_the_cause_lasts(play: Play) -> None:
    play.see(STALE)
    play.person(play.only, Status.ACKED, Status.MITIGATING, Status.MITIGATED)
    assert play.see(STALE, after=60) == []


def test_a_venue_outage_is_one_page(play: Play) -> None:
    silent = [reading("market_data_age", 100, Subject("sandbox", instrument=f"C{n}/USDT")) for n in range(30)]
    slow = reading("ack_latency", 9, VENUE, count=10, usual=0.1)
    steps = play.see(*silent, slow, DOWN)
    assert pages(steps) == ["P2 venue_status to on-call"]
    statuses = [each.status for each in play.store.read().all()]
    assert (statuses.count(Status.DETECTED), statuses.count(Status.MERGED)) == (1, 31)


def test_what_costs_money_pages_beside_the_outage(play: Play) -> None:
    assert pages(play.see(BREAK, DOWN)) == ["P2 venue_status to on-call", "P2 position_break to on-call"]


def test_a_part_as_severe_as_its_parent_is_not_makes_the_parent_so(play: Play) -> None:
    play.see(DOWN)
    stressed = context(held(), regime=Regime.STRESSED)
    assert pages(play.see(DOWN, STALE, after=60, about=stressed)) == ["P1 venue_status to on-call"]


def test_what_the_outage_hid_speaks_when_the_outage_has_ended(play: Play) -> None:
    play.see(DOWN, STALE)
    assert pages(play.see(UP, STALE, after=60)) == []  # not calm for long enough to be over
    assert pages(play.see(UP, STALE, after=300)) == ["P2 md_stale to on-call"]


def test_what_the_outage_hid_speaks_when_somebody_resolves_the_outage_too_early(play: Play) -> None:
    play.see(DOWN, STALE)
    (parent,) = play.open
    play.person(parent, Status.ACKED, Status.RESOLVED)
    assert pages(play.see(UP, STALE, after=60)) == ["P2 venue_status to on-call"]
    assert play.store.read().get(parent.id).status is Status.REOPENED


def test_what_flaps_while_nobody_is_on_it_pages_each_time(play: Play) -> None:
    play.see(STALE)
    for after in (30, 30):
        play.see(FRESH, after=after)
    assert pages(play.see(STALE, after=200)) == ["P2 md_stale to on-call"]


def test_a_worse_part_makes_its_cause_as_bad(play: Play) -> None:
    one, other = (Subject("sandbox", "main", key=each) for each in ("b1", "b2"))
    play.see(reading("position_break_lots", 1, one))
    steps = play.see(reading("position_sign_flips", 1, other), after=100)
    assert pages(steps) == ["P1 position_break to on-call"]
    assert [each.severity for each in play.open] == [Severity.P1]


def test_what_flaps_while_somebody_is_on_it_wakes_nobody_again(play: Play) -> None:
    play.see(STALE)
    play.person(play.only, Status.ACKED)
    for after in (30, 30):
        play.see(FRESH, after=after)
    (step,) = play.see(STALE, after=200)
    assert (step.to, step.page, play.only.acked_by) == (Status.MITIGATING, None, "user:ana")


def test_an_alerter_that_has_forgotten_everything_resolves_nothing_that_it_does_not_see(play: Play) -> None:
    play.see(BREAK)
    play.states.clear()
    assert play.see(reading("position_break_lots", None, ACCOUNT), after=60) == []
    assert play.only.status is Status.DETECTED


def test_a_part_that_ends_before_its_parent_ends_quietly(play: Play) -> None:
    play.see(DOWN, STALE)
    for after in (60, 30):
        steps = play.see(DOWN, FRESH, after=after)
    assert [(step.to, step.page) for step in steps] == [(Status.RESOLVED, None)]


def test_the_same_rule_at_one_account_a_moment_later_is_the_same_cause_and_after_five_minutes_news(play: Play) -> None:
    first, second, third = (Subject("sandbox", "main", key=f"b{n}") for n in range(3))
    play.see(reading("position_break_lots", 1, first))
    assert pages(play.see(reading("position_break_lots", 1, second), after=200)) == []
    assert pages(play.see(reading("position_break_lots", 1, third), after=200)) == ["P2 position_break to on-call"]


def test_a_suppressed_incident_speaks_when_its_time_is_over_and_it_still_fires(play: Play) -> None:
    play.see(STALE)
    play.person(play.only, Status.SUPPRESSED, until=play.now + timedelta(hours=1), note="the feed is being moved")
    assert play.see(STALE, after=3_000) == []
    assert pages(play.see(STALE, after=700)) == ["P2 md_stale to on-call"]


def test_an_announced_event_tells_nothing_and_opens_nothing(play: Play) -> None:
    hole = reading("market_data_gap", 900, ETH)
    assert play.see(hole, about=context(held(), events=("maintenance",))) == []
    assert pages(play.see(hole, after=60)) == ["P3 md_gap to tickets"]


def test_the_page_has_what_a_person_needs_to_weigh_it(play: Play) -> None:
    (step,) = play.see(STALE, about=context(held(2e6), events=("weekend",)))
    page = step.page
    assert page is not None
    assert page.text == "P2 Market data stands still: sandbox BTC/USDT:USDT, market_data_age 100 s against 39.8 s"
    assert page.context == (
        "at stake 2,000,000 quote currency, X1; market normal",
        "blindness tolerable for 39.8 s; 24 min to unwind",
        "now: weekend",
    )
    assert f"r2p incident ack {step.incident_id} --by user:NAME" in page.links


class TestBlindness:
    NOW = context(held(2e6), watched_since=NOON - timedelta(hours=1))

    def unseen(self, metric: str, subject: Subject = ACCOUNT) -> Observation:
        return reading(metric, None, subject)

    def test_whatever_is_not_seen_at_one_account_is_one_page_as_severe_as_its_worst_part(self, play: Play) -> None:
        steps = play.see(self.unseen("position_break_lots"), self.unseen("unknown_orders"), about=self.NOW)
        (page,) = [step.page for step in steps if step.page is not None]
        assert page.text == "P1 Not seen for too long: sandbox main, unknown_orders, for the rule unknown_order"
        assert "not seen here, by rule: unknown_order, position_break" in page.context
        assert IncidentStore(play.folder / "incidents.jsonl").read().log == steps

    def test_what_is_noticed_later_is_a_part_of_it_as_long_as_it_lasts(self, play: Play) -> None:
        play.see(self.unseen("unknown_orders"), about=self.NOW)
        both = (self.unseen("unknown_orders"), self.unseen("position_break_lots"))
        assert pages(play.see(*both, after=3600, about=self.NOW)) == []
        assert len(play.open) == 1

    def test_a_break_that_is_seen_at_last_is_another_incident_and_pages(self, play: Play) -> None:
        play.see(self.unseen("position_break_lots"), self.unseen("unknown_orders"), about=self.NOW)
        steps = play.see(BREAK, self.unseen("unknown_orders"), after=60, about=self.NOW)
        assert pages(steps) == ["P2 position_break to on-call"]

    def test_seeing_that_all_is_well_ends_it_at_once_and_opens_nothing(self, play: Play) -> None:
        play.see(self.unseen("unknown_orders"), about=self.NOW)
        (step,) = play.see(reading("unknown_orders", 0, ACCOUNT), after=1, about=self.NOW)
        assert (step.to, play.only.calm) == (Status.MITIGATED, True)

    def test_a_break_that_is_no_longer_seen_stays_open_beside_the_blindness(self, play: Play) -> None:
        play.see(BREAK)
        later = context(held(2e6), watched_since=NOON - timedelta(hours=1))
        steps = play.see(self.unseen("position_break_lots"), after=3600, about=later)
        assert pages(steps) == ["P2 position_break to on-call"]
        assert [each.opened.blind for each in play.open] == [False, True]

    def test_not_to_know_how_a_venue_is_explains_nothing(self, play: Play) -> None:
        steps = play.see(self.unseen("venue_not_ok", VENUE), STALE, about=self.NOW)
        assert sorted(pages(steps)) == ["P2 md_stale to on-call", "P2 venue_status to on-call"]
