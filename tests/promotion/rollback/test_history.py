"""Whole histories, compiled: the same as one reading at a time, and the same in any order of candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from research_to_prod.promotion.rollback.history import History, judge_days
from research_to_prod.promotion.rollback.readings import DayResult
from research_to_prod.promotion.rollback.stepping import Outcome, replay
from research_to_prod.promotion.rollback.trigger import Trigger
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.values import Stage

WatchOf = Callable[..., Watch]
Tables = tuple[pd.DataFrame, pd.DataFrame]
NAMES = ("alpha", "beta", "gamma", "delta")
STAGES = (Stage.LIVE, Stage.CANARY, Stage.PAPER, Stage.LIVE)


def drawn(seed: int, days: int, gaps: float = 0.1, drift: float = -0.002) -> Tables:
    """Return live and shadow returns of four candidates, some of them not known."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-01-01", periods=days)
    shadow = pd.DataFrame(rng.normal(drift, 0.01, (days, 4)), index, NAMES)
    live = shadow + rng.normal(-0.0002, 0.0005, (days, 4))
    return live.mask(rng.random((days, 4)) < gaps), shadow.mask(rng.random((days, 4)) < gaps)


def one_by_one(watch: Watch, live: pd.DataFrame, shadow: pd.DataFrame) -> Outcome:
    return replay(
        watch,
        [
            DayResult(watch.candidate, day.date(), day.tz_localize("UTC") + pd.Timedelta(days=1), *both)
            for day, *both in zip(
                live.index, live[watch.candidate].tolist(), shadow[watch.candidate].tolist(), strict=True
            )
        ],
    )


def told(trigger: Trigger) -> dict[str, object]:
    """Return a trigger; the evidence apart, whose exponentials may differ in the last bits."""
    return asdict(trigger) | {"log_evidence": pytest.approx(trigger.log_evidence, rel=1e-12)}


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.booleans(), st.floats(-0.01, 0.01))
@example(34, 58, False, 0.009878079727682518)  # here a square by pow() and one by a product differ in the last bit
def test_compiled_histories_equal_readings_one_by_one(
    watch_of: WatchOf, seed: int, days: int, quick: bool, drift: float
) -> None:
    live, shadow = drawn(seed, days, drift=drift)
    watches = [watch_of(name, stage, quick=quick) for name, stage in zip(NAMES, STAGES, strict=True)]
    # One of them has no reference for its residuals yet.
    watches[3] = replace(watches[3], baseline=replace(watches[3].baseline, residual=None))
    history = judge_days(watches, live, shadow)
    expected: list[Trigger] = []
    for watch in watches:
        outcome = one_by_one(watch, live, shadow)
        expected += outcome.triggers
        last = history.charts[watch.candidate].iloc[-1]
        charts = {"behind", "ahead", "paired_days"}
        charts |= {Stage.LIVE: {"decay", "live_days"}, Stage.CANARY: {"canary", "live_days"}}.get(watch.stage, set())
        for name in charts:
            assert getattr(outcome.state, name) == last[name]
        if watch.stage is not Stage.PAPER:
            assert outcome.state.evidence == pytest.approx(last["evidence"], rel=1e-12)
        unknown = sum(1 for text in outcome.inconclusive if text.startswith(("live of", "shadow of")))
        assert unknown == history.inconclusive[watch.candidate].to_numpy().sum()
    order = {name: i for i, name in enumerate(sorted(NAMES))}
    expected.sort(key=lambda trigger: (trigger.at, order[trigger.candidate]))
    assert [asdict(trigger) for trigger in history.triggers] == [told(trigger) for trigger in expected]


def test_the_shipped_rules_fire_alike_both_ways(watch_of: WatchOf) -> None:
    live, shadow = drawn(1, 260)
    watches = [watch_of(name, stage) for name, stage in zip(NAMES, STAGES, strict=True)]
    history = judge_days(watches, live, shadow)
    assert {trigger.layer.value for trigger in history.triggers} == {"implementation", "edge", "canary"}
    expected = [trigger for watch in watches for trigger in one_by_one(watch, live, shadow).triggers]
    assert {(t.candidate, t.layer): told(t) for t in expected} == {
        (t.candidate, t.layer): asdict(t) for t in history.triggers
    }


@given(st.permutations(range(4)), st.permutations(range(4)))
@settings(max_examples=10)
def test_the_order_of_candidates_is_nobodys_business(watch_of: WatchOf, columns: list[int], order: list[int]) -> None:
    live, shadow = drawn(2, 80)
    watches = [watch_of(name, stage, quick=True) for name, stage in zip(NAMES, STAGES, strict=True)]
    plain = judge_days(watches, live, shadow)
    other = judge_days([watches[i] for i in order], live.iloc[:, columns], shadow)
    assert other.triggers == plain.triggers
    assert plain.triggers
    for name in NAMES:
        pd.testing.assert_frame_equal(other.charts[name], plain.charts[name])


def test_a_candidate_is_judged_alone(watch_of: WatchOf) -> None:
    live, shadow = drawn(3, 80)
    together = judge_days([watch_of(name, quick=True) for name in NAMES], live, shadow)
    alone = judge_days([watch_of("beta", quick=True)], live[["beta"]], shadow[["beta"]])
    pd.testing.assert_frame_equal(alone.charts["beta"], together.charts["beta"])


def test_days_and_candidates_that_are_absent_are_not_known(watch_of: WatchOf) -> None:
    live, shadow = drawn(4, 30, gaps=0.0)
    history = judge_days([watch_of("alpha"), watch_of("omega")], live.drop(live.index[5:8]), shadow)
    assert history.inconclusive["alpha"]["live"].sum() == 3
    assert history.inconclusive["omega"].to_numpy().all()
    assert history.charts["alpha"]["live_days"].iloc[-1] == 27
    assert (history.charts["omega"][["behind", "ahead", "decay", "evidence", "live_days"]] == 0).to_numpy().all()
    assert history.triggers == ()


def test_nothing_to_judge_is_an_empty_history(watch_of: WatchOf) -> None:
    nothing = pd.DataFrame(index=pd.DatetimeIndex([]))
    for history in (judge_days([], *drawn(5, 3)), judge_days([watch_of()], nothing, nothing)):
        assert isinstance(history, History)
        assert (history.triggers, dict(history.charts)) == ((), {})


def test_all_that_is_wrong_with_a_call_is_said_at_once(watch_of: WatchOf) -> None:
    live, shadow = drawn(6, 5)
    twice = pd.concat([live, live.iloc[:1]])
    with pytest.raises(ValueError, match=r"alpha is watched twice; 5 candidates are watched, .* is for 4; live: days"):
        judge_days([watch_of(name) for name in (*NAMES, "alpha")], twice, shadow)
    with pytest.raises(ValueError, match="live: the index must be of UTC days"):
        judge_days([watch_of()], live.tz_localize("UTC"), shadow)
    with pytest.raises(ValueError, match="shadow: the index must be of UTC days"):
        judge_days([watch_of()], live, shadow.set_axis(shadow.index + pd.Timedelta(hours=1)))
