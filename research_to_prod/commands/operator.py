"""`r2p doctor` and `r2p status`: whether this installation can do its work, and how the desk stands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn

from research_to_prod.commands.answer import Answer
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.defs.doctor import Finding
    from research_to_prod.defs.status import Part

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_COLOURS = {"fine": "green", "attention": "yellow", "failed": "red"}


@commands.command()
def status() -> Iterator[Answer]:
    """Show how things stand: stages, approvals, what may trade, controls, incidents, reports, runs.

    Exit 1 when a part of it can't be read.
    """
    from research_to_prod.defs.status import stand

    for part in stand(Settings.from_environment(os.environ), datetime.now(UTC)):
        yield Answer(part, partial(_show_part, part), part.readable)


@commands.command()
def doctor() -> Iterator[Answer]:
    """Look at disk, desk files, keys, ledger, lake, runs and venues; exit 1 when one of them has failed.

    Each finding comes with its remedy. Nothing is repaired.
    """
    from research_to_prod.defs.doctor import Health, examine

    settings, bar = Settings.from_environment(os.environ), Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("looking"))
    with Progress(*columns, console=bar, transient=True, disable=not bar.is_terminal) as progress:
        progress.add_task("")
        for finding in examine(settings, os.environ, datetime.now(UTC)):
            yield Answer(finding, partial(_show_finding, finding), finding.health is not Health.FAILED)


def _show_part(part: Part, console: Console) -> None:
    console.print(f"[bold]{part.what:<11}[/]{'' if part.readable else '[red]'}{escape(part.told)}", soft_wrap=True)
    for detail in part.details:
        console.print(f"           {escape(detail)}", soft_wrap=True)


def _show_finding(finding: Finding, console: Console) -> None:
    colour = _COLOURS[finding.health]
    console.print(f"[{colour}]{finding.health:<9}[/] {finding.what}: {escape(finding.told)}", soft_wrap=True)
    if finding.remedy:
        console.print(f"          [dim]{escape(finding.remedy)}[/]", soft_wrap=True)
