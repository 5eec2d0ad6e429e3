"""A copy of a Delta table, taken while others write to it: one of its versions, with every version before it.

Data files never change and stay for ever, and a commit names only files that are there already. So whoever reads the
log first and then the files that it names has the table as it was at one moment; whoever writes the files first and the
log last shows a reader nothing that is not whole. Belongs here: copying between two roots. Doesn't: when, and what else
belongs to a backup (``operations.backup``).
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake.fs import DeltaStorageHandler

from research_to_prod.lake import files
from research_to_prod.lake.log import LakeError

_LOG = "_delta_log"
_HINT = f"{_LOG}/_last_checkpoint"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")
_PIECE = 1 << 23
# From S3 a small file is all waiting.
_AT_ONCE = 8


class _ObjectStore(DeltaStorageHandler):
    """delta-rs's access to an object store, writable by pyarrow: its streams take bytes only, pyarrow hands buffers."""

    def open_output_stream(self, path: str, metadata: dict[str, str] | None = None) -> pa.PythonFile:
        return pa.PythonFile(_BytesOnly(self._handler.open_output_stream(path, metadata)), mode="w")


class _BytesOnly(io.RawIOBase):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return int(self._stream.write(bytes(content)))

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def copy_table(source: str, target: str, earlier: Path | None = None) -> int:
    """Copy the table at ``source`` to ``target``, a folder or URI without one; return the version that it is a copy of.

    Parameters
    ----------
    earlier
        Folder of an earlier copy on the file system of ``target``, whose data files are linked, not copied again.

    Raises
    ------
    LakeError
        If a commit is missing, or a file that the log names is missing or has another size.
    """
    here, there = _storage(source), _storage(target)
    # In this order: what the hint points at is then among the files that are listed.
    hint = _read(here, _HINT) if _sizes(here, [_HINT])[_HINT] is not None else None
    listed = [each.base_name for each in here.get_file_info(pafs.FileSelector(_LOG))]
    last = max((int(found[1]) for name in listed if (found := _COMMIT.fullmatch(name))), default=-1)
    if last < 0:
        raise LakeError(f"there is no Delta table at {source}")
    names = [f"{_LOG}/{version:020d}.json" for version in range(last + 1)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            commits = list(pool.map(partial(_read, here), names))
        except FileNotFoundError as error:
            raise LakeError(f"the log of {source} lacks a commit before version {last}: {error}") from error
        named = _named(commits)
        stored = _sizes(here, named)
        if wrong := [name for name, size in named.items() if stored[name] != size]:
            raise LakeError(
                f"{source}: {len(wrong)} files are missing or not as long as committed: {', '.join(wrong[:5])}"
            )
        put = _put(here, there, target, earlier)
        list(pool.map(put, named))
        marks = [name for name in listed if (mark := _CHECKPOINT.fullmatch(name)) and int(mark[1]) <= last]
        list(pool.map(partial(_copy, here, there), (f"{_LOG}/{name}" for name in marks)))
    # Ascending: a reader of the growing copy sees an older version, whole.
    for name, commit in zip(names, commits, strict=True):
        _write(there, name, commit)
    if hint is not None:
        _write(there, _HINT, hint)
    return last


def _named(commits: Iterable[bytes]) -> dict[str, int]:
    """Return the size of every data file that any of the commits adds, by its path below the table."""
    actions = (json.loads(line) for commit in commits for line in commit.splitlines())
    return {unquote(action["add"]["path"]): action["add"]["size"] for action in actions if "add" in action}


def _put(here: pafs.FileSystem, there: pafs.FileSystem, target: str, earlier: Path | None) -> Callable[[str], None]:
    def put(name: str) -> None:
        if earlier is not None and (earlier / name).exists():
            path = Path(target, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not every file system has links.
            with suppress(OSError):
                path.hardlink_to(earlier / name)
                return
        _copy(here, there, name)

    return put


def _storage(root: str) -> pafs.FileSystem:
    if files.is_remote(root):
        return pafs.PyFileSystem(_ObjectStore(root))
    Path(root).mkdir(parents=True, exist_ok=True)
    return pafs.SubTreeFileSystem(os.fspath(Path(root).resolve()), pafs.LocalFileSystem())


def _sizes(storage: pafs.FileSystem, names: Iterable[str]) -> dict[str, int | None]:
    """Return the size of each file, None of one that is not there."""
    asked = list(names)
    return {name: each.size for name, each in zip(asked, storage.get_file_info(asked), strict=True)}


def _read(storage: pafs.FileSystem, name: str) -> bytes:
    with storage.open_input_stream(name) as stream:
        return bytes(stream.read())


def _write(storage: pafs.FileSystem, name: str, content: bytes) -> None:
    with _opened(storage, name) as stream:
        stream.write(content)


def _copy(here: pafs.FileSystem, there: pafs.FileSystem, name: str) -> None:
    with here.open_input_stream(name) as read, _opened(there, name) as write:
        while piece := read.read(_PIECE):
            write.write(piece)


def _opened(storage: pafs.FileSystem, name: str) -> pa.NativeFile:
    # The files of an unpartitioned table lie in its own folder.
    if folder := name.rpartition("/")[0]:
        storage.create_dir(folder, recursive=True)
    return storage.open_output_stream(name)
