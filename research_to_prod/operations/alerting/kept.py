"""What the alerter keeps of the running day: every evaluation that fires, is about to, or has just ended.

A line a turn, the lines of its evaluations compressed together: what is said every minute is nearly the same. When the
day is over they become a partition of a table, and the file goes. Belongs here: the file. Doesn't: an evaluation's line
(``records``), the table (``contracts``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import pyarrow as pa

from research_to_prod.operations.alerting.contracts import ALERT_EVALUATIONS
from research_to_prod.operations.alerting.evaluation import Evaluation, Phase
from research_to_prod.operations.alerting.records import line_of, line_of_row
from research_to_prod.operations.alerting.rules import AlertPolicy
from research_to_prod.operations.append_only import AppendOnly

_ROWS = 5_000  # made into a table at a time: as Python's objects a row is thirty times as large


class KeptError(ValueError):
    """A day's file can't be read, or is not what became of it; the message names the file and the remedy."""


def keep(folder: Path, evaluations: Iterable[Evaluation], policy: AlertPolicy, now: datetime) -> None:
    """Keep a turn's evaluations, durably; one that is calm and was calm before says nothing."""
    kept = [each for each in evaluations if {each.case.before.phase, each.after.phase} != {Phase.CALM}]
    if kept:
        lines = b"\n".join(line_of(each, policy) for each in kept)
        # As in a row: the moment of midnight belongs to the day that it ends.
        with AppendOnly(_path(folder, f"{now - timedelta(microseconds=1):%Y-%m-%d}")).turn() as turn:
            turn.append([base64.b64encode(zlib.compress(lines))])


def kept_lines(folder: Path, day: str) -> Iterator[bytes]:
    """Yield what was kept of ``day``, evaluation by evaluation; nothing where there is no file.

    Raises
    ------
    KeptError
        Naming the line that can't be read.
    """
    path = _path(folder, day)
    turns, _ = AppendOnly(path).since(0)
    for number, turn in enumerate(turns, start=1):
        try:
            yield from zlib.decompress(base64.b64decode(turn, validate=True)).split(b"\n")
        except (binascii.Error, zlib.error) as error:
            told = f"{path} line {number} can't be read: {error}; keep the file, and find out who changed it"
            raise KeptError(told) from error


def kept_table(folder: Path, day: str, stored: pa.Table) -> pa.Table:
    """Return ``stored`` (rows of ALERT_EVALUATIONS) and after it whatever else was kept of ``day``."""
    known = _digests(stored)
    lines = (line for line in kept_lines(folder, day) if _digest(line) not in known)
    parts = [stored]
    while taken := list(islice(lines, _ROWS)):
        rows = [json.loads(line) for line in taken]
        rows = [row | {"as_of": datetime.fromisoformat(row["as_of"])} for row in rows]
        parts.append(pa.Table.from_pylist(rows, schema=ALERT_EVALUATIONS.arrow))
    return pa.concat_tables(parts)


def let_go(folder: Path, day: str, stored: pa.Table) -> int:
    """Remove the file of a day that ``stored`` has to the byte, and return how many bytes the file had.

    Raises
    ------
    KeptError
        When a line of it is not among the rows; the file stays then.
    """
    path, known = _path(folder, day), _digests(stored)
    if not path.exists():
        return 0
    missing = sum(_digest(line) not in known for line in kept_lines(folder, day))
    if missing:
        raise KeptError(f"{path}: {missing} evaluations are not in the table to the byte; the file stays")
    size = path.stat().st_size
    path.unlink()
    return size


def _digests(rows: pa.Table) -> set[bytes]:
    return {_digest(line_of_row(row)) for batch in rows.to_batches(_ROWS) for row in batch.to_pylist()}


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()


def _path(folder: Path, day: str) -> Path:
    return folder / f"evaluations-{day}.lines"
