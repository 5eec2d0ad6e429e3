"""The lake as one decision read it.

Belongs here: reading each partition at a recorded version and nothing else. Doesn't: which versions were recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.lake import Lake, Snapshot
from research_to_prod.lake.log import LakeError, Version


class Reader(Protocol):
    """What a judgement needs of the lake: today's, or that of a past decision."""

    def read(self, table: str, partitions: str | Sequence[str], *, where: Mapping[str, str] | None = None) -> Snapshot:
        """Return the rows of the named partitions, those with the values of ``where``, and their exact versions."""
        ...

    def partitions(self, table: str) -> tuple[str, ...]:
        """Return the names of the table's partitions, sorted; none of a table that is not there."""
        ...


class PinnedLake:
    """The lake at the versions that a decision recorded, each proven by its content hash when it is read.

    Parameters
    ----------
    lake
        Where the tables live; newer versions in it change nothing.
    versions
        What was read, at most one version of a partition.
    """

    def __init__(self, lake: Lake, versions: Iterable[Version]) -> None:
        self._lake = lake
        self._versions = {(each.table, each.partition): each for each in versions}

    def read(self, table: str, partitions: str | Sequence[str], *, where: Mapping[str, str] | None = None) -> Snapshot:
        """Return the rows as they were read, those with the values of ``where``.

        Raises
        ------
        LakeError
            If a partition was not among what was recorded, or is not any more what it was.
        """
        wanted = [partitions] if isinstance(partitions, str) else sorted(partitions)
        missing = [each for each in wanted if (table, each) not in self._versions]
        if missing or not wanted:
            raise LakeError(
                f"the decision did not record that it read {table}: {', '.join(missing) or 'nothing asked'}"
            )
        chosen = tuple(self._versions[table, each] for each in wanted)
        rows = pa.concat_tables([self._lake.read_version(each) for each in chosen])
        for name, value in (where or {}).items():
            rows = rows.filter(pc.equal(rows[name], value))
        return Snapshot(rows, chosen)

    def partitions(self, table: str) -> tuple[str, ...]:
        """Return the names of the partitions of a table that were read."""
        return tuple(sorted(each for name, each in self._versions if name == table and each is not None))
