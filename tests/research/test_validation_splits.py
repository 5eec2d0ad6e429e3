"""Walk-forward and combinatorial purged cross-validation, held against loops that take the definitions literally."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.validation.cross_validation import cross_validate
from research_to_prod.research.validation.splits import (
    TrialPanel,
    cross_validation_splits,
    walk_forward_splits,
)
from research_to_prod.research.validation.walk_forward import walk_forward


def annual(returns: np.ndarray) -> float:
    return annualised_sharpe_ratio(sharpe_ratio(returns))


def matrix(days: int = 365, trials: int = 6, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.001, 0.02, (days, trials))


def rows_of(intervals: tuple[tuple[int, int], ...]) -> list[int]:
    return [day for start, stop in intervals for day in range(start, stop)]


# skfolio 1.12's table of CombinatorialPurgedCV: groups, test groups, splits, paths.
@pytest.mark.parametrize(("groups", "tested", "splits", "paths"), [(6, 2, 15, 5), (10, 2, 45, 9), (10, 8, 45, 36)])
def test_splits_and_paths_have_the_published_numbers(groups: int, tested: int, splits: int, paths: int) -> None:
    assert len(cross_validation_splits(400, groups=groups, test_groups=tested, purge=2, embargo=1)) == splits
    found = cross_validate(TrialPanel(matrix(400)), purge=2, embargo=1, groups=groups, test_groups=tested)
    assert (len(found.is_sharpes), len(found.path_sharpes)) == (splits, paths)


@given(st.integers(60, 200), st.integers(3, 7), st.integers(1, 2), st.integers(0, 4), st.integers(0, 4))
def test_no_training_day_lies_within_purge_and_embargo_of_a_test_group(
    days: int, groups: int, tested: int, purge: int, embargo: int
) -> None:
    for split in cross_validation_splits(days, groups=groups, test_groups=tested, purge=purge, embargo=embargo):
        test, training = set(rows_of(split.test)), set(rows_of(split.training))
        forbidden = set(test)
        for start, stop in split.test:
            forbidden |= set(range(start - purge, stop + purge + embargo))
        assert training == set(range(days)) - forbidden


@pytest.mark.parametrize("seed", range(4))
def test_cross_validation_is_what_the_naive_loop_gives(seed: int) -> None:
    returns, groups, purge, embargo = matrix(301, 5, seed), 6, 3, 2
    parts = np.array_split(np.arange(301), groups)
    inside, outside, tested = [], [], {group: [] for group in range(groups)}
    for chosen in itertools.combinations(range(groups), 2):
        keep = np.ones(301, bool)
        for group in chosen:
            keep[max(0, parts[group][0] - purge) : parts[group][-1] + 1 + purge + embargo] = False
        sharpes = [annual(returns[keep, trial]) for trial in range(5)]
        best = int(np.argmax(sharpes))
        inside.append(sharpes[best])
        outside.append(annual(returns[np.concatenate([parts[group] for group in chosen]), best]))
        for group in chosen:
            tested[group].append(best)
    paths = [
        annual(np.concatenate([returns[parts[group], tested[group][path]] for group in range(groups)]))
        for path in range(groups - 1)
    ]
    found = cross_validate(TrialPanel(returns), purge=purge, embargo=embargo, groups=groups)
    np.testing.assert_allclose(found.is_sharpes, inside, rtol=1e-9)
    np.testing.assert_allclose(found.oos_sharpes, outside, rtol=1e-9)
    np.testing.assert_allclose(found.path_sharpes, paths, rtol=1e-9)


@pytest.mark.parametrize("rolling", [False, True])
def test_walk_forward_is_what_the_naive_loop_gives(rolling: bool) -> None:
    returns, purge = matrix(365), 4
    block = 365 // 12
    first = 365 - 8 * block
    earned, inside, outside = [], [], []
    for fold in range(8):
        start = first + fold * block
        training = returns[start - first if rolling else 0 : start - purge]
        best = int(np.argmax([annual(training[:, trial]) for trial in range(6)]))
        earned.append(returns[start : start + block, best])
        inside.append(training[:, best].mean())
        outside.append(earned[-1].mean())
    found = walk_forward(TrialPanel(returns), rolling=rolling, purge=purge)
    assert found.oos_sharpe == pytest.approx(annual(np.concatenate(earned)), rel=1e-9)
    assert found.efficiency == pytest.approx(sum(outside) / sum(inside), rel=1e-9)
    assert found.positive_share == np.mean(np.array(outside) > 0)
    assert [fold.is_mean for fold in found.folds] == pytest.approx(inside, rel=1e-9)


def test_the_folds_test_every_day_after_the_first_training_once_and_train_only_before() -> None:
    for rolling in (False, True):
        splits = walk_forward_splits(1096, rolling=rolling, purge=5)
        assert rows_of(tuple(each for split in splits for each in split.test)) == list(range(368, 1096))
        for split in splits:
            assert max(rows_of(split.training)) == split.test[0][0] - 6
        lengths = [len(rows_of(split.training)) for split in splits]
        assert (len(set(lengths)) == 1) == rolling


def test_losing_in_and_out_of_sample_is_no_efficiency() -> None:
    losing = matrix() - 0.02
    assert math.isnan(walk_forward(TrialPanel(losing), rolling=False, purge=1).efficiency)


def test_an_edge_in_one_trial_is_found() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, (1088, 50))
    noise[:, 17] += 0.005
    for rolling in (False, True):
        found = walk_forward(TrialPanel(noise), rolling=rolling, purge=1)
        assert {fold.chosen for fold in found.folds} == {17}
        assert found.oos_sharpe > 3
    assert cross_validate(TrialPanel(noise), purge=1, embargo=11).quantile_05 > 3


@pytest.mark.parametrize("rolling", [False, True])
def test_noise_has_an_efficiency_of_zero_on_average(rolling: bool) -> None:
    found = [
        walk_forward(TrialPanel(matrix(365, 20, seed) - 0.001), rolling=rolling, purge=1).efficiency
        for seed in range(200)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_a_trial_that_never_traded_is_never_chosen_and_none_that_traded_is_an_error() -> None:
    returns = matrix() - 0.05
    returns[:, 2] = 0.0
    assert all(fold.chosen != 2 for fold in walk_forward(TrialPanel(returns), rolling=True, purge=1).folds)
    with pytest.raises(ValueError, match="no trial traded"):
        walk_forward(TrialPanel(np.zeros((365, 3))), rolling=True, purge=1)
    with pytest.raises(ValueError, match="no trial traded"):
        cross_validate(TrialPanel(np.zeros((365, 3))), purge=1, embargo=1)


def test_too_few_days_and_returns_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="too few for 8 folds"):
        walk_forward(TrialPanel(matrix(20)), rolling=False, purge=1)
    with pytest.raises(ValueError, match="no training left"):
        cross_validate(TrialPanel(matrix(40)), purge=40, embargo=1)
    bad = matrix()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 returns are not finite"):
        TrialPanel(bad)
