"""The promotion ledger: what is promoted is what a signed record here says, and nothing else.

``records.jsonl`` has one canonical JSON record a line: the leaves of an RFC 6962 tree. After each record the tree's
head is signed as a C2SP checkpoint, ``checkpoints/<size>``; that signature is the record's. What records name by hash
lies in ``blobs``. All rules are `verifier`'s, which an auditor runs without this package.

A record counts once its checkpoint is on disk: blobs, then the record, then the checkpoint are fsynced before a writer
acknowledges. A line behind the newest checkpoint, whole or torn, is what a crash left of a record that was never
acknowledged: readers pass over it, the next writer cuts it off. More than one such line no crash can leave, and the log
does not verify. Readers verify everything on every read; writers take turns under an exclusive lock.

Belongs here: the files and their order. Doesn't: what a decision rests on, and witnesses: a log alone cannot prove that
its end was not cut off.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from research_to_prod.promotion import verifier
from research_to_prod.promotion.blobs import Blobs
from research_to_prod.promotion.files import create_once, make_folder, sync_folder
from research_to_prod.promotion.keys import Keys, public_entries
from research_to_prod.promotion.record import Change, ChangeRecord, Draft, Evidence, Record, RecordType, describe

LONGEST_WAIT = timedelta(minutes=5)
"""How far a decision's time may lie behind the log's end: it was taken before the decision was judged, and others may
have been recorded since. Further behind, the clock was set back."""

logger = logging.getLogger(__name__)


class LedgerError(ValueError):
    """The ledger does not verify, cannot be read or written, or refuses a record; the message names the line."""


@dataclass(frozen=True)
class Head:
    """Where a log ends: how many records it has and the SHA-256 of the last one."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Verification:
    """A ledger that verified.

    Parameters
    ----------
    records
        The decisions on candidates, in order.
    changes
        The changes of keys and policies, in order.
    head
        Where the log ends.
    checkpoint
        The newest signed checkpoint, as a note; None of an empty log.
    unacknowledged_bytes
        Bytes behind the newest checkpoint, which a crash left.
    report
        What was checked, and what a log alone cannot show.
    """

    records: tuple[Record, ...]
    changes: tuple[ChangeRecord, ...]
    head: Head
    checkpoint: bytes | None
    unacknowledged_bytes: int
    report: verifier.Report

    def entries(self) -> list[Record | ChangeRecord]:
        """Return everything that was recorded, in order."""
        return sorted([*self.records, *self.changes], key=lambda record: record.seq)


class Ledger:
    """The log in ``folder``, verified with ``keys``; appending needs keys that can sign.

    Raises
    ------
    LedgerError
        From every method, when the log does not verify or cannot be read.
    """

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.path = folder / verifier.RECORDS
        self.blobs = Blobs(folder)
        self._folder = folder
        self._keys = keys

    def records(self) -> tuple[Record, ...]:
        """Return all decisions on candidates, in order, after verifying the whole log."""
        return self.verify().records

    def evidence(self, record: Record) -> Evidence:
        """Return what a record's decision rests on.

        Raises
        ------
        BlobError
            When it is not there, whole and unaltered.
        """
        return Evidence.from_canonical_bytes(self.blobs.read(record.evidence_sha256))

    def checkpoint(self, size: int) -> bytes:
        """Return the signed checkpoint of the first ``size`` records, as it is on disk."""
        note = self._read(self._checkpoint_name(size))
        if note is None:
            raise LedgerError(f"{self.path} has no checkpoint of {size} records")
        return note

    @property
    def head(self) -> Head:
        """Where the log ends, after verifying it."""
        return self.verify().head

    def verify(self) -> Verification:
        """Verify every record, and say what was checked and what a log alone cannot show."""
        with self._open_for_reading() as data:
            log, report, kept = self._verified(data)
            checkpoint = self._read(self._checkpoint_name(len(log.records))) if log.records else None
        changes = {RecordType.KEY_CHANGE, RecordType.POLICY_CHANGE}
        return Verification(
            records=tuple(Record.model_validate(each) for each in log.records if each["type"] not in changes),
            changes=tuple(ChangeRecord.model_validate(each) for each in log.records if each["type"] in changes),
            head=Head(len(log.records), log.head),
            checkpoint=checkpoint,
            unacknowledged_bytes=len(data) - kept,
            report=report,
        )

    def append(self, draft: Draft, blobs: Iterable[bytes] = ()) -> Record:
        """Add a decision and return its record once it is on disk; concurrent processes take turns.

        Whoever was overtaken while waiting (by at most `LONGEST_WAIT`) is recorded at the time of the record before it.

        Parameters
        ----------
        draft
            The decision.
        blobs
            What it names by hash and may not be stored yet: policy, parameters, gate report, envelopes of approvals.

        Raises
        ------
        LedgerError
            When the log does not verify, the record breaks a rule (all broken rules are named), or it could not be
            written; then the log is as it was.
        """
        try:
            draft = Draft.model_validate(dict(draft))
        except ValidationError as error:
            raise LedgerError(f"{self.path} refuses decision {draft.decision_id}: {describe(error)}") from error
        return Record.model_validate(self._add(draft, (*blobs, draft.evidence.canonical_bytes())))

    def record_change(self, change: Change, blobs: Iterable[bytes] = ()) -> ChangeRecord:
        """Add a change of a key or a policy, as `append` adds a decision."""
        return ChangeRecord.model_validate(self._add(change, blobs))

    def _add(self, entry: Draft | Change, blobs: Iterable[bytes]) -> dict[str, object]:
        try:
            for blob in blobs:
                self.blobs.write(blob)
        except OSError as error:
            raise self._cannot("write", error) from error
        with self._open_for_writing() as descriptor:
            data = _read_all(descriptor)
            log, _, kept = self._verified(data)
            line = verifier.canonical(self._placed(entry, log))
            # What is written has passed what readers check, or the log could lock itself out.
            problems = log.add(line)
            note = b""
            if not problems:
                note = self._keys.sign_checkpoint(log.origin, log.tree.size, log.tree.root())
                at = log.records[-1]["recorded_at"]
                problems, _ = verifier.signature_problems(verifier.parse_checkpoint(note), log.keys, at)
            if problems:
                raise LedgerError(f"{self.path} refuses decision {entry.decision_id}: " + "; ".join(problems))
            if kept < len(data):
                logger.warning("%s: cut off %d bytes that were never acknowledged", self.path, len(data) - kept)
            line = line + b"\n" if data[:kept].endswith(b"\n") or kept == 0 else b"\n" + line + b"\n"
            self._write(descriptor, kept, line, self._folder / self._checkpoint_name(log.tree.size), note)
        return log.records[-1]

    def _placed(self, entry: Draft | Change, log: verifier.Log) -> dict[str, object]:
        decided = entry.decided() | {"recorded_at": verifier.time_text(self._turn(entry, log))}
        log_id = log.records[0]["log_id"] if log.records else verifier.sha256(verifier.canonical(decided))
        return decided | {"v": verifier.VERSION, "log_id": log_id, "seq": len(log.records), "prev": log.head}

    def _turn(self, entry: Draft | Change, log: verifier.Log) -> datetime:
        """Return when ``entry`` is recorded: at its own time, or at that of what overtook it while it waited."""
        last = (datetime.fromisoformat(record["recorded_at"]) for record in log.records[-1:])
        earliest = max([self._keys.valid_from, *last])
        waited = earliest - entry.recorded_at
        return earliest if timedelta(0) < waited <= LONGEST_WAIT else entry.recorded_at

    def _verified(self, data: bytes) -> tuple[verifier.Log, verifier.Report, int]:
        """Return the log in ``data``, the report on it, and how many bytes of ``data`` were acknowledged."""
        folder = self._folder / verifier.CHECKPOINTS
        sizes = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
        acknowledged, newest = data.removesuffix(b"\n").split(b"\n"), max(sizes, default=0)
        if len(acknowledged) == newest + 1:
            acknowledged.pop()
        kept = min(len(data), sum(len(line) + 1 for line in acknowledged))

        def source(name: str) -> bytes | None:
            return data[:kept] if name == verifier.RECORDS else self._read(name)

        log, report = verifier.check(source, sizes, verifier.parse_keys(public_entries(self._keys)), None)
        if report.problems:
            raise LedgerError(f"{self.path}: " + "; ".join(report.problems))
        return log, report, kept

    @staticmethod
    def _checkpoint_name(size: int) -> str:
        return f"{verifier.CHECKPOINTS}{size:08d}"

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._cannot("read", error) from error

    @contextmanager
    def _open_for_reading(self) -> Iterator[bytes]:
        """Give the file's bytes while no writer can add to it or to the checkpoints."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            yield b""
            return
        except OSError as error:
            raise self._cannot("read", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            try:
                data = _read_all(descriptor)
            except OSError as error:
                raise self._cannot("read", error) from error
            yield data
        finally:
            os.close(descriptor)

    @contextmanager
    def _open_for_writing(self) -> Iterator[int]:
        try:
            make_folder(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._cannot("write", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, kept: int, line: bytes, checkpoint: Path, note: bytes) -> None:
        try:
            os.ftruncate(descriptor, kept)
            _write_whole(descriptor, line)
            os.fsync(descriptor)
            if kept == 0:
                sync_folder(self.path.parent)
            create_once(checkpoint, note, 0o644)
        except OSError as error:
            # The disk may refuse after the checkpoint has its name. Left there, it would say that a record was cut off.
            with suppress(OSError):
                checkpoint.unlink(missing_ok=True)
                os.ftruncate(descriptor, kept)
            raise self._cannot("write", error) from error

    def _cannot(self, what: str, error: OSError) -> LedgerError:
        return LedgerError(
            f"cannot {what} the ledger {self.path}: {error.strerror}; check the path, its owner and mode"
        )


def _write_whole(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, "only a part was written; is the disk full?")


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        return stream.read()
