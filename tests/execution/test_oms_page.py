"""The page for authors of order management systems says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from research_to_prod.execution.contracts import INBOX_KINDS, REQUIRED_KINDS
from research_to_prod.execution.inbox import read_inbox
from research_to_prod.execution.mapping import Mapping

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "oms.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_lists_every_kind_its_day_and_whether_it_must_come() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `(\w+)` \| (\w*) ?\|$", PAGE, re.MULTILINE)
    assert [(kind, at, bool(required)) for kind, at, required in rows] == [
        (kind, schema.partition_by.column, kind in REQUIRED_KINDS)
        for kind, schema in INBOX_KINDS.items()
        if schema.partition_by is not None
    ]


def test_the_pages_example_delivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], "docs/oms.md", "exec"), {})  # noqa: S102 - our own page
    assert read_inbox(tmp_path / "data" / "inbox", "positions", "2026-01-05").rows.num_rows == 1


def test_the_pages_mapping_is_one() -> None:
    (mapping,) = blocks("yaml")
    Mapping(name="example", **yaml.safe_load(mapping))
