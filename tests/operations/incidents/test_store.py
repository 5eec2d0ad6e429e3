"""The file of incidents: for several processes, torn lines, and disks that refuse."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import pytest

from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.append_only import AppendOnly
from research_to_prod.operations.incidents.lifecycle import IllegalTransitionError, Status
from research_to_prod.operations.incidents.store import IncidentError, IncidentStore
from tests.operations.alerting.book import NOON
from tests.operations.incidents.test_lifecycle import moved, opened, started


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "operations" / "incidents.jsonl"


def test_where_nothing_happened_there_are_no_incidents_and_no_file(path: Path) -> None:
    assert IncidentStore(path).read().all() == []
    assert not path.exists()


def test_what_another_process_added_is_seen_at_the_next_look(path: Path) -> None:
    here, there = IncidentStore(path), IncidentStore(path)
    started(here)
    moved(there, Status.ACKED)
    assert here.read().get("one").acked_by == "user:ana"


def test_a_torn_line_was_never_acknowledged_and_is_cut_off_by_the_next_writer(path: Path) -> None:
    started(IncidentStore(path))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "transi')
    assert IncidentStore(path).read().get("one").status is Status.DETECTED
    moved(IncidentStore(path), Status.ACKED)
    assert path.read_bytes().startswith(whole)
    assert IncidentStore(path).read().get("one").status is Status.ACKED


def test_a_line_that_was_edited_is_named(path: Path) -> None:
    store = IncidentStore(path)
    started(store)
    moved(store, Status.ACKED, Status.MITIGATING)
    path.write_bytes(path.read_bytes().replace(b'"to":"acked"', b'"to":"resolved"'))
    with pytest.raises(IncidentError, match="can't be read: one: "):
        IncidentStore(path).read()


def test_a_file_that_was_cut_is_noticed(path: Path) -> None:
    store = IncidentStore(path)
    started(store)
    moved(store, Status.ACKED)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IncidentError, match="it was cut, and only ever grows"):
        store.read()


@pytest.mark.parametrize("of", ['{"other":[0]}', "null"])
def test_a_firing_of_what_nobody_opened_is_told_as_a_broken_file(path: Path, of: str) -> None:
    started(IncidentStore(path))
    with path.open("a") as stream:
        stream.write(f'{{"kind":"occurrence","at":"2026-01-05T12:00:00.000Z","of":{of}}}\n')
    with pytest.raises(IncidentError, match=r"12:00:00.* is of an incident that nobody opened; keep it"):
        IncidentStore(path).read()


def test_an_error_half_way_leaves_nothing_behind(path: Path) -> None:
    store = IncidentStore(path)
    started(store)
    before = path.read_bytes()
    with pytest.raises(IllegalTransitionError):
        moved(store, Status.ACKED, Status.REVIEWED)
    assert path.read_bytes() == before
    assert store.read().get("one").status is Status.DETECTED


def add_many(path: Path, first: int) -> None:
    store = IncidentStore(path)
    for number in range(first, first + 20):
        with store.work() as work:
            work.open(f"i{number}", opened(f"rule{number}"), Severity.P3, NOON, "evidence", None)


def test_processes_take_turns_and_lose_nothing(path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=add_many, args=(path, first)) for first in (0, 100, 200)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
    assert [each.exitcode for each in workers] == [0, 0, 0]
    assert len(IncidentStore(path).read().all()) == 60


def test_the_last_whole_line_is_found_behind_a_long_torn_one(tmp_path: Path) -> None:
    file = AppendOnly(tmp_path / "lines")
    with file.turn() as turn:
        turn.append([b"one", b"two"])
    with file.path.open("ab") as stream:
        stream.write(b"x" * 200_000)
    with file.turn() as turn:
        turn.append([b"three"])
    assert file.since(0) == ([b"one", b"two", b"three"], 14)
    assert file.path.read_bytes() == b"one\ntwo\nthree\n"


def test_what_the_disk_does_not_keep_is_an_error_and_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = IncidentStore(path)
    started(store)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(IncidentError, match="can't be written: Input/output error; nothing was changed"):
        moved(store, Status.ACKED)
    assert path.read_bytes() == before
    assert store.read().get("one").status is Status.DETECTED
