"""What the commands print: data never steers the terminal on which it is shown.

Belongs here: the console and the group of commands that see to it. Doesn't: what is printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rich.console
import typer
from rich.segment import Segment
from typer.core import TyperGroup

from research_to_prod.values import printable


class Console(rich.console.Console):
    """Rich's console, which lets escape sequences in a text through; they clear what a person is to read and sign."""

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the segments of what is printed; only rich's own steer the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class Commands(TyperGroup):
    """A group of commands whose refusals may quote a file or a record."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = printable(error.message)
            raise
