"""What firing rules ask of the mitigation ladders: their readings, as a pure function of evaluations and incidents.

A page asks for the level that its rule declares, else for that of its severity in ``policies/ladder.yaml``; what is not
seen asks for ``not_seen``, whatever the rule: nobody flattens by marks that aren't there. Belongs here: which signal
fires on which ladder. Doesn't: how far a signal goes (``ladder``), the journal (``control_journal``), who is told
(``incidents``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.evaluation import Evaluation, Sight
from research_to_prod.operations.alerting.rules import AlertPolicy, Condition, Per, Rule
from research_to_prod.operations.alerting.situation import Subject, strictest
from research_to_prod.operations.control_journal import ALL, Target
from research_to_prod.operations.incidents.escalation import overdue
from research_to_prod.operations.incidents.fingerprint import fingerprint
from research_to_prod.operations.incidents.lifecycle import Incident, Status
from research_to_prod.operations.incidents.store import Incidents
from research_to_prod.operations.ladder import (
    Basis,
    Exposed,
    LadderError,
    LadderPolicy,
    Reading,
    Rung,
    Severity,
    Signal,
    State,
)
from research_to_prod.promotion.controls import Scope

NOT_SEEN = "not_seen"
"""The signal of whatever is not seen on an exposed book."""
_CALM = {Sight.CALM, Sight.TOO_FEW, Sight.OFF}
_MOMENT = timedelta(microseconds=1)


def with_rules(ladder: LadderPolicy, rules: AlertPolicy) -> LadderPolicy:
    """Return the ladder's policy with the levels that rules declare, by signal.

    Raises
    ------
    LadderError
        When it doesn't say what not seeing asks for.
    """
    if NOT_SEEN not in ladder.signals:
        raise LadderError(f"signals: {NOT_SEEN} is missing: say which level not seeing asks for, and why")
    declared = {
        signal_of(rule, number): Rung(level=holds_back.level, why=holds_back.why)
        for rule in rules.rules
        for number, condition in enumerate(rule.any)
        if (holds_back := condition.holds_back or rule.holds_back) is not None
    }
    return ladder.model_copy(update={"signals": ladder.signals | declared})


def signal_of(rule: Rule, condition: int) -> str:
    """Return the name of a condition's signal."""
    return f"{rule.id}/{condition}"


def target_of(rule: Rule, subject: Subject) -> Target:
    """Return the ladder that a rule's subject is on: the candidate's, else the venue's, else that of everything.

    An account and a market have no ladder of their own: their venue's holds back more than they would, never less.
    """
    if rule.per is Per.STRATEGY and subject.strategy:
        return Target(Scope.CANDIDATE, subject.strategy)
    return Target(Scope.VENUE, subject.venue) if subject.venue else ALL


def readings_of(
    evaluations: Iterable[Evaluation],
    rules: AlertPolicy,
    incidents: Incidents,
    states: Mapping[Target, State],
    environment: str,
    now: datetime,
) -> dict[Target, Reading]:
    """Return what the evaluations of one moment say to the ladders; a ladder to which they say nothing has none.

    Parameters
    ----------
    incidents
        As they were before this moment: what people suppressed asks for nothing, what they left unread for more.
    states
        Where the ladders stand: no measurement from before their last change confirms anything again.
    """
    found: dict[Target, _Asked] = {}
    for each in evaluations:
        rule = rules.by_id[each.case.rule]
        condition = rule.any[each.case.condition]
        target = target_of(rule, each.case.subject)
        basis = Basis.UNSEEN if each.blind else _basis(rule, condition)
        severity = condition.severity or rule.severity
        firing = _firing(each, basis, states.get(target, State()))
        if (firing is False and basis is not Basis.VALUED) or severity.value not in set(Severity):
            continue
        told = None
        if firing:
            mark = fingerprint(environment, rule.id, each.case.subject, blind=each.blind)
            told, silenced = _spoken_for(incidents, mark, now)
            if silenced:
                continue
        signal = Signal(
            NOT_SEEN if each.blind else signal_of(rule, each.case.condition),
            # The ladder raises by regime and exposure itself.
            Severity(severity.value),
            basis,
            firing,
            overdue=told is not None and overdue(told, rules.settings.paging, now),
        )
        found.setdefault(target, _Asked()).add(signal, each)
    # A release is stamped by another process's clock.
    later = {target: state.at + _MOMENT for target, state in states.items() if state.at is not None}
    return {target: asked.reading(max(now, later.get(target, now))) for target, asked in sorted(found.items())}


@dataclass
class _Asked:
    """The signals for one ladder, and the markets and stakes of those that fire."""

    signals: dict[str, Signal] = field(default_factory=dict)
    regimes: list[Regime] = field(default_factory=list)
    exposures: list[str] = field(default_factory=list)

    def add(self, signal: Signal, evaluation: Evaluation) -> None:
        """Join a signal with that of the same name on another subject: one that fires is enough."""
        before = self.signals.get(signal.name, signal)
        both = (before.firing, signal.firing)
        self.signals[signal.name] = Signal(
            signal.name,
            min(before.severity, signal.severity),
            signal.basis,
            True if True in both else None if None in both else False,
            overdue=before.overdue or signal.overdue,
        )
        if signal.firing:
            self.regimes.append(evaluation.case.situation.regime)
            self.exposures.append(evaluation.case.situation.exposed.value)

    def reading(self, at: datetime) -> Reading:
        """Return the reading: the strictest regime and the largest exposure of what fires; unknown of nothing."""
        regime = strictest(self.regimes) if self.regimes else None
        exposure = Exposed(max(self.exposures)) if self.exposures else None
        return Reading(at, tuple(self.signals[name] for name in sorted(self.signals)), regime, exposure)


def _basis(rule: Rule, condition: Condition) -> Basis:
    holds_back = condition.holds_back or rule.holds_back
    return Basis.COUNTED if holds_back is None else holds_back.rests_on


def _firing(evaluation: Evaluation, basis: Basis, ladder: State) -> bool | None:
    """Return whether a signal fires; None where this moment proves neither that it does nor that it doesn't.

    What is counted, or not seen, goes on until it is seen calm. What is valued counts measurements, each of them once.
    """
    pages = evaluation.tells and evaluation.severity is not None and evaluation.severity.pages
    if basis is not Basis.VALUED:
        return pages and evaluation.sight not in _CALM
    measured = [each.at for each in evaluation.case.readings if each is not None]
    again = not measured or (ladder.at is not None and max(measured) <= ladder.at)
    if again or not (evaluation.sight in _CALM or evaluation.sight is Sight.BROKEN):
        return None
    return False if evaluation.sight in _CALM else (True if pages else None)


def _spoken_for(incidents: Incidents, mark: str, now: datetime) -> tuple[Incident | None, bool]:
    """Return the incident that tells of a firing, and whether people have suppressed it for now."""
    own = told = incidents.latest(mark)
    while told is not None and told.status is Status.MERGED and told.into is not None:
        told = incidents.get(told.into)
    suppressed = told is not None and told.status is Status.SUPPRESSED and told.until is not None and now < told.until
    return told, suppressed and own is not None and not own.opened.never_muted
