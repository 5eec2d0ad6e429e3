"""Witnesses: somewhere outside keeps the ledger's newest checkpoint, so that nobody can cut off or rewrite it unseen.

A target is a file (on a machine of compliance, by a mounted folder), a tag in a git remote, or an object in S3 under a
retention lock. What the holder of the log's key can also alter there witnesses nothing.

Before a newer checkpoint is published, the older one there is held against the log: a ledger that is no continuation of
what its witness saw is an alarm, and nothing is published.

Belongs here: the targets, and that comparison. Doesn't: verifying an export against a witness (`verifier`).
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from research_to_prod.promotion.files import replace_file
from research_to_prod.promotion.keys import Keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.merkle import extends
from research_to_prod.promotion.verifier import Checkpoint, parse_checkpoint


class WitnessError(ValueError):
    """The ledger is not a continuation of what its witness saw, or the target cannot be read or written."""


class Target(Protocol):
    """Where checkpoints are kept outside."""

    def newest(self) -> bytes | None:
        """Return the newest checkpoint that is kept here; None when there is none yet."""

    def keep(self, note: bytes, size: int) -> None:
        """Keep a checkpoint of ``size`` records."""


@dataclass(frozen=True)
class FileTarget:
    """One file that holds the newest checkpoint."""

    path: Path

    def newest(self) -> bytes | None:
        """Return what is in the file."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def keep(self, note: bytes, size: int) -> None:  # noqa: ARG002 - a file keeps one
        """Put the checkpoint in the place of the older one."""
        replace_file(self.path, note)


@dataclass(frozen=True)
class GitTarget:
    """Tags ``r2p-ledger/<size>`` of a remote, each on a blob that is the checkpoint; the remote protects its tags.

    Nothing is forced: a remote that has another blob under the name refuses.
    """

    remote: str
    prefix: str = "refs/tags/r2p-ledger/"

    def newest(self) -> bytes | None:
        """Return the checkpoint under the tag of the largest size."""
        with tempfile.TemporaryDirectory() as folder:
            names = [
                line.split("\t")[1] for line in _git(folder, "ls-remote", self.remote, f"{self.prefix}*").splitlines()
            ]
            sizes = [name.removeprefix(self.prefix) for name in names]
            newest = max((int(size) for size in sizes if size.isdecimal()), default=None)
            if newest is None:
                return None
            _git(folder, "init", "--quiet", "--bare")
            _git(folder, "fetch", "--quiet", "--no-tags", self.remote, f"{self.prefix}{newest:08d}:refs/tags/kept")
            return _git(folder, "cat-file", "blob", "refs/tags/kept").encode()

    def keep(self, note: bytes, size: int) -> None:
        """Push the checkpoint as a tag."""
        with tempfile.TemporaryDirectory() as folder:
            _git(folder, "init", "--quiet", "--bare")
            blob = _git(folder, "hash-object", "-w", "--stdin", given=note).strip()
            _git(folder, "push", "--quiet", self.remote, f"{blob}:{self.prefix}{size:08d}")


@dataclass(frozen=True)
class S3Target:
    """Objects ``<prefix>/<size>`` of a bucket, never overwritten; the bucket's retention keeps them from deletion.

    ``client`` is boto3's S3 client.
    """

    client: Any
    bucket: str
    prefix: str

    def newest(self) -> bytes | None:
        """Return the checkpoint of the largest size."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        if not keys:
            return None
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=max(keys))["Body"].read()
        return body

    def keep(self, note: bytes, size: int) -> None:
        """Put the checkpoint as a new object."""
        key = f"{self.prefix}/{size:08d}"
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=note, IfNoneMatch="*")
        except self.client.exceptions.ClientError as error:
            raise WitnessError(f"s3://{self.bucket}/{key} cannot be written: {error}") from error


def open_target(name: str) -> Target:
    """Return the target of a name: ``git:REMOTE``, ``s3://BUCKET/PREFIX``, or the path of a file.

    Raises
    ------
    WitnessError
        When S3 is asked for and boto3 is not installed, or no prefix is given.
    """
    if name.startswith("git:"):
        return GitTarget(name.removeprefix("git:"))
    if not name.startswith("s3://"):
        return FileTarget(Path(name))
    bucket, _, prefix = name.removeprefix("s3://").partition("/")
    if not (bucket and prefix.strip("/")):
        raise WitnessError(f"{name} is not of the form s3://BUCKET/PREFIX")
    try:
        import boto3
    except ImportError as error:
        raise WitnessError("a witness in S3 needs boto3: pip install 'research_to_prod[s3]'") from error
    return S3Target(boto3.client("s3"), bucket, prefix.strip("/"))


def publish(ledger: Ledger, target: Target) -> Checkpoint:
    """Verify the ledger, hold it against what the target keeps, and keep its newest checkpoint there.

    Raises
    ------
    WitnessError
        When the ledger is empty, or not a continuation of what the target keeps.
    """
    note = ledger.verify().checkpoint
    if note is None:
        raise WitnessError("the ledger is empty: there is nothing to witness yet")
    head, seen = parse_checkpoint(note), target.newest()
    if seen is not None:
        kept = parse_checkpoint(seen)
        # The verified log holds each of its checkpoints to its own tree.
        ours = parse_checkpoint(ledger.checkpoint(kept.size)) if kept.size <= head.size else None
        if ours is None or (ours.origin, ours.root) != (kept.origin, kept.root):
            raise WitnessError(
                f"the ledger of {head.size} records is no continuation of the {kept.size} that its witness saw: it was "
                "cut off, rewritten or replaced. Keep both, and find out who could write to it"
            )
        if kept.size == head.size:
            return head
    target.keep(note, head.size)
    return head


def cosign(
    note: bytes, keys: Keys, name: str, at: datetime, *, seen: bytes | None = None, proof: Sequence[bytes] = ()
) -> bytes:
    """Return a checkpoint with the cosignature of a witness that has only checkpoints, not the log.

    Parameters
    ----------
    note
        The checkpoint, signed by the log.
    keys
        The witness's private key, and the public keys of the log.
    name
        The witness's name in the signature, without spaces.
    at
        When it is cosigned.
    seen
        The checkpoint that this witness cosigned last; None at the first.
    proof
        The proof that ``note`` only adds to ``seen`` (`merkle.consistency_proof`).

    Raises
    ------
    WitnessError
        When it does not: a witness never cosigns two histories.
    """
    new = parse_checkpoint(note)
    if seen is not None:
        old = parse_checkpoint(seen)
        if old.origin != new.origin or not extends(old.size, old.root, new.size, new.root, proof):
            raise WitnessError(f"no proof that the {new.size} records only add to the {old.size} that were cosigned")
    return keys.cosign_checkpoint(name, note, at)


def _git(folder: str, *arguments: str, given: bytes | None = None) -> str:
    command = ["git", "-C", folder, *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=True)  # noqa: S603 - no shell, no options of the user's
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise WitnessError(f"git {arguments[0]} failed: {said.decode(errors='replace').strip()}") from error
    return done.stdout.decode()
