"""Who is told next when nobody has taken an incident.

Belongs here: which steps are due. Doesn't: the roles' people and rotas, which are the channels' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.operations.alerting.settings import Exposed, Paging, Severity
from research_to_prod.operations.incidents.lifecycle import UNTAKEN, Event, Incident, Transition
from research_to_prod.operations.incidents.store import Work

LADDER = "ladder"
"""The step that no person takes: an unread P1 that costs money asks for a step of the mitigation ladder."""


@dataclass(frozen=True)
class Due:
    """One step that is due: whom to tell, and why."""

    to: str
    note: str


def due(incident: Incident, paging: Paging, now: datetime) -> Due | None:
    """Return the next step of an incident that nobody has taken, if its time has come.

    The first step is the page that opened it. A P1 with anything at stake asks for the ladder once it has been unread
    for as long as the book can bear to be blind, between the steps to people.
    """
    if incident.status not in UNTAKEN or incident.page is None:
        return None
    steps = [(step.after, step.to) for step in paging.escalation.get(incident.severity, ())[1:]]
    page = incident.page
    if incident.severity is Severity.P1 and page.exposed is not Exposed.X0 and page.blind_seconds is not None:
        steps.append((page.blind_seconds, LADDER))
    waiting = sorted(steps)[incident.escalations :]
    if not waiting or (now - incident.opened_at).total_seconds() < waiting[0][0]:
        return None
    after, to = waiting[0]
    return Due(to, f"nobody has acknowledged it within {after:.0f} s")


def escalate(work: Work, paging: Paging, now: datetime) -> None:
    """Take every step that is due."""
    for incident in work.incidents.told():
        current = incident
        while (step := due(current, paging, now)) is not None and current.page is not None:
            page = current.page.model_copy(update={"to": step.to, "context": (step.note, *current.page.context)})
            current = work.tell(
                current, Event.ESCALATED, severity=current.severity, at=now, ref=f"escalation to {step.to}",
                note=f"{step.to}: {step.note}", page=page,
            )  # fmt: skip


def asks_for_ladder(incident: Incident, history: Sequence[Transition]) -> bool:
    """Whether this opening of an incident has asked for a step of the mitigation ladder, and nobody has taken it."""
    asked = (each for each in history if each.event is Event.ESCALATED and each.at >= incident.opened_at)
    return incident.status in UNTAKEN and any(each.page is not None and each.page.to == LADDER for each in asked)
