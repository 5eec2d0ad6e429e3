"""Splits: no training day near a test day, each day tested equally often, and sums that equal the plain formula."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.validation.splits import (
    Interval,
    TrialPanel,
    cross_validation_splits,
    group_bounds,
    walk_forward_splits,
)

DAYS = st.integers(20, 120)
DISTANCE = st.integers(0, 4)


def days_of(intervals: tuple[Interval, ...]) -> set[int]:
    return {day for start, stop in intervals for day in range(start, stop)}


@pytest.mark.parametrize(("groups", "test_groups", "splits", "paths"), [(6, 2, 15, 5), (10, 2, 45, 9), (10, 8, 45, 36)])
def test_combinatorial_cross_validation_has_the_published_numbers_of_splits_and_paths(
    groups: int, test_groups: int, splits: int, paths: int
) -> None:
    made = cross_validation_splits(100, groups=groups, test_groups=test_groups, purge=0, embargo=0)
    assert len(made) == splits
    for bound in group_bounds(100, groups):
        assert sum(bound in split.test for split in made) == paths


@settings(max_examples=60, deadline=None)
@given(days=DAYS, groups=st.integers(3, 7), test_groups=st.integers(1, 2), purge=DISTANCE, embargo=DISTANCE)
def test_training_is_exactly_what_is_further_from_every_test_day_than_purge_and_embargo(
    days: int, groups: int, test_groups: int, purge: int, embargo: int
) -> None:
    try:
        made = cross_validation_splits(days, groups=groups, test_groups=test_groups, purge=purge, embargo=embargo)
    except ValueError:
        assume(False)
    for split in made:
        tested = days_of(split.test)
        near = {day for test in tested for day in range(test - purge, test + purge + embargo + 1)}
        assert days_of(split.training) == set(range(days)) - near
        assert not days_of(split.training) & tested


@settings(max_examples=60, deadline=None)
@given(days=DAYS, groups=st.integers(3, 7), test_groups=st.integers(1, 2))
def test_groups_cover_every_day_once_and_differ_by_one_day_at_most(days: int, groups: int, test_groups: int) -> None:
    bounds = group_bounds(days, groups)
    assert [day for start, stop in bounds for day in range(start, stop)] == list(range(days))
    lengths = [stop - start for start, stop in bounds]
    assert max(lengths) - min(lengths) <= 1
    made = cross_validation_splits(days, groups=groups, test_groups=test_groups, purge=0, embargo=0)
    counts = np.zeros(days, int)
    for split in made:
        counts[sorted(days_of(split.test))] += 1
    assert set(counts) == {math.comb(groups - 1, test_groups - 1)}


def test_splits_come_in_the_order_of_the_combinations() -> None:
    bounds = group_bounds(30, 5)
    made = cross_validation_splits(30, groups=5, test_groups=2, purge=1, embargo=0)
    assert [split.test for split in made] == [(bounds[a], bounds[b]) for a, b in itertools.combinations(range(5), 2)]


@settings(max_examples=60, deadline=None)
@given(days=st.integers(40, 400), rolling=st.booleans(), purge=st.integers(0, 6))
def test_walk_forward_trains_only_on_days_before_the_purge_and_tests_each_later_day_once(
    days: int, rolling: bool, purge: int
) -> None:
    made = walk_forward_splits(days, rolling=rolling, purge=purge)
    first = made[0].test[0][0]
    assert [day for split in made for day in sorted(days_of(split.test))] == list(range(first, days))
    assert len({len(days_of(split.test)) for split in made}) == 1
    for split in made:
        trained, tested = days_of(split.training), days_of(split.test)
        assert min(tested) - max(trained) == purge + 1
        if rolling:
            assert len(trained) == first - purge
        else:
            assert min(trained) == 0


def test_the_remainder_of_a_walk_forward_goes_to_the_first_training() -> None:
    made = walk_forward_splits(12 * 5 + 7, rolling=False, purge=0)
    assert [split.test[0] for split in made][:2] == [(27, 32), (32, 37)]
    assert made[-1].test == ((62, 67),)


@pytest.mark.parametrize(("days", "purge"), [(0, 0), (23, 0), (60, 19), (60, 500)])
def test_a_walk_forward_of_too_few_days_is_refused(days: int, purge: int) -> None:
    with pytest.raises(ValueError, match=f"{days} days are too few"):
        walk_forward_splits(days, rolling=True, purge=purge)


def test_the_shortest_walk_forward_has_two_days_a_training_and_a_fold() -> None:
    assert walk_forward_splits(24, rolling=True, purge=6)[0].training == ((0, 2),)


@pytest.mark.parametrize(("days", "groups", "test_groups"), [(5, 6, 2), (60, 6, 6), (60, 6, 0), (0, 6, 2)])
def test_groups_that_make_no_sense_are_refused(days: int, groups: int, test_groups: int) -> None:
    with pytest.raises(ValueError, match="can't be tested"):
        cross_validation_splits(days, groups=groups, test_groups=test_groups, purge=0, embargo=0)


def test_a_split_whose_training_is_all_purged_is_refused() -> None:
    with pytest.raises(ValueError, match="no training left after purge and embargo"):
        cross_validation_splits(60, groups=6, test_groups=2, purge=15, embargo=15)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-6, 0.01, 1.0, 1e150]), cuts=st.data())
def test_running_sums_equal_the_plain_mean_and_sharpe_ratio(seed: int, scale: float, cuts: st.DataObject) -> None:
    returns = np.random.default_rng(seed).normal(0.1, 1, (40, 3)) * scale
    a, b, c, d = sorted(cuts.draw(st.lists(st.integers(0, 40), min_size=4, max_size=4, unique=True)))
    assume(b - a + d - c > 3)
    panel, there = TrialPanel(returns), np.concatenate((returns[a:b], returns[c:d]))
    np.testing.assert_allclose(panel.means([(a, b), (c, d)]), there.mean(axis=0), rtol=1e-12, atol=1e-13 * scale)
    plain = [annualised_sharpe_ratio(sharpe_ratio(column)) for column in there.T]
    np.testing.assert_allclose(panel.sharpes([(a, b), (c, d)]), plain, rtol=1e-11, atol=1e-11)


def test_a_trial_that_does_not_trade_in_an_interval_has_no_sharpe_ratio_there_whatever_it_did_before() -> None:
    returns = np.random.default_rng(1).normal(0, 0.3, (400, 2))
    returns[200:, 1] = 0.0
    panel = TrialPanel(returns)
    assert np.isnan(panel.sharpes([(200, 300), (320, 400)])).tolist() == [False, True]
    assert np.isnan(panel.sharpes([(5, 6)])).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), earned=st.sampled_from([1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3]))
def test_a_constant_return_after_a_wild_history_has_no_sharpe_ratio(seed: int, earned: float) -> None:
    # What is left of differences of running sums is dust; taken for variance, it makes Sharpe ratios of thousands.
    returns = np.random.default_rng(seed).normal(0, 0.05, (1000, 1))
    returns[600:] = earned
    assert np.isnan(TrialPanel(returns).sharpes([(620, 1000)])).all()


def test_the_best_trial_is_the_first_of_the_highest_and_never_one_without_a_sharpe_ratio() -> None:
    good, bad = [0.01, 0.02, 0.03, 0.02], [-0.01, -0.02, -0.03, -0.01]
    panel = TrialPanel(np.array([[0.0] * 4, bad, good, good]).T)
    assert panel.best([(0, 4)]) == 2
    assert TrialPanel(np.array([[0.0] * 4, bad]).T).best([(0, 4)]) == 1
    assert TrialPanel(np.zeros((4, 3))).best([(0, 4)]) is None


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_a_return_that_is_not_finite_is_refused_and_counted(hole: float) -> None:
    returns = np.zeros((10, 2))
    returns[3, 1] = returns[4, 1] = hole
    with pytest.raises(ValueError, match="2 returns are not finite"):
        TrialPanel(returns)


@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (5,)])
def test_a_panel_without_days_or_trials_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(days, trials\)"):
        TrialPanel(np.zeros(shape))
