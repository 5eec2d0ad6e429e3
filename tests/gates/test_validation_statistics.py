"""Significance of a search: known where there is enough to know it by, and the same on every rerun."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research_to_prod.gates.validation_statistics import (
    BLOCKS,
    INTERVAL_RESAMPLES,
    SPA_RESAMPLES,
    assess_significance,
    deflated_sharpe,
    seed,
)
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.validation.measures import STUDIES, WHOLE, Measure

SHA, OTHER = "a" * 64, "b" * 64
DAYS = 320


def search(trials: int = 5, days: int = DAYS, edge: float = 0.0) -> np.ndarray:
    return np.random.default_rng(8).normal(edge, 0.01, (days, trials))


def assessed(returns: np.ndarray, sha: str = SHA) -> dict[tuple[str, str], Measure]:
    """Return the rows that sum the studies up."""
    found = assess_significance(returns, returns[:, 0], sha)
    return {(row.study, row.metric): row for row in found if row.item == WHOLE}


def test_every_number_of_the_three_studies_is_there() -> None:
    rows = assessed(search())
    studies = ("overfitting", "selection", "bootstrap")
    assert set(rows) == {(study, metric) for study in studies for metric in STUDIES[study]}
    assert all(row.value is not None and not row.reason for row in rows.values())
    shape = {metric: rows["overfitting", metric].value for metric in ("n_blocks", "n_trials", "days", "idle_trials")}
    assert shape == {"n_blocks": BLOCKS, "n_trials": 5, "days": DAYS, "idle_trials": 0}
    assert rows["selection", "resamples"].value == SPA_RESAMPLES
    assert rows["bootstrap", "resamples"].value == INTERVAL_RESAMPLES


@pytest.mark.parametrize("trials", [2, 5, 40])
def test_the_ranks_of_the_winner_are_those_of_all_splits_and_make_up_the_probability(trials: int) -> None:
    returns = search(trials)
    found = assess_significance(returns, returns[:, 0], SHA)
    rows = {(row.item, row.metric): row.value for row in found if row.item.startswith("rank_")}
    splits = {float(item.removeprefix("rank_")): value for (item, metric), value in rows.items() if metric == "splits"}
    assert sum(splits.values()) == math.comb(BLOCKS, BLOCKS // 2)
    for rank in splits:
        assert rows[f"rank_{rank:g}", "logit"] == pytest.approx(math.log(rank / (trials + 1 - rank)), abs=1e-12)
    lower_half = sum(value for rank, value in splits.items() if rank <= (trials + 1) / 2)
    assert assessed(returns)["overfitting", "pbo"].value == pytest.approx(lower_half / sum(splits.values()))


def test_a_rerun_is_identical_and_another_candidate_has_other_resamples() -> None:
    assert assessed(search()) == assessed(search())
    other = assessed(search(), OTHER)
    assert other["bootstrap", "sharpe_lower_95"] != assessed(search())["bootstrap", "sharpe_lower_95"]
    assert other["overfitting", "pbo"] == assessed(search())["overfitting", "pbo"]


def test_the_studies_of_a_candidate_do_not_share_a_seed() -> None:
    assert len({seed(sha, study) for sha in (SHA, OTHER) for study in ("selection", "bootstrap")}) == 4


def test_the_order_of_the_trials_does_not_matter() -> None:
    returns = search()
    forward = assess_significance(returns, returns[:, 0], SHA)
    shuffled = assess_significance(returns[:, [3, 0, 4, 2, 1]], returns[:, 0], SHA)
    for one, other in zip(forward, shuffled, strict=True):
        assert (one.study, one.item, one.metric) == (other.study, other.item, other.metric)
        assert one.value == pytest.approx(other.value, rel=1e-12)


def test_trials_that_never_traded_are_left_out_and_counted() -> None:
    returns = search()
    idle = np.concatenate([returns, np.zeros((DAYS, 3))], axis=1)
    with_idle, without = assessed(idle), assessed(returns)
    assert with_idle["overfitting", "idle_trials"].value == 3
    assert with_idle["overfitting", "n_trials"].value == 5
    for key in without:
        if key != ("overfitting", "idle_trials"):
            assert with_idle[key] == without[key]


@pytest.mark.parametrize(
    "returns",
    [search(trials=1), np.concatenate([search(trials=1), np.zeros((DAYS, 4))], axis=1), search(days=20)],
    ids=["one trial", "one that traded", "too few days"],
)
def test_overfitting_without_enough_trials_or_days_is_null_with_a_reason(returns: np.ndarray) -> None:
    rows = assessed(returns)
    assert not [row for row in assess_significance(returns, returns[:, 0], SHA) if row.item.startswith("rank_")]
    for metric in ("pbo", "loss_probability"):
        assert rows["overfitting", metric].value is None
        assert rows["overfitting", metric].reason
    assert rows["overfitting", "days"].value == len(returns)


def test_a_search_in_which_nothing_traded_has_reasons_only() -> None:
    rows = assessed(np.zeros((DAYS, 3)))
    assert rows["overfitting", "idle_trials"].value == 3
    for key in (("overfitting", "pbo"), ("selection", "spa_consistent"), ("bootstrap", "sharpe_lower_95")):
        assert rows[key].value is None
        assert rows[key].reason


def test_a_true_edge_is_told_from_none() -> None:
    none, edge = search(), search()
    edge[:, 2] += 0.003
    assert assessed(edge)["selection", "spa_consistent"].value < 0.01
    assert assessed(none)["selection", "spa_consistent"].value > 0.05
    assert assessed(edge)["overfitting", "pbo"].value < 0.05


def test_the_interval_holds_the_sharpe_ratio_and_is_annual() -> None:
    returns = search(edge=0.001)
    rows = assessed(returns)
    sharpe = annualised_sharpe_ratio(sharpe_ratio(returns[:, 0]))
    low, high = (rows["bootstrap", metric].value for metric in ("sharpe_lower_95", "sharpe_upper_95"))
    assert low < sharpe < high
    # The standard error of an annual Sharpe ratio over T days is about sqrt(365 / T); blocks widen or narrow it.
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(365 / DAYS), rel=0.4)


def test_the_deflated_sharpe_ratio_falls_with_the_number_of_trials() -> None:
    own = search(edge=0.001)[:, 0]
    values = [deflated_sharpe(own, trials) for trials in (2, 10, 1000)]
    assert 1 > values[0] > values[1] > values[2] > 0


def test_the_deflated_sharpe_ratio_of_one_trial_or_of_no_trades_is_unknown() -> None:
    assert math.isnan(deflated_sharpe(search()[:, 0], 1))
    assert math.isnan(deflated_sharpe(np.zeros(DAYS), 5))
