"""The commit log of a Delta table, read by file name.

delta-rs's ``history()`` numbers commits by counting back from a version that it reads separately: with three writers
36 acknowledged commits came back under 32 version numbers. A commit's file name is its version and the file never
changes, so reading it is exact and may be cached. Belongs here: the log. Doesn't: rows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler


@dataclass(frozen=True)
class Version:
    """One committed state of one partition of a table.

    Parameters
    ----------
    table, partition
        What was written; partition is None for an unpartitioned table.
    version
        The Delta version of the commit; with table it names the state for ever.
    content_sha256
        Hash of the logical rows in key order: the data version.
    rows
        Number of rows.
    """

    table: str
    partition: str | None
    version: int
    content_sha256: str
    rows: int


def commit_metadata(commit_id: str, partition: str | None, content_sha256: str, rows: int) -> dict[str, str]:
    """Return what a write leaves in its commit, so that the log alone tells the version of each partition."""
    return {
        "r2p.commit_id": commit_id,
        "r2p.partition": partition or "",
        "r2p.content_sha256": content_sha256,
        "r2p.rows": str(rows),
    }


def versions(table: str, delta: DeltaTable) -> dict[str | None, Version]:
    """Return the newest version of each partition as of ``delta``."""
    found: dict[str | None, Version] = {}
    for version, commit in _commits(delta):
        if "r2p.commit_id" in commit:
            partition = commit["r2p.partition"] or None
            if partition not in found:
                found[partition] = _version(table, version, commit)
    return found


def committed(table: str, delta: DeltaTable, commit_id: str) -> Version | None:
    """Return the version that the commit named ``commit_id`` made; None if the log does not hold it."""
    for version, commit in _commits(delta):
        if commit.get("r2p.commit_id") == commit_id:
            return _version(table, version, commit)
    return None


def _version(table: str, version: int, commit: Mapping[str, Any]) -> Version:
    partition = commit["r2p.partition"] or None
    return Version(table, partition, version, commit["r2p.content_sha256"], int(commit["r2p.rows"]))


def _commits(delta: DeltaTable) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (version, commit info) from the version of ``delta`` down to the first."""
    identity = str(delta.metadata().id)
    for version in range(delta.version(), -1, -1):
        yield version, _commit(identity, delta.table_uri, version)


@functools.lru_cache(maxsize=100_000)
def _commit(table_id: str, uri: str, version: int) -> Mapping[str, Any]:  # noqa: ARG001 - a table made anew has another id
    files = pafs.PyFileSystem(DeltaStorageHandler(uri))
    with files.open_input_stream(f"_delta_log/{version:020d}.json") as stream:
        for line in stream.read().splitlines():
            action = json.loads(line)
            if "commitInfo" in action:
                return dict(action["commitInfo"])
    return {}
