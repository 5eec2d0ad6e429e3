"""`r2p backup`, `r2p restore`, `r2p upgrade`: an installation copied while it works, made again, taken to a release."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from research_to_prod.commands.answer import Answer
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.operations.backup import Installation

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Copied:
    """What was backed up or restored: the backup's folder, of when it is, and how much is in it."""

    folder: Path
    taken_at: datetime
    records: int
    tables: int
    files: int


@dataclass(frozen=True)
class Upgraded:
    """The columns that were added, or may be null now, by table."""

    tables: dict[str, tuple[str, ...]]


@commands.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Backups go into folders of their own under it, named by the time.")],
) -> Answer:
    """Copy ledger, keys, incidents, inbox, reports, lake and run history into a new folder, while everything works.

    It holds the private key that signs the ledger: keep it where only the desk's administrators can read.
    """
    from research_to_prod.operations.backup import back_up

    with _told():
        target, made = back_up(_installation(), folder, datetime.now(UTC))
    copied = Copied(target, made.taken_at, made.records, len(made.tables), len(made.files))
    return Answer(copied, f"{target}: {copied.records} ledger records, {copied.tables} tables, {copied.files} files")


@commands.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="One backup: a folder that `r2p backup` named.")],
    by: Annotated[str, typer.Option(help="Who restores: user:NAME; stands in the controls' journal.")],
) -> Answer:
    """Make the installation of the settings from a backup, and hold everything until `r2p release`.

    The data folder, the lake and the database must be empty. What was halted, demoted or held after the backup is not
    known any more, so nothing may grow before somebody has looked.
    """
    from research_to_prod.commands.controls import raise_ladder
    from research_to_prod.commands.taking_back import told
    from research_to_prod.operations.backup import restore as bring_back
    from research_to_prod.promotion.keys import person

    with _told():
        person(by)
        made = bring_back(folder, _installation())
    taken = f"{made.taken_at:%Y-%m-%d %H:%M:%SZ}"
    with told():
        raise_ladder("hold", f"restored from the backup of {taken}: what was taken back after it is not known", by)
    copied = Copied(folder, made.taken_at, made.records, len(made.tables), len(made.files))
    return Answer(
        copied,
        f"restored as of {taken}, and held: {copied.records} ledger records, {copied.tables} tables; "
        "next: r2p doctor, the ledger's witness, r2p release (docs/deployment.md)",
    )


@commands.command()
def upgrade() -> Answer:
    """Make the lake's tables what this release declares: columns are added, or may be null from now on.

    Stored files and versions stay as they are: rows from before are null in a column that came later. Nothing is
    changed when one of the tables can't be upgraded; all that is in the way is named then, with exit code 2.
    """
    from research_to_prod.defs.tables import stored_tables, tables_to_upgrade
    from research_to_prod.lake import Lake

    with _told():
        lake = Lake(Settings.from_environment(os.environ).lake)
        changed = {table: tuple(lake.upgrade(table, stored_tables()[table])) for table in tables_to_upgrade(lake)}
    lines = [f"{table}: {', '.join(columns)}" for table, columns in changed.items()]
    lines.append(f"{len(changed)} tables were upgraded" if changed else "every table is as declared")
    return Answer(Upgraded(changed), "\n".join(lines))


def _installation() -> Installation:
    from research_to_prod.operations.backup import Installation

    settings = Settings.from_environment(os.environ)
    postgres = None if settings.postgres is None else settings.postgres.get_secret_value()
    return Installation(settings.data, settings.lake, postgres)


@contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong in its own words, with exit code 2: nothing was done then, or nothing that counts."""
    from research_to_prod.lake import LakeError, SchemaError
    from research_to_prod.operations.backup import BackupError
    from research_to_prod.operations.database_copy import DatabaseCopyError
    from research_to_prod.promotion.keys import KeyFileError
    from research_to_prod.promotion.ledger import LedgerError

    try:
        yield
    except (
        BackupError,
        DatabaseCopyError,
        KeyFileError,
        LakeError,
        LedgerError,
        OSError,
        SchemaError,
    ) as error:
        raise typer.BadParameter(str(error)) from None
