"""Nothing that a command prints of its data steers the terminal, on which people read what they sign."""

import io
import re

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree
from typer.testing import CliRunner

from research_to_prod.commands.answer import Commands
from research_to_prod.commands.terminal import Console
from research_to_prod.values import printable

STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
OWN = re.compile(r"\x1b\[[0-9;]*m")  # rich's colours
HOSTILE = st.text(st.sampled_from("\x1b\x9b\r\b\x07\u202e\u2066\ud800[2J]0;m a") | st.characters(), max_size=20)


@given(text=HOSTILE)
def test_whatever_is_printed_the_terminal_gets_no_escape_of_the_data(text: str) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="standard", width=80)
    table, tree = Table("head"), Tree(escape(text))
    table.add_row(escape(text))
    tree.add(Text(text, style="red"))
    for each in (table, tree, escape(text), f"[bold]{escape(text)}[/]"):
        console.print(each)
    assert not STEERS.search(OWN.sub("", written.getvalue()))


@given(text=st.text())
def test_a_text_is_printable_once_and_for_all_and_keeps_its_length(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    assert len(printable(text)) == len(text)
    assert printable("BTC/USDT\n\t− é 漢 \xa0 5") == "BTC/USDT\n\t− é 漢 \xa0 5"


def test_a_refusal_that_quotes_a_file_steers_nothing_either() -> None:
    app = typer.Typer(cls=Commands)

    @app.command()
    def one() -> None:
        raise typer.BadParameter("policy.yaml: id: \x1b[2Jnot approved\u202e")

    @app.command()
    def two() -> None: ...

    answer = CliRunner().invoke(app, ["one"])
    assert answer.exit_code == 2
    assert "\ufffd[2Jnot approved\ufffd" in answer.output


@pytest.mark.parametrize("what", ["rich.console", "sys.stdout"])
def test_every_command_prints_through_it(what: str) -> None:
    from pathlib import Path

    import research_to_prod.commands

    for source in Path(research_to_prod.commands.__file__).parent.glob("*.py"):
        if source.name != "terminal.py":
            assert f"from {what} import" not in source.read_text(), source
            assert f"{what}." not in source.read_text(), source
