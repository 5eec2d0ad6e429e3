"""What may an execution system send now? Copy this one file there: it needs Python 3.11 and `cryptography`, no more.

`read_manifest` refuses a manifest that is unsigned, signed by a key that is not trusted, tampered with, stale, of the
future, or older than one that was read before. Who is refused opens nothing: the last manifest read holds until its
``valid_until``, and after that positions are only reduced, by the execution system's own risk layer.

``keys.json`` is the file of public keys, brought here by hand once and kept apart from the manifest. ``seen`` is a file
of this reader's own: which log it follows and how far it has read. Delete it only when the ledger was replaced on
purpose.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VERSION = 2
PAYLOAD_TYPE = b"application/vnd.research-to-prod.production-manifest+json"
CLOCKS_APART = timedelta(seconds=60)
"""How far a manifest may lie in this machine's future before one of the two clocks must be wrong."""


class RefusedError(Exception):
    """The manifest is not to be followed; the message says why."""


class Permission(Enum):
    """What a strategy may do on one instrument."""

    TRADE = "trade within limits"
    REDUCE = "reduce positions only"
    NOTHING = "send no orders"


@dataclass(frozen=True)
class Limits:
    """What may not be exceeded; amounts are in ``currency``, None where none is set (which is so on paper only)."""

    capital: Decimal | None
    max_order_value: Decimal | None
    max_position_value: Decimal | None
    max_messages_per_second: int | None
    currency: str | None


@dataclass(frozen=True)
class Manifest:
    """A manifest whose signature holds: who may trade what, from ``as_of`` until before ``valid_until``."""

    as_of: datetime
    valid_until: datetime
    ledger_size: int
    content: Mapping[str, Any]

    def permission(self, candidate_sha256: str, venue: str, symbol: str, now: datetime) -> Permission:
        """Return what a version of a strategy may do on one instrument.

        Raises
        ------
        RefusedError
            When the manifest has ended meanwhile: read it again.
        """
        if now >= self.valid_until:
            raise RefusedError(f"the manifest is stale: it ended at {self.valid_until}")
        entry = self._entry(candidate_sha256)
        if entry is not None and {"venue": venue, "symbol": symbol} in entry["limits"]["instruments"]:
            return Permission.TRADE
        for each in self.content["withheld"]:
            of_it = each["candidate_sha256"] == candidate_sha256 and each.get("venue") in {None, venue}
            if of_it and each["mode"] == "reduce_only":
                return Permission.REDUCE
        return Permission.NOTHING

    def limits(self, candidate_sha256: str) -> Limits:
        """Return the limits of a version that may trade.

        Raises
        ------
        RefusedError
            When it may not trade.
        """
        entry = self._entry(candidate_sha256)
        if entry is None:
            raise RefusedError(f"{candidate_sha256} may not trade")
        given = entry["limits"]
        amounts = {
            name: Decimal(given[name]) if name in given else None
            for name in ("capital", "max_order_value", "max_position_value")
        }
        return Limits(
            **amounts, max_messages_per_second=given.get("max_messages_per_second"), currency=given.get("currency")
        )

    def _entry(self, candidate_sha256: str) -> Mapping[str, Any] | None:
        found = (each for each in self.content["entries"] if each["candidate_sha256"] == candidate_sha256)
        return next(found, None)


def read_manifest(path: Path, keys: Path, seen: Path, now: datetime) -> Manifest:
    """Return the manifest in ``path``, or refuse it.

    Parameters
    ----------
    path
        The manifest, ``data/production/manifest.json`` of the desk.
    keys
        The trusted public keys.
    seen
        Where this reader remembers the newest manifest that it has read; made at the first reading.
    now
        The time, with its time zone.

    Raises
    ------
    RefusedError
        When it must not be followed.
    """
    try:
        content, signatures = _parse(path.read_bytes())
        manifest = Manifest(
            as_of=datetime.fromisoformat(content["as_of"]),
            valid_until=datetime.fromisoformat(content["valid_until"]),
            ledger_size=content["ledger_size"],
            content=content,
        )
        _check_signatures(content, signatures, json.loads(keys.read_bytes())["keys"])
    except OSError as error:
        raise RefusedError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(f"{path} is no signed production manifest, or {keys} no file of keys: {error!r}") from error
    if now >= manifest.valid_until:
        raise RefusedError(f"the manifest is stale: it ended at {manifest.valid_until}, and it is {now}")
    if manifest.as_of > now + CLOCKS_APART:
        raise RefusedError(f"the manifest is of {manifest.as_of}, and it is {now}: was a clock set back?")
    try:
        with _one_at_a_time(seen):
            _check_and_remember(manifest, seen)
    except OSError as error:
        raise RefusedError(f"cannot remember what was read in {seen}: {error.strerror}") from error
    return manifest


def _parse(data: bytes) -> tuple[dict[str, Any], list[dict[str, str]]]:
    document = json.loads(data)
    # Only one spelling of a document is read, so a name that stands twice in it cannot be read in two ways.
    if _canonical(document) != data.removesuffix(b"\n"):
        raise ValueError("it is not in canonical form")
    if set(document) != {"manifest", "signatures"} or document["manifest"]["v"] != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    return document["manifest"], document["signatures"]


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _check_signatures(
    content: Mapping[str, Any], signatures: list[dict[str, str]], keys: Mapping[str, Mapping[str, str]]
) -> None:
    payload, as_of = _canonical(content), datetime.fromisoformat(content["as_of"])
    message = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE, len(payload), payload)
    if not signatures:
        raise RefusedError("the manifest is not signed")
    for each in signatures:
        key = keys.get(each["key_id"])
        if key is None or key["role"] != "log":
            raise RefusedError(f"the manifest is signed by {each['key_id']}, which is no trusted key of the log")
        raw = base64.b64decode(key["public_key"], validate=True)
        if hashlib.sha256(raw).hexdigest() != each["key_id"]:
            raise RefusedError(f"the trusted keys are tampered with: {each['key_id']} is not the id of its key")
        ends = key.get("valid_to")
        if as_of < datetime.fromisoformat(key["valid_from"]) or (ends and as_of >= datetime.fromisoformat(ends)):
            raise RefusedError(f"the manifest is signed by {each['key_id']}, which was not valid at {as_of}")
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(each["signature"], validate=True), message)
        except InvalidSignature:
            raise RefusedError("the manifest is tampered with: its signature is not of these bytes") from None


def _check_and_remember(manifest: Manifest, seen: Path) -> None:
    remembered = ("log_id", "ledger_size", "ledger_head", "as_of")
    new: dict[str, Any] = {name: manifest.content.get(name) for name in remembered}
    try:
        old = json.loads(seen.read_bytes()) if seen.exists() else new
        older = manifest.as_of < datetime.fromisoformat(old["as_of"])
        shorter, rewritten = new["ledger_size"] < old["ledger_size"], new["ledger_head"] != old["ledger_head"]
        other = old["log_id"] not in {None, new["log_id"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{seen}, what this reader has seen, cannot be read: {error!r}") from error
    if other or shorter or older or (rewritten and new["ledger_size"] == old["ledger_size"]):
        raise RefusedError(
            f"the manifest was rolled back, or is of another ledger: seen were {old}, this one says {new}"
        )
    temporary = seen.with_name(f".{seen.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(json.dumps(new).encode())
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(seen)


@contextmanager
def _one_at_a_time(seen: Path) -> Iterator[None]:
    descriptor = os.open(seen.with_name(f".{seen.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
