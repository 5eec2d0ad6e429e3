"""Files that are there whole or not at all.

Belongs here: publishing bytes under a name so that neither a crash nor a second writer leaves half of them.
Doesn't: what the bytes mean.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a file's own fsync does not cover its directory entry."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its missing parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Publish ``data`` under ``path``, in place of what was there; missing folders are made."""
    make_folder(path.parent)
    temporary = _temporary(path, data, 0o644)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    sync_folder(path.parent)


def create_once(path: Path, data: bytes, mode: int) -> bool:
    """Publish ``data`` under ``path`` unless there is such a file; return whether it was created.

    Of many processes that start at once, one creates and all others find its file: a hard link is made by exactly
    one of them, and only after the bytes are on disk.
    """
    make_folder(path.parent)
    temporary = _temporary(path, data, mode)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_folder(path.parent)
    return True


def _temporary(path: Path, data: bytes, mode: int) -> Path:
    # mkstemp creates with mode 0600, so a private key is never readable by others, not even for a moment.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
    except OSError:
        temporary.unlink()
        raise
    return temporary
