"""The table of candidates: back without loss, and a changed row is noticed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.research.candidate import Candidate, load_candidates
from research_to_prod.research.candidate_table import CANDIDATE, candidate_from_table, candidate_to_table

CANDIDATES = load_candidates(Path(research_to_prod.__file__).parent / "desk" / "candidates")


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
def test_a_candidate_survives_its_table(candidate: Candidate) -> None:
    row = CANDIDATE.conform(candidate_to_table(candidate), candidate.name)
    back = candidate_from_table(row)
    assert back == candidate
    assert back.sha256 == candidate.sha256


def test_a_changed_definition_is_noticed() -> None:
    row = candidate_to_table(CANDIDATES[0]).to_pylist()[0]
    row["definition"] = row["definition"].replace('"venue":"sandbox"', '"venue":"another"')
    with pytest.raises(ValueError, match="hash"):
        candidate_from_table(pa.Table.from_pylist([row], schema=CANDIDATE.arrow))


@pytest.mark.parametrize("rows", [0, 2])
def test_a_candidate_is_exactly_one_row(rows: int) -> None:
    row = candidate_to_table(CANDIDATES[0]).to_pylist()[0]
    with pytest.raises(ValueError, match="one row"):
        candidate_from_table(pa.Table.from_pylist([row] * rows, schema=CANDIDATE.arrow))
