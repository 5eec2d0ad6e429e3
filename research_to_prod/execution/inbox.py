"""The desk's inbox: the files in which order management systems hand over their records of a day.

Belongs here: finding a day's files, and settling what they say of the same record. Doesn't: judging one row
(row_checks), storage, and any judgement across tables (that is reconciliation). What an author of an order management
system needs to know is in ``docs/oms.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.execution.row_checks import QUARANTINE, InboxError, as_json, check_file
from research_to_prod.lake.schema import Schema
from research_to_prod.values import day_bounds, sha256_hex

_REVISION = re.compile(r"\.r([0-9]{1,9})\.(?:parquet|csv)$")


class MissingDeliveryError(FileNotFoundError):
    """The desk has delivered no file for this kind and day; the message names what is expected where."""


@dataclass(frozen=True)
class DeliveredFile:
    """One file of a delivery, identified by its content."""

    name: str
    sha256: str
    rows: int

    @property
    def revision(self) -> int:
        """The number after ``.r`` at the end of its name; 0 without one."""
        found = _REVISION.search(self.name)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class Delivery:
    """What the desk delivered of one kind for one day.

    Parameters
    ----------
    rows
        Good rows, conforming to the kind's schema, sorted by key.
    files
        The files read, by name.
    quarantined
        Rows that did not become a record, ``QUARANTINE`` columns: refused, contradictory and superseded ones.
    repeated_rows
        Exact repetitions of a row that were dropped.
    superseded_rows
        Rows in quarantine only because a later revision says otherwise.
    """

    rows: pa.Table
    files: tuple[DeliveredFile, ...]
    quarantined: pa.Table
    repeated_rows: int
    superseded_rows: int


def read_inbox(folder: Path, kind: str, day: str) -> Delivery:
    """Read everything that the desk delivered of ``kind`` for the UTC day ``YYYY-MM-DD``.

    Of the rows with one key, those of the highest revision count. Rows that say the same are one. Where rows of that
    revision differ, none counts. The result follows from the names and bytes of the files alone.

    Raises
    ------
    MissingDeliveryError
        If no file is there.
    InboxError
        If a file has unknown or missing columns, wrong types, or cannot be parsed; lists every fault of every file.
    """
    schema = INBOX_KINDS[kind]
    day_bounds(day)
    paths = sorted(_delivered(folder, kind, day))
    if not paths:
        raise MissingDeliveryError(
            f"no {kind} delivered for {day}: expected {folder / kind / day}*.parquet or .csv; "
            "a day without any is delivered as a file without rows"
        )
    files: list[DeliveredFile] = []
    accepted: list[pa.Table] = []
    refused: list[pa.Table] = []
    faults: list[str] = []
    root = folder.resolve()
    for path in paths:
        # Whoever may deliver a file may deliver a link to one that he may not read; quarantine would show it to him.
        if not path.resolve().is_relative_to(root):
            faults.append(f"{path.name}: leads to {path.resolve()}, outside of the inbox; deliver the file itself")
            continue
        content = path.read_bytes()
        try:
            checked = check_file(path.name, content, schema, day)
        except InboxError as error:
            faults.append(str(error))
            continue
        files.append(DeliveredFile(path.name, sha256_hex(content), checked.delivered))
        rows = checked.accepted.append_column("file", pa.repeat(path.name, checked.accepted.num_rows))
        accepted.append(rows.append_column("revision", pa.repeat(files[-1].revision, rows.num_rows)))
        refused.append(checked.refused)
    if faults:
        raise InboxError("\n".join(faults))
    return _settle(pa.concat_tables(accepted), tuple(files), pa.concat_tables(refused), schema, day)


def delivered_days(folder: Path, kinds: Iterable[str]) -> set[str]:
    """Return the days of which a file of each of these kinds lies in the inbox, whether it can be read or not."""
    return set.intersection(*({path.name[:10] for path in _delivered(folder, kind)} for kind in kinds))


def _delivered(folder: Path, kind: str, day: str = "") -> Iterator[Path]:
    for path in (folder / kind).glob(f"{day}*"):
        if path.suffix in {".parquet", ".csv"} and not path.name.startswith("."):
            yield path


def _settle(rows: pa.Table, files: tuple[DeliveredFile, ...], refused: pa.Table, schema: Schema, day: str) -> Delivery:
    """Drop exact repetitions, quarantine superseded and contradictory rows, and conform the rest."""
    names, key = [column.name for column in schema.columns], list(schema.key)
    repeated, superseded = 0, rows.slice(0, 0)
    # Grouping by every column costs ten times grouping by the key, and a usual delivery repeats nothing.
    if rows.group_by(key, use_threads=False).aggregate([]).num_rows < rows.num_rows:
        # Newest first, so that of equal rows the one of the highest revision is kept.
        order: list[tuple[str, str]] = [("revision", "descending"), ("file", "ascending"), ("row", "ascending")]
        firsts = [(name, "first") for name in ("file", "row", "revision")]
        distinct = rows.sort_by(order).group_by(names, use_threads=False).aggregate(firsts)
        distinct = distinct.rename_columns([name.removesuffix("_first") for name in distinct.column_names])
        repeated = rows.num_rows - distinct.num_rows
        newest = distinct.group_by(key, use_threads=False).aggregate([("revision", "max")])
        distinct = distinct.join(newest, key, join_type="inner")
        is_newest = pc.equal(distinct["revision"], distinct["revision_max"])
        superseded, rows = distinct.filter(pc.invert(is_newest)), distinct.filter(is_newest)
        counts = rows.group_by(key, use_threads=False).aggregate([([], "count_all")])
        contradictory = counts.filter(pc.greater(counts.column("count_all"), 1)).select(key)
        contradictions = rows.join(contradictory, key, join_type="left semi")
        rows = rows.join(contradictory, key, join_type="left anti")
        reason = f"rows with the same {', '.join(key)} and different content"
        reasons = [f"superseded by revision {each}" for each in superseded["revision_max"].to_pylist()]
        refused = pa.concat_tables(
            [
                refused,
                _unused(superseded, names, reasons),
                _unused(contradictions, names, [reason] * contradictions.num_rows),
            ]
        )
    return Delivery(
        rows=schema.conform(rows.select(names), day),
        files=files,
        quarantined=refused.sort_by([("file", "ascending"), ("row", "ascending")]),
        repeated_rows=repeated,
        superseded_rows=superseded.num_rows,
    )


def _unused(rows: pa.Table, names: list[str], reasons: list[str]) -> pa.Table:
    content = as_json(rows.select(names))
    columns = [rows["file"], rows["row"], pa.array(reasons, pa.string()), pa.array(content, pa.string())]
    return pa.table(columns, schema=QUARANTINE)
