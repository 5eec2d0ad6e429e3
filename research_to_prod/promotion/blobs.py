"""Evidence, stored by its hash: what a record names is found under its SHA-256, whole and unaltered, or not at all.

Belongs here: writing and reading bytes by content. Doesn't: what the bytes mean, and which of them a record needs.
"""

from __future__ import annotations

from pathlib import Path

from research_to_prod.promotion.files import create_once
from research_to_prod.promotion.verifier import BLOBS
from research_to_prod.values import sha256_hex


class BlobError(ValueError):
    """A blob is missing or has another content than its name says."""


class Blobs:
    """The blobs of the ledger in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / BLOBS

    def path(self, sha256: str) -> Path:
        """Return where the blob of that hash is or would be."""
        return self._folder / sha256[:2] / sha256

    def write(self, data: bytes) -> str:
        """Store ``data``, on disk before this returns, and return its SHA-256; the same bytes are stored once.

        Raises
        ------
        BlobError
            When another content lies under this name: the disk failed, or somebody altered it.
        """
        sha256 = sha256_hex(data)
        if not create_once(self.path(sha256), data, 0o644):
            self.read(sha256)
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return the bytes whose SHA-256 is given.

        Raises
        ------
        BlobError
            When there are none, or others.
        """
        data = self.get(sha256)
        if data is None:
            raise BlobError(f"there is no blob {sha256}: restore {self.path(sha256)} from a backup or an export")
        if sha256_hex(data) != sha256:
            raise BlobError(f"{self.path(sha256)} has another content than its name says: restore it from a backup")
        return data

    def get(self, sha256: str) -> bytes | None:
        """Return the bytes under that name, unverified; None when there are none."""
        try:
            return self.path(sha256).read_bytes()
        except FileNotFoundError:
            return None
