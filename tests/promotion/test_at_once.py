"""Two processes that promote one candidate on one evidence at one moment: one of them does."""

import subprocess
import sys
from pathlib import Path

import pytest

from research_to_prod.promotion.manifest import production_manifest
from research_to_prod.promotion.record import RecordType
from research_to_prod.values import canonical_json

PROMOTER = """
import sys
from pathlib import Path
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger, LedgerError
from research_to_prod.promotion.record import Draft

root, number = Path(sys.argv[1]), sys.argv[2]
draft = Draft.from_canonical_bytes((root / f"draft-{number}").read_bytes())
ledger = Ledger(root / "ledger", open_keys(root / "keys", draft.recorded_at))
print("ready", flush=True)
sys.stdin.readline()
try:
    print("promoted", ledger.append(draft, [(root / "named").read_bytes()]).seq)
except LedgerError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("decisions", "says"),
    [
        (("one", "other"), ["is at paper, not at research", "already promoted it to paper: record 0"]),
        (("one", "one"), ["decision one is already record 0"]),
    ],
    ids=["two decisions", "one decision twice"],
)
def test_of_two_processes_that_promote_at_once_one_does(tmp_path, ledger, draft, decisions, says):
    for number, decision in enumerate(decisions):
        (tmp_path / f"draft-{number}").write_bytes(draft(1, decision_id=decision).canonical_bytes())
    (tmp_path / "named").write_bytes(canonical_json(1))
    first, second = sorted(run_at_once(tmp_path, "0", "1"), key=lambda answer: answer != "promoted 0")
    assert first == "promoted 0"
    assert all(each in second for each in says), second
    (record,) = ledger.records()
    assert record.type is RecordType.PROMOTE
    assert len(production_manifest([record], record.recorded_at).entries) == 1


def run_at_once(root: Path, *numbers: str) -> list[str]:
    """Start the processes, let go of all of them once each has everything loaded, and return what each said."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTER, str(root), number],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in numbers
    ]
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    return [each.communicate(timeout=60)[0].strip() for each in processes]
