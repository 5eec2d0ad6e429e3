import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from research_to_prod.promotion.record import GENESIS, Record, RecordType
from research_to_prod.promotion.stages import LEGAL, TRADING, IllegalTransitionError, Standing, stage_of, standing
from research_to_prod.values import Stage, digest

NAMES = ("momentum", "carry")
VERSIONS = (digest("v1"), digest("v2"))


@pytest.fixture
def record(draft):
    def make(kind, start, end, version=VERSIONS[0], candidate="momentum"):
        reasons = [] if kind == RecordType.PROMOTE else ["because"]
        return place(
            draft(
                1,
                type=kind,
                from_stage=start,
                to_stage=end,
                reasons=reasons,
                candidate=candidate,
                candidate_sha256=version,
            )
        )

    return make


def place(decided):
    return Record.model_validate(dict(decided) | {"log_id": GENESIS, "seq": 0, "prev": GENESIS})


def test_what_no_record_moved_is_at_research():
    assert stage_of("momentum", VERSIONS[0], []) is Stage.RESEARCH


def test_the_way_up_and_back(record):
    way = [
        record("promote", "research", "paper"),
        record("promote", "paper", "canary"),
        record("promote", "canary", "live"),
        record("demote", "live", "canary"),
        record("demote", "canary", "halted"),
        record("demote", "halted", "demoted"),
        record("promote", "demoted", "paper"),
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


def test_a_demotion_never_leads_up():
    rank = {Stage.HALTED: 0, Stage.DEMOTED: 1, Stage.PAPER: 2, Stage.CANARY: 3, Stage.LIVE: 4}
    moves = LEGAL[RecordType.DEMOTE]
    assert all(rank[end] < rank[start] for start, end in moves if start is not Stage.HALTED)
    assert [end for start, end in moves if start is Stage.HALTED] == [Stage.DEMOTED]


def test_everything_that_trades_can_be_halted_and_demoted():
    assert set(itertools.product(TRADING, (Stage.HALTED, Stage.DEMOTED))) <= LEGAL[RecordType.DEMOTE]


def test_a_decision_from_where_the_candidate_no_longer_is_raises(record):
    state = standing([record("promote", "research", "paper")])
    with pytest.raises(IllegalTransitionError, match="is at paper, not at research: decide again"):
        state.advance(record("promote", "research", "paper"))
    assert state.stage("momentum", VERSIONS[0]) is Stage.PAPER


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

    def move(self, kind, name, version, start, end):
        self.count += 1
        changes = {
            "type": kind,
            "candidate": name,
            "candidate_sha256": version,
            "from_stage": start,
            "to_stage": end,
            "reasons": () if kind is RecordType.PROMOTE else ("because",),
            "recorded_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.count),
        }
        self.state.advance(self.template.model_copy(update=changes))

    @rule(
        kind=st.sampled_from(RecordType),
        name=st.sampled_from(NAMES),
        version=st.sampled_from(VERSIONS),
        start=st.sampled_from(Stage),
        end=st.sampled_from(Stage),
    )
    def any_move(self, kind, name, version, start, end):
        current = self.model.get((name, version), Stage.RESEARCH)
        table = LEGAL[RecordType.PROMOTE if kind is RecordType.REJECT else kind]
        if start is current and (start, end) in table:
            self.move(kind, name, version, start, end)
            self.apply(kind, name, version, end)
        else:
            with pytest.raises(IllegalTransitionError):
                self.move(kind, name, version, start, end)

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS), data=st.data())
    def legal_move(self, name, version, data):
        current = self.model.get((name, version), Stage.RESEARCH)
        kind, end = data.draw(
            st.sampled_from(sorted((kind, end) for kind, moves in LEGAL.items() for at, end in moves if at is current))
        )
        self.move(kind, name, version, current, end)
        self.apply(kind, name, version, end)

    def apply(self, kind, name, version, end):
        if kind is RecordType.REJECT:
            return
        for other in VERSIONS:
            if end in TRADING and self.model.get((name, other)) is end:
                del self.model[name, other]
        self.model[name, version] = end

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
