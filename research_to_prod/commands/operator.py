"""`r2p doctor` and `r2p status`: whether this installation can do its work, and how the desk stands."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn

from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings, SettingsError

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_COLOURS = {"fine": "green", "attention": "yellow", "failed": "red"}


AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@commands.command()
def status(*, as_json: AsJson = False) -> None:
    """Show how things stand: stages, approvals, what may trade, controls, incidents, reports, runs.

    Exit 1 when a part of it can't be read.
    """
    from research_to_prod.defs.status import stand

    settings, console, readable = _settings(), Console(), True
    for part in stand(settings, datetime.now(UTC)):
        readable &= part.readable
        if as_json:
            console.print_json(json.dumps(asdict(part)), indent=None)
            continue
        console.print(f"[bold]{part.what:<11}[/]{'' if part.readable else '[red]'}{escape(part.told)}", soft_wrap=True)
        for detail in part.details:
            console.print(f"           {escape(detail)}", soft_wrap=True)
    if not readable:
        raise typer.Exit(code=1)


@commands.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Look at disk, desk files, keys, ledger, lake, runs and venues; exit 1 when one of them has failed.

    Each finding comes with its remedy. Nothing is repaired.
    """
    from research_to_prod.defs.doctor import Health, examine

    settings, console, failed = _settings(), Console(), False
    with Progress(SpinnerColumn(), TextColumn("looking"), console=Console(stderr=True), transient=True) as progress:
        progress.add_task("")
        for finding in examine(settings, os.environ, datetime.now(UTC)):
            failed |= finding.health is Health.FAILED
            if as_json:
                console.print_json(json.dumps(asdict(finding)), indent=None)
                continue
            colour = _COLOURS[finding.health]
            console.print(f"[{colour}]{finding.health:<9}[/] {finding.what}: {escape(finding.told)}", soft_wrap=True)
            if finding.remedy:
                console.print(f"          [dim]{escape(finding.remedy)}[/]", soft_wrap=True)
    if failed:
        raise typer.Exit(code=1)


def _settings() -> Settings:
    try:
        return Settings.from_environment(os.environ)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
