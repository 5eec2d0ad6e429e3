"""`r2p incident`: a person takes, ends and reviews an incident, and is told in words what can't be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from research_to_prod.cli import app
from research_to_prod.commands.incident import _ask
from research_to_prod.execution.contracts import INBOX_KINDS
from tests.operations.alerting.book import ACCOUNT, reading
from tests.operations.incidents.firings import Play

REVIEW = """
scenario: lost-order-2026-01
began_at: 2026-01-05T11:58:00Z
detected_by: unknown_order
cause: A second process used the key that only the executor should have.
loss: null
actions:
  - {what: The executor gets a key of its own, owner: "team:operations", due: 2026-02-01}
"""


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setenv("R2P_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    found = Play(tmp_path / "operations")
    found.see(reading("unknown_orders", 1, ACCOUNT))
    return found


def r2p(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["incident", *arguments])


def test_a_person_takes_ends_and_reviews_an_incident(play: Play, tmp_path: Path) -> None:
    name = play.only.id
    listed = r2p("list")
    assert name in listed.output
    assert "nobody" in listed.output
    assert r2p("ack", name[:6], "--by", "user:ana").output.startswith(f"{name} is acked, P1, sandbox main")
    assert r2p("mitigate", name, "--by", "user:ana", "--note", "key revoked").exit_code == 0
    assert r2p("resolve", name, "--by", "user:ana", "--note", "no orders left").exit_code == 0
    (tmp_path / "review.yaml").write_text(REVIEW)
    assert r2p("review", name, "--by", "user:ben", "--file", str(tmp_path / "review.yaml")).exit_code == 0
    assert name not in r2p("list").output
    assert name in r2p("list", "--all").output
    shown = r2p("show", name).output
    assert "An order that is not ours" in shown
    assert "scenario lost-order-2026-01" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ack", "{id}", "--by", "ana"], "not of the form user:NAME"),
        (["resolve", "{id}", "--by", "user:ana", "--note", "fine"], "nobody has acknowledged it"),
        (["suppress", "{id}", "--by", "user:ana", "--note", "known", "--hours", "1"], "unknown_order is never muted"),
        (["review", "{id}", "--by", "user:ana", "--file", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(play: Play, arguments: list[str], told: str) -> None:
    file = play.folder / "incidents.jsonl"
    before = file.read_bytes()
    answer = r2p(*(each.format(id=play.only.id) for each in arguments))
    assert answer.exit_code == 2
    assert told in " ".join(answer.output.replace("│", "").split())
    assert file.read_bytes() == before


def test_an_incident_that_does_not_exist_is_said(play: Play) -> None:
    answer = r2p("ack", "zzz", "--by", "user:ana")
    assert answer.exit_code == 1
    assert "names 0 incidents" in answer.output


def test_the_heartbeat_command_fails_where_there_is_no_sign_of_life(play: Play) -> None:
    answer = r2p("heartbeat")
    assert answer.exit_code == 1
    assert "no readable heartbeat" in answer.output


def test_the_alerter_sees_the_acknowledgement_at_its_next_turn(play: Play) -> None:
    r2p("ack", play.only.id, "--by", "user:ana")
    play.now += timedelta(hours=1)
    assert play.wait(1_000) == []


def test_the_runbook_is_shown_with_its_numbers_and_what_its_queries_find(play: Play, tmp_path: Path) -> None:
    without = r2p("runbook", play.only.id).output
    assert "sandbox in main that no intent of ours explains" in " ".join(without.split())
    assert "r2p run publish_warehouse" in without
    with duckdb.connect(tmp_path / "warehouse.duckdb") as warehouse:
        warehouse.register("incoming", INBOX_KINDS["orders"].empty())
        warehouse.execute("CREATE TABLE orders AS FROM incoming")
    found = r2p("runbook", play.only.id)
    assert found.exit_code == 0
    assert "end_reason" in found.output


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT content FROM read_text('{outside}')",
        "COPY (SELECT 1) TO '{outside}'",
        "ATTACH '{outside}.duckdb'",
        "SET enable_external_access = true",
        "DROP TABLE orders",
        "SELECT",
    ],
)
def test_a_query_leaves_neither_the_warehouse_nor_the_screen_in_disorder(tmp_path: Path, sql: str) -> None:
    (tmp_path / "outside").write_text("hunter2")
    with duckdb.connect(tmp_path / "warehouse.duckdb") as warehouse:
        warehouse.execute("CREATE TABLE orders AS SELECT 1 AS n")
    found = _ask(tmp_path / "warehouse.duckdb", sql.format(outside=tmp_path / "outside"))
    assert "Error" in found.problem
    assert found.rows == ()
    assert "hunter2" not in found.problem
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "warehouse.duckdb"]
    with duckdb.connect(tmp_path / "warehouse.duckdb") as warehouse:
        assert warehouse.sql("SELECT n FROM orders").fetchall() == [(1,)]
