"""The keys that sign and verify: one private key of the log, those of approvers, and the public keys readers trust.

A folder of keys holds ``log.key`` (private, PKCS #8 PEM, mode 0600) and ``keys.json`` (public: key id -> key, role,
valid from). Whoever verifies must hold ``keys.json`` from elsewhere than the log it verifies: both in one folder
prove only that they fit together. An approver's private key lies on the approver's own machine, in a file of its own;
the process that writes the log never holds it.

Signatures are Ed25519 over DSSE's pre-authentication encoding of a payload type and the payload, so that a signed
manifest can never pass for a signed record.

Belongs here: creating, reading, signing, verifying. Doesn't: what is signed. Private keys have no way out of here:
no accessor, no repr, no exception carries them.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import model_validator

from research_to_prod.promotion import verifier
from research_to_prod.promotion.files import create_once, replace_file
from research_to_prod.promotion.record import CanonicalModel, Text, UtcMillis
from research_to_prod.values import sha256_hex

PRIVATE_FILE = "log.key"
PUBLIC_FILE = "keys.json"
_PERSON = re.compile(r"user:[a-z0-9._-]{2,64}")


class KeyFileError(ValueError):
    """A key file is missing, unreadable, malformed or open to others; the message says what to do."""


class KeyRole(StrEnum):
    """What a key may sign for: records and manifests, approvals by a person, or heads of the log seen elsewhere."""

    LOG = "log"
    APPROVER = "approver"
    WITNESS = "witness"


class Signature(CanonicalModel):
    """One signature, in base64, and the id of the key that made it."""

    key_id: Text
    signature: Text


class PublicKey(CanonicalModel):
    """A public key (raw 32 bytes in base64), what it may sign for, from when until when, and whose it is.

    ``valid_to`` is the first moment at which it is no longer valid; ``person`` is required of approvers: two keys of
    one person are one approval.
    """

    algorithm: Literal["ed25519"] = "ed25519"
    public_key: Text
    role: KeyRole
    person: Text | None = None
    valid_from: UtcMillis
    valid_to: UtcMillis | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.role is KeyRole.APPROVER and self.person is None:
            raise ValueError("an approver's key without a person; name whose it is")
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError(f"valid until {self.valid_to}, which is not after {self.valid_from}")
        return self

    def raw(self) -> bytes:
        """Return the 32 bytes of the key."""
        return base64.b64decode(self.public_key, validate=True)


class _KeysFile(CanonicalModel):
    v: Literal[1] = 1
    keys: dict[str, PublicKey]


@dataclass(frozen=True)
class Keys:
    """Public keys by id, and, in the process that writes the log, the key that signs."""

    public: Mapping[str, PublicKey]
    _private: Ed25519PrivateKey | None = field(default=None, repr=False, compare=False)

    @property
    def can_sign(self) -> bool:
        """Whether the private key of the log is at hand."""
        return self._private is not None

    @property
    def valid_from(self) -> datetime:
        """Since when the key that signs is valid."""
        return self.public[self.signer_id].valid_from

    @property
    def signer_id(self) -> str:
        """The id of the key that signs."""
        return key_id(self._signer().public_key())

    def sign(self, payload_type: str, payload: bytes) -> Signature:
        """Sign ``payload`` with the log's key.

        Raises
        ------
        KeyFileError
            When only public keys are at hand.
        """
        signer = self._signer()
        signature = signer.sign(pre_authentication_encoding(payload_type, payload))
        return Signature(key_id=key_id(signer.public_key()), signature=base64.b64encode(signature).decode())

    def sign_checkpoint(self, origin: str, size: int, root: bytes) -> bytes:
        """Sign a log's tree head with the log's key and return it as a C2SP checkpoint.

        No other text is signed without its type, and none of a checkpoint's form could pass for one with it.

        Raises
        ------
        KeyFileError
            When only public keys are at hand.
        """
        text, signer = verifier.checkpoint_text(origin, size, root), self._signer()
        named = verifier.note_key_hash(origin, 1, signer.public_key().public_bytes_raw())
        return text + b"\n" + verifier.signature_line(origin, named + signer.sign(text))

    def cosign_checkpoint(self, name: str, note: bytes, at: datetime) -> bytes:
        """Add the cosignature of the witness ``name`` to a checkpoint (C2SP tlog-cosignature, version 1).

        Raises
        ------
        KeyFileError
            When only public keys are at hand.
        """
        signer, timestamp = self._signer(), int(at.timestamp())
        named = verifier.note_key_hash(name, 4, signer.public_key().public_bytes_raw())
        message = verifier.cosigned_message(verifier.parse_checkpoint(note).text, timestamp)
        return note + verifier.signature_line(name, named + timestamp.to_bytes(8) + signer.sign(message))

    def _signer(self) -> Ed25519PrivateKey:
        if self._private is None:
            raise KeyFileError("only public keys are at hand; open the keys with open_keys() to sign")
        return self._private

    def problems(
        self,
        signatures: Sequence[Signature],
        payload_type: str,
        payload: bytes,
        signed_at: datetime,
        role: KeyRole = KeyRole.LOG,
    ) -> list[str]:
        """Return everything wrong with the signatures of a payload; empty when keys of ``role`` signed it.

        Every signature must be good, not only one of them: a reader that skips what it does not understand can be
        shown things that another reader refuses.
        """
        message = pre_authentication_encoding(payload_type, payload)
        problems = [] if signatures else ["it is not signed"]
        if len({signature.key_id for signature in signatures}) != len(signatures):
            problems.append("one key signed more than once")
        for signature in signatures:
            key = self.public.get(signature.key_id)
            if key is None:
                problems.append(f"key {signature.key_id} is not among the trusted keys")
                continue
            if key.role is not role:
                problems.append(f"key {signature.key_id} is a key of the {key.role}, not of the {role}")
            if key.valid_to is not None and signed_at >= key.valid_to:
                problems.append(f"key {signature.key_id} is valid until {key.valid_to}, not at {signed_at}")
            if signed_at < key.valid_from:
                problems.append(f"key {signature.key_id} is valid from {key.valid_from}, after {signed_at}")
            try:
                decoded = base64.b64decode(signature.signature, validate=True)
                Ed25519PublicKey.from_public_bytes(key.raw()).verify(decoded, message)
            except (InvalidSignature, binascii.Error):
                problems.append(f"the signature by key {signature.key_id} is not of these bytes")
        return problems


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed (DSSE v1): type and payload, each with its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_id(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of the raw public key: nobody can give another key the same id."""
    return sha256_hex(key.public_bytes_raw())


def open_keys(folder: Path, now: datetime) -> Keys:
    """Return the keys for signing; create the log's key, valid from ``now``, where there is none yet.

    Processes that start at once agree on one key.

    Raises
    ------
    KeyFileError
        When a file is malformed, readable by others, or one of the two is missing.
    """
    private_path, public_path = folder / PRIVATE_FILE, folder / PUBLIC_FILE
    # The public file appears after the private one; alone it means that the private key was lost, and a new key
    # would start a log that the old public keys do not verify.
    if public_path.exists() and not private_path.exists():
        raise KeyFileError(f"{public_path} is there and {private_path} is not: restore the private key from backup")
    if not private_path.exists():
        create_once(private_path, _generate(), 0o600)
    private = _read_private(private_path)
    public = private.public_key()
    identifier = key_id(public)
    if not public_path.exists():
        entry = PublicKey(public_key=_public_text(private), role=KeyRole.LOG, valid_from=now)
        create_once(public_path, public_entries(Keys({identifier: entry})), 0o644)
    keys = read_keys(public_path)
    if identifier not in keys.public:
        raise KeyFileError(f"{public_path} does not name key {identifier} of {private_path}: restore the one that does")
    return Keys(keys.public, private)


def person(name: str) -> str:
    """Return ``name`` when it names a person as candidates name their owners.

    Raises
    ------
    KeyFileError
        When it does not; a team approves nothing.
    """
    if not _PERSON.fullmatch(name):
        raise KeyFileError(f"{name!r} is not of the form user:NAME (a-z, 0-9, '.', '_', '-')")
    return name


def new_approver(path: Path, person: str, now: datetime) -> Keys:
    """Make a private key for ``person`` in ``path``, readable by its owner only, valid from ``now``.

    Raises
    ------
    KeyFileError
        When there is a file already: a key is not replaced unseen.
    """
    if not create_once(path, _generate(), 0o600):
        raise KeyFileError(f"{path} is there already: use it, or name another file")
    private = _read_private(path)
    entry = PublicKey(public_key=_public_text(private), role=KeyRole.APPROVER, person=person, valid_from=now)
    return Keys({key_id(private.public_key()): entry}, private)


def open_private(path: Path) -> Keys:
    """Return the private key in ``path`` for signing; whose it is and what it may sign, its public entry says.

    Raises
    ------
    KeyFileError
        When it is missing, malformed or readable by others.
    """
    return Keys({}, _read_private(path))


def public_entries(keys: Keys) -> bytes:
    """Return the public entries as a ``keys.json`` holds them."""
    return _KeysFile(keys=dict(keys.public)).canonical_bytes()


def trust(path: Path, entries: Path) -> Keys:
    """Add the approvers' and witnesses' keys in the file ``entries`` to the ``keys.json`` in ``path``; return all.

    Raises
    ------
    KeyFileError
        When a file is malformed, a key is one of a log, or is known already with another validity, role or person.
    """
    known, new = read_keys(path).public, read_keys(entries).public
    if logs := [name for name, key in new.items() if key.role is KeyRole.LOG]:
        raise KeyFileError(f"{entries}: {', '.join(logs)} would sign the log; a log has the key that it began with")
    if other := [name for name, key in new.items() if known.get(name, key) != key]:
        raise KeyFileError(f"{entries}: {', '.join(other)} is known with another person, role or validity")
    keys = Keys({**known, **new})
    replace_file(path, public_entries(keys))
    return keys


def read_keys(path: Path) -> Keys:
    """Return the public keys of a ``keys.json``, for verifying.

    Raises
    ------
    KeyFileError
        When the file cannot be read, is malformed, or an id is not that of its key.
    """
    try:
        keys = _KeysFile.from_canonical_bytes(path.read_bytes().removesuffix(b"\n")).keys
        wrong = [name for name, key in keys.items() if key_id(Ed25519PublicKey.from_public_bytes(key.raw())) != name]
    except OSError as error:
        raise KeyFileError(f"cannot read the public keys {path}: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(f"{path} is not a file of public keys: {error}") from error
    if wrong:
        raise KeyFileError(f"{path} is tampered with: ids {', '.join(wrong)} are not those of their keys")
    return Keys(keys)


def _public_text(private: Ed25519PrivateKey) -> str:
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()


def _generate() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise KeyFileError(f"cannot read the private key {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o177:
            raise KeyFileError(f"{path} has mode {mode:04o} and may be read by others: chmod 600 '{path}'")
        key = _parse(stream.read())
    if key is None:
        raise KeyFileError(f"{path} holds no Ed25519 private key in PEM form: restore it from backup")
    return key


def _parse(pem: bytes) -> Ed25519PrivateKey | None:
    # None and not an exception: tracebacks that show local variables must not show these.
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None
