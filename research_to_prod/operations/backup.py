"""A backup of a whole installation, taken while it works, and its restoration.

What names something is copied before what it names: the history of runs before the files and tables that its events
cite, a ledger's records before their evidence, files that say how far others were read before those others, the lake
last. So whatever a restored record or event names is there. Belongs here: what is copied, in which order, and that a
backup is whole. Doesn't: one table (``lake.copying``), one database (``database_copy``).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from research_to_prod.declared import Frozen
from research_to_prod.lake import Lake
from research_to_prod.lake.copying import copy_table
from research_to_prod.lake.files import is_remote
from research_to_prod.operations import database_copy
from research_to_prod.promotion.files import make_folder, replace_file, sync_folder
from research_to_prod.promotion.keys import PUBLIC_FILE, read_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.verifier import CHECKPOINTS, RECORDS

INVENTORY = "backup.json"
_DATA, _LAKE, _DATABASE = "data", "lake", "postgres.dump"
# Made again by `r2p run publish_warehouse`; what processes write about themselves; the lake goes table by table.
_LEFT_OUT = ("lake", "logs", "supervisord.pid", "warehouse.duckdb")
_TURNS = 7
_PARTIAL, _RESTORING = ".part", ".restoring"


class BackupError(RuntimeError):
    """An installation can't be backed up, or a backup can't be restored; the message says why, and the remedy."""


@dataclass(frozen=True)
class Installation:
    """What a backup is taken of, or restored to.

    Parameters
    ----------
    data
        The folder of everything made at run time.
    lake
        Folder or URI of the lake.
    postgres
        Where Dagster's history is; None when it is in files under ``data``.
    """

    data: Path
    lake: str
    postgres: str | None


class Kept(Frozen):
    """One file of a backup."""

    size: int
    sha256: str


class Inventory(Frozen):
    """What a backup holds; written last, so that a backup that has one is whole.

    Parameters
    ----------
    taken_at
        When it began: what was acknowledged before is in it.
    records
        Records of the promotion ledger.
    tables
        The newest version of each table of the lake.
    files
        By path below the backup's folder.
    """

    taken_at: AwareDatetime
    records: int
    tables: dict[str, int]
    files: dict[str, Kept]


def back_up(installation: Installation, folder: Path, now: datetime) -> tuple[Path, Inventory]:
    """Copy ``installation`` into a new folder under ``folder``, named by the time; return it and what it holds.

    Data files of the lake that the newest backup under ``folder`` has are linked, not copied: each backup is whole by
    itself, and any of them can be deleted.

    Raises
    ------
    BackupError
        If another backup is being taken, there is no data, ``folder`` lies in it, or the copied ledger does not verify.
    OSError, LakeError, DatabaseCopyError
        What can't be read or written; no backup appears then.
    """
    if not installation.data.is_dir():
        raise BackupError(f"{installation.data} is no folder; set R2P_DATA to that of the installation")
    if folder.resolve().is_relative_to(installation.data.resolve()):
        raise BackupError(
            f"{folder} lies in {installation.data}; a backup goes to another disk, not into what it copies"
        )
    target = folder / f"{now:%Y-%m-%dT%H%M%SZ}"
    made = folder / f".{target.name}{_PARTIAL}"
    with _alone(folder):
        if target.exists():
            raise BackupError(f"{target} is there already; a backup is never written over another")
        for left in folder.glob(f".*{_PARTIAL}"):
            shutil.rmtree(left)
        earlier = next((each for each in backups(folder)[::-1]), None)
        # It holds the private key that signs the ledger.
        made.mkdir(mode=0o700)
        if installation.postgres is not None:
            database_copy.dump(installation.postgres, made / _DATABASE)
        _copy_data(installation.data, made / _DATA)
        records = _verified(made / _DATA)
        tables = _copy_lake(installation.lake, str(made / _LAKE), None if earlier is None else earlier / _LAKE)
        known = {} if earlier is None else inventory_of(earlier).files
        inventory = Inventory(taken_at=now, records=records, tables=tables, files=_files(made, known))
        replace_file(made / INVENTORY, inventory.model_dump_json(indent=1).encode())
        made.rename(target)
        sync_folder(folder)
    return target, inventory


def restore(backup: Path, installation: Installation) -> Inventory:
    """Make an installation of a backup, in places that hold none yet; return what it holds.

    The data folder is filled last, and at once: an interrupted restoration leaves no ledger or key that anything could
    work with.

    Raises
    ------
    BackupError
        If the backup is not whole, was changed, or its ledger does not verify; if the data folder, the lake or the
        database has something already, or the backup has a database and the installation none. Nothing is written then.
    OSError, LakeError, DatabaseCopyError
        What can't be written. Empty what the message names before the next try.
    """
    inventory = inventory_of(backup)
    wrong = [name for name, kept in inventory.files.items() if not _is_as_kept(backup / name, kept)]
    there = {each.relative_to(backup).as_posix() for each in backup.rglob("*") if each.is_file()}
    wrong += sorted(there - inventory.files.keys() - {INVENTORY})
    if wrong:
        raise BackupError(f"{backup}: {len(wrong)} files are missing, changed or added: {', '.join(wrong[:5])}")
    if (found := _verified(backup / _DATA)) != inventory.records:
        raise BackupError(f"{backup}: the ledger has {found} records, the inventory says {inventory.records}")
    has_database = (backup / _DATABASE).exists()
    if has_database != (installation.postgres is not None):
        other = "Postgres; set R2P_POSTGRES" if has_database else "files; unset R2P_POSTGRES"
        raise BackupError(f"{backup} has Dagster's history from {other}")
    occupied = [str(installation.data)] if any(_entries(installation.data)) else []
    occupied += [f"{installation.lake}/{table}" for table in Lake(installation.lake).tables()]
    if occupied:
        raise BackupError(f"a backup is restored to empty places only; there is something in {', '.join(occupied)}")
    if installation.postgres is not None:
        database_copy.load(installation.postgres, backup / _DATABASE)
    _copy_lake(str(backup / _LAKE), installation.lake, None)
    if not is_remote(installation.lake):
        _sync(Path(installation.lake))
    coming = installation.data / _RESTORING
    make_folder(installation.data)
    shutil.copytree(backup / _DATA, coming)
    _sync(coming)
    for entry in sorted(coming.iterdir()):
        entry.rename(installation.data / entry.name)
    coming.rmdir()
    sync_folder(installation.data)
    return inventory


def backups(folder: Path) -> list[Path]:
    """Return the whole backups under ``folder``, oldest first."""
    return sorted(each.parent for each in folder.glob(f"[!.]*/{INVENTORY}"))


def inventory_of(backup: Path) -> Inventory:
    """Return what a backup holds.

    Raises
    ------
    BackupError
        If it has no inventory, or one that is not to be read.
    """
    try:
        return Inventory.model_validate_json((backup / INVENTORY).read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupError(f"{backup} is no whole backup: {error}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_folder(folder)
    with (folder / ".taking").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup to {folder} is being taken; wait for its end") from None
        yield


def _copy_data(data: Path, target: Path) -> None:
    for turn in range(_TURNS):
        # Listed anew each time: a record copied in its turn may name a blob that was not there when the first began.
        for name in sorted(name for name in _kept_files(data) if _turn(name) == turn):
            if name == Path("ledger", RECORDS):
                _copy_ledger(data / "ledger", target / "ledger")
            else:
                _copy_file(data / name, target / name)


def _kept_files(data: Path) -> Iterator[Path]:
    for room in data.iterdir():
        if room.name not in _LEFT_OUT:
            found = (each.relative_to(data) for each in (room, *room.rglob("*")) if each.is_file())
            yield from (name for name in found if _is_kept(name))


def _is_kept(name: Path) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)
    # SQLite's own: the backup through SQLite has taken in what they hold.
    sidecar = name.name.endswith((".db-wal", ".db-shm", ".db-journal"))
    checkpoint = name.parts[:2] == ("ledger", CHECKPOINTS.rstrip("/"))
    return not (hidden or sidecar or checkpoint)


def _turn(name: Path) -> int:
    """Return when a file is copied: what names another comes before that other."""
    room = name.parts[0]
    if room == "ledger":
        # Records name the trial ledger's last line, its lines name places among the series; all name blobs.
        return {RECORDS: 4, "trials.jsonl": 5}.get(name.name, 6)
    if room == "keys":
        return 6
    if name.suffix == ".jsonl":
        # What was told of an incident must not outlive it: the next of that number would count as told.
        return 3 if name.name == "incidents.jsonl" else 2
    return 0 if room == "dagster" else 1


def _copy_ledger(ledger: Path, target: Path) -> None:
    """Copy records and checkpoints while no writer is between the two."""
    with (ledger / RECORDS).open("rb") as records:
        fcntl.flock(records, fcntl.LOCK_SH)
        _copy_file(ledger / RECORDS, target / RECORDS)
        for note in sorted((ledger / CHECKPOINTS).glob("[!.]*")):
            _copy_file(note, target / CHECKPOINTS / note.name)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".db":
        uri = f"{source.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as database, closing(sqlite3.connect(target)) as copy:
            database.backup(copy)
        return
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        # A decision that was answered meanwhile, or a log that was rotated.
        if source.exists():
            raise


def _copy_lake(source: str, target: str, earlier: Path | None) -> dict[str, int]:
    return {
        table: copy_table(f"{source}/{table}", f"{target}/{table}", None if earlier is None else earlier / table)
        for table in Lake(source).tables()
    }


def _verified(data: Path) -> int:
    """Return the number of records of the ledger under ``data``, after verifying all of them; 0 where there is none.

    Raises
    ------
    ValueError
        A LedgerError or KeyFileError.
    """
    if not (data / "ledger" / RECORDS).exists():
        return 0
    return Ledger(data / "ledger", read_keys(data / "keys" / PUBLIC_FILE)).verify().head.size


def _files(made: Path, known: dict[str, Kept]) -> dict[str, Kept]:
    """Make every file of a backup durable and return them all; linked ones have the hash of their first backup."""

    def kept(path: Path) -> Kept:
        name, status = path.relative_to(made).as_posix(), path.stat()
        if status.st_nlink > 1 and name in known:
            return known[name]
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        return Kept(size=status.st_size, sha256=sha256)

    paths = sorted(each for each in made.rglob("*") if each.is_file())
    with ThreadPoolExecutor() as pool:
        found = dict(zip((each.relative_to(made).as_posix() for each in paths), pool.map(kept, paths), strict=True))
    for each in [made, *(path for path in made.rglob("*") if path.is_dir())]:
        sync_folder(each)
    return found


def _is_as_kept(path: Path, kept: Kept) -> bool:
    if not path.is_file() or path.stat().st_size != kept.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == kept.sha256


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


def _sync(folder: Path) -> None:
    """Make all that was written under ``folder`` durable."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            sync_folder(path)
            continue
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
