"""From firing rules to the ladders: pages raise and latch, calm lowers nothing, and no line is written twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.evaluation import Evaluation, Key, Observation, State
from research_to_prod.operations.alerting.situation import Context, Subject
from research_to_prod.operations.control_journal import ALL, ControlJournal, ControlJournalError, Target
from research_to_prod.operations.delivery.heartbeat import FILE, last_beat
from research_to_prod.operations.holding_back import NOT_SEEN, readings_of, signal_of, target_of, with_rules
from research_to_prod.operations.incidents.lifecycle import Status
from research_to_prod.operations.incidents.store import Incidents
from research_to_prod.operations.ladder import LadderError, Level, Reading, Release, Severity, load_ladder_policy, step
from research_to_prod.operations.ladder import State as Stands
from research_to_prod.operations.runbooks import load_runbooks
from research_to_prod.operations.watch import STATES, Watch
from research_to_prod.promotion.controls import Mode, Scope
from research_to_prod.settings import Settings
from tests.operations.alerting.book import ACCOUNT, BTC, ETH, NOON, POLICY, context, held, judged, reading
from tests.operations.delivery.told import Memory
from tests.operations.incidents.firings import DESK

LADDER = load_ladder_policy(Settings().desk / "policies" / "ladder.yaml")
WITH_RULES = with_rules(LADDER, POLICY)
MINUTE = timedelta(minutes=1)
VENUE = Target(Scope.VENUE, "sandbox")
CARRY = Target(Scope.CANDIDATE, "momentum")
STRATEGY = Subject(strategy="momentum")
ONE, TWO = "user:ann", "user:bob"
SILENT = [reading(each, 0, Subject()) for each in ("asset_lag", "reconciliation_lag", "asset_freshness_burn")]


@dataclass
class Desk:
    """An alerter that is another process at every turn, with a journal of controls."""

    folder: Path
    minute: int = 0
    about: Context = field(default_factory=lambda: context(held()))

    def __post_init__(self) -> None:
        self.journal = ControlJournal(self.folder / "controls.jsonl")
        self.channel = Memory()

    def watch(self) -> Watch:
        return Watch(self.folder, DESK, [self.channel], MINUTE, ControlJournal(self.journal.path), LADDER)

    def turn(self, *given: Observation, again: bool = False) -> Level:
        """Go on by a minute unless ``again``, with what was measured in it; return where the venue's ladder stands."""
        self.minute += not again
        now = NOON + self.minute * MINUTE
        fresh = [Observation(o.metric, o.subject, o.value, now, o.count, o.usual) for o in (*SILENT, *given)]
        self.watch().turn(fresh, replace(self.about, watched_since=now), now)
        return self.level()

    def level(self, target: Target = VENUE) -> Level:
        return self.journal.ladders().states.get(target, Stands()).level

    def release(self, *people: str, target: Target = VENUE, seconds: float = 30) -> None:
        at = NOON + self.minute * MINUTE + timedelta(seconds=seconds)
        self.journal.release(LADDER, target, Release(at, Level.OBSERVE, people, "looked at"))

    @property
    def lines(self) -> int:
        return len(self.journal.path.read_bytes().splitlines()) if self.journal.path.exists() else 0


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


STALE, FRESH = reading("market_data_age", 100), reading("market_data_age", 0.1)
LOST = reading("unknown_orders", 1, ACCOUNT)
LOSS, NO_LOSS = reading("loss_share_day", 1.2, STRATEGY), reading("loss_share_day", 0.1, STRATEGY)


def test_a_page_raises_its_venues_ladder_and_the_manifest_is_told(desk: Desk) -> None:
    assert desk.turn(STALE) == Level.BLOCK_ENTRIES
    (control,) = desk.journal.ladders().controls()
    assert (control.scope, control.name, control.mode) == (Scope.VENUE, "sandbox", Mode.REDUCE_ONLY)
    assert control.reason == "level 1, block entries: md_stale/0 (P2) in a normal market, exposure X1"


def test_it_latches_calm_lowers_nothing_and_only_people_let_go(desk: Desk) -> None:
    desk.turn(STALE)
    for _ in range(5):
        assert desk.turn(FRESH) == Level.BLOCK_ENTRIES
    desk.release(ONE)
    assert desk.level() == Level.OBSERVE
    assert desk.turn(FRESH) == Level.OBSERVE


def test_a_ticket_holds_nothing_back_and_neither_does_a_page_s_rule_on_a_flat_book(desk: Desk) -> None:
    desk.turn(reading("basis", 60), reading("funding_mismatches_in_a_row", 2, ACCOUNT))
    desk.about = context()
    desk.turn(STALE)
    assert desk.lines == 0


def test_what_is_never_muted_blocks_entries_even_on_a_flat_book(desk: Desk) -> None:
    desk.about = context()
    assert desk.turn(LOST) == Level.BLOCK_ENTRIES


@pytest.mark.parametrize("regime", [Regime.STRESSED, Regime.UNKNOWN])
def test_stress_and_not_knowing_the_market_raise_by_one(desk: Desk, regime: Regime) -> None:
    desk.about = context(held(), regime=regime)
    assert desk.turn(STALE) == Level.REDUCE_ONLY


def test_an_exposure_that_cannot_be_told_counts_as_large(desk: Desk) -> None:
    desk.about = context(held(None))
    assert desk.turn(STALE) == Level.REDUCE_ONLY


def test_below_the_kill_exits_stay_possible_whatever_rules_say(desk: Desk) -> None:
    desk.about = context(held(None), regime=Regime.STRESSED)
    loud = [reading("margin_ratio", 0.99, ACCOUNT), reading("liquidation_distance", 0.5, ACCOUNT)]
    for _ in range(4):
        desk.turn(LOST, STALE, LOSS, *loud)
    assert desk.level() == desk.level(CARRY) == Level.FLATTEN
    assert {each.mode for each in desk.journal.ladders().controls()} == {Mode.REDUCE_ONLY}


def test_a_rule_that_fires_all_night_leaves_one_line(desk: Desk) -> None:
    desk.turn(STALE)
    before = desk.lines
    for _ in range(20):
        desk.turn(STALE)
    assert desk.lines == before == 2  # the policy, and the reading


def test_what_rests_on_money_flattens_on_the_third_measurement_and_not_before(desk: Desk) -> None:
    levels = []
    for _ in range(4):
        desk.turn(LOSS)
        levels.append(desk.level(CARRY))
    assert levels == [3, 3, 4, 4]


def test_a_measurement_that_is_taken_twice_confirms_once(desk: Desk) -> None:
    desk.turn(LOSS)
    for _ in range(5):
        desk.turn(LOSS, again=True)
    desk.turn(LOSS)
    assert desk.level(CARRY) == Level.CANCEL_RISK
    desk.turn(LOSS)
    assert desk.level(CARRY) == Level.FLATTEN


def test_a_measurement_in_between_that_is_calm_begins_the_count_anew(desk: Desk) -> None:
    for measured in (LOSS, LOSS, NO_LOSS, LOSS, LOSS):
        desk.turn(measured)
    assert desk.level(CARRY) == Level.CANCEL_RISK
    desk.turn(LOSS)
    assert desk.level(CARRY) == Level.FLATTEN


def test_not_seeing_an_exposed_book_blocks_entries_and_sells_nothing(desk: Desk) -> None:
    desk.about = replace(context(held()), watched={"strategy": (STRATEGY,)})
    for _ in range(3):
        desk.turn(LOSS)
    desk.release(ONE, TWO, target=CARRY)
    for _ in range(8):
        # The loss itself fires on, unseen: it proves nothing anew.
        blind = replace(desk.about, watched_since=NOON)
        desk.minute += 1
        now = NOON + desk.minute * MINUTE
        desk.watch().turn([Observation(o.metric, o.subject, o.value, now) for o in SILENT], blind, now)
    state = desk.journal.ladders().states[CARRY]
    assert state.level == Level.BLOCK_ENTRIES
    assert state.because.startswith(f"{NOT_SEEN} (")


@pytest.mark.parametrize("where", ["take_in", "write_textfile"])
def test_killed_on_the_way_the_next_turn_writes_no_line_again_and_tells(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(f"research_to_prod.operations.watch.{where}", _killed)
        with pytest.raises(KeyboardInterrupt):
            desk.turn(STALE)
    assert (desk.level(), desk.lines) == (Level.BLOCK_ENTRIES, 2)
    desk.turn(STALE, again=True)
    desk.turn(STALE)
    assert desk.lines == 2
    assert len(desk.channel.keys) == len(set(desk.channel.keys)) == 1


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_with_an_edited_journal_people_are_told_and_no_sign_of_life_is_given(desk: Desk) -> None:
    desk.turn(STALE)
    desk.journal.path.write_bytes(desk.journal.path.read_bytes().replace(b'"level":1', b'"level":0'))
    beat = last_beat(desk.folder / FILE)
    with pytest.raises(ControlJournalError):
        desk.turn(STALE, LOST)
    assert len(desk.channel.keys) == 2
    assert last_beat(desk.folder / FILE) == beat
    assert (desk.folder / STATES).exists()


def test_let_go_while_it_fires_it_climbs_again_unless_people_suppressed_it(desk: Desk) -> None:
    desk.turn(STALE)
    desk.release(ONE)
    assert desk.turn(STALE) == Level.BLOCK_ENTRIES
    desk.release(ONE)
    incidents = desk.watch().incidents
    with incidents.work() as work:
        (incident,) = work.incidents.told()
        until = NOON + (desk.minute + 3) * MINUTE
        at = NOON + desk.minute * MINUTE
        work.move(incident, Status.SUPPRESSED, actor=ONE, at=at, ref="by hand", note="known", until=until)
    assert [desk.turn(STALE) for _ in range(3)] == [0, 0, 1]


def test_an_unread_p1_asks_for_one_level_more(desk: Desk) -> None:
    desk.about = context(held(2e6, instrument=BTC.instrument))
    first = desk.turn(LOST)
    assert desk.turn(LOST) == first + 1


def test_what_an_event_mutes_or_a_parent_explains_asks_for_nothing_of_its_own() -> None:
    result = judged([reading("venue_not_ok", 1, Subject("sandbox")), STALE], context(held()))
    (found,) = _read(result.evaluations).values()
    assert {each.name for each in found.signals if each.firing} == {"venue_status/0"}


def test_the_ladder_is_the_candidates_the_venues_or_that_of_everything() -> None:
    by_id = POLICY.by_id
    assert target_of(by_id["reject_rate"], STRATEGY) == CARRY
    assert target_of(by_id["md_stale"], BTC) == VENUE
    assert target_of(by_id["margin"], ACCOUNT) == VENUE
    assert target_of(by_id["depeg"], Subject(key="USDT")) == ALL
    assert target_of(by_id["reject_rate"], Subject("sandbox")) == VENUE


def _read(evaluations: Sequence[Evaluation], states: dict[Target, Stands] | None = None) -> dict[Target, Reading]:
    return readings_of(evaluations, POLICY, Incidents(), states or {}, "test", NOON)


def test_two_markets_that_say_the_same_are_one_signal_that_fires() -> None:
    result = judged([STALE, reading("market_data_age", 0.1, ETH)], context(held()))
    assert [each.name for each in _read(result.evaluations)[VENUE].signals] == ["md_stale/0"]


def test_no_rule_goes_further_by_itself_than_its_runbook_says() -> None:
    """The level that a page asks for before regime, exposure and an unread page raise it."""
    runbooks = load_runbooks(Settings().desk / "runbooks")
    for rule in POLICY.rules:
        for number, condition in enumerate(rule.any):
            severity = condition.severity or rule.severity
            default = LADDER.severities[Severity(severity.value)]
            asked = WITH_RULES.signals.get(signal_of(rule, number), default)
            assert asked.level <= runbooks[rule.runbook].front.max_level, rule.id


def test_a_policy_that_does_not_say_what_not_seeing_asks_for_is_refused() -> None:
    with pytest.raises(LadderError, match="not_seen is missing"):
        with_rules(LADDER.model_copy(update={"signals": {}}), POLICY)


@given(st.lists(st.sampled_from([STALE, FRESH, LOST, LOSS, NO_LOSS, None]), max_size=12))
def test_whatever_is_measured_no_ladder_comes_down(measured: list[Observation | None]) -> None:
    stands: dict[Target, Stands] = {}
    states: dict[Key, State] = {}
    for n, each in enumerate(measured):
        now = NOON + n * MINUTE
        given_ = [] if each is None else [replace(each, at=now)]
        result = judged(given_, context(held()), states, now)
        states = dict(result.states)
        for target, found in _read(result.evaluations, stands).items():
            before = stands.get(target, Stands())
            stands[target] = step(WITH_RULES, before, replace(found, at=now + timedelta(seconds=1)))
            assert stands[target].level >= before.level
