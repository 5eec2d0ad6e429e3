"""Ways to alert, each through the project's own `evaluate` and `take_in`: the shipped rules, and the baselines.

A baseline differs from the shipped rules in its levels and in what it is told of the moment, and in nothing else: the
times that a condition must last, minimum counts, chance, parents, grouping and reopening are the same. Belongs here:
the systems, and who was paged when. Doesn't: whether that was right (``_alert_scores``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial

import numpy as np

from benchmarks._alert_surroundings import BAR, DESK, TUNED, WATCHED, Surroundings
from benchmarks._alert_weeks import ACCOUNT, CAPITAL, STRATEGIES, SYMBOLS, VENUE, Bools, Floats, Measured, Weeks
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.evaluation import Evaluation, Key, Observation, Phase, State, evaluate
from research_to_prod.operations.alerting.rules import (
    AlertPolicy,
    Basis,
    Bound,
    Condition,
    Levels,
    Rule,
    load_alert_policy,
)
from research_to_prod.operations.alerting.situation import Context, Holding, MarketNow, Subject, situation_of
from research_to_prod.operations.incidents.intake import Desk, take_in
from research_to_prod.operations.incidents.lifecycle import UNTAKEN, Event, Status
from research_to_prod.operations.incidents.store import Incidents, Work

SHIPPED = load_alert_policy(DESK / "alerts")
RULES = (
    "md_stale", "md_invalid", "ack_latency", "reject_rate", "unknown_outcome", "position_break", "missing_fill",
    "margin", "drawdown_burn", "exposure_limit", "venue_status", "clock_skew", "depeg", "certificate_missing",
)  # fmt: skip
"""The rules that page and whose metrics the weeks have."""
READS = timedelta(minutes=3)  # until the operator acknowledges
RESTS = timedelta(minutes=10)  # for which it must be calm until the operator resolves it


@dataclass(frozen=True)
class Page:
    """Somebody was told to get up; ``flat``: with nothing at stake in what it is about."""

    minute: int
    rule: str
    subject: Subject
    incident: str
    flat: bool
    regime: Regime


@dataclass(frozen=True)
class Run:
    """What one system did between two minutes.

    Parameters
    ----------
    flaps
        Openings within an hour after the same incident's calm.
    by_rule
        Pages there would be were all subjects of a rule one; None where it wasn't asked.
    """

    pages: tuple[Page, ...]
    flaps: int
    turns: int
    by_rule: int | None = None


@dataclass(frozen=True)
class System:
    """Rules, and what they are told: of the moment, and of a measurement (``scores``: z-scores of the tuned ones).

    ``levels`` are what training chose by rule, for day and night. ``apart``: each rule and subject is an incident of
    its own, of which no other is a part.
    """

    name: str
    policy: AlertPolicy
    context: Callable[[Surroundings, int], Context]
    scores: bool = False
    levels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    apart: bool = False

    @cached_property
    def desk(self) -> Desk:
        """The desk that intake needs."""
        return Desk("replay", self.policy, {})


def shipped() -> System:
    """Return the shipped rules with the whole context."""
    return System("shipped rules", _of_rules({}), Surroundings.context)


def contextual(times: Mapping[str, float]) -> System:
    """Return the shipped rules with their levels times what training found; context and all else as shipped."""

    def changed(bound: Bound, by: float) -> Bound:
        if bound.metric not in TUNED:
            return bound
        given = {name: _scaled(getattr(bound, name), by) for name in ("at_least", "floor")}
        return bound.model_copy(update=given)

    rules = [
        rule.model_copy(update={"any": with_bounds(rule.any, partial(changed, by=times.get(rule.id, 1.0)))})
        for rule in _of_rules({}).rules
    ]
    return System("levels from training", policy_of(rules), Surroundings.context, levels=_both(times))


def static(times: Mapping[str, float]) -> System:
    """Return one constant level a metric, that of normal hours times what training found for its rule."""
    return System("static thresholds", _of_rules(_both(times)), constant_context, levels=_both(times))


def day_and_night(times: Mapping[str, tuple[float, float]]) -> System:
    """Return the same with a level for 06 to 22 UTC and one for the night."""
    return System("day and night", _of_rules(times), _by_the_clock, levels=times)


def z_scores(levels: Mapping[str, float]) -> System:
    """Return robust z-scores against the same hour of the week, with one limit a rule."""
    found = _both(levels)
    return System("same-hour z", _of_rules(found, z=True), constant_context, scores=True, levels=found)


def _both(levels: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    return {name: (each, each) for name, each in levels.items()}


def _of_rules(times: Mapping[str, tuple[float, float]], *, z: bool = False) -> AlertPolicy:
    rules = [SHIPPED.by_id[name] for name in RULES]
    rules = [_at_constant_levels(rule, *times[rule.id], z=z) if rule.id in times else rule for rule in rules]
    return policy_of(rules)


def policy_of(rules: Sequence[Rule]) -> AlertPolicy:
    """Return the desk's policy with these rules alone."""
    known = {rule.id for rule in rules}
    kept = [
        rule.model_copy(update={"inhibits": tuple(each for each in rule.inhibits if each in known)}) for rule in rules
    ]
    return AlertPolicy(settings=SHIPPED.settings, metrics=SHIPPED.metrics, rules=tuple(kept))


def with_bounds(conditions: Sequence[Condition], changed: Callable[[Bound], Bound]) -> tuple[Condition, ...]:
    """Return conditions with each of their bounds changed."""
    return tuple(each.model_copy(update={"all": tuple(map(changed, each.all))}) for each in conditions)


def without_market(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Return conditions without the bound that asks whether the market alone explains a loss: no file of levels can."""
    return tuple(
        each.model_copy(update={"all": tuple(bound for bound in each.all if bound.metric != "loss_1h")})
        for each in conditions
    )


def _scaled(levels: Levels | None, by: float) -> Levels | None:
    if levels is None:
        return None
    return Levels(**{name: None if each is None else each * by for name, each in levels.model_dump().items()})


def _at_constant_levels(rule: Rule, day: float, night: float, *, z: bool) -> Rule:
    plain = {"within_blind_time": False, "times_depth": False}

    def changed(bound: Bound) -> Bound:
        if bound.metric not in TUNED:
            return bound.model_copy(update=plain)
        normal = 1.0 if z else (bound.floor or bound.levels).normal
        assert normal is not None
        levels = Levels(normal=normal * day, thin=normal * night, stressed=normal * day)
        # A z-score is no share of events, of which chance could be told.
        beyond = None if z else bound.beyond
        return bound.model_copy(
            update={"at_least": levels, "of": Basis.VALUE, "floor": None, "beyond": beyond, **plain}
        )

    # Of two levels of one metric the one that pages is left: both would be the same limit of a z-score.
    paging = [each for each in rule.any if (each.severity or rule.severity).pages]
    return rule.model_copy(update={"any": with_bounds(without_market(paging), changed), "adjust": ()})


def constant_context(around: Surroundings, _minute: int, regime: Regime = Regime.NORMAL) -> Context:
    """Return what a system that knows neither hour nor book believes: always something at stake in a normal market."""
    holdings = tuple(Holding(VENUE.venue, ACCOUNT.account, each, name, 1.0) for name, each in STRATEGIES.items())
    markets = tuple(MarketNow(VENUE.venue, each, regime, 1e-4, 1e-4, 1e6, 1e8, 1.0) for each in SYMBOLS)
    return Context(CAPITAL, holdings, markets, WATCHED, around.world.at(around.first))


def _by_the_clock(around: Surroundings, minute: int) -> Context:
    return constant_context(around, minute, Regime.NORMAL if is_day(minute) else Regime.THIN)


def is_day(minute: int) -> bool:
    """Whether a minute lies between 06 and 22 UTC."""
    return 6 <= minute // 60 % 24 < 22


def run(around: Surroundings, system: System, begin: int, end: int, *, every_turn: bool = False) -> Run:
    """Let a system watch from minute ``begin`` to before ``end``.

    Turns at which nothing is open and no measurement reaches any level that the rules could have are skipped: they
    change neither states nor incidents. ``every_turn`` makes them all the same.
    """
    world = around.world
    values = _seen_by(around, system)
    used = {bound.metric for rule in system.policy.rules for bound in rule.bounds()}
    shown = [key for key in values if key[0] in used]
    calm = np.zeros(world.minutes, bool) if every_turn else _calm(around, system, values, begin, end)
    works: dict[Hashable, Work] = defaultdict(lambda: Work(Incidents()))
    told = Counter[Hashable]()
    states: dict[Key, State] = {}
    pages: list[Page] = []
    flaps = turns = 0
    calmed: dict[str, datetime] = {}
    busy = False
    for minute in range(begin, end):
        # The turn before one that isn't calm is made: blindness counts from what was seen last.
        if not busy and calm[minute] and (minute + 1 == end or calm[minute + 1]):
            continue
        now = world.at(minute)
        for work in works.values():
            operate(work, now)
        observations = list(_observations(world, values, shown, minute, now))
        result = evaluate(
            system.policy,
            observations,
            replace(system.context(around, minute), watched_since=world.at(begin)),
            states,
            now,
        )
        states = dict(result.states)
        turns += 1
        parts: dict[Hashable, list[Evaluation]] = {}
        for each in result.evaluations:
            parts.setdefault((each.case.rule, each.case.subject) if system.apart else None, []).append(each)
        for part, evaluations in parts.items():
            take_in(works[part], evaluations, system.desk, now)
        busy = any(each.phase is not Phase.CALM for each in states.values())
        for part, work in works.items():
            for step in work.incidents.log[told[part] :]:
                if step.to is Status.MITIGATED:
                    calmed[step.incident_id] = step.at
                back = step.event is Event.MOVED and step.to in {Status.REOPENED, Status.MITIGATING}
                if back and step.at - calmed.get(step.incident_id, step.at) <= timedelta(hours=1):
                    flaps += 1
                if step.page is not None and step.severity.pages:
                    about = work.incidents.get(step.incident_id).opened
                    pages.append(page_at(around, minute, about.rule, about.subject, step.incident_id))
            told[part] = len(work.incidents.log)
    return Run(tuple(pages), flaps, turns)


def page_at(around: Surroundings, minute: int, rule: str, subject: Subject, incident: str) -> Page:
    """Return a page with what was true then."""
    truth = situation_of(subject, around.context(minute), SHIPPED.settings)
    return Page(minute, rule, subject, incident, not around.world.held(subject)[minute] > 0, truth.regime)


def operate(work: Work, now: datetime) -> None:
    """Do what the person on call had to do until ``now``: acknowledge, and resolve what stays calm."""
    for incident in work.incidents.told():
        if not incident.severity.pages:
            continue
        if incident.status is Status.MITIGATED and incident.calm:
            due = max(incident.at + RESTS, incident.opened_at + READS)
            if now >= due:
                if incident.acked_by is None:
                    work.move(incident, Status.ACKED, actor="user:on-call", at=due, ref="replay")
                work.move(work.incidents.get(incident.id), Status.RESOLVED, actor="user:on-call", at=due, ref="replay")
        elif incident.status in UNTAKEN and now >= incident.opened_at + READS:
            work.move(incident, Status.ACKED, actor="user:on-call", at=incident.opened_at + READS, ref="replay")


def _seen_by(around: Surroundings, system: System) -> Mapping[Measured, Floats]:
    return around.z_values if system.scores else around.world.values


def _observations(
    world: Weeks, values: Mapping[Measured, Floats], shown: list[Measured], minute: int, now: datetime
) -> Iterator[Observation]:
    for key in shown:
        value = float(values[key][minute])
        if value == value:  # noqa: PLR0124 - not NaN
            count, usual = (held[key][minute] if key in held else None for held in (world.counts, world.usual))
            yield Observation(
                *key, value, now, None if count is None else int(count), None if usual is None else float(usual)
            )


def _calm(around: Surroundings, system: System, values: Mapping[Measured, Floats], begin: int, end: int) -> Bools:
    """Return the minutes at which no condition could hold in any regime, at the lowest level that it could have."""
    world = around.world
    calm = np.ones(world.minutes, bool)
    shares = [min([each.depth_share or 0.0 for each in both]) for both in around.markets]
    depth = np.ones(world.minutes)
    depth[around.first :] = np.minimum(1, np.repeat(shares, BAR))
    for rule in system.policy.rules:
        strictest = min([1.0, *(each.times for each in rule.adjust)])
        for condition in rule.any:
            of_subject: dict[Subject, Bools] = {}
            for bound in condition.all:
                for (metric, subject), found in values.items():
                    if metric != bound.metric:
                        continue
                    if bound.upward:
                        level = min((bound.floor or bound.levels).given) * strictest
                        lowest = level * (depth if bound.times_depth else np.ones(world.minutes))
                        if bound.within_blind_time:
                            lowest[begin:end] = np.minimum(level, _blind_seconds(around, subject, begin, end))
                        quiet = found < lowest
                    else:
                        assert not rule.adjust
                        quiet = found > max(bound.levels.given)
                    if bound.minimum:
                        quiet |= world.counts[metric, subject] < bound.minimum
                    # All bounds must be broken: one that is calm is enough.
                    of_subject[subject] = of_subject[subject] | quiet if subject in of_subject else quiet
            for quiet in of_subject.values():
                calm &= quiet
    return calm


def _blind_seconds(around: Surroundings, subject: Subject, begin: int, end: int) -> Floats:
    """Return the blind time of a subject by minute, the shorter of its bar's two ends: positions change with bars."""
    found = [
        situation_of(subject, around.context(minute), SHIPPED.settings).blind_seconds or 0.0
        for minute in range(begin, end, BAR)
    ]
    return np.repeat(found, BAR)[: end - begin]
