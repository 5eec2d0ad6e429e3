"""Attacks on the promotion ledger, and what its verifier sees of them: writes the table of docs/audit.md.

``python -m benchmarks.ledger_attacks``. The attacker has the export. An insider also has the log's key: he chains again
and signs every checkpoint anew, with the project's own code. The witness's key and the approvers' keys are elsewhere.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks._tables import table
from research_to_prod.promotion import verifier
from research_to_prod.promotion.blobs import Blobs
from research_to_prod.promotion.keys import (
    KeyRole,
    Keys,
    PublicKey,
    key_id,
    open_keys,
    pre_authentication_encoding,
    public_entries,
)
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Approval, Draft
from research_to_prod.values import canonical_json, sha256_hex

PAGE = Path(__file__).resolve().parents[1] / "docs" / "audit.md"
BEGIN, END = "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = ("user:bea", "user:cyd")
SIZE = 20

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Desk:
    """A ledger of twenty decisions, the keys that its readers trust, and who may approve.

    Parameters
    ----------
    folder
        The ledger; records 3, 8, 13, 18 are refusals, the others promote one candidate each to paper.
    keys
        All public keys, and the log's private one.
    people
        How many people the policy asks for.
    """

    folder: Path
    keys: Keys
    people: int

    @property
    def public(self) -> bytes:
        """The auditor's ``keys.json``."""
        return public_entries(self.keys)

    def checkpoint(self, size: int) -> bytes:
        """Return a checkpoint, as a witness keeps it."""
        return (self.folder / verifier.CHECKPOINTS / f"{size:08d}").read_bytes()


def desk(folder: Path, people: int) -> Desk:
    """Make a desk whose policy asks for the approval of so many people."""
    log = open_keys(folder / "keys", EPOCH)
    private = {person: Ed25519PrivateKey.generate() for person in PEOPLE}
    public = {
        key_id(key.public_key()): PublicKey(
            public_key=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
            role=KeyRole.APPROVER,
            person=person,
            valid_from=EPOCH,
        )
        for person, key in private.items()
    }
    keys = Keys({**log.public, **public}, log._private)  # noqa: SLF001 - there is no other way to it, by intent
    ledger = Ledger(folder / "ledger", keys)
    for number in range(SIZE):
        draft, blobs = decision(number, people)
        if draft.type == "promote" and people:
            envelopes = {person: approval(private[person], draft) for person in PEOPLE[:people]}
            approvals = tuple(
                Approval(
                    key_id=key_id(private[person].public_key()),
                    person=person,
                    envelope_sha256=sha256_hex(envelope),
                    signed_at=draft.recorded_at,
                )
                for person, envelope in envelopes.items()
            )
            draft, blobs = draft.model_copy(update={"approvals": approvals}), [*blobs, *envelopes.values()]
        ledger.append(draft, blobs)
    return Desk(folder / "ledger", keys, people)


def decision(number: int, people: int) -> tuple[Draft, list[bytes]]:
    """Return a decision, a minute after the one before it, and the blobs that it names."""
    policy = canonical_json({"id": "research_to_paper", "to_stage": "paper", "approval": {"people": people}})
    parameters, report, name = canonical_json({"window": number}), canonical_json({"report": number}), f"c{number}"
    refused, sha256 = number % 5 == 3, sha256_hex(name.encode())
    gate = {"gate": "maximum_drawdown", "family": "risk", "samples": 900, "value": "0.31", "threshold": "0.4"}
    gate |= {"verdict": "fail", "reason": "0.41 > 0.4"} if refused else {"verdict": "pass", "reason": "0.31 <= 0.4"}
    made = {"asset": "candles", "partition": "2025-01", "run_id": "run", "storage_id": number}
    draft = Draft.model_validate(
        {
            "type": "reject" if refused else "promote",
            "reasons": ["gate maximum_drawdown: fail: 0.41 > 0.4"] if refused else [],
            "decision_id": f"run-{number}:{name}",
            "recorded_at": EPOCH + timedelta(minutes=number),
            "candidate": name,
            "candidate_sha256": sha256,
            "algo_id": f"{name}.{sha256[:12]}",
            "strategy": "momentum",
            "strategy_type": "swing",
            "from_stage": "research",
            "to_stage": "paper",
            "policy": {"id": "research_to_paper", "sha256": sha256_hex(policy)},
            "code": {"package_sha256": sha256, "lockfile_sha256": sha256, "version": "0.1.0"},
            "parameters_sha256": sha256_hex(parameters),
            "gate_report_sha256": sha256_hex(report),
            "n_trials": 40,
            "trial_ledger_head": sha256,
            "author": "user:ann",
            "limits": {"instruments": [{"venue": "sandbox", "symbol": "BTC/USDT"}], "capital": "250000"},
            "dagster": {"run_id": f"run-{number}"},
            "inputs": [made | {"lake_version": number, "content_sha256": sha256, "rows": 744}],
            "checks": [made | {"check": "matches_contract", "passed": True}],
            "gates": [gate],
        }
    )
    return draft, [policy, parameters, report]


def approval(key: Ed25519PrivateKey, draft: Draft, signed_at: datetime | None = None) -> bytes:
    """Return the envelope in which the holder of ``key`` approves a decision, for a week."""
    at = signed_at or draft.recorded_at
    payload = canonical_json(
        {
            "decision_sha256": draft.decision_digest(),
            "signed_at": verifier.time_text(at),
            "expires_at": verifier.time_text(at + timedelta(days=7)),
        }
    )
    signature = key.sign(pre_authentication_encoding(verifier.APPROVAL_TYPE, payload))
    signed = {"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": verifier.APPROVAL_TYPE}
    return canonical_json({**envelope, "signatures": [signed]})


class Export:
    """A copy of a desk's ledger in the hands of an attacker."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        shutil.copytree(desk.folder, folder)
        self.desk, self.folder = desk, folder

    def records(self) -> Records:
        """Return the records."""
        return [json.loads(line) for line in (self.folder / verifier.RECORDS).read_bytes().splitlines()]

    def put(self, records: Records) -> None:
        """Write records as they are; chain and checkpoints stay."""
        (self.folder / verifier.RECORDS).write_bytes(b"".join(verifier.canonical(each) + b"\n" for each in records))

    def rewrite(self, records: Records) -> None:
        """Write records with the log's key: chained again, every checkpoint signed anew."""
        first = {name: each for name, each in records[0].items() if name not in {"v", "log_id", "seq", "prev"}}
        log_id, prev, chained = sha256_hex(verifier.canonical(first)), verifier.GENESIS, []
        for seq, record in enumerate(records):
            chained.append({**record, "log_id": log_id, "seq": seq, "prev": prev})
            prev = sha256_hex(verifier.canonical(chained[-1]))
        self.put(chained)
        checkpoints, tree = self.folder / verifier.CHECKPOINTS, verifier.Tree()
        shutil.rmtree(checkpoints)
        checkpoints.mkdir()
        for size, record in enumerate(chained, start=1):
            tree.append(verifier.canonical(record))
            note = self.desk.keys.sign_checkpoint(f"{verifier.ORIGIN}{log_id}", size, tree.root())
            (checkpoints / f"{size:08d}").write_bytes(note)

    def verify(self, *, witness: bytes | None) -> verifier.Report:
        """Verify as an auditor does, from files alone."""
        keys, kept = self.folder.with_suffix(".keys"), self.folder.with_suffix(".witness")
        keys.write_bytes(self.desk.public)
        kept.write_bytes(witness or b"")
        return verifier.verify(self.folder, keys, kept if witness else None)


def more_capital(record: dict[str, Any]) -> dict[str, Any]:
    """Return a decision with ten times its capital."""
    return {**record, "limits": {**record["limits"], "capital": "2500000"}}


def edit(export: Export) -> None:
    """Give record 7 ten times its capital, and touch nothing else."""
    records = export.records()
    export.put([*records[:7], more_capital(records[7]), *records[8:]])


def delete(export: Export) -> None:
    """Take the refusal at 8 out, and touch nothing else."""
    records = export.records()
    export.put(records[:8] + records[9:])


def edit_and_rechain(export: Export) -> None:
    """Give record 7 ten times its capital."""
    records = export.records()
    export.rewrite([*records[:7], more_capital(records[7]), *records[8:]])


def delete_and_rechain(export: Export) -> None:
    """Take the refusal at 8 out."""
    records = export.records()
    export.rewrite(records[:8] + records[9:])


def reorder_and_rechain(export: Export) -> None:
    """Swap records 7 and 8."""
    records = export.records()
    export.rewrite([*records[:7], records[8], records[7], *records[9:]])


def reorder_with_times(export: Export) -> None:
    """Swap records 7 and 8, and their times with them."""
    records = export.records()
    earlier, later = records[7]["recorded_at"], records[8]["recorded_at"]
    swapped = [{**records[8], "recorded_at": earlier}, {**records[7], "recorded_at": later}]
    export.rewrite([*records[:7], *swapped, *records[9:]])


def truncate(export: Export) -> None:
    """Cut off the last three records with their checkpoints: the log as it was on an earlier day."""
    export.put(export.records()[:17])
    for size in range(18, SIZE + 1):
        (export.folder / verifier.CHECKPOINTS / f"{size:08d}").unlink()


def truncate_records(export: Export) -> None:
    """Cut off the last three records and leave the checkpoints."""
    export.put(export.records()[:17])


def fork(export: Export) -> None:
    """Tell another story from record 12 on: eight refusals."""
    records, others = export.records(), []
    for number, record in enumerate(records[12:], start=12):
        told = {name: each for name, each in record.items() if name != "approvals"}
        others.append({**told, "type": "reject", "reasons": ["overfitted"], "decision_id": f"other-{number}"})
    export.rewrite([*records[:12], *others])


def replay(export: Export) -> None:
    """Append record 2 once more, under its own id."""
    records = export.records()
    export.rewrite([*records, {**records[2], "recorded_at": records[-1]["recorded_at"], "from_stage": "paper"}])


def replay_as_new(export: Export) -> None:
    """Append record 2 under a fresh id, time and gate report, with the approvals it had."""
    records = export.records()
    report = Blobs(export.folder).write(b"a fresh report")
    fresh = {"decision_id": "fresh", "recorded_at": "2026-02-01T00:00:00.000Z", "from_stage": "paper"}
    export.rewrite([*records, {**records[2], **fresh, "gate_report_sha256": report}])


def make_up(export: Export) -> None:
    """Append a promotion of a candidate that nobody judged, without approvals, under a policy that asks for none."""
    records, blobs = export.records(), Blobs(export.folder)
    draft, named = decision(99, 0)
    for blob in (*named, draft.evidence.canonical_bytes()):
        blobs.write(blob)
    export.rewrite([*records, {**draft.decided(), "v": verifier.VERSION}])


def backdate(export: Export) -> None:
    """Append a refusal with a time before the last one's."""
    records = export.records()
    old = {**records[8], "decision_id": "late", "candidate": "late", "recorded_at": records[8]["recorded_at"]}
    export.rewrite([*records, old])


def backdate_and_insert(export: Export) -> None:
    """Insert a refusal where it would have been, as if it had been decided then."""
    records = export.records()
    late = {**records[8], "decision_id": "late", "candidate": "late"}
    export.rewrite([*records[:9], late, *records[9:]])


def single_head(export: Export) -> None:
    """Insert a refusal as above and keep one fresh checkpoint, so that no older one contradicts it."""
    backdate_and_insert(export)
    for size in range(1, SIZE + 1):
        (export.folder / verifier.CHECKPOINTS / f"{size:08d}").unlink()


ATTACKS: dict[str, Callable[[Export], None]] = {
    "edit": edit,
    "delete": delete,
    "edit, chain and sign again": edit_and_rechain,
    "delete, chain and sign again": delete_and_rechain,
    "reorder, chain and sign again": reorder_and_rechain,
    "cut off the tail": truncate_records,
    "roll back to an older checkpoint": truncate,
    "fork from record 12": fork,
    "replay under the same id": replay,
    "backdate, append": backdate,
    "backdate, insert, chain and sign again": backdate_and_insert,
    "careful: reorder with swapped times": reorder_with_times,
    "careful: insert, one fresh checkpoint kept": single_head,
    "careful: replay under a fresh id, time and report": replay_as_new,
    "careful: a promotion made up, under a laxer policy": make_up,
}
"""The eleven attacks of the research page, its three careful insiders, and one more."""


@dataclass(frozen=True)
class Outcome:
    """What the verifier said of one attack: by (people asked for, witness), its first problem; None is a miss."""

    attack: str
    seen: dict[tuple[bool, bool], str | None]


def outcomes(folder: Path) -> list[Outcome]:
    """Run every attack on a ledger without and with approvals, and verify each without and with a witness."""
    desks = {bool(people): desk(folder / f"desk-{people}", people) for people in (0, 2)}
    found = []
    for number, (name, attack) in enumerate(ATTACKS.items()):
        seen: dict[tuple[bool, bool], str | None] = {}
        for approved, victim in desks.items():
            export = Export(victim, folder / f"export-{number}-{approved}")
            attack(export)
            for witnessed in (False, True):
                report = export.verify(witness=victim.checkpoint(SIZE) if witnessed else None)
                seen[approved, witnessed] = report.problems[0] if report.problems else None
        found.append(Outcome(name, seen))
    return found


def page(found: list[Outcome]) -> str:
    """Return the table of all attacks, as Markdown."""
    columns = [(False, False), (True, False), (False, True), (True, True)]
    rows = [[each.attack, *("detected" if each.seen[c] else "**not seen**" for c in columns)] for each in found]
    return table(["attack", "ledger alone", "with approvals", "with a witness", "with both"], rows) + "\n"


def main() -> None:
    """Write the table into the page."""
    with tempfile.TemporaryDirectory() as folder:
        rows = page(outcomes(Path(folder)))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{rows}\n{END}{after}")
    sys.stdout.write(rows)


if __name__ == "__main__":
    main()
