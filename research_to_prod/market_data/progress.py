"""How a long fetch shows its progress: a bar in a terminal, log lines elsewhere.

Belongs here: the two displays. Doesn't: what is counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Progress(Protocol):
    """Receives how many of how many steps are done, and which step that was."""

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done; ``label`` names the last one."""


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""


@contextmanager
def show_progress(title: str, logger: logging.Logger, stream: TextIO) -> Iterator[Progress]:
    """Yield a display: a rich progress bar on ``stream`` where that is a terminal, lines of ``logger`` elsewhere."""
    if not stream.isatty():
        yield lambda label, done, total: logger.info("%s: %d of %d, %s", title, done, total, label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda label, done, total: bar.update(task, description=f"{title} {label}", completed=done, total=total)
