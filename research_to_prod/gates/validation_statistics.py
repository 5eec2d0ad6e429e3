"""The validation studies that are tests of significance: overfitting, selection, and the Sharpe ratio's interval.

Their formulas are the gates', so they are made here and not in ``research.validation``, whose rows they complete.
Belongs here: applying the statistics to a candidate's trials. Doesn't: the formulas (``statistics``), verdicts.
"""

from __future__ import annotations

import numpy as np

from research_to_prod.gates.statistics import (
    deflated_sharpe_ratio,
    null_sharpe_deviation,
    optimal_block_size,
    probability_of_backtest_overfitting,
    stationary_bootstrap_interval,
    superior_predictive_ability,
)
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio, skewness_and_kurtosis
from research_to_prod.research.validation.measures import WHOLE, Measure, measures, unknown
from research_to_prod.values import digest

BLOCKS = 16
SPA_RESAMPLES = 1000
INTERVAL_RESAMPLES = 2000
"""The Monte-Carlo error of the 2.5 % tail is then about a twelfth of it."""


def assess_significance(returns: Floats, own: Floats, candidate_sha256: str) -> list[Measure]:
    """Return the rows of the three studies of a candidate's search.

    Parameters
    ----------
    returns
        (D, N) daily net returns of the search, as ``research.validation.study.trial_matrix`` gives them.
    own
        (D,) of the candidate's own parameters.
    candidate_sha256
        The seeds derive from it: the same candidate has the same resamples on every machine and day.
    """
    # A trial that never traded has no rank and no deviation; what is left out is counted.
    active = returns[:, np.ptp(returns, axis=0) > 0]
    rows = _overfitting(active, returns.shape[1] - active.shape[1])
    rows += _selection(active, own, seed(candidate_sha256, "selection"))
    return rows + _interval(own, seed(candidate_sha256, "bootstrap"))


def seed(candidate_sha256: str, study: str) -> int:
    """Return the seed of a study's resamples."""
    return int(digest([candidate_sha256, study])[:16], 16)


def _overfitting(active: Floats, idle: int) -> list[Measure]:
    study, shape = "overfitting", {"days": active.shape[0], "n_trials": active.shape[1], "idle_trials": idle}
    counted = measures(study, WHOLE, **shape, n_blocks=BLOCKS)
    try:
        found = probability_of_backtest_overfitting(active, BLOCKS)
    except ValueError as error:
        nothing = {"pbo": np.nan, "loss_probability": np.nan}
        return counted + measures(study, WHOLE, str(error), **nothing)
    rows = counted + measures(study, WHOLE, pbo=found.probability, loss_probability=found.loss_probability)
    # 12,870 splits have no more logits than the winner has ranks: a row a rank holds them all.
    for logit, splits in zip(*np.unique(found.logits, return_counts=True), strict=True):
        rank = (active.shape[1] + 1) / (1 + np.exp(-logit))
        rows += measures(study, f"rank_{rank:g}", logit=float(logit), splits=float(splits))
    return rows


def _selection(active: Floats, own: Floats, seed: int) -> list[Measure]:
    # The usual default, the root of the number of days, calls a quarter of independent noise significant at 5 % in
    # blocks of 32 days, and 3 to 8 % in blocks of 1 to 10: the length follows from the days' own dependence instead.
    try:
        size = optimal_block_size(own)
        found = superior_predictive_ability(active, 0.0, block_size=size, reps=SPA_RESAMPLES, seed=seed)
    except ValueError as error:
        return unknown("selection", str(error))
    values = {"spa_lower": found.lower, "spa_consistent": found.consistent, "spa_upper": found.upper}
    return measures("selection", WHOLE, **values, block_length=size, resamples=SPA_RESAMPLES)


def _interval(own: Floats, seed: int) -> list[Measure]:
    try:
        found = stationary_bootstrap_interval(own, confidence=0.95, reps=INTERVAL_RESAMPLES, seed=seed)
    except ValueError as error:
        return unknown("bootstrap", str(error))
    return measures(
        "bootstrap",
        WHOLE,
        sharpe_lower_95=annualised_sharpe_ratio(found.lower),
        sharpe_upper_95=annualised_sharpe_ratio(found.upper),
        block_length=found.block_size,
        resamples=INTERVAL_RESAMPLES,
    )


def deflated_sharpe(own: Floats, n_trials: int) -> float:
    """Return the deflated Sharpe ratio of (D,) daily net returns after ``n_trials``, as the gate computes it.

    NaN where the returns don't vary or fewer than 2 trials are counted.
    """
    sharpe = sharpe_ratio(own)
    if np.isnan(sharpe) or n_trials < 2:
        return float("nan")
    moments = skewness_and_kurtosis(own)
    return deflated_sharpe_ratio(sharpe, len(own), *moments, null_sharpe_deviation(own), n_trials)
