"""The promotion ledger: what is promoted is what a signed record here says, and nothing else.

One file of lines, each the canonical JSON of ``{"record": {...}, "signatures": [{"key_id", "signature"}]}``. The leaf
is the canonical bytes of the record: they are what is signed, and their SHA-256 is the ``prev`` of the next record.
Signatures stand outside the leaf, so that co-signatures can come later without breaking the chain, and a tree over
the leaves can be built from the file as it is. Every signature on a line must be good, and the log's key must be
among them.

Readers verify everything on every read. Writers take an exclusive lock, verify, append with one write, and fsync
before they acknowledge. A crash can leave the beginning of a line, which is never JSON: readers pass over it, the
next writer cuts it off. A last line that is JSON is not torn, and is held to the same rules as every other.

Belongs here: the file, its verification, and the rules between records. Doesn't: what a decision rests on, and
witnesses: a log alone cannot prove that its end was not cut off.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from research_to_prod.promotion.files import make_folder, sync_folder
from research_to_prod.promotion.keys import Keys, Signature
from research_to_prod.promotion.record import GENESIS, CanonicalModel, Draft, Record, RecordType, describe
from research_to_prod.promotion.stages import IllegalTransitionError, Standing
from research_to_prod.values import Stage, digest, sha256_hex

RECORDS_FILE = "records.jsonl"
RECORD_TYPE = "application/vnd.research-to-prod.ledger-record+json"
LONGEST_WAIT = timedelta(minutes=5)
"""How far a decision's time may lie behind the log's end: it was taken before the decision was judged, and others may
have been recorded since. Further behind, the clock was set back."""
LINE_START = b'{"record":{'

logger = logging.getLogger(__name__)


class LedgerError(ValueError):
    """The ledger does not verify, cannot be read or written, or refuses a record; the message names the line."""


class Line(CanonicalModel):
    """One line of the file: a record and the signatures over its canonical bytes."""

    record: Record
    signatures: tuple[Signature, ...]

    def leaf(self, raw: bytes) -> bytes:
        """Return the record's canonical bytes, cut from those of this line.

        Making them anew, for the signature and once more for the hash, doubles the time of verifying (measured).
        """
        before = b'{"record":'
        after = b',"signatures":[' + b",".join(each.canonical_bytes() for each in self.signatures) + b"]}"
        return raw[len(before) : len(raw) - len(after)]


@dataclass(frozen=True)
class Head:
    """Where a log ends: how many records it has and the SHA-256 of the last one."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Verification:
    """A ledger that verified: its records, what was checked, and what this check cannot see.

    ``torn_bytes`` counts the bytes of a line that a crash cut short; it was never acknowledged.
    """

    records: tuple[Record, ...]
    head: Head
    torn_bytes: int
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]


@dataclass
class _Chain:
    """What the next record of a log must agree with."""

    records: list[Record] = field(default_factory=list)
    standing: Standing = field(default_factory=Standing)
    _decisions: dict[str, int] = field(default_factory=dict)
    _evidence: dict[tuple[str, str, Stage, str | None], int] = field(default_factory=dict)
    _head: str = GENESIS

    @property
    def head(self) -> Head:
        return Head(len(self.records), self._head)

    @property
    def log_id(self) -> str | None:
        return self.records[0].log_id if self.records else None

    def problems(self, record: Record) -> list[str]:
        """Return every rule between records that ``record`` breaks as the next one."""
        problems = []
        if record.seq != len(self.records):
            problems.append(f"seq is {record.seq}, expected {len(self.records)}")
        if record.prev != self._head:
            problems.append(f"prev is {record.prev}, the record before it has SHA-256 {self._head}")
        expected = self.log_id or log_id_of(record)
        if record.log_id != expected:
            problems.append(f"it belongs to log {record.log_id}, this is log {expected}")
        if record.decision_id in self._decisions:
            problems.append(f"decision {record.decision_id} is already record {self._decisions[record.decision_id]}")
        if self.records and record.recorded_at < self.records[-1].recorded_at:
            last = self.records[-1].recorded_at
            problems.append(
                f"recorded at {record.recorded_at}, before the last record ({last}): was the clock set back?"
            )
        if record.type is RecordType.PROMOTE and (used := self._evidence.get(_evidence(record))) is not None:
            # A second promotion on the first one's evidence is a replay, or two processes that decided at once.
            problems.append(
                f"gate report {record.gate_report_sha256} already promoted it to {record.to_stage}: record {used}"
            )
        return problems

    def extend(self, record: Record, sha256: str) -> list[str]:
        """Add ``record``, whose hash is ``sha256``, or return the rules it breaks and leave the chain as it was."""
        problems = self.problems(record)
        if not problems:
            try:
                self.standing.advance(record)
            except IllegalTransitionError as error:
                problems.append(str(error))
        if problems:
            return problems
        self._decisions[record.decision_id] = record.seq
        if record.type is RecordType.PROMOTE:
            self._evidence[_evidence(record)] = record.seq
        self._head = sha256
        self.records.append(record)
        return []


def log_id_of(first: Draft) -> str:
    """Return the name of the log that begins with ``first``: the digest of what it decided."""
    return digest(first.decided())


class Ledger:
    """The log in ``folder``, verified with ``keys``; appending needs keys that can sign.

    Raises
    ------
    LedgerError
        From every method, when the log does not verify or cannot be read.
    """

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.path = folder / RECORDS_FILE
        self._keys = keys

    def records(self) -> tuple[Record, ...]:
        """Return all records, in order, after verifying all of them."""
        return self.verify().records

    @property
    def head(self) -> Head:
        """Where the log ends, after verifying it: what a witness keeps to notice a log that was cut or rewritten."""
        return self.verify().head

    def verify(self) -> Verification:
        """Verify every line, and say what was checked and what a log alone cannot show."""
        chain, torn = self._verified(self._read_all())
        signers = sorted(self._keys.public)
        return Verification(
            records=tuple(chain.records),
            head=chain.head,
            torn_bytes=torn,
            checked=(
                f"{len(chain.records)} lines are canonical and of the known form, without unknown fields",
                "each record carries the hash of the one before it, from the first on, and belongs to this log",
                f"each record is signed by a trusted key ({', '.join(signers)}), each signature is good",
                "sequence numbers have no gap, times never go back, no decision appears twice",
                "each promotion has its checks and gating gates passed, none reuses the evidence of another",
                "each transition is legal and starts where its candidate stood",
            ),
            not_checked=(
                "whether records were cut off at the end: compare the head with one kept by an outside witness",
                "whether the holder of the log's key rewrote the log: same remedy",
                "whether the recorded times were the true times",
                "whether the inputs, checks and gates were as recorded: that is the event log's and the lake's to show",
            ),
        )

    def append(self, draft: Draft) -> Record:
        """Add a decision and return its record once it is on disk; concurrent processes take turns.

        Whoever was overtaken while waiting (by at most `LONGEST_WAIT`) is recorded at the time of the record before it.

        Raises
        ------
        LedgerError
            When the log does not verify, the record breaks a rule (all broken rules are named), or it could not be
            written; then the log is as it was.
        """
        with self._open_for_writing() as descriptor:
            data = _read(descriptor)
            chain, torn = self._verified(data)
            kept = len(data) - torn
            record = self._placed(draft, chain)
            signature = self._keys.sign(RECORD_TYPE, record.canonical_bytes())
            line = Line(record=record, signatures=(signature,)).canonical_bytes()
            # What is written has passed what readers check, or the log could lock itself out.
            if problems := self._line_problems(chain, line):
                raise LedgerError(f"{self.path} refuses decision {draft.decision_id}: " + "; ".join(problems))
            if torn:
                logger.warning("%s: cut off %d bytes of a line that a crash had torn", self.path, torn)
            ended = data[:kept].endswith(b"\n") or kept == 0
            self._write(descriptor, kept, line + b"\n" if ended else b"\n" + line + b"\n")
        return record

    def _placed(self, draft: Draft, chain: _Chain) -> Record:
        try:
            decided = Draft.model_validate(dict(draft))
            decided = Draft.model_validate(dict(decided) | {"recorded_at": self._turn(decided, chain)})
            place = {"log_id": chain.log_id or log_id_of(decided), "seq": chain.head.size, "prev": chain.head.sha256}
            return Record.model_validate(dict(decided) | place)
        except ValidationError as error:
            raise LedgerError(f"{self.path} refuses decision {draft.decision_id}: {describe(error)}") from error

    def _turn(self, draft: Draft, chain: _Chain) -> datetime:
        """Return when ``draft`` is recorded: at its own time, or at that of what overtook it while it waited."""
        earliest = max([self._keys.valid_from, *(record.recorded_at for record in chain.records[-1:])])
        waited = earliest - draft.recorded_at
        return earliest if timedelta(0) < waited <= LONGEST_WAIT else draft.recorded_at

    def _verified(self, data: bytes) -> tuple[_Chain, int]:
        lines, torn = _split(data)
        chain = _Chain()
        for number, line in enumerate(lines, start=1):
            if problems := self._line_problems(chain, line):
                raise LedgerError(f"{self.path} line {number} does not verify: " + "; ".join(problems))
        return chain, torn

    def _line_problems(self, chain: _Chain, raw: bytes) -> list[str]:
        """Extend ``chain`` by one raw line, or return everything wrong with it."""
        try:
            line = Line.from_canonical_bytes(raw)
        except ValueError as error:
            return [str(error)]
        leaf = line.leaf(raw)
        unsigned = self._keys.problems(line.signatures, RECORD_TYPE, leaf, line.record.recorded_at)
        return unsigned + chain.problems(line.record) if unsigned else chain.extend(line.record, sha256_hex(leaf))

    def _read_all(self) -> bytes:
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._cannot("read", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            return _read(descriptor)
        except OSError as error:
            raise self._cannot("read", error) from error
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

    def _write(self, descriptor: int, kept: int, line: bytes) -> None:
        try:
            os.ftruncate(descriptor, kept)
            _write_whole(descriptor, line)
            os.fsync(descriptor)
            if kept == 0:
                sync_folder(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(descriptor, kept)
            raise self._cannot("write", error) from error

    def _cannot(self, what: str, error: OSError) -> LedgerError:
        return LedgerError(
            f"cannot {what} the ledger {self.path}: {error.strerror}; check the path, its owner and mode"
        )


def _evidence(record: Record) -> tuple[str, str, Stage, str | None]:
    return record.candidate, record.candidate_sha256, record.to_stage, record.gate_report_sha256


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        return stream.read()


def _write_whole(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, "only a part was written; is the disk full?")


def _split(data: bytes) -> tuple[list[bytes], int]:
    """Return the lines, and how many bytes at the end are the beginning of a line that a crash cut short."""
    *lines, tail = data.split(b"\n")
    # The beginning of a JSON object is never JSON itself, and never begins otherwise than our lines do.
    if not tail:
        return lines, 0
    if LINE_START.startswith(tail[: len(LINE_START)]) and not _is_json(tail):
        return lines, len(tail)
    return [*lines, tail], 0


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
