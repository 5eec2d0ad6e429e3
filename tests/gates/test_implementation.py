"""Implementation and readiness: what paper and canary must have shown before money is at stake."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.evidence import PairedEvidence, ReadinessEvidence
from research_to_prod.gates.policy import TRANSITIONS, Policy, load_policy
from research_to_prod.values import Verdict
from tests.gates.good_evidence import GOOD, NOW, POLICIES, POLICY, TRADED, gate, verdicts

CANARY = load_policy(POLICIES / "paper_to_canary.yaml")
PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def paired(**changes: Any) -> GateReport:
    return evaluate(CANARY, replace(TRADED, paired=replace(TRADED.paired, **changes)))


def ready(**changes: Any) -> GateReport:
    return evaluate(CANARY, replace(TRADED, readiness=replace(TRADED.readiness, **changes)))


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({"days": 14}, "paired_days", PASS),
        ({"days": 13}, "paired_days", INCONCLUSIVE),
        ({"days": None}, "paired_days", INCONCLUSIVE),
        ({"decisions": 200}, "paired_decisions", PASS),
        ({"decisions": 199}, "paired_decisions", INCONCLUSIVE),
        ({"equal_decisions": 398}, "signal_parity", PASS),
        ({"equal_decisions": 397}, "signal_parity", FAIL),
        ({"equal_decisions": None}, "signal_parity", INCONCLUSIVE),
        ({"compared_decisions": None}, "signal_parity", INCONCLUSIVE),
        ({"equal_decisions": 401}, "signal_parity", INCONCLUSIVE),
        ({"agreeing_bars": 4990}, "feed_agreement", FAIL),
        ({"bars": 0, "agreeing_bars": 0}, "feed_agreement", INCONCLUSIVE),
        ({"slippage_ratio": 1.6}, "slippage_ratio", FAIL),
        ({"slippage_ratio": None}, "slippage_ratio", INCONCLUSIVE),
        ({"slippage_ratio": math.nan}, "slippage_ratio", INCONCLUSIVE),
        ({"slippage_ratio": math.inf}, "slippage_ratio", INCONCLUSIVE),
    ],
)
def test_what_was_traded_beside_the_model_decides(changes: dict[str, Any], name: str, verdict: Verdict) -> None:
    assert verdicts(paired(**changes))[name] is verdict


@pytest.mark.parametrize("name", ["research_to_paper", "paper_to_canary", "canary_to_live"])
def test_every_family_that_a_policy_has_and_no_other_answers(name: str) -> None:
    policy = load_policy(POLICIES / f"{name}.yaml")
    answered = {each.family for each in evaluate(policy, TRADED).gates}
    assert answered == TRANSITIONS[policy.from_stage, policy.to_stage]


def test_nothing_traded_is_inconclusive_in_every_gate_of_the_family() -> None:
    found = evaluate(CANARY, replace(TRADED, paired=PairedEvidence()))
    family = {each.verdict for each in found.gates if each.family == "implementation"}
    assert family == {INCONCLUSIVE}


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({"runbooks": ()}, "runbook", FAIL),
        ({"runbooks": None}, "runbook", INCONCLUSIVE),
        ({"drilled_at": None}, "kill_drill", INCONCLUSIVE),
        ({"drilled_at": NOW - timedelta(hours=25)}, "kill_drill", FAIL),
        ({"drilled_at": NOW + timedelta(hours=1)}, "kill_drill", INCONCLUSIVE),
    ],
)
def test_people_and_systems_must_be_ready(changes: dict[str, Any], name: str, verdict: Verdict) -> None:
    assert verdicts(ready(**changes))[name] is verdict
    assert gate(ready(**changes), name).gating


def test_on_the_way_to_paper_only_the_limits_gate() -> None:
    found = evaluate(POLICY, replace(GOOD, readiness=ReadinessEvidence()))
    gating = {each.gate for each in found.gates if each.family == "readiness" and each.gating}
    assert gating == {"pre_set_limits"}
    assert found.verdict is PASS


@pytest.mark.parametrize("policy", [POLICY, CANARY])
@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, PASS),
        ({"completeness": {"BTC/USD": (1000, 1000)}}, FAIL),
        ({"completeness": {"BTC/USDT": (1000, 1000), "BTC/EUR": (1000, 1000)}}, FAIL),
        ({"capital": 0.001}, FAIL),
        ({"capital": None}, INCONCLUSIVE),
        ({"capital": math.nan}, INCONCLUSIVE),
        ({"completeness": {}}, INCONCLUSIVE),
    ],
)
def test_nothing_moves_without_every_limit_that_a_record_would_sign(
    policy: Policy, changes: dict[str, Any], verdict: Verdict
) -> None:
    assert verdicts(evaluate(policy, replace(TRADED, **changes)))["pre_set_limits"] is verdict
