"""The life of an incident, as transitions that are only ever added.

    detected -> acked -> mitigating -> mitigated -> resolved -> reviewed

Beside them: suppressed for a time, merged into another one, reopened. Belongs here: transitions, which may follow
which, and the incident that they add up to. Doesn't: who makes them (``intake``, commands), and the file (``store``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from pydantic import ConfigDict, Field

from research_to_prod.declared import Frozen
from research_to_prod.operations.alerting.settings import SEVERITIES, Severity
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.operations.incidents.page import Page
from research_to_prod.operations.incidents.review import Review
from research_to_prod.promotion.record import Sha256, Text, UtcMillis

SYSTEM = "system"
"""The actor of what no person does."""


class IllegalTransitionError(ValueError):
    """A transition does not follow from the state; the message says what would."""


class Status(StrEnum):
    """Where an incident stands."""

    DETECTED = "detected"
    ACKED = "acked"
    MITIGATING = "mitigating"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    REVIEWED = "reviewed"
    SUPPRESSED = "suppressed"
    MERGED = "merged"
    REOPENED = "reopened"


class Event(StrEnum):
    """What a transition is: only a move changes the status."""

    OPENED = "opened"
    MOVED = "moved"
    RAISED = "raised"
    ESCALATED = "escalated"


_S = Status
_TAKEN = frozenset({_S.ACKED, _S.MITIGATING, _S.MITIGATED, _S.SUPPRESSED, _S.MERGED})
FOLLOWS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        _S.DETECTED: _TAKEN,
        _S.REOPENED: _TAKEN,
        _S.ACKED: frozenset({_S.MITIGATING, _S.MITIGATED, _S.RESOLVED, _S.SUPPRESSED, _S.MERGED}),
        # An automatic action can begin before anybody has taken the incident, and its end too.
        _S.MITIGATING: frozenset({_S.ACKED, _S.MITIGATED}),
        _S.MITIGATED: frozenset({_S.ACKED, _S.MITIGATING, _S.RESOLVED, _S.REOPENED}),
        _S.RESOLVED: frozenset({_S.REVIEWED, _S.REOPENED}),
        _S.REVIEWED: frozenset({_S.REOPENED}),
        _S.SUPPRESSED: frozenset({_S.ACKED, _S.MITIGATED, _S.REOPENED}),
        _S.MERGED: frozenset({_S.RESOLVED, _S.REOPENED}),
    }
)
"""Which status may follow which."""

CLOSED = frozenset({Status.RESOLVED, Status.REVIEWED})
UNTAKEN = frozenset({Status.DETECTED, Status.REOPENED})
"""Nobody has said that they are on it."""


class Opened(Frozen):
    """What an incident is about; never changes. ``blind``: that it is not seen."""

    fingerprint: Sha256
    rule: Text
    blind: bool = False
    never_muted: bool
    subject: Subject


class Transition(Frozen):
    """One line of an incident's history.

    Parameters
    ----------
    source
        ``from`` in the file; absent when it opens.
    evidence_ref
        The evaluation, the decision or the person's words that it rests on.
    page
        What people are told, with the numbers of that moment; absent where nobody is.
    until
        End of a suppression.
    into
        The incident that it is merged into.
    review
        Comes with ``reviewed``.
    """

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["transition"] = "transition"
    incident_id: Text
    seq: int = Field(ge=0)
    event: Event
    source: Status | None = Field(None, alias="from")
    to: Status
    actor: Text
    at: UtcMillis
    severity: Severity
    evidence_ref: Text
    note: str = ""
    opened: Opened | None = None
    page: Page | None = None
    until: UtcMillis | None = None
    into: Text | None = None
    review: Review | None = None


class Occurrence(Frozen):
    """Firings of one moment that changed nothing: kept, so that nothing is dropped.

    Parameters
    ----------
    of
        By incident the conditions of its rule that fired, in order. Absent where they are those of the occurrence
        before: what goes on for days would fill the file with its repetition.
    """

    kind: Literal["occurrence"] = "occurrence"
    at: UtcMillis
    of: dict[Text, tuple[int, ...]] | None = Field(None, min_length=1)


@dataclass(frozen=True)
class Incident:
    """What an incident's transitions add up to.

    Parameters
    ----------
    opened_at
        Of this opening: reopening counts anew.
    acked_by
        Who took it since then; None while nobody has.
    calm
        The signal went calm by itself, and has not come back.
    escalations
        Steps of escalation since it was opened.
    occurrences
        Firings in all, the opening one included.
    """

    id: str
    opened: Opened
    status: Status
    severity: Severity
    opened_at: datetime
    at: datetime
    seq: int
    acked_by: str | None = None
    calm: bool = False
    escalations: int = 0
    resolved_at: datetime | None = None
    into: str | None = None
    until: datetime | None = None
    occurrences: int = 1
    page: Page | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do about it besides the review."""
        return self.status not in CLOSED

    @property
    def speaks(self) -> bool:
        """Whether it is told for itself: open, and not part of another one."""
        return self.is_open and self.status is not Status.MERGED


def follow(before: Incident | None, step: Transition) -> Incident:
    """Return the incident after ``step``.

    Raises
    ------
    IllegalTransitionError
        When it may not follow; the incident then is as it was.
    """
    if before is None:
        if step.event is not Event.OPENED or step.seq != 0 or step.opened is None or step.to is not Status.DETECTED:
            raise IllegalTransitionError(f"{step.incident_id}: its history begins with something else than its opening")
        return Incident(
            step.incident_id, step.opened, step.to, step.severity, step.at, step.at, step.seq, page=step.page
        )
    _check(before, step)
    after = replace(before, at=step.at, seq=step.seq, severity=step.severity, page=step.page or before.page)
    if step.event is not Event.MOVED:
        return replace(after, escalations=before.escalations + (step.event is Event.ESCALATED))
    calm = step.to is Status.MITIGATED and step.actor == SYSTEM
    after = replace(after, status=step.to, until=step.until, into=step.into, calm=calm)
    if step.to is Status.REOPENED:
        after = replace(after, opened_at=step.at, acked_by=None, escalations=0, resolved_at=None)
    elif step.to is Status.ACKED:
        after = replace(after, acked_by=step.actor)
    elif step.to is Status.RESOLVED:
        after = replace(after, resolved_at=step.at)
    return after


def _check(before: Incident, step: Transition) -> None:
    problems = []
    if step.seq != before.seq + 1 or step.source is not before.status or step.opened is not None:
        problems.append(f"step {step.seq} from {step.source} does not follow step {before.seq} at {before.status}")
    if step.at < before.at:
        problems.append(f"it is of {step.at.isoformat()}, before the last one of {before.at.isoformat()}")
    worse = SEVERITIES.index(step.severity) < SEVERITIES.index(before.severity)
    falls = SEVERITIES.index(step.severity) > SEVERITIES.index(before.severity)
    if falls and step.to is not Status.REOPENED:
        problems.append(f"severity may only rise while it is open: {before.severity} to {step.severity}")
    if step.event is Event.MOVED:
        problems += _wrong_move(before, step)
    elif step.event is Event.OPENED or step.to is not before.status or not before.is_open:
        problems.append(f"{step.event} does not move an incident that is {before.status}")
    elif step.event is Event.RAISED and not worse:
        problems.append(f"raised from {before.severity} to {step.severity}")
    if problems:
        raise IllegalTransitionError(f"{before.id}: " + "; ".join(problems))


def _wrong_move(before: Incident, step: Transition) -> list[str]:
    problems = []
    to = step.to
    if to not in FOLLOWS[before.status]:
        allowed = ", ".join(sorted(FOLLOWS[before.status]))
        problems.append(f"{before.status} is followed by {allowed}, not by {to}")
    by_person = step.actor != SYSTEM
    if to in {Status.ACKED, Status.REVIEWED, Status.SUPPRESSED} and not by_person:
        problems.append(f"only a person makes it {to}")
    if to is Status.RESOLVED and before.status is not Status.MERGED and before.severity.pages:
        if before.acked_by is None:
            problems.append("nobody has acknowledged it; a page is not resolved unread")
        if not by_person:
            problems.append("only a person resolves a page")
    if to is Status.SUPPRESSED and (step.until is None or step.until <= step.at or not step.note):
        problems.append("a suppression says until when, and why")
    if to is Status.SUPPRESSED and before.opened.never_muted:
        problems.append(f"{before.opened.rule} is never muted")
    if (to is Status.MERGED) is not (step.into is not None) or step.into == before.id:
        problems.append("a merge, and nothing else, names the other incident that it is into")
    if (to is Status.REVIEWED) is not (step.review is not None):
        problems.append("a review, and nothing else, comes with its record")
    return problems
