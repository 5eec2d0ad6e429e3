"""The life of an incident: every legal way is open, no other is, and what is on disk is what is in memory."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from research_to_prod.operations.alerting.settings import SEVERITIES, Severity
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.operations.incidents.fingerprint import fingerprint
from research_to_prod.operations.incidents.lifecycle import (
    CLOSED,
    FOLLOWS,
    SYSTEM,
    Event,
    IllegalTransitionError,
    Incident,
    Opened,
    Status,
    Transition,
    follow,
)
from research_to_prod.operations.incidents.store import IncidentStore
from tests.operations.alerting.book import NOON
from tests.operations.incidents.firings import REVIEW

SUBJECT = Subject("sandbox", "main")


def opened(rule: str = "margin", *, never_muted: bool = False) -> Opened:
    mark = fingerprint("test", rule, SUBJECT)
    return Opened(fingerprint=mark, rule=rule, never_muted=never_muted, subject=SUBJECT)


def started(store: IncidentStore, severity: Severity = Severity.P1, *, never_muted: bool = False) -> Incident:
    with store.work() as work:
        return work.open("one", opened(never_muted=never_muted), severity, NOON, "evidence", None)


def moved(store: IncidentStore, *to: Status, actor: str = "user:ana", **more: object) -> Incident:
    with store.work() as work:
        incident = work.incidents.get("one")
        for each in to:
            incident = work.move(incident, each, actor=actor, at=NOON, ref="by hand", **more)  # type: ignore[arg-type]
    return incident


@pytest.fixture
def store(tmp_path: Path) -> IncidentStore:
    return IncidentStore(tmp_path / "incidents.jsonl")


def test_the_whole_way_from_detection_to_review(store: IncidentStore) -> None:
    started(store)
    moved(store, Status.ACKED, Status.MITIGATING, Status.MITIGATED, Status.RESOLVED)
    found = moved(store, Status.REVIEWED, review=REVIEW)
    assert (found.status, found.acked_by, found.seq) == (Status.REVIEWED, "user:ana", 5)


def test_a_page_is_not_resolved_unread(store: IncidentStore) -> None:
    started(store)
    moved(store, Status.MITIGATED, actor=SYSTEM)
    with pytest.raises(IllegalTransitionError, match="nobody has acknowledged it"):
        moved(store, Status.RESOLVED)
    assert moved(store, Status.ACKED, Status.RESOLVED).status is Status.RESOLVED


def test_only_a_person_resolves_a_page(store: IncidentStore) -> None:
    started(store)
    moved(store, Status.ACKED)
    with pytest.raises(IllegalTransitionError, match="only a person resolves a page"):
        moved(store, Status.RESOLVED, actor=SYSTEM)


def test_nobody_acknowledges_by_machine(store: IncidentStore) -> None:
    started(store)
    with pytest.raises(IllegalTransitionError, match="only a person makes it acked"):
        moved(store, Status.ACKED, actor=SYSTEM)


def test_a_suppression_says_until_when_and_why_and_spares_what_is_never_muted(store: IncidentStore) -> None:
    started(store, never_muted=True)
    later = NOON + timedelta(hours=1)
    with pytest.raises(IllegalTransitionError, match="margin is never muted"):
        moved(store, Status.SUPPRESSED, until=later, note="known")
    with pytest.raises(IllegalTransitionError, match="until when, and why"):
        moved(store, Status.SUPPRESSED)


def test_no_review_without_a_scenario_that_did_not_exist(store: IncidentStore) -> None:
    started(store)
    moved(store, Status.ACKED, Status.RESOLVED)
    with pytest.raises(IllegalTransitionError, match="comes with its record"):
        moved(store, Status.REVIEWED)
    moved(store, Status.REVIEWED, review=REVIEW)
    with store.work() as work:
        other = work.open("two", opened("depeg"), Severity.P3, NOON, "evidence", None)
        other = work.move(other, Status.MITIGATED, actor=SYSTEM, at=NOON, ref="calm")
        work.move(other, Status.RESOLVED, actor=SYSTEM, at=NOON, ref="calm")
    with pytest.raises(IllegalTransitionError, match="scenario venue-down-2026-01-05 is another review's"), (
        store.work()
    ) as work:  # fmt: skip
        work.move(other, Status.REVIEWED, actor="user:ana", at=NOON, ref="by hand", review=REVIEW)


def test_severity_rises_and_never_falls_while_it_is_open(store: IncidentStore) -> None:
    incident = started(store, Severity.P2)
    with store.work() as work:
        raised = work.tell(incident, Event.RAISED, severity=Severity.P1, at=NOON, ref="e", note="worse", page=None)
    assert raised.severity is Severity.P1
    with pytest.raises(IllegalTransitionError, match="may only rise"), store.work() as work:
        work.tell(raised, Event.RAISED, severity=Severity.P2, at=NOON, ref="e", note="better", page=None)


def test_history_goes_forward_only(store: IncidentStore) -> None:
    incident = started(store)
    early = Transition(
        incident_id="one", seq=1, event=Event.MOVED, source=incident.status, to=Status.ACKED, actor="user:ana",
        at=NOON - timedelta(seconds=1), severity=incident.severity, evidence_ref="by hand",
    )  # fmt: skip
    with pytest.raises(IllegalTransitionError, match="before the last one"):
        follow(incident, early)
    with store.work() as work:
        # A person's clock that is behind the alerter's is no reason to refuse the person.
        late = work.move(incident, Status.ACKED, actor="user:ana", at=NOON - timedelta(seconds=1), ref="by hand")
    assert late.at == NOON


def test_the_beginning_of_an_id_names_it_where_only_one_begins_so(store: IncidentStore) -> None:
    started(store)
    assert store.read().get("o").id == "one"


@settings(max_examples=25, stateful_step_count=25)
class Lives(RuleBasedStateMachine):
    """Any transitions in any order: the model says which are legal."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "incidents.jsonl"
        self.store = IncidentStore(self.path)
        self.scenarios = 0

    @initialize(severity=st.sampled_from(Severity))
    def begins(self, severity: Severity) -> None:
        started(self.store, severity)

    @property
    def incident(self) -> Incident:
        return self.store.read().get("one")

    @rule(to=st.sampled_from(Status), actor=st.sampled_from([SYSTEM, "user:ana"]))
    def moves(self, to: Status, actor: str) -> None:
        before, bytes_before = self.incident, self.path.read_bytes()
        more: dict[str, object] = {}
        if to is Status.SUPPRESSED:
            more = {"until": NOON + timedelta(days=1), "note": "known"}
        elif to is Status.MERGED:
            more = {"into": "another"}
        elif to is Status.REVIEWED:
            self.scenarios += 1
            more = {"review": REVIEW.model_copy(update={"scenario": f"scenario-{self.scenarios}"})}
        person = actor != SYSTEM
        legal = to in FOLLOWS[before.status]
        legal &= person or to not in {Status.ACKED, Status.SUPPRESSED, Status.REVIEWED}
        if to is Status.RESOLVED and before.severity.pages and before.status is not Status.MERGED:
            legal &= person and before.acked_by is not None
        if legal:
            after = moved(self.store, to, actor=actor, **more)
            assert (after.status, after.seq) == (to, before.seq + 1)
        else:
            with pytest.raises(IllegalTransitionError):
                moved(self.store, to, actor=actor, **more)
            assert self.path.read_bytes() == bytes_before

    @rule(severity=st.sampled_from(Severity))
    def is_raised(self, severity: Severity) -> None:
        before = self.incident
        legal = SEVERITIES.index(severity) < SEVERITIES.index(before.severity) and before.status not in CLOSED
        try:
            with self.store.work() as work:
                work.tell(before, Event.RAISED, severity=severity, at=NOON, ref="e", note="worse", page=None)
            assert legal
        except IllegalTransitionError:
            assert not legal

    @rule(conditions=st.integers(1, 3))
    def occurs(self, conditions: int) -> None:
        before = self.incident.occurrences
        with self.store.work() as work:
            work.occurred(work.incidents.get("one"), range(conditions))
            work.count(NOON)
        assert self.incident.occurrences == before + conditions

    @invariant()
    def the_file_says_what_memory_does(self) -> None:
        if self.path.exists():
            again = IncidentStore(self.path).read()
            assert again.get("one") == self.incident
            assert [step.seq for step in again.history("one")] == list(range(self.incident.seq + 1))

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestLives = Lives.TestCase
