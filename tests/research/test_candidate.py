"""Candidate files: what is accepted, and that every error names its file and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import research_to_prod
from research_to_prod.research.candidate import Candidate, CandidateError, Window, load_candidate, load_candidates
from research_to_prod.research.strategy import load_strategy

STRATEGIES = Path(research_to_prod.__file__).parent / "desk" / "strategies"
GOOD: dict[str, Any] = {
    "name": "some_candidate",
    "owner": "team:research",
    "hypothesis": "Prices that moved for three days keep moving for another one or two.",
    "strategy": "momentum",
    "type": "swing",
    "venue": "sandbox",
    "universe": ["BTC/USDT", "ETH/USDT:USDT"],
    "timeframe": "1h",
    "window": {"start": "2023-11-01", "end": "2024-02-01"},
    "parameters": {"lookback_hours": 72, "rebalance_hours": 24},
    "search_space": {"lookback_hours": [48, 72], "rebalance_hours": [12, 24]},
    "capital": "100000",
}


def write(folder: Path, **changes: Any) -> Path:
    content = {**GOOD, **changes}
    path = folder / f"{GOOD['name']}.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not ...}))
    return path


def load(folder: Path, **changes: Any) -> Candidate:
    return load_candidate(write(folder, **changes), STRATEGIES)


def test_a_good_file_gives_a_candidate_with_its_months_and_grid(tmp_path: Path) -> None:
    candidate = load(tmp_path)
    assert candidate.window.months == ("2023-11", "2023-12", "2024-01")
    assert candidate.window.end_at.isoformat() == "2024-02-01T00:00:00+00:00"
    strategy = load_strategy(STRATEGIES, "momentum")
    grid = candidate.grid(strategy)
    assert len(grid) == 4
    assert candidate.own_parameters(strategy) in grid
    assert len({candidate.trial_id(parameters) for parameters in grid}) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Some-Candidate"}, "name: String should match"),
        ({"execution": {"delay_bars": 0}}, "execution.delay_bars: Input should be greater"),
        ({"execution": {"participation_cap": 2}}, "execution.participation_cap: Input should be less"),
        ({"instruments": {"BTC/USDT": {"lots": 1}}}, "lots: Extra inputs"),
        ({"instruments": {"SOL/USDT": {"lot": 1}}}, "SOL/USDT is not in the universe"),
        ({"instruments": {"ETH/USDT:USDT": {"borrow_rate": 0.1}}}, "is a perpetual, which is not borrowed"),
        ({"name": "../../etc"}, "name: String should match"),
        ({"name": "other_candidate"}, "name: 'other_candidate' must be the file's name"),
        ({"owner": "bob"}, "owner: String should match"),
        ({"hypothesis": "it goes up"}, "hypothesis: String should have at least 40"),
        ({"strategy": "no_such"}, "strategy: no strategy 'no_such'"),
        ({"type": "carry"}, "type: carry must be that of strategy momentum, swing"),
        ({"universe": []}, "universe: "),
        ({"universe": ["btcusdt"]}, "universe.0: "),
        ({"universe": ["BTC/USDT", "BTC/USDT"]}, "symbols repeat"),
        ({"timeframe": "1hour"}, "timeframe: "),
        ({"window": {"start": "2023-01-15", "end": "2024-01-01"}}, "first day of a month"),
        ({"window": {"start": "2024-01-01", "end": "2024-01-01"}}, "must lie before end"),
        ({"parameters": {"lookback_hours": 1}}, "parameters.lookback_hours: "),
        ({"parameters": {"look": 1}}, "parameters.look: "),
        ({"parameters": {"lookback_hours": 96}}, "96 is not among the values of search_space.lookback_hours"),
        ({"search_space": {"look": [1]}}, "search_space.look: strategy momentum has no such parameter"),
        ({"search_space": {"lookback_hours": []}}, "values are missing or repeat for lookback_hours"),
        ({"search_space": {"lookback_hours": [72, 72]}}, "values are missing or repeat"),
        ({"search_space": {"lookback_hours": [72, 0]}}, "a combination is refused: lookback_hours"),
        ({"capital": "0"}, "capital: "),
        ({"capital": "NaN"}, "capital: "),
        ({"costs": {"taker_fee": -0.1}}, "costs.taker_fee: "),
        ({"window": ...}, "window: Field required"),
        ({"n_trials": 1}, "n_trials: Extra inputs"),
        ({"strategy_sha256": "0" * 64}, "strategy_sha256: is computed"),
    ],
)
def test_an_error_names_the_file_and_the_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CandidateError) as error:
        load(tmp_path, **changes)
    assert "some_candidate.yaml: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "", "\x00"])
def test_a_file_that_is_no_mapping_is_an_error_of_that_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(CandidateError, match=r"broken\.yaml"):
        load_candidate(path, STRATEGIES)


def test_all_wrong_files_are_reported_together(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**GOOD, "name": name, "capital": "-1"}))
    with pytest.raises(CandidateError, match=r"(?s)first\.yaml: capital.*second\.yaml: capital"):
        load_candidates(tmp_path, STRATEGIES)


def test_the_digest_follows_meaning_not_layout(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = load_candidate(path, STRATEGIES).sha256
    path.write_text("# a remark\n" + path.read_text())
    assert load_candidate(path, STRATEGIES).sha256 == before
    assert load(tmp_path, capital="100001").sha256 != before


def test_the_digest_changes_with_the_strategys_source(tmp_path: Path) -> None:
    source = (STRATEGIES / "momentum.py").read_text()
    digests = []
    for text in (source, source + "\n# changed\n"):
        (tmp_path / "momentum.py").write_text(text)
        digests.append(load_candidate(write(tmp_path), tmp_path).sha256)
    assert digests[0] != digests[1]


def test_the_identity_of_a_trial_ignores_the_candidates_name_and_the_order_of_the_universe(tmp_path: Path) -> None:
    strategy = load_strategy(STRATEGIES, "momentum")
    one = load(tmp_path)
    other = one.model_copy(update={"name": "renamed", "universe": one.universe[::-1], "owner": "user:x"})
    parameters = one.own_parameters(strategy)
    assert one.trial_id(parameters) == other.trial_id(parameters)
    assert one.trial_id(parameters) != one.model_copy(update={"timeframe": "4h"}).trial_id(parameters)


def test_a_window_across_a_year_counts_its_months() -> None:
    window = Window.model_validate({"start": "2023-01-01", "end": "2026-01-01"})
    assert (len(window.months), window.months[0], window.months[-1]) == (36, "2023-01", "2025-12")


def test_the_desks_own_candidates_load() -> None:
    candidates = load_candidates(STRATEGIES.parent / "candidates")
    assert [candidate.name for candidate in candidates] == sorted(candidate.name for candidate in candidates)
    assert len(candidates) >= 4
