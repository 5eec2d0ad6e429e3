"""Findings: stored and read back, sorted by urgency, settled by declared repairs; the policy that they cite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import research_to_prod
from research_to_prod.market_data.findings import Finding, Level, findings_from, findings_table, resolve
from research_to_prod.market_data.quality_policy import Limit, QualityPolicyError, load_quality_policy

FILE = Path(research_to_prod.__file__).parent / "desk" / "policies" / "market_quality.yaml"
AT = datetime(2024, 2, 3, 4, tzinfo=UTC)
FOUND = Finding(
    venue="v",
    symbol="A/Q",
    timeframe="1h",
    month="2024-02",
    rule="broken_print",
    level=Level.ERROR,
    against="",
    first_at=AT,
    last_at=AT + timedelta(hours=2),
    rows=3,
    value=0.4,
    threshold=0.1,
    unit="log price",
    confidence=0.9,
    what="three opens",
    cost="profit that never was",
    remedy="drop them",
)


@dataclass(frozen=True)
class Declared:
    id: str = "r1"
    rules: tuple[str, ...] = ("broken_print", "wick")
    venue: str = "v"
    symbol: str = "A/Q"
    timeframe: str = "1h"
    start: datetime = AT
    end: datetime = AT + timedelta(hours=3)


def test_findings_survive_their_table_most_urgent_first() -> None:
    info, warning = replace(FOUND, rule="a", level=Level.INFO), replace(FOUND, rule="b", level=Level.WARNING)
    table = findings_table([info, warning, FOUND], "2024-02")
    assert findings_from(table) == (FOUND, warning, info)
    assert findings_table([], "2024-02").num_rows == 0


def test_one_rule_may_find_two_things_at_one_time_against_two_others() -> None:
    copies = [replace(FOUND, against=name) for name in ("w A/Q 1h", "x A/Q 1h")]
    assert findings_table(copies, "2024-02").num_rows == 2


def test_a_repair_that_covers_the_bars_settles_the_finding() -> None:
    (settled,) = resolve([FOUND], [Declared()])
    assert settled == replace(FOUND, resolved_by="r1")


@pytest.mark.parametrize(
    "change",
    [
        {"rules": ("wick",)},
        {"venue": "w"},
        {"symbol": "A/Q:Q"},
        {"timeframe": "1d"},
        {"start": AT + timedelta(microseconds=1)},
        {"end": AT + timedelta(hours=2)},  # the last bar opens then: it is not covered
    ],
)
def test_a_repair_of_something_else_settles_nothing(change: dict[str, Any]) -> None:
    (open_,) = resolve([FOUND], [replace(Declared(), **change)])
    assert open_.resolved_by is None


def test_a_repair_that_was_withdrawn_settles_nothing_any_more() -> None:
    (open_,) = resolve([replace(FOUND, resolved_by="r1")], [])
    assert open_.resolved_by is None


def test_of_several_repairs_the_first_by_id_is_named() -> None:
    (settled,) = resolve([FOUND], [Declared("r2"), Declared("r1")])
    assert settled.resolved_by == "r1"


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def limits() -> list[tuple[str, str]]:
    return [(family, name) for family, members in content().items() if family != "id" for name in members]


def write(folder: Path, policy: dict[str, Any]) -> Path:
    path = folder / FILE.name
    path.write_text(yaml.safe_dump(policy))
    return path


def test_every_threshold_has_its_unit_and_says_why() -> None:
    policy = load_quality_policy(FILE)
    for family, name in limits():
        limit = getattr(getattr(policy, family), name)
        assert isinstance(limit, Limit)
        assert limit.why.endswith(".")


def test_no_threshold_is_without_a_rule_that_uses_it() -> None:
    rules = Path(research_to_prod.__file__).parent / "market_data"
    code = "".join(source.read_text() for source in [*(rules / "rules").glob("*.py"), rules / "quality.py"])
    assert [name for _, name in limits() if f".{name}" not in code] == []


@pytest.mark.parametrize(("family", "name"), limits())
def test_a_threshold_can_be_neither_left_out_nor_emptied(tmp_path: Path, family: str, name: str) -> None:
    policy = content()
    for change in ({"value": 0}, {"value": float("nan")}, {"why": "because"}, {"unit": ""}, {"off": True}):
        broken = {**policy, family: {**policy[family], name: policy[family][name] | change}}
        with pytest.raises(QualityPolicyError, match=rf"{family}\.{name}"):
            load_quality_policy(write(tmp_path, broken))
    del policy[family][name]
    with pytest.raises(QualityPolicyError, match=rf"{family}\.{name}: Field required"):
        load_quality_policy(write(tmp_path, policy))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(QualityPolicyError, match="cannot be read"):
        load_quality_policy(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(QualityPolicyError, match="not readable as YAML"):
        load_quality_policy(tmp_path / "bad.yaml")
