"""From what fires to incidents: one page a cause, and nothing dropped.

A firing that is already known changes nothing and is written down. One that has a parent (the venue is down; the same
rule at the same account a moment ago) becomes part of it and stays its own incident, so that it speaks again should the
parent end before it does. Belongs here: that decision. Doesn't: whether something fires (``alerting``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.operations.alerting.evaluation import Evaluation, Sight
from research_to_prod.operations.alerting.rules import AlertPolicy, Rule
from research_to_prod.operations.alerting.settings import SEVERITIES, Exposed, Severity
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.operations.incidents.fingerprint import fingerprint
from research_to_prod.operations.incidents.lifecycle import SYSTEM, UNTAKEN, Event, Incident, Opened, Status
from research_to_prod.operations.incidents.page import Page, page_of
from research_to_prod.operations.incidents.store import BLIND, Group, Work
from research_to_prod.operations.runbooks import Runbook


@dataclass(frozen=True)
class Desk:
    """What intake needs to know besides the firings: where, by which rules, with which runbooks."""

    environment: str
    policy: AlertPolicy
    runbooks: Mapping[str, Runbook]

    def page(self, worst: Evaluation, severity: Severity, incident_id: str, *notes: str) -> Page:
        """Return the page of a firing, to whom its severity reaches at once."""
        runbook = self.runbooks.get(self.policy.by_id[worst.case.rule].runbook)
        steps = self.policy.settings.paging.escalation.get(severity, ())
        to = steps[0].to if steps else "tickets"
        given = tuple(note for note in notes if note)
        return page_of(worst, severity, self.policy, runbook, incident_id, to=to, others=given)


@dataclass(frozen=True)
class _Found:
    """What one moment says of one rule on one subject: of what is seen, or of not seeing (``blind``)."""

    rule: Rule
    subject: Subject
    blind: bool
    all: Sequence[Evaluation]

    @property
    def is_calm(self) -> bool:
        """Whether nothing of it fires, told or not, and some of it was seen: not seeing resolves nothing."""
        if any(each.blind if self.blind else each.known for each in self.all):
            return False
        seen = any(each.sight not in {Sight.NO_DATA, Sight.BLIND} for each in self.all)
        return seen or all(not each.case.watched and each.case.situation.exposed is Exposed.X0 for each in self.all)

    @property
    def firing(self) -> list[Evaluation]:
        """Its firing conditions that no event mutes, worst first."""
        told = [each for each in self.all if (each.blind if self.blind else each.known) and each.muted_by is None]
        return sorted(told, key=lambda each: SEVERITIES.index(each.severity or Severity.P4))

    @property
    def rank(self) -> int:
        """Its place by severity."""
        firing = self.firing
        return SEVERITIES.index(firing[0].severity or Severity.P4) if firing else len(SEVERITIES)

    @property
    def group(self) -> Group:
        """Its group."""
        return BLIND if self.blind else self.rule.id, self.subject.venue, self.subject.account


def evidence_ref(evaluation: Evaluation) -> str:
    """Return where an evaluation is found again: rule, condition, subject and moment are the key of its row."""
    case = evaluation.case
    return f"{case.rule}/{case.condition} {case.subject} {case.as_of.isoformat()}"


def take_in(work: Work, evaluations: Iterable[Evaluation], desk: Desk, now: datetime) -> None:
    """Open, raise, merge, reopen and calm incidents by the evaluations of one moment."""
    found: dict[tuple[str, Subject], list[Evaluation]] = {}
    for each in evaluations:
        found.setdefault((each.case.rule, each.case.subject), []).append(each)
    groups = [
        _Found(desk.policy.by_id[rule], subject, blind, all_)
        for (rule, subject), all_ in found.items()
        for blind in (False, True)
    ]
    # Parents first, and the worst of a group before the rest, which are merged into it.
    groups.sort(key=_turn)
    unseen: dict[Group, list[str]] = {}
    for group in groups:
        if group.blind and group.firing and group.rule.id not in unseen.setdefault(group.group, []):
            unseen[group.group].append(group.rule.id)
    for group in groups:
        mark = fingerprint(desk.environment, group.rule.id, group.subject, blind=group.blind)
        incident = work.incidents.latest(mark)
        if group.firing:
            note = f"not seen here, by rule: {', '.join(unseen[group.group])}" if group.blind else ""
            _fires(work, group, mark, incident, note, desk, now)
        elif incident is not None and incident.is_open and group.is_calm:
            _calm(work, group, incident, now)
    work.count(now)


def _turn(found: _Found) -> tuple[object, ...]:
    if found.blind:
        return True, found.rank, found.rule.number, found.subject
    return False, not found.rule.inhibits, found.rule.number, found.rank, found.subject


def _fires(
    work: Work, found: _Found, mark: str, incident: Incident | None, note: str, desk: Desk, now: datetime
) -> None:
    firing = found.firing
    worst = firing[0]
    severity = worst.severity or Severity.P4
    ref = evidence_ref(worst)
    if incident is not None and (incident.is_open or _returns(incident, desk, now)):
        work.occurred(incident, [each.case.condition for each in firing])
        if not _speaks_again(work, incident, now):
            _raise(work, incident, worst, severity, desk, now)
            return
        grouping = desk.policy.settings.paging.grouping.value
        if incident.calm and incident.acked_by and (now - incident.at).total_seconds() <= grouping:
            # It flaps, and whoever took it is still on it.
            work.move(incident, Status.MITIGATING, actor=SYSTEM, at=now, ref=ref, note="the calm did not last")
            return
        parent = _parent(work, found, desk, now)
        back = f"it is back, seen {incident.occurrences + len(firing)} times"
        page = None if parent is not None else desk.page(worst, severity, incident.id, back, note)
        incident = work.move(
            incident, Status.REOPENED, actor=SYSTEM, at=now, ref=ref, severity=severity, note=back, page=page
        )
        _merge(work, incident, parent, worst, desk, now)
        return
    incident_id = f"{mark[:12]}-{now:%Y%m%dT%H%M%S}"
    opened = Opened(
        fingerprint=mark,
        rule=found.rule.id,
        blind=found.blind,
        never_muted=found.rule.never_muted or any(found.rule.any[e.case.condition].never_muted for e in firing),
        subject=found.subject,
    )
    parent = _parent(work, found, desk, now)
    page = None if parent is not None else desk.page(worst, severity, incident_id, note)
    incident = work.open(incident_id, opened, severity, now, ref, page)
    if len(firing) > 1:
        work.occurred(incident, [each.case.condition for each in firing[1:]])
    _merge(work, incident, parent, worst, desk, now)


def _merge(
    work: Work, incident: Incident, parent: Incident | None, worst: Evaluation, desk: Desk, now: datetime
) -> None:
    """Make an incident a part of its parent, if it has one; the parent becomes as severe as its worst part."""
    if parent is None:
        return
    ref, note = evidence_ref(worst), f"part of {parent.id}"
    work.move(incident, Status.MERGED, actor=SYSTEM, at=now, ref=ref, into=parent.id, note=note)
    _raise(work, parent, worst, incident.severity, desk, now)


def _raise(work: Work, incident: Incident, worst: Evaluation, severity: Severity, desk: Desk, now: datetime) -> None:
    """Raise an incident to ``severity`` if that is worse; what is merged is told by its parent."""
    if SEVERITIES.index(severity) >= SEVERITIES.index(incident.severity):
        return
    ref = evidence_ref(worst)
    note = f"from {incident.severity} to {severity}"
    merged = incident.status is Status.MERGED and incident.into is not None
    told = None if merged else desk.page(worst, severity, incident.id, note)
    work.tell(incident, Event.RAISED, severity=severity, at=now, ref=ref, note=note, page=told)
    if merged and incident.into is not None:
        _raise(work, work.incidents.get(incident.into), worst, severity, desk, now)


def _speaks_again(work: Work, incident: Incident, now: datetime) -> bool:
    """Whether a firing of a known incident is news: it had ended, its suppression or its parent has."""
    if incident.status is Status.SUPPRESSED:
        return incident.until is None or now >= incident.until
    if incident.status is Status.MERGED:
        parent = None if incident.into is None else work.incidents.get(incident.into)
        return parent is None or not parent.speaks or parent.calm
    return not incident.is_open or incident.calm


def _returns(incident: Incident, desk: Desk, now: datetime) -> bool:
    """Whether a closed incident is opened again rather than followed by another."""
    closed = incident.resolved_at
    return closed is not None and (now - closed).total_seconds() <= desk.policy.settings.paging.reopen_within.value


def _parent(work: Work, found: _Found, desk: Desk, now: datetime) -> Incident | None:
    """Return the incident of which a new one is a part, if there is one that is told."""
    inhibitors = {each.inhibited_by for each in found.firing}
    if None not in inhibitors:
        for rule in sorted(each for each in inhibitors if each):
            told = work.incidents.of_venue(rule, found.subject.venue)
            if told:
                return told[0]
    within = desk.policy.settings.paging.grouping.value
    for incident in work.incidents.speaking(found.group):
        # However late it is noticed: what is not seen while something else there isn't has its cause.
        fresh = found.blind or (now - incident.opened_at).total_seconds() <= within
        if fresh and incident.status in UNTAKEN | {Status.ACKED, Status.MITIGATING}:
            return incident
    return None


def _calm(work: Work, found: _Found, incident: Incident, now: datetime) -> None:
    """Write down that the signal went calm; only what woke nobody ends by itself."""
    ref = evidence_ref(found.all[0])
    note = "the signal is calm"
    if incident.status is Status.MERGED:
        work.move(incident, Status.RESOLVED, actor=SYSTEM, at=now, ref=ref, note=note)
        return
    if incident.status is not Status.MITIGATED:
        incident = work.move(incident, Status.MITIGATED, actor=SYSTEM, at=now, ref=ref, note=note)
    if not incident.severity.pages:
        work.move(incident, Status.RESOLVED, actor=SYSTEM, at=now, ref=ref, note=note)
