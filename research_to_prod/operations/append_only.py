"""Lines in a file that only grows, written by several processes in turn.

What is in the file when `Turn.append` returns is on disk. A line that a crash tore was never acknowledged: readers pass
over it, the next writer cuts it off. Belongs here: the file. Doesn't: what the lines mean.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from research_to_prod.promotion.files import make_folder, sync_folder


class Turn:
    """The file while no other process reads or writes it."""

    def __init__(self, descriptor: int, folder: Path) -> None:
        self._descriptor = descriptor
        self._folder = folder

    def since(self, offset: int) -> tuple[list[bytes], int]:
        """Return the whole lines from byte ``offset`` on, and where they end."""
        return _lines(self._descriptor, offset)

    def append(self, lines: Iterable[bytes]) -> None:
        """Add ``lines`` durably, all or none; of a crash on the way the first of them may stay, whole.

        Raises
        ------
        OSError
            When the disk refuses; the file then is as it was.
        """
        data = b"".join(line + b"\n" for line in lines)
        if not data:
            return
        _, end = _lines(self._descriptor, _last_break(self._descriptor))
        os.ftruncate(self._descriptor, end)
        try:
            _write_whole(self._descriptor, data, end)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise
        if end == 0:
            sync_folder(self._folder)


class AppendOnly:
    """The file at ``path``, created by the first turn."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for this process's turn and keep all others out until it ends."""
        make_folder(self.path.parent)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Turn(descriptor, self.path.parent)
        finally:
            os.close(descriptor)

    def since(self, offset: int) -> tuple[list[bytes], int]:
        """Return the whole lines from byte ``offset`` on, and where they end; nothing where there is no file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return [], 0
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            return _lines(descriptor, offset)
        finally:
            os.close(descriptor)


def _lines(descriptor: int, offset: int) -> tuple[list[bytes], int]:
    size = os.fstat(descriptor).st_size
    if size < offset:
        raise ValueError(f"the file has {size} bytes and had {offset}: it was cut, and only ever grows")
    data = os.pread(descriptor, size - offset, offset)
    whole = data.rfind(b"\n") + 1
    return data[:whole].splitlines(), offset + whole


def _write_whole(descriptor: int, data: bytes, offset: int) -> None:
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(errno.ENOSPC, "only a part was written; is the disk full?")


def _last_break(descriptor: int) -> int:
    """Return where the last whole line ends, reading backwards: the file may be long."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65_536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
