"""The table of candidates: back without loss, and a changed row is noticed."""

from __future__ import annotations

import shutil
import traceback
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.research.candidate import Candidate, load_candidates
from research_to_prod.research.candidate_table import (
    CANDIDATE,
    candidate_from_table,
    candidate_to_table,
    strategy_from_table,
)
from research_to_prod.research.strategy import Strategy, load_strategy

DESK = Path(research_to_prod.__file__).parent / "desk"
CANDIDATES = load_candidates(DESK / "candidates")


def strategy_of(candidate: Candidate) -> Strategy:
    return load_strategy(DESK / "strategies", candidate.strategy)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
def test_a_candidate_survives_its_table(candidate: Candidate) -> None:
    row = CANDIDATE.conform(candidate_to_table(candidate, strategy_of(candidate)), candidate.name)
    back = candidate_from_table(row)
    assert back == candidate
    assert back.sha256 == candidate.sha256


def test_a_changed_definition_is_noticed() -> None:
    row = candidate_to_table(CANDIDATES[0], strategy_of(CANDIDATES[0])).to_pylist()[0]
    row["definition"] = row["definition"].replace('"venue":"sandbox"', '"venue":"another"')
    with pytest.raises(ValueError, match="hash"):
        candidate_from_table(pa.Table.from_pylist([row], schema=CANDIDATE.arrow))


@pytest.mark.parametrize("rows", [0, 2])
def test_a_candidate_is_exactly_one_row(rows: int) -> None:
    row = candidate_to_table(CANDIDATES[0], strategy_of(CANDIDATES[0])).to_pylist()[0]
    with pytest.raises(ValueError, match="one row"):
        candidate_from_table(pa.Table.from_pylist([row] * rows, schema=CANDIDATE.arrow))


def test_the_strategy_that_was_judged_outlives_its_file(tmp_path: Path) -> None:
    """What a candidate's row gives back is what its file said then, whatever was made of the file since."""
    desk = Path(shutil.copytree(DESK, tmp_path / "desk"))
    candidate = CANDIDATES[0]
    file = desk / "strategies" / f"{candidate.strategy}.py"
    rows = candidate_to_table(candidate, load_strategy(file.parent, candidate.strategy))
    file.write_text("raise RuntimeError")
    recorded, original = strategy_from_table(rows), strategy_of(candidate)
    assert recorded.source_sha256 == candidate.strategy_sha256
    own, before = candidate.own_parameters(recorded), candidate.own_parameters(original)
    assert own.model_dump() == before.model_dump()
    assert recorded.warm_up(own) == original.warm_up(before)


def test_a_row_is_of_the_source_that_the_candidate_was_checked_against() -> None:
    with pytest.raises(ValueError, match="was changed while"):
        candidate_to_table(CANDIDATES[0], replace(strategy_of(CANDIDATES[0]), source="# edited"))


def test_a_changed_source_is_noticed_before_a_line_of_it_runs() -> None:
    row = candidate_to_table(CANDIDATES[0], strategy_of(CANDIDATES[0])).to_pylist()[0]
    row["strategy_source"] += "\nraise RuntimeError('it ran')\n"
    with pytest.raises(ValueError, match="recorded source of strategy"):
        strategy_from_table(pa.Table.from_pylist([row], schema=CANDIDATE.arrow))


def test_a_row_from_before_sources_were_kept_is_an_error_that_says_so() -> None:
    rows = candidate_to_table(CANDIDATES[0], strategy_of(CANDIDATES[0])).drop_columns(["strategy_source"])
    with pytest.raises(ValueError, match="stored before its strategy's source"):
        strategy_from_table(rows)


def test_a_traceback_shows_the_lines_that_ran() -> None:
    recorded = strategy_from_table(candidate_to_table(CANDIDATES[0], strategy_of(CANDIDATES[0])))
    with pytest.raises(AttributeError) as raised:
        recorded.warm_up(None)  # type: ignore[arg-type]
    assert "return parameters." in "".join(traceback.format_exception(raised.value))
