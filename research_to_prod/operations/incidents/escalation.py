"""Who is told next when nobody has taken an incident.

Belongs here: which steps are due. Doesn't: the roles' people and rotas, which are the channels' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from research_to_prod.operations.alerting.settings import Exposed, Paging, Severity
from research_to_prod.operations.incidents.lifecycle import UNTAKEN, Event, Incident
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

    The first step is the page that opened it. A P1 with anything at stake asks for the ladder once it is `overdue`,
    between the steps to people.
    """
    if incident.status not in UNTAKEN or incident.page is None:
        return None
    steps = [(step.after, step.to) for step in paging.escalation.get(incident.severity, ())[1:]]
    bears = _bears(incident, paging)
    if bears is not None:
        steps.append((bears, LADDER))
    waiting = sorted(steps)[incident.escalations :]
    if not waiting or (now - incident.opened_at).total_seconds() < waiting[0][0]:
        return None
    after, to = waiting[0]
    return Due(to, f"nobody has acknowledged it within {after:.0f} s")


def overdue(incident: Incident, paging: Paging, now: datetime) -> bool:
    """Whether a P1 with anything at stake has been unread for as long as the book can bear to be blind."""
    bears = _bears(incident, paging)
    return incident.status in UNTAKEN and bears is not None and (now - incident.opened_at).total_seconds() >= bears


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


def _bears(incident: Incident, paging: Paging) -> float | None:
    """Return after how many seconds unread an incident asks for the ladder; None where it never does.

    Where the blind time isn't known it is when the second person is told: not known is no reason to wait for ever.
    """
    page = incident.page
    if incident.severity is not Severity.P1 or page is None or page.exposed is Exposed.X0:
        return None
    if page.blind_seconds is not None:
        return page.blind_seconds
    return next((step.after for step in paging.escalation.get(Severity.P1, ())[1:]), 0.0)
