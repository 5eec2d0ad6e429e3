"""The production manifest: what may trade now, derived from the ledger and the controls, signed and atomic.

``entries`` may trade within their limits. ``withheld`` is what the ledger knows at a trading stage or took from one,
and what may not open positions now, with the reasons. What is in neither sends no orders. A manifest ends by itself:
a pipeline that stands still must not leave yesterday's permissions in force.

Belongs here: the derivation, and writing and reading the signed file. Doesn't: judging (the ledger's records are
the judgement), and reading it elsewhere (`manifest_reader`, one file for execution systems to copy).
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from research_to_prod.promotion.controls import Control, Mode, Scope, in_force, strictest
from research_to_prod.promotion.files import make_folder, replace_file
from research_to_prod.promotion.keys import Keys, Signature, open_keys
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
from research_to_prod.promotion.stages import TRADING, Standing, standing
from research_to_prod.values import Stage, StrategyType

if TYPE_CHECKING:
    from research_to_prod.promotion.ledger import Ledger

MANIFEST_TYPE = "application/vnd.research-to-prod.production-manifest+json"
VALID_FOR = timedelta(hours=26)
"""A manifest is derived every night; two hours more than a day bear a late run, and not a missed one."""

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
    limits: Limits
    decision_id: Text
    seq: Count
    record_sha256: Sha256


class Withheld(CanonicalModel):
    """What may not open positions: a version, or its part on the named venue; ``mode`` says whether it may close."""

    candidate: Text
    candidate_sha256: Sha256
    stage: Stage
    venue: Text | None = None
    mode: Mode
    reasons: tuple[Text, ...]


class Manifest(CanonicalModel):
    """What may trade from ``as_of`` until before ``valid_until``, and the state of the ledger it follows from."""

    v: Literal[2] = 2
    as_of: UtcMillis
    valid_until: UtcMillis
    log_id: Sha256 | None = None
    ledger_size: Count
    ledger_head: Sha256
    entries: tuple[Entry, ...]
    withheld: tuple[Withheld, ...]
    controls: tuple[Control, ...]


class _SignedManifest(CanonicalModel):
    manifest: Manifest
    signatures: tuple[Signature, ...]


def production_manifest(
    records: Sequence[Record], as_of: datetime, controls: Sequence[Control] = (), valid_for: timedelta = VALID_FOR
) -> Manifest:
    """Derive what may trade at ``as_of`` from the records of a verified ledger and the controls.

    Parameters
    ----------
    records
        All records up to ``as_of``, in order; for a past day, those recorded until then.
    as_of
        The moment that the manifest speaks of.
    controls
        All controls up to ``as_of``, lifted ones among them.
    valid_for
        How long readers may follow it.

    Raises
    ------
    ManifestError
        When a record or a control is later than ``as_of``: leaving it out could leave out a demotion or a halt.
    """
    as_of = to_utc_millis(as_of)
    if records and records[-1].recorded_at > as_of:
        raise ManifestError(
            f"as of {as_of} is before the last record ({records[-1].recorded_at}): was the clock set back? "
            "For a past day, give the records up to then"
        )
    try:
        holding = in_force(controls, as_of)
    except ValueError as error:
        raise ManifestError(f"{error}: was the clock set back?") from error
    state = standing(records)
    entries: list[Entry] = []
    trading: list[Record] = []
    withheld: list[Withheld] = []
    for record in state.deciding():
        limits, held = _permitted(record, state, holding, as_of)
        withheld += held
        if limits is not None:
            entries.append(_entry(record, limits))
            trading.append(record)
    return Manifest(
        as_of=as_of,
        # A promotion that ends before the manifest does ends with it.
        valid_until=min([as_of + valid_for, *(each.expires_at for each in trading if each.expires_at)]),
        log_id=records[0].log_id if records else None,
        ledger_size=records[-1].seq + 1 if records else 0,
        ledger_head=records[-1].sha256 if records else GENESIS,
        entries=tuple(sorted(entries, key=lambda each: (each.candidate, each.stage))),
        withheld=tuple(sorted(withheld, key=lambda each: (each.candidate, each.candidate_sha256, each.venue or ""))),
        controls=holding,
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


def renew_manifest(
    path: Path, ledger: Ledger, keys_folder: Path, now: datetime, controls: Sequence[Control] = ()
) -> Manifest:
    """Derive, sign and publish the manifest again at once, after something was taken back.

    Raises
    ------
    LedgerError, ManifestError
        When the ledger does not verify, or the manifest would go back in time.
    """
    records = ledger.records()
    # A record that waited for its turn may be recorded a moment after the clock that was read.
    now = max([now, *(each.recorded_at for each in records), *(each.since for each in controls)])
    manifest = production_manifest(records, now, controls)
    write_manifest(path, manifest, open_keys(keys_folder, now))
    return manifest


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


def _permitted(
    record: Record, state: Standing, holding: Sequence[Control], as_of: datetime
) -> tuple[Limits | None, tuple[Withheld, ...]]:
    """Return within which limits a version may trade, None for not at all, and what is withheld of it."""

    def held(mode: Mode, reasons: Sequence[str], venue: str | None = None) -> Withheld:
        of = {"candidate": record.candidate, "candidate_sha256": record.candidate_sha256, "stage": record.to_stage}
        return Withheld.model_validate({**of, "venue": venue, "mode": mode, "reasons": tuple(reasons)})

    back = [(each.mode, _told(each)) for each in holding if _is_on(each, record)]
    if record.to_stage not in TRADING or state.reduce_only(record.candidate, record.candidate_sha256):
        mode = Mode.HALT if record.to_stage is Stage.HALTED else Mode.REDUCE_ONLY
        back.append((mode, f"{record.type} to {record.to_stage}: {'; '.join(record.reasons)}"))
    if record.expires_at is not None and as_of >= record.expires_at:
        back.append((Mode.REDUCE_ONLY, f"its promotion ended at {record.expires_at}"))
    if missing := _missing_limits(record):
        back.append((Mode.REDUCE_ONLY, f"no pre-set {', '.join(missing)}"))
    if back or record.limits is None:
        return None, (held(strictest(mode for mode, _ in back), [reason for _, reason in back]),)
    by_venue = {each.name: each for each in holding if each.scope is Scope.VENUE}
    venues = sorted({each.venue for each in record.limits.instruments} & by_venue.keys())
    apart = tuple(held(by_venue[venue].mode, [_told(by_venue[venue])], venue) for venue in venues)
    instruments = tuple(each for each in record.limits.instruments if each.venue not in venues)
    return record.limits.model_copy(update={"instruments": instruments}) if instruments else None, apart


def _is_on(control: Control, record: Record) -> bool:
    return control.scope is Scope.ALL or (control.scope is Scope.CANDIDATE and control.name == record.candidate)


def _told(control: Control) -> str:
    return f"{control.mode} on {control.name or 'all'} since {control.since} by {control.by}: {control.reason}"


def _missing_limits(record: Record) -> list[str]:
    """Return the limits without which nothing trades: markets always, amounts and rates where money is real."""
    if record.limits is None or not record.limits.instruments:
        return ["limits"]
    if record.to_stage not in {Stage.CANARY, Stage.LIVE}:
        return []
    amounts = ("capital", "currency", "max_order_value", "max_position_value", "max_messages_per_second")
    return [name for name in amounts if getattr(record.limits, name) is None]


def _entry(record: Record, limits: Limits) -> Entry:
    return Entry(
        candidate=record.candidate,
        candidate_sha256=record.candidate_sha256,
        stage=record.to_stage,
        strategy=record.strategy,
        strategy_type=record.strategy_type,
        parameters_sha256=record.parameters_sha256,
        package_sha256=record.code.package_sha256,
        limits=limits,
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
    if new.as_of < old.as_of:
        raise ManifestError(
            f"{path} is as of {old.as_of}, the new manifest as of {new.as_of}: a control may have come in between, or "
            "the clock was set back; derive it again"
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
