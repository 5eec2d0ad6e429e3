"""One series, looked at every day: the deviation, the evidence, and the days until more can be said."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from research_to_prod.attribution.verdict_evidence import Look, long_run_deviations, looks
from research_to_prod.gates.statistics import long_run_variance_ratio, normal_mixture_log_evidence

days = stn.arrays(np.float64, st.integers(3, 260), elements=st.floats(-100, 100, width=32))


@given(days)
def test_each_days_deviation_is_that_of_the_days_so_far(series: np.ndarray):
    series = series + np.linspace(0, 1e-3, len(series))
    found = long_run_deviations(series)
    assert np.isnan(found[:2]).all()
    for n in {3, len(series) // 2, len(series)} - {0, 1, 2}:
        known = series[:n]
        ratio = long_run_variance_ratio(known)
        if math.isfinite(ratio):
            expected = known.std(ddof=1) * math.sqrt(max(1.0, ratio))
            assert found[n - 1] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_look_sees_nothing_of_later_days():
    series = np.random.default_rng(0).normal(1, 5, 300)
    for then, now in zip(looks(series[:200], 90, 0.05, 60), looks(series, 90, 0.05, 60), strict=False):
        assert (then.n, then.mean, then.later) == (now.n, now.mean, now.later)
        assert then.deviation == pytest.approx(now.deviation, rel=1e-12)


def test_a_change_in_the_middle_is_found_by_a_later_start():
    series = np.random.default_rng(1).normal(0, 1, 360)
    series[180:] += 1.0
    look = looks(series, 90, 0.05, 90)[-1]
    since, effect = look.strongest()
    assert since == 180
    assert effect == pytest.approx(series[180:].mean())
    assert look.mean == pytest.approx(series.mean())


def test_evidence_is_the_weighted_sum_over_the_starts():
    look = Look(100, 0.3, 1.5, 20.0, later=((40, 0.5),))
    parts = [
        normal_mixture_log_evidence(n * mean / 1.5, n, 20.0, one_sided=True) for n, mean in ((100, 0.3), (40, 0.5))
    ]
    assert look.log_evidence() == pytest.approx(math.log(math.exp(parts[0]) / 2 + math.exp(parts[1]) / 6))
    assert look.log_evidence_against(0.3 + 0.2) == pytest.approx(
        normal_mixture_log_evidence(100 * 0.2 / 1.5, 100, 20.0, one_sided=True)
    )


def test_a_bound_is_where_the_evidence_becomes_enough():
    look = Look(250, 0.0, 2.0, 40.0)
    width = look.width(0.05)
    assert look.log_evidence_against(width) == pytest.approx(math.log(1 / 0.05), rel=0.01)


def test_evidence_above_one_over_alpha_is_rarer_than_alpha_at_any_look():
    rng = np.random.default_rng(2)
    ever = sum(
        any(each.log_evidence() >= math.log(20) for each in looks(rng.standard_normal(300), 90, 0.05, 90)[27:])
        for _ in range(150)
    )
    # 5 % allowed, deviations estimated; 15 of 150 are three errors above.
    assert ever <= 15


@pytest.mark.parametrize(("effect", "power"), [(0.3, 0.8), (0.157, 0.5)])
def test_the_stated_horizon_is_kept_by_its_share_of_series(effect: float, power: float):
    look = looks(np.random.default_rng(3).standard_normal(30), 120, 0.05, 10_000)[-1]
    look = Look(30, look.mean, 1.0, look.precision)
    horizon = 30 + look.days_to_decide(effect, 0.05, 0.05, power)
    rng = np.random.default_rng(4)
    means = effect + rng.standard_normal(4000) / math.sqrt(horizon)
    decided = (means >= look.width(0.05, horizon)).mean()
    assert decided == pytest.approx(power, abs=0.03)


def test_past_the_likely_day_the_horizon_is_that_of_certainty():
    look = Look(2000, 0.05, 1.0, 40.0)
    days_more = look.days_to_decide(0.1, 0.05, 0.05, 0.8)
    n = 2000 + days_more
    assert look.width(0.05, n) * 2 <= 0.1 < look.width(0.05, n - 1) * 2


def test_a_hopeless_horizon_is_capped():
    assert Look(30, 0.0, 1e6, 40.0).days_to_decide(1e-3, 0.05, 0.05, 0.8) > 36_000
