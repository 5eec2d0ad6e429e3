"""The trial ledger: every parameter set ever tried, by anyone, in a file that only grows.

The number of trials decides how much a good backtest is worth, so it is counted here and never told by the caller. One
JSON object a line, each with the hash of the line before it: a removed or edited line breaks the chain. The return
series lie in a second file beside it, which only grows too; each line says where and carries its series' digest.

Belongs here: appending, verifying, counting. Doesn't: running trials.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from research_to_prod.research.bars import Floats
from research_to_prod.values import canonical_json, sha256_hex

GENESIS = "0" * 64


class TrialLedgerError(RuntimeError):
    """The ledger can't be trusted: a line is unreadable or the chain is broken."""


class TrialRecord(BaseModel):
    """One trial as it happened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial_id: str
    strategy: str
    source_sha256: str
    venue: str
    universe: tuple[str, ...]
    timeframe: str
    parameters: str
    """Canonical JSON."""
    window_start: datetime
    window_end: datetime
    data_sha256: str
    """Digest of the very bars that were used."""
    sharpe_daily: float | None = Field(allow_inf_nan=False)
    """None where it is undefined, such as for a trial that never traded."""
    returns_sha256: str
    """Digest of the daily net returns as little-endian float64."""
    n_days: int | None = Field(default=None, ge=0)
    returns_at: int | None = Field(default=None, ge=0)
    """First byte of the series in the file of series; the ledger fills it in. None in lines from before it was kept."""
    candidate: str
    run_id: str
    recorded_at: datetime


class TrialLedger:
    """An append-only file of `TrialRecord` lines, safe for several processes.

    Parameters
    ----------
    path
        The ``.jsonl`` file; created on the first append, with the file of series (``.returns``) beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.series_path = path.with_suffix(".returns")

    def append(self, records: Sequence[TrialRecord], returns: Sequence[Floats]) -> None:
        """Add ``records`` durably, in order; on return they and their series are on disk.

        A last line that was torn by a crash is cut off first: its trial never returned a result to anyone.

        Parameters
        ----------
        returns
            (D,) daily net returns of each record.

        Raises
        ------
        ValueError
            If a series is not the one that its record names.
        TrialLedgerError
            If the last whole line is not intact.
        """
        series = [series_bytes(each) for each in returns]
        for record, content in zip(records, series, strict=True):
            if sha256_hex(content) != record.returns_sha256:
                raise ValueError(f"trial {record.trial_id}: the return series is not the one that its record names")
        created = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file, _locked(file, fcntl.LOCK_EX):
            file.seek(0)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                file.truncate(whole)
            lines = data[:whole].splitlines()
            previous, sequence = GENESIS, 0
            if lines:
                last = _parse(lines[-1], len(lines))
                previous, sequence = last["sha256"], last["sequence"] + 1
            # The series first: a line never names one that is not on disk. A crash in between leaves bytes that no line
            # names, which hurt nobody.
            begins = _append_series(self.series_path, series)
            for offset, (record, start) in enumerate(zip(records, begins, strict=True)):
                kept = record.model_copy(update={"returns_at": start, "n_days": len(series[offset]) // 8})
                line = _seal(sequence + offset, previous, kept)
                previous = line["sha256"]
                file.write(canonical_json(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if created:
            _sync_folder(self.path.parent)

    def records(self, head: str | None = None) -> list[TrialRecord]:
        """Return all records, or those up to the line that ``head`` seals, after verifying the whole chain.

        Raises
        ------
        TrialLedgerError
            Naming the first line that is unreadable, edited, or out of sequence; or if no line has that seal.
        """
        records, seals = self._verified()
        if head is None:
            return records
        if head not in seals:
            raise TrialLedgerError(f"{self.path.name} has no line sealed {head}: it was another ledger, or was cut off")
        return records[: seals.index(head)]

    def returns(self, record: TrialRecord) -> Floats:
        """Return the (D,) daily net returns of a record, verified against its digest.

        Raises
        ------
        TrialLedgerError
            If the series was never kept, is not there any more, or was changed.
        """
        if record.returns_at is None or record.n_days is None:
            raise TrialLedgerError(f"trial {record.trial_id} was recorded without its series; run its trials again")
        content = b""
        if self.series_path.exists():
            with self.series_path.open("rb") as file:
                file.seek(record.returns_at)
                content = file.read(8 * record.n_days)
        if sha256_hex(content) != record.returns_sha256:
            raise TrialLedgerError(f"the return series of trial {record.trial_id} was removed or changed")
        return np.frombuffer(content, "<f8").astype(np.float64)

    @property
    def head(self) -> str:
        """The hash that seals the last line, after verifying the whole chain: it names this state of the ledger."""
        return self._verified()[1][-1]

    def _verified(self) -> tuple[list[TrialRecord], list[str]]:
        """Return the records, and the seals: that of the empty ledger, then one a record."""
        if not self.path.exists():
            return [], [GENESIS]
        with self.path.open("rb") as file, _locked(file, fcntl.LOCK_SH):
            data = file.read()
        records, seals = [], [GENESIS]
        for number, raw in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
            line = _parse(raw, number)
            if line["previous"] != seals[-1] or line["sequence"] != number - 1:
                raise TrialLedgerError(f"{self.path.name} line {number}: a line before it was removed or changed")
            seals.append(line["sha256"])
            records.append(TrialRecord.model_validate(line["trial"]))
        return records, seals

    def trials(self, strategy: str, universe: Sequence[str]) -> dict[str, TrialRecord]:
        """Return the latest record of each distinct trial of ``strategy`` on ``universe``, by trial id."""
        return distinct_trials(self.records(), strategy, universe)

    def count(self, strategy: str, universe: Sequence[str]) -> int:
        """Return the number of distinct trials ever made of ``strategy`` on ``universe``."""
        return len(self.trials(strategy, universe))


def distinct_trials(records: Iterable[TrialRecord], strategy: str, universe: Sequence[str]) -> dict[str, TrialRecord]:
    """Return the latest of ``records`` of each distinct trial of ``strategy`` on ``universe``, by trial id.

    A trial is distinct by timeframe and parameters; whose candidate it was, when, and on which window is no part of
    that, so neither renaming a candidate nor running it again changes the number.
    """
    wanted = sorted(universe)
    return {
        record.trial_id: record
        for record in records
        if record.strategy == strategy and sorted(record.universe) == wanted
    }


def series_bytes(returns: Floats) -> bytes:
    """Return a series as it is stored and hashed: little-endian float64, whatever machine wrote it."""
    return np.ascontiguousarray(returns, "<f8").tobytes()


def _append_series(path: Path, series: Sequence[bytes]) -> list[int]:
    """Append each series durably; return where each begins."""
    with path.open("ab") as file:
        begins = []
        for content in series:
            begins.append(file.tell())
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return begins


def _seal(sequence: int, previous: str, record: TrialRecord) -> dict[str, Any]:
    line = {"sequence": sequence, "previous": previous, "trial": record.model_dump(mode="json")}
    return {**line, "sha256": sha256_hex(canonical_json(line))}


def _parse(raw: bytes, number: int) -> dict[str, Any]:
    try:
        line = json.loads(raw)
        sealed = sha256_hex(canonical_json({name: value for name, value in line.items() if name != "sha256"}))
        intact = sealed == line["sha256"]
    except (ValueError, KeyError, AttributeError) as error:
        raise TrialLedgerError(f"trial ledger line {number} is unreadable: {error}") from error
    if not intact:
        raise TrialLedgerError(f"trial ledger line {number} was changed: its hash does not match")
    return dict(line)


@contextmanager
def _locked(file: IO[bytes], kind: int) -> Iterator[None]:
    fcntl.flock(file, kind)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _sync_folder(folder: Path) -> None:
    """Make the new file's name durable too: without it a power cut can lose the whole file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
