"""Combinatorial purged cross-validation: whole histories out of sample, equal to the plain loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.research.bars import Floats
from research_to_prod.research.validation.cross_validation import CrossValidation, cross_validate
from research_to_prod.research.validation.measures import WHOLE
from research_to_prod.research.validation.splits import TrialPanel

SHARES = [(6, 2, 5), (10, 2, 9), (10, 8, 36)]


def random_returns(seed: int, days: int = 60, trials: int = 4) -> Floats:
    return np.random.default_rng(seed).normal(0.0005, 0.01, (days, trials))


def plain_sharpe(returns: Floats) -> float:
    return float(np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(365))


def plain_paths(
    returns: Floats, *, purge: int, embargo: int, groups: int, test_groups: int
) -> tuple[list[float], list[float], list[list[tuple[int, float]]]]:
    """Return the Sharpe ratios of training and test of each split, and each path as its days with what they earned."""
    parts = [part.tolist() for part in np.array_split(np.arange(len(returns)), groups)]
    inside, outside = [], []
    waiting: dict[int, list[list[tuple[int, float]]]] = {group: [] for group in range(groups)}
    for tested in itertools.combinations(range(groups), test_groups):
        test_days = [day for group in tested for day in parts[group]]
        training = [
            day
            for day in range(len(returns))
            if all(day < test - purge or day > test + purge + embargo for test in test_days)
        ]
        sharpes = [plain_sharpe(returns[training, trial]) for trial in range(returns.shape[1])]
        chosen = sharpes.index(max(sharpes))
        inside.append(sharpes[chosen])
        outside.append(plain_sharpe(returns[test_days, chosen]))
        for group in tested:
            waiting[group].append([(day, float(returns[day, chosen])) for day in parts[group]])
    paths = [
        list(itertools.chain(*(waiting[group][path] for group in range(groups)))) for path in range(len(waiting[0]))
    ]
    return inside, outside, paths


@pytest.mark.parametrize(("groups", "test_groups", "paths"), SHARES)
@pytest.mark.parametrize(("purge", "embargo"), [(0, 0), (1, 1), (2, 0)])
def test_paths_and_splits_equal_the_plain_loop(
    groups: int, test_groups: int, paths: int, purge: int, embargo: int
) -> None:
    returns = random_returns(groups + test_groups + purge, days=93)
    found = cross_validate(TrialPanel(returns), purge=purge, embargo=embargo, groups=groups, test_groups=test_groups)
    inside, outside, series = plain_paths(returns, purge=purge, embargo=embargo, groups=groups, test_groups=test_groups)
    np.testing.assert_allclose(found.is_sharpes, inside, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.oos_sharpes, outside, rtol=1e-12, atol=1e-12)
    expected = [plain_sharpe(np.array([earned for _, earned in path])) for path in series]
    np.testing.assert_allclose(found.path_sharpes, expected, rtol=1e-12, atol=1e-12)
    assert len(found.path_sharpes) == paths
    for path in series:
        assert [day for day, _ in path] == list(range(93))


def test_a_single_trial_makes_every_path_that_trials_own_history() -> None:
    # Only if each day is out of sample exactly once on each path do all of them have the Sharpe ratio of the whole.
    returns = random_returns(1, days=101, trials=1)
    found = cross_validate(TrialPanel(returns), purge=2, embargo=1)
    assert len(found.path_sharpes) == 9
    np.testing.assert_allclose(found.path_sharpes, plain_sharpe(returns[:, 0]), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(4)))
def test_the_order_of_the_trials_changes_nothing(seed: int, order: list[int]) -> None:
    returns = random_returns(seed)
    one, other = (
        cross_validate(TrialPanel(each), purge=1, embargo=1, groups=6) for each in (returns, returns[:, order])
    )
    np.testing.assert_allclose(one.path_sharpes, other.path_sharpes, rtol=1e-12, atol=1e-12)


def test_what_happens_in_purged_and_embargoed_days_changes_no_choice() -> None:
    returns = random_returns(2, days=60)
    # In the first of 6 splits with one test group, training starts at day 10 + 3 + 2.
    changed = returns.copy()
    changed[:15] = np.random.default_rng(3).normal(0, 0.01, (15, 4))
    one, other = (
        cross_validate(TrialPanel(each), purge=3, embargo=2, groups=6, test_groups=1) for each in (returns, changed)
    )
    assert one.is_sharpes[0] == pytest.approx(other.is_sharpes[0], rel=1e-12)
    assert one.is_sharpes[-1] != pytest.approx(other.is_sharpes[-1], rel=1e-6)


def test_a_needle_that_worked_in_one_group_only_disappoints_on_every_path() -> None:
    returns = np.random.default_rng(4).normal(-0.002, 0.01, (100, 10))
    for group in range(10):
        returns[group * 10 : group * 10 + 10, group] += 0.05
    found = cross_validate(TrialPanel(returns), purge=1, embargo=1)
    assert found.is_sharpes.min() > 0 > found.quantile_05


def test_the_summary_is_the_quantile_and_the_share_of_the_paths() -> None:
    paths = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    found = CrossValidation(paths, paths, paths)
    assert found.quantile_05 == pytest.approx(-0.8)
    assert found.positive_share == 0.6
    rows = {(row.item, row.metric): row.value for row in found.measures()}
    assert rows[WHOLE, "paths"] == 5
    assert [rows[f"path_{number:02d}", "sharpe"] for number in range(5)] == paths.tolist()
    assert [rows[f"split_{number:02d}", "oos_sharpe"] for number in range(5)] == paths.tolist()
    assert len(rows) == 18


def test_one_path_without_a_sharpe_ratio_leaves_the_summary_unknown_with_a_reason() -> None:
    paths = np.array([2.0, math.nan, 3.0])
    rows = {(row.item, row.metric): row for row in CrossValidation(paths, paths, paths).measures()}
    for key in ((WHOLE, "quantile_05"), (WHOLE, "positive_share"), ("path_01", "sharpe")):
        assert rows[key].value is None
        assert "did not trade" in rows[key].reason
    assert rows["path_00", "sharpe"].value == 2.0


def test_idle_trials_are_never_chosen() -> None:
    losing = np.random.default_rng(5).normal(-0.01, 0.002, (100, 1))
    found = cross_validate(TrialPanel(np.hstack((np.zeros((100, 3)), losing))), purge=1, embargo=1)
    np.testing.assert_allclose(found.path_sharpes, plain_sharpe(losing[:, 0]), rtol=1e-12)
    assert found.positive_share == 0


def test_a_search_that_never_traded_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trial traded in the training of a split"):
        cross_validate(TrialPanel(np.zeros((100, 3))), purge=1, embargo=1)


@pytest.mark.parametrize(("days", "purge", "embargo"), [(9, 0, 0), (20, 10, 0), (20, 0, 19)])
def test_too_few_days_are_an_error(days: int, purge: int, embargo: int) -> None:
    with pytest.raises(ValueError, match=r"too few|can't be tested"):
        cross_validate(TrialPanel(random_returns(6, days)), purge=purge, embargo=embargo)
