"""Evaluations of the shipped rules for the tests of incidents, and a store to take them in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from research_to_prod.operations.alerting.evaluation import Evaluation, Key, Observation, State
from research_to_prod.operations.alerting.situation import Context
from research_to_prod.operations.incidents.escalation import escalate
from research_to_prod.operations.incidents.intake import Desk, take_in
from research_to_prod.operations.incidents.lifecycle import Incident, Occurrence, Opened, Status, Transition
from research_to_prod.operations.incidents.review import Review
from research_to_prod.operations.incidents.store import IncidentStore, _Line
from tests.operations.alerting.book import NOON, POLICY, context, held, judged

DESK = Desk("test", POLICY, {})
REVIEW = Review(
    scenario="venue-down-2026-01-05",
    began_at=NOON,
    detected_by="venue_status",
    cause="The venue's order gateway was restarted without notice.",
    loss=120.5,
    actions=(),
)


@dataclass
class Play:
    """A desk whose clock moves as the test says; only the conditions that were measured are judged."""

    folder: Path
    now: datetime = NOON
    states: dict[Key, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = IncidentStore(self.folder / "incidents.jsonl")

    def see(
        self, *observations: Observation, after: float = 0.0, about: Context | None = None, escalating: bool = False
    ) -> list[Transition]:
        """Let seconds pass, judge, take in; return what was added."""
        self.now += timedelta(seconds=after)
        given = [Observation(o.metric, o.subject, o.value, self.now, o.count, o.usual) for o in observations]
        result = judged(given, about or context(held(), watched_since=self.now), self.states, self.now)
        self.states = dict(result.states)
        asked = {(o.metric, o.subject) for o in given}
        return self.take([e for e in result.evaluations if (e.metric, e.case.subject) in asked], escalating=escalating)

    def take(self, evaluations: Iterable[Evaluation], *, escalating: bool = False) -> list[Transition]:
        before = len(self.store.read().log)
        with self.store.work() as work:
            take_in(work, evaluations, DESK, self.now)
            if escalating:
                escalate(work, POLICY.settings.paging, self.now)
        return self.store.read().log[before:]

    def wait(self, seconds: float) -> list[Transition]:
        self.now += timedelta(seconds=seconds)
        return self.take([], escalating=True)

    def person(self, incident: Incident, *to: Status, **more: object) -> Incident:
        with self.store.work() as work:
            for each in to:
                incident = work.move(
                    incident,
                    each,
                    actor="user:ana",
                    at=self.now,
                    ref="by hand",
                    **more,  # type: ignore[arg-type]
                )
        return incident

    @property
    def open(self) -> list[Incident]:
        return self.store.read().told()

    @property
    def only(self) -> Incident:
        (found,) = self.store.read().all()
        return found


def pages(steps: Iterable[Transition]) -> list[str]:
    """Whom each page reached, and about what."""
    return [f"{step.page.severity} {step.page.rule} to {step.page.to}" for step in steps if step.page is not None]


def refs_in(path: Path) -> list[str]:
    """Return the evaluation that each firing in the file of incidents rests on, those that changed nothing too."""
    found, fired, opened = [], dict[str, tuple[int, ...]](), dict[str, Opened]()
    for line in map(_Line.validate_json, path.read_bytes().splitlines()):
        if isinstance(line, Occurrence):
            fired = line.of or fired
            found += [
                f"{opened[name].rule}/{number} {opened[name].subject} {line.at.isoformat()}"
                for name, numbers in fired.items()
                for number in numbers
            ]
        elif line.opened is not None:
            opened[line.incident_id] = line.opened
            found.append(line.evidence_ref)
    return found
