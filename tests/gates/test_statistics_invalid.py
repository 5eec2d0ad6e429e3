"""Input that means nothing, for every public statistic: it raises, or gives what no gate can pass."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from research_to_prod.gates import statistics as s

NAN = math.nan
GOOD = np.random.default_rng(0).normal(0.002, 0.01, (400, 12))
SERIES = GOOD[:, 0]


def _with(value: float, values: np.ndarray = GOOD) -> np.ndarray:
    values = values.copy()
    values[(3,) * values.ndim] = value
    return values


FLAT_TRIAL = GOOD.copy()
FLAT_TRIAL[:, 5] = 0.0
CONSTANT_TRIAL = GOOD.copy()
CONSTANT_TRIAL[:, 5] = 0.1
COVARIANCE = np.cov(GOOD, rowvar=False)
HALF = np.full(12, 1 / 12)
NOT_COVARIANCE = np.array([[1.0, 2.0], [2.0, 1.0]])

MISTAKES: list[tuple[str, Callable[[], Any]]] = [
    # Name of the function, a space, and the mistake.
    ("sharpe_standard_error NaN", lambda: s.sharpe_standard_error(NAN, 100, 0, 3)),
    ("sharpe_standard_error one observation", lambda: s.sharpe_standard_error(0.1, 1, 0, 3)),
    ("sharpe_standard_error kurtosis in excess", lambda: s.sharpe_standard_error(0.1, 100, 0, 0)),
    ("probabilistic_sharpe_ratio NaN", lambda: s.probabilistic_sharpe_ratio(0.1, NAN, 100, 0, 3)),
    ("probabilistic_sharpe_ratio one observation", lambda: s.probabilistic_sharpe_ratio(5, 0, 1, 0, 3)),
    ("probabilistic_sharpe_ratios NaN", lambda: s.probabilistic_sharpe_ratios(_with(NAN, SERIES)[None])),
    ("probabilistic_sharpe_ratios two observations", lambda: s.probabilistic_sharpe_ratios(np.array([[0.1, 0.2]]))),
    ("probabilistic_sharpe_ratios no variance", lambda: s.probabilistic_sharpe_ratios(np.full((1, 50), 0.1))),
    ("probabilistic_sharpe_ratios a series", lambda: s.probabilistic_sharpe_ratios(SERIES)),
    (
        "probabilistic_sharpe_ratios benchmarks of other series",
        lambda: s.probabilistic_sharpe_ratios(GOOD, np.zeros(3)),
    ),
    ("sharpe_moments NaN", lambda: s.sharpe_moments(_with(NAN, SERIES)[None])),
    ("sharpe_moments no variance", lambda: s.sharpe_moments(np.zeros((1, 50)))),
    ("sharpe_moments a series", lambda: s.sharpe_moments(SERIES)),
    ("expected_maximum_sharpe_ratio one trial", lambda: s.expected_maximum_sharpe_ratio(0.05, 1)),
    ("expected_maximum_sharpe_ratio no dispersion", lambda: s.expected_maximum_sharpe_ratio(0.0, 100)),
    ("deflated_sharpe_ratio one trial", lambda: s.deflated_sharpe_ratio(0.5, 1000, 0, 3, 0.05, 1)),
    ("deflated_sharpe_ratio no dispersion", lambda: s.deflated_sharpe_ratio(0.5, 1000, 0, 3, 0.0, 100)),
    ("deflated_sharpe_ratio NaN", lambda: s.deflated_sharpe_ratio(NAN, 1000, 0, 3, 0.05, 100)),
    ("minimum_track_record_length NaN", lambda: s.minimum_track_record_length(NAN, 0, 0, 3, 0.95)),
    ("minimum_track_record_length no confidence", lambda: s.minimum_track_record_length(0.1, 0, 0, 3, 0.5)),
    ("minimum_backtest_length one trial", lambda: s.minimum_backtest_length(1, 1.0)),
    ("minimum_backtest_length no target", lambda: s.minimum_backtest_length(100, 0.0)),
    ("long_run_variance_ratio NaN", lambda: s.long_run_variance_ratio(_with(NAN, SERIES))),
    ("long_run_variance_ratio no variance", lambda: s.long_run_variance_ratio(np.zeros(50))),
    ("null_sharpe_deviation NaN", lambda: s.null_sharpe_deviation(_with(NAN, SERIES))),
    ("null_sharpe_deviation two observations", lambda: s.null_sharpe_deviation(np.array([0.1, 0.2]))),
    *(
        (f"{name} {mistake}", lambda function=function, returns=returns: function(returns))
        for name, function in (
            ("probability_of_backtest_overfitting", s.probability_of_backtest_overfitting),
            ("superior_predictive_ability", lambda returns: s.superior_predictive_ability(returns, seed=0)),
        )
        for mistake, returns in (
            ("NaN", _with(NAN)),
            ("infinite", _with(math.inf)),
            ("a trial that never traded", FLAT_TRIAL),
            ("a trial that earns a constant", CONSTANT_TRIAL),
            ("too short", GOOD[:15]),
            ("transposed", GOOD.T),
            ("a series", SERIES),
            ("no trial", GOOD[:, :0]),
            ("nothing", np.empty((0, 0))),
        )
    ),
    ("probability_of_backtest_overfitting one trial", lambda: s.probability_of_backtest_overfitting(GOOD[:, :1])),
    ("probability_of_backtest_overfitting odd blocks", lambda: s.probability_of_backtest_overfitting(GOOD, 15)),
    ("probability_of_backtest_overfitting two blocks", lambda: s.probability_of_backtest_overfitting(GOOD, 2)),
    ("superior_predictive_ability NaN benchmark", lambda: s.superior_predictive_ability(GOOD, NAN, seed=0)),
    (
        "superior_predictive_ability benchmark of other days",
        lambda: s.superior_predictive_ability(GOOD, np.zeros(399), seed=0),
    ),
    (
        "superior_predictive_ability a trial that is the benchmark",
        lambda: s.superior_predictive_ability(GOOD, GOOD[:, 0], seed=0),
    ),
    ("superior_predictive_ability one resample", lambda: s.superior_predictive_ability(GOOD, reps=1, seed=0)),
    ("superior_predictive_ability NaN block", lambda: s.superior_predictive_ability(GOOD, block_size=NAN, seed=0)),
    ("stationary_bootstrap_interval NaN", lambda: s.stationary_bootstrap_interval(_with(NAN, SERIES), seed=0)),
    ("stationary_bootstrap_interval too short", lambda: s.stationary_bootstrap_interval(SERIES[:19], seed=0)),
    ("stationary_bootstrap_interval no variance", lambda: s.stationary_bootstrap_interval(np.full(50, 0.1), seed=0)),
    (
        "stationary_bootstrap_interval no variance, block given",
        lambda: s.stationary_bootstrap_interval(np.full(50, 0.1), block_size=2, seed=0),
    ),
    ("stationary_bootstrap_interval a panel", lambda: s.stationary_bootstrap_interval(GOOD, seed=0)),
    ("stationary_bootstrap_interval one resample", lambda: s.stationary_bootstrap_interval(SERIES, reps=1, seed=0)),
    ("optimal_block_size NaN", lambda: s.optimal_block_size(_with(NAN, SERIES))),
    ("optimal_block_size no variance", lambda: s.optimal_block_size(np.zeros(50))),
    ("kupiec_test nothing", lambda: s.kupiec_test(0, 0, 0.05)),
    ("kupiec_test too short", lambda: s.kupiec_test(0, 30, 0.025)),
    ("kupiec_test more exceptions than days", lambda: s.kupiec_test(300, 250, 0.025)),
    ("kupiec_test negative", lambda: s.kupiec_test(-1, 250, 0.025)),
    ("kupiec_test NaN", lambda: s.kupiec_test(6, 250, NAN)),
    ("kupiec_test a share instead of a count", lambda: s.kupiec_test(0.025, 250, 0.025)),  # type: ignore[arg-type]
    ("christoffersen_test NaN", lambda: s.christoffersen_test([0.0, 1.0, NAN] * 100, 0.05)),
    ("christoffersen_test losses", lambda: s.christoffersen_test(SERIES, 0.05)),
    ("christoffersen_test nothing", lambda: s.christoffersen_test([], 0.05)),
    ("christoffersen_test too short", lambda: s.christoffersen_test([False, True, False], 0.05)),
    ("quantile_upper_bound none", lambda: s.quantile_upper_bound(0, 0.99, 0.95)),
    ("quantile_upper_bound too few", lambda: s.quantile_upper_bound(298, 0.99, 0.95)),
    ("quantile_upper_bound NaN", lambda: s.quantile_upper_bound(1000, NAN, 0.95)),
    ("cusum_average_run_length NaN", lambda: s.cusum_average_run_length(0.5, NAN, 0)),
    ("cusum_average_run_length negative", lambda: s.cusum_average_run_length(-0.5, 5, 0)),
    ("cusum_average_run_length head start beyond", lambda: s.cusum_average_run_length(0.5, 5, 0, head_start=5)),
    (
        "cusum_average_run_length head starts that meet",
        lambda: s.cusum_average_run_length(0.5, 5, 0, two_sided=True, head_start=3),
    ),
    ("cusum_threshold NaN", lambda: s.cusum_threshold(0.5, NAN)),
    ("cusum_threshold too short", lambda: s.cusum_threshold(0.5, 1)),
    ("sprt NaN", lambda: s.sprt(np.array([0.1, NAN]), 0.2)),
    ("sprt no shift", lambda: s.sprt(SERIES, 0.0)),
    ("sprt NaN error", lambda: s.sprt(SERIES, 0.1, alpha=NAN)),
    (
        "normal_mixture_confidence_sequence NaN",
        lambda: s.normal_mixture_confidence_sequence(_with(NAN, SERIES), 0.01, 99),
    ),
    ("normal_mixture_confidence_sequence no deviation", lambda: s.normal_mixture_confidence_sequence(SERIES, 0.0, 99)),
    ("normal_mixture_confidence_sequence nothing", lambda: s.normal_mixture_confidence_sequence(SERIES[:0], 0.01, 99)),
    ("normal_mixture_bound no precision", lambda: s.normal_mixture_bound(np.ones(3), 0.05, 0.0)),
    ("normal_mixture_bound NaN", lambda: s.normal_mixture_bound(np.full(3, NAN), 0.05, 1.0)),
    ("normal_mixture_log_evidence NaN", lambda: s.normal_mixture_log_evidence(NAN, 1, 1)),
    ("normal_mixture_precision NaN", lambda: s.normal_mixture_precision(NAN, 0.05)),
    ("e_shiryaev_roberts NaN", lambda: s.e_shiryaev_roberts(_with(NAN, SERIES), 0.1)),
    ("e_shiryaev_roberts no shift", lambda: s.e_shiryaev_roberts(SERIES, 0.0)),
    ("expected_shortfall NaN", lambda: s.expected_shortfall(_with(NAN, SERIES))),
    ("expected_shortfall nothing", lambda: s.expected_shortfall(np.empty(0))),
    ("expected_shortfall too short", lambda: s.expected_shortfall(SERIES[:39])),
    ("expected_shortfall no variance", lambda: s.expected_shortfall(np.full(100, 0.1))),
    ("expected_shortfall a panel", lambda: s.expected_shortfall(GOOD)),
    ("expected_shortfall level in percent", lambda: s.expected_shortfall(SERIES, 97.5)),
    ("component_expected_shortfall NaN", lambda: s.component_expected_shortfall(_with(NAN))),
    ("component_expected_shortfall transposed", lambda: s.component_expected_shortfall(GOOD.T)),
    ("component_expected_shortfall too short", lambda: s.component_expected_shortfall(GOOD[:39])),
    ("component_expected_shortfall no variance", lambda: s.component_expected_shortfall(np.zeros((100, 2)))),
    ("risk_contributions NaN", lambda: s.risk_contributions(HALF, _with(NAN, COVARIANCE))),
    ("risk_contributions returns", lambda: s.risk_contributions(HALF, GOOD)),
    ("risk_contributions no variance", lambda: s.risk_contributions(HALF, np.zeros((12, 12)))),
    ("risk_contributions no weight", lambda: s.risk_contributions(np.zeros(12), COVARIANCE)),
    ("risk_contributions correlation of 2", lambda: s.risk_contributions(np.array([0.5, 0.5]), NOT_COVARIANCE)),
    ("fractional_kelly_cap NaN", lambda: s.fractional_kelly_cap(NAN, 0.01)),
    ("fractional_kelly_cap no variance", lambda: s.fractional_kelly_cap(0.01, 0.0)),
    ("fractional_kelly_cap a losing bound", lambda: s.fractional_kelly_cap(-0.01, 0.01)),
    ("fractional_kelly_cap NaN fraction", lambda: s.fractional_kelly_cap(0.01, 0.01, NAN)),
    ("fractional_kelly_cap more than Kelly", lambda: s.fractional_kelly_cap(0.01, 0.01, 1.5)),
    ("resampled_drawdowns NaN", lambda: s.resampled_drawdowns(_with(NAN, SERIES), 100, reps=100, seed=0)),
    ("resampled_drawdowns too short", lambda: s.resampled_drawdowns(SERIES[:19], 100, reps=100, seed=0)),
    ("resampled_drawdowns no variance", lambda: s.resampled_drawdowns(np.full(50, 0.1), 100, reps=100, seed=0)),
    ("resampled_drawdowns no horizon", lambda: s.resampled_drawdowns(SERIES, 0, reps=100, seed=0)),
    ("resampled_drawdowns one resample", lambda: s.resampled_drawdowns(SERIES, 100, reps=1, seed=0)),
    ("e_benjamini_hochberg NaN", lambda: s.e_benjamini_hochberg(np.array([0.0, NAN]), 0.05)),
    ("e_benjamini_hochberg a panel", lambda: s.e_benjamini_hochberg(GOOD, 0.05)),
    ("e_benjamini_hochberg no level", lambda: s.e_benjamini_hochberg(np.zeros(3), 0.0)),
    ("e_benjamini_hochberg no weight", lambda: s.e_benjamini_hochberg(np.zeros(2), 0.05, np.array([1.0, 0.0]))),
    ("kelly_ruin_probability NaN", lambda: s.kelly_ruin_probability(NAN, 0.5)),
    ("kelly_ruin_probability of nothing", lambda: s.kelly_ruin_probability(0.0, 0.5)),
]


def _numbers(value: Any) -> list[float]:
    """Return the numbers of a result that a gate could read."""
    if isinstance(value, s.Christoffersen):
        return [value.independence.p_value, value.conditional_coverage.p_value, value.coverage.p_value]
    if isinstance(value, s.LikelihoodRatio):
        return [value.statistic, value.p_value]
    return [] if value is None else np.atleast_1d(value).ravel().tolist()


@pytest.mark.parametrize(("mistake", "compute"), MISTAKES, ids=[mistake for mistake, _ in MISTAKES])
def test_a_mistake_gives_no_number_that_could_pass(mistake: str, compute: Callable[[], Any]) -> None:
    try:
        result = compute()
    except ValueError:
        return
    if mistake.startswith("fractional_kelly_cap"):
        assert result == 0.0  # no leverage at all
    else:
        assert all(math.isnan(number) for number in _numbers(result))


def test_every_public_statistic_is_in_the_table() -> None:
    functions = {name for name in s.__all__ if inspect.isfunction(getattr(s, name))} - {"compile_ahead"}
    assert functions == {mistake.split()[0] for mistake, _ in MISTAKES}


def test_what_is_wrong_is_listed_whole() -> None:
    with pytest.raises(ValueError, match=r"12 observations are too few.*400 trials on 12 observations: time must run"):
        s.probability_of_backtest_overfitting(GOOD.T)
    with pytest.raises(ValueError, match=r"trials \[5\] don't vary: leave out what never traded"):
        s.probability_of_backtest_overfitting(FLAT_TRIAL)
