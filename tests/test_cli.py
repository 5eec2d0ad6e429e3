"""What a wrong input to `r2p` gets: one message that names it and what would be right, and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def r2p(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "research_to_prod.cli", *arguments],
        env={**os.environ, "R2P_DATA": str(folder / "data"), "COLUMNS": "400", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def refused(answer: subprocess.CompletedProcess[str], *told: str) -> bool:
    return (
        answer.returncode == 2
        and "Traceback" not in answer.stderr
        and all(each in answer.stderr.replace("\n", " ") for each in told)
    )


@pytest.mark.parametrize("command", [["demo"], ["run", "market_data", "2023-01"], ["ledger"], ["ui"]])
def test_a_misspelt_setting_is_named_with_those_that_exist(command: list[str], tmp_path: Path) -> None:
    answer = r2p(tmp_path, *command, R2P_DATE="x")
    assert refused(answer, "unknown settings R2P_DATE", "R2P_BROKER, R2P_DATA, R2P_DESK"), answer.stderr
    assert not (tmp_path / "data").exists()


def test_a_wrong_universe_is_named_with_its_field(tmp_path: Path) -> None:
    (tmp_path / "universe.yaml").write_text("markets: [{venue: v, symbol: ../etc, timeframe: 1h, since: 2024-01-01}]")
    answer = r2p(tmp_path, "run", "market_data", "2024-01", R2P_DESK=str(tmp_path))
    assert refused(answer, "universe.yaml", "markets.0.symbol", "no ccxt unified symbol"), answer.stderr


@pytest.mark.slow
def test_a_job_or_a_partition_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    answer = r2p(tmp_path, "run", "markets", "2024-01")
    assert refused(answer, "there is no job 'markets'", "market_data"), answer.stderr
    answer = r2p(tmp_path, "run", "market_data", "2099-01")
    assert refused(answer, "has no partition 2099-01; it has 2023-01 to"), answer.stderr
