"""A policy in words, and what differs between two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.gates.explanation import differences, explain
from research_to_prod.gates.policy import Policy, load_policy
from research_to_prod.values import StrategyType
from tests.gates.good_evidence import POLICIES, POLICY


def changed(folder: Path, family: str, name: str, value: float) -> Path:
    """Write a copy of the policy into paper with another value, beside the desk's allocation."""
    shutil.copytree(POLICIES.parent / "capital", folder / "capital")
    content = yaml.safe_load((POLICIES / "research_to_paper.yaml").read_text())
    content[family][name]["value"] = value
    path = folder / "policies" / "research_to_paper.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("strategy_type", StrategyType)
@pytest.mark.parametrize("move", ["research_to_paper", "paper_to_canary", "canary_to_live"])
def test_every_threshold_of_every_type_is_told_once_with_its_reason(move: str, strategy_type: StrategyType) -> None:
    policy: Policy = load_policy(POLICIES / f"{move}.yaml")
    lines = explain(policy, strategy_type)
    assert len({(line.family, line.name) for line in lines}) == len(lines)
    assert all(line.asks and line.why.endswith(".") for line in lines)
    if policy.latency is not None:
        budgets = {line.name: line.asks for line in lines if line.family == "latency"}
        own = policy.latency.budgets[strategy_type].minimum_samples.value
        assert budgets["minimum_samples"] == f"{own:,.0f}"


def test_an_override_shows_for_its_type() -> None:
    asks = {
        kind: next(line.asks for line in explain(POLICY, kind) if line.name == "completeness") for kind in StrategyType
    }
    assert asks[StrategyType.MARKET_MAKING].startswith("0.9999")
    assert asks[StrategyType.SWING] == "0.999"


def test_a_policy_does_not_differ_from_itself_nor_by_words(tmp_path: Path) -> None:
    assert differences(POLICY, POLICY) == []
    path = changed(tmp_path, "risk", "participation", POLICY.risk.participation.value if POLICY.risk else 0)
    path.write_text(path.read_text().replace("A hundredth of", "One hundredth of"))
    assert differences(POLICY, load_policy(path)) == []


def test_a_changed_number_is_told_for_each_type_that_it_applies_to(tmp_path: Path) -> None:
    found = differences(POLICY, load_policy(changed(tmp_path, "data_quality", "completeness", 0.99)))
    assert [each.strategy_type for each in found] == [
        each for each in StrategyType if each is not StrategyType.MARKET_MAKING
    ]
    assert {(each.before.asks, each.after.asks) for each in found if each.before and each.after} == {("0.999", "0.99")}


def test_the_command_tells_numbers_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["policy", "explain", "canary_to_live", "--type", "carry"])
    assert result.exit_code == 0
    assert "canary -> live" in result.output
    assert "leg_skew" in result.output
    assert "p99 500 ms" in result.output


def test_a_policy_that_is_wrong_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    path = changed(tmp_path, "risk", "participation", 7)
    result = CliRunner().invoke(app, ["policy", "explain", str(path)])
    assert result.exit_code == 2
    assert "risk.participation.value" in result.output
    assert CliRunner().invoke(app, ["policy", "explain", "no_such"]).exit_code == 2


def test_policies_on_different_moves_are_not_compared() -> None:
    result = CliRunner().invoke(app, ["policy", "diff", "research_to_paper", "canary_to_live"])
    assert result.exit_code == 2
    assert "decide on different" in " ".join(result.output.split())
