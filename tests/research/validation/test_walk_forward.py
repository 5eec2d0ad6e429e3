"""Walk-forward: the choice knows only the past, and what it earned is told without flattery."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.research.bars import Floats
from research_to_prod.research.validation.measures import WHOLE, Measure
from research_to_prod.research.validation.splits import TrialPanel
from research_to_prod.research.validation.walk_forward import walk_forward

SEEDS = st.integers(0, 2**32 - 1)


def random_returns(seed: int, days: int = 65, trials: int = 5) -> Floats:
    return np.random.default_rng(seed).normal(0.0005, 0.01, (days, trials))


def plain_sharpe(returns: Floats) -> float:
    return float(np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(365))


def summary(rows: list[Measure]) -> dict[str, Measure]:
    return {row.metric: row for row in rows if row.item == WHOLE}


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, days=st.integers(48, 90), rolling=st.booleans(), purge=st.integers(0, 5))
def test_a_walk_forward_equals_the_plain_loop(seed: int, days: int, rolling: bool, purge: int) -> None:
    returns = random_returns(seed, days)
    found = walk_forward(TrialPanel(returns), rolling=rolling, purge=purge)

    block = days // 12
    first = days - 8 * block
    series: list[float] = []
    inside, outside = [], []
    for number in range(8):
        start = first + number * block
        training = returns[start - first if rolling else 0 : start - purge]
        sharpes = [plain_sharpe(training[:, trial]) for trial in range(returns.shape[1])]
        chosen = sharpes.index(max(sharpes))
        earned = returns[start : start + block, chosen]
        fold = found.folds[number]
        assert (fold.chosen, fold.oos_days) == (chosen, block)
        assert fold.is_sharpe == pytest.approx(sharpes[chosen], rel=1e-12, abs=1e-12)
        assert fold.oos_sharpe == pytest.approx(plain_sharpe(earned), rel=1e-11, abs=1e-11)
        assert fold.is_mean == pytest.approx(training[:, chosen].mean(), rel=1e-12, abs=1e-12)
        assert fold.oos_mean == pytest.approx(earned.mean(), rel=1e-12, abs=1e-12)
        inside.append(training[:, chosen].mean())
        outside.append(earned.mean())
        series += earned.tolist()
    assert found.oos_sharpe == pytest.approx(plain_sharpe(np.array(series)), rel=1e-12, abs=1e-12)
    assert found.positive_share == np.mean([mean > 0 for mean in outside])
    if sum(inside) > 0:
        assert found.efficiency == pytest.approx(sum(outside) / sum(inside), rel=1e-9)
    else:
        assert math.isnan(found.efficiency)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, rolling=st.booleans(), fold=st.integers(0, 7), purge=st.integers(0, 3))
def test_what_comes_later_changes_no_earlier_fold_and_no_choice(
    seed: int, rolling: bool, fold: int, purge: int
) -> None:
    returns = random_returns(seed, days=72)
    future = returns.copy()
    future[24 + fold * 6 :] = np.random.default_rng(seed + 1).permuted(-returns[24 + fold * 6 :], axis=1)
    before = walk_forward(TrialPanel(returns), rolling=rolling, purge=purge).folds
    after = walk_forward(TrialPanel(future), rolling=rolling, purge=purge).folds
    assert [each.chosen for each in before[: fold + 1]] == [each.chosen for each in after[: fold + 1]]
    for one, other in zip(before[:fold], after[:fold], strict=True):
        assert one.oos_mean == pytest.approx(other.oos_mean, rel=1e-12, abs=1e-15)
        assert one.is_sharpe == pytest.approx(other.is_sharpe, rel=1e-12, abs=1e-12)


def test_a_rolling_walk_forward_forgets_and_an_anchored_one_remembers() -> None:
    noise = np.random.default_rng(3).normal(0, 0.002, (120, 1))
    early, late = noise.copy(), noise.copy()
    early[:50] += 0.02
    early[50:] -= 0.001
    late += 0.001
    panel = TrialPanel(np.hstack((early, late)))
    assert walk_forward(panel, rolling=False, purge=1).folds[-1].chosen == 0
    assert walk_forward(panel, rolling=True, purge=1).folds[-1].chosen == 1


def test_the_choice_is_by_sharpe_ratio_and_not_by_what_was_earned() -> None:
    rng = np.random.default_rng(4)
    steady, wild = rng.normal(0.001, 0.0005, 120), rng.normal(0.005, 0.1, 120)
    found = walk_forward(TrialPanel(np.column_stack((wild, steady))), rolling=False, purge=0)
    assert {fold.chosen for fold in found.folds} == {1}


def test_an_efficiency_of_two_losses_is_unknown_and_says_why() -> None:
    losing = np.random.default_rng(5).normal(-0.01, 0.002, (96, 3))
    found = walk_forward(TrialPanel(losing), rolling=True, purge=1)
    assert math.isnan(found.efficiency)
    assert found.positive_share == 0
    row = summary(found.measures("walk_forward_rolling"))["efficiency"]
    assert (row.value, row.reason) == (None, "nothing was earned in sample")


def test_an_edge_that_stays_keeps_its_efficiency_near_one() -> None:
    returns = np.random.default_rng(6).normal(0.01, 0.001, (240, 3))
    found = walk_forward(TrialPanel(returns), rolling=False, purge=2)
    assert found.efficiency == pytest.approx(1, abs=0.05)
    assert found.positive_share == 1


def test_a_trial_that_goes_idle_after_its_choice_has_no_sharpe_ratio_out_of_sample() -> None:
    returns = np.random.default_rng(7).normal(0.01, 0.002, (120, 1))
    returns[40:] = 0.0
    found = walk_forward(TrialPanel(returns), rolling=False, purge=0)
    assert math.isnan(found.oos_sharpe)
    assert found.positive_share == 0
    rows = found.measures("walk_forward_anchored")
    whole = summary(rows)["oos_sharpe"]
    assert (whole.value, whole.reason) == (None, "nothing was traded out of sample")
    fold = next(row for row in rows if row.item == "fold_00" and row.metric == "oos_sharpe")
    assert (fold.value, fold.reason) == (None, "it did not trade")


def test_idle_trials_are_never_chosen_even_over_losing_ones() -> None:
    losing = np.random.default_rng(8).normal(-0.01, 0.002, (96, 1))
    found = walk_forward(TrialPanel(np.hstack((np.zeros((96, 1)), losing))), rolling=False, purge=0)
    assert {fold.chosen for fold in found.folds} == {1}


def test_a_training_in_which_no_trial_traded_is_an_error_that_names_the_day() -> None:
    returns = random_returns(9, days=120)
    returns[:40] = 0.0
    with pytest.raises(ValueError, match="no trial traded in the training before day 40"):
        walk_forward(TrialPanel(returns), rolling=False, purge=0)


def test_too_few_days_are_an_error() -> None:
    with pytest.raises(ValueError, match="23 days are too few"):
        walk_forward(TrialPanel(random_returns(10, days=23)), rolling=False, purge=0)


def test_the_rows_name_every_fold_and_the_summary_once() -> None:
    rows = walk_forward(TrialPanel(random_returns(11)), rolling=False, purge=1).measures("walk_forward_anchored")
    keys = [(row.study, row.item, row.metric) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row.study for row in rows} == {"walk_forward_anchored"}
    assert {row.item for row in rows} == {WHOLE, *(f"fold_{number:02d}" for number in range(8))}
    assert {row.metric for row in rows if row.item == "fold_03"} == {
        "is_mean",
        "oos_mean",
        "is_sharpe",
        "oos_sharpe",
        "oos_days",
    }
    assert summary(rows)["folds"].value == 8
