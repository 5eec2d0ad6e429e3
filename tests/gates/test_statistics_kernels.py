"""The compiled statistics against their plain forms, on any number of threads, and against arch."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from research_to_prod.gates import statistics
from research_to_prod.gates.statistics import oracle
from research_to_prod.gates.statistics.bootstrap import draw
from research_to_prod.gates.statistics.selection import bootstrap_deviations

KERNELS = "research_to_prod.gates.statistics._kernels"


def _few_values(rows: st.SearchStrategy[int], columns: st.SearchStrategy[int]) -> st.SearchStrategy[np.ndarray]:
    """Matrices of small integers: sums are exact, and ties abound."""
    shape = st.tuples(rows, columns)
    return shape.flatmap(lambda s: arrays.arrays(np.float64, s, elements=st.integers(-3, 3).map(float)))


@given(
    st.integers(0, 2**32 - 1), st.integers(3, 60), st.floats(-2, 2), st.floats(-0.5, 0.5), st.sampled_from([1, 1e-6])
)
def test_probabilistic_sharpe_ratios_equal_the_plain_form(
    seed: int, days: int, drift: float, benchmark: float, scale: float
) -> None:
    returns = scale * (np.random.default_rng(seed).standard_t(3, (5, days)) + drift)
    returns[1] = returns[1, 0]
    returns[2, -1] = np.nan
    np.testing.assert_allclose(
        statistics.probabilistic_sharpe_ratios(returns, benchmark),
        oracle.probabilistic_sharpe_ratios(returns, benchmark),
        rtol=1e-12,
        atol=1e-14,
    )


def test_one_benchmark_a_series_makes_the_ratios_deflated() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, (4, 300))
    bars = np.array([0.0, 0.05, 0.1, np.nan])
    together = statistics.probabilistic_sharpe_ratios(returns, bars)
    for row, bar, value in zip(returns[:3], bars, together, strict=False):
        assert value == statistics.probabilistic_sharpe_ratios(row[None], float(bar))[0]
    assert np.isnan(together[3])


@given(_few_values(st.integers(8, 40), st.integers(2, 8)), st.sampled_from([4]), st.sampled_from(["sharpe", "mean"]))
def test_the_splits_equal_the_plain_form_exactly_ties_included(returns: np.ndarray, blocks: int, metric: str) -> None:
    trials = returns[:, returns.std(axis=0) > 0]
    if trials.shape[1] < 2:
        return
    result = statistics.probability_of_backtest_overfitting(trials, blocks, metric)
    ranks, values = oracle.overfitting_splits(trials, blocks, metric)
    np.testing.assert_array_equal(result.logits, np.log(ranks / (trials.shape[1] + 1 - ranks)))
    assert result.probability == np.mean(result.logits <= 0)
    assert result.loss_probability == np.mean(values <= 0)


@pytest.mark.parametrize("blocks", [6, 10, 16])
def test_the_splits_of_real_numbers_rank_as_in_the_plain_form(blocks: int) -> None:
    returns = np.random.default_rng(2).standard_t(3, (333, 40)) * 0.01
    result = statistics.probability_of_backtest_overfitting(returns, blocks)
    ranks, values = oracle.overfitting_splits(returns, blocks)
    np.testing.assert_array_equal(result.logits, np.log(ranks / (41 - ranks)))
    assert result.loss_probability == np.mean(values <= 0)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(20, 60), st.integers(1, 6), st.floats(1, 10))
def test_resampled_maxima_equal_the_plain_form(seed: int, days: int, trials: int, block_size: float) -> None:
    from research_to_prod.gates.statistics._kernels import resampled_maxima

    values = np.random.default_rng(seed).normal(0, 1, (days, trials))
    centres = np.stack([np.zeros(trials), values.mean(axis=0)])
    starts, uniforms = next(draw(days, 10, seed))
    expected = oracle.resampled_maxima(starts, uniforms, 1 / block_size, values, centres)
    result = np.empty((10, 2))
    resampled_maxima(0, 10, starts, uniforms, 1 / block_size, values, centres, result)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        bootstrap_deviations(values, block_size), oracle.bootstrap_deviations(values, block_size), rtol=1e-9
    )


@pytest.mark.parametrize("drift", [0.0, 0.05, 0.15])
def test_without_studentising_the_p_values_are_archs(drift: float) -> None:
    returns = np.random.default_rng(3).normal(0, 1, (300, 20)) - 0.05
    returns[:, 4] += drift
    benchmark = np.random.default_rng(4).normal(0, 0.5, 300)
    theirs = SPA(-benchmark, -returns, block_size=8, reps=300, seed=6)
    theirs.compute()
    ours = statistics.superior_predictive_ability(returns, benchmark, block_size=8, reps=300, seed=6, studentised=False)
    assert [ours.lower, ours.consistent, ours.upper] == theirs.pvalues.tolist()


def test_studentised_the_p_values_are_archs_on_differences_in_units_of_their_deviation() -> None:
    returns = np.random.default_rng(7).normal(0.02, 1, (300, 20)) * np.linspace(0.1, 10, 20)
    scaled = returns / bootstrap_deviations(returns, 8)
    theirs = SPA(np.zeros(300), -scaled, block_size=8, reps=300, seed=6)
    theirs.compute()
    ours = statistics.superior_predictive_ability(returns, block_size=8, reps=300, seed=6)
    assert [ours.lower, ours.consistent, ours.upper] == theirs.pvalues.tolist()


def test_studentising_finds_a_quiet_winner_among_loud_noise_where_plain_means_do_not() -> None:
    returns = np.random.default_rng(8).normal(0, 1, (500, 30))
    returns[:, :29] *= 50
    returns[:, 29] += 0.25
    assert statistics.superior_predictive_ability(returns, seed=1).consistent <= 0.01
    assert statistics.superior_predictive_ability(returns, seed=1, studentised=False).consistent > 0.1


def test_superior_predictive_ability_passes_noise_about_as_rarely_as_promised() -> None:
    passed = 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, 0.01, (250, 20))
        passed += statistics.superior_predictive_ability(noise, block_size=2, reps=200, seed=seed).consistent <= 0.05
    # Expected 5, deviation 2.2; the bootstrap of 250 days is slightly liberal.
    assert passed <= 14


def test_the_interval_is_archs_for_the_same_seed_and_block_length() -> None:
    returns = np.random.default_rng(9).normal(0.001, 0.01, 200)
    theirs = StationaryBootstrap(5, returns, seed=10).conf_int(
        lambda sample: sample.mean() / sample.std(ddof=1), reps=500, method="percentile", size=0.9
    )
    ours = statistics.stationary_bootstrap_interval(returns, confidence=0.9, block_size=5, reps=500, seed=10)
    np.testing.assert_allclose([ours.lower, ours.upper], theirs[:, 0], rtol=1e-10)


def test_trending_returns_widen_the_interval() -> None:
    noise = np.random.default_rng(11).normal(0, 0.01, 2001)
    widths = []
    for returns in (noise[1:], noise[1:] + 0.8 * noise[:-1]):
        interval = statistics.stationary_bootstrap_interval(returns, reps=500, seed=0)
        widths.append(interval.upper - interval.lower)
    assert widths[1] > 1.2 * widths[0]


def test_noise_overfits_and_one_real_edge_does_not() -> None:
    returns = np.random.default_rng(12).normal(0, 0.01, (800, 50))
    assert statistics.probability_of_backtest_overfitting(returns).probability > 0.2
    returns[:, 7] += 0.003
    edge = statistics.probability_of_backtest_overfitting(returns)
    assert edge.probability < 0.05
    assert edge.loss_probability < 0.05


def test_where_every_trial_has_the_edge_the_rank_is_a_coin_toss_but_nothing_is_lost() -> None:
    result = statistics.probability_of_backtest_overfitting(np.random.default_rng(13).normal(0.003, 0.01, (800, 50)))
    assert result.probability > 0.2
    assert result.loss_probability < 0.01


def test_a_trial_that_slept_through_a_half_neither_wins_nor_loses_there() -> None:
    returns = np.random.default_rng(14).normal(0, 1, (32, 3))
    returns[:16, 0] = 0.0
    returns[16:, 0] += 5
    result = statistics.probability_of_backtest_overfitting(returns, 4)
    ranks, _ = oracle.overfitting_splits(returns, 4)
    assert np.isfinite(result.logits).all()
    np.testing.assert_array_equal(result.logits, np.log(ranks / (4 - ranks)))


def test_the_same_bytes_on_one_thread_and_on_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from research_to_prod.gates.statistics import _kernels

    returns = np.random.default_rng(15).normal(0, 0.01, (400, 37))

    def everything() -> list[bytes]:
        splits = statistics.probability_of_backtest_overfitting(returns, 8)
        test = statistics.superior_predictive_ability(returns, reps=100, seed=2)
        return [
            statistics.probabilistic_sharpe_ratios(returns.T).tobytes(),
            splits.logits.tobytes(),
            repr((splits.probability, splits.loss_probability, test)).encode(),
        ]

    seen = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(_kernels.os, "cpu_count", lambda threads=threads: threads)
        seen.append(everything())
    assert seen[0] == seen[1] == seen[2]


def test_two_threads_may_ask_at_once() -> None:
    returns = np.random.default_rng(16).normal(0, 0.01, (200, 30))
    results: list[float] = []
    callers = [
        threading.Thread(
            target=lambda: results.append(statistics.probability_of_backtest_overfitting(returns, 8).probability)
        )
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 4
    assert len(set(results)) == 1


def test_a_seed_decides_everything_and_another_seed_differs() -> None:
    returns = np.random.default_rng(17).normal(0, 0.01, (200, 10))
    first, again, other = (statistics.superior_predictive_ability(returns, reps=200, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    sequence = np.random.SeedSequence(1)
    assert statistics.superior_predictive_ability(returns, reps=200, seed=sequence) == first


def test_loading_the_statistics_loads_no_heavy_library() -> None:
    heavy = ["numba", "arch", "statsmodels", "scipy.stats", "scipy.optimize", "pandas.core"]
    script = (
        "import sys; import research_to_prod.gates.statistics.coverage as _, research_to_prod.gates.statistics;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"
