"""What stands ready: a runbook counts when it can be read whole, a drill when every step of it worked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.gates.evidence import ReadinessEvidence
from research_to_prod.gates.readiness_evidence import (
    SECTIONS,
    Drill,
    RunbookError,
    drill_out_of_date,
    last_drill,
    read_runbook,
    readiness_evidence,
    readiness_table,
    runbooks_for,
)
from research_to_prod.operations.contracts import KILL_DRILL
from research_to_prod.research.candidate import load_candidates

DESK = Path(research_to_prod.__file__).parent / "desk"
CANDIDATES = {each.name: each for each in load_candidates(DESK / "candidates")}
NOW = datetime(2026, 2, 1, 3, tzinfo=UTC)
GOOD = "---\nstrategy: momentum\nowner: team:trading\nreviewed_on: 2026-01-02\n---\n# Title\n\n" + "\n".join(
    f"## {each}\n\nText.\n" for each in SECTIONS
)


def written(folder: Path, text: str, name: str = "a.md") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_every_sample_candidate_s_strategy_has_a_runbook() -> None:
    for candidate in CANDIDATES.values():
        assert [each.about.strategy for each in runbooks_for(candidate, DESK / "runbooks" / "strategies")] == [
            candidate.strategy
        ]


def test_a_runbook_may_be_for_a_strategy_or_for_every_one_of_a_type(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, GOOD.replace("strategy: momentum", "type: swing"), "b.md")
    written(tmp_path, GOOD.replace("strategy: momentum", "type: carry"), "c.md")
    found = {name: [each.name for each in runbooks_for(of, tmp_path)] for name, of in CANDIDATES.items()}
    assert found["btc_momentum"] == ["a.md", "b.md"]
    assert found["sol_breakout"] == ["b.md"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("---\nstrategy", "strategy", "no front matter"),
        ("2026-01-02\n---\n", "2026-01-02\n", "no front matter"),
        ("strategy: momentum\n", "", "name a strategy or a type"),
        ("strategy: momentum\n", "strategy: momentum\ntype: swing\n", "and not both"),
        ("owner: team:trading\n", "", "owner"),
        ("owner:", "ovner:", "ovner"),
        ("## Take it back\n\nText.", "## Take it back\n", "says nothing under Take it back"),
        ("## What it does", "## What is it", "What it does"),
        ("reviewed_on: 2026-01-02", "reviewed_on: [", "a.md"),
    ],
)
def test_a_runbook_that_lacks_something_says_what(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(RunbookError, match=says):
        read_runbook(written(tmp_path, GOOD.replace(old, new, 1)))


def test_another_strategy_s_broken_runbook_is_an_error_too(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, "nothing", "b.md")
    with pytest.raises(RunbookError, match=r"b\.md"):
        runbooks_for(CANDIDATES["btc_momentum"], tmp_path)


def test_no_folder_is_no_runbook(tmp_path: Path) -> None:
    assert runbooks_for(CANDIDATES["btc_momentum"], tmp_path / "none") == ()


def steps(*passed: bool) -> pa.Table:
    rows = [
        {"day": "2026-01-31", "venue": "sandbox", "drilled_at": NOW, "number": number, "step": "s", "symbol": "all",
         "passed": each, "milliseconds": 1.0, "detail": ""}
        for number, each in enumerate(passed)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=KILL_DRILL.arrow)


def test_a_drill_worked_when_each_of_its_steps_did_and_none_is_none() -> None:
    assert last_drill(steps(True, True)) == Drill(NOW, worked=True)
    assert last_drill(steps(True, False)) == Drill(NOW, worked=False)
    assert last_drill(steps()) is None
    assert last_drill(None) is None


def test_what_was_seen_reads_back_and_a_failed_drill_is_none_that_worked(tmp_path: Path) -> None:
    runbook = read_runbook(written(tmp_path, GOOD))
    drilled = NOW - timedelta(hours=1)
    table = readiness_table("c", [runbook], Drill(drilled, worked=True), NOW)
    assert readiness_evidence(table) == ReadinessEvidence(("a.md",), drilled, NOW)
    assert {row["sha256"] for row in table.to_pylist()} == {None, runbook.sha256}
    failed = readiness_evidence(readiness_table("c", [], Drill(drilled, worked=False), NOW))
    assert failed == ReadinessEvidence((), None, NOW)
    assert readiness_evidence(readiness_table("c", [], None, NOW)) == failed


@pytest.mark.parametrize(("hours", "refused"), [(0, False), (24, False), (24.1, True), (-0.1, True)])
def test_a_drill_that_was_fresh_when_somebody_looked_may_be_too_old_when_it_is_decided(
    hours: float, refused: bool
) -> None:
    seen = ReadinessEvidence((), NOW, NOW)
    assert bool(drill_out_of_date(seen, NOW + timedelta(hours=hours), 24)) is refused


def test_no_drill_is_the_gate_s_to_refuse() -> None:
    assert drill_out_of_date(ReadinessEvidence(), NOW, 24) == []
