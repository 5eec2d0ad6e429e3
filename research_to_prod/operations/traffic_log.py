"""What clients in other processes heard of the venues, as lines in files that only grow.

A file a day, ``traffic-YYYY-MM-DD.jsonl``. A run's reading of an account appends what its client counted, and the
sensor that looks after the venues adds that to its own; a desk's execution system may append its own lines, a `Heard`
each. Belongs here: the files. Doesn't: counting (``market_data.traffic``), what counts mean (``alerting``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from research_to_prod.market_data.traffic import Heard
from research_to_prod.operations.append_only import AppendOnly

if TYPE_CHECKING:
    from research_to_prod.execution.account_reading import Reading


def reading_of(heard: Sequence[Heard], reading: Reading | None) -> tuple[Heard, ...]:
    """Return what a client heard, with the fetches of an account's reading in its last spell.

    Parameters
    ----------
    reading
        None for one that ended because the fills could not be read: one fetch that was not complete.
    """
    if not heard:
        return ()
    complete = [False]
    if reading is not None:
        # One fetch may feed two tables.
        found = {each.fetch_id: each.complete for proofs in reading.certificates.values() for each in proofs}
        complete = list(found.values())
    last = heard[-1].model_copy(update={"fetches": len(complete), "incomplete": complete.count(False)})
    return (*heard[:-1], last)


class TrafficLog:
    """The files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, heard: Iterable[Heard]) -> None:
        """Append, each to the file of its own day, durably."""
        days: dict[date, list[bytes]] = {}
        for each in heard:
            days.setdefault(each.at.date(), []).append(each.model_dump_json(exclude_defaults=True).encode())
        for day, lines in days.items():
            with self._file(day).turn() as turn:
                turn.append(lines)

    def within(self, start: datetime, end: datetime) -> tuple[tuple[Heard, ...], tuple[str, ...]]:
        """Return what was heard after ``start`` and up to ``end``, and why lines were refused."""
        found: list[Heard] = []
        refused: list[str] = []
        for days in range((end.date() - start.date()).days + 1):
            day = start.date() + timedelta(days=days)
            for number, line in enumerate(self._file(day).since(0)[0], start=1):
                try:
                    heard = Heard.model_validate_json(line)
                except ValidationError as error:
                    refused.append(f"traffic of {day}, line {number}: {error.errors()[0]['msg']}")
                    continue
                if start < heard.at <= end:
                    found.append(heard)
        return tuple(found), tuple(refused)

    def _file(self, day: date) -> AppendOnly:
        return AppendOnly(self._folder / f"traffic-{day}.jsonl")
