"""The policy of rollback: complete, explained, hashed; and the thresholds that follow from its budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import research_to_prod
from research_to_prod.gates.statistics import cusum_average_run_length, cusum_threshold
from research_to_prod.promotion.rollback.design import Design, daily_shift, design
from research_to_prod.promotion.rollback.policy import RollbackPolicy, RollbackPolicyError, load_rollback_policy
from research_to_prod.values import StrategyType

FILE = Path(research_to_prod.__file__).parent / "desk" / "policies" / "rollback.yaml"


def content() -> dict[str, Any]:
    loaded = yaml.safe_load(FILE.read_text())
    assert isinstance(loaded, dict)
    return loaded


def write(folder: Path, policy: dict[str, Any]) -> Path:
    path = folder / FILE.name
    path.write_text(yaml.safe_dump(policy))
    return path


def leaves() -> Iterator[tuple[str, str]]:
    for family, numbers in content().items():
        if family not in {"id", "overrides"}:
            yield from ((family, name) for name in numbers)


def test_the_desks_policy_loads_and_every_number_says_why(policy: RollbackPolicy) -> None:
    for family, name in leaves():
        assert getattr(getattr(policy, family), name).why.endswith(".")


@pytest.mark.parametrize(("family", "name"), list(leaves()))
def test_a_number_cannot_be_left_out(tmp_path: Path, family: str, name: str) -> None:
    policy = content()
    del policy[family][name]
    with pytest.raises(RollbackPolicyError, match=rf"rollback\.yaml: {family}\.{name}: Field required"):
        load_rollback_policy(write(tmp_path, policy))


@pytest.mark.parametrize(
    ("family", "name", "change", "message"),
    [
        ("limits", "clean_reads_of_equity", {"value": 2}, "greater than or equal to 3"),
        ("limits", "clean_reads_of_equity", {"value": 3.5}, "multiple of 1"),
        ("limits", "loss", {"value": 1.5}, "less than 1"),
        ("limits", "position", {"value": 0}, "greater than 0"),
        ("limits", "leverage", {"value": float("inf")}, "finite"),
        ("edge", "false_alarms_a_year", {"value": 0}, "greater than 0"),
        ("edge", "false_alarms_a_year", {"why": "because"}, "at least 30 characters"),
        ("canary", "wrongly_kept", {"value": 0.5}, "less than 0.5"),
        ("implementation", "shift", {"value": 1.0}, "less than 1"),
        ("standardisation", "clip", {"value": 1.0}, "greater than or equal to 2"),
        ("standardisation", "reference_confidence", {"value": 0.4}, "greater than or equal to 0.5"),
        ("book", "strategies", {"off": True}, "Extra inputs"),
    ],
)
def test_a_number_that_switches_a_detector_off_is_refused(
    tmp_path: Path, family: str, name: str, change: dict[str, Any], message: str
) -> None:
    policy = content()
    policy[family][name] |= change
    with pytest.raises(RollbackPolicyError, match=message):
        load_rollback_policy(write(tmp_path, policy))


@pytest.mark.parametrize(
    "override",
    [
        {"limits": {"leverage": None}},
        {"limits": {"leverage": {"value": 5}}},
        {"limits": {"lev": {"value": 5, "why": "A sentence that is long enough to count."}}},
        {"book": {"strategies": {"value": 1, "why": "One budget can't have two sizes of one book."}}},
        {"luck": {}},
    ],
)
def test_an_override_can_neither_drop_a_number_nor_invent_one(tmp_path: Path, override: dict[str, Any]) -> None:
    with pytest.raises(RollbackPolicyError):
        load_rollback_policy(write(tmp_path, content() | {"overrides": {"carry": override}}))


def test_files_that_are_absent_or_not_yaml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RollbackPolicyError, match="cannot be read"):
        load_rollback_policy(tmp_path / "rollback.yaml")
    (tmp_path / "rollback.yaml").write_text("a: [")
    with pytest.raises(RollbackPolicyError, match="not readable"):
        load_rollback_policy(tmp_path / "rollback.yaml")


def test_the_hash_follows_numbers_reasons_and_overrides_but_not_the_layout(
    tmp_path: Path, policy: RollbackPolicy
) -> None:
    assert load_rollback_policy(write(tmp_path, content())).sha256 == policy.sha256
    hashes = {policy.sha256}
    for family, name, field, value in (
        ("limits", "loss", "value", 0.0500001),
        ("limits", "loss", "why", "Another sentence of more than thirty characters."),
    ):
        changed = content()
        changed[family][name][field] = value
        hashes.add(load_rollback_policy(write(tmp_path, changed)).sha256)
    hashes.add(load_rollback_policy(write(tmp_path, content() | {"overrides": {}})).sha256)
    assert len(hashes) == 4


def test_an_override_changes_its_type_only(policy: RollbackPolicy, shipped: Design) -> None:
    maker = design(policy, StrategyType.MARKET_MAKING)
    assert (shipped.orders_a_minute, maker.orders_a_minute) == (30, 1200)
    assert (maker.edge, maker.policy_sha256) == (shipped.edge, shipped.policy_sha256)


def test_thresholds_spend_exactly_the_budget_of_the_book(policy: RollbackPolicy, shipped: Design) -> None:
    in_the_book = policy.book.strategies.value
    edge = cusum_average_run_length(shipped.edge.reference, shipped.edge.threshold, 0.0)
    assert 365 * in_the_book / edge == pytest.approx(policy.edge.false_alarms_a_year.value, rel=1e-6)
    chart = shipped.implementation
    two_sided = cusum_average_run_length(chart.reference, chart.threshold, 0.0, two_sided=True)
    assert 365 * in_the_book / two_sided == pytest.approx(policy.implementation.false_alarms_a_year.value, rel=1e-6)
    assert math.expm1(shipped.audit_limit) == pytest.approx(365 * in_the_book)


@pytest.mark.parametrize("family", ["edge", "implementation"])
def test_a_smaller_budget_raises_its_own_threshold(policy: RollbackPolicy, family: str) -> None:
    plain, thresholds = policy.model_dump(), []
    for budget in (1.0, 0.5):
        plain[family]["false_alarms_a_year"]["value"] = budget
        changed = design(RollbackPolicy.model_validate(plain), StrategyType.SWING)
        thresholds.append(getattr(changed, family).threshold)
    assert thresholds[0] < thresholds[1]


def test_the_designs_are_those_of_the_reference_cases(shipped: Design) -> None:
    # Chart and test for a lost Sharpe ratio of 3 (shift 0.157): own solver held to published tables; Wald's limits.
    assert cusum_threshold(0.0785, 730) == pytest.approx(14.935, abs=0.001)
    assert daily_shift(3.0) == pytest.approx(0.157, abs=1e-4)
    assert shipped.edge.reference == shipped.canary_shift / 2
    assert (shipped.canary_upper, shipped.canary_lower) == pytest.approx((2.8903717579, -2.2512917986), abs=1e-9)
