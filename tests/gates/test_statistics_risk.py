"""Tail losses, shares of risk, leverage, and how often limits hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from research_to_prod.gates.statistics import (
    christoffersen_test,
    component_expected_shortfall,
    expected_shortfall,
    fractional_kelly_cap,
    kelly_ruin_probability,
    kupiec_test,
    quantile_upper_bound,
    risk_contributions,
)


def test_the_expected_shortfall_is_the_mean_of_the_worst_losses() -> None:
    returns = np.arange(-50.0, 50.0)
    assert expected_shortfall(returns, 0.975) == pytest.approx((50 + 49 + 0.5 * 48) / 2.5)
    assert expected_shortfall(returns, 0.9) == pytest.approx(np.mean(np.arange(41, 51)))
    assert expected_shortfall(np.arange(-20.0, 20.0)) == 20  # 40 x 2.5 % is one observation


def test_the_shortfall_of_many_normals_is_the_textbooks() -> None:
    returns = np.random.default_rng(1).normal(0, 1, 200_000)
    textbook = stats.norm.pdf(stats.norm.ppf(0.025)) / 0.025
    assert expected_shortfall(returns) == pytest.approx(textbook, rel=0.01)


@given(st.integers(0, 2**32 - 1), st.integers(40, 200), st.integers(1, 6), st.floats(0.5, 0.975))
def test_components_add_up_to_the_books_shortfall(seed: int, days: int, strategies: int, level: float) -> None:
    returns = np.random.default_rng(seed).standard_t(3, (days, strategies))
    components = component_expected_shortfall(returns, level)
    assert components.sum() == pytest.approx(expected_shortfall(returns.sum(axis=1), level), abs=1e-9)
    np.testing.assert_allclose(component_expected_shortfall(2 * returns, level), 2 * components)


def test_a_hedge_has_a_negative_component() -> None:
    risky = np.random.default_rng(2).normal(0, 1, 500)
    assert component_expected_shortfall(np.column_stack([risky, -0.3 * risky]))[1] < 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_risk_contributions_sum_to_one_and_follow_the_definition(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    covariance = np.cov(rng.normal(0, 1, (50, k)), rowvar=False).reshape(k, k)
    weights = rng.uniform(0.1, 1, k)
    shares = risk_contributions(weights, covariance)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares, weights * (covariance @ weights) / (weights @ covariance @ weights), rtol=1e-9)


def test_the_kelly_cap_is_the_fraction_of_mean_over_variance() -> None:
    assert fractional_kelly_cap(0.001, 0.0004) == pytest.approx(0.625)
    assert fractional_kelly_cap(0.001, 0.0004, 1.0) == pytest.approx(2.5)
    assert fractional_kelly_cap(1e300, 1e-300) == 0.0


def test_less_leverage_makes_ruin_less_likely() -> None:
    ruin = [kelly_ruin_probability(fraction, 0.5) for fraction in (1, 0.5, 0.25)]
    assert ruin == pytest.approx([0.5, 0.125, 0.0078125])


@given(st.integers(100, 2000), st.floats(0.01, 0.2))
def test_exactly_the_promised_exceptions_are_no_evidence_against_the_limit(n: int, share: float) -> None:
    # One exception alone is expected only up to rounding (107 * (1 / 107) < 1), where the test must not answer.
    x = max(2, round(n * share))
    test = kupiec_test(x, n, x / n)
    assert test.statistic == pytest.approx(0, abs=1e-9)
    assert test.p_value == pytest.approx(1, abs=1e-4)


def test_no_exception_and_only_exceptions_are_judged_too() -> None:
    assert kupiec_test(0, 1000, 0.025).p_value < 1e-6
    assert kupiec_test(250, 250, 0.025).p_value < 1e-6
    assert kupiec_test(0, 250, 0.01).statistic == pytest.approx(-2 * 250 * math.log(0.99))


def test_clustered_exceptions_are_seen_and_scattered_ones_are_not() -> None:
    clustered, scattered = np.zeros(500, bool), np.zeros(500, bool)
    clustered[100:125] = True
    scattered[5::20] = True
    assert christoffersen_test(clustered, 0.05).coverage.p_value > 0.9
    assert christoffersen_test(clustered, 0.05).independence.p_value < 1e-6
    assert christoffersen_test(clustered, 0.05).conditional_coverage.p_value < 1e-6
    assert christoffersen_test(scattered, 0.05).conditional_coverage.p_value > 0.1


def test_conditional_coverage_is_both_tests_together() -> None:
    hits = np.random.default_rng(3).uniform(size=600) < 0.05
    test = christoffersen_test(hits, 0.05)
    both = test.coverage.statistic + test.independence.statistic
    assert test.conditional_coverage.statistic == pytest.approx(both)
    assert test.conditional_coverage.p_value == pytest.approx(stats.chi2.sf(both, 2))


def test_without_an_exception_dependence_is_not_known() -> None:
    test = christoffersen_test(np.zeros(250, bool), 0.01)
    assert math.isnan(test.independence.p_value)
    assert math.isnan(test.conditional_coverage.p_value)
    assert test.coverage.p_value < 0.05


@pytest.mark.parametrize(("n", "quantile", "rank"), [(1000, 0.99, 996), (10_000, 0.99, 9917), (299, 0.99, 299)])
def test_the_bound_on_a_quantile_is_the_published_order_statistic(n: int, quantile: float, rank: int) -> None:
    assert quantile_upper_bound(n, quantile, 0.95) == rank


@pytest.mark.parametrize(("quantile", "smallest"), [(0.95, 59), (0.99, 299), (0.999, 2995)])
def test_too_few_observations_bound_no_quantile(quantile: float, smallest: int) -> None:
    assert quantile_upper_bound(smallest - 1, quantile, 0.95) is None
    assert quantile_upper_bound(smallest, quantile, 0.95) == smallest


@given(st.integers(1, 400), st.floats(0.05, 0.99), st.floats(0.5, 0.99))
def test_the_bound_on_a_quantile_is_the_smallest_rank_that_suffices(n: int, quantile: float, confidence: float) -> None:
    reached = stats.binom.cdf(np.arange(n), n, quantile)
    assume(np.abs(reached - confidence).min() > 1e-12)  # there, rounding decides
    enough = np.flatnonzero(reached >= confidence)
    assert quantile_upper_bound(n, quantile, confidence) == (enough[0] + 1 if len(enough) else None)
