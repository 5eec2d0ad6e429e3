"""What people read of each gate, to the letter: its rule, its sample, its reason, its remedy (``gate_words.txt``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research_to_prod.gates.evaluation import evaluate
from research_to_prod.gates.evidence import Evidence, Studies
from research_to_prod.gates.policy import Policy, load_policy
from tests.gates.good_evidence import GOOD, POLICIES, POLICY, TRADED, latencies, returns

CANARY = load_policy(POLICIES / "paper_to_canary.yaml")
NOTHING = Evidence(
    candidate="some_candidate",
    strategy_type=GOOD.strategy_type,
    completeness={},
    unresolved={},
    daily_returns=np.empty(0),
    stressed_returns={},
    max_drawdown=None,
    n_trials=None,
    trial_sharpes=np.empty(0),
)
WEAK = {
    "loss_probability": 0.5, "spa_consistent": 0.5, "quantile_05": -1.0, "positive_share": 0.2, "is_mean": -0.01,
    "median_ratio": 0.2, "minimum_sharpe": -2.0, "l_star_ms": 10.0, "improves_with_latency": 1.0,
    "retained_at_capital": 0.1, "sharpe_lower_95": -1.0,
}  # fmt: skip
BAD = replace(
    GOOD,
    completeness={"A/B": (1000, 1000), "C/D": (1000, 400), "E/F": (1000, 900)},
    unresolved={"C/D": ("gap", "spike"), "A/B": ("gap", "gap"), "E/F": ()},
    daily_returns=returns(-1.0, 400),
    stressed_returns={1.5: returns(-2.0), 2.0: returns(-3.0)},
    max_drawdown=0.5,
    days=np.datetime64("2022-10-01", "D") + np.arange(400),
    studies=Studies(
        GOOD.studies.figures
        | {("overfitting", "all", "pbo"): 0.6}
        | {
            (study, item, metric): value
            for (study, item, metric) in GOOD.studies.figures
            for name, value in WEAK.items()
            if metric == name
        }
    ),
)
HALF_KNOWN = replace(
    GOOD,
    completeness={"A/B": (1000, 1000), "C/D": None, "E/F": (9, 10)},
    unresolved={"A/B": (), "E/F": None, "C/D": None},
    capital=None,
    studies=Studies({key: value for key, value in GOOD.studies.figures.items() if key[1] != "all"}),
)
TRADED_BADLY = replace(
    TRADED,
    latency=replace(TRADED.latency, measures={"signal_to_ack": latencies(9000, 50, 1)}),
    paired=replace(
        TRADED.paired,
        days=3,
        decisions=9,
        compared_decisions=9,
        equal_decisions=8,
        bars=50,
        agreeing_bars=40,
        slippage_ratio=3.0,
    ),
    readiness=replace(TRADED.readiness, runbooks=(), as_of=None),
)
CASES: dict[str, tuple[Policy, Evidence]] = {
    "good": (POLICY, GOOD),
    "bad": (POLICY, BAD),
    "half known": (POLICY, HALF_KNOWN),
    "nothing": (POLICY, NOTHING),
    "traded well": (CANARY, TRADED),
    "traded badly": (CANARY, TRADED_BADLY),
    "traded not at all": (CANARY, NOTHING),
}


def words(case: str) -> list[str]:
    return [
        f"{case} | {each.family} {each.gate}{'' if each.gating else ' (reported)'} | {each.verdict} | "
        f"{each.comparison} {'?' if each.threshold is None else format(each.threshold, '.6g')} on {each.samples} | "
        f"{each.reason} | {each.remedy}".rstrip()
        for each in evaluate(*CASES[case]).gates
    ]


@pytest.mark.parametrize("case", CASES)
def test_every_gate_says_what_people_read(case: str) -> None:
    told = (Path(__file__).parent / "gate_words.txt").read_text().splitlines()
    assert words(case) == [line for line in told if line.startswith(f"{case} | ")]
