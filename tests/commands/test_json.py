"""Every command of `r2p` answers in JSON, and its exit codes are those of the page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import research_to_prod
from research_to_prod.cli import app
from research_to_prod.settings import Settings
from tests.commands.test_answer import strict
from tests.operations.alerting.book import ACCOUNT, reading
from tests.operations.incidents.firings import Play

PAGE = Path(research_to_prod.__file__).parents[1] / "docs" / "command_line.md"
GIVEN = {"by": "user:ann", "to": "paper", "kind": "swing", "on": "2026-01-01", "hours": "1", "person": "user:ann"}
"""What a required word of some meaning is in these tests; any other is a name."""
OFFLINE = {"approve", "verify", "sandbox"}
"""Take files, or nothing at all, and no setting."""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all that can be called, by its words."""
    for name, command in group.commands.items():
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


def required(command: Any) -> list[str]:
    """Return words for what the command can't do without."""
    words = []
    for parameter in command.params:
        if parameter.required:
            given = GIVEN.get(parameter.name, "some_name")
            words += [parameter.opts[0], given] if parameter.opts[0].startswith("-") else [given]
    return words


def in_lines(path: tuple[str, ...]) -> bool:
    return inspect.isgeneratorfunction(inspect.unwrap(ALL[path].callback))


def test_every_command_takes_json() -> None:
    assert len(ALL) > 35
    assert [path for path, command in ALL.items() if "--json" not in {o for p in command.params for o in p.opts}] == []


def test_the_page_says_which_commands_print_lines() -> None:
    rows = re.findall(r"^\| `r2p ([a-z-]+)` \|.*\| (document|lines)[^|]*\|$", PAGE.read_text(), re.MULTILINE)
    streams = {path[0] for path in ALL if len(path) == 1 and in_lines(path)}
    assert {name for name, kind in rows if kind == "lines"} == streams
    assert {name for name, _ in rows} == {path[0] for path in ALL}


@pytest.mark.parametrize("path", [path for path in ALL if path[0] not in OFFLINE], ids=" ".join)
def test_a_wrong_setting_ends_with_2_and_says_so_as_json(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("R2P_DATE", "x")
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, [*path, *required(ALL[path]), "--json"])
    assert (told.exit_code, told.stderr) == (2, ""), told.output
    assert strict(told.stdout)["exit_code"] == 2
    assert list(tmp_path.iterdir()) == []


R2p = Callable[..., Any]


@pytest.fixture
def r2p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> R2p:
    """The command line with --json over a small desk, read by a strict parser."""
    desk = tmp_path / "desk"
    desk.mkdir()
    for each in Settings().desk.iterdir():
        if each.name not in {"candidates", "strategies", "tests"}:
            (desk / each.name).symlink_to(each)
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("R2P_DESK", str(desk))

    def called(*words: object, code: int = 0) -> Any:
        told = CliRunner().invoke(app, [*map(str, words), "--json"])
        assert told.exit_code == code, told.output
        path = max((path for path in ALL if path == words[: len(path)]), key=len)
        return [strict(line) for line in told.stdout.splitlines()] if in_lines(path) else strict(told.stdout)

    return called


def test_a_desk_begins_holds_and_lets_go(r2p: R2p, tmp_path: Path) -> None:
    written = r2p("new", "strategy", "my_idea", "--type", "swing")
    assert [Path(each).exists() for each in written["files"]] == [True, True]
    assert r2p("new", "candidate", "my_idea_btc", "--strategy", "my_idea")["next"]
    (entry,) = r2p("keys", "new-approver", "--person", "user:bob", "--key", tmp_path / "own" / "bob.key")
    assert [each["person"] for each in entry["keys"].values()] == ["user:bob"]
    held = r2p("hold", "--reason", "odd", "--by", "user:ann")
    assert (held["level"], held["by"]) == (2, "user:ann")
    (control,) = r2p("controls")["controls"]
    assert control["mode"] == "reduce_only"
    killed, cancelled = r2p("kill", "--reason", "loop", "--by", "user:ann")
    assert (killed["level"], cancelled) == (5, {"not_cancelled": []})
    let = r2p("release", "--reason", "over", "--by", "user:ann", "--by", "user:bob")
    assert let["level"] == 0
    assert r2p("ledger")["report"]["problems"] == []
    assert "error" in r2p("halt", "my_idea_btc", "--reason", "x", "--by", "user:ann", code=2)
    assert "error" in r2p("incident", "heartbeat", code=1)
    assert r2p("upgrade") == {"tables": {}}
    (refusal,) = r2p("worker", code=2)
    assert refusal["error"].startswith("there is no queue to work on")


def test_policies_are_explained_and_compared(r2p: R2p) -> None:
    explained = r2p("policy", "explain", "canary_to_live", "--type", "carry")
    assert explained["strategy_type"] == "carry"
    assert {"family", "name", "asks", "why"} == set(explained["thresholds"][0])
    same = r2p("policy", "diff", "research_to_paper", "research_to_paper")
    assert (same["changes"], same["decisions"]) == ([], [])
    assert "different moves" in r2p("policy", "diff", "research_to_paper", "canary_to_live", code=2)["error"]


def test_an_incident_is_read_taken_and_ended(r2p: R2p, tmp_path: Path) -> None:
    Play(tmp_path / "data" / "operations").see(reading("unknown_orders", 1, ACCOUNT))
    (listed,) = r2p("incident", "list")
    name = listed["id"]
    assert (listed["status"], listed["acked_by"]) == ("detected", None)
    assert r2p("incident", "ack", name, "--by", "user:ana")["acked_by"] == "user:ana"
    assert r2p("incident", "resolve", name, "--by", "user:ana", "--note", "gone")["status"] == "resolved"
    shown = r2p("incident", "show", name)
    assert [each["to"] for each in shown["history"]] == ["detected", "acked", "mitigated", "resolved"]
    queries = r2p("incident", "runbook", name)["queries"]
    assert {each["problem"] for each in queries.values()} == {"there is no warehouse yet: `r2p run publish_warehouse`"}
    assert "error" in r2p("incident", "ack", "zzz", "--by", "user:ana", code=1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_to_complete(shell: str) -> None:
    script = CliRunner(env={"_R2P_COMPLETE": f"source_{shell}"}).invoke(app, prog_name="r2p").stdout
    assert "_R2P_COMPLETE=complete_" in script
    assert "r2p" in script


def test_commands_and_options_complete() -> None:
    def completed(*words: str) -> list[str]:
        env = {"_R2P_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return CliRunner(env=env).invoke(app, prog_name="r2p").stdout.split()

    assert completed("r2p", "tr") == ["trace"]
    assert completed("r2p", "incident", "m") == ["mitigate"]
    assert {"--html", "--json"} <= set(completed("r2p", "trace", "--"))


def test_the_ui_says_where_it_is_before_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2P_DATA", str(tmp_path))
    monkeypatch.setattr("research_to_prod.defs.ui.serve", lambda *_, **__: None)
    served = CliRunner().invoke(app, ["ui", "--port", "3100", "--json"])
    assert strict(served.stdout)["url"] == "http://127.0.0.1:3100"
