"""The study of false promotions: what it draws, how it counts, and a small version of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import false_promotions as study
from benchmarks._promotion_rates import Outcome, Rate, page, promoted, rate
from research_to_prod.gates.evidence import Studies
from research_to_prod.gates.policy import load_policy
from research_to_prod.values import Verdict

POLICY = load_policy(study.POLICY)
SCENARIOS = {each.what: number for number, each in enumerate(study.SCENARIOS)}


def returns(name: str, repetition: int = 0) -> np.ndarray:
    return study.drawn((SCENARIOS[name], repetition))


def annual_sharpes(trials: np.ndarray) -> np.ndarray:
    return trials.mean(axis=0) / trials.std(axis=0, ddof=1) * math.sqrt(365)


@pytest.mark.parametrize("name", [each for each in SCENARIOS if each.startswith("noise")])
def test_noise_has_no_edge_and_the_stated_volatility(name: str) -> None:
    trials = returns(name)
    assert trials.shape == (1088, 500)
    assert trials.std() == pytest.approx(0.01, rel=0.1)
    # The mean over all trials, in units of its error where they share half of their variance.
    assert abs(trials.mean()) < 4 * 0.01 * math.sqrt(0.5 / 1088)


@pytest.mark.parametrize("family", [1, 25, 100, 500])
def test_an_edge_is_planted_in_its_family_and_nowhere_else(family: int) -> None:
    name = f"Sharpe 3 in {'all' if family == 500 else family}"
    sharpes = np.mean([annual_sharpes(returns(name, repetition)) for repetition in range(20)], axis=0)
    # 20 repetitions of three years: an error of 0.13 for one trial, and for a family that moves as one.
    assert sharpes[:family].mean() == pytest.approx(3.0, abs=0.6)
    assert family == 500 or abs(sharpes[family:].mean()) < 0.1
    if family > 1:
        assert np.corrcoef(returns(name)[:, :2].T)[0, 1] == pytest.approx(0.9, abs=0.03)


def test_the_same_repetition_draws_the_same_trials_and_another_one_others() -> None:
    np.testing.assert_array_equal(returns("noise, independent"), returns("noise, independent"))
    assert (returns("noise, independent") != returns("noise, independent", 1)).all()


def test_autocorrelated_noise_is_and_clustered_noise_is_clustered() -> None:
    def lag_one(values: np.ndarray) -> float:
        centred = values - values.mean(axis=0)
        return float((centred[1:] * centred[:-1]).mean() / (centred**2).mean())

    assert lag_one(returns("noise, autocorrelation 0.1")) == pytest.approx(0.1, abs=0.01)
    assert abs(lag_one(returns("noise, clustered volatility"))) < 0.01
    assert lag_one(np.abs(returns("noise, clustered volatility"))) > 0.03


def test_a_torn_line_is_measured_again(tmp_path: Path) -> None:
    state = study.State(tmp_path)
    whole = '{"scenario": 1, "repetition": 2, "figures": [["overfitting", "all", "pbo", 0.5]]}\n'
    state.path.write_text(whole + whole[:20])
    assert state.read() == {(1, 2): Studies({("overfitting", "all", "pbo"): 0.5})}
    assert state.path.read_text() == whole


def outcome(*, a: bool, b: bool, sharpe: float = 0.0) -> Outcome:
    name = f"Sharpe {sharpe:g}" if sharpe else "noise"
    verdict = Verdict.PASS if a and b else Verdict.FAIL
    return Outcome(name, sharpe, sharpe > 0, verdict, {"a": a, "b": b}, {"c": a, "d": b})


def test_the_page_says_which_target_is_missed_and_which_gate_is_to_blame() -> None:
    good = outcome(a=True, b=True, sharpe=3.0)
    refused = outcome(a=True, b=False, sharpe=3.0)
    noise = [outcome(a=False, b=True)] * 100
    text, missed = page(POLICY, "", "", [*[good] * 59, *[refused] * 41, *noise])
    assert missed == ["Sharpe 3"]
    assert "Its strictest gates, each alone: `b` (59% pass), `a` (100% pass)" in text
    assert "| `b` | 41.0 ± 4.9 | 0.0 ± 0.0 |" in text
    assert page(POLICY, "", "", [*[good] * 60, *[refused] * 40, *noise])[1] == []
    assert "| d | 59 \\| 59 |" in text
    assert page(POLICY, "", "", [good, outcome(a=True, b=True), *noise])[1] == []
    assert page(POLICY, "", "", [good, *[outcome(a=True, b=True)] * 2, *noise])[1] == ["noise"]


def test_a_rate_of_none_still_has_an_interval() -> None:
    none = Rate(0, 200)
    assert none.error == 0
    assert none.interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 200)))


@pytest.mark.slow
def test_a_small_version_of_the_study_keeps_its_targets_within_the_error_of_counting() -> None:
    def outcomes(names: list[str], repetitions: int) -> list[Outcome]:
        tasks = [(SCENARIOS[name], repetition) for name in names for repetition in range(repetitions)]
        return [study.judged(task, study.measured(task), POLICY) for task in tasks]

    noise = rate(outcomes([name for name in SCENARIOS if name.startswith("noise")], 4), promoted)
    assert noise.of == 20
    assert noise.passed <= binom.ppf(0.999, noise.of, 0.01)
    edge = rate(outcomes([name for name in SCENARIOS if name.startswith("Sharpe 3")], 3), promoted)
    assert edge.of == 12
    assert edge.passed >= binom.ppf(0.001, edge.of, 0.60)
