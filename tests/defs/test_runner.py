"""The persistent instance under several processes, each of them a user's `r2p run` or UI."""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from research_to_prod.defs.runner import Run, failed, open_instance
from research_to_prod.settings import Settings

OPEN = """
import sys, time
from pathlib import Path
from research_to_prod.defs.runner import open_instance
from research_to_prod.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
with open_instance(Settings(data=Path(sys.argv[1]))) as instance:
    print(len(instance.get_runs()))
"""


@pytest.mark.slow
def test_processes_that_open_a_new_instance_at_once_all_find_it_whole(tmp_path: Path) -> None:
    """Two `r2p run` on fresh data stamped SQLite's schema twice, which broke the instance for good."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OPEN, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    answers = [each.communicate(timeout=120) for each in processes]
    assert [out for out, _ in answers] == ["0\n"] * 4, json.dumps([error[-600:] for _, error in answers])
    with open_instance(Settings(data=tmp_path)) as instance:
        assert instance.get_runs() == []


def test_a_failed_run_says_which_checks_and_steps_failed_and_why() -> None:
    @dg.asset
    def candles() -> None: ...

    @dg.asset_check(asset=candles, blocking=True)
    def adds_up() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description="2 bars against 3")

    @dg.asset_check(asset=candles)
    def is_recent() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    @dg.asset
    def broken() -> None:
        raise ValueError("no such file\nand more")

    @dg.asset
    def refused() -> None:
        raise dg.Failure("a refused, 2 reasons:\n- gate x\n- gate y", allow_retries=False)

    result = dg.materialize([candles, adds_up, is_recent, broken, refused], raise_on_error=False)
    run = Run("market_data", "2024-01", result.run_id, result.success, tuple(sorted(failed(result))))
    assert run.failure().splitlines() == [
        f"market_data 2024-01 failed: run {result.run_id} in `make dev`",
        "  a refused, 2 reasons:",
        "  - gate x",
        "  - gate y",
        "  broken: ValueError: no such file",
        "  candles, check adds_up: 2 bars against 3",
    ]
