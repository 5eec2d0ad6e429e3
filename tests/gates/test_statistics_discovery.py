"""Discoveries among many hypotheses: the rule of Wang and Ramdas, and what it promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.gates.statistics import e_benjamini_hochberg

logs = st.lists(st.floats(-20, 20) | st.just(-math.inf), min_size=1, max_size=12)


def by_definition(log_evidence: list[float], level: float) -> set[int]:
    """Return the hypotheses whose e-value is at least m / (level k) for the largest k that as many reach."""
    e, m = np.exp(log_evidence), len(log_evidence)
    sizes = [k for k in range(1, m + 1) if (e >= m / (level * k) * (1 - 1e-12)).sum() >= k]
    return set(np.flatnonzero(e >= m / (level * max(sizes)) * (1 - 1e-12)).tolist()) if sizes else set()


@given(logs, st.sampled_from([0.05, 0.1, 0.5]))
def test_it_rejects_what_the_definition_rejects(log_evidence: list[float], level: float):
    rejected = e_benjamini_hochberg(np.array(log_evidence), level)
    assert set(np.flatnonzero(rejected).tolist()) == by_definition(log_evidence, level)


def test_one_hypothesis_needs_one_over_the_level_and_a_second_find_halves_the_need_of_both():
    one = math.log(1 / 0.05)
    assert e_benjamini_hochberg(np.array([one]), 0.05).tolist() == [True]
    assert e_benjamini_hochberg(np.array([one - 1e-9]), 0.05).tolist() == [False]
    assert e_benjamini_hochberg(np.array([one, 0.0]), 0.05).tolist() == [False, False]
    assert e_benjamini_hochberg(np.array([one, one]), 0.05).tolist() == [True, True]


def test_weights_move_the_need_from_one_hypothesis_to_the_other():
    strong = math.log(2 / 0.05 / 1.5)
    evidence = np.array([strong, strong])
    assert e_benjamini_hochberg(evidence, 0.05, np.array([1.0, 1e-9])).tolist() == [True, False]
    assert e_benjamini_hochberg(np.array([strong, -math.inf]), 0.05).tolist() == [False, False]
    assert e_benjamini_hochberg(np.array([strong, -math.inf]), 0.05, np.array([3.0, 1.0])).tolist() == [True, False]


def test_false_ones_among_the_rejected_stay_below_the_level():
    # 30 of 40 hypotheses are true; e-values of one normal observation against a shift of 3.
    rng = np.random.default_rng(4)
    false = np.arange(40) >= 30
    shares, found = [], 0
    for _ in range(2000):
        rejected = e_benjamini_hochberg(3 * (rng.standard_normal(40) + 4.0 * false) - 4.5, 0.1)
        shares.append((rejected & ~false).sum() / max(1, rejected.sum()))
        found += int((rejected & false).sum())
    assert np.mean(shares) < 0.1
    assert found > 0.5 * 10 * 2000


def test_nothing_is_rejected_of_nothing_and_evidence_that_is_no_number_is_refused():
    assert e_benjamini_hochberg(np.array([]), 0.05).tolist() == []
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="neither NaN nor plus infinity"):
            e_benjamini_hochberg(np.array([bad]), 0.05)
    with pytest.raises(ValueError, match="weights"):
        e_benjamini_hochberg(np.array([1.0]), 0.05, np.array([0.0]))
