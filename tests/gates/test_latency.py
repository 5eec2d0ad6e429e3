"""Latency gates: confidence bounds of quantiles against the smaller of the table and what the edge bears."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.evidence import LatencyEvidence, LatencySamples, Studies
from research_to_prod.gates.policy import load_policy
from research_to_prod.gates.statistics import quantile_upper_bound
from research_to_prod.values import StrategyType, Verdict
from tests.gates.good_evidence import POLICIES, TRADED, gate, latencies, verdicts

POLICY = load_policy(POLICIES / "paper_to_canary.yaml")
PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def report(signal_to_ack: LatencySamples | None, **changes: object) -> GateReport:
    measures = dict(TRADED.latency.measures)
    if signal_to_ack is None:
        del measures["signal_to_ack"]
    else:
        measures["signal_to_ack"] = signal_to_ack
    latency = LatencyEvidence(measures, busiest_hour=14)
    return evaluate(POLICY, replace(TRADED, **{"latency": latency, **changes}))  # type: ignore[arg-type]


def of(values: np.ndarray, days: int = 6) -> LatencySamples:
    """Return samples with those values, evenly spread and in random order."""
    shuffled = np.random.default_rng(0).permutation(values)
    return replace(latencies(1.0, len(values), days), milliseconds=shuffled)


def test_traded_evidence_passes_the_way_to_canary_and_to_live() -> None:
    for move in ("paper_to_canary", "canary_to_live"):
        found = evaluate(load_policy(POLICIES / f"{move}.yaml"), TRADED)
        assert found.verdict is PASS, [each.reason for each in found.gates if each.verdict is not PASS and each.gating]


def test_the_bound_is_the_order_statistic_of_the_binomial_and_is_held_against_the_budget() -> None:
    samples = of(np.arange(1.0, 1001.0))
    found = gate(report(samples), "signal_to_ack_p99")
    # P(Bin(1000, 0.99) <= 995) >= 0.95 first holds at the 996th value: the published rank.
    assert (found.value, found.threshold, found.verdict) == (996.0, 5000.0, PASS)
    assert quantile_upper_bound(1000, 0.99, 0.95) == 996


def test_a_budget_between_the_bounds_is_inconclusive_and_beyond_the_lower_bound_a_failure() -> None:
    values = np.full(1000, 100.0)
    values[:60] = 3000.0  # 6 % beyond the budget of p95, 2000 ms: within the error of 1,000 samples
    assert gate(report(of(values)), "signal_to_ack_p95").verdict is INCONCLUSIVE
    values[:120] = 3000.0
    failed = gate(report(of(values)), "signal_to_ack_p95")
    assert (failed.verdict, failed.value, failed.margin) == (FAIL, 3000.0, -1000.0)
    assert "lower 95% bound" in failed.reason


def test_a_timeout_is_the_worst_latency_and_never_dropped() -> None:
    values = np.full(1000, 100.0)
    values[:5] = math.inf
    assert gate(report(of(values)), "signal_to_ack_p99").verdict is INCONCLUSIVE
    values[:100] = math.inf
    assert gate(report(of(values)), "signal_to_ack_p99").verdict is FAIL
    assert gate(report(of(values)), "signal_to_ack_p50").verdict is PASS


@pytest.mark.parametrize("bad", [math.nan, -1.0])
def test_a_latency_that_is_no_number_or_negative_answers_nothing(bad: float) -> None:
    values = np.full(1000, 100.0)
    values[0] = bad
    found = gate(report(of(values)), "signal_to_ack_p50")
    assert found.verdict is INCONCLUSIVE
    assert "negative or not a number" in found.reason


@pytest.mark.parametrize(("n", "verdict"), [(298, INCONCLUSIVE), (299, INCONCLUSIVE), (300, PASS)])
def test_too_few_samples_answer_nothing(n: int, verdict: Verdict) -> None:
    """A p99 has an upper bound at 95 % from 299 samples on; the policy asks for 300."""
    assert gate(report(of(np.linspace(50, 100, n))), "signal_to_ack_p99").verdict is verdict


def test_what_was_not_measured_is_inconclusive() -> None:
    found = verdicts(report(None))
    names = {name for name in found if name.startswith("signal_to_ack") or name == "latency_busiest_hours"}
    assert len(names) == 4
    assert {found[name] for name in names} == {INCONCLUSIVE}
    said = gate(report(None), "latency_busiest_hours").reason
    assert said == "no latency from signal to acknowledgement was measured"


def test_the_budget_is_the_smaller_of_the_table_and_what_leaves_the_edge_whole() -> None:
    key = ("latency_stress", "all", "l_star_ms")
    fast = replace(TRADED, studies=Studies(TRADED.studies.figures | {key: 80.0}))
    found = gate(evaluate(POLICY, fast), "signal_to_ack_p50")
    assert (found.threshold, found.verdict) == (80.0, FAIL)
    for unknown in (None, 0.0, math.nan):
        blind = replace(TRADED, studies=Studies(TRADED.studies.figures | {key: unknown}))
        assert gate(evaluate(POLICY, blind), "signal_to_ack_p50").verdict is INCONCLUSIVE
        assert gate(evaluate(POLICY, blind), "cancel_to_ack_p99").verdict is PASS


def test_the_busiest_hour_must_be_sampled_on_enough_days() -> None:
    assert verdicts(report(latencies(100)))["latency_busiest_hours"] is PASS
    four = gate(report(latencies(100, days=4)), "latency_busiest_hours")
    assert (four.value, four.verdict) == (4.0, INCONCLUSIVE)
    quiet = latencies(100)
    kept = quiet.at.astype("datetime64[h]").astype(np.int64) % 24 != 14
    missed = gate(report(LatencySamples(quiet.at[kept], quiet.milliseconds[kept])), "latency_busiest_hours")
    assert (missed.value, missed.verdict) == (0.0, INCONCLUSIVE)
    unknown = LatencyEvidence(TRADED.latency.measures, busiest_hour=None)
    blind = gate(report(latencies(100), latency=unknown), "latency_busiest_hours")
    assert (blind.value, blind.verdict) == (0.0, INCONCLUSIVE)
    assert blind.reason == "the market's busiest hour is not known"


def test_a_burst_of_slow_answers_is_one_observation_not_many() -> None:
    scattered = np.full(3000, 100.0)
    scattered[::300] = 6000.0
    burst = np.sort(scattered)
    spread = latencies(1.0, 3000)
    independent = gate(report(replace(spread, milliseconds=scattered)), "signal_to_ack_p99")
    clustered = gate(report(replace(spread, milliseconds=burst)), "signal_to_ack_p99")
    assert independent.samples == 3000
    assert clustered.samples < 300
    assert clustered.verdict is INCONCLUSIVE


def test_a_strategy_with_legs_has_a_budget_between_them() -> None:
    carry = replace(TRADED, strategy_type=StrategyType.CARRY)
    assert verdicts(evaluate(POLICY, carry))["leg_skew_p99"] is INCONCLUSIVE
    assert "leg_skew_p99" not in verdicts(evaluate(POLICY, TRADED))


@given(st.lists(st.floats(0, 1e5), min_size=300, max_size=400), st.integers(0, 2**32 - 1))
def test_the_order_in_which_samples_came_into_the_table_changes_nothing(values: list[float], seed: int) -> None:
    samples = replace(latencies(1.0, len(values)), milliseconds=np.array(values))
    order = np.random.default_rng(seed).permutation(len(values))
    shuffled = LatencySamples(samples.at[order], samples.milliseconds[order])
    assert report(samples).canonical_bytes() == report(shuffled).canonical_bytes()
