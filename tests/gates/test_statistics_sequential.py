"""Charts, sequential tests and confidence sequences: their promises, held against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.gates.statistics import (
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


def _simulated_run_length(reference: float, threshold: float, shift: float, start: float, paths: int) -> float:
    rng = np.random.default_rng(1)
    chart, lengths, t = np.full(paths, start), np.zeros(paths), 0
    running = np.ones(paths, bool)
    while running.any():
        t += 1
        chart = np.maximum(0, chart + rng.normal(shift, 1, paths) - reference)
        lengths[running & (chart > threshold)] = t
        running &= chart <= threshold
    return float(lengths.mean())


@pytest.mark.parametrize(("shift", "start"), [(0.0, 0.0), (1.0, 0.0), (1.0, 1.5)])
def test_the_exact_run_length_is_that_of_a_simulation(shift: float, start: float) -> None:
    exact = cusum_average_run_length(0.5, 3, shift, head_start=start)
    # Run lengths are about exponential: 20,000 paths leave an error of 0.7 %.
    assert _simulated_run_length(0.5, 3, shift, start, 20_000) == pytest.approx(exact, rel=0.03)


def test_a_head_start_gives_the_published_run_lengths() -> None:
    # Lucas and Crosier (1982), k = 0.5, h = 4, head start h / 2; as remembered of their table 1, not opened again.
    shifts = [0, 0.25, 0.5, 0.75, 1, 1.5, 2]
    published = [149, 62.7, 20.1, 8.97, 5.29, 2.86, 2.01]
    computed = [cusum_average_run_length(0.5, 4, shift, two_sided=True, head_start=2) for shift in shifts]
    assert computed == pytest.approx(published, rel=0.005)


@settings(max_examples=5)
@given(st.floats(0.1, 1.0), st.floats(20, 2000))
def test_the_threshold_has_the_run_length_asked_for(reference: float, length: float) -> None:
    threshold = cusum_threshold(reference, length)
    assert cusum_average_run_length(reference, threshold, 0.0) == pytest.approx(length, rel=1e-8)


def test_a_higher_threshold_a_later_alarm_and_a_shift_an_earlier_one() -> None:
    lengths = [cusum_average_run_length(0.25, threshold, 0.0) for threshold in (2, 4, 8, 16)]
    assert lengths == sorted(lengths)
    assert cusum_average_run_length(0.25, 8, 0.5) < cusum_average_run_length(0.25, 8, 0.0) < math.inf
    assert cusum_average_run_length(1, 50, -1) == math.inf


def test_two_sides_alarm_as_often_as_both_together() -> None:
    up, down = (cusum_average_run_length(0.5, 4, shift) for shift in (0.3, -0.3))
    assert cusum_average_run_length(0.5, 4, 0.3, two_sided=True) == pytest.approx(1 / (1 / up + 1 / down))


@pytest.mark.parametrize(("mean", "right"), [(0.3, SprtDecision.SHIFT), (0.0, SprtDecision.NO_SHIFT)])
def test_the_sequential_test_errs_as_rarely_as_promised(mean: float, right: SprtDecision) -> None:
    paths = np.random.default_rng(2).normal(mean, 1, (400, 2000))
    tests = [sprt(path, 0.3) for path in paths]
    assert all(test.decision is not SprtDecision.CONTINUE for test in tests)
    wrong = np.mean([test.decision is not right for test in tests])
    assert wrong <= (0.1 if right is SprtDecision.SHIFT else 0.05) + 0.03
    expected = tests[0].expected_with_shift if mean else tests[0].expected_without_shift
    # Wald's means leave out how far the last step overshoots.
    assert expected < np.mean([test.stopped_at for test in tests]) < 1.35 * expected


def test_what_comes_after_a_decision_does_not_change_it() -> None:
    up = np.full(200, 1.0)
    decided = sprt(up, 0.2)
    assert decided.decision is SprtDecision.SHIFT
    assert decided.stopped_at == math.ceil(decided.upper / 0.18)
    assert sprt(np.concatenate([up, -up, -up]), 0.2).decision is SprtDecision.SHIFT


def test_no_observation_decides_nothing() -> None:
    undecided = sprt(np.empty(0), 0.2)
    assert (undecided.decision, undecided.stopped_at) == (SprtDecision.CONTINUE, None)


def test_a_confidence_sequence_holds_at_all_looks_together() -> None:
    paths = np.random.default_rng(3).normal(0.1, 2, (400, 1000))
    left = 0
    for path in paths:
        band = normal_mixture_confidence_sequence(path, deviation=2, optimal_at=300)
        left += bool(((band.lower > 0.1) | (band.upper < 0.1)).any())
    # At most 5 % in all; a fixed test repeated at every look would leave in more than 40 %.
    assert left / 400 <= 0.07


@given(st.floats(1, 1e4), st.floats(0.001, 0.3), st.floats(1, 1e4))
def test_the_bound_is_where_the_evidence_reaches_one_in_alpha(variance: float, alpha: float, best: float) -> None:
    precision = normal_mixture_precision(best, alpha)
    bound = float(normal_mixture_bound(np.array(variance), alpha, precision))
    evidence = normal_mixture_log_evidence(bound, variance, precision)
    assert evidence == pytest.approx(math.log(1 / alpha), abs=1e-9)
    assert normal_mixture_log_evidence(bound, variance, precision, one_sided=True) <= evidence + math.log(2)
    assert normal_mixture_log_evidence(-bound, variance, precision, one_sided=True) < 0.7


def test_the_e_process_is_its_sum_of_likelihood_ratios() -> None:
    z = np.random.default_rng(4).normal(0, 1, 30)
    factors = np.exp(0.3 * z - 0.3**2 / 2)
    direct = [sum(np.prod(factors[start : t + 1]) for start in range(t + 1)) for t in range(30)]
    np.testing.assert_allclose(e_shiryaev_roberts(z, 0.3), np.log(direct), rtol=1e-10)
    assert np.isfinite(e_shiryaev_roberts(np.full(5000, 3.0), 1.0)).all()


def test_the_e_process_alarms_falsely_no_more_often_than_promised_and_later_than_a_cusum() -> None:
    shift, limit, days = 0.5, 50, 1000
    rng = np.random.default_rng(5)

    def mean_wait(mean: float, paths: int) -> float:
        waits = []
        for _ in range(paths):
            crossed = e_shiryaev_roberts(rng.normal(mean, 1, days), shift) >= math.log(limit)
            waits.append(int(np.argmax(crossed)) + 1 if crossed.any() else days)
        return float(np.mean(waits))

    assert mean_wait(0.0, 100) >= limit
    exact = cusum_average_run_length(shift / 2, cusum_threshold(shift / 2, limit), shift)
    assert exact < mean_wait(shift, 400) < 2.5 * exact
