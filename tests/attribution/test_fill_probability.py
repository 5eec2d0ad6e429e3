"""Kaplan-Meier against the curve that every textbook prints, and against statsmodels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.attribution.fill_probability import kaplan_meier, resting_orders

# The 6-MP arm of Freireich et al. (1963), as in Kleinbaum and Klein, Survival Analysis, table 1.1: weeks of remission,
# censored where negative. Its published survival and Greenwood's errors.
REMISSIONS = [6, 6, 6, 7, 10, 13, 16, 22, 23, -6, -9, -10, -11, -17, -19, -20, -25, -32, -32, -34, -35]
PUBLISHED = {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}
ERRORS = [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346]


def observed(weeks: list[int]) -> tuple[Any, Any]:
    values = np.array(weeks, float)
    return np.abs(values), values > 0


def test_the_leukaemia_remissions_are_reproduced() -> None:
    curve = kaplan_meier(*observed(REMISSIONS))
    assert curve.seconds.tolist() == list(PUBLISHED)
    assert 1 - curve.probability == pytest.approx(list(PUBLISHED.values()), abs=5e-5)
    assert curve.standard_error == pytest.approx(ERRORS, abs=5e-5)
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert (curve.filled.tolist(), curve.orders) == ([3, 1, 1, 1, 1, 1, 1], 21)


def test_the_curve_is_statsmodels() -> None:
    from statsmodels.duration.survfunc import SurvfuncRight

    random = np.random.default_rng(2)
    waited, filled = np.round(random.exponential(20, 300)), random.random(300) < 0.7
    curve, theirs = kaplan_meier(waited, filled), SurvfuncRight(waited, filled.astype(int))
    np.testing.assert_allclose(1 - curve.probability, theirs.surv_prob, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(curve.standard_error[:-1], theirs.surv_prob_se[:-1], rtol=1e-10)


def test_leaving_cancels_out_or_counting_them_unfilled_is_biased_and_the_curve_is_not() -> None:
    random = np.random.default_rng(7)
    fill, cancel = random.exponential(30, 20_000), random.exponential(20, 20_000)
    filled = fill <= cancel
    curve = kaplan_meier(np.minimum(fill, cancel), filled)
    truth = 1 - np.exp(-1)
    ours = curve.probability[np.searchsorted(curve.seconds, 30) - 1]
    assert ours == pytest.approx(truth, abs=0.02)
    assert abs((fill[filled] <= 30).mean() - truth) > 0.2
    assert abs((filled & (fill <= 30)).mean() - truth) > 0.2


def test_the_interval_stays_within_zero_and_one_and_is_unknown_where_all_are_filled() -> None:
    curve = kaplan_meier(np.array([1.0, 2.0, 3.0]), np.ones(3, bool))
    assert curve.probability == pytest.approx([1 / 3, 2 / 3, 1])
    assert ((curve.low[:2] >= 0) & (curve.high[:2] <= 1) & (curve.low[:2] < curve.probability[:2])).all()
    assert np.isnan([curve.low[-1], curve.high[-1], curve.standard_error[-1]]).all()


def test_no_fills_give_no_times_and_no_orders_no_error() -> None:
    assert len(kaplan_meier(np.array([5.0]), np.array([False])).seconds) == 0
    assert kaplan_meier(np.array([]), np.array([], bool)).orders == 0


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_a_waiting_time_that_cannot_be_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="1 waiting times"):
        kaplan_meier(np.array([1.0, bad]), np.array([True, True]))


def test_an_order_is_watched_from_its_acknowledgement_to_its_first_fill_or_its_end() -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC)
    at = lambda seconds: start + timedelta(seconds=seconds)  # noqa: E731
    names = ("order_id", "style", "acknowledged_at", "ended_at")
    orders = [("a", "maker", at(0), at(9)), ("b", "maker", at(1), at(8)), ("c", "taker", at(0), at(1))]
    orders += [("d", "maker", None, at(3)), ("e", "maker", at(5), at(7))]
    fills = [("a", at(4)), ("a", at(2.5)), ("c", at(1)), ("e", at(4.9))]
    waited, filled = resting_orders(
        pa.Table.from_pylist([dict(zip(names, each, strict=True)) for each in orders]),
        pa.Table.from_pylist([dict(zip(("order_id", "received_at"), each, strict=True)) for each in fills]),
    )
    assert waited.tolist() == [2.5, 7.0, 0.0]
    assert filled.tolist() == [True, False, True]
