"""A decision judged again, held against what was recorded: byte-equal, or everything that differs.

Belongs here: the comparison. Doesn't: judging (that needs the lake, the trials and the policy of the time), and whether
the records can be believed (`ledger`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from research_to_prod.promotion.record import CodeIdentity, Record
from research_to_prod.values import sha256_hex


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Difference(_Value):
    """One field of one gate (or of the whole report, then ``gate`` is empty) that is not what it was."""

    gate: str
    field: str
    recorded: str
    now: str


class Replay(_Value):
    """What judging a recorded decision again gave.

    Parameters
    ----------
    gate_report_sha256
        Of the report that it gives now; None when it could not be judged again.
    differences
        Where the two reports part.
    problems
        Why it could not be judged again: what is missing, or not what it was.
    notes
        What is not as it was and made no difference to the report: code, dependencies, the strategy's file.
    """

    seq: int
    decision_id: str
    candidate: str
    recorded_sha256: str | None
    gate_report_sha256: str | None
    differences: tuple[Difference, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether the report is, byte for byte, the recorded one; its verdict is among the bytes."""
        return not self.problems and self.recorded_sha256 == self.gate_report_sha256


def compared(record: Record, recorded: bytes, now: bytes, notes: Iterable[str]) -> Replay:
    """Hold the canonical bytes of the report that is made now against those of the recorded one."""
    return Replay(
        **_of(record),
        gate_report_sha256=sha256_hex(now),
        differences=tuple(_differences(json.loads(recorded), json.loads(now))) if recorded != now else (),
        problems=(),
        notes=tuple(notes),
    )


def impossible(record: Record, problems: Iterable[str], notes: Iterable[str]) -> Replay:
    """Say why a decision can't be judged again."""
    return Replay(**_of(record), gate_report_sha256=None, differences=(), problems=tuple(problems), notes=tuple(notes))


def code_notes(then: CodeIdentity, now: CodeIdentity) -> list[str]:
    """Return in what the code that judges now differs from the code that decided."""
    named = {"package_sha256": "the package's sources", "lockfile_sha256": "the locked dependencies"}
    return [
        f"{what} are others: {getattr(then, name)} then, {getattr(now, name)} now"
        for name, what in named.items()
        if getattr(then, name) != getattr(now, name)
    ]


def _of(record: Record) -> dict[str, Any]:
    return {
        "seq": record.seq,
        "decision_id": record.decision_id,
        "candidate": record.candidate,
        "recorded_sha256": record.gate_report_sha256,
    }


def _differences(recorded: dict[str, Any], now: dict[str, Any]) -> Iterable[Difference]:
    before, after = ({each["gate"]: each for each in report.pop("gates")} for report in (recorded, now))
    yield from _fields("", recorded, now)
    for gate in sorted(before.keys() | after.keys()):
        yield from _fields(gate, before.get(gate, {}), after.get(gate, {}))


def _fields(gate: str, recorded: dict[str, Any], now: dict[str, Any]) -> Iterable[Difference]:
    for name in sorted(recorded.keys() | now.keys()):
        if recorded.get(name) != now.get(name):
            yield Difference(gate=gate, field=name, recorded=_text(recorded, name), now=_text(now, name))


def _text(fields: dict[str, Any], name: str) -> str:
    return str(fields[name]) if name in fields else "no such gate"
