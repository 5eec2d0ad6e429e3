"""A log in memory, written by whoever holds its key: for tests that hold the verifier to its words."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from research_to_prod.promotion import verifier
from research_to_prod.promotion.verifier import Key, Log, Report, canonical, sha256

START, FOREVER = "2026-01-01T00:00:00.000Z", None
PRIVATE = {
    name: Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).encode()[:32])
    for name in ("log", "ben", "cyd", "wes")
}
PUBLIC = {name: key.public_key().public_bytes_raw() for name, key in PRIVATE.items()}
ID = {name: sha256(public) for name, public in PUBLIC.items()}
ROLES = {"log": "log", "ben": "approver", "cyd": "approver", "wes": "witness"}
KEYS = {
    ID[name]: Key(PUBLIC[name], role, None if role == "log" else f"user:{name}", START, FOREVER)
    for name, role in ROLES.items()
}
PARAMETERS, REPORT, POLICY = b'{"window":20}', b'{"verdict":"pass"}', b'{"approval":{},"to_stage":"paper"}'
GATE = {"gate": "drawdown", "gating": True, "verdict": "pass", "reason": "0.1 <= 0.2"}
CHECK = {"asset": "candles", "check": "is_whole", "partition": "2025-01", "passed": True}
EVIDENCE = {"inputs": [{"asset": "candles"}], "checks": [CHECK], "gates": [GATE]}


def at(second: int) -> str:
    """Return a moment of the first minute of the log."""
    return f"2026-01-01T00:00:{second:02}.000Z"


def told(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a record with changes; None leaves a field out."""
    return {name: each for name, each in (record | changes).items() if each is not None}


class Book:
    """The files of an export, and the log that they make."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {verifier.RECORDS: b""}
        self.read: list[str] = []
        self.log = self.empty()

    def empty(self) -> Log:
        return Log(KEYS, self.blob_of)

    def blob_of(self, name: str) -> bytes | None:
        self.read.append(name)
        return self.files.get(f"{verifier.BLOBS}{name[:2]}/{name}")

    def blob(self, data: bytes) -> str:
        name = sha256(data)
        self.files[f"{verifier.BLOBS}{name[:2]}/{name}"] = data
        return name

    def promotion(self, number: int, **changes: Any) -> dict[str, Any]:
        """Return a promotion of a candidate of that number to paper, at that second, without its place."""
        record = {
            "v": 2,
            "type": "promote",
            "decision_id": f"decision-{number}",
            "recorded_at": at(number),
            "author": "user:ann",
            "reasons": [],
            "candidate": f"c{number}",
            "candidate_sha256": sha256(b"file"),
            "algo_id": "algo",
            "strategy": "momentum",
            "strategy_type": "swing",
            "from_stage": "research",
            "to_stage": "paper",
            "policy": {"id": "to_paper", "sha256": self.blob(POLICY)},
            "code": {"package_sha256": sha256(b"p"), "lockfile_sha256": sha256(b"l"), "version": "1"},
            "parameters_sha256": self.blob(PARAMETERS),
            "evidence_sha256": self.blob(canonical(EVIDENCE)),
            "gate_report_sha256": self.blob(REPORT + b"%d" % number),
            "n_trials": 40,
            "trial_ledger_head": "head",
            "dagster": {"run_id": "run"},
        }
        return told(record, **changes)

    def policy(self, people: int, name: str = "to_paper", stage: str = "paper") -> dict[str, str]:
        """Return the name of a policy that asks for so many people on the way to a stage."""
        content = {"approval": {"people": people}, "to_stage": stage}
        return {"id": name, "sha256": self.blob(canonical(content))}

    def change(self, kind: str, number: int, **fields: Any) -> dict[str, Any]:
        """Return a change of a key or a policy, without its place."""
        shared = ("v", "decision_id", "recorded_at", "author")
        base = {name: each for name, each in self.promotion(number).items() if name in shared}
        return base | {"type": kind, "reasons": ["because"]} | fields

    def placed(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record at the next place of the log."""
        log_id = self.log.records[0]["log_id"] if self.log.records else None
        first = {name: each for name, each in record.items() if name not in {"v", "log_id", "seq", "prev"}}
        place = {"seq": len(self.log.records), "prev": self.log.head, "log_id": log_id or sha256(canonical(first))}
        return place | record

    def line(self, record: dict[str, Any]) -> bytes:
        return canonical(self.placed(record))

    def refused(self, record: dict[str, Any]) -> list[str]:
        """Add a record, and return why not."""
        return self.log.add(self.line(record))

    def write(self, record: dict[str, Any]) -> None:
        """Add a record that is good, with the checkpoint after it."""
        line = self.line(record)
        assert self.log.add(line) == []
        self.files[verifier.RECORDS] += line + b"\n"
        size = self.log.tree.size
        self.files[f"{verifier.CHECKPOINTS}{size:08d}"] = self.checkpoint()

    def checkpoint(self) -> bytes:
        """Return the present checkpoint signed by the log."""
        text = verifier.checkpoint_text(self.log.origin, self.log.tree.size, self.log.tree.root())
        return text + b"\n" + self.signature("log", text)

    def signature(self, who: str, text: bytes, name: str | None = None) -> bytes:
        name = self.log.origin if name is None else name
        hashed = verifier.note_key_hash(name, 1, PUBLIC[who])
        return verifier.signature_line(name, hashed + PRIVATE[who].sign(text))

    def cosignature(self, text: bytes, seconds: int, name: str = "witness.example") -> bytes:
        signed = PRIVATE["wes"].sign(verifier.cosigned_message(text, seconds))
        raw = verifier.note_key_hash(name, 4, PUBLIC["wes"]) + seconds.to_bytes(8) + signed
        return verifier.signature_line(name, raw)

    def approval(
        self, record: dict[str, Any], who: str, signed_at: str, until: str = "2026-01-02T00:00:00.000Z", **other: Any
    ) -> dict[str, Any]:
        """Return what a record says of an approval by ``who``, and store its envelope; ``other`` alters that."""
        payload = {"decision_sha256": verifier.decision_digest(record), "signed_at": signed_at, "expires_at": until}
        body = canonical(payload) if "body" not in other else other.pop("body")
        kind = other.get("payloadType", verifier.APPROVAL_TYPE)
        message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(body), body)
        envelope = {
            "payload": base64.b64encode(body).decode(),
            "payloadType": kind,
            "signatures": [{"keyid": ID[who], "sig": base64.b64encode(PRIVATE[who].sign(message)).decode()}],
        } | other
        name = self.blob(json.dumps(envelope).encode())
        return {"key_id": ID[who], "person": f"user:{who}", "envelope_sha256": name, "signed_at": signed_at}

    def approved(self, record: dict[str, Any], *people: str) -> dict[str, Any]:
        """Return a record that people approved when it was recorded."""
        return record | {"approvals": [self.approval(record, who, record["recorded_at"]) for who in people]}

    def check(self, witness: bytes | None = None, keys: dict[str, Key] | None = None) -> Report:
        sizes = [int(name.removeprefix(verifier.CHECKPOINTS)) for name in self.files if "checkpoints" in name]
        return verifier.check(self.files.get, sizes, KEYS if keys is None else keys, witness)[1]
