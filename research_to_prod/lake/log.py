"""The commit log of a Delta table, read by file name.

delta-rs's ``history()`` numbers commits by counting back from a version that it reads separately: with three writers
36 acknowledged commits came back under 32 version numbers. A commit's file name is its version and the file never
changes, so reading it is exact and may be cached. Belongs here: the log. Doesn't: rows.

Every ``_STRIDE``-th write also leaves a summary in its commit: the versions of all partitions as of the version that it
was written on. A walk from any version down ends at the first summary that it meets, so a process that reads a table
of a thousand commits for the first time opens some fifty of them. A summary is part of its commit, so it is there
for every reader or for none, and stays true for ever.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from deltalake.fs import DeltaStorageHandler

from research_to_prod.lake.slices import Contents

_STRIDE = 50
"""Commits from one summary to the next: one more costs 0.2 ms to read, a summary of 1,000 partitions 2 ms."""

_SUMMARY = "r2p.summary"
_SLICES = "r2p.slices"


class LakeError(RuntimeError):
    """A table, partition or version that was asked for is not there, or a commit kept losing its race."""


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


def commit_metadata(
    commit_id: str, partition: str | None, content_sha256: str, rows: int, slices: Contents | None
) -> dict[str, str]:
    """Return what a write leaves in its commit, so that the log alone tells the version of each partition."""
    metadata = {
        "r2p.commit_id": commit_id,
        "r2p.partition": partition or "",
        "r2p.content_sha256": content_sha256,
        "r2p.rows": str(rows),
    }
    return metadata if slices is None else metadata | {_SLICES: json.dumps(slices)}


def slices(delta: DeltaTable, version: Version) -> Contents:
    """Return the contents of the slices of ``version``, which a table without slices doesn't have (KeyError)."""
    told = json.loads(_commit(str(delta.metadata().id), delta.table_uri, version.version)[_SLICES])
    return {name: (sha256, rows) for name, (sha256, rows) in told.items()}


def summary_metadata(table: str, delta: DeltaTable) -> dict[str, str]:
    """Return the summary that the commit after ``delta`` owes to those who read the log later, mostly nothing."""
    if (delta.version() + 1) % _STRIDE:
        return {}
    states = [
        [each.partition, each.version, each.content_sha256, each.rows] for each in versions(table, delta).values()
    ]
    return {_SUMMARY: json.dumps({"as_of": delta.version(), "versions": states})}


def versions(table: str, delta: DeltaTable) -> dict[str | None, Version]:
    """Return the newest version of each partition as of ``delta``."""
    found: dict[str | None, Version] = {}
    as_of, summary = -1, dict[str | None, Version]()
    for version, commit in _commits(delta):
        if version == as_of:
            break
        if "r2p.commit_id" in commit:
            partition = commit["r2p.partition"] or None
            if partition not in found:
                found[partition] = _version(table, version, commit)
        if _SUMMARY in commit and as_of < 0:
            as_of, summary = _read_summary(table, commit[_SUMMARY])
    return summary | found


def history(table: str, delta: DeltaTable, partition: str | None) -> Iterator[Version]:
    """Yield every version of one partition as of ``delta``, newest first."""
    for version, commit in _commits(delta):
        if "r2p.commit_id" in commit and (commit["r2p.partition"] or None) == partition:
            yield _version(table, version, commit)


def committed(table: str, delta: DeltaTable, commit_id: str) -> Version | None:
    """Return the version that the commit named ``commit_id`` made; None if the log does not hold it."""
    for version, commit in _commits(delta):
        if commit.get("r2p.commit_id") == commit_id:
            return _version(table, version, commit)
    return None


def _version(table: str, version: int, commit: Mapping[str, Any]) -> Version:
    partition = commit["r2p.partition"] or None
    return Version(table, partition, version, commit["r2p.content_sha256"], int(commit["r2p.rows"]))


@functools.lru_cache(maxsize=64)
def _read_summary(table: str, text: str) -> tuple[int, dict[str | None, Version]]:
    summary = json.loads(text)
    return summary["as_of"], {state[0]: Version(table, *state) for state in summary["versions"]}


def _commits(delta: DeltaTable) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (version, commit info) from the version of ``delta`` down to the first."""
    identity = str(delta.metadata().id)
    for version in range(delta.version(), -1, -1):
        yield version, _commit(identity, delta.table_uri, version)


def commit_bytes(delta: DeltaTable) -> bytes:
    """Return the commit that made the version of ``delta`` as it is stored now, nothing if it is gone."""
    try:
        return _read(delta.table_uri, delta.version())
    except (FileNotFoundError, TableNotFoundError):
        return b""


@functools.lru_cache(maxsize=100_000)
def _commit(table_id: str, uri: str, version: int) -> Mapping[str, Any]:  # noqa: ARG001 - a table made anew has another id
    for line in _read(uri, version).splitlines():
        action = json.loads(line)
        if "commitInfo" in action:
            return dict(action["commitInfo"])
    return {}


def _read(uri: str, version: int) -> bytes:
    files = pafs.PyFileSystem(DeltaStorageHandler(uri))
    with files.open_input_stream(f"_delta_log/{version:020d}.json") as stream:
        return bytes(stream.read())
