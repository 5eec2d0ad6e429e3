"""Sharpe ratios and their deflation: published numbers, laws, and input that must never pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from research_to_prod.gates.statistics import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe_ratio,
    long_run_variance_ratio,
    minimum_backtest_length,
    minimum_track_record_length,
    null_sharpe_deviation,
    probabilistic_sharpe_ratio,
    probabilistic_sharpe_ratios,
    sharpe_standard_error,
)
from research_to_prod.research.metrics import sharpe_ratio, skewness_and_kurtosis

NAN, INF = math.nan, math.inf
# Bailey and Lopez de Prado (2014): Sharpe 2.5 a year over five years of 250 days, variance 0.5 a year across trials.
PAPER = {"sharpe": 2.5 / math.sqrt(250), "n_observations": 1250, "skewness": -3.0, "kurtosis": 10.0}
PAPER_SD = math.sqrt(0.5 / 250)


@pytest.mark.parametrize(
    ("computed", "published", "tolerance"),
    [
        pytest.param(expected_maximum_sharpe_ratio(PAPER_SD, 100), 0.1132, 5e-5, id="2014 bar of 100 trials"),
        pytest.param(deflated_sharpe_ratio(**PAPER, trials_sd=PAPER_SD, n_trials=100), 0.9004, 5e-5, id="2014 N=100"),
        pytest.param(deflated_sharpe_ratio(**PAPER, trials_sd=PAPER_SD, n_trials=46), 0.9505, 5e-5, id="2014 N=46"),
        pytest.param(expected_maximum_sharpe_ratio(1.0, 10), 1.575, 5e-4, id="2014 best of 10"),
        pytest.param(minimum_backtest_length(45, 1.0), 5.0, 5e-3, id="2014 five years for 45 trials"),
        pytest.param(
            minimum_track_record_length(2 / math.sqrt(252), 1 / math.sqrt(252), 0, 3, 0.95) / 252,
            2.73, 6e-3, id="2012 daily",
        ),
        pytest.param(
            minimum_track_record_length(2 / math.sqrt(12), 1 / math.sqrt(12), 0, 3, 0.95) / 12, 3.24, 6e-3,
            id="2012 monthly",
        ),
        pytest.param(probabilistic_sharpe_ratio(0.036 / 0.079, 0, 24, 0, 3), 0.98124272, 1e-7, id="2012 hedge fund"),
        pytest.param(probabilistic_sharpe_ratio(0.036 / 0.079, 0, 24, -2.448, 10.164), 0.913, 5e-4, id="2012 skewed"),
    ],
)  # fmt: skip
def test_published_numbers_are_reproduced(computed: float, published: float, tolerance: float) -> None:
    assert computed == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_bar_of_a_few_trials_is_the_exact_mean_of_their_maximum(n: int) -> None:
    def density(x: float) -> float:
        return x * n * special.ndtr(x) ** (n - 1) * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    assert expected_maximum_sharpe_ratio(1.0, n) == pytest.approx(integrate.quad(density, -9, 9)[0], abs=1e-9)


@given(st.integers(2, 10_000))
def test_the_bar_rises_with_the_number_of_trials(n: int) -> None:
    assert expected_maximum_sharpe_ratio(1.0, n + 1) > expected_maximum_sharpe_ratio(1.0, n)


@given(st.floats(-0.2, 0.3), st.integers(30, 3000), st.integers(2, 5000), st.integers(1, 5000))
def test_the_deflated_sharpe_ratio_never_rises_with_more_trials(sharpe: float, days: int, n: int, more: int) -> None:
    few, many = (deflated_sharpe_ratio(sharpe, days, -0.5, 6.0, 0.03, count) for count in (n, n + more))
    assert many <= few
    assert many < few or few < 1e-12 or many > 1 - 1e-12


@given(
    st.floats(-0.3, 0.3), st.floats(-0.2, 0.2), st.integers(10, 3000), st.floats(-2, 2), st.floats(0, 20),
    st.floats(0.001, 0.1),
)  # fmt: skip
def test_the_probabilistic_sharpe_ratio_falls_with_the_benchmark(
    sharpe: float, benchmark: float, days: int, skewness: float, excess: float, step: float
) -> None:
    kurtosis = 1 + skewness**2 + excess
    low, high = (
        probabilistic_sharpe_ratio(sharpe, bar, days, skewness, kurtosis) for bar in (benchmark, benchmark + step)
    )
    assert 0 <= high <= low <= 1


@given(st.floats(0.01, 0.3), st.integers(10, 2000), st.integers(1, 2000))
def test_more_observations_make_a_positive_sharpe_ratio_more_certain(sharpe: float, days: int, more: int) -> None:
    assert probabilistic_sharpe_ratio(sharpe, 0, days + more, -1, 8) >= probabilistic_sharpe_ratio(
        sharpe, 0, days, -1, 8
    )


@given(st.floats(0.02, 0.5), st.floats(-0.1, 0.01), st.floats(-2, 2), st.floats(0.1, 20), st.floats(0.6, 0.99))
def test_at_the_minimum_track_record_the_confidence_is_reached_exactly(
    sharpe: float, benchmark: float, skewness: float, excess: float, confidence: float
) -> None:
    kurtosis = 1 + skewness**2 + excess
    length = minimum_track_record_length(sharpe, benchmark, skewness, kurtosis, confidence)
    if length >= 2:
        reached = probabilistic_sharpe_ratio(sharpe, benchmark, length, skewness, kurtosis)
        assert reached == pytest.approx(confidence, abs=1e-9)


def test_the_vectorised_form_equals_the_scalar_one() -> None:
    rng = np.random.default_rng(4)
    returns = rng.standard_t(4, (50, 400)) * 0.01 + 0.0005
    one_by_one = [
        probabilistic_sharpe_ratio(sharpe_ratio(row), 0.02, 400, *skewness_and_kurtosis(row)) for row in returns
    ]
    np.testing.assert_allclose(probabilistic_sharpe_ratios(returns, 0.02), one_by_one, rtol=1e-12)


def test_a_bad_row_is_nan_and_leaves_the_others_alone() -> None:
    good = np.random.default_rng(5).normal(0.001, 0.01, 100)
    with_nan, with_inf = good.copy(), good.copy()
    with_nan[3], with_inf[3] = NAN, INF
    rows = np.array([good, with_nan, np.zeros(100), np.full(100, 0.1), with_inf])
    result = probabilistic_sharpe_ratios(rows)
    assert np.isfinite(result[0])
    assert np.isnan(result[1:]).all()


def test_too_few_observations_are_nan_and_a_single_series_must_be_a_row() -> None:
    assert np.isnan(probabilistic_sharpe_ratios(np.ones((3, 2)))).all()
    assert probabilistic_sharpe_ratios(np.empty((0, 100))).shape == (0,)
    with pytest.raises(ValueError, match="n_series, n_observations"):
        probabilistic_sharpe_ratios(np.ones(100))


@pytest.mark.parametrize(
    ("sharpe", "benchmark", "n", "skewness", "kurtosis"),
    [
        (NAN, 0, 100, 0, 3),
        (0.1, NAN, 100, 0, 3),
        (0.1, 0, NAN, 0, 3),
        (0.1, 0, 1, 0, 3),
        (0.1, 0, 0, 0, 3),
        (0.1, 0, -5, 0, 3),
        (0.1, 0, 100, NAN, 3),
        (0.1, 0, 100, 0, NAN),
        (INF, 0, 100, 0, 3),
        # Kurtosis in excess (0 for a normal) is the classic slip; no distribution has it.
        (0.1, 0, 100, 0, 0),
        (0.1, 0, 100, 2, 3),
    ],
)
def test_input_that_means_nothing_gives_nan_not_a_probability(
    sharpe: float, benchmark: float, n: float, skewness: float, kurtosis: float
) -> None:
    assert math.isnan(probabilistic_sharpe_ratio(sharpe, benchmark, n, skewness, kurtosis))


@pytest.mark.parametrize("n_trials", [1, 0, -3, 2.5, 46.0, NAN, None, "100", True])
def test_a_number_of_trials_that_could_switch_deflation_off_is_refused(n_trials: Any) -> None:
    for compute in (
        lambda: expected_maximum_sharpe_ratio(0.03, n_trials),
        lambda: deflated_sharpe_ratio(0.1, 1000, 0, 3, 0.03, n_trials),
        lambda: minimum_backtest_length(n_trials, 1.0),
    ):
        with pytest.raises(ValueError, match="n_trials must be"):
            compute()


def test_an_integer_of_numpy_counts_as_one() -> None:
    assert expected_maximum_sharpe_ratio(1.0, np.int64(10)) == expected_maximum_sharpe_ratio(1.0, 10)


@pytest.mark.parametrize("trials_sd", [0.0, -0.1, NAN, INF])
def test_a_dispersion_of_nothing_gives_nan_not_a_bar_of_zero(trials_sd: float) -> None:
    assert math.isnan(expected_maximum_sharpe_ratio(trials_sd, 100))
    assert math.isnan(deflated_sharpe_ratio(0.1, 1000, 0, 3, trials_sd, 100))


def test_a_sharpe_ratio_at_or_below_the_benchmark_needs_for_ever() -> None:
    assert minimum_track_record_length(0.1, 0.1, 0, 3, 0.95) == INF
    assert minimum_track_record_length(-0.1, 0.0, 0, 3, 0.95) == INF
    assert math.isnan(minimum_track_record_length(NAN, 0.0, 0, 3, 0.95))
    assert math.isnan(minimum_track_record_length(0.1, NAN, 0, 3, 0.95))


@pytest.mark.parametrize("confidence", [0.5, 1.0, 0.0, NAN])
def test_a_confidence_that_asks_for_nothing_or_everything_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        minimum_track_record_length(0.1, 0.0, 0, 3, confidence)


@pytest.mark.parametrize("target", [0.0, -1.0, NAN, INF])
def test_a_target_that_is_not_positive_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target_sharpe"):
        minimum_backtest_length(10, target)


def test_the_standard_error_of_normal_returns_is_the_textbooks() -> None:
    assert sharpe_standard_error(0.1, 101, 0, 3) == pytest.approx(math.sqrt((1 + 0.1**2 / 2) / 100))


def test_the_long_run_variance_sees_trending_and_reverting_returns() -> None:
    noise = np.random.default_rng(6).normal(0, 0.01, 5001)
    trending = noise[1:] + 0.5 * noise[:-1]
    reverting = noise[1:] - 0.5 * noise[:-1]
    assert long_run_variance_ratio(noise) == pytest.approx(1, abs=0.1)
    # (1 + 0.5)^2 / (1 + 0.5^2), less what the Bartlett weights leave out.
    assert long_run_variance_ratio(trending) == pytest.approx(1.8, abs=0.15)
    assert long_run_variance_ratio(reverting) < 0.5


def test_the_long_run_variance_equals_its_definition() -> None:
    x = np.random.default_rng(7).normal(0, 1, 60)
    lags = int(4 * (60 / 100) ** (2 / 9))
    c = x - x.mean()
    gamma = [sum(c[t] * c[t - k] for t in range(k, 60)) / 60 for k in range(lags + 1)]
    expected = (gamma[0] + 2 * sum((1 - k / (lags + 1)) * gamma[k] for k in range(1, lags + 1))) / gamma[0]
    assert long_run_variance_ratio(x) == pytest.approx(expected, rel=1e-12)


def test_the_deviation_under_the_null_gives_no_credit_for_reverting_returns() -> None:
    noise = np.random.default_rng(8).normal(0, 0.01, 1001)
    reverting = noise[1:] - 0.5 * noise[:-1]
    assert null_sharpe_deviation(reverting) == pytest.approx(1 / math.sqrt(999))


@pytest.mark.parametrize("returns", [[], [0.1, 0.2], [0.1] * 50, [0.1, NAN, 0.2, 0.3]])
def test_a_series_without_variance_or_with_nan_has_no_deviation(returns: list[float]) -> None:
    assert math.isnan(null_sharpe_deviation(np.array(returns, float)))


def test_the_best_of_many_noise_searches_passes_about_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(9)
    passed = 0
    for _ in range(200):
        trials = rng.normal(0, 0.01, (50, 500))
        best = max(trials, key=sharpe_ratio)
        moments = (sharpe_ratio(best), 500, *skewness_and_kurtosis(best))
        passed += deflated_sharpe_ratio(*moments, null_sharpe_deviation(best), 50) >= 0.95
    # Nominally 5 %, and below it: the best of many is less variable than a single one.
    assert passed <= 10
