"""The policy file: complete, explained, hashed; no way to leave a gate out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import research_to_prod
from research_to_prod.gates.policy import PolicyError, Threshold, load_policy
from research_to_prod.values import StrategyType

FILE = Path(research_to_prod.__file__).parent / "desk" / "policies" / "research_to_paper.yaml"


def content() -> dict[str, Any]:
    loaded = yaml.safe_load(FILE.read_text())
    assert isinstance(loaded, dict)
    return loaded


def write(folder: Path, policy: dict[str, Any]) -> Path:
    path = folder / FILE.name
    path.write_text(yaml.safe_dump(policy))
    return path


def leaves(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for family in ("data_quality", "statistics", "robustness", "risk"):
        yield from ((family, name) for name in policy[family])


def test_the_desks_policy_loads_and_every_threshold_says_why() -> None:
    policy = load_policy(FILE)
    for family, name in leaves(content()):
        threshold = getattr(getattr(policy, family), name)
        assert isinstance(threshold, Threshold)
        assert threshold.why.endswith(".")


@pytest.mark.parametrize(("family", "name"), list(leaves(content())))
def test_a_threshold_cannot_be_left_out(tmp_path: Path, family: str, name: str) -> None:
    policy = content()
    del policy[family][name]
    with pytest.raises(PolicyError, match=rf"research_to_paper\.yaml: {family}\.{name}: Field required"):
        load_policy(write(tmp_path, policy))


@pytest.mark.parametrize(
    ("family", "name", "change", "message"),
    [
        ("statistics", "deflated_sharpe_ratio", {"value": 0.0}, "greater than or equal to 0.5"),
        ("statistics", "deflated_sharpe_ratio", {"value": float("nan")}, "finite"),
        ("statistics", "deflated_sharpe_ratio", {"value": 1.0}, "less than 1"),
        ("statistics", "minimum_days", {"value": 0}, "greater than 0"),
        ("risk", "maximum_drawdown", {"value": 2.5}, "less than or equal to 1"),
        ("risk", "maximum_drawdown", {"why": "because"}, "at least 30 characters"),
        ("data_quality", "completeness", {"optional": True}, "Extra inputs"),
        ("robustness", "stressed_mean_return", {"cost_multiplier": 0.5}, "greater than or equal to 1"),
    ],
)
def test_a_threshold_that_asks_for_nothing_is_refused(
    tmp_path: Path, family: str, name: str, change: dict[str, Any], message: str
) -> None:
    policy = content()
    policy[family][name] |= change
    with pytest.raises(PolicyError, match=message):
        load_policy(write(tmp_path, policy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": -1}, "greater than or equal to 0"),
        ({"people": True}, "valid integer"),
        ({"people": None}, "valid integer"),
        ({"valid_for": "P31D"}, "30 days"),
        ({"valid_for": "PT0S"}, "greater than"),
        ({"why": "because"}, "at least 30 characters"),
        ({"skip": True}, "Extra inputs"),
    ],
)
def test_an_approval_rule_that_asks_for_nonsense_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    policy = content()
    policy["approval"] |= change
    with pytest.raises(PolicyError, match=message):
        load_policy(write(tmp_path, policy))


def test_who_approves_is_part_of_the_policys_digest_and_cannot_be_left_out(tmp_path: Path) -> None:
    policy = content()
    policy["approval"]["people"] += 1
    assert load_policy(write(tmp_path, policy)).sha256 != load_policy(FILE).sha256
    del policy["approval"]
    with pytest.raises(PolicyError, match="approval: Field required"):
        load_policy(write(tmp_path, policy))


@pytest.mark.parametrize("change", [{"allow_override": True}, {"id": "another"}, {"from_stage": "nowhere"}])
def test_unknown_or_wrong_fields_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        load_policy(write(tmp_path, content() | change))


def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE.name
    path.write_text("a: [")
    with pytest.raises(PolicyError, match="not readable"):
        load_policy(path)


def test_the_hash_follows_the_numbers_not_the_layout(tmp_path: Path) -> None:
    policy = content()
    assert load_policy(write(tmp_path, policy)).sha256 == load_policy(FILE).sha256
    policy["risk"]["maximum_drawdown"]["value"] = 0.2500001
    assert load_policy(write(tmp_path, policy)).sha256 != load_policy(FILE).sha256


def test_the_hash_covers_reasons_and_overrides(tmp_path: Path) -> None:
    hashes = {load_policy(FILE).sha256}
    policy = content()
    policy["risk"]["maximum_drawdown"]["why"] += " Really."
    hashes.add(load_policy(write(tmp_path, policy)).sha256)
    policy = content()
    del policy["overrides"]["carry"]
    hashes.add(load_policy(write(tmp_path, policy)).sha256)
    assert len(hashes) == 3


def test_an_override_replaces_one_threshold_of_one_type_only() -> None:
    policy = load_policy(FILE)
    assert policy.for_type(StrategyType.SWING).risk.maximum_drawdown.value == 0.25
    carry = policy.for_type(StrategyType.CARRY)
    assert carry.risk.maximum_drawdown.value == 0.10
    assert carry.statistics == policy.statistics


@pytest.mark.parametrize(
    "override",
    [
        {"risk": {"maximum_drawdown": None}},
        {"risk": {"maximum_drawdown": {"value": 0.5}}},
        {"risk": {"max_dd": {"value": 0.5, "why": "A sentence that is long enough to count."}}},
        {"id": {"value": "other"}},
        {"luck": {}},
    ],
)
def test_an_override_can_neither_drop_a_threshold_nor_invent_one(tmp_path: Path, override: dict[str, Any]) -> None:
    policy = content()
    policy["overrides"] = {"carry": override}
    with pytest.raises(PolicyError):
        load_policy(write(tmp_path, policy))


def test_a_policy_cannot_be_changed_after_loading() -> None:
    policy = load_policy(FILE)
    with pytest.raises(ValueError, match="frozen"):
        policy.risk.maximum_drawdown.value = 1.0
