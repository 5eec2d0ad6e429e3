"""One series, looked at every day: the deviation, the evidence, and the days until more can be said."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from research_to_prod.attribution.verdict_evidence import Look, long_run_deviations, looks
from research_to_prod.gates.statistics import normal_mixture_log_evidence

days = stn.arrays(np.float64, st.integers(3, 260), elements=st.floats(-100, 100, width=32))


def plainly(series: np.ndarray) -> float:
    """The deviation of all days: the definition, for one length."""
    n, lags = len(series), min(int(4 * (len(series) / 100) ** (2 / 9)), len(series) - 1)
    centred = np.concatenate([series - series.mean(), np.zeros(lags + 1)])
    gamma = [float(centred[: n + lags - k] @ centred[k : n + lags]) for k in range(lags + 2)]
    first = gamma[1] / gamma[0]
    rho = min(max(first + (1 + 3 * first) / n, 0.0), 0.9)
    left = [(1 + rho**2) * gamma[k] - rho * (gamma[k + 1] + gamma[abs(k - 1)]) for k in range(lags + 1)]
    summed = left[0] + 2 * sum((1 - k / (lags + 1)) * left[k] for k in range(1, lags + 1))
    return math.sqrt(gamma[0] / (n - 1) * max(1.0, summed / (1 - rho) ** 2 / gamma[0]))


@given(days)
def test_each_days_deviation_is_that_of_the_days_so_far(series: np.ndarray):
    series = series + np.linspace(0, 1e-3, len(series))
    found = long_run_deviations(series)
    assert np.isnan(found[:2]).all()
    for n in {3, len(series) // 2, len(series)} - {0, 1, 2}:
        known = series[:n]
        assert found[n - 1] == pytest.approx(plainly(known), rel=1e-6, abs=1e-6)
        assert found[n - 1] >= known.std(ddof=1) * (1 - 1e-6) - 1e-6


def test_the_long_run_of_an_autoregression_is_seen_within_two_months():
    """Its long-run variance is (1 + 0.3) / (1 - 0.3) = 1.86 of the plain one; Newey-West alone sees 1.6 of it."""
    rng = np.random.default_rng(5)
    seen = []
    for _ in range(300):
        series = rng.standard_normal(110) * math.sqrt(1 - 0.3**2)
        for day in range(1, len(series)):
            series[day] += 0.3 * series[day - 1]
        seen.append(long_run_deviations(series[50:])[-1] ** 2)
    assert np.mean(seen) == pytest.approx(1.3 / 0.7, rel=0.07)


def test_negative_autocorrelation_earns_no_credit():
    series = np.tile([1.0, -1.0], 60) + np.random.default_rng(6).normal(0, 0.1, 120)
    assert long_run_deviations(series)[-1] == pytest.approx(series.std(ddof=1))


def test_a_look_sees_nothing_of_later_days():
    series = np.random.default_rng(0).normal(1, 5, 300)
    seen = looks(series, 90, 0.05, 60, 30)
    assert [each.n for each in seen] == list(range(30, 301))
    for then, now in zip(looks(series[:200], 90, 0.05, 60, 30), seen, strict=False):
        assert vars(then) == pytest.approx(vars(now), rel=1e-12)


def test_a_change_in_the_middle_is_found_by_a_later_start():
    series = np.random.default_rng(1).normal(0, 1, 360)
    series[180:] += 1.0
    look = looks(series, 90, 0.05, 90, 30)[-1]
    assert look.since == 180
    assert look.effect_since == pytest.approx(series[180:].mean())
    assert look.mean == pytest.approx(series.mean())
    assert look.largest_effect == pytest.approx(max(series[start:].mean() for start in (0, 90, 180, 270)))


@given(st.integers(30, 400), st.sampled_from([7, 90]), st.floats(-3, 3))
def test_evidence_is_the_weighted_sum_over_the_starts_that_have_their_days(n: int, restart: int, mean: float):
    series = np.random.default_rng(n).normal(mean, 1, n)
    look = looks(series, 90, 0.05, restart, 30)[-1]
    total = -math.inf
    for k, start in enumerate(range(0, n - 30 + 1, restart)):
        standardised = float(series[start:].sum()) / look.deviation
        one = normal_mixture_log_evidence(standardised, float(n - start), look.precision, one_sided=True)
        total = np.logaddexp(total, one + math.log(2 / ((2 * k + 1) * (2 * k + 3))))
    assert look.log_evidence == pytest.approx(total, rel=1e-9, abs=1e-9)


def at(n: int, mean: float, deviation: float, precision: float) -> Look:
    return Look(n, mean, deviation, precision, 0.0, n, mean, mean)


def test_a_bound_is_where_the_evidence_becomes_enough():
    look = at(250, 0.0, 2.0, 40.0)
    width = look.width(0.05)
    assert look.log_evidence_against(width) == pytest.approx(math.log(1 / 0.05), rel=0.01)


def test_evidence_above_one_over_alpha_is_rarer_than_alpha_at_any_look():
    rng = np.random.default_rng(2)
    ever = sum(
        any(each.log_evidence >= math.log(20) for each in looks(rng.standard_normal(400), 90, 0.05, 90, 30))
        for _ in range(400)
    )
    # 5 % allowed, deviations estimated; 34 of 400 are three errors above.
    assert ever <= 34


@pytest.mark.parametrize(("effect", "power"), [(0.3, 0.8), (0.157, 0.5)])
def test_the_stated_horizon_is_kept_by_its_share_of_series(effect: float, power: float):
    look = at(30, 0.0, 1.0, 15.0)
    horizon = 30 + look.days_to_decide(effect, 0.05, 0.05, power)
    rng = np.random.default_rng(4)
    means = effect + rng.standard_normal(4000) / math.sqrt(horizon)
    decided = (means >= look.width(0.05, horizon)).mean()
    assert decided == pytest.approx(power, abs=0.03)


def test_past_the_likely_day_the_horizon_is_that_of_certainty():
    look = at(2000, 0.05, 1.0, 40.0)
    days_more = look.days_to_decide(0.1, 0.05, 0.05, 0.8)
    n = 2000 + days_more
    assert look.width(0.05, n) * 2 <= 0.1 < look.width(0.05, n - 1) * 2


def test_a_hopeless_horizon_is_capped():
    assert at(30, 0.0, 1e6, 40.0).days_to_decide(1e-3, 0.05, 0.05, 0.8) > 36_000
