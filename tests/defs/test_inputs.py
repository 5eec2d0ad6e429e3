"""What a study reads: the strategy as it was materialized, and a refusal to go on when its file moved on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import research_to_prod
from research_to_prod.defs.research.inputs import read_candidate, require_unchanged
from research_to_prod.lake import Lake
from research_to_prod.research.candidate import Candidate, load_candidates
from research_to_prod.research.candidate_table import CANDIDATE, candidate_to_table
from research_to_prod.research.strategy import load_strategy
from research_to_prod.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    desk = shutil.copytree(Path(research_to_prod.__file__).parent / "desk", tmp_path / "desk")
    return Settings(data=tmp_path / "data", desk=Path(desk))


@pytest.fixture
def candidate(settings: Settings) -> Candidate:
    return load_candidates(settings.desk / "candidates")[0]


def file_of(settings: Settings, candidate: Candidate) -> Path:
    return settings.desk / "strategies" / f"{candidate.strategy}.py"


def test_the_strategy_is_read_as_it_was_when_the_candidate_was_materialized(
    settings: Settings, candidate: Candidate
) -> None:
    lake, file = Lake(settings.lake), file_of(settings, candidate)
    rows = candidate_to_table(candidate, load_strategy(file.parent, candidate.strategy))
    lake.write("candidate", candidate.name, rows, CANDIDATE)
    source = file.read_text(encoding="utf-8")
    file.write_text("raise RuntimeError", encoding="utf-8")
    found, strategy, snapshot = read_candidate(lake, candidate.name)
    assert (found, strategy.source) == (candidate, source)
    assert snapshot.versions == (lake.version("candidate", candidate.name),)


def test_nothing_new_is_made_or_decided_of_a_candidate_whose_strategy_was_edited_or_taken_away(
    settings: Settings, candidate: Candidate
) -> None:
    file = file_of(settings, candidate)
    require_unchanged(settings, candidate)
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="materialize candidate again"):
        require_unchanged(settings, candidate)
    file.unlink()
    with pytest.raises(ValueError, match="materialize candidate again"):
        require_unchanged(settings, candidate)
