"""Messages in the shapes that other systems read: Alertmanager's webhook v4, PagerDuty's Events v2, plain text.

Belongs here: the shapes. Doesn't: sending them (``channels``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.delivery.message import Action, Message
from research_to_prod.promotion.verifier import time_text

_NOT_ENDED = "0001-01-01T00:00:00Z"
_PAGERDUTY: Mapping[Severity, str] = {
    Severity.P1: "critical",
    Severity.P2: "error",
    Severity.P3: "warning",
    Severity.P4: "info",
}


def as_text(message: Message) -> str:
    """Return the whole page as lines of plain text."""
    page = message.page
    lines = [f"[{message.action}] {page.text}", f"to {page.to}; incident {message.incident_id}"]
    if message.action is Action.TRIGGER:
        lines += [*page.context, *(f"{number}. {step}" for number, step in enumerate(page.steps, start=1))]
        lines += [f"runbook {page.runbook}", *page.links]
    return "\n".join(lines)


def as_json(message: Message) -> dict[str, Any]:
    """Return the message as a JSON value, whole."""
    return {
        "key": message.key,
        "incident_id": message.incident_id,
        "action": message.action.value,
        "at": time_text(message.at),
        "opened_at": time_text(message.opened_at),
        "fingerprint": message.fingerprint,
        "page": message.page.model_dump(mode="json"),
    }


def as_alertmanager(message: Message, receiver: str) -> dict[str, Any]:
    """Return the body that Alertmanager (webhook version 4) posts, with one alert in one group.

    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config; ``fingerprint`` there has 16 digits.
    """
    page, subject = message.page, message.subject
    named = {
        "alertname": page.rule,
        "severity": page.severity.value,
        "venue": subject.venue,
        "account": subject.account,
        "instrument": subject.instrument,
        "strategy": subject.strategy,
        "key": subject.key,
    }
    labels = {name: value for name, value in named.items() if value}
    annotations = {
        "summary": page.text,
        "description": "\n".join((*page.context, *page.steps)),
        "runbook_url": page.runbook,
        "incident": message.incident_id,
    }
    ended = message.action is Action.RESOLVE
    status = "resolved" if ended else "firing"
    group = {name: labels[name] for name in ("alertname", "venue", "account") if name in labels}
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": time_text(message.opened_at),
        "endsAt": time_text(message.at) if ended else _NOT_ENDED,
        "generatorURL": "",
        "fingerprint": message.fingerprint[:16],
    }
    return {
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f'{name}="{value}"' for name, value in sorted(group.items())) + "}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [alert],
    }


def as_pagerduty(message: Message, routing_key: str) -> dict[str, Any]:
    """Return the body of PagerDuty's Events API v2; the incident is the key by which repeats are one."""
    page = message.page
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": message.action.value,
        "dedup_key": message.incident_id,
    }
    if message.action is Action.TRIGGER:
        body["payload"] = {
            "summary": page.text[:1024],
            "source": str(message.subject),
            "severity": _PAGERDUTY[page.severity],
            "timestamp": time_text(message.at),
            "component": page.rule,
            "group": " ".join(each for each in (message.subject.venue, message.subject.account) if each),
            "class": page.title,
            "custom_details": {"context": list(page.context), "steps": list(page.steps), "runbook": page.runbook},
        }
    return body
