"""What is sent: one transition of an incident that somebody must hear of.

Belongs here: the message, and which transitions are messages. Doesn't: the page's text (``incidents.page``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.operations.incidents.lifecycle import Event, Status
from research_to_prod.operations.incidents.page import Page
from research_to_prod.operations.incidents.store import Incidents


class Action(StrEnum):
    """What the other side is to do with a message, in PagerDuty's words."""

    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


@dataclass(frozen=True)
class Message:
    """One message.

    Parameters
    ----------
    key
        ``incident:seq``: a repeat has the same.
    opened_at
        When the incident was first opened.
    page
        Of the transition, or the last one before it.
    """

    key: str
    incident_id: str
    action: Action
    at: datetime
    opened_at: datetime
    fingerprint: str
    subject: Subject
    page: Page


def messages(incidents: Incidents, first: int = 0) -> Iterator[Message]:
    """Yield the messages in ``incidents.log`` from place ``first`` on.

    Every transition with a page triggers. Of an incident that was told, the acknowledgement and the end are told too.
    """
    for step in incidents.log[first:]:
        history = incidents.history(step.incident_id)
        page = step.page or next((each.page for each in reversed(history[: step.seq]) if each.page is not None), None)
        opening = history[0].opened
        if page is None or opening is None:
            continue
        if step.page is not None:
            action = Action.TRIGGER
        elif step.event is Event.MOVED and step.to is Status.ACKED:
            action = Action.ACKNOWLEDGE
        elif step.event is Event.MOVED and step.to is Status.RESOLVED:
            action = Action.RESOLVE
        else:
            continue
        yield Message(
            key=f"{step.incident_id}:{step.seq}",
            incident_id=step.incident_id,
            action=action,
            at=step.at,
            opened_at=history[0].at,
            fingerprint=opening.fingerprint,
            subject=opening.subject,
            page=page,
        )
