"""The writers of the crash matrix: each writes one named thing until it is acknowledged, and says what is stored.

Belongs here: the project's own writers on real files, through their public functions. Doesn't: who kills them
(``harness``). What is stored is read by a process of its own, as the next one after a crash would.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import duckdb
import pyarrow as pa

from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.lake import Lake
from research_to_prod.lake.schema import Column, Schema
from research_to_prod.lake.warehouse import publish_warehouse
from research_to_prod.operations.append_only import AppendOnly
from research_to_prod.operations.delivery.message import Message
from research_to_prod.operations.delivery.outbox import Mark, Outbox
from research_to_prod.promotion import approvals
from research_to_prod.promotion.controls import Control, Mode, Scope
from research_to_prod.promotion.files import replace_file
from research_to_prod.promotion.keys import Keys, new_approver, open_keys, open_private, public_entries, read_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.manifest import production_manifest, read_manifest, write_manifest
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.values import canonical_json, sha256_hex
from tests.operations.delivery.told import Memory, history
from tests.promotion.conftest import _draft
from tests.research.test_trial_ledger import RETURNS, record

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
RULE = ApprovalRule(people=1, valid_for=timedelta(days=3), why="One person, for the crash matrix only.")
TABLE = "written"
# Enough rows that a kill can fall between a file's first byte and its last.
ROWS = 20_000
_LAST = 5
SCHEMA = Schema("One write.", (Column("row", pa.int64(), "position"), Column("name", pa.string(), "which")), ("row",))


class Writer(ABC):
    """One of the project's writers, on files under ``folder``."""

    name: ClassVar[str]
    keeps_all: ClassVar[bool] = True
    """Whether a write stays beside the earlier ones; else it takes their place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Make what exists before the first write."""

    @abstractmethod
    def write(self, name: str) -> None:
        """Write one thing; it is acknowledged when this returns."""

    @abstractmethod
    def stored(self) -> Sequence[str]:
        """Return the names of what is stored, oldest first; an error where something is there by half."""


class LakeWriter(Writer):
    name = "lake: rows replaced, versions kept"
    keeps_all = False

    def write(self, name: str) -> None:
        Lake(self.folder / "lake").write(TABLE, None, _rows(name), SCHEMA)

    def stored(self) -> list[str]:
        lake = Lake(self.folder / "lake")
        if not lake.has(TABLE):
            return []
        # Versions must still read back with the hash that their commits state; each costs 20 ms, so the last few.
        return [_name(lake.read_version(each)) for each in lake.history(TABLE, None)[-_LAST:]]


class WarehouseWriter(Writer):
    name = "warehouse: published anew"
    keeps_all = False

    def write(self, name: str) -> None:
        lake = Lake(self.folder / "lake")
        lake.write(TABLE, None, _rows(name), SCHEMA)
        publish_warehouse(lake, self._path)

    def stored(self) -> list[str]:
        if not self._path.exists():
            return []
        with duckdb.connect(self._path, read_only=True) as warehouse:
            return [_name(warehouse.execute(f"FROM {TABLE} ORDER BY row").to_arrow_table())]

    @property
    def _path(self) -> Path:
        return self.folder / "warehouse.duckdb"


class LedgerWriter(Writer):
    name = "promotion ledger: a record appended"

    def prepare(self) -> None:
        open_keys(self.folder / "keys", EPOCH)

    def write(self, name: str) -> None:
        blobs = [name.encode(), canonical_json(1)]
        self._ledger.append(
            _draft(1, decision_id=name, candidate=name, gate_report_sha256=sha256_hex(name.encode())), blobs
        )

    def stored(self) -> list[str]:
        # Reading verifies the chain, the tree, every checkpoint and signature.
        return [each.candidate for each in self._ledger.records()]

    @property
    def _ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger", open_keys(self.folder / "keys", EPOCH))


class ManifestWriter(Writer):
    name = "production manifest: renewed"
    keeps_all = False

    def prepare(self) -> None:
        open_keys(self.folder / "keys", EPOCH)

    def write(self, name: str) -> None:
        halt = Control(scope=Scope.ALL, mode=Mode.HALT, since=EPOCH, by="user:ann", reason=name)
        write_manifest(self._path, production_manifest([], datetime.now(UTC), [halt]), self._keys)

    def stored(self) -> list[str]:
        if not self._path.exists():
            return []
        return [each.reason for each in read_manifest(self._path, self._keys).controls]

    @property
    def _keys(self) -> Keys:
        return open_keys(self.folder / "keys", EPOCH)

    @property
    def _path(self) -> Path:
        return self.folder / "production" / "manifest.json"


class ApprovalWriter(Writer):
    name = "approval: an envelope signed"

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)
        made = new_approver(self.folder / "bob.key", "user:bob", EPOCH)
        (self.folder / "keys.json").write_bytes(public_entries(made))

    def write(self, name: str) -> None:
        keys = open_private(self.folder / "bob.key")
        replace_file(self.folder / "approvals" / name, approvals.approve(self._asked(name), keys, EPOCH))

    def stored(self) -> list[str]:
        keys = read_keys(self.folder / "keys.json")
        found = sorted(path for path in (self.folder / "approvals").glob("*") if not path.name.startswith("."))
        for path in found:
            judged = approvals.judge(self._asked(path.name).request, [path.read_bytes()], keys, EPOCH)
            if not judged.approvals:
                raise ValueError(f"{path.name} is no approval: {judged.refused}")
        return [path.name for path in found]

    @staticmethod
    def _asked(name: str) -> approvals.Asked:
        return approvals.ask(_draft(1, decision_id=name, author="user:ann", recorded_at=EPOCH), RULE, EPOCH)


class OutboxWriter(Writer):
    name = "outbox: a message delivered"

    def prepare(self) -> None:
        # Prepared, because the history's own writes are not what is broken here.
        first, *_ = history(self.folder)
        (self.folder / "message").write_bytes(pickle.dumps(first))

    def write(self, name: str) -> None:
        outbox = Outbox(self.folder / "outbox.jsonl", [Told(self.folder / "told")])
        outbox.put([self._message(name)])
        if not all(mark.delivered for mark in outbox.deliver(EPOCH + timedelta(days=365))):
            raise OSError("not delivered")

    def stored(self) -> list[str]:
        # At least once: what was sent and not yet marked is sent again, so the other side may hear it twice.
        path = self.folder / "told"
        told = dict.fromkeys(path.read_text().split() if path.exists() else ())
        lines, _ = AppendOnly(self.folder / "outbox.jsonl").since(0)
        marks = [Mark.model_validate_json(line) for line in lines]
        delivered = [mark.key for mark in marks if mark.delivered]
        if silent := set(delivered) - set(told):
            raise ValueError(f"marked as delivered and never told: {silent}")
        return delivered

    def _message(self, name: str) -> Message:
        message: Message = pickle.loads((self.folder / "message").read_bytes())  # noqa: S301
        return replace(message, key=name)


class Told(Memory):
    """The other side of a channel: a file that is on disk when it says thanks."""

    def __init__(self, path: Path) -> None:
        super().__init__("told")
        self._path = path

    def send(self, message: Message) -> str:
        with self._path.open("a") as stream:
            stream.write(message.key + "\n")
        return "thanks"


class TrialWriter(Writer):
    name = "trial ledger: trials appended"

    def write(self, name: str) -> None:
        self._ledger.append([record(trial_id=name)], [RETURNS])

    def stored(self) -> list[str]:
        ledger = self._ledger
        found = ledger.records()
        for each in found:
            ledger.returns(each)
        return [each.trial_id for each in found]

    @property
    def _ledger(self) -> TrialLedger:
        return TrialLedger(self.folder / "trials.jsonl")


class HastyWriter(Writer):
    """What a writer must not be: it has no turn, renames nothing and never looks whether the disk took it."""

    name = "a hasty writer"

    def write(self, name: str) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with contextlib.suppress(OSError):
            for part in (name, "\n"):
                os.write(descriptor, part.encode())
                time.sleep(0.01)
        os.close(descriptor)

    def stored(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []

    @property
    def _path(self) -> Path:
        return self.folder / "lines"


WRITERS: tuple[type[Writer], ...] = (
    LakeWriter,
    WarehouseWriter,
    LedgerWriter,
    TrialWriter,
    ApprovalWriter,
    ManifestWriter,
    OutboxWriter,
)


def named(number: int, by: str) -> str:
    """Return the name of a process's write of that number."""
    return f"write-{by}-{number}"


def _rows(name: str) -> pa.Table:
    return pa.table({"row": pa.array(range(ROWS), pa.int64()), "name": pa.array([name] * ROWS)})


def _name(rows: pa.Table) -> str:
    names = rows["name"].unique().to_pylist()
    if rows.num_rows != ROWS or len(names) != 1:
        raise ValueError(f"{rows.num_rows} rows of {names}")
    return str(names[0])
