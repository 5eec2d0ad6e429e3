import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from research_to_prod.promotion.record import GENESIS, Approval, Policy, Record, RecordType
from research_to_prod.promotion.stages import (
    LEGAL,
    TRADING,
    IllegalTransitionError,
    Standing,
    check_transition,
    stage_of,
    standing,
)
from research_to_prod.values import Stage, digest

NAMES = ("momentum", "carry")
VERSIONS = (digest("v1"), digest("v2"))
MOVES_NOTHING = {RecordType.REJECT, RecordType.OVERRIDE}


ADA = {
    "key_id": digest("ada's key"),
    "person": "ada",
    "envelope_sha256": digest("ada's envelope"),
    "signed_at": datetime(2026, 1, 1, tzinfo=UTC),
}


@pytest.fixture
def record(draft):
    def make(kind, start, end, version=VERSIONS[0], **changes):
        move = {"type": kind, "from_stage": start, "to_stage": end, "candidate": "momentum"}
        reasons = [] if kind == RecordType.PROMOTE else ["because"]
        return place(draft(1, **move, reasons=reasons, candidate_sha256=version, **changes))

    return make


@pytest.fixture
def up(record):
    """The way up to a stage, by machine alone."""
    steps = (Stage.RESEARCH, *TRADING)

    def climb(stage, version=VERSIONS[0]):
        return [record("promote", *move, version) for move in itertools.pairwise(steps[: steps.index(stage) + 1])]

    return climb


def place(decided):
    return decided.placed(GENESIS, 0, GENESIS)


def test_what_no_record_moved_is_at_research():
    assert stage_of("momentum", VERSIONS[0], []) is Stage.RESEARCH


def test_the_way_up_and_back(record):
    way = [
        record("promote", "research", "paper"),
        record("promote", "paper", "canary"),
        record("promote", "canary", "live"),
        record("rollback", "live", "canary"),
        record("demote", "canary", "halted"),
        record("demote", "halted", "demoted", approvals=[ADA]),
        record("promote", "demoted", "paper", approvals=[ADA]),
    ]
    stages = [stage_of("momentum", VERSIONS[0], way[: n + 1]) for n in range(len(way))]
    assert stages == ["paper", "canary", "live", "canary", "halted", "demoted", "paper"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("research", "canary"),
        ("research", "live"),
        ("research", "research"),
        ("paper", "live"),
        ("paper", "research"),
        ("demoted", "live"),
        ("demoted", "canary"),
        ("halted", "live"),
        ("halted", "paper"),
        ("live", "demoted"),
    ],
)
@pytest.mark.parametrize("kind", ["promote", "reject"])
def test_no_promotion_leaps_and_none_is_even_refused_that_way(record, kind, start, end):
    with pytest.raises(IllegalTransitionError, match=f"from {start} to {end}"):
        Standing().advance(record(kind, start, end))


def test_neither_a_demotion_nor_a_rollback_leads_up():
    rank = {Stage.HALTED: 0, Stage.DEMOTED: 1, Stage.PAPER: 2, Stage.CANARY: 3, Stage.LIVE: 4}
    assert all(rank[end] < rank[start] for start, end in LEGAL[RecordType.ROLLBACK])
    assert LEGAL[RecordType.DEMOTE] - LEGAL[RecordType.ROLLBACK] == {(Stage.HALTED, Stage.DEMOTED)}


def test_everything_that_trades_can_be_halted_and_demoted():
    for kind in (RecordType.DEMOTE, RecordType.ROLLBACK):
        assert set(itertools.product(TRADING, (Stage.HALTED, Stage.DEMOTED))) <= LEGAL[kind]


@pytest.mark.parametrize("kind", ["demote", "rollback"])
@pytest.mark.parametrize("move", [("canary", "live"), ("canary", "canary")])
def test_what_was_moved_down_goes_up_again_only_by_a_record_that_names_a_person(up, record, kind, move):
    state = standing([*up(Stage.LIVE), record(kind, "live", "canary")])
    with pytest.raises(IllegalTransitionError, match="only a record that names a person"):
        state.advance(record("promote", *move))
    state.advance(record("reject", *move))
    state.advance(record("promote", *move, approvals=[ADA]))
    assert not state.fallen("momentum", VERSIONS[0])
    state.advance(record("promote", move[1], move[1]))


def test_a_halt_is_ended_by_a_named_person_and_never_by_a_rule(up, record):
    state = standing([*up(Stage.PAPER), record("rollback", "paper", "halted")])
    with pytest.raises(IllegalTransitionError, match="names a person"):
        state.advance(record("demote", "halted", "demoted"))
    with pytest.raises(IllegalTransitionError, match="no rollback leads"):
        state.advance(record("rollback", "halted", "demoted", approvals=[ADA]))
    state.advance(record("demote", "halted", "demoted", approvals=[ADA]))
    with pytest.raises(IllegalTransitionError, match="names a person"):
        state.advance(record("promote", "demoted", "paper"))


def test_a_rollback_leaves_only_reducing_until_a_person_lets_it_up(up, record):
    state = standing([*up(Stage.LIVE), record("rollback", "live", "canary")])
    assert state.reduce_only("momentum", VERSIONS[0])
    state.advance(record("demote", "canary", "paper"))
    assert state.reduce_only("momentum", VERSIONS[0]), "a second step down lifts nothing"
    state.advance(record("promote", "paper", "paper", approvals=[ADA]))
    assert not state.reduce_only("momentum", VERSIONS[0])


def test_a_detour_through_another_version_does_not_wash_a_fallen_one_clean(up, record):
    old, new = VERSIONS
    state = standing([*up(Stage.LIVE), record("rollback", "live", "paper")])
    state.advance(record("promote", "research", "paper", new))
    assert state.stage("momentum", old) is Stage.RESEARCH
    with pytest.raises(IllegalTransitionError, match="names a person"):
        state.advance(record("promote", "research", "paper"))


DAYS = [datetime(2026, 2, day, tzinfo=UTC) for day in range(1, 11)]
POLICY = Policy(id="paper_to_canary", sha256=digest("as it is"))


def since(*records, policy=POLICY, version=VERSIONS[0]):
    dated = [Record.model_validate(dict(each) | {"recorded_at": day}) for each, day in zip(records, DAYS, strict=False)]
    return standing(dated).evidence_since("momentum", version, policy)


def test_evidence_counts_from_the_arrival_at_a_stage_and_staying_there_does_not_restart_it(up, record):
    assert since() is None
    assert since(*up(Stage.PAPER)) == DAYS[0]
    assert since(*up(Stage.PAPER), record("promote", "paper", "paper"), record("reject", "paper", "canary")) == DAYS[0]
    assert since(*up(Stage.CANARY)) == DAYS[1]


def test_another_version_has_evidence_of_its_own(up, record):
    way = [*up(Stage.PAPER), *up(Stage.PAPER, VERSIONS[1])]
    assert since(*way, version=VERSIONS[1]) == DAYS[1]
    assert since(*way) is None


def test_an_edited_policy_restarts_the_evidence(up, record):
    before, after = ({"id": POLICY.id, "sha256": digest(text)} for text in ("as it was", "as it is"))
    asked = [record("reject", "paper", "canary", policy=policy) for policy in (before, before, after, after)]
    assert since(*up(Stage.PAPER), *asked[:1]) is None, "nothing was decided under it: it begins with this decision"
    assert since(*up(Stage.PAPER), *asked) == DAYS[3]
    assert since(*up(Stage.PAPER), *asked, policy=Policy(**before)) is None, "an edit taken back is an edit"


def test_time_in_which_it_could_only_reduce_is_no_evidence(up, record):
    way = [
        *up(Stage.LIVE),
        record("rollback", "live", "canary"),
        record("promote", "canary", "canary", approvals=[ADA]),
    ]
    assert since(*way[:4]) is None
    assert since(*way) == DAYS[4]


def test_a_decision_from_where_the_candidate_no_longer_is_raises(record):
    state = standing([record("promote", "research", "paper")])
    with pytest.raises(IllegalTransitionError, match="is at paper, not at research: decide again"):
        state.advance(record("promote", "research", "paper"))
    assert state.stage("momentum", VERSIONS[0]) is Stage.PAPER


def test_a_transition_that_is_none_names_those_that_there_are(record):
    with pytest.raises(IllegalTransitionError, match=r"from canary it may lead to: canary, live$"):
        check_transition(record(RecordType.PROMOTE, Stage.CANARY, Stage.PAPER), Stage.CANARY)
    with pytest.raises(IllegalTransitionError, match=r"from research it may lead to: nowhere$"):
        check_transition(record(RecordType.ROLLBACK, Stage.RESEARCH, Stage.PAPER), Stage.RESEARCH)


def test_nothing_counts_as_moved_down_unless_it_is_said(record):
    check_transition(record(RecordType.PROMOTE, Stage.PAPER, Stage.CANARY), Stage.PAPER)


def test_when_a_version_came_to_its_stage_is_known_and_none_at_research(up, record):
    state = standing(up(Stage.PAPER))
    (arrival,) = up(Stage.PAPER)
    assert state.arrived("momentum", VERSIONS[0]) == arrival.recorded_at
    assert state.arrived("momentum", VERSIONS[1]) is None


def test_a_rejection_moves_nothing(record):
    assert stage_of("momentum", VERSIONS[0], [record("reject", "research", "paper")]) is Stage.RESEARCH


def test_a_new_version_starts_at_research_and_takes_the_place_of_the_old_at_the_same_stage(record):
    old, new = VERSIONS
    state = standing([record("promote", "research", "paper"), record("promote", "paper", "canary")])
    state.advance(record("promote", "research", "paper", new))
    assert (state.stage("momentum", old), state.stage("momentum", new)) == (Stage.CANARY, Stage.PAPER)
    state.advance(record("promote", "paper", "canary", new))
    assert (state.stage("momentum", old), state.stage("momentum", new)) == (Stage.RESEARCH, Stage.CANARY)
    assert [deciding.candidate_sha256 for deciding in state.deciding()] == [new]


class StagesAgreeWithADict(RuleBasedStateMachine):
    """Random records against the plainest model: a dict from (name, version) to stage."""

    template: Record

    @initialize()
    def start(self):
        self.state, self.model, self.count = Standing(), {}, 0
        self.fallen, self.history = set(), {}

    def move(self, kind, name, version, start, end, person):
        self.count += 1
        changes = {
            "approvals": (Approval.model_validate(ADA),) if person else None,
            "type": kind,
            "candidate": name,
            "candidate_sha256": version,
            "from_stage": start,
            "to_stage": end,
            "reasons": () if kind is RecordType.PROMOTE else ("because",),
            "recorded_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.count),
        }
        self.state.advance(self.template.model_copy(update=changes))

    def named_where_needed(self, kind, name, version, start, person):
        up_again = kind is RecordType.PROMOTE and (name, version) in self.fallen
        return person or not (up_again or (kind not in MOVES_NOTHING and start is Stage.HALTED))

    @rule(
        kind=st.sampled_from([*LEGAL, RecordType.REJECT]),
        name=st.sampled_from(NAMES),
        version=st.sampled_from(VERSIONS),
        start=st.sampled_from(Stage),
        end=st.sampled_from(Stage),
        person=st.booleans(),
    )
    def any_move(self, kind, name, version, start, end, person):
        current = self.model.get((name, version), Stage.RESEARCH)
        table = LEGAL[RecordType.PROMOTE if kind is RecordType.REJECT else kind]
        legal = start is current and (start, end) in table
        if legal and self.named_where_needed(kind, name, version, start, person):
            self.move(kind, name, version, start, end, person)
            self.apply(kind, name, version, end)
        else:
            with pytest.raises(IllegalTransitionError):
                self.move(kind, name, version, start, end, person)

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS), data=st.data())
    def legal_move(self, name, version, data):
        current = self.model.get((name, version), Stage.RESEARCH)
        kind, end = data.draw(
            st.sampled_from(sorted((kind, end) for kind, moves in LEGAL.items() for at, end in moves if at is current))
        )
        self.any_move(kind, name, version, current, end, data.draw(st.booleans()))

    def apply(self, kind, name, version, end):
        if kind in MOVES_NOTHING:
            return
        for other in VERSIONS:
            if other != version and end in TRADING and self.model.get((name, other)) is end:
                del self.model[name, other]
                self.history[name, other].append(Stage.RESEARCH)
        self.model[name, version] = end
        self.history.setdefault((name, version), [Stage.RESEARCH]).append(end)
        (self.fallen.discard if kind is RecordType.PROMOTE else self.fallen.add)((name, version))

    @invariant()
    def nothing_is_live_that_did_not_climb_through_paper_and_canary(self):
        for way in self.history.values():
            for before, stage in itertools.pairwise(way):
                assert stage is not Stage.LIVE or before in {Stage.CANARY, Stage.LIVE}
                assert stage is not Stage.CANARY or before in {Stage.PAPER, Stage.CANARY, Stage.LIVE}

    @invariant()
    def a_halt_ends_in_no_trading_stage(self):
        for way in self.history.values():
            assert all(stage is Stage.DEMOTED for before, stage in itertools.pairwise(way) if before is Stage.HALTED)

    @invariant()
    def what_fell_is_known_to_have_fallen(self):
        for name, version in itertools.product(NAMES, VERSIONS):
            assert self.state.fallen(name, version) is ((name, version) in self.fallen)
            assert self.state.fallen(name, version) or not self.state.reduce_only(name, version)

    @invariant()
    def they_agree(self):
        for name, version in itertools.product(NAMES, VERSIONS):
            assert self.state.stage(name, version) is self.model.get((name, version), Stage.RESEARCH)

    @invariant()
    def no_candidate_has_two_versions_at_one_trading_stage(self):
        held = [(record.candidate, record.to_stage) for record in self.state.deciding() if record.to_stage in TRADING]
        assert len(held) == len(set(held))


@pytest.fixture
def machine(draft):
    StagesAgreeWithADict.template = place(draft(1))
    return StagesAgreeWithADict


def test_stages_agree_with_a_dict_under_any_sequence_of_records(machine):
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=25))
