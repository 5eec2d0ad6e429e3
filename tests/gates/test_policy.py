"""The policy file: complete, explained, hashed; no way to leave a gate out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import research_to_prod
from research_to_prod.gates.families import Event, Quantiles
from research_to_prod.gates.policy import PolicyError, Threshold, load_policy
from research_to_prod.values import StrategyType

FILE = Path(research_to_prod.__file__).parent / "desk" / "policies" / "research_to_paper.yaml"


def content() -> dict[str, Any]:
    loaded = yaml.safe_load(FILE.read_text())
    assert isinstance(loaded, dict)
    return loaded


def write(folder: Path, policy: dict[str, Any]) -> Path:
    path = folder / "policies" / FILE.name
    path.parent.mkdir(exist_ok=True)
    shutil.copytree(FILE.parent.parent / "capital", folder / "capital", dirs_exist_ok=True)
    path.write_text(yaml.safe_dump(policy))
    return path


def leaves(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for family in ("data_quality", "statistics", "robustness", "risk", "readiness"):
        yield from ((family, name) for name in policy[family])


def thresholds(value: object) -> Iterator[Threshold | Quantiles | Event]:
    """Yield everything in a policy that has a reason to give, however deep."""
    if isinstance(value, Threshold | Quantiles | Event):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from thresholds(getattr(value, name))
    elif isinstance(value, dict | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from thresholds(each)


@pytest.mark.parametrize(
    ("move", "least"), [("research_to_paper", 50), ("paper_to_canary", 60), ("canary_to_live", 60)]
)
def test_the_desks_policies_load_and_every_threshold_says_why(move: str, least: int) -> None:
    found = list(thresholds(load_policy(FILE.with_stem(move))))
    assert len(found) >= least
    assert all(each.why.endswith(".") for each in found)


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
        ("risk", "participation", {"value": 2.5}, "less than or equal to 1"),
        ("risk", "participation", {"why": "because"}, "at least 30 characters"),
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
        ({"holds_for": "PT0S"}, "greater than"),
        ({"holds_for": "P400D"}, "366 days"),
        ({"validator": "risk"}, "should match pattern"),
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
    path = write(tmp_path, content())
    path.write_text("a: [")
    with pytest.raises(PolicyError, match="not readable"):
        load_policy(path)


def test_the_hash_follows_the_numbers_not_the_layout(tmp_path: Path) -> None:
    policy = content()
    assert load_policy(write(tmp_path, policy)).sha256 == load_policy(FILE).sha256
    policy["risk"]["participation"]["value"] = 0.0100001
    assert load_policy(write(tmp_path, policy)).sha256 != load_policy(FILE).sha256


def test_the_hash_covers_reasons_and_overrides(tmp_path: Path) -> None:
    hashes = {load_policy(FILE).sha256}
    policy = content()
    policy["risk"]["participation"]["why"] += " Really."
    hashes.add(load_policy(write(tmp_path, policy)).sha256)
    policy = content()
    del policy["overrides"]["carry"]
    hashes.add(load_policy(write(tmp_path, policy)).sha256)
    assert len(hashes) == 3


def test_the_hash_covers_the_capital_allocation(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    before = load_policy(path).sha256
    allocation = tmp_path / "capital" / "allocation.yaml"
    allocation.write_text(allocation.read_text().replace("value: 2000000", "value: 2000001"))
    assert load_policy(path).sha256 != before


def test_an_override_replaces_one_threshold_of_one_type_only() -> None:
    policy = load_policy(FILE)
    assert policy.for_type(StrategyType.SWING).data_quality.completeness.value == 0.999
    makers = policy.for_type(StrategyType.MARKET_MAKING)
    assert makers.data_quality.completeness.value == 0.9999
    assert makers.data_quality.unresolved_findings == policy.data_quality.unresolved_findings
    assert makers.statistics == policy.statistics


def test_a_transition_has_exactly_its_families(tmp_path: Path) -> None:
    policy = content()
    del policy["robustness"]
    with pytest.raises(PolicyError, match="robustness: Field required"):
        load_policy(write(tmp_path, policy))
    path = write(
        tmp_path, content() | {"latency": yaml.safe_load(FILE.with_stem("paper_to_canary").read_text())["latency"]}
    )
    with pytest.raises(PolicyError, match="latency: not asked for by paper"):
        load_policy(path)


@pytest.mark.parametrize(
    "override",
    [
        {"risk": {"participation": None}},
        {"risk": {"participation": {"value": 0.5}}},
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
        policy.risk.participation.value = 1.0
