"""A reading at a time: what fires, what is only surfaced, and that replaying is stepping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.gates.statistics import SprtDecision, e_shiryaev_roberts, sprt
from research_to_prod.promotion.rollback.readings import DayResult, Exposure, Reading
from research_to_prod.promotion.rollback.recursions import log1p_shiryaev_roberts, standardise
from research_to_prod.promotion.rollback.stepping import Outcome, State, replay, start, step
from research_to_prod.promotion.rollback.trigger import Action, Layer
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.values import Stage

WatchOf = Callable[..., Watch]
FIRST = date(2026, 1, 1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALM = {"position": 0.5, "orders_a_minute": 1.0, "leverage": 1.0, "loss": 0.0}
NOT_KNOWN = [None, math.nan, math.inf, -math.inf]


def day(number: int, live: float | None, shadow: float | None, candidate: str = "alpha") -> DayResult:
    on = FIRST + timedelta(number)
    observed = datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(hours=25)
    return DayResult(candidate, on, observed, live, shadow)


def exposure(minute: int, age: float | None = 0.0, **changed: float | None) -> Exposure:
    at = NOON + timedelta(minutes=minute)
    observed = None if age is None else at - timedelta(minutes=age)
    return Exposure("alpha", at, observed, **(CALM | changed))  # type: ignore[arg-type]


def detectors(state: State) -> State:
    """Return the state without its bookkeeping of what was seen."""
    return replace(state, exposure_at=None, day=None, inconclusive=0, exposures=0)


results = st.lists(
    st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)) | st.tuples(st.none() | st.just(math.nan), st.none()),
    max_size=25,
)


# ---- limits


@pytest.mark.parametrize(("name", "value"), [("position", 3.01), ("orders_a_minute", 31.0)])
def test_one_clean_reading_of_what_is_counted_halts(watch_of: WatchOf, name: str, value: float) -> None:
    outcome = replay(watch_of(), [exposure(0), exposure(1, **{name: value})])
    (fired,) = outcome.triggers
    assert (fired.layer, fired.action, fired.to_stage) == (Layer.LIMIT, Action.HALT, Stage.HALTED)
    assert (fired.measure, fired.statistic, fired.samples) == (name, value, 2)
    assert outcome.state.fired == (Layer.LIMIT,)


@pytest.mark.parametrize(("name", "value"), [("leverage", 3.5), ("loss", 0.06)])
def test_what_follows_from_equity_needs_three_clean_readings_in_a_row(
    watch_of: WatchOf, name: str, value: float
) -> None:
    watch, bad = watch_of(), {name: value}
    interrupted = [exposure(0, **bad), exposure(1, **bad), exposure(2), exposure(3, **bad), exposure(4, **bad)]
    assert replay(watch, interrupted).triggers == ()
    (fired,) = replay(watch, [*interrupted, exposure(5, **bad)]).triggers
    assert (fired.measure, fired.action) == (name, Action.HALT)


@pytest.mark.parametrize("value", NOT_KNOWN)
@pytest.mark.parametrize("name", list(CALM))
def test_what_is_not_known_neither_fires_nor_counts_as_calm(watch_of: WatchOf, name: str, value: float | None) -> None:
    watch, bad = watch_of(), {name: getattr(watch_of().design, name) * 1.1}
    state = replay(watch, [exposure(0, **bad), exposure(1, **bad)]).state
    outcome = step(watch, state, exposure(2, **{name: value}))
    assert outcome.triggers == ()
    assert detectors(outcome.state) == detectors(state)
    assert outcome.inconclusive == (f"{name} at 2026-01-01T12:02:00+00:00: not known",)
    assert outcome.state.inconclusive == 1
    # The third clean reading of the three is the next one.
    if name in {"leverage", "loss"}:
        assert step(watch, outcome.state, exposure(3, **bad)).triggers


def test_a_number_that_cannot_be_is_not_known_and_a_gain_is_no_loss(watch_of: WatchOf) -> None:
    outcome = replay(watch_of(), [exposure(0, position=-2.0, orders_a_minute=-1.0, leverage=-9.0, loss=-0.5)])
    assert [text.split()[0] for text in outcome.inconclusive] == ["position", "orders_a_minute", "leverage"]


@pytest.mark.parametrize("age", [None, 5.1, -0.1])
def test_an_exposure_that_is_old_or_from_the_future_is_not_known(watch_of: WatchOf, age: float | None) -> None:
    watch = watch_of()
    outcome = step(watch, start(watch), exposure(0, age, position=9.0))
    assert outcome.triggers == ()
    assert len(outcome.inconclusive) == outcome.state.inconclusive == 4
    assert step(watch, start(watch), exposure(0, 5.0, position=9.0)).triggers


def test_a_halt_is_sticky_and_said_once(watch_of: WatchOf) -> None:
    outcome = replay(watch_of(), [exposure(0, position=4.0), exposure(1), exposure(2, position=5.0)])
    assert len(outcome.triggers) == 1
    assert outcome.state.fired == (Layer.LIMIT,)


def test_all_limits_that_are_broken_are_named(watch_of: WatchOf) -> None:
    (fired,) = replay(watch_of(), [exposure(0, position=4.0, orders_a_minute=90.0)]).triggers
    assert fired.reason == "position of 4 is above 3; orders_a_minute of 90 is above 30"


# ---- days


def test_live_behind_its_shadow_goes_back_to_paper(watch_of: WatchOf) -> None:
    # Two basis points a day against five of noise; the exact mean delay is about 64 days.
    days = [day(i, 0.002 - 0.0002, 0.002) for i in range(200)]
    (fired,) = replay(watch_of(), days).triggers
    assert (fired.layer, fired.action, fired.to_stage) == (Layer.IMPLEMENTATION, Action.DEMOTE_TO_PAPER, Stage.PAPER)
    assert "behind its shadow" in fired.reason
    assert fired.samples < 100
    (ahead,) = replay(watch_of(), [day(i, 0.002 + 0.0002, 0.002) for i in range(200)]).triggers
    assert "ahead of its shadow" in ahead.reason


def test_a_lost_edge_reduces_size_and_a_lost_canary_goes_back_to_paper(watch_of: WatchOf) -> None:
    noise = np.random.default_rng(3).normal(-0.001, 0.01, 600)
    days = [day(i, x, x) for i, x in enumerate(noise.tolist())]
    (live,) = replay(watch_of(), days).triggers
    assert (live.layer, live.action, live.to_stage) == (Layer.EDGE, Action.REDUCE_SIZE, Stage.CANARY)
    (canary,) = replay(watch_of(stage=Stage.CANARY), days).triggers
    assert (canary.layer, canary.action, canary.to_stage) == (Layer.CANARY, Action.DEMOTE_TO_PAPER, Stage.PAPER)
    assert replay(watch_of(stage=Stage.PAPER), days).triggers == ()
    assert live.log_evidence > 0
    assert live.log_evidence_limit == pytest.approx(math.log1p(1460))


def test_a_canary_with_its_edge_is_kept_and_tested_no_more(watch_of: WatchOf) -> None:
    watch = watch_of(stage=Stage.CANARY)
    noise = np.random.default_rng(4).normal(0.002, 0.01, 600)
    kept = replay(watch, [day(i, x, x) for i, x in enumerate(noise.tolist())])
    assert kept.state.kept
    assert kept.triggers == ()
    after = step(watch, kept.state, day(600, -0.05, -0.05)).state
    assert (after.kept, after.canary) == (True, kept.state.canary)


def test_no_single_day_however_bad_takes_a_healthy_strategy_back(watch_of: WatchOf) -> None:
    outcome = replay(watch_of(), [day(0, -0.99, 0.5), *[day(i, 0.002, 0.002) for i in range(1, 30)]])
    assert outcome.triggers == ()


def test_the_chart_must_stand_above_its_limit_for_three_clean_days(watch_of: WatchOf) -> None:
    watch = watch_of(quick=True)
    state, days = start(watch), 0
    while state.beyond.edge < 2:
        outcome = step(watch, state, day(days, -0.02, -0.02))
        assert outcome.triggers == ()
        state, days = outcome.state, days + 1
    unknown = step(watch, state, day(days, math.nan, None))
    assert unknown.triggers == ()
    assert unknown.state.beyond == state.beyond
    (fired,) = step(watch, unknown.state, day(days + 1, -0.02, -0.02)).triggers
    assert fired.samples == days + 1
    recovered = step(watch, unknown.state, day(days + 1, 0.9, 0.9))
    assert recovered.triggers == ()
    assert recovered.state.beyond.edge == 0


@given(results)
def test_unknown_days_never_fire_and_move_no_detector(watch_of: WatchOf, known: list[tuple[float | None, ...]]) -> None:
    watch = watch_of(quick=True)
    state = replay(watch, [day(i, live, shadow) for i, (live, shadow) in enumerate(known)]).state
    unmeasured = replace(day(len(known), -0.5, 0.5), observed_at=None)
    early = replace(day(len(known), -0.5, 0.5), observed_at=NOON)
    for reading in (day(len(known), None, 0.5), day(len(known), math.nan, math.nan), unmeasured, early):
        outcome = step(watch, state, reading)
        assert outcome.triggers == ()
        assert outcome.inconclusive
        before = detectors(replace(state, edge=outcome.state.edge, residual=outcome.state.residual))
        assert detectors(outcome.state) == before
        assert outcome.state.inconclusive > state.inconclusive


def test_a_day_without_a_shadow_still_watches_the_edge(watch_of: WatchOf) -> None:
    outcome = replay(watch_of(), [day(0, -0.01, None)])
    assert outcome.inconclusive == ("shadow of 2026-01-01: not known",)
    assert (outcome.state.live_days, outcome.state.paired_days) == (1, 0)
    assert outcome.state.decay > 0


def test_without_a_reference_for_residuals_every_day_says_so(watch_of: WatchOf) -> None:
    watch = replace(watch_of(), baseline=replace(watch_of().baseline, residual=None))
    outcome = replay(watch, [day(i, 0.0, 0.5) for i in range(5)])
    assert outcome.triggers == ()
    assert len(outcome.inconclusive) == 5
    assert outcome.inconclusive[0] == "live less shadow of 2026-01-01: no reference yet to hold it to"


def test_a_day_without_a_reading_is_a_day_of_which_nothing_is_known(watch_of: WatchOf) -> None:
    watch = watch_of()
    absent = replay(watch, [day(0, 0.01, 0.01), day(3, 0.02, 0.01)])
    told = replay(watch, [day(0, 0.01, 0.01), day(1, None, None), day(2, None, math.nan), day(3, 0.02, 0.01)])
    assert absent.state.canonical_bytes() == told.state.canonical_bytes()
    assert absent.inconclusive == told.inconclusive
    assert absent.state.inconclusive == 4


# ---- state


@given(results, st.data())
def test_replaying_is_stepping_whatever_the_interruptions(
    watch_of: WatchOf, known: list[tuple[float | None, ...]], data: st.DataObject
) -> None:
    watch = watch_of(quick=True, stage=data.draw(st.sampled_from([Stage.LIVE, Stage.CANARY, Stage.PAPER])))
    readings: list[Reading] = []
    for i, (live, shadow) in enumerate(known):
        readings.append(day(i, live, shadow))
        if data.draw(st.booleans()):
            readings.append(exposure(i, loss=data.draw(st.sampled_from([0.0, 0.06, None]))))
    whole = replay(watch, readings)
    state, triggers = start(watch), []
    for reading in readings:
        outcome = step(watch, State.from_canonical_bytes(state.canonical_bytes()), reading)
        state = outcome.state
        triggers += outcome.triggers
    assert state.canonical_bytes() == whole.state.canonical_bytes()
    assert tuple(triggers) == whole.triggers


@given(results)
def test_what_fired_stays_fired_and_each_layer_fires_once(
    watch_of: WatchOf, known: list[tuple[float | None, ...]]
) -> None:
    watch = watch_of(quick=True)
    state, fired = start(watch), []
    for i, (live, shadow) in enumerate(known):
        outcome = step(watch, state, day(i, live, shadow))
        assert outcome.state.fired[: len(state.fired)] == state.fired
        state = outcome.state
        fired += [trigger.layer for trigger in outcome.triggers]
    assert tuple(fired) == state.fired
    assert len(set(fired)) == len(fired)


@given(st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=25), st.floats(0, 0.02))
def test_earning_more_never_brings_the_edge_nearer_to_its_limit(
    watch_of: WatchOf, earned: list[float], more: float
) -> None:
    # Without autocorrelation and with a constant deviation: both adapt to what is earned, a chart alone doesn't.
    plain = watch_of()
    own = plain.design.standardisation
    fixed = own.model_copy(update={"volatility_floor": own.volatility_floor.model_copy(update={"value": 1e3})})
    steady = replace(plain.baseline, edge=replace(plain.baseline.edge, autocorrelation=0.0, deviation=1e-5))
    watch = replace(plain, design=replace(plain.design, standardisation=fixed), baseline=steady)

    def decay(extra: float) -> float:
        return replay(watch, [day(i, x + extra, None) for i, x in enumerate(earned)]).state.decay

    assert decay(more) <= decay(0.0)


def test_a_reading_counts_once_and_in_order(watch_of: WatchOf) -> None:
    watch = watch_of()
    state = replay(watch, [day(1, 0.0, 0.0), exposure(1)]).state
    for again in (day(1, 0.0, 0.0), day(0, 0.0, 0.0), exposure(1), exposure(0)):
        with pytest.raises(ValueError, match="after that of"):
            step(watch, state, again)
    with pytest.raises(ValueError, match="a reading of beta for the watch of alpha"):
        step(watch, state, day(2, 0.0, 0.0, "beta"))


def test_a_state_goes_on_under_its_own_rules_only(watch_of: WatchOf) -> None:
    state = start(watch_of())
    for other in (watch_of(stage=Stage.CANARY), watch_of(quick=True), watch_of("beta")):
        with pytest.raises(ValueError, match="follows from other rules: start the watch anew"):
            step(other, state, exposure(0))


@pytest.mark.parametrize("stage", [Stage.RESEARCH, Stage.DEMOTED, Stage.HALTED])
def test_what_does_not_trade_is_not_watched(watch_of: WatchOf, stage: Stage) -> None:
    with pytest.raises(ValueError, match="nothing trades at"):
        watch_of(stage=stage)


@pytest.mark.parametrize("change", [(b'"kept":false', b'"kept": false'), (b'"kept":false', b'"kept":false,"x":1')])
def test_another_spelling_of_a_state_is_refused(watch_of: WatchOf, change: tuple[bytes, bytes]) -> None:
    written = start(watch_of()).canonical_bytes()
    assert State.from_canonical_bytes(written) == start(watch_of())
    with pytest.raises(ValueError, match=r"canonical|unexpected|Extra"):
        State.from_canonical_bytes(written.replace(*change))


# ---- arithmetic


def observations(watch: Watch, earned: Sequence[float]) -> np.ndarray:
    held_to, own, found = watch.baseline.edge, watch.design.standardisation, []
    floor = (own.volatility_floor.value * held_to.deviation) ** 2
    expected, variance = 0.0, held_to.deviation**2
    for each in earned:
        z, expected, variance = standardise(
            held_to.centre - each, held_to.autocorrelation, held_to.offset, held_to.scale, own.clip.value,
            own.memory.value, floor, expected, variance,
        )  # fmt: skip
        found.append(z)
    return np.array(found)


def outcome_of(watch: Watch, earned: Sequence[float]) -> Outcome:
    return replay(watch, [day(i, x, x) for i, x in enumerate(earned)])


def test_the_detectors_are_those_of_the_gates_statistics(watch_of: WatchOf) -> None:
    earned = np.random.default_rng(6).normal(0.001, 0.01, 120).tolist()
    watch = watch_of(stage=Stage.CANARY)
    state, z = outcome_of(watch, earned).state, observations(watch, earned)
    test = sprt(z, watch.canary_shift, 0.05, 0.1)
    assert test.decision is SprtDecision.CONTINUE
    assert state.canary == pytest.approx(test.log_ratio[-1], rel=1e-12)
    assert (watch.design.canary_upper, watch.design.canary_lower) == (test.upper, test.lower)
    log_r = e_shiryaev_roberts(z, watch.design.audit_shift)[-1]
    assert state.evidence == pytest.approx(math.log1p(math.exp(log_r)), rel=1e-12)
    chart = watch_of().design.edge
    sums = np.cumsum(z - chart.reference)
    # Page's chart is the sum's height above its own lowest point.
    assert outcome_of(watch_of(), earned).state.decay == pytest.approx(
        sums[-1] - min(0.0, sums.min()), rel=1e-9, abs=1e-12
    )


def test_the_evidence_stays_finite_under_an_endless_loss() -> None:
    evidence = 0.0
    for _ in range(20_000):
        evidence = log1p_shiryaev_roberts(evidence, 3.0, 0.9)
    assert math.isfinite(evidence)
