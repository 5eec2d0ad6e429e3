"""A command says what it found once: people read it as text, programs as JSON, and nothing comes between."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from research_to_prod.commands.answer import Answer, Commands, Wrong, _write


def refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def strict(text: str) -> Any:
    """Return a document as a parser reads it that takes neither NaN nor infinity."""
    return json.loads(text, parse_constant=refuse)


@dataclass(frozen=True)
class Found:
    """A value of each kind that commands return."""

    at: datetime
    money: Decimal
    share: float
    path: Path
    names: tuple[str, ...]


FOUND = Found(datetime(2026, 1, 5, 12, tzinfo=UTC), Decimal("1.10"), float("nan"), Path("a/b"), ("\x9b2J", "é"))


def called(command: Callable[..., Any], *arguments: str) -> Result:
    app = typer.Typer(cls=Commands)
    app.command("one")(command)

    @app.command()
    def two() -> None: ...

    return CliRunner().invoke(app, ["one", *arguments])


def test_one_value_is_a_document_or_a_text() -> None:
    def one() -> Answer:
        return Answer(FOUND, "found [it]")

    assert called(one).stdout == "found [it]\n"
    told = called(one, "--json").stdout
    assert told.isascii()
    assert strict(told) == {
        "at": "2026-01-05T12:00:00Z", "money": "1.10", "share": None, "path": "a/b", "names": ["\x9b2J", "é"]
    }  # fmt: skip


def test_a_stream_is_a_line_each_and_fails_when_one_of_them_is_not_fine() -> None:
    def one() -> Iterator[Answer]:
        for number in range(3):
            yield Answer({"number": number}, str(number), fine=number != 1)

    told = called(one, "--json")
    assert [strict(line)["number"] for line in told.stdout.splitlines()] == [0, 1, 2]
    assert told.exit_code == called(one).exit_code == 1
    assert called(one).stdout == "0\n1\n2\n"


@pytest.mark.parametrize(("error", "code"), [(Wrong("it is broken"), 1), (typer.BadParameter("it is broken"), 2)])
def test_what_is_wrong_is_told_with_its_exit_code_either_way(error: Exception, code: int) -> None:
    def one() -> Iterator[Answer]:
        yield Answer("first", "first")
        raise error

    told = called(one, "--json")
    refusal = {"error": "it is broken", "exit_code": code}
    assert [strict(line) for line in told.stdout.splitlines()] == ["first", refusal]
    assert told.stderr == ""
    read = called(one)
    assert (read.exit_code, told.exit_code, read.stdout) == (code, code, "first\n")
    assert "it is broken" in read.stderr


@pytest.mark.parametrize("words", [["--bogus"], ["--number"], ["--number", "x"], ["more"]])
def test_words_that_no_command_takes_are_json_too(words: list[str]) -> None:
    def one(number: int = 0) -> Answer:
        return Answer(number, "")

    for order in ([*words, "--json"], ["--json", *words]):
        told = called(one, *order)
        assert told.exit_code == 2
        assert strict(told.stdout)["exit_code"] == 2, told.stdout


def test_a_question_that_nobody_answers_is_json_too() -> None:
    def one() -> Answer:
        return Answer(typer.confirm("sure?"), "")

    told = called(one, "--json")
    assert (told.exit_code, strict(told.stdout)["exit_code"]) == (1, 1)


@given(value=st.recursive(st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_a_value_holds_its_json_is_read_by_a_strict_parser(value: Any) -> None:
    try:
        json.dumps(value).encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no text

    written = io.StringIO()
    _write(value, written, line=True)
    assert written.getvalue().isascii()
    strict(written.getvalue())


COLOURED = """
import typer
from research_to_prod.commands.answer import Commands, Wrong

app = typer.Typer(cls=Commands)

@app.command()
def one():
    raise Wrong("it is broken")

@app.command()
def two(): ...

app()
"""


@pytest.mark.parametrize(("terminal", "no_color", "red"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_colours_are_for_a_terminal_whose_owner_wants_them(*, terminal: bool, no_color: str, red: bool) -> None:
    ours, theirs = os.openpty() if terminal else os.pipe()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": no_color}
    done = subprocess.run(
        [sys.executable, "-c", COLOURED, "one"], env=environment, stdout=theirs, stderr=theirs, check=False
    )
    told = os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 1
    assert b"it is broken" in told
    assert (b"\x1b[31m" in told) is red


NOISY = """
import os, subprocess, sys
import typer
from research_to_prod.commands.answer import Answer, Commands
from research_to_prod.commands.terminal import Console

app = typer.Typer(cls=Commands)

@app.command()
def one():
    print("a print")
    Console().print("a console")
    os.write(1, b"a library\\n")
    subprocess.run([sys.executable, "-c", "print('a child')"], check=True)
    yield Answer({"n": 1}, "")
    subprocess.run([sys.executable, "-c", "print('another child')"], check=True)

@app.command()
def two(): ...

app()
"""


def test_nothing_else_reaches_standard_output_whoever_prints_it() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY, "one", "--json"], capture_output=True, text=True, check=True)
    assert done.stdout == '{"n":1}\n'
    for each in ("a print", "a console", "a library", "a child", "another child"):
        assert each in done.stderr
