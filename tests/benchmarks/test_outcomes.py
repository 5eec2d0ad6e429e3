"""The study of outcomes: what it draws, what each regime does with it, how it counts, and a small version of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import _outcome_page as pages
from benchmarks import _outcome_regimes as regimes
from benchmarks import false_promotions, outcomes
from benchmarks._outcome_draws import KINDS, LIVE, MIXTURES, TRACKING, TRIALS, Drawn, drawn
from benchmarks._outcome_regimes import GATES, INFORMAL, REGIMES, Course, Proposal, Rollback, Rules, Year
from research_to_prod.gates.evidence import Studies
from research_to_prod.research.bars import Floats

RULES = Rules.shipped()
DECAYED, DECAYING, COSTLY, OVERFITTED = 5, 6, 7, 3


def annual(returns: Floats) -> float:
    return float(returns.mean() / returns.std(ddof=1) * math.sqrt(365))


def test_each_kind_has_in_research_and_live_what_is_said_of_it() -> None:
    desks = range(12)
    kinds = {0: 3.0, OVERFITTED: 0.0, DECAYED: 0.0, COSTLY: 0.75}
    live = {number: np.mean([annual(drawn(number, desk).live) for desk in desks]) for number in kinds}
    # 12 years: an error of 0.3, three of which still tell these apart.
    for number, expected in kinds.items():
        assert live[number] == pytest.approx(expected, abs=0.9), KINDS[number].what
    assert np.mean([annual(drawn(DECAYED, desk).best) for desk in desks[:3]]) > 2.5


def test_a_variant_moves_with_the_first_and_ideas_do_not_move_together() -> None:
    first, variant, other = (drawn(number, 0).best for number in (0, 1, 2))
    assert np.corrcoef(first, variant)[0, 1] == pytest.approx(0.9, abs=0.03)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.12


def test_the_same_desk_draws_the_same_candidates_and_another_one_others() -> None:
    np.testing.assert_array_equal(drawn(0, 1).research, drawn(0, 1).research)
    assert (drawn(0, 1).research != drawn(0, 2).research).all()
    assert drawn(0, 1).research.shape == (1088, TRIALS)


def test_a_decaying_edge_is_alive_until_it_ends_and_costs_leave_too_little_of_one() -> None:
    decaying = drawn(DECAYING, 3)
    ends = int(decaying.alive.sum())
    assert 0 < ends < LIVE
    assert decaying.alive[:ends].all()
    assert drawn(0, 3).alive.all()
    for number in (OVERFITTED, DECAYED, COSTLY):
        assert not drawn(number, 3).alive.any()


def test_live_is_its_shadow_less_the_worse_costs_and_some_noise() -> None:
    costly = drawn(COSTLY, 0)
    apart = costly.live - costly.shadow
    assert costly.worse == pytest.approx(3 * costly.cost)
    assert apart.mean() == pytest.approx(-costly.worse, abs=4 * TRACKING / math.sqrt(LIVE))
    assert apart.std() == pytest.approx(TRACKING, rel=0.15)


def proposal(number: int, desk: int, figures: Studies | None = None) -> Proposal:
    return regimes.proposals([drawn(number, desk)], [figures or Studies()], RULES)[0]


def with_live(live: Floats, drawdown: float = 0.10) -> Proposal:
    """A candidate that lives through given days."""
    made = proposal(0, 0)
    moved: Drawn = replace(made.drawn, shadow=live, tracking=np.zeros(LIVE), worse=0.0)
    return replace(made, drawn=moved, evidence=replace(made.evidence, max_drawdown=drawdown))


def test_the_drawdown_stop_acts_the_day_after_the_limit_was_passed_and_for_good() -> None:
    live = np.zeros(LIVE)
    live[100], live[101:] = -0.151, 0.01
    course = regimes.stopped(with_live(live), lead=7)
    # Its edge is that of the first kind, which is alive all year.
    assert course.rollbacks == (Rollback(day=100, false=True, layer="drawdown stop"),)
    assert course.size[:7].sum() == 0
    assert course.size[7:101].all()
    assert not course.size[101:].any()


def test_a_drawdown_just_within_the_limit_stops_nothing() -> None:
    live = np.zeros(LIVE)
    live[100] = -0.149
    course = regimes.stopped(with_live(live), lead=0)
    assert (course.rollbacks, course.lead, course.size.sum()) == ((), 0, LIVE)


def test_informally_the_best_in_sample_go_live_and_by_a_rule_only_those_beyond_both_thresholds() -> None:
    proposed = regimes.proposals([drawn(number, 0) for number in range(6)], [Studies()] * 6, RULES)
    ranked = sorted(proposed, key=lambda each: -each.sharpe)
    year = regimes.years(proposed)
    assert [each.promoted for each in year[INFORMAL].courses] == [True] * 4 + [False] * 2
    beyond = [each for each in ranked if each.sharpe >= 2 and each.drawdown <= 0.2][:4]
    assert sum(each.promoted for each in year["rule, Sharpe 2"].courses) == len(beyond)
    # Nothing was studied, so that the gates know too little to pass anything.
    assert not any(each.promoted for each in year[GATES].courses)
    assert year[GATES].sharpe == 0.0
    assert year[GATES].drawdown == 0.0


def test_by_the_gates_an_edge_takes_paper_and_canary_to_its_full_size() -> None:
    course = proposal(0, 0).by_stages
    assert course.lead is not None
    assert course.lead >= 14 + 30
    assert not course.size[:14].any()
    assert set(course.size[: course.lead]) == {0.0, regimes.CANARY_SIZE}
    assert course.size[course.lead] == 1.0


def test_costs_that_are_worse_live_are_found_at_the_size_of_a_canary() -> None:
    courses = [proposal(COSTLY, desk).by_stages for desk in range(5)]
    assert [each.lead for each in courses] == [None] * 5
    assert max(each.size.max() for each in courses) == regimes.CANARY_SIZE


def test_what_a_detector_takes_back_only_ever_gets_smaller() -> None:
    courses = [proposal(DECAYED, desk).by_stages for desk in range(4)]
    assert sum(len(each.rollbacks) for each in courses) >= 2
    for course in courses:
        for rollback in course.rollbacks:
            assert (course.size[rollback.day + 1 :] < course.size[rollback.day]).all()
            assert not rollback.false


def test_what_is_decided_follows_from_the_days_until_then() -> None:
    made = next(each for desk in range(4) if (each := proposal(DECAYED, desk)).by_stages.rollbacks)
    course = made.by_stages
    seen = course.rollbacks[0].day
    another = np.where(np.arange(LIVE) <= seen, made.drawn.shadow, 0.05)
    changed = replace(made, drawn=replace(made.drawn, shadow=another)).by_stages
    np.testing.assert_array_equal(changed.size[: seen + 1], course.size[: seen + 1])
    assert changed.rollbacks[:1] == course.rollbacks[:1]


def test_a_variant_of_what_is_admitted_must_add_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Proposal, "passes", True)
    first = proposal(0, 0)
    copy = replace(first, evidence=replace(first.evidence, candidate="copy"))
    assert regimes.admitted([first, copy]) == [first]


def course(alive_until: int, size: Floats, *rollbacks: Rollback) -> Course:
    return Course("kind", size, 0, rollbacks, np.arange(LIVE) < alive_until)


def test_time_to_find_runs_from_the_first_day_traded_without_an_edge() -> None:
    full = np.ones(LIVE)
    late = course(100, full, Rollback(day=50, false=True, layer="edge"), Rollback(day=129, false=False, layer="edge"))
    assert late.detection == 30
    assert course(100, full).detection is None
    assert course(LIVE, full).detection is None
    assert (course(100, full).unsound, course(LIVE, full).unsound) == (True, False)
    assert pages.unsound_days(course(100, np.full(LIVE, 0.1))) == pytest.approx(26.5)
    assert pages.false_rollbacks(late) == 1


def test_an_interval_of_paired_differences_is_narrower_than_that_of_either() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 5, 200)
    one, other = shared + rng.normal(1, 0.1, 200), shared + rng.normal(0, 0.1, 200)
    found = pages.interval(
        np.stack([one, other], axis=-1), lambda pair: pages.mean(pair[..., 0]) - pages.mean(pair[..., 1])
    )
    assert found[1] < 1.0 < found[2]
    assert found[2] - found[1] < 0.1
    low, high = pages.interval(one, pages.mean)[1:]
    assert high - low == pytest.approx(2 * 1.96 * 5 / math.sqrt(200), rel=0.2)


def year(mean: float) -> Year:
    rng = np.random.default_rng(round(1000 * mean))
    made = Course(KINDS[0].what, np.ones(LIVE), 0, (), np.ones(LIVE, bool))
    return Year(rng.normal(mean, 0.01, LIVE), (made,))


def test_the_page_says_what_is_told_apart_and_how_many_desks_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "sandbox", lambda: "")
    monkeypatch.setattr(pages, "RESAMPLES", 200)
    nothing = Year(
        np.zeros(LIVE), (Course(KINDS[0].what, np.zeros(LIVE), None, (), np.ones(LIVE, bool), promoted=False),)
    )
    desks = [
        {
            name: {regime: nothing if regime == GATES else year(0.002 + 1e-4 * desk) for regime in REGIMES}
            for name in MIXTURES
        }
        for desk in range(12)
    ]
    text = pages.page(desks, RULES, 200)
    assert "Measured so far: 12 of 200 desks." in text
    assert "gates against informal: Sharpe lower, return lower, drawdown lower." in text
    assert "| gates | 0.00 (0.00 to 0.00)" in text
    assert "Measured so far" not in pages.page(desks, RULES, 12)


def test_a_search_that_fails_without_figures_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(false_promotions, "measure", never)
    assert outcomes.measured((OVERFITTED, 0)) == Studies()
    with pytest.raises(AssertionError, match="measured"):
        outcomes.measured((0, 0))


@pytest.mark.slow
def test_a_small_version_promotes_edges_and_no_noise() -> None:
    studies = [outcomes.measured((number, 0)) for number in range(len(KINDS))]
    found = outcomes.lived(0, studies, RULES)
    assert found.keys() == MIXTURES.keys()
    promoted = {each.kind for each in found["all eight"][GATES].courses if each.promoted}
    assert promoted
    assert not any(what.startswith("overfitted") for what in promoted)


def test_the_page_that_is_kept_says_what_this_code_would_say() -> None:
    kept = outcomes.PAGE.read_text()
    for text in (pages.SETTING, pages.HELD, pages.ALIVE):
        assert text in kept
