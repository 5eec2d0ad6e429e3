"""What a command answers, written in one place: as text for people, or under ``--json`` as JSON for programs.

A command returns an `Answer`, or yields them as they come: then each is one line of JSON. What is wrong is raised with
its exit code: `Wrong` (1) for how things are, ``typer.BadParameter`` (2) for what was asked; wrong settings and a wrong
universe, which any command may meet, are 2 by themselves. Belongs here: the two ways of writing, and ``--json`` itself,
which every command has because none declares it. Doesn't: what any command says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TextIO

import typer
from rich.markup import escape
from typer.core import TyperGroup

from research_to_prod.commands.terminal import Console, kept_output
from research_to_prod.values import printable


@dataclass(frozen=True)
class Answer:
    """What a command has to say.

    Parameters
    ----------
    value
        Dataclasses, models, mappings and sequences of them: the JSON.
    text
        The same for people: a plain text, or what prints it.
    fine
        False when it is not as it should be: exit code 1.
    """

    value: Any
    text: str | Callable[[Console], None]
    fine: bool = True


class Wrong(Exception):  # noqa: N818 - what people are told, and no fault of the program
    """It is not as it should be: exit code 1. The message says what is wrong, and the remedy."""


@dataclass(frozen=True)
class Refusal:
    """The JSON in the place of an answer that there is not: the message of the text, and the exit code."""

    error: str
    exit_code: int


class Commands(TyperGroup):
    """The commands of `r2p`: gives each of them ``--json``, and prints what they answer."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in answering(self):
            command.params.append(_json_option())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read which command is asked for, and whether its answer is to be JSON."""
        # Looked for here, before any option is parsed: what is wrong with another option is JSON too.
        ctx.meta[__name__] = "--json" in args
        with _output(ctx) as output, _told(output):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> None:
        """Run the command that was asked for, and print what it answers."""
        with _output(ctx) as output, _told(output):
            answer = super().invoke(ctx)
            stream = isinstance(answer, Iterator)
            fine = True
            for each in answer if stream else [answer]:
                _say(each, output, line=stream)
                fine &= each.fine
        if not fine:
            raise typer.Exit(code=1)


def answering(group: Any) -> Iterator[Any]:
    """Yield every command under a group that can be called; a group that only holds others can't."""
    for command in group.commands.values():
        inner = hasattr(command, "commands")
        if not inner or command.invoke_without_command:
            yield command
        if inner:
            yield from answering(command)


@cache
def _json_option() -> Any:
    """Return the option as typer makes it; it is read before the command is, so the command does not get it."""
    probe = typer.Typer(add_completion=False)

    @probe.command()
    def command(
        *,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print JSON, and nothing else.", expose_value=False)
        ] = False,
    ) -> None: ...

    (made,) = typer.main.get_command(probe).params
    return made


def _output(ctx: Any) -> Any:
    return kept_output() if ctx.meta[__name__] else nullcontext()


def _say(answer: Answer, output: TextIO | None, *, line: bool) -> None:
    if output is not None:
        _write(answer.value, output, line=line)
    elif callable(answer.text):
        answer.text(Console())
    elif answer.text:
        Console().print(answer.text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _write(value: Any, output: TextIO, *, line: bool) -> None:
    from pydantic_core import to_json

    # ASCII: what steers a terminal is escaped. A number that is none is null: JSON has neither NaN nor infinity.
    written = to_json(value, indent=None if line else 2, ensure_ascii=True, inf_nan_mode="null")
    output.write(f"{written.decode()}\n")
    output.flush()


@contextmanager
def _configured() -> Iterator[None]:
    """Say of a setting or the universe, which importing the graph reads, what is wrong with it."""
    try:
        yield
    except ValueError as error:
        from research_to_prod.market_data.universe import UniverseError
        from research_to_prod.settings import SettingsError

        if not isinstance(error, SettingsError | UniverseError):
            raise
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _told(output: TextIO | None) -> Iterator[None]:
    """Say what is wrong: as text on standard error, as JSON in the place of the answer. A fault of ours is a crash."""
    try:
        with _configured():
            yield
    except Wrong as error:
        refusal = Refusal(str(error), 1)
        if output is None:
            Console(stderr=True).print(f"[red]{escape(refusal.error)}[/]", soft_wrap=True)
    except typer.TyperException as error:
        error.message = printable(error.message)
        if output is None:
            raise
        # What a command found has no parameter, and needs no "Invalid value" before it.
        own = isinstance(error, typer.BadParameter) and error.param is None
        refusal = Refusal(error.message if own else error.format_message(), error.exit_code)
    except typer.Abort:
        if output is None:
            raise
        refusal = Refusal("stopped before it was done", 1)
    else:
        return
    if output is not None:
        _write(refusal, output, line=True)
    raise typer.Exit(code=refusal.exit_code)
