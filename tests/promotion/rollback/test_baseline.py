"""What a candidate is held to, and what no reference can hold it to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri

from research_to_prod.promotion.rollback.baseline import BaselineError, baseline_of, held_to_edge, held_to_shadow
from research_to_prod.promotion.rollback.design import Design


def autocorrelated(coefficient: float, days: int, seed: int = 1) -> np.ndarray:
    shocks = np.random.default_rng(seed).normal(0, 0.01, days)
    for day in range(1, days):
        shocks[day] += coefficient * shocks[day - 1]
    return shocks


def test_the_long_run_deviation_is_that_of_long_sums(shipped: Design) -> None:
    found = held_to_shadow(autocorrelated(0.2, 20_000), shipped.standardisation)
    assert found.autocorrelation == pytest.approx(0.2, abs=0.02)
    # sigma / (1 - coefficient), within what clipping at three deviations takes of it.
    assert found.long_run_deviation == pytest.approx(0.01 / 0.8, rel=0.04)
    assert found.centre == 0.0


def test_negative_autocorrelation_earns_no_credit(shipped: Design) -> None:
    found = held_to_shadow(autocorrelated(-0.4, 5000), shipped.standardisation)
    assert found.autocorrelation == 0.0
    assert found.long_run_deviation > 0.01


def test_the_edge_held_to_is_the_lower_bound_of_the_mean(shipped: Design) -> None:
    returns = autocorrelated(0.2, 1088) + 0.003
    found = held_to_edge(returns, shipped.standardisation)
    error = found.long_run_deviation / math.sqrt(1088)
    assert found.centre == pytest.approx(returns.mean() - ndtri(0.75) * error, rel=1e-12)


def test_a_reference_scales_with_its_unit(shipped: Design) -> None:
    returns = autocorrelated(0.1, 400) + 0.003
    one, hundred = (held_to_edge(returns * unit, shipped.standardisation) for unit in (1.0, 128.0))
    assert (hundred.centre, hundred.deviation) == pytest.approx((128 * one.centre, 128 * one.deviation), rel=1e-12)
    assert (hundred.autocorrelation, hundred.offset, hundred.scale) == pytest.approx(
        (one.autocorrelation, one.offset, one.scale), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(500), "doesn't vary"),
        (np.full(500, 0.1), "doesn't vary"),
        (np.ones(29) * np.arange(29), "30 days are needed"),
        (np.ones((40, 2)), "30 days are needed"),
        (np.array([0.1, math.nan, math.inf] * 50), "100 of 150 days of the reference are not finite"),
    ],
)
def test_what_is_no_reference_is_refused(shipped: Design, values: np.ndarray, message: str) -> None:
    with pytest.raises(BaselineError, match=message):
        held_to_shadow(values, shipped.standardisation)


def test_a_reference_without_an_edge_holds_to_nothing(shipped: Design) -> None:
    with pytest.raises(BaselineError, match="there is no edge whose loss could be seen"):
        held_to_edge(autocorrelated(0.0, 1088), shipped.standardisation)
    with pytest.raises(BaselineError, match="120 days are needed"):
        held_to_edge(autocorrelated(0.0, 119) + 0.01, shipped.standardisation)


def test_too_few_known_residuals_hold_to_nothing_yet(shipped: Design) -> None:
    own, returns = shipped.standardisation, autocorrelated(0.1, 400) + 0.003
    residuals = np.append(autocorrelated(0.0, 30, seed=2), np.full(20, math.nan))
    assert baseline_of(returns, residuals, own).residual == held_to_shadow(residuals[:30], own)
    assert baseline_of(returns, residuals[1:], own).residual is None
    assert baseline_of(returns, np.empty(0), own).edge == held_to_edge(returns, own)
    with pytest.raises(BaselineError, match="not finite"):
        baseline_of(np.append(returns, math.nan), residuals, own)
