"""`r2p ledger` and `r2p verify`: the promotion ledger, for the desk and for its auditor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from research_to_prod.commands.answer import Answer, Wrong
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.record import Record
    from research_to_prod.promotion.verifier import Report

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
ledger_commands = typer.Typer(invoke_without_command=True)
commands.add_typer(ledger_commands, name="ledger")


@dataclass(frozen=True)
class Verified:
    """The records of a ledger that verified, and what was checked and what could not be."""

    records: tuple[Record, ...]
    report: Report


@dataclass(frozen=True)
class Given:
    """How many records went where."""

    records: int
    to: str


@contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong with the ledger, a target or a setting in its own words; a fault of ours stays a crash."""
    from research_to_prod.promotion.export import ExportError
    from research_to_prod.promotion.keys import KeyFileError
    from research_to_prod.promotion.ledger import LedgerError
    from research_to_prod.promotion.witness import WitnessError

    try:
        yield
    except (LedgerError, WitnessError) as error:
        raise Wrong(str(error)) from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
    except (KeyFileError, ExportError) as error:
        raise typer.BadParameter(str(error)) from None


def _ledger() -> Ledger:
    from research_to_prod.promotion.keys import open_keys
    from research_to_prod.promotion.ledger import Ledger

    settings = Settings.from_environment(os.environ)
    return Ledger(settings.ledger, open_keys(settings.keys, datetime.now(UTC)))


@ledger_commands.callback()
def ledger(context: typer.Context) -> Answer | None:
    """Verify the promotion ledger and list its records; exit 1 when it does not verify."""
    if context.invoked_subcommand is not None:
        return None
    with _told():
        found = _ledger().verify()
    verified = Verified(tuple(found.records), found.report)
    return Answer(verified, lambda console: _show(verified, console))


def _show(verified: Verified, console: Console) -> None:
    table = Table("seq", "recorded at", "record", "candidate", "stage", "reasons")
    for record in verified.records:
        reasons = f"{len(record.reasons)}: {record.reasons[0]}" if record.reasons else ""
        when = f"{record.recorded_at:%Y-%m-%d %H:%M:%SZ}"
        table.add_row(str(record.seq), when, record.type, record.candidate, record.to_stage, reasons)
    console.print(table)
    console.print(verified.report.text(), markup=False, soft_wrap=True)


@ledger_commands.command()
def export(
    destination: Annotated[Path, typer.Argument(help="A new folder, or a new file that ends in .zip.")],
) -> Answer:
    """Write the ledger, its checkpoints and all evidence to a folder or a zip, for `r2p verify`."""
    from research_to_prod.promotion.export import export as write

    with _told():
        records = write(_ledger(), destination)
    return Answer(
        Given(records, str(destination)),
        f"{records} records in {destination}; give the auditor the public keys by another way",
    )


@ledger_commands.command()
def witness(
    target: Annotated[str, typer.Argument(help="A file, git:REMOTE, or s3://BUCKET/PREFIX, outside the desk's reach.")],
) -> Answer:
    """Publish the newest checkpoint where the desk cannot alter it; exit 1 when it contradicts what is there."""
    from research_to_prod.promotion.witness import open_target, publish

    with _told():
        head = publish(_ledger(), open_target(target))
    return Answer(Given(head.size, target), f"{target} keeps the checkpoint of {head.size} records")


@commands.command()
def verify(
    export: Annotated[Path, typer.Argument(help="Folder or zip of `r2p ledger export`.")],
    keys: Annotated[Path, typer.Option(help="The public keys you trust, not from the export.")],
    witness: Annotated[Path | None, typer.Option(help="A checkpoint that was kept outside.")] = None,
) -> Answer:
    """Verify an exported ledger, offline: exit 0 when it holds, 1 when not, 2 when there is nothing to verify."""
    from zipfile import BadZipFile

    from research_to_prod.promotion import verifier

    try:
        report = verifier.verify(export, keys, witness)
    except (OSError, ValueError, BadZipFile) as error:
        raise typer.BadParameter(f"nothing was verified: {error}") from None
    return Answer(report, report.text().removesuffix("\n"), fine=not report.problems)
