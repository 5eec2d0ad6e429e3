"""What reaches the terminal: data never steers it, and under ``--json`` standard output carries JSON alone.

Belongs here: the console, and standard output kept for one purpose. Doesn't: what is printed (``answer``).
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

import rich.console
from rich.segment import Segment

from research_to_prod.values import printable


class Console(rich.console.Console):
    """Rich's console, which lets escape sequences in a text through; they clear what a person is to read and sign."""

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the segments of what is printed; only rich's own steer the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


@contextmanager
def kept_output() -> Iterator[TextIO]:
    """Yield standard output; whatever else is written there meanwhile, by children too, goes to standard error.

    Progress, a library's banner or a served process would otherwise stand between two documents.
    """
    try:
        number = sys.stdout.fileno()
    except io.UnsupportedOperation:  # a test's, in memory: no child has it
        kept = sys.stdout
        with redirect_stdout(sys.stderr):
            yield kept
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(number), "w", encoding="ascii") as kept, redirect_stdout(sys.stderr):
        os.dup2(sys.stderr.fileno(), number)
        try:
            yield kept
        finally:
            os.dup2(kept.fileno(), number)
