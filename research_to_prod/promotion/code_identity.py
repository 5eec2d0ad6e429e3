"""Which code decided: hashes that need no version control, so that an installed package knows itself too.

Where the sources are a git checkout, their commit too, and whether they are ``dirty``: differ from it. What the desk
edits under ``desk/`` does not make them so: candidates, strategies and policies are recorded by their own hashes.

Belongs here: hashing the sources and the lock file, and asking git. Doesn't: what a dirty checkout may still decide
(`verifier.promotion_obstacles`).
"""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

from research_to_prod.promotion.record import CodeIdentity
from research_to_prod.values import digest, sha256_hex

SOURCES = frozenset({".py", ".sql", ".yaml", ".j2"})
"""Kinds of files that decide what the package does."""
_DESK = "desk"
_GIT_SECONDS = 10


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
    commit, dirty = checkout(package_root)
    return CodeIdentity(
        package_sha256=sources_sha256(package_root),
        lockfile_sha256=sha256_hex(lockfile.read_bytes()),
        version=version,
        commit=commit,
        dirty=dirty,
    )


def checkout(package_root: Path) -> tuple[str | None, bool | None]:
    """Return the last commit of the sources and whether they differ from it; two None when they are no checkout.

    What git cannot answer for (no git, no commit, another owner's repository) was not shown to be committed: dirty.
    """
    if not any((folder / ".git").exists() for folder in package_root.resolve().parents):
        return None, None
    sources = ("--", ".", f":(exclude){_DESK}")
    # Not HEAD: a commit to the pages or the desk's candidates would make people approve the same code again.
    commit = _git(package_root, "log", "-1", "--format=%H", *sources)
    changed = _git(package_root, "status", "--porcelain", "--untracked-files=all", *sources)
    if commit is None or changed is None:
        return None, True
    if not commit and not changed:
        # Ignored by the repository around it: an environment in somebody's checkout, with an installed release.
        return None, None
    return commit or None, bool(changed)


def _git(folder: Path, *arguments: str) -> str | None:
    # No lock on a repository that others use, and no program that its configuration names.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
