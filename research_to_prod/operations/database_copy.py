"""Dagster's history in Postgres, copied by Postgres's own tools: a consistent dump while runs go on.

Belongs here: ``pg_dump`` and ``pg_restore``. Doesn't: the history in SQLite files, which ``backup`` copies as files.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit


class DatabaseCopyError(RuntimeError):
    """The database could not be dumped or restored; the message is that of Postgres's tool, with the remedy."""


def dump(url: str, target: Path) -> None:
    """Write the database at ``url`` to ``target``, in Postgres's custom format.

    Raises
    ------
    DatabaseCopyError
        If ``pg_dump`` is not there or fails.
    """
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def load(url: str, source: Path) -> None:
    """Fill the empty database at ``url`` from ``source``, all or nothing.

    Raises
    ------
    DatabaseCopyError
        If ``pg_restore`` is not there or fails: also of a database that has tables of the history already.
    """
    _run("pg_restore", url, "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(source))


def _run(tool: str, url: str, *arguments: str) -> None:
    with _without_password(url) as told:
        command = [tool, f"--dbname={told}", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        except FileNotFoundError as error:
            raise DatabaseCopyError(
                f"{tool} is not on the PATH; install Postgres's client tools, of the server's version or newer"
            ) from error
    if done.returncode:
        raise DatabaseCopyError(f"{tool} failed: {done.stderr.strip()}")


@contextmanager
def _without_password(url: str) -> Iterator[str]:
    """Give ``url`` with its password in a file: everybody on the machine can read a process's arguments."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    if not password:
        yield url
        return
    # mkstemp's files are readable by their owner only.
    with tempfile.NamedTemporaryFile("w", prefix="r2p-", suffix=".pgpass") as passfile:
        passfile.write("*:*:*:*:" + unquote(password).replace("\\", "\\\\").replace(":", "\\:") + "\n")
        passfile.flush()
        query = "&".join(filter(None, [parts.query, urlencode({"passfile": passfile.name})]))
        yield urlunsplit(parts._replace(netloc=f"{name}@{host}", query=query))
