"""A backup taken while everything writes has what was acknowledged before it began, or is none."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.lake import Lake, LakeError, Schema, Version
from research_to_prod.lake.schema import Column, PartitionBy
from research_to_prod.operations import database_copy
from research_to_prod.operations.append_only import AppendOnly
from research_to_prod.operations.backup import (
    INVENTORY,
    BackupError,
    Installation,
    Kept,
    back_up,
    backups,
    inventory_of,
    restore,
)
from research_to_prod.operations.control_journal import ControlJournal
from research_to_prod.promotion import verifier
from research_to_prod.promotion.controls import Mode, Scope
from research_to_prod.promotion.export import export
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.witness import open_target, publish
from research_to_prod.settings import Settings
from research_to_prod.values import sha256_hex
from tests.promotion.conftest import EPOCH, DeskLedger, _draft

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
NUMBERS = Schema(
    "numbers by their writer",
    (Column("name", pa.string(), "writer"), Column("n", pa.int64(), "number")),
    key=("name", "n"),
    partition_by=PartitionBy("name"),
)


def ledger_in(data: Path) -> Ledger:
    return DeskLedger(data / "ledger", open_keys(data / "keys", EPOCH))


def write_numbers(data: Path, name: str, n: int) -> Version:
    rows = pa.table({"name": [name] * n, "n": pa.array(range(n), pa.int64())})
    return Lake(data / "lake").write("numbers", name, rows, NUMBERS)


def place(data: Path) -> Installation:
    return Installation(data, str(data / "lake"), None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small installation under a path with a space: a ledger, a lake, a journal, a history in SQLite."""
    data = tmp_path / "a desk" / "data"
    for number in range(1, 4):
        ledger_in(data).append(_draft(number))
        write_numbers(data, "ann", number)
    with AppendOnly(data / "operations" / "incidents.jsonl").turn() as turn:
        turn.append([b'{"opened": 1}'])
    (data / "dagster").mkdir()
    with closing(sqlite3.connect(data / "dagster" / "runs.db")) as history:
        history.execute("PRAGMA journal_mode = WAL")
        history.execute("CREATE TABLE runs (id TEXT)")
        history.execute("INSERT INTO runs VALUES ('run-1')")
        history.commit()
    return data


@contextmanager
def writing(*writers: Callable[[int], object]) -> Iterator[None]:
    """Let each writer work in a thread of its own, number after number."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def work(write: Callable[[int], object]) -> None:
        number = 10
        try:
            while not stop.is_set():
                write(number)
                number += 1
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in writers]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join()
    assert failed == []


def test_what_was_acknowledged_before_a_backup_is_in_it_whoever_writes_meanwhile(data: Path, tmp_path: Path) -> None:
    records: list[str] = []
    versions: list[Version] = []
    told: list[bytes] = []

    def tell(number: int) -> None:
        with AppendOnly(data / "operations" / "outbox.jsonl").turn() as turn:
            turn.append([b'{"told": %d}' % number])
        told.append(b'{"told": %d}' % number)

    with writing(
        lambda number: records.append(ledger_in(data).append(_draft(number)).sha256),
        lambda number: versions.append(write_numbers(data, "bob", number)),
        tell,
    ):
        while min(len(records), len(versions), len(told)) < 3:
            time.sleep(0.01)
        before = (list(records), list(versions), list(told))
        backup, _ = back_up(place(data), tmp_path / "backups", NOW)
    shutil.rmtree(data)
    restored = tmp_path / "elsewhere"
    inventory = restore(backup, place(restored))

    found = [each.sha256 for each in ledger_in(restored).records()][3:]
    assert inventory.records == len(found) + 3
    assert found == records[: len(found)]
    assert len(found) >= len(before[0])
    lake = Lake(restored / "lake")
    assert lake.tables() == ["numbers"]
    assert set(before[1]) <= set(lake.history("numbers", "bob")) <= set(versions)
    assert all(lake.read_version(each).num_rows == each.rows for each in lake.history("numbers", "bob"))
    lines, _ = AppendOnly(restored / "operations" / "outbox.jsonl").since(0)
    assert lines == told[: len(lines)]
    assert len(lines) >= len(before[2])
    # And work goes on from there.
    assert ledger_in(restored).append(_draft(10**6)).seq == inventory.records
    newest = lake.history("numbers", "bob")[-1].version
    assert write_numbers(restored, "bob", 2).version == newest + 1


def test_a_restored_ledger_verifies_offline_and_its_witness_says_what_was_acknowledged_later(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    witness = tmp_path / "checkpoint"
    backup, _ = back_up(place(data), tmp_path / "backups", NOW)
    publish(ledger_in(data), open_target(str(witness)))
    restored = tmp_path / "elsewhere"
    restore(backup, place(restored))
    export(ledger_in(restored), tmp_path / "export")
    arguments = [str(tmp_path / "export"), "--keys", str(restored / "keys" / "keys.json"), "--witness", str(witness)]
    assert verifier.main(arguments) == 0
    ledger_in(data).append(_draft(4))
    publish(ledger_in(data), open_target(str(witness)))
    assert verifier.main(arguments) == 1
    assert "4 records" in capsys.readouterr().out


def test_history_in_sqlite_is_copied_through_sqlite(data: Path, tmp_path: Path) -> None:
    # A transaction that is open: a plain copy of the file would lack what lies in the write-ahead log.
    with closing(sqlite3.connect(data / "dagster" / "runs.db")) as history:
        history.execute("INSERT INTO runs VALUES ('run-2')")
        history.commit()
        history.execute("INSERT INTO runs VALUES ('not committed')")
        backup, _ = back_up(place(data), tmp_path / "backups", NOW)
    restore(backup, place(tmp_path / "elsewhere"))
    with closing(sqlite3.connect(tmp_path / "elsewhere" / "dagster" / "runs.db")) as history:
        assert history.execute("SELECT id FROM runs").fetchall() == [("run-1",), ("run-2",)]


def test_each_backup_is_whole_by_itself_though_the_lake_s_files_are_stored_once(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    first, _ = back_up(place(data), folder, NOW)
    write_numbers(data, "ann", 9)
    second, inventory = back_up(place(data), folder, NOW + timedelta(days=1))
    assert backups(folder) == [first, second]
    stored = [each for each in (second / "lake").rglob("*.parquet") if "_delta_log" not in each.parts]
    assert sorted(each.stat().st_nlink for each in stored) == [1, 2, 2, 2]
    shutil.rmtree(first)
    assert restore(second, place(tmp_path / "elsewhere")) == inventory
    assert Lake(tmp_path / "elsewhere" / "lake").read("numbers", "ann").rows.num_rows == 9


def test_what_names_something_is_copied_before_what_it_names(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("operations/outbox.jsonl", "operations/states.json", "ledger/trials.jsonl", "ledger/trials.returns"):
        (data / name).write_bytes(b"")
    order: list[str] = []
    copy = shutil.copy2

    def noted(source: Path, target: Path) -> object:
        order.append(source.relative_to(data).as_posix())
        return copy(source, target)

    monkeypatch.setattr(shutil, "copy2", noted)
    monkeypatch.setattr("research_to_prod.operations.backup.copy_table", lambda *_: order.append("lake") or 0)
    back_up(place(data), tmp_path / "backups", NOW)
    blobs = [name for name in order if "blobs" in name]
    checkpoints = [name for name in order if "checkpoints" in name]
    assert [name for name in order if name not in blobs + checkpoints] == [
        "operations/states.json",
        "operations/outbox.jsonl",
        "operations/incidents.jsonl",
        "ledger/records.jsonl",
        "ledger/trials.jsonl",
        "keys/keys.json",
        "keys/log.key",
        "ledger/trials.returns",
        "lake",
    ]
    assert order.index("ledger/trials.jsonl") < order.index(min(blobs, key=order.index))
    assert len(checkpoints) == 3


def test_what_can_be_made_again_and_what_is_half_written_is_left_out(data: Path, tmp_path: Path) -> None:
    for name in ("warehouse.duckdb", "logs/worker.log", "production/.manifest.json.x.tmp", "production/manifest.json"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(name)
    backup, inventory = back_up(place(data), tmp_path / "backups", NOW)
    kept = {name.split("/")[1] for name in inventory.files if name.startswith("data/")}
    assert kept == {"dagster", "keys", "ledger", "operations", "production"}
    assert [each.name for each in (backup / "data" / "production").iterdir()] == ["manifest.json"]


def test_only_their_owner_reads_a_backup_and_the_key_in_it(data: Path, tmp_path: Path) -> None:
    backup, _ = back_up(place(data), tmp_path / "backups", NOW)
    restore(backup, place(tmp_path / "elsewhere"))
    assert backup.stat().st_mode & 0o077 == 0
    assert (tmp_path / "elsewhere" / "keys" / "log.key").stat().st_mode & 0o077 == 0


def test_a_backup_that_fails_leaves_none_and_the_next_one_tidies_up(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    lost = next((data / "lake" / "numbers").rglob("*.parquet"))
    lost.rename(tmp_path / "lost")
    with pytest.raises(LakeError, match="1 files are missing or not as long as committed"):
        back_up(place(data), folder, NOW)
    assert backups(folder) == []
    shutil.move(tmp_path / "lost", lost)
    made, _ = back_up(place(data), folder, NOW + timedelta(days=1))
    assert {each.name for each in folder.iterdir()} == {made.name, ".taking"}


def test_a_ledger_that_does_not_verify_is_not_backed_up(data: Path, tmp_path: Path) -> None:
    records = data / "ledger" / "records.jsonl"
    records.write_bytes(records.read_bytes().replace(b'"author":"ann"', b'"author":"bob"', 1))
    with pytest.raises(ValueError, match=r"records\.jsonl"):
        back_up(place(data), tmp_path / "backups", NOW)
    assert backups(tmp_path / "backups") == []


def test_a_backup_does_not_go_into_what_it_copies(data: Path) -> None:
    with pytest.raises(BackupError, match="goes to another disk"):
        back_up(place(data), data / "reports" / "backups", NOW)


def test_where_links_are_not_to_be_had_files_are_copied(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    back_up(place(data), tmp_path / "backups", NOW)
    monkeypatch.setattr(Path, "hardlink_to", refused)
    monkeypatch.setattr("research_to_prod.operations.backup.replace_file", lambda path, data: path.write_bytes(data))
    second, inventory = back_up(place(data), tmp_path / "backups", NOW + timedelta(days=1))
    assert restore(second, place(tmp_path / "elsewhere")) == inventory


def test_two_backups_to_one_folder_do_not_run_at_once(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    with (folder / ".taking").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="another backup"):
            back_up(place(data), folder, NOW)


def change(backup: Path) -> None:
    path = backup / "data" / "operations" / "incidents.jsonl"
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


def lose(backup: Path) -> None:
    next((backup / "lake").rglob("*.parquet")).unlink()


def add(backup: Path) -> None:
    (backup / "data" / "operations" / "outbox.jsonl").write_bytes(b"{}")


def cut(backup: Path) -> None:
    (backup / INVENTORY).unlink()


def cut_the_ledger_with_its_inventory(backup: Path) -> None:
    """Somebody who can write the backup makes its inventory say what he likes; the ledger is held to its signatures."""
    path = backup / "data" / "ledger" / "records.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    told = inventory_of(backup)
    files = told.files | {
        "data/ledger/records.jsonl": Kept(size=path.stat().st_size, sha256=sha256_hex(path.read_bytes()))
    }
    (backup / INVENTORY).write_text(told.model_copy(update={"files": files}).model_dump_json())


@pytest.mark.parametrize("damage", [change, lose, add, cut, cut_the_ledger_with_its_inventory])
def test_a_damaged_backup_restores_nothing(data: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    backup, _ = back_up(place(data), tmp_path / "backups", NOW)
    damage(backup)
    with pytest.raises((BackupError, ValueError)):
        restore(backup, place(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_backup_is_restored_to_empty_places_only(data: Path, tmp_path: Path) -> None:
    backup, _ = back_up(place(data), tmp_path / "backups", NOW)
    with pytest.raises(BackupError, match=r"there is something in .*data, .*numbers"):
        restore(backup, place(data))
    with pytest.raises(BackupError, match="files; unset R2P_POSTGRES"):
        restore(backup, Installation(tmp_path / "elsewhere", str(tmp_path / "lake"), "postgresql://host/db"))


def test_the_commands_say_what_they_did_and_what_is_wrong(data: Path, tmp_path: Path) -> None:
    def r2p(*arguments: str, data: Path = data) -> tuple[int, str]:
        done = CliRunner(env={"R2P_DATA": str(data)}).invoke(app, [*arguments])
        return done.exit_code, " ".join(done.output.split())

    code, told = r2p("backup", str(tmp_path / "backups"))
    (backup,) = backups(tmp_path / "backups")
    assert (code, told.startswith(f"{backup}: 3 ledger records, 1 tables")) == (0, True)
    elsewhere = tmp_path / "elsewhere"
    assert r2p("restore", str(backup), "--by", "nobody", data=elsewhere)[0] == 2
    assert not elsewhere.exists()
    code, told = r2p("restore", str(backup), "--by", "user:ana", data=elsewhere)
    assert (code, "and held: 3 ledger records, 1 tables; next: r2p doctor" in told) == (0, True)
    (held,) = ControlJournal(Settings(data=elsewhere).controls).ladders().controls()
    assert (held.scope, held.mode, held.by) == (Scope.ALL, Mode.REDUCE_ONLY, "user:ana")
    assert "restored from the backup of" in held.reason
    code, told = r2p("restore", str(backup), "--by", "user:ana", data=elsewhere)
    assert (code, "empty places only" in told) == (2, True)
    assert r2p("backup", str(tmp_path / "backups"), data=tmp_path / "nowhere")[0] == 2


def test_a_database_s_password_is_in_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "pg_dump"
    tool.write_text(
        '#!/bin/sh\necho "$@" > "$0.arguments"\n'
        'cat "$(echo "$1" | sed "s/.*passfile=//; s/%2F/\\//g")" > "$0.password"\n'
    )
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    database_copy.dump("postgresql://desk:s%3Acret@host:5433/history?sslmode=require", tmp_path / "dump")
    arguments = Path(f"{tool}.arguments").read_text()
    assert arguments.startswith("--dbname=postgresql://desk@host:5433/history?sslmode=require&passfile=")
    assert "cret" not in arguments
    assert Path(f"{tool}.password").read_text() == "*:*:*:*:s\\:cret\n"


def test_a_tool_that_fails_is_quoted_and_one_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(database_copy.DatabaseCopyError, match="pg_restore is not on the PATH; install"):
        database_copy.load("postgresql://host/db", tmp_path / "dump")
    tool = tmp_path / "pg_restore"
    tool.write_text('#!/bin/sh\necho "relation runs already exists" >&2\nexit 1\n')
    tool.chmod(0o700)
    with pytest.raises(database_copy.DatabaseCopyError, match="failed: relation runs already exists"):
        database_copy.load("postgresql://host/db", tmp_path / "dump")
