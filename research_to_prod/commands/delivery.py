"""`r2p deliver`: a venue's export into the inbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from research_to_prod.commands.answer import Answer
from research_to_prod.settings import Settings

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Delivered:
    """What one export became: a file of the inbox for each day of which it has rows."""

    export: Path
    kind: str
    files: tuple[Path, ...]


@commands.command()
def deliver(
    exports: Annotated[list[Path], typer.Argument(help="The files, CSV or Parquet, as the venue gave them.")],
    mapping: Annotated[str, typer.Option(help="A file of desk/mappings, without its .yaml.")],
    revision: Annotated[int, typer.Option(min=0, help="Above 0: a correction of rows that came before.")] = 0,
) -> Iterator[Answer]:
    """Put a venue's exports into the inbox, a file a day; the same export again changes nothing."""
    from research_to_prod.execution.inbox import InboxError
    from research_to_prod.execution.inbox_writer import InboxWriter
    from research_to_prod.execution.mapping import MappingError, deliver_export, load_mapping

    settings = Settings.from_environment(os.environ)
    known = {path.stem: path for path in sorted((settings.desk / "mappings").glob("*.yaml"))}
    if mapping not in known:
        raise typer.BadParameter(f"no mapping is called {mapping!r}; there are: {', '.join(known) or 'none'}")
    try:
        layout, writer = load_mapping(known[mapping]), InboxWriter(settings.inbox)
        for export in exports:
            files = deliver_export(export, layout, writer, revision)
            days = [file.name[:10] for file in files]
            text = f"{export}: {layout.kind} of {', '.join(days)}" if days else f"{export}: no row"
            yield Answer(Delivered(export, layout.kind, files), text)
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
    except (InboxError, MappingError) as error:
        raise typer.BadParameter(str(error)) from None
