"""The mitigation ladder: the same readings give the same level, it never comes down by itself, and people let go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.rules import load_alert_policy
from research_to_prod.operations.control_journal import (
    ALL,
    MODES,
    ControlJournal,
    ControlJournalError,
    Target,
    replayed,
)
from research_to_prod.operations.holding_back import with_rules
from research_to_prod.operations.ladder import (
    RULE,
    Basis,
    Exposed,
    LadderError,
    Level,
    Reading,
    Release,
    Severity,
    Signal,
    State,
    load_ladder_policy,
    release,
    step,
)
from research_to_prod.promotion.controls import Mode, Scope, in_force
from research_to_prod.settings import Settings

FILE = Settings().desk / "policies" / "ladder.yaml"
POLICY = with_rules(load_ladder_policy(FILE), load_alert_policy(Settings().desk / "alerts"))
NOW = datetime(2026, 2, 1, tzinfo=UTC)
PEOPLE = ("user:ann", "user:bob")


def reading(n: int, *signals: Signal, **more: Any) -> Reading:
    known: dict[str, Any] = {"regime": Regime.NORMAL, "exposure": Exposed.SOME}
    return Reading(NOW + timedelta(minutes=n), signals, **known | more)


def signal(name: str = "s", severity: Severity = Severity.P1, *, firing: bool | None = True, **more: Any) -> Signal:
    return Signal(name, severity, more.pop("basis", Basis.COUNTED), firing, **more)


def level(*signals: Signal, **more: Any) -> Level:
    return step(POLICY, State(), reading(1, *signals, **more)).level


def climbed(*readings: Reading) -> State:
    state = State()
    for each in readings:
        state = step(POLICY, state, each)
    return state


LOSS = signal("drawdown_burn/1", basis=Basis.VALUED)


@pytest.mark.parametrize(
    ("signals", "more", "expected"),
    [
        ((), {}, 0),
        ((signal(severity=Severity.P3),), {}, 0),
        ((signal(severity=Severity.P2),), {}, 1),
        ((signal(),), {}, 2),
        ((signal(firing=False), signal("t", Severity.P2)), {}, 1),
        ((signal(firing=None),), {}, 0),
        ((signal(),), {"regime": Regime.STRESSED}, 3),
        ((signal(),), {"regime": None}, 3),
        ((signal(),), {"exposure": Exposed.LARGE}, 3),
        ((signal(),), {"exposure": None}, 3),
        ((signal(overdue=True),), {}, 3),
        ((signal(overdue=True),), {"exposure": None, "regime": None}, 4),
        ((signal("exposure_limit/0"),), {}, 3),
        ((signal("exposure_limit/0", overdue=True),), {"exposure": None, "regime": None}, 4),
        ((signal("kill_switch"),), {}, 5),
        ((signal("exposure_limit/0"),), {"exposure": Exposed.NONE}, 1),
        ((signal(severity=Severity.P3, overdue=True),), {"regime": None}, 0),
    ],
)
def test_a_level_follows_from_signals_regime_and_exposure(
    signals: tuple[Signal, ...], more: dict[str, Any], expected: int
) -> None:
    assert level(*signals, **more) == expected


def test_what_rests_on_money_flattens_only_on_the_third_valid_reading_in_a_row() -> None:
    one, two, three = (reading(n, LOSS) for n in (1, 2, 3))
    assert [climbed(one).level, climbed(one, two).level, climbed(one, two, three).level] == [3, 3, 4]
    calm = reading(2, replace(LOSS, firing=False))
    assert climbed(one, calm, three, reading(4, LOSS)).level == 3
    # What was not valid is neither a confirmation nor a contradiction.
    unseen = reading(2, replace(LOSS, firing=None))
    assert climbed(one, unseen, three, reading(4, LOSS)).level == 4


def test_what_is_counted_flattens_on_the_first_reading() -> None:
    assert level(signal("margin/2")) == 4


def test_a_level_says_since_when_and_because_of_what() -> None:
    state = climbed(reading(1, signal("quiet", Severity.P2)), reading(2, signal("loud")), reading(3))
    assert (state.level, state.since, state.by) == (2, NOW + timedelta(minutes=2), "rule:ladder")
    assert state.because == "loud (P1) in a normal market, exposure X1"


def test_a_reading_that_goes_back_or_names_a_signal_twice_is_refused() -> None:
    state = climbed(reading(2, signal()))
    with pytest.raises(LadderError, match="after that of"):
        step(POLICY, state, reading(2, signal()))
    with pytest.raises(LadderError, match="s is read twice"):
        step(POLICY, State(), reading(1, signal(), signal(firing=False)))


@pytest.mark.parametrize(
    ("at", "to", "people", "why", "says"),
    [
        (4, 0, PEOPLE[:1], "over", "it takes 2 different people"),
        (4, 0, ("user:ann", "user:ann"), "over", "it takes 2 different people"),
        (4, 0, ("user:ann", "team:risk"), "over", "user:NAME"),
        (4, 4, PEOPLE, "over", "not above 4"),
        (4, 5, PEOPLE, "over", "not above 5"),
        (4, 0, PEOPLE, " ", "say why"),
        (0, 0, PEOPLE, "over", "clock set back"),
        (3, 0, (), "over", "it takes 1 different people"),
    ],
)
def test_a_ladder_is_let_down_by_enough_people_who_say_why(
    at: int, to: int, people: tuple[str, ...], why: str, says: str
) -> None:
    name = "margin/2" if at in {0, 4} else "exposure_limit/0"
    state = climbed(reading(5, signal(name)))
    moment = NOW + timedelta(minutes=1 if at == 0 else 6)
    with pytest.raises(LadderError, match=says):
        release(state, Release(moment, Level(to), people, why))


def test_released_it_climbs_again_on_new_readings_only() -> None:
    state = climbed(reading(1, LOSS), reading(2, LOSS), reading(3, LOSS))
    down = release(state, Release(NOW + timedelta(minutes=4), Level.OBSERVE, PEOPLE, "a wrong mark"))
    assert (down.level, down.by, down.because) == (0, "user:ann, user:bob", "a wrong mark")
    assert step(POLICY, down, reading(5, LOSS)).level == 3
    one = release(climbed(reading(1, signal())), Release(NOW + timedelta(minutes=4), Level.OBSERVE, PEOPLE[:1], "over"))
    assert one.level == 0


def test_up_to_flattening_exits_stay_possible() -> None:
    assert {each for each, mode in MODES.items() if mode is Mode.HALT} == {Level.KILL}
    assert {each for each, mode in MODES.items() if mode is Mode.NONE} == {Level.OBSERVE}


SIGNALS = st.lists(
    st.builds(
        Signal,
        st.sampled_from(["a", "b", "drawdown_burn/1", "exposure_limit/0", "kill_switch"]),
        st.sampled_from(Severity), st.sampled_from(Basis), st.sampled_from([True, False, None]), st.booleans(),
    ),
    max_size=4, unique_by=lambda each: each.name,
)  # fmt: skip
READINGS = st.lists(
    st.tuples(SIGNALS, st.sampled_from([*Regime, None]), st.sampled_from([*Exposed, None])), max_size=12
)


def made(drawn: list[Any]) -> list[Reading]:
    return [
        Reading(NOW + timedelta(minutes=n), tuple(signals), regime, exposure)
        for n, (signals, regime, exposure) in enumerate(drawn)
    ]


@given(READINGS)
def test_it_never_comes_down_by_itself_whatever_is_read(drawn: list[Any]) -> None:
    state, heights = State(), [Level.OBSERVE]
    for each in made(drawn):
        state = step(POLICY, state, each)
        heights.append(state.level)
    assert heights == sorted(heights)


@given(READINGS, st.sampled_from(sorted({"a", "b", "exposure_limit/0"})))
def test_one_more_signal_that_fires_never_lowers_the_level(drawn: list[Any], name: str) -> None:
    plain, more = State(), State()
    for each in made(drawn):
        plain = step(POLICY, plain, each)
        others = tuple(signal for signal in each.signals if signal.name != name)
        loud = Signal(name, Severity.P1, Basis.COUNTED, firing=True, overdue=True)
        more = step(POLICY, more, replace(each, signals=(*others, loud)))
    assert more.level >= plain.level


@given(READINGS, st.permutations(range(4)))
def test_the_order_of_signals_is_nobodys_business(drawn: list[Any], order: list[int]) -> None:
    plain, other = State(), State()
    for each in made(drawn):
        plain = step(POLICY, plain, each)
        mixed = tuple(each.signals[i] for i in order if i < len(each.signals))
        other = step(POLICY, other, replace(each, signals=mixed))
    assert other == plain


@pytest.fixture
def journal(tmp_path: Path) -> ControlJournal:
    return ControlJournal(tmp_path / "controls" / "journal.jsonl")


VENUE = Target(Scope.VENUE, "binance")


def test_the_journal_says_where_every_ladder_stands_and_what_the_manifest_is_told(journal: ControlJournal) -> None:
    assert journal.ladders().controls() == ()
    journal.read(POLICY, VENUE, reading(1, signal("exposure_limit/0")))
    journal.read(POLICY, ALL, reading(1, signal("kill_switch")))
    journal.read(POLICY, Target(Scope.CANDIDATE, "c"), reading(1, signal(severity=Severity.P3)))
    everything, venue = journal.ladders().controls()
    assert (everything.scope, everything.mode) == (Scope.ALL, Mode.HALT)
    assert (venue.scope, venue.name, venue.mode) == (Scope.VENUE, "binance", Mode.REDUCE_ONLY)
    assert venue.reason.startswith("level 3, cancel risk: exposure_limit/0 (P1)")
    assert len(in_force((everything, venue), NOW + timedelta(hours=1))) == 2
    journal.release(POLICY, ALL, Release(NOW + timedelta(minutes=2), Level.OBSERVE, PEOPLE, "drill over"))
    assert [each.scope for each in journal.ladders().controls()] == [Scope.VENUE]


def test_the_journal_tells_every_change_of_a_level_and_no_mere_confirmation(journal: ControlJournal) -> None:
    journal.read(POLICY, VENUE, reading(1, LOSS))
    journal.read(POLICY, VENUE, reading(2, LOSS))
    journal.read(POLICY, ALL, reading(3, signal("kill_switch"), by="user:ann", why="a loop"))
    journal.release(POLICY, ALL, Release(NOW + timedelta(minutes=4), Level.OBSERVE, PEOPLE, "drill over"))
    told = [(each.target, int(each.before), int(each.state.level), each.state.by) for each in journal.moves()]
    assert told == [(VENUE, 0, 3, RULE), (ALL, 0, 5, "user:ann"), (ALL, 5, 0, "user:ann, user:bob")]


def test_a_reading_that_changes_nothing_leaves_no_line(journal: ControlJournal) -> None:
    for n in range(1, 5):
        journal.read(POLICY, ALL, reading(n, signal(firing=False)))
    assert not journal.path.exists()
    journal.read(POLICY, ALL, reading(5, signal()))
    lines = journal.path.read_bytes().splitlines()
    assert len(lines) == 2
    assert b'"kind":"LadderPolicy"' in lines[0]


def test_a_release_that_is_refused_leaves_no_line(journal: ControlJournal) -> None:
    journal.read(POLICY, ALL, reading(1, signal("kill_switch")))
    before = journal.path.read_bytes()
    with pytest.raises(LadderError, match="2 different people"):
        journal.release(POLICY, ALL, Release(NOW + timedelta(minutes=2), Level.OBSERVE, PEOPLE[:1], "over"))
    assert journal.path.read_bytes() == before


@given(READINGS)
def test_the_same_journal_gives_the_same_states_and_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("journals")
    first, second = (ControlJournal(folder / f"{n}.jsonl") for n in (1, 2))
    for each in made(drawn):
        for journal in (first, second):
            journal.read(POLICY, ALL, each)
    direct = State()
    for each in made(drawn):
        direct = step(POLICY, direct, each)
    assert first.ladders().states.get(ALL, State()) == direct
    if first.path.exists():
        assert first.path.read_bytes() == second.path.read_bytes()
        assert replayed(first.path.read_bytes().splitlines()) == first.ladders()


def test_another_policy_keeps_the_level_and_is_a_line_of_its_own(journal: ControlJournal) -> None:
    journal.read(POLICY, ALL, reading(1, signal()))
    easier = POLICY.model_copy(update={"severities": {**POLICY.severities, Severity.P1: POLICY.severities["P3"]}})
    assert journal.read(easier, ALL, reading(2, signal("other"))).level == 2
    kinds = [line.count(b'"kind":"LadderPolicy"') for line in journal.path.read_bytes().splitlines()]
    assert kinds == [1, 0, 1, 0]


@pytest.mark.parametrize("attack", ["edit", "cut", "swap", "forge"])
def test_an_edited_missing_moved_or_forged_line_is_an_error(journal: ControlJournal, attack: str) -> None:
    journal.read(POLICY, ALL, reading(1, signal()))
    journal.read(POLICY, ALL, reading(2, signal("exposure_limit/0")))
    lines = journal.path.read_bytes().splitlines()
    if attack == "edit":
        lines[1] = lines[1].replace(b'"level":2', b'"level":0')
    elif attack == "cut":
        del lines[1]
    elif attack == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        lines.append(lines[-1])
    journal.path.write_bytes(b"".join(each + b"\n" for each in lines))
    with pytest.raises(ControlJournalError, match=r"line [234] of the controls' journal"):
        journal.ladders()
    with pytest.raises(ControlJournalError):
        journal.read(POLICY, ALL, reading(9, signal("kill_switch")))


def test_a_line_torn_by_a_crash_was_told_to_nobody_and_is_cut(journal: ControlJournal) -> None:
    journal.read(POLICY, ALL, reading(1, signal()))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"prev":"')
    assert journal.ladders().states[ALL].level == 2
    journal.read(POLICY, ALL, reading(2, signal("exposure_limit/0")))
    assert journal.path.read_bytes().startswith(whole)
    assert journal.ladders().states[ALL].level == 3


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("severities", "P2"), "severities: P2 is missing"),
        (("regimes", "stressed"), "regimes: stressed is missing"),
        (("exposures", "X2"), "exposures: X2 is missing"),
        (("confirmations", "value"), "confirmations.value"),
        (("overdue",), "overdue"),
    ],
)
def test_a_policy_that_leaves_something_out_is_refused(tmp_path: Path, path: tuple[str, ...], says: str) -> None:
    content = yaml.safe_load(FILE.read_text())
    inner = content
    for each in path[:-1]:
        inner = inner[each]
    del inner[path[-1]]
    written = tmp_path / "ladder.yaml"
    written.write_text(yaml.safe_dump(content))
    with pytest.raises(LadderError, match=says):
        load_ladder_policy(written)


def test_two_readings_cannot_confirm_what_rests_on_money(tmp_path: Path) -> None:
    written = tmp_path / "ladder.yaml"
    written.write_text(FILE.read_text().replace("  value: 3\n", "  value: 2\n"))
    with pytest.raises(LadderError, match="greater than or equal to 3"):
        load_ladder_policy(written)


def test_a_target_is_named_where_there_is_something_to_name() -> None:
    for scope, name in ((Scope.ALL, "x"), (Scope.VENUE, "")):
        with pytest.raises(LadderError, match="names"):
            Target(scope, name)
