"""The production manifest: what may trade now, derived from the ledger and nothing else, signed and atomic.

Belongs here: the derivation, and writing and reading the signed file. Doesn't: judging (the ledger's records are
the judgement), and limits that no record states. Absent means: may not open positions.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from research_to_prod.promotion.files import make_folder, replace_file
from research_to_prod.promotion.keys import Keys, Signature
from research_to_prod.promotion.record import (
    GENESIS,
    CanonicalModel,
    Count,
    Limits,
    Record,
    Sha256,
    Text,
    UtcMillis,
    to_utc_millis,
)
from research_to_prod.promotion.stages import TRADING, standing
from research_to_prod.values import Stage, StrategyType

MANIFEST_TYPE = "application/vnd.research-to-prod.production-manifest+json"

logger = logging.getLogger(__name__)


class ManifestError(ValueError):
    """The manifest is missing, not signed by a trusted key, tampered with, or would go back in time."""


class Entry(CanonicalModel):
    """One strategy that may trade, and the record that says so."""

    candidate: Text
    candidate_sha256: Sha256
    stage: Stage
    strategy: Text
    strategy_type: StrategyType
    parameters_sha256: Sha256
    package_sha256: Sha256
    limits: Limits | None = None
    decision_id: Text
    seq: Count
    record_sha256: Sha256


class Manifest(CanonicalModel):
    """What may trade at ``as_of``, and the state of the ledger it follows from."""

    v: Literal[1] = 1
    as_of: UtcMillis
    log_id: Sha256 | None = None
    ledger_size: Count
    ledger_head: Sha256
    entries: tuple[Entry, ...]


class _SignedManifest(CanonicalModel):
    manifest: Manifest
    signatures: tuple[Signature, ...]


def production_manifest(records: Sequence[Record], as_of: datetime) -> Manifest:
    """Derive what may trade at ``as_of`` from the records of a verified ledger.

    Parameters
    ----------
    records
        All records up to ``as_of``, in order; for a past day, those recorded until then.
    as_of
        The moment that the manifest speaks of.

    Raises
    ------
    ManifestError
        When a record is later than ``as_of``: leaving it out could leave out a demotion.
    """
    as_of = to_utc_millis(as_of)
    if records and records[-1].recorded_at > as_of:
        raise ManifestError(
            f"as of {as_of} is before the last record ({records[-1].recorded_at}): was the clock set back? "
            "For a past day, give the records up to then"
        )
    entries = [
        _entry(record)
        for record in standing(records).deciding()
        if record.to_stage in TRADING and (record.expires_at is None or as_of < record.expires_at)
    ]
    return Manifest(
        as_of=as_of,
        log_id=records[0].log_id if records else None,
        ledger_size=records[-1].seq + 1 if records else 0,
        ledger_head=records[-1].sha256 if records else GENESIS,
        entries=tuple(sorted(entries, key=lambda entry: (entry.candidate, entry.stage))),
    )


def write_manifest(path: Path, manifest: Manifest, keys: Keys) -> None:
    """Sign the manifest and publish it under ``path``, whole or not at all.

    Raises
    ------
    ManifestError
        When a manifest of a later or of another ledger is there: a slow writer must not bring back what was demoted
        in the meantime, nor a shortened ledger what it forgot.
    """
    payload = manifest.canonical_bytes()
    signed = _SignedManifest(manifest=manifest, signatures=(keys.sign(MANIFEST_TYPE, payload),))
    with _only_writer(path):
        if path.exists():
            _refuse_going_back(path, keys, manifest)
        replace_file(path, signed.canonical_bytes() + b"\n")


def read_manifest(path: Path, keys: Keys) -> Manifest:
    """Return the manifest in ``path`` when a trusted key signed exactly these bytes.

    Raises
    ------
    ManifestError
        When the file is missing, unsigned, tampered with, or signed by a key that is not trusted.
    """
    try:
        signed = _SignedManifest.from_canonical_bytes(path.read_bytes().removesuffix(b"\n"))
    except OSError as error:
        raise ManifestError(f"cannot read the production manifest {path}: {error.strerror}") from error
    except ValueError as error:
        raise ManifestError(f"{path} is not a signed production manifest: {error}") from error
    manifest = signed.manifest
    if problems := keys.problems(signed.signatures, MANIFEST_TYPE, manifest.canonical_bytes(), manifest.as_of):
        raise ManifestError(f"{path} is not to be trusted: " + "; ".join(problems))
    return manifest


def _entry(record: Record) -> Entry:
    return Entry(
        candidate=record.candidate,
        candidate_sha256=record.candidate_sha256,
        stage=record.to_stage,
        strategy=record.strategy,
        strategy_type=record.strategy_type,
        parameters_sha256=record.parameters_sha256,
        package_sha256=record.code.package_sha256,
        limits=record.limits,
        decision_id=record.decision_id,
        seq=record.seq,
        record_sha256=record.sha256,
    )


def _refuse_going_back(path: Path, keys: Keys, new: Manifest) -> None:
    try:
        old = read_manifest(path, keys)
    except ManifestError as error:
        # Readers refuse such a file already; what the ledger says goes in its place.
        logger.warning("replacing a manifest that does not verify: %s", error)
        return
    other_log = old.log_id is not None and old.log_id != new.log_id
    if other_log or new.ledger_size < old.ledger_size:
        raise ManifestError(
            f"{path} follows from {old.ledger_size} records of log {old.log_id}, the new manifest from "
            f"{new.ledger_size} of log {new.log_id}: derive it again from the whole ledger; if the ledger was replaced "
            "on purpose, remove the manifest first"
        )


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    make_folder(path.parent)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
