"""The capital allocation: whole, explained, hashed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from research_to_prod.gates.capital import load_allocation
from research_to_prod.gates.thresholds import PolicyError
from tests.gates.good_evidence import POLICIES

FILE = POLICIES.parent / "capital" / "allocation.yaml"


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def written(folder: Path, allocation: dict[str, Any]) -> Path:
    path = folder / FILE.name
    path.write_text(yaml.safe_dump(allocation))
    return path


def test_the_risk_budgets_of_all_types_are_the_whole_book(tmp_path: Path) -> None:
    allocation = content()
    allocation["types"]["swing"]["risk_budget"]["value"] = 0.4
    with pytest.raises(PolicyError, match=r"add up to 1\.1, not to 1"):
        load_allocation(written(tmp_path, allocation))


def test_a_type_without_a_budget_is_refused(tmp_path: Path) -> None:
    allocation = content()
    del allocation["types"]["carry"]
    with pytest.raises(PolicyError, match="carry is missing"):
        load_allocation(written(tmp_path, allocation))


@pytest.mark.parametrize("name", [name for name in content() if name not in ("currency", "types")])
def test_no_number_can_be_left_out_or_be_zero(tmp_path: Path, name: str) -> None:
    allocation = content()
    allocation[name]["value"] = 0
    with pytest.raises(PolicyError, match=name):
        load_allocation(written(tmp_path, allocation))
    del allocation[name]
    with pytest.raises(PolicyError, match=f"{name}: Field required"):
        load_allocation(written(tmp_path, allocation))


def test_the_digest_follows_the_numbers_not_the_layout(tmp_path: Path) -> None:
    allocation = content()
    assert load_allocation(written(tmp_path, allocation)).sha256 == load_allocation(FILE).sha256
    allocation["venue_cap"]["value"] = 0.36
    assert load_allocation(written(tmp_path, allocation)).sha256 != load_allocation(FILE).sha256
