"""Judging signals: a pure function of the policy, what was measured, the context, the state before, and the time.

What was not measured never resolves anything: a firing rule goes on firing, and on an exposed book not seeing becomes
a firing state of its own once it has lasted as long as the desk can afford (``blind_time``).

Belongs here: one condition on one subject, and all of them at one moment. Doesn't: measuring, storing (``records``),
and what becomes of a firing rule (``incidents``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.levels import beyond_chance, lasting_of, threshold_of
from research_to_prod.operations.alerting.rules import AlertPolicy, Bound, Condition, NoData, Per, Rule
from research_to_prod.operations.alerting.settings import SEVERITIES, Exposed, Severity
from research_to_prod.operations.alerting.situation import Context, Situation, Subject, situation_of


@dataclass(frozen=True)
class Observation:
    """One measurement.

    Parameters
    ----------
    value
        In the metric's unit; None where it was looked at and can't be told.
    at
        When it was true.
    count
        Events that it rests on, where it rests on events.
    usual
        What is usual at this hour, where the rule compares with that.
    evidence
        Where it can be looked up.
    """

    metric: str
    subject: Subject
    value: float | None
    at: datetime
    count: int | None = None
    usual: float | None = None
    evidence: str = ""


class Phase(StrEnum):
    """Where a condition stands from one evaluation to the next."""

    CALM = "calm"
    PENDING = "pending"
    FIRING = "firing"


class Sight(StrEnum):
    """What one evaluation saw."""

    BROKEN = "broken"
    BETWEEN = "between"
    """Neither beyond the level, nor calm again."""
    CALM = "calm"
    TOO_FEW = "too_few"
    """Too few events to say; counts as calm."""
    OFF = "off"
    """Not judged in this regime, or with nothing at stake; counts as calm."""
    NO_DATA = "no_data"
    BLIND = "blind"
    """No data for longer than can be afforded: counts as broken."""


@dataclass(frozen=True)
class State:
    """What one condition on one subject carries on.

    Parameters
    ----------
    since
        When it was first broken, while it is pending or firing.
    calm_since
        Since when a firing one is calm without a break.
    seen_at
        When its metrics were last all known.
    blind
        It fires for not seeing, and was not firing before: seeing it calm ends it at once.
    """

    phase: Phase = Phase.CALM
    since: datetime | None = None
    calm_since: datetime | None = None
    seen_at: datetime | None = None
    blind: bool = False


@dataclass(frozen=True)
class Case:
    """All that one evaluation follows from, besides the policy.

    Parameters
    ----------
    watched
        Whether it must be measured.
    parents, awaited
        Rules of which this one is a consequence: that fire, and that will if they last.
    """

    rule: str
    condition: int
    subject: Subject
    as_of: datetime
    watched: bool
    watched_since: datetime
    readings: tuple[Observation | None, ...]
    situation: Situation
    before: State
    parents: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What was found of one condition on one subject.

    Parameters
    ----------
    severity
        None unless it fires.
    value, threshold
        Of the bound that decided; None where unknown.
    inhibited_by
        The firing rule of which this one is a consequence.
    muted_by
        The kind of event during which it is not to be told.
    """

    case: Case
    sight: Sight
    severity: Severity | None
    metric: str
    value: float | None
    threshold: float | None
    inhibited_by: str | None
    muted_by: str | None
    after: State

    @property
    def fires(self) -> bool:
        """Whether the condition fires, told or not."""
        return self.after.phase is Phase.FIRING

    @property
    def blind(self) -> bool:
        """Whether it fires because the desk does not see, whatever it knew before."""
        return self.fires and (self.sight is Sight.BLIND or self.after.blind)

    @property
    def known(self) -> bool:
        """Whether it fires for something that was seen."""
        return self.fires and not self.after.blind

    @property
    def tells(self) -> bool:
        """Whether it fires and neither a parent nor an event speaks for it."""
        return self.fires and self.inhibited_by is None and self.muted_by is None


Key = tuple[str, int, Subject]
"""Rule, number of the condition, subject: what a state is of."""


@dataclass(frozen=True)
class Result:
    """Evaluations in the catalogue's order, and the states that are not the initial one."""

    evaluations: tuple[Evaluation, ...]
    states: Mapping[Key, State]


def evaluate(
    policy: AlertPolicy,
    observations: Iterable[Observation],
    context: Context,
    previous: Mapping[Key, State],
    now: datetime,
) -> Result:
    """Judge every rule on every subject that was measured, is to be watched, or still fires.

    Raises
    ------
    ValueError
        If a measurement is of an unknown metric, of the future, or there are two of one thing.
    """
    measured = _measured(policy, observations, now)
    by_metric: dict[str, set[Subject]] = {}
    for metric, subject in measured:
        by_metric.setdefault(metric, set()).add(subject)
    open_before: dict[str, set[Subject]] = {}
    for (rule_id, _, subject), state in previous.items():
        if state.phase is not Phase.CALM:
            open_before.setdefault(rule_id, set()).add(subject)
    situations: dict[Subject, Situation] = {}
    found: list[Evaluation] = []
    parents: dict[str, list[tuple[str, str]]] = {}
    coming: dict[str, list[tuple[str, str]]] = {}
    # Rules that inhibit go first: whether they fire is an input of the others.
    for rule in sorted(policy.rules, key=lambda rule: (not rule.inhibits, rule.number)):
        watched = set(context.watched.get(rule.per, (Subject(),) if rule.per is Per.DESK else ()))
        subjects = watched | {each for bound in rule.bounds() for each in by_metric.get(bound.metric, ())}
        for subject in sorted(subjects | open_before.get(rule.id, set())):
            if subject not in situations:
                situations[subject] = situation_of(subject, context, policy.settings)
            above, ahead = (
                tuple(sorted({by for by, venue in given.get(rule.id, ()) if venue and venue == subject.venue}))
                for given in (parents, coming)
            )
            for number, condition in enumerate(rule.any):
                key = (rule.id, number, subject)
                case = Case(
                    rule=rule.id,
                    condition=number,
                    subject=subject,
                    as_of=now,
                    watched=subject in watched,
                    watched_since=context.watched_since,
                    readings=tuple(_reading(measured, bound.metric, subject) for bound in condition.all),
                    situation=situations[subject],
                    before=previous.get(key, State()),
                    parents=above,
                    awaited=ahead,
                )
                evaluation = judge(policy, case)
                found.append(evaluation)
                # Not to know how a venue is explains nothing.
                if evaluation.tells and evaluation.known:
                    for other in rule.inhibits:
                        parents.setdefault(other, []).append((rule.id, subject.venue))
                elif evaluation.after.phase is Phase.PENDING and evaluation.sight is Sight.BROKEN:
                    for other in rule.inhibits:
                        coming.setdefault(other, []).append((rule.id, subject.venue))
    numbers = {rule.id: rule.number for rule in policy.rules}
    found.sort(key=lambda each: (numbers[each.case.rule], each.case.condition, each.case.subject))
    states = {(each.case.rule, each.case.condition, each.case.subject): each.after for each in found}
    return Result(tuple(found), {key: state for key, state in states.items() if state != State()})


def judge(policy: AlertPolicy, case: Case) -> Evaluation:
    """Return what follows from ``case``; its time, state and situation are in it, so it can be judged again.

    That nothing mutes or inhibits what is never muted is the policy's: such rules are refused (``rules``).
    """
    rule = policy.by_id[case.rule]
    condition = rule.any[case.condition]
    seen = [_look(rule, bound, reading, case) for bound, reading in zip(condition.all, case.readings, strict=True)]
    sight, metric, value, threshold = _together(seen)
    if condition.exposed and case.situation.exposed is Exposed.X0:
        sight = Sight.OFF
    seen_at = case.as_of if sight is not Sight.NO_DATA else case.before.seen_at
    if sight is Sight.NO_DATA and _is_blind(rule, case):
        sight = Sight.BLIND
    after = _step(rule, condition, sight, case, seen_at)
    firing = after.phase is Phase.FIRING
    mutes = [each for adjust in rule.adjust if adjust.mutes for each in adjust.events if each in case.situation.events]
    return Evaluation(
        case=case,
        sight=sight,
        severity=_severity(rule, condition, case.situation) if firing else None,
        metric=metric,
        value=value,
        threshold=threshold,
        inhibited_by=case.parents[0] if firing and case.parents else None,
        muted_by=mutes[0].value if firing and mutes else None,
        after=after,
    )


_Seen = tuple[Sight, str, float | None, float | None]


def _look(rule: Rule, bound: Bound, reading: Observation | None, case: Case) -> _Seen:
    """Return what one bound says, with its metric, value and level."""
    value = None if reading is None or reading.value is None or not math.isfinite(reading.value) else reading.value
    level = threshold_of(rule, bound, None if reading is None else reading.usual, case.situation)
    return _sight(rule, bound, reading, value, level, case), bound.metric, value, level


def _sight(
    rule: Rule, bound: Bound, reading: Observation | None, value: float | None, level: float | None, case: Case
) -> Sight:
    if bound.levels.at(case.situation.regime) is None:
        return Sight.OFF
    stale = reading is None or (case.as_of - reading.at).total_seconds() > rule.fresh_for
    if reading is None or value is None or level is None or stale or (bound.minimum and reading.count is None):
        return Sight.NO_DATA
    if bound.minimum and reading.count is not None and reading.count < bound.minimum:
        return Sight.TOO_FEW
    if value >= level if bound.upward else value <= level:
        lucky = bound.beyond is not None and not beyond_chance(bound.beyond, value, reading.count or 0)
        return Sight.BETWEEN if lucky else Sight.BROKEN
    clear = bound.clears * level
    return Sight.CALM if (value <= clear if bound.upward else value >= clear) else Sight.BETWEEN


_ALL = (Sight.OFF, Sight.CALM, Sight.TOO_FEW, Sight.BETWEEN, Sight.NO_DATA, Sight.BROKEN)
"""All bounds must be broken: the first of these that one of them says holds of them together."""


def _together(seen: Sequence[_Seen]) -> _Seen:
    return min(seen, key=lambda each: _ALL.index(each[0]))


def _is_blind(rule: Rule, case: Case) -> bool:
    if rule.no_data is not NoData.FIRES or case.situation.exposed is Exposed.X0:
        return False
    afforded = rule.fresh_for
    if case.situation.blind_seconds is not None:
        afforded = min(afforded, case.situation.blind_seconds)
    last = max(case.before.seen_at or case.watched_since, case.watched_since)
    return (case.as_of - last).total_seconds() >= afforded


def _step(rule: Rule, condition: Condition, sight: Sight, case: Case, seen_at: datetime | None) -> State:
    now, before = case.as_of, case.before
    if sight is Sight.NO_DATA:
        # Nobody asks any more, and nothing is at stake that could go on getting worse.
        forgotten = not case.watched and case.situation.exposed is Exposed.X0 and not _protected(rule, condition)
        return State(seen_at=seen_at) if forgotten else replace(before, calm_since=None, seen_at=seen_at)
    if sight is Sight.BLIND:
        blind = before.phase is not Phase.FIRING or before.blind
        return State(Phase.FIRING, before.since or now, None, seen_at, blind)
    if before.blind:
        before = State()
    if sight is Sight.BROKEN:
        since = before.since or now
        lasted = (now - since).total_seconds() >= lasting_of(condition, case.situation)
        # A cause that is about to be told speaks for its consequences; should it go calm, they do.
        begins = lasted and (bool(case.parents) or not case.awaited)
        return State(Phase.FIRING if before.phase is Phase.FIRING or begins else Phase.PENDING, since, None, seen_at)
    calm_since = None if sight is Sight.BETWEEN else before.calm_since or now
    over = calm_since is not None and (now - calm_since).total_seconds() >= rule.clear_after
    if before.phase is not Phase.FIRING or over:
        return State(seen_at=seen_at)
    return State(Phase.FIRING, before.since, calm_since, seen_at)


def _protected(rule: Rule, condition: Condition) -> bool:
    return rule.never_muted or condition.never_muted


def _severity(rule: Rule, condition: Condition, situation: Situation) -> Severity:
    """Return the severity with what is at stake: a flat book asks for a ticket at most, a tight one for one more."""
    rank = SEVERITIES.index(condition.severity or rule.severity)
    if situation.exposed is Exposed.X0:
        return SEVERITIES[rank if _protected(rule, condition) else max(rank, SEVERITIES.index(Severity.P3))]
    thin = situation.regime in {Regime.THIN, Regime.UNKNOWN} and situation.exposed is Exposed.X2
    return SEVERITIES[max(0, rank - 1)] if thin or situation.regime is Regime.STRESSED else SEVERITIES[rank]


def _reading(measured: Mapping[tuple[str, Subject], Observation], metric: str, subject: Subject) -> Observation | None:
    """Return the measurement of ``subject``, or of the nearest that covers it: no break of an account, none of its."""
    for blank in ("", "key", "strategy", "instrument", "account", "venue"):
        if blank:
            subject = replace(subject, **{blank: ""})
        found = measured.get((metric, subject))
        if found is not None:
            return found
    return None


def _measured(
    policy: AlertPolicy, observations: Iterable[Observation], now: datetime
) -> dict[tuple[str, Subject], Observation]:
    measured: dict[tuple[str, Subject], Observation] = {}
    for each in observations:
        if each.metric not in policy.metrics:
            raise ValueError(f"{each.metric} of {each.subject} is no declared metric")
        if each.at > now:
            raise ValueError(f"{each.metric} of {each.subject} is of {each.at.isoformat()}, after {now.isoformat()}")
        if measured.setdefault((each.metric, each.subject), each) is not each:
            raise ValueError(f"{each.metric} of {each.subject} is given twice")
    return measured
