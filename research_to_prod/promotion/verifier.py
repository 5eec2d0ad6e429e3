"""Verify an exported promotion ledger, offline: ``python verifier.py EXPORT --keys keys.json [--witness FILE]``.

This one file needs Python and `cryptography`, and nothing of the package, so that an auditor can read all that he
relies on. It is also the one source of the ledger's rules: `Ledger` holds every record to them, written or read.

EXPORT is a folder or a zip with ``records.jsonl`` (a canonical JSON record a line: the leaves of an RFC 6962 tree),
``checkpoints/<size>`` (the C2SP checkpoint after each record, signed by the log) and ``blobs/sha256/..`` (what records
name by hash). ``keys.json`` must come from elsewhere than the export, or it proves only that they fit together.

The newest checkpoint's signature vouches for every record before it, so older checkpoints are held to the tree by
their roots alone: an Ed25519 signature takes 0.24 ms, and 10,000 of them more time than everything else together.
Exit code 0 when everything holds, 1 when something does not, 2 when there is nothing to verify.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VERSION = 2
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""What an export may hold to steer the auditor's terminal."""
GENESIS = "0" * 64
"""What the first record of a log names as its predecessor."""
ORIGIN = "research-to-prod/ledger/"
"""A log's name in its checkpoints is this and its log id, so that no checkpoint passes for one of another log."""
APPROVAL_TYPE = "application/vnd.research-to-prod.approval+json"
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
RECORDS, CHECKPOINTS, BLOBS = "records.jsonl", "checkpoints/", "blobs/sha256/"

_ENTRY = (
    "v:version log_id:sha256 seq:count prev:sha256 type:text decision_id:text recorded_at:time author:text "
    "reasons:[text] approvals?:[approval] "
)
_DECISION = _ENTRY + (
    "candidate:text candidate_sha256:sha256 algo_id?:text strategy:text strategy_type:strategy_type from_stage:stage "
    "to_stage:stage policy:policy code:code parameters_sha256:sha256 evidence_sha256:sha256 gate_report_sha256?:sha256 "
    "n_trials?:count trial_ledger_head?:text limits?:limits validator?:text supersedes?:text expires_at?:time "
    "trigger?:trigger dagster:dagster"
)
FORMS = {
    **dict.fromkeys(("promote", "reject", "demote", "rollback", "override"), _DECISION),
    "key_change": _ENTRY + "key_id:sha256 key:public_key",
    "policy_change": _ENTRY + "policy:policy",
    "policy": "id:text sha256:sha256 version?:text",
    "code": "package_sha256:sha256 lockfile_sha256:sha256 version:text commit?:text dirty?:boolean",
    "limits": "instruments:[instrument] capital?:decimal currency?:text max_order_value?:decimal "
    "max_position_value?:decimal max_messages_per_second?:count",
    "instrument": "venue:text symbol:text",
    "dagster": "run_id:text instance_id?:text",
    "trigger": "rule:text value:number threshold:number samples:count observed_at:time began_at?:time",
    "approval": "key_id:text person:text envelope_sha256:sha256 signed_at:time",
    "public_key": "algorithm:algorithm public_key:text role:role person?:text valid_from:time valid_to?:time",
}
"""The fields of every object, as ``name:kind``; ``?`` marks optional ones, unknown ones are refused."""
KINDS = {
    "text": "(?s).+",
    "sha256": "[0-9a-f]{64}",
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z",
    "number": r"-?[0-9][-+.e0-9]*",
    "decimal": r"(0|[1-9][0-9]*)(\.[0-9]*[1-9])?",
    "stage": "research|paper|canary|live|demoted|halted",
    "strategy_type": "market_making|intraday|swing|carry",
    "algorithm": "ed25519",
    "role": "log|approver|witness",
}
"""Texts, by pattern. Numbers that matter are texts: JSON floats differ between implementations."""
_PATTERNS = {kind: re.compile(pattern).fullmatch for kind, pattern in KINDS.items()}
_FIELDS: dict[str, dict[str, str]] = {}
_NEEDED: dict[str, set[str]] = {}
_PLAIN: dict[str, dict[str, Callable[[str], object]]] = {}
for _form, _text in FORMS.items():
    _named = [each.split(":") for each in _text.split()]
    _FIELDS[_form] = {name.removesuffix("?"): kind for name, kind in _named}
    _PLAIN[_form] = {
        name: _PATTERNS[kind] for name, kind in _FIELDS[_form].items() if kind in _PATTERNS.keys() - {"time", "number"}
    }
    _NEEDED[_form] = {name for name, _ in _named if not name.endswith("?")}


def form_problems(value: object, kind: str, where: str = "it") -> list[str]:
    """Return everything in which a JSON value is not of its kind."""
    fine: bool | None
    if (pattern := _PATTERNS.get(kind)) is not None:
        fine = isinstance(value, str) and pattern(value) is not None and _reads_back(value, kind)
    elif kind.startswith("[") and isinstance(value, list):
        return [problem for each in value for problem in form_problems(each, kind[1:-1], where)]
    elif kind in _FIELDS and isinstance(value, dict):
        fields, patterns = _FIELDS[kind], _PLAIN[kind]
        problems = [f"{where} has no {name}" for name in sorted(_NEEDED[kind] - value.keys())]
        for name, each in value.items():
            plain = patterns.get(name)  # pragma: no mutate - a short cut, slower without and never different
            if plain is not None and isinstance(each, str) and plain(each):  # most of all fields
                continue
            if name not in fields:
                problems.append(f"{where} has an unknown field {name!r}")
            else:
                problems += form_problems(each, fields[name], name)
        return problems
    else:
        fine = {
            "count": type(value) is int and 0 <= value < 2**53,
            "version": type(value) is int and value == VERSION,
            "boolean": isinstance(value, bool),
        }.get(kind)
    return [] if fine else [f"{where} is not a {kind}"]


def _reads_back(text: str, kind: str) -> bool:
    try:
        if kind == "time":
            return time_text(datetime.fromisoformat(text)) == text
        if kind == "number":
            number = int(text) if text.removeprefix("-").isdecimal() else float(text)
            return math.isfinite(number) and repr(number) == text
    except (ValueError, OverflowError):
        return False
    return True


def time_text(moment: datetime) -> str:
    """Return a UTC time as records have it: texts of one width, which compare as the times do."""
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 form of a value without floats and with ASCII names: there json's own encoder gives it."""
    return _ENCODER.encode(value).encode()


def parse_record(line: bytes) -> dict[str, Any]:
    """Return the record of a line when it is of a known form and in canonical spelling; ValueError names what isn't."""
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - what is wrong is the file, not the caller
    if {"record", "signatures"} == value.keys():
        raise ValueError("of version 1, from before the first release: start a new ledger in an empty folder")
    kind = value.get("type")
    if kind not in ("promote", "reject", "demote", "rollback", "override", "key_change", "policy_change"):
        raise ValueError(f"of unknown type {kind!r}")
    if problems := form_problems(value, kind, kind):
        raise ValueError("; ".join(problems))
    if canonical(value) != line:
        raise ValueError("not in canonical form (RFC 8785)")
    return value


def decision_digest(record: Mapping[str, Any]) -> str:
    """Return what approvers sign: the digest of a decision without its approvals, run, time and place in the log.

    A decision waits for its approvals, so the run and the moment that record it are not those that asked, and the
    trial ledger has grown with the trials of others; the number of this strategy's own is in the digest.
    """
    given_later = {"v", "log_id", "seq", "prev", "recorded_at", "approvals", "dagster", "trial_ledger_head"}
    return sha256(canonical({name: value for name, value in record.items() if name not in given_later}))


def sha256(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Key(NamedTuple):
    """A public key; times are texts of fixed width, which compare as the times do."""

    public: bytes
    role: str
    person: str | None
    valid_from: str
    valid_to: str | None

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's of ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def valid_at(self, moment: str) -> bool:
        """Whether the key was valid then."""
        return self.valid_from <= moment and (self.valid_to is None or moment < self.valid_to)


def parse_keys(data: bytes) -> dict[str, Key]:
    """Return the keys of a ``keys.json`` by id; ValueError names what is wrong with it."""
    content = json.loads(data)
    if not isinstance(content, dict) or not isinstance(content.get("keys"), dict):
        raise ValueError("not a file of public keys")  # noqa: TRY004
    keys = {}
    for name, entry in content["keys"].items():
        if problems := form_problems(entry, "public_key", f"key {name}"):
            raise ValueError("; ".join(problems))
        public = base64.b64decode(entry["public_key"], validate=True)
        if sha256(public) != name or len(public) != 32:
            raise ValueError(f"{name} is not the id of its key")
        keys[name] = Key(public, entry["role"], entry.get("person"), entry["valid_from"], entry.get("valid_to"))
    return keys


class Tree:
    """The RFC 6962 tree of a growing list of leaves, kept as the roots of its complete subtrees, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf."""
        node, size = leaf_hash(leaf), self.size
        while size & 1:
            node, size = node_hash(self._roots.pop(), node), size >> 1
        self._roots.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root at the present size."""
        if not self._roots:
            return hashlib.sha256(b"").digest()
        node = self._roots[-1]
        for left in self._roots[-2::-1]:
            node = node_hash(left, node)
        return node


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node; the prefix keeps a node from passing for a leaf."""
    return hashlib.sha256(b"\x01" + left + right).digest()


_HEAD = re.compile(rf"({ORIGIN}[0-9a-f]{{64}})\n(0|[1-9][0-9]{{0,15}})\n([A-Za-z0-9+/]{{43}}=)\n\n(?s:(.+))")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})\n")


class Checkpoint(NamedTuple):
    """A signed tree head (C2SP tlog-checkpoint): which log, how many records, their root, and who signed that."""

    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def text(self) -> bytes:
        """The note that is signed."""
        return checkpoint_text(self.origin, self.size, self.root)


def checkpoint_text(origin: str, size: int, root: bytes) -> bytes:
    """Return the text of a checkpoint, which is what its signatures are over."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def signature_line(name: str, signature: bytes) -> bytes:
    """Return the line of a note that carries a signature."""
    return f"— {name} {base64.b64encode(signature).decode()}\n".encode()


def parse_checkpoint(note: bytes) -> Checkpoint:
    """Return the checkpoint in a signed note, signatures unverified; ValueError when it is none."""
    found = _HEAD.fullmatch(note.decode()) if len(note) < 100_000 else None
    lines = found[4].splitlines(keepends=True) if found else []
    signatures = [_SIGNATURE.fullmatch(line) for line in lines]
    if found is None or None in signatures:
        raise ValueError("not a signed checkpoint of a promotion ledger")
    signed = tuple((each[1], base64.b64decode(each[2])) for each in signatures if each)
    return Checkpoint(found[1], int(found[2]), base64.b64decode(found[3]), signed)


def note_key_hash(name: str, algorithm: int, public: bytes) -> bytes:
    """Return the four bytes by which a note's signature names its key (1: Ed25519, 4: Ed25519 cosignature)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()[:4]


def cosigned_message(text: bytes, timestamp: int) -> bytes:
    """Return what a witness signs of a checkpoint (C2SP tlog-cosignature, version 1)."""
    return b"cosignature/v1\ntime %d\n" % timestamp + text


def signature_problems(checkpoint: Checkpoint, keys: Mapping[str, Key], moment: str) -> tuple[list[str], list[str]]:
    """Return what is wrong with a checkpoint's signatures at ``moment``, and the witnesses that cosigned it.

    Signatures of unknown keys are passed over, as the standard asks; a bad one of a known key is an attack.
    """
    problems, signed, witnesses = [], False, []
    for name, raw in checkpoint.signatures:
        for identifier, key in keys.items():
            message, signature, at = checkpoint.text, raw[4:], moment
            if key.role == "witness" and raw[:4] == note_key_hash(name, 4, key.public):
                timestamp = min(int.from_bytes(raw[4:12]), 253402300799)  # the last second of the year 9999
                message, signature = cosigned_message(message, timestamp), raw[12:]
                at = time_text(datetime.fromtimestamp(timestamp, UTC))
                witnesses.append(key.person or name)
            elif key.role == "log" and raw[:4] == note_key_hash(name, 1, key.public) and name == checkpoint.origin:
                signed = True
            else:
                continue
            if not key.signed(signature, message):
                problems.append(f"the signature by key {identifier} is not of this checkpoint")
            if not key.valid_at(at):
                until = f" until {key.valid_to}" if key.valid_to else ""
                problems.append(f"key {identifier} is valid from {key.valid_from}{until}, not at {at}")
    if not signed:
        problems.append("it is not signed by a trusted key of the log")
    return problems, witnesses


TRADING = ("paper", "canary", "live")
MONEY = ("canary", "live")
_DOWN = {("live", "canary"), ("live", "paper"), ("canary", "paper"), ("demoted", "halted")} | {
    (stage, down) for stage in TRADING for down in ("demoted", "halted")
}
END_OF_A_HALT = ("halted", "demoted")
LEGAL = {
    "promote": {("research", "paper"), ("paper", "canary"), ("canary", "live"), ("demoted", "paper")}
    | {(stage, stage) for stage in TRADING},
    "demote": _DOWN | {END_OF_A_HALT},
    "rollback": _DOWN,
    "override": {(stage, stage) for stage in (*TRADING, "demoted", "halted")},
}
"""The transitions that a record may make; a rejection asks for one that could have been promoted."""


def promotion_obstacles(record: Mapping[str, Any], evidence: Mapping[str, Any]) -> list[str]:
    """Return everything in a decision and its evidence that forbids a promotion; empty when nothing does."""
    checks, gates = evidence["checks"], [gate for gate in evidence["gates"] if gate["gating"]]
    found = {"inputs": evidence["inputs"], "checks": checks, "gating gates": gates}
    obstacles = [f"no {name} are recorded" for name, each in found.items() if not each]
    named = {
        "gate report": "gate_report_sha256",
        "number of trials": "n_trials",
        "trial ledger head": "trial_ledger_head",
        "algorithm's id": "algo_id",
    }
    obstacles += [f"the {name} is missing" for name, each in named.items() if record.get(each) is None]
    if record["code"].get("dirty") and record["to_stage"] in MONEY:
        obstacles.append("the code that decided was not committed: commit it or install a release, then promote again")
    for check in checks:
        where = f"{check['asset']}[{check['partition']}]" if check.get("partition") else check["asset"]
        if check["passed"] is not True:
            obstacles.append(f"check {check['check']} of {where} failed")
    obstacles += [f"gate {g['gate']}: {g['verdict']}: {g['reason']}" for g in gates if g["verdict"] != "pass"]
    return obstacles


class Log:
    """A log as far as it was verified: what the next record must agree with.

    Parameters
    ----------
    keys
        The keys that are trusted; records of the log can end a key earlier, never make one trusted.
    blob
        Gives the bytes of a blob by its hash; None when there is none.
    """

    def __init__(self, keys: Mapping[str, Key], blob: Callable[[str], bytes | None]) -> None:
        self.keys = dict(keys)
        self.records: list[dict[str, Any]] = []
        self.tree = Tree()
        self.head = GENESIS
        self.notes: list[str] = []
        self._blob = blob
        self._good_blobs: set[str] = set()
        self._parsed: dict[str, Any] = {}
        self._asked: dict[str, tuple[str, int]] = {}
        self._decisions: dict[str, dict[str, Any]] = {}
        self._evidence: dict[tuple[str, ...], int] = {}
        self._stages: dict[tuple[str, str], str] = {}
        self._fallen: set[tuple[str, str]] = set()
        self._holders: dict[tuple[str, str], tuple[str, str]] = {}
        self._policies: dict[str, str] = {}
        self._people: dict[str, int] = {}

    @property
    def origin(self) -> str:
        """The log's name in its checkpoints."""
        return f"{ORIGIN}{self.records[0]['log_id']}"

    def add(self, line: bytes) -> list[str]:
        """Add the record of a line, or return everything that is wrong with it and leave the log as it was."""
        try:
            record = parse_record(line)
        except ValueError as error:
            return [f"it is {error}"]
        problems = [*self._out_of_place(record), *own_problems(record), *self._bad_blobs(record)]
        if not problems:
            problems = [*self._not_approved(record), *self._illegal(record)]
        if problems:
            return problems
        self._apply(record)
        self.records.append(record)
        self._decisions[record["decision_id"]] = record
        self.tree.append(line)
        self.head = sha256(line)
        return []

    def _out_of_place(self, record: Mapping[str, Any]) -> Iterator[str]:
        last = self.records[-1] if self.records else None
        placed = {"v", "log_id", "seq", "prev"}
        first = last or {"log_id": sha256(canonical({n: each for n, each in record.items() if n not in placed}))}
        if record["seq"] != len(self.records):
            yield f"seq is {record['seq']}, expected {len(self.records)}"
        if record["prev"] != self.head:
            yield f"prev is {record['prev']}, the record before it has SHA-256 {self.head}"
        if record["log_id"] != first["log_id"]:
            yield f"it belongs to log {record['log_id']}, this is log {first['log_id']}"
        if (same := self._decisions.get(record["decision_id"])) is not None:
            yield f"decision {record['decision_id']} is already record {same['seq']}"
        if last and record["recorded_at"] < last["recorded_at"]:
            yield (
                f"recorded at {record['recorded_at']}, before the last record ({last['recorded_at']}): "
                "was the clock set back?"
            )

    def _bad_blobs(self, record: Mapping[str, Any]) -> Iterator[str]:
        for what, name in named_blobs(record).items():
            if name in self._good_blobs:
                continue
            data = self._blob(name)
            if data is None:
                yield f"its {what}, blob {name}, is missing"
            elif sha256(data) != name:
                yield f"its {what}, blob {name}, has another content than its name says"
            else:
                self._good_blobs.add(name)

    def _read(self, name: str) -> Any:
        if name not in self._parsed:  # the last blob only: evidence is long
            try:
                self._parsed = {name: (data := self._blob(name)) and json.loads(data)}
            except (ValueError, RecursionError):
                self._parsed = {name: None}
        return self._parsed[name]

    def _not_approved(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Find what is wrong with the approvals of a record, and how many the policy asks for that are not there."""
        approvals = record.get("approvals", [])
        people = [person_name(approval["person"]) for approval in approvals]
        if len(set(people)) < len(people):
            yield f"one person approved twice: {', '.join(sorted(people))}"
        if person_name(record["author"]) in people:
            yield f"{record['author']} approved their own decision"
        for approval in approvals:
            who, key = f"the approval of {approval['person']}", self.keys.get(approval["key_id"])
            if key is None or (key.role, key.person) != ("approver", approval["person"]):
                yield f"{who} is by key {approval['key_id']}, which is not theirs among the trusted keys of approvers"
                continue
            if not key.valid_at(approval["signed_at"]):
                yield f"{who} is of {approval['signed_at']}, when its key was not valid"
            try:
                payload = _open_envelope(self._read(approval["envelope_sha256"]), approval["key_id"], key)
                told = payload["decision_sha256"], payload["signed_at"], payload["expires_at"]
            except (AttributeError, KeyError, TypeError, ValueError):
                yield f"{who} is not signed by them"
                continue
            digest = decision_digest(record)
            if told[:2] != (digest, approval["signed_at"]):
                yield f"{who} is of another decision ({told[0]}, not {digest}) or of another time"
            if not approval["signed_at"] <= record["recorded_at"] < str(told[2]):
                yield f"{who} holds from {approval['signed_at']} to {told[2]}, not at {record['recorded_at']}"
        if record["type"] in {"promote", "policy_change"}:
            try:
                stage, asked = self._asked_for(record)
            except (AttributeError, OverflowError, TypeError, ValueError):
                yield f"its policy, blob {record['policy']['sha256']}, is not of the known form"
                return
            before = self._people.get(stage, 0)
            if len(set(people)) < max(asked, before):
                yield (
                    f"a way to {stage} is approved by {len(people)} people; its policy asks for {asked}, the one "
                    f"before for {before}: for fewer than before it takes a policy_change that so many approve"
                )

    def _asked_for(self, record: Mapping[str, Any]) -> tuple[str, int]:
        """Return the stage to which a policy lets candidates, and how many people it asks for their approval."""
        name = record["policy"]["sha256"]
        if name not in self._asked:
            policy = self._read(name)
            policy = policy if isinstance(policy, dict) else {}
            self._asked[name] = str(policy.get("to_stage")), int(policy.get("approval", {}).get("people", 0))
        stage, people = self._asked[name]
        return record.get("to_stage", stage), people

    def _illegal(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Find the rules between records that a decision breaks."""
        kind = record["type"]
        if kind == "key_change":
            known = self.keys.get(record["key_id"])
            if known and (known.role, known.person) != (record["key"]["role"], record["key"].get("person")):
                yield f"the trusted keys know key {record['key_id']} as {known.role} of {known.person}"
        if kind not in _DECISIONS:
            return
        candidate, policy = record["candidate"], record["policy"]
        start, end = record["from_stage"], record["to_stage"]
        version = candidate, record["candidate_sha256"]
        current = self._stages.get(version, "research")
        ways = LEGAL["promote" if kind == "reject" else kind]
        if (start, end) not in ways:
            onward = ", ".join(sorted(to for origin, to in ways if origin == start)) or "nowhere"
            yield f"no {kind} leads {candidate} from {start} to {end}; from {start} it may lead to: {onward}"
        elif start != current:
            yield f"{candidate} is at {current}, not at {start}: decide again from where it is"
        re_enables = (kind == "promote" and version in self._fallen) or (start, end) == END_OF_A_HALT
        if re_enables and not record.get("approvals"):
            yield f"{candidate} was moved down; only a record that names a person leads it from {start} to {end}"
        if "supersedes" in record and self._decisions.get(record["supersedes"], {}).get("candidate") != candidate:
            yield f"it supersedes {record['supersedes']}, which is no earlier decision on {candidate}"
        if kind != "promote":
            return
        if (used := self._evidence.get(_evidence_of(record))) is not None:
            # A second promotion on the first one's evidence is a replay, or two processes that decided at once.
            yield f"gate report {record.get('gate_report_sha256')} already promoted it to {end}: record {used}"
        if (in_force := self._policies.get(policy["id"], policy["sha256"])) != policy["sha256"]:
            yield f"policy {policy['id']} in force is {in_force}, not {policy['sha256']}: record the change first"
        evidence = self._read(record["evidence_sha256"])
        try:
            yield from promotion_obstacles(record, evidence)
        except (KeyError, TypeError, AttributeError):
            yield f"its evidence, blob {record['evidence_sha256']}, is not of the known form"

    def _apply(self, record: dict[str, Any]) -> None:
        kind, seq = record["type"], len(self.records)
        if kind in {"promote", "policy_change"}:
            stage, self._people[stage] = self._asked_for(record)
        if kind == "key_change":
            known, until = self.keys.get(record["key_id"]), record["key"].get("valid_to")
            if known is None:
                self.notes.append(f"record {seq} names key {record['key_id']}, which is not among the trusted keys")
            elif until is not None:
                self.keys[record["key_id"]] = known._replace(valid_to=min(until, known.valid_to or until))
        elif kind == "policy_change":
            self._policies[record["policy"]["id"]] = record["policy"]["sha256"]
        elif kind in {"promote", "demote", "rollback"}:
            version, stage = (record["candidate"], record["candidate_sha256"]), record["to_stage"]
            if kind == "promote":
                self._evidence[_evidence_of(record)] = seq
            if stage in TRADING:
                # Two versions of one candidate at one stage would double its positions.
                holder = self._holders.get((version[0], stage))
                if holder is not None and self._stages.get(holder) == stage:
                    del self._stages[holder]
                self._holders[version[0], stage] = version
            self._stages[version] = stage
            (self._fallen.discard if kind == "promote" else self._fallen.add)(version)


def _open_envelope(envelope: Any, key_id: str, key: Key) -> dict[str, Any]:
    """Return the payload of a DSSE envelope that ``key`` signed; one of four errors when it did not, or is none."""
    payload, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"].encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    signed = {each["keyid"]: base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"]}
    if envelope["payloadType"] != APPROVAL_TYPE or not key.signed(signed[key_id], message):
        raise ValueError
    return dict(json.loads(payload))


_DECISIONS = ("promote", "reject", "demote", "rollback", "override")
_BLOBS_OF_A_RECORD = ("parameters_sha256", "evidence_sha256", "gate_report_sha256")


def named_blobs(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what a record names by its hash, by what it is."""
    named = {name.removesuffix("_sha256").replace("_", " "): record.get(name) for name in _BLOBS_OF_A_RECORD}
    named["policy"] = record.get("policy", {}).get("sha256")
    named |= {f"envelope of {each['person']}": each["envelope_sha256"] for each in record.get("approvals", [])}
    return {what: name for what, name in named.items() if name is not None}


def _evidence_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(record.get(name)) for name in ("candidate", "candidate_sha256", "to_stage", "gate_report_sha256"))


def person_name(person: str) -> str:
    """Return a name as people are told apart: ``user:Ann`` and ``ann`` are one person."""
    return person.removeprefix("user:").strip().casefold()


def own_problems(record: Mapping[str, Any]) -> Iterator[str]:
    """Find the rules that a record breaks by what it says alone."""
    kind, key = record["type"], record.get("key")
    if kind != "promote" and not record["reasons"]:
        yield f"a {kind} without reasons; say why"
    if kind == "promote":
        yield from (f"a promotion that its own contents refuse: {reason}" for reason in record["reasons"])
    if (kind == "rollback") != ("trigger" in record):
        yield "a rollback, and nothing else, names the trigger that asked for it"
    if kind == "override" and ("supersedes" not in record or "expires_at" not in record):
        yield "an override names the decision that it sets aside and when it ends"
    if "expires_at" in record and record["expires_at"] <= record["recorded_at"]:
        yield f"it expired at {record['expires_at']}, before it was recorded"
    if "validator" in record and person_name(record["validator"]) == person_name(record["author"]):
        yield f"{record['author']} is both its author and its validator"
    if key is not None:
        named = set[str]()
        with suppress(ValueError):
            named.add(sha256(base64.b64decode(key["public_key"], validate=True)))
        if record["key_id"] not in named:
            yield f"{record['key_id']} is not the id of the key that it names"


@dataclass(frozen=True)
class Report:
    """What was found in an export: what holds, what does not, and what could not be checked."""

    records: int
    root: str
    witnessed: int
    problems: tuple[str, ...]
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]

    def text(self) -> str:
        """Return the report for people."""
        verdict = "DOES NOT HOLD" if self.problems else "holds"
        seen = f"Witnessed up to record {self.witnessed - 1}" if self.witnessed else "Not witnessed"
        lines = [f"The ledger of {self.records} records {verdict}. Root: {self.root}"]
        lines += [f"{seen}, {max(0, self.records - self.witnessed)} records unwitnessed."]
        for title, found in (("problem", self.problems), ("checked", self.checked), ("not checked", self.not_checked)):
            lines += [f"{title}: {each}" for each in found]
        return "\n".join(lines) + "\n"


Source = Callable[[str], bytes | None]
"""Gives the bytes of a file of an export by its name; None when there is none."""


def check(source: Source, sizes: Sequence[int], keys: Mapping[str, Key], witness: bytes | None) -> tuple[Log, Report]:
    """Hold an export to every rule; return the log as far as it verified, and the report.

    Parameters
    ----------
    source
        Gives its files.
    sizes
        The tree sizes for which it has checkpoints.
    witness
        A checkpoint that was kept outside; without it the report says what cannot be seen.
    """
    log = Log(keys, lambda name: source(f"{BLOBS}{name[:2]}/{name}"))
    data = source(RECORDS)
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    seen = None if witness is None else parse_checkpoint(witness)
    witnessed_root, note, problems = None, None, list[str]()
    for number, line in enumerate(lines, start=1):
        found = log.add(line)
        if not found:
            note = source(f"{CHECKPOINTS}{number:08d}")
            found = _not_its_checkpoint(log, note)
        if found:
            problems.append(f"line {number} does not verify: " + "; ".join(found))
            break
        if seen is not None and seen.size == number:
            witnessed_root = log.tree.root()
    if note is not None and not problems:
        problems = _not_signed(log, note)
    if beyond := sorted(size for size in sizes if size > len(lines)):
        problems.append(f"a checkpoint of {beyond[-1]} records is there, and only {len(lines)} records: it was cut off")
    found, cosigned = ([], []) if seen is None else _not_as_witnessed(log, len(lines), witnessed_root, seen)
    return log, _report(log, problems + found, seen, cosigned)


def _not_its_checkpoint(log: Log, note: bytes | None) -> list[str]:
    """Return in what a note is not the checkpoint after the last record; its signatures are not verified here."""
    name = f"{CHECKPOINTS}{log.tree.size:08d}"
    if note is None:
        return [f"there is no checkpoint after it ({name})"]
    if not note.startswith(checkpoint_text(log.origin, log.tree.size, log.tree.root()) + b"\n"):
        return [f"{name} is of other records than these"]
    return []


def _not_as_witnessed(log: Log, n: int, root: bytes | None, seen: Checkpoint) -> tuple[list[str], list[str]]:
    """Return in what a log of ``n`` lines is not what the witness saw, and who cosigned that."""
    problems, cosigned = list[str](), list[str]()
    if log.records:
        found, cosigned = signature_problems(seen, log.keys, log.records[-1]["recorded_at"])
        problems = [f"the witness's checkpoint: {each}" for each in found]
    if seen.size > n:
        problems.append(f"truncated: the witness saw {seen.size} records, here are {n}")
    elif seen.size > len(log.records):
        problems.append(f"of the {seen.size} records that the witness saw, {len(log.records)} verify here")
    elif seen.size and (seen.origin != log.origin or root != seen.root):
        problems.append(f"forked: the first {seen.size} records are not those that the witness saw")
    return problems, cosigned


def _not_signed(log: Log, note: bytes) -> list[str]:
    try:
        found, _ = signature_problems(parse_checkpoint(note), log.keys, log.records[-1]["recorded_at"])
    except ValueError as error:
        found = [f"it is {error}"]
    return [f"the newest checkpoint: {each}" for each in found]


REWRITTEN = "edit, deletion, insertion, reordering, backdating or a fork, chained and signed again with the log's key"
CUT_OFF = "a tail that was cut off together with its checkpoints"
MADE_UP = "a decision made up, or replayed under a fresh id, by the holder of the log's key"


def _report(log: Log, problems: list[str], seen: Checkpoint | None, cosigned: Sequence[str]) -> Report:
    n, witnessed = len(log.records), 0 if seen is None or problems else seen.size
    unapproved = sum(record["type"] == "promote" and not record.get("approvals") for record in log.records)
    checked = [
        f"{n} records are canonical and of the known form, without unknown fields",
        "each carries the hash of the one before it, belongs to this log, and has a checkpoint with the tree's root",
        "the newest checkpoint is signed by a trusted key of the log, and so vouches for all records",
        "sequence numbers have no gap, times never go back, no decision appears twice",
        "every blob that a record names is there with the content that its hash says",
        "each promotion has its checks and gating gates passed, none reuses the evidence of another",
        "each transition is legal and starts where its candidate stood",
        "each approval is signed by the key of another person than the author, for this decision, and had not expired",
    ]
    if witnessed:
        by = f", cosigned by {', '.join(cosigned)}" if cosigned else ""
        checked.append(f"records 0 to {witnessed - 1} are those that the witness saw{by}")
    not_checked = [*log.notes]
    if witnessed < n:
        since = f"records {witnessed} to {n - 1} are not witnessed: " if witnessed else "no witness: "
        not_checked += [f"{since}{REWRITTEN}, cannot be seen", f"{since}{CUT_OFF}, cannot be seen"]
    if unapproved:
        not_checked.append(f"{unapproved} promotions carry no approval: {MADE_UP}, cannot be seen")
    not_checked += [
        "whether the recorded times were the true times",
        "whether inputs, checks and gates were as recorded: that is for the lake to show (replay)",
    ]
    root = base64.b64encode(log.tree.root()).decode()
    return Report(n, root, witnessed, tuple(problems), () if problems or not n else tuple(checked), tuple(not_checked))


def verify(export: Path, keys: Path, witness: Path | None = None) -> Report:
    """Verify an export: a folder or a zip of ``r2p ledger export``.

    Raises
    ------
    OSError, ValueError
        When a file cannot be read, or is not what it should be: then nothing was verified.
    """
    trusted = parse_keys(keys.read_bytes())
    outside = None if witness is None else witness.read_bytes()
    if export.is_dir():
        sizes = [int(path.name) for path in (export / CHECKPOINTS).glob("[0-9]*") if path.name.isdecimal()]
        return _some_records(export, check(lambda name: _file(f"{export}/{name}"), sizes, trusted, outside)[1])
    with zipfile.ZipFile(export) as archive:
        names = Counter(archive.namelist())
        if twice := [name for name, times in names.items() if times > 1]:
            raise ValueError(f"{export} has more than one file named {twice[0]}")
        found = [name.removeprefix(CHECKPOINTS) for name in names if name.startswith(CHECKPOINTS)]
        sizes = [int(name) for name in found if name.isdecimal()]
        report = check(lambda name: archive.read(name) if name in names else None, sizes, trusted, outside)[1]
        return _some_records(export, report)


def _some_records(export: Path, report: Report) -> Report:
    if not (report.records or report.problems):
        raise ValueError(f"{export} has no {RECORDS}, or nothing in it")
    return report


def _file(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - of 10,000 records, pathlib takes a fifth of the time
            return stream.readall()
    except FileNotFoundError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verifier from the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="verifier", description="Verify an exported promotion ledger, offline.")
    parser.add_argument("export", type=Path, help="folder or zip of `r2p ledger export`")
    parser.add_argument("--keys", type=Path, required=True, help="trusted public keys, not from the export")
    parser.add_argument("--witness", type=Path, help="a checkpoint that was kept outside")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        report = verify(given.export, given.keys, given.witness)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.stderr.write(_UNPRINTABLE.sub("\ufffd", f"nothing was verified: {error}\n"))
        return 2
    shown = json.dumps(asdict(report), indent=2) + "\n" if given.json else report.text()
    sys.stdout.write(_UNPRINTABLE.sub("\ufffd", shown))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
