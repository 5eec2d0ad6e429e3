"""How long an auditor waits: 10,000 records verified from files, with one process and no cache.

The logs are signed and chained by the project's code, but written without its fsyncs: those are the writer's time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks._harness import Claim, in_turns, report
from benchmarks.ledger_attacks import EPOCH, decision
from research_to_prod.promotion import verifier
from research_to_prod.promotion.keys import open_keys, public_entries

RECORDS = 10_000
LARGE = 500


def write_log(folder: Path, records: int, inputs: int | None) -> Path:
    """Write a log of refusals and promotions; with ``inputs``, each record has evidence and gate report of its own."""
    keys, ledger, tree = open_keys(folder / "keys", EPOCH), folder / "ledger", verifier.Tree()
    (ledger / verifier.CHECKPOINTS).mkdir(parents=True)
    made = [decision(number, 0) for number in range(5)]
    for draft, named in made:
        for blob in (*named, draft.evidence.canonical_bytes()):
            put(ledger, blob)
    shared: list[dict[str, Any]] = [draft.decided() for draft, _ in made]
    lines: list[bytes] = []
    prev, log_id = verifier.GENESIS, ""
    for seq in range(records):
        name = {"decision_id": f"run-{seq}", "candidate": f"c{seq}"}
        record = shared[seq % 5] | name | {"recorded_at": verifier.time_text(EPOCH + timedelta(seconds=seq))}
        if inputs is not None:
            evidence = json.loads(made[seq % 5][0].evidence.canonical_bytes())
            evidence["inputs"] = [evidence["inputs"][0] | {"storage_id": seq * 1000 + each} for each in range(inputs)]
            record["evidence_sha256"] = put(ledger, verifier.canonical(evidence))
            record["gate_report_sha256"] = put(ledger, verifier.canonical({"report": seq}))
        log_id = log_id or verifier.sha256(verifier.canonical(record))
        line = verifier.canonical(record | {"v": verifier.VERSION, "log_id": log_id, "seq": seq, "prev": prev})
        prev = verifier.sha256(line)
        lines.append(line + b"\n")
        tree.append(line)
        note = keys.sign_checkpoint(f"{verifier.ORIGIN}{log_id}", seq + 1, tree.root())
        (ledger / verifier.CHECKPOINTS / f"{seq + 1:08d}").write_bytes(note)
    (ledger / verifier.RECORDS).write_bytes(b"".join(lines))
    (folder / "keys.json").write_bytes(public_entries(keys))
    return folder


def put(ledger: Path, data: bytes) -> str:
    name = verifier.sha256(data)
    path = ledger / verifier.BLOBS / name[:2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


def verified(folder: Path, records: int) -> None:
    found = verifier.verify(folder / "ledger", folder / "keys.json")
    assert (found.problems, found.records) == ((), records)


def main() -> int:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folders = {
            "10,000 records": (write_log(Path(name) / "plain", RECORDS, None), RECORDS),
            "10,000 with evidence of their own": (write_log(Path(name) / "own", RECORDS, 1), RECORDS),
            "500 with evidence of 184 inputs": (write_log(Path(name) / "large", LARGE, 184), LARGE),
        }
        seconds = in_turns({what: lambda f=f, n=n: verified(f, n) for what, (f, n) in folders.items()}, rounds=3)
    claims = [Claim("10,000 records, seconds", float(min(seconds["10,000 records"])), at_most=2)]
    units = {what: n for what, (_, n) in folders.items()}
    return report(f"Verifying the ledger ({time.perf_counter() - began:.0f} s)", seconds, claims, units)


if __name__ == "__main__":
    sys.exit(main())
