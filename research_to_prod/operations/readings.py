"""What was measured live, as lines in files that only grow: written by whoever measures, read by the alerter.

A file a day, ``readings-YYYY-MM-DD.jsonl``. The desk's execution systems, which have the books and the orders, append
their lines under the file's lock; what they have to write is `Measured`. Belongs here: the line and its files. Doesn't:
what a measurement leads to (``alerting``), who measures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, Field, ValidationError

from research_to_prod.declared import Frozen
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.settings import Identifier
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.operations.append_only import AppendOnly

LOOK_BACK = timedelta(days=1)
"""What is older says nothing of now; an alerter that was down for longer goes on with yesterday's file."""


class Measured(Frozen):
    """One measurement; the subject's fields are those of `Subject`, the others those of `Observation`."""

    metric: Identifier
    venue: str = ""
    account: str = ""
    instrument: str = ""
    strategy: str = ""
    key: str = ""
    value: float | None
    at: AwareDatetime
    count: int | None = Field(None, ge=0)
    usual: float | None = None
    evidence: str = ""

    @classmethod
    def of(cls, observation: Observation) -> Self:
        """Return the line of what was measured here."""
        return cls(
            metric=observation.metric,
            **asdict(observation.subject),
            value=observation.value,
            at=observation.at,
            count=observation.count,
            usual=observation.usual,
            evidence=observation.evidence,
        )

    def observation(self) -> Observation:
        """Return it as the rules take it."""
        subject = Subject(self.venue, self.account, self.instrument, self.strategy, self.key)
        return Observation(self.metric, subject, self.value, self.at, self.count, self.usual, self.evidence)


@dataclass(frozen=True, order=True)
class Cursor:
    """Up to where the readings were taken: a day's file, and the bytes of it."""

    day: date
    offset: int = 0


@dataclass(frozen=True)
class Taken:
    """New readings, the newest of each metric and subject; where they end; and why others were refused."""

    observations: tuple[Observation, ...]
    cursor: Cursor
    refused: tuple[str, ...]


class Readings:
    """The files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, measured: Iterable[Measured], now: datetime) -> None:
        """Append to the file of ``now``'s day, durably."""
        with self._file(now.date()).turn() as turn:
            turn.append(each.model_dump_json(exclude_defaults=True).encode() for each in measured)

    def since(self, cursor: Cursor | None, metrics: Collection[str], now: datetime) -> Taken:
        """Return what was added after ``cursor``, up to ``now``.

        Lines that can't be read, of unknown metrics, of the future, or of one metric and subject at an older time are
        passed over; all but the last are named.

        Raises
        ------
        ValueError
            When a file is shorter than it was.
        """
        first = (now - LOOK_BACK).date()
        at = cursor if cursor is not None and cursor.day >= first else Cursor(first)
        newest: dict[tuple[str, Subject], Observation] = {}
        refused: list[str] = []
        while True:
            lines, end = self._file(at.day).since(at.offset)
            for number, line in enumerate(lines, start=1):
                found = _read(line, metrics, now)
                if isinstance(found, str):
                    refused.append(f"{at.day} line {number} after byte {at.offset}: {found}")
                    continue
                before = newest.get((found.metric, found.subject))
                if before is None or before.at <= found.at:
                    newest[found.metric, found.subject] = found
            at = Cursor(at.day, max(at.offset, end))
            if at.day >= now.date():
                return Taken(tuple(newest.values()), at, tuple(refused))
            at = Cursor(at.day + timedelta(days=1))

    def _file(self, day: date) -> AppendOnly:
        return AppendOnly(self._folder / f"readings-{day}.jsonl")


def _read(line: bytes, metrics: Collection[str], now: datetime) -> Observation | str:
    """Return a line's measurement, or why it is none."""
    try:
        measured = Measured.model_validate_json(line)
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'line'}: {each['msg']}" for each in error.errors())
    if measured.metric not in metrics:
        return f"metric {measured.metric} is in no file of rules"
    if measured.at > now:
        return f"measured at {measured.at}, which is ahead of our clock"
    return measured.observation()
