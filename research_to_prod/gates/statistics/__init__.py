"""The arithmetic of the statistical gates.

Returns are per observation, gains positive. What can't be computed is NaN; an argument that makes no sense raises.
Neither can pass a gate. Seeds are arguments; results are the same bytes on any number of threads.

Belongs here: formulas. Doesn't: thresholds and verdicts.
"""

from research_to_prod.gates.statistics.bootstrap import (
    Interval,
    optimal_block_size,
    resampled_drawdowns,
    stationary_bootstrap_interval,
)
from research_to_prod.gates.statistics.coverage import (
    Christoffersen,
    LikelihoodRatio,
    christoffersen_test,
    kupiec_test,
    quantile_upper_bound,
)
from research_to_prod.gates.statistics.discovery import e_benjamini_hochberg
from research_to_prod.gates.statistics.overfitting import BacktestOverfitting, probability_of_backtest_overfitting
from research_to_prod.gates.statistics.risk import (
    component_expected_shortfall,
    expected_shortfall,
    fractional_kelly_cap,
    kelly_ruin_probability,
    risk_contributions,
)
from research_to_prod.gates.statistics.selection import SuperiorPredictiveAbility, superior_predictive_ability
from research_to_prod.gates.statistics.sequential import (
    ConfidenceSequence,
    Sprt,
    SprtDecision,
    cusum_average_run_length,
    cusum_threshold,
    e_shiryaev_roberts,
    normal_mixture_bound,
    normal_mixture_confidence_sequence,
    normal_mixture_log_evidence,
    normal_mixture_precision,
    sprt,
)
from research_to_prod.gates.statistics.sharpe import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe_ratio,
    long_run_variance_ratio,
    minimum_backtest_length,
    minimum_track_record_length,
    null_sharpe_deviation,
    probabilistic_sharpe_ratio,
    probabilistic_sharpe_ratios,
    sharpe_moments,
    sharpe_standard_error,
)

__all__ = [
    "BacktestOverfitting",
    "Christoffersen",
    "ConfidenceSequence",
    "Interval",
    "LikelihoodRatio",
    "Sprt",
    "SprtDecision",
    "SuperiorPredictiveAbility",
    "christoffersen_test",
    "compile_ahead",
    "component_expected_shortfall",
    "cusum_average_run_length",
    "cusum_threshold",
    "deflated_sharpe_ratio",
    "e_benjamini_hochberg",
    "e_shiryaev_roberts",
    "expected_maximum_sharpe_ratio",
    "expected_shortfall",
    "fractional_kelly_cap",
    "kelly_ruin_probability",
    "kupiec_test",
    "long_run_variance_ratio",
    "minimum_backtest_length",
    "minimum_track_record_length",
    "normal_mixture_bound",
    "normal_mixture_confidence_sequence",
    "normal_mixture_log_evidence",
    "normal_mixture_precision",
    "null_sharpe_deviation",
    "optimal_block_size",
    "probabilistic_sharpe_ratio",
    "probabilistic_sharpe_ratios",
    "probability_of_backtest_overfitting",
    "quantile_upper_bound",
    "resampled_drawdowns",
    "risk_contributions",
    "sharpe_moments",
    "sharpe_standard_error",
    "sprt",
    "stationary_bootstrap_interval",
    "superior_predictive_ability",
]


def compile_ahead() -> None:
    """Compile the kernels into their cache, so that the first gate doesn't wait for it; ``make install`` does."""
    import numpy as np

    returns = np.random.default_rng(0).normal(0, 0.01, (40, 2))
    probabilistic_sharpe_ratios(returns)
    probability_of_backtest_overfitting(returns)
    superior_predictive_ability(returns, reps=100, seed=0)
    stationary_bootstrap_interval(returns[:, 0], block_size=2, reps=100, seed=0)
    resampled_drawdowns(returns[:, 0], 5, block_size=2, reps=100, seed=0)
