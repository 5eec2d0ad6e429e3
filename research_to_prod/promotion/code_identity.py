"""Which code decided: hashes that need no version control, so that an installed package knows itself too.

Belongs here: hashing the sources and the lock file. Doesn't: commit and dirty flag, which the caller reads where
there is a repository.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from research_to_prod.promotion.record import CodeIdentity
from research_to_prod.values import digest, sha256_hex

SOURCES = frozenset({".py", ".sql", ".yaml", ".j2"})
"""Kinds of files that decide what the package does."""


class CodeIdentityError(ValueError):
    """The sources or the lock file are not where they were said to be."""


def code_identity(package_root: Path, lockfile: Path) -> CodeIdentity:
    """Return the identity of the package in ``package_root`` and of its locked dependencies.

    Parameters
    ----------
    package_root
        The package's folder; its name is the name of the installed distribution.
    lockfile
        The pinned requirements.

    Raises
    ------
    CodeIdentityError
        When there are no sources, no lock file, or the package is not installed.
    """
    if not lockfile.is_file():
        raise CodeIdentityError(f"no lock file at {lockfile}: a decision must name the dependencies it ran on")
    try:
        version = metadata.version(package_root.name)
    except metadata.PackageNotFoundError as error:
        raise CodeIdentityError(
            f"{package_root.name} is not installed: install it, so that its release is known"
        ) from error
    return CodeIdentity(
        package_sha256=sources_sha256(package_root),
        lockfile_sha256=sha256_hex(lockfile.read_bytes()),
        version=version,
    )


def sources_sha256(package_root: Path) -> str:
    """Return the digest of ``{relative path: SHA-256 of the file}`` over all source files of a package.

    Raises
    ------
    CodeIdentityError
        When there are no source files.
    """
    files = {
        path.relative_to(package_root).as_posix(): sha256_hex(path.read_bytes())
        for path in package_root.rglob("*")
        if path.suffix in SOURCES and path.is_file() and "__pycache__" not in path.parts
    }
    if not files:
        raise CodeIdentityError(f"no source files under {package_root}")
    return digest(files)
