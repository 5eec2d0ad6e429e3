"""Stepping through readings: a pure function from a state and a reading to the next state and what fired.

What a reading can't tell is INCONCLUSIVE: it is returned by name, and leaves every detector exactly where it was. What
has fired stays fired: only a new watch, which a named person's decision starts, begins anew.

Belongs here: states, the step, replaying. Doesn't: arithmetic (``recursions``), thresholds (``design``), wording
(``watch``), carrying out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from typing import Any, TypeGuard

from pydantic import AwareDatetime, ConfigDict, TypeAdapter

from research_to_prod.promotion.rollback.baseline import Standard, least_variance
from research_to_prod.promotion.rollback.readings import DayResult, Exposure, Reading, moment
from research_to_prod.promotion.rollback.recursions import (
    cusum,
    log1p_shiryaev_roberts,
    log_likelihood_ratio,
    squared,
    standardise,
)
from research_to_prod.promotion.rollback.trigger import Layer, Trigger
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.values import Stage, canonical_json, day_bounds


@dataclass(frozen=True)
class Filter:
    """Where the standardisation of a series stands: the next deviation expected, and its variance."""

    expected: float
    variance: float


@dataclass(frozen=True)
class Streaks:
    """Clean readings in a row that were beyond a limit; ``kept``: beyond the canary's lower one."""

    position: int = 0
    orders_a_minute: int = 0
    leverage: int = 0
    loss: int = 0
    implementation: int = 0
    edge: int = 0
    canary: int = 0
    kept: int = 0


@dataclass(frozen=True)
class State:
    """Everything that the readings so far have left behind.

    Parameters
    ----------
    exposure_at, day
        The last reading of each kind.
    inconclusive
        Answers that readings did not give, missing days included.
    live_days, paired_days
        Clean days behind the edge's and the implementation's detectors.
    behind, ahead
        Charts of the implementation: live below, and above its shadow.
    decay
        Chart of the edge.
    canary
        Log likelihood ratio of a lost edge against an intact one.
    evidence
        ``ln(1 + R)`` of the e-SR process.
    beyond
        Clean readings in a row beyond each limit.
    breach_since
        The first of the readings in a row of which each was beyond some limit.
    behind_since, ahead_since, decay_since
        The first day since the chart last stood at zero.
    kept
        The canary's test has found the edge; it tests no more.
    fired
        Layers that have fired, in that order.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    candidate: str
    rules_sha256: str
    residual: Filter
    edge: Filter
    exposure_at: AwareDatetime | None = None
    day: date | None = None
    inconclusive: int = 0
    exposures: int = 0
    live_days: int = 0
    paired_days: int = 0
    behind: float = 0.0
    ahead: float = 0.0
    decay: float = 0.0
    canary: float = 0.0
    evidence: float = 0.0
    beyond: Streaks = Streaks()
    breach_since: AwareDatetime | None = None
    behind_since: date | None = None
    ahead_since: date | None = None
    decay_since: date | None = None
    kept: bool = False
    fired: tuple[Layer, ...] = ()

    def canonical_bytes(self) -> bytes:
        """Return the state in RFC 8785 form, to be kept between readings."""
        return canonical_json(_adapter(State).dump_python(self, mode="json"))

    @classmethod
    def from_canonical_bytes(cls, data: bytes) -> State:
        """Read back what `canonical_bytes` wrote; ValueError for anything else."""
        state: State = _adapter(State).validate_json(data)
        if state.canonical_bytes() != data:
            raise ValueError("not the canonical form of a state")
        return state


@dataclass(frozen=True)
class Outcome:
    """What one reading led to: the next state, what fired, and what could not be told."""

    state: State
    triggers: tuple[Trigger, ...] = ()
    inconclusive: tuple[str, ...] = ()


def start(watch: Watch) -> State:
    """Return the state before any reading."""
    return State(watch.candidate, watch.rules_sha256, _fresh(watch.baseline.residual), _fresh(watch.baseline.edge))


def step(watch: Watch, state: State, reading: Reading) -> Outcome:
    """Return what a reading leads to.

    Raises
    ------
    ValueError
        When the state follows from other rules, or the reading is of another candidate or not later than the last of
        its kind: counted twice, a reading would be two observations.
    """
    if state.rules_sha256 != watch.rules_sha256:
        raise ValueError(f"the state of {state.candidate} follows from other rules: start the watch anew")
    if reading.candidate != watch.candidate:
        raise ValueError(f"a reading of {reading.candidate} for the watch of {watch.candidate}")
    last = state.exposure_at if isinstance(reading, Exposure) else state.day
    now: Any = moment(reading)
    if last is not None and now <= last:
        raise ValueError(f"a reading of {now} of {watch.candidate} after that of {last}")
    if isinstance(reading, Exposure):
        return _exposure(watch, state, reading)
    # A day that nobody reported is a day of which nothing is known.
    days = [DayResult(watch.candidate, each, None, None, None) for each in _between(state.day, reading.day)]
    return _fold(watch, state, [*days, reading], _day)


def replay(watch: Watch, readings: Iterable[Reading]) -> Outcome:
    """Return what all readings led to, from the beginning: triggers and unknowns of all, and the last state."""
    return _fold(watch, start(watch), readings, step)


def known(value: float | None) -> TypeGuard[float]:
    """Return whether a number was measured."""
    return value is not None and math.isfinite(value)


def _fold(watch: Watch, state: State, readings: Iterable[Any], one: Callable[[Watch, State, Any], Outcome]) -> Outcome:
    triggers: list[Trigger] = []
    unknown: list[str] = []
    for reading in readings:
        outcome = one(watch, state, reading)
        state = outcome.state
        triggers += outcome.triggers
        unknown += outcome.inconclusive
    return Outcome(state, tuple(triggers), tuple(unknown))


def _between(last: date | None, following: date) -> list[date]:
    return [] if last is None else [last + timedelta(days) for days in range(1, (following - last).days)]


def _exposure(watch: Watch, state: State, reading: Exposure) -> Outcome:
    rules, when = watch.design, reading.at.isoformat()
    age = None if reading.observed_at is None else reading.at - reading.observed_at
    fresh = age is not None and timedelta(0) <= age <= timedelta(minutes=rules.oldest_reading_minutes)
    state = replace(state, exposure_at=reading.at, exposures=state.exposures + fresh)
    unknown, broken = [], []
    # What is counted is believed at once; what is valued in money rests on an equity that one bad answer makes wrong.
    for name, needed in (
        ("position", 1),
        ("orders_a_minute", 1),
        ("leverage", rules.clean_reads),
        ("loss", rules.clean_reads),
    ):
        value, limit = getattr(reading, name), getattr(rules, name)
        # A gross position, a count or a leverage below zero was not measured; a loss below zero is a gain.
        if not fresh or not known(value) or (value < 0 and name != "loss"):
            unknown.append(f"{name} at {when}: {'not known' if fresh else 'not observed in time'}")
            continue
        state = _counted(state, name, beyond=value > limit)
        if getattr(state.beyond, name) >= needed:
            broken.append((name, value, limit))
    beyond = state.beyond
    still = max(beyond.position, beyond.orders_a_minute, beyond.leverage, beyond.loss) > 0
    since = (state.breach_since or reading.at) if still else None
    state = replace(state, inconclusive=state.inconclusive + len(unknown), breach_since=since)
    if not broken or Layer.LIMIT in state.fired:
        return Outcome(state, (), tuple(unknown))
    began = since.isoformat() if since else when
    fired = watch.limits_broken(broken, state.exposures, when, state.evidence, began)
    return Outcome(_fired(state, Layer.LIMIT), (fired,), tuple(unknown))


def _day(watch: Watch, state: State, reading: DayResult) -> Outcome:
    day = reading.day.isoformat()
    whole = reading.observed_at is not None and reading.observed_at >= day_bounds(day)[1]
    live = reading.live if whole and known(reading.live) else None
    shadow = reading.shadow if whole and known(reading.shadow) else None
    unknown = [f"{name} of {day}: not known" for name, value in (("live", live), ("shadow", shadow)) if value is None]
    if watch.baseline.residual is None:
        unknown.append(f"live less shadow of {day}: no reference yet to hold it to")
    state = replace(state, day=reading.day, inconclusive=state.inconclusive + len(unknown))
    triggers: list[Trigger] = []
    # On paper nothing is at stake that an edge could be missed by; what paper tests is the implementation.
    if watch.stage is not Stage.PAPER:
        state, triggers = _edge(watch, state, day, live)
    residual = None if live is None or shadow is None else live - shadow
    state, more = _implementation(watch, state, day, residual)
    return Outcome(state, (*triggers, *more), tuple(unknown))


def _implementation(watch: Watch, state: State, day: str, residual: float | None) -> tuple[State, list[Trigger]]:
    chart, held_to = watch.design.implementation, watch.baseline.residual
    if held_to is None:
        return state, []
    observation, noise = _observed(watch, held_to, state.residual, residual)
    state = replace(state, residual=noise)
    if observation is None:
        return state, []
    behind = cusum(state.behind, observation, chart.reference)
    ahead = cusum(state.ahead, -observation, chart.reference)
    state = replace(
        state,
        behind=behind,
        ahead=ahead,
        paired_days=state.paired_days + 1,
        behind_since=_since(state.behind, state.behind_since, behind, day),
        ahead_since=_since(state.ahead, state.ahead_since, ahead, day),
    )
    state = _counted(state, "implementation", beyond=max(behind, ahead) > chart.threshold)
    if state.beyond.implementation < watch.design.clean_reads or Layer.IMPLEMENTATION in state.fired:
        return state, []
    began = str(state.behind_since if behind >= ahead else state.ahead_since)
    fired = watch.implementation_differs(behind, ahead, state.paired_days, day, state.evidence, began)
    return _fired(state, Layer.IMPLEMENTATION), [fired]


def _edge(watch: Watch, state: State, day: str, live: float | None) -> tuple[State, list[Trigger]]:
    rules = watch.design
    observation, noise = _observed(watch, watch.baseline.edge, state.edge, live)
    state = replace(state, edge=noise)
    if observation is None:
        return state, []
    evidence = log1p_shiryaev_roberts(state.evidence, observation, rules.audit_shift)
    state = replace(state, evidence=evidence, live_days=state.live_days + 1)
    if watch.stage is Stage.CANARY:
        return _canary(watch, state, day, observation)
    decay = cusum(state.decay, observation, rules.edge.reference)
    state = replace(state, decay=decay, decay_since=_since(state.decay, state.decay_since, decay, day))
    state = _counted(state, "edge", beyond=decay > rules.edge.threshold)
    if state.beyond.edge < rules.clean_reads or Layer.EDGE in state.fired:
        return state, []
    began = str(state.decay_since)
    return _fired(state, Layer.EDGE), [watch.edge_decayed(decay, state.live_days, day, evidence, began)]


def _canary(watch: Watch, state: State, day: str, observation: float) -> tuple[State, list[Trigger]]:
    rules = watch.design
    if state.kept or Layer.CANARY in state.fired:
        return state, []
    ratio = log_likelihood_ratio(state.canary, observation, watch.canary_shift)
    state = _counted(replace(state, canary=ratio), "canary", beyond=ratio >= rules.canary_upper)
    state = _counted(state, "kept", beyond=ratio <= rules.canary_lower)
    if state.beyond.kept >= rules.clean_reads:
        return replace(state, kept=True), []
    if state.beyond.canary < rules.clean_reads:
        return state, []
    return _fired(state, Layer.CANARY), [watch.canary_lost(ratio, state.live_days, day, state.evidence)]


def _observed(watch: Watch, held_to: Standard, noise: Filter, value: float | None) -> tuple[float | None, Filter]:
    if value is None:
        # What the day before foretold fades; nothing else is known.
        return None, replace(noise, expected=held_to.autocorrelation * noise.expected)
    rules = watch.design.standardisation
    observation, expected, variance = standardise(
        held_to.centre - value, held_to.autocorrelation, held_to.offset, held_to.scale, rules.clip.value,
        rules.memory.value, least_variance(held_to, rules), noise.expected, noise.variance,
    )  # fmt: skip
    return observation, Filter(expected, variance)


def _since(before: float, since: date | None, chart: float, day: str) -> date | None:
    """Return the first day since a chart last stood at zero; None where it stands there."""
    if chart == 0.0:
        return None
    return date.fromisoformat(day) if before == 0.0 else since


def _counted(state: State, name: str, *, beyond: bool) -> State:
    streak = getattr(state.beyond, name) + 1 if beyond else 0
    return replace(state, beyond=replace(state.beyond, **{name: streak}))


def _fired(state: State, layer: Layer) -> State:
    return replace(state, fired=(*state.fired, layer))


def _fresh(held_to: Standard | None) -> Filter:
    return Filter(0.0, 0.0 if held_to is None else squared(held_to.deviation))


@cache
def _adapter(of: type) -> TypeAdapter[Any]:
    return TypeAdapter(of)
