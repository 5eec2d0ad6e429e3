"""`r2p doctor`: whether this installation can do its work, and what to do where it can't."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn

from research_to_prod.settings import Settings, SettingsError

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_COLOURS = {"fine": "green", "attention": "yellow", "failed": "red"}


@commands.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False) -> None:
    """Look at disk, desk files, keys, ledger, lake, runs and venues; exit 1 when one of them has failed.

    Each finding comes with its remedy. Nothing is repaired.
    """
    from research_to_prod.defs.doctor import Health, examine

    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
    console = Console()
    failed = False
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
