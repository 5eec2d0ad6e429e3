"""Probabilistic Sharpe ratios against quantstats and NumPy; backtest overfitting against NumPy with BLAS and RiskLabAI.

The slow peers are timed on a part of the work and scaled up; the table says "estimated".
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

from benchmarks._harness import Claim, in_turns, ratio, report
from research_to_prod.gates.statistics import (
    oracle,
    probabilistic_sharpe_ratios,
    probability_of_backtest_overfitting,
    superior_predictive_ability,
)

SERIES, DAYS, TRIALS, BLOCKS = 10_000, 1000, 1000, 16
QUANTSTATS_SERIES, RISKLAB_SPLITS = 50, 10


def sharpe_ratios() -> int:
    import pandas as pd
    from quantstats import stats as quantstats

    returns = np.random.default_rng(1).normal(0.0003, 0.01, (SERIES, DAYS))
    dates = pd.date_range("2021-01-01", periods=DAYS)
    few = [pd.Series(row, dates) for row in returns[:QUANTSTATS_SERIES]]
    ours, theirs = "compiled", f"quantstats, estimated from {len(few)} series"
    expected = oracle.probabilistic_sharpe_ratios(returns)

    def check(name: str, result: object) -> None:
        # quantstats corrects skewness and kurtosis for bias: equal to about 1e-4 on 1,000 days.
        tolerance = 1e-12 if name != theirs else 1e-3
        np.testing.assert_allclose(result, expected[: len(np.asarray(result))], atol=tolerance)

    contestants = {
        ours: lambda: probabilistic_sharpe_ratios(returns),
        "NumPy, vectorised": lambda: oracle.probabilistic_sharpe_ratios(returns),
        theirs: lambda: [quantstats.probabilistic_sharpe_ratio(series) for series in few],
    }
    seconds = in_turns(contestants, 7, check)
    seconds[theirs] *= SERIES / len(few)
    claims = [
        Claim("times faster than quantstats", ratio(seconds, theirs, ours), at_least=500),
        Claim("times faster than vectorised NumPy", ratio(seconds, "NumPy, vectorised", ours), at_least=8),
    ]
    title = f"Probabilistic Sharpe ratio of {SERIES:,} series of {DAYS:,} days"
    return report(title, seconds, claims, dict.fromkeys(seconds, SERIES))


def overfitting() -> int:
    from RiskLabAI.backtest.backtest_statistics import sharpe_ratio
    from RiskLabAI.backtest.probability_of_backtest_overfitting import performance_evaluation

    returns = np.random.default_rng(2).normal(0.0, 0.01, (DAYS, TRIALS))
    # RiskLabAI would make blocks of two lengths of the days that don't fill one; ours leaves the first of them out.
    blocks = np.array_split(returns[DAYS % BLOCKS :], BLOCKS)
    splits = list(itertools.combinations(range(BLOCKS), BLOCKS // 2))
    some = list(range(0, len(splits), len(splits) // RISKLAB_SPLITS))
    ours, blas = "compiled", "NumPy and BLAS, block sums"
    theirs = f"RiskLabAI, estimated from {len(some)} splits"
    expected = probability_of_backtest_overfitting(returns, BLOCKS).logits

    def with_blas() -> object:
        ranks, _ = oracle.overfitting_splits(returns, BLOCKS)
        return np.log(ranks / (TRIALS + 1 - ranks))

    def risklab() -> object:
        logits = []
        for inside in (splits[i] for i in some):
            halves = [[blocks[b] for b in range(BLOCKS) if (b in inside) is chosen] for chosen in (True, False)]
            logits.append(performance_evaluation(*map(np.concatenate, halves), TRIALS, sharpe_ratio, 0.0)[1])
        return np.array(logits)

    def check(name: str, logits: object) -> None:
        np.testing.assert_allclose(logits, expected[some] if name == theirs else expected, rtol=1e-12)

    contestants = {
        ours: lambda: probability_of_backtest_overfitting(returns, BLOCKS).logits,
        blas: with_blas,
        theirs: risklab,
    }
    seconds = in_turns(contestants, 5, check)
    seconds[theirs] *= len(splits) / len(some)
    claims = [
        Claim("times faster than NumPy and BLAS", ratio(seconds, blas, ours), at_least=10),
        Claim("times faster than RiskLabAI", ratio(seconds, theirs, ours), at_least=500),
    ]
    title = f"Backtest overfitting of {TRIALS:,} trials of {DAYS:,} days, {len(splits):,} splits; logits equal"
    return report(title, seconds, claims, dict.fromkeys(seconds, len(splits)))


def predictive_ability() -> int:
    from arch.bootstrap import SPA

    returns = np.random.default_rng(3).normal(0.0, 0.01, (1088, 500))

    def by_arch() -> list[float]:
        test = SPA(np.zeros(len(returns)), -returns, block_size=10, reps=1000, seed=4)
        test.compute()
        return [float(p_value) for p_value in test.pvalues]

    def by_us(*, studentised: bool) -> list[float]:
        test = superior_predictive_ability(returns, block_size=10, reps=1000, seed=4, studentised=studentised)
        return [test.lower, test.consistent, test.upper]

    expected = by_us(studentised=False)

    def check(name: str, p_values: object) -> None:
        assert name == "compiled" or p_values == expected, f"{name}: {p_values}, expected {expected}"

    contestants = {
        "compiled": lambda: by_us(studentised=True),
        "compiled, not studentised": lambda: by_us(studentised=False),
        "arch": by_arch,
    }
    seconds = in_turns(contestants, 3, check)
    claims = [
        Claim("seconds a call", float(np.median(seconds["compiled"])), at_most=1.0),
        Claim("times faster than arch", ratio(seconds, "arch", "compiled")),
    ]
    return report("Superior predictive ability of 500 trials of 1,088 days, 1,000 resamples", seconds, claims)


if __name__ == "__main__":
    sys.exit(max(sharpe_ratios(), overfitting(), predictive_ability()))
