"""`r2p new` writes files that load, run and pass their own tests, and never writes over anybody's work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.research.candidate import load_candidate
from research_to_prod.settings import Settings
from research_to_prod.values import StrategyType

ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "universe.yaml").write_bytes((Settings().desk / "universe.yaml").read_bytes())
    monkeypatch.setenv("R2P_DESK", str(desk))
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    return desk


def new(*words: str) -> str:
    done = CliRunner().invoke(app, ["new", *words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("kind", list(StrategyType))
def test_a_new_candidate_of_a_new_strategy_of_any_type_loads(desk: Path, kind: StrategyType) -> None:
    new("strategy", "my_idea", "--type", kind.value)
    new("candidate", "my_idea_btc", "--strategy", "my_idea", "--owner", "user:ann")
    candidate = load_candidate(desk / "candidates" / "my_idea_btc.yaml", desk / "strategies")
    assert (candidate.type, candidate.owner, candidate.universe) == (kind, "user:ann", ("BTC/USDT",))
    assert [len(values) for values in candidate.search_space.values()] == [3]


@pytest.mark.slow
def test_the_tests_that_come_with_a_strategy_pass_for_positions_and_for_quotes(desk: Path) -> None:
    new("strategy", "my_positions", "--type", "swing")
    new("strategy", "my_quotes", "--type", "market_making")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(desk / "tests")]
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "18 passed" in done.stdout


def test_a_strategy_that_looks_ahead_fails_the_tests_that_came_with_it(desk: Path) -> None:
    new("strategy", "my_idea", "--type", "swing")
    path = desk / "strategies" / "my_idea.py"
    honest = path.read_text()
    path.write_text(honest.replace("price[lookback:] > price[:-lookback]", "price[lookback:] > price[-1]"))
    assert path.read_text() != honest
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(desk / "tests")]
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, check=False)
    assert "FAILED" in done.stdout
    assert "test_it_does_not_look_ahead" in done.stdout


def test_nothing_is_written_over(desk: Path) -> None:
    new("strategy", "my_idea", "--type", "swing")
    path = desk / "strategies" / "my_idea.py"
    path.write_text("# a week's work\n")
    again = CliRunner().invoke(app, ["new", "strategy", "my_idea", "--type", "carry"])
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert path.read_text() == "# a week's work\n"


@pytest.mark.parametrize("name", ["../evil", "My Idea", "x", "a" * 65])
def test_a_name_that_could_not_be_a_partition_is_refused(desk: Path, name: str) -> None:
    refused = CliRunner().invoke(app, ["new", "strategy", name, "--type", "swing"])
    assert refused.exit_code == 2
    assert not (desk / "strategies").exists()


def test_a_market_that_the_universe_has_not_is_refused_with_those_it_has(desk: Path) -> None:
    new("strategy", "my_idea", "--type", "swing")
    refused = CliRunner().invoke(app, ["new", "candidate", "one", "--strategy", "my_idea", "--market", "XRP/USDT"])
    assert refused.exit_code == 2
    assert "ETH/USDT" in refused.output
