"""Which record put which version of a candidate where, from when until when: the ledger read along time.

Belongs here: what follows from the records alone. Doesn't: what a record rests on (`trace`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.promotion.record import Record, RecordType
from research_to_prod.promotion.stages import Standing
from research_to_prod.values import Stage


class NoSuchRecordError(ValueError):
    """No record is meant by what was asked for; the message says what there is."""


@dataclass(frozen=True)
class Spell:
    """One version of a candidate at one stage, because of one record.

    Parameters
    ----------
    record
        What put it there, or confirmed that it stays.
    until
        The first moment at which it was not there because of ``record`` any more; None while it still is.
    ended_by
        The record that moved, confirmed or replaced it; None while it stands, and where it expired of itself.
    """

    record: Record
    until: datetime | None = None
    ended_by: Record | None = None

    @property
    def stage(self) -> Stage:
        """Where it was."""
        return self.record.to_stage

    @property
    def since(self) -> datetime:
        """When the record was made."""
        return self.record.recorded_at

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether it lasted for any moment of ``[start, end)``."""
        return self.since < end and (self.until is None or start < self.until)


def spells(records: Iterable[Record], candidate: str) -> tuple[Spell, ...]:
    """Return the spells of all versions of ``candidate``, in the order of their records."""
    standing, made = Standing(), list[Spell]()
    open_: dict[int, Record] = {}
    for record in records:
        standing.advance(record)
        if record.candidate != candidate:
            continue
        now = {each.seq: each for each in standing.deciding() if each.candidate == candidate}
        made += [_ended(open_[seq], record) for seq in open_.keys() - now.keys()]
        open_ = now
    made += [_ended(each, None) for each in open_.values()]
    return tuple(sorted(made, key=lambda spell: spell.record.seq))


def named(records: Sequence[Record], which: str) -> Record:
    """Return the record that ``which`` means: its number, its decision id, or a candidate's newest promotion.

    Raises
    ------
    NoSuchRecordError
        If there is none.
    """
    for record in records:
        if which in {str(record.seq), record.decision_id}:
            return record
    promoted = [record for record in records if record.candidate == which and record.type is RecordType.PROMOTE]
    if promoted:
        return promoted[-1]
    of_candidate = [str(record.seq) for record in records if record.candidate == which]
    there_is = (
        f"{which} was never promoted; its records are {', '.join(of_candidate)}"
        if of_candidate
        else (f"no record has the number, decision id or candidate {which!r}; `r2p ledger` lists all {len(records)}")
    )
    raise NoSuchRecordError(there_is)


def _ended(record: Record, by: Record | None) -> Spell:
    expires, ended = record.expires_at, None if by is None else by.recorded_at
    if expires is not None and (ended is None or expires < ended):
        return Spell(record, expires)
    return Spell(record, ended, by)
