"""`r2p deliver`, as an operator with a venue's export types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.execution.inbox import read_inbox

COLUMNS = "venue,fill_id,symbol,side,amount,price,fee,fee_currency,ts"
FILL = "coinbase,{id},BTC-USD,buy,0.5,20000,10,USD,2026-01-0{day}T10:00:00Z"


@pytest.fixture
def r2p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    return lambda *arguments: CliRunner().invoke(app, ["deliver", *map(str, arguments)])


def export(path: Path, *days: int) -> Path:
    path.write_text("\n".join([COLUMNS, *(FILL.format(id=number, day=day) for number, day in enumerate(days))]) + "\n")
    return path


def test_an_export_becomes_a_file_a_day_and_again_changes_nothing(r2p: Callable[..., Result], tmp_path: Path) -> None:
    path = export(tmp_path / "fills.csv", 2, 3, 3)
    told = r2p(path, "--mapping", "coinbase_fills")
    assert told.exit_code == 0, told.output
    assert told.output == f"{path}: fills of 2026-01-02, 2026-01-03\n"
    inbox = tmp_path / "data" / "inbox"
    assert read_inbox(inbox, "fills", "2026-01-03").rows.num_rows == 2
    before = {file: file.read_bytes() for file in inbox.rglob("*.*")}
    again = json.loads(r2p(path, "--mapping", "coinbase_fills", "--json").output)
    assert (again["kind"], len(again["files"])) == ("fills", 2)
    assert {file: file.read_bytes() for file in inbox.rglob("*.*")} == before


def test_what_is_no_export_of_that_kind_is_refused_in_words(r2p: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for arguments, says in (
        ((tmp_path / "other.csv", "--mapping", "coinbase_fills"), "missing column"),
        ((tmp_path / "nowhere.csv", "--mapping", "coinbase_fills"), "No such file"),
        ((tmp_path / "other.csv", "--mapping", "../secret"), "there are: coinbase_fills, hyperliquid_fills"),
    ):
        told = r2p(*arguments)
        assert told.exit_code == 2
        assert says in " ".join(told.output.replace("│", " ").split())
    assert not (tmp_path / "data").exists()
