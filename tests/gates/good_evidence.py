"""Evidence that passes every gate, for tests that take one thing of it away."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

import research_to_prod
from research_to_prod.gates.evaluation import Gate, GateReport
from research_to_prod.gates.evidence import (
    Evidence,
    LatencyEvidence,
    LatencySamples,
    PairedEvidence,
    ReadinessEvidence,
    Studies,
)
from research_to_prod.gates.holdings import Holdings
from research_to_prod.gates.policy import load_policy
from research_to_prod.values import StrategyType, Verdict

POLICIES = Path(research_to_prod.__file__).parent / "desk" / "policies"
POLICY = load_policy(POLICIES / "research_to_paper.yaml")


def returns(annual_sharpe: float, days: int = 1000, seed: int = 1) -> np.ndarray:
    """Return normal daily returns whose sample Sharpe ratio is exactly that."""
    noise = np.random.default_rng(seed).normal(0, 1, days)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return 0.01 * (noise + annual_sharpe / math.sqrt(365))


FIGURES: dict[tuple[str, str, str], float | None] = {
    ("overfitting", "all", "pbo"): 0.1, ("overfitting", "all", "loss_probability"): 0.02,
    ("overfitting", "all", "n_blocks"): 16.0, ("overfitting", "all", "n_trials"): 20.0,
    ("selection", "all", "spa_consistent"): 0.01, ("selection", "all", "resamples"): 1000.0,
    ("cpcv", "all", "paths"): 9.0, ("cpcv", "all", "quantile_05"): 1.0, ("cpcv", "all", "positive_share"): 1.0,
    ("neighbourhood", "all", "base_sharpe"): 4.0, ("neighbourhood", "all", "median_ratio"): 0.9,
    ("neighbourhood", "all", "minimum_sharpe"): 2.0, ("neighbourhood", "all", "neighbours"): 8.0,
    ("latency_stress", "delay_1_bars", "sharpe"): 4.0, ("latency_stress", "all", "l_star_ms"): 3.6e6,
    ("latency_stress", "all", "improves_with_latency"): 0.0,
    ("capacity", "1x", "mean"): 0.01, ("capacity", "all", "retained_at_capital"): 0.9,
    ("bootstrap", "all", "sharpe_lower_95"): 2.0, ("bootstrap", "all", "resamples"): 1000.0,
} | {
    (walk, item, metric): value
    for walk in ("walk_forward_anchored", "walk_forward_rolling")
    for item, metric, value in (
        ("fold_00", "is_mean", 0.01), ("fold_01", "is_mean", 0.01), ("fold_02", "is_mean", 0.01),
        ("all", "efficiency", 0.8), ("all", "positive_share", 1.0), ("all", "folds", 3.0),
    )
}  # fmt: skip
HOLDINGS = Holdings(
    ("BTC/USDT",), 24.0, np.full((48, 1), 0.5), np.full((48, 1), 100.0), np.full((2, 1), 1e9), np.zeros(1)
)

GOOD = Evidence(
    candidate="some_candidate",
    strategy_type=StrategyType.SWING,
    completeness={"BTC/USDT": (1000, 1000), "ETH/USDT": (1000, 1000)},
    unresolved={"BTC/USDT": (), "ETH/USDT": ()},
    daily_returns=returns(4.0),
    stressed_returns={1.5: returns(3.8), 2.0: returns(3.6)},
    max_drawdown=0.1,
    n_trials=20,
    trial_sharpes=np.linspace(-0.02, 0.05, 20),
    days=np.datetime64("2023-01-01", "D") + np.arange(1000),
    venue="sandbox",
    capital=100_000.0,
    studies=Studies(FIGURES),
    holdings=HOLDINGS,
    book=(),
)
"""Of research: it asks for paper."""


def latencies(milliseconds: float, n: int = 3000, days: int = 6, seed: int = 2) -> LatencySamples:
    """Return samples around ``milliseconds`` spread evenly over whole days."""
    at = np.datetime64("2026-01-01", "us") + np.arange(n) * np.timedelta64(days * 86_400_000_000 // n, "us")
    return LatencySamples(at, milliseconds * np.exp(np.random.default_rng(seed).normal(0, 0.2, n)))


NOW = datetime(2026, 1, 8, tzinfo=UTC)
TRADED = replace(
    GOOD,
    latency=LatencyEvidence(
        {"signal_to_ack": latencies(100), "cancel_to_ack": latencies(100), "feed_age": latencies(50)}, busiest_hour=14
    ),
    paired=PairedEvidence(
        days=40,
        decisions=400,
        compared_decisions=400,
        equal_decisions=400,
        bars=5000,
        agreeing_bars=5000,
        slippage_ratio=1.1,
    ),
    readiness=ReadinessEvidence(runbooks=("momentum.md",), drilled_at=NOW - timedelta(hours=3), as_of=NOW),
)
"""The same after weeks of paper trading: it asks for money."""


def verdicts(result: GateReport) -> dict[str, Verdict]:
    return {gate.gate: gate.verdict for gate in result.gates}


def gate(result: GateReport, name: str) -> Gate:
    return next(each for each in result.gates if each.gate == name)
