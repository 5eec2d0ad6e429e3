"""What a person is told: the finding, what it can cost, how long there is, and what to do first.

Belongs here: the page and its making. Doesn't: how it travels (``delivery``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from research_to_prod.declared import Frozen
from research_to_prod.operations.alerting.evaluation import Evaluation
from research_to_prod.operations.alerting.rules import AlertPolicy
from research_to_prod.operations.alerting.settings import Exposed, Severity
from research_to_prod.operations.runbooks import EVERY, Runbook, in_words, render


class Page(Frozen):
    """One message about an incident; numbers are those of the moment, None where not known.

    Parameters
    ----------
    to
        Role that is told.
    text
        One line: what, where, how bad.
    context
        What a person needs to weigh it, one line each.
    steps
        The runbook's first steps, numbers filled in.
    runbook
        Name of the runbook's file.
    links
        Commands and places that show more.
    numbers
        What fills the runbook's text and queries.
    """

    to: str
    severity: Severity
    rule: str
    title: str
    text: str
    regime: str
    exposed: Exposed
    at_stake: float | None
    blind_seconds: float | None
    reduce_first: bool
    unwind_hours: float | None
    value: float | None
    threshold: float | None
    unit: str
    events: tuple[str, ...]
    context: tuple[str, ...]
    steps: tuple[str, ...]
    runbook: str
    links: tuple[str, ...]
    numbers: dict[str, str]


def page_of(
    evaluation: Evaluation,
    severity: Severity,
    policy: AlertPolicy,
    runbook: Runbook | None,
    incident_id: str,
    *,
    to: str,
    others: Sequence[str] = (),
) -> Page:
    """Return the page of an incident that ``evaluation`` opened, raised or opened again.

    Parameters
    ----------
    runbook
        None where the desk has deleted it; the page then says so rather than not coming.
    others
        Lines about what else fires with it.
    """
    case, situation = evaluation.case, evaluation.case.situation
    rule = policy.by_id[case.rule]
    unit = policy.metrics[evaluation.metric].unit
    numbers = numbers_of(evaluation, unit, incident_id)
    found = f"{rule.title}: {case.subject}, {evaluation.metric} {numbers['value']} against {numbers['threshold']}"
    if evaluation.blind:
        found = f"Not seen for too long: {case.subject}, {evaluation.metric}, for the rule {rule.id}"
    context = (
        f"at stake {numbers['at_stake']}, {situation.exposed}; market {situation.regime}",
        f"blindness tolerable for {numbers['blind_time']}; {numbers['unwind']} to unwind",
        *(
            ("the exit alone costs the whole loss budget of an incident: reduce first",)
            if situation.reduce_first
            else ()
        ),
        *(f"now: {each}" for each in situation.events),
        *others,
    )
    steps = (
        render(runbook, numbers) if runbook is not None else (f"There is no runbook {rule.runbook}: write it after.",)
    )
    return Page(
        to=to,
        severity=severity,
        rule=rule.id,
        title=rule.title,
        text=f"{severity} {found}",
        regime=situation.regime.value,
        exposed=situation.exposed,
        at_stake=situation.at_stake,
        blind_seconds=situation.blind_seconds,
        reduce_first=situation.reduce_first,
        unwind_hours=situation.unwind_hours,
        value=evaluation.value,
        threshold=evaluation.threshold,
        unit=unit,
        events=situation.events,
        context=context,
        steps=steps,
        runbook=f"{rule.runbook}.md",
        numbers=numbers,
        links=(f"r2p incident runbook {incident_id}", f"r2p incident ack {incident_id} --by user:NAME"),
    )


def numbers_of(evaluation: Evaluation, unit: str, incident_id: str) -> dict[str, str]:
    """Return what runbooks may name in braces, as text for people."""
    case, situation = evaluation.case, evaluation.case.situation
    subject = case.subject
    ended = case.as_of - timedelta(microseconds=1)  # midnight belongs to the day that it ends
    return {
        "incident": incident_id,
        "subject": str(subject),
        "venue": subject.venue or EVERY + "venue",
        "account": subject.account or EVERY + "account",
        "symbol": subject.instrument or EVERY + "market",
        "strategy": subject.strategy or EVERY + "strategy",
        "key": subject.key or EVERY + "one",
        "value": in_words(evaluation.value, unit),
        "threshold": in_words(evaluation.threshold, unit),
        "regime": situation.regime.value,
        "exposed": situation.exposed.value,
        "at_stake": in_words(situation.at_stake, "quote currency"),
        "exit_cost": in_words(situation.exit_cost, "quote currency"),
        "budget": in_words(situation.budget, "quote currency"),
        "blind_time": in_words(situation.blind_seconds, "seconds"),
        "unwind": in_words(None if situation.unwind_hours is None else situation.unwind_hours * 3600, "seconds"),
        "events": ", ".join(situation.events) or "no event",
        "day": f"{ended:%Y-%m-%d}",
        "month": f"{ended:%Y-%m}",
        "as_of": f"{case.as_of:%Y-%m-%d %H:%M:%S}",
    }
