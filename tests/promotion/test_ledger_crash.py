"""Writers that are killed at any moment: what was acknowledged stays, and the chain holds."""

import subprocess
import sys

import pytest

from research_to_prod.values import canonical_json

# One process imports everything and forks the writers, because fifty fresh interpreters would take half a minute.
KILLER = """
import logging, os, random, signal, sys, time
from pathlib import Path
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Draft
from research_to_prod.values import sha256_hex

root = Path(sys.argv[1])
base = Draft.from_canonical_bytes((root / "draft").read_bytes())
keys = open_keys(root / "keys", base.recorded_at)
logging.basicConfig(filename=root / "log")

def write_until_killed(writer):
    acked = os.open(root / "acked", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(10**6):
        name = f"{writer}-{number}"
        fresh = {"decision_id": name, "candidate": name, "gate_report_sha256": sha256_hex(name.encode())}
        blobs = [name.encode(), (root / "named").read_bytes()]
        record = Ledger(root / "ledger", keys).append(base.model_copy(update=fresh), blobs)
        os.write(acked, f"{record.seq} {record.sha256}\\n".encode())

def fork(writer):
    child = os.fork()
    if child == 0:
        write_until_killed(writer)
    return child

dice = random.Random(7)
writers = [fork(writer) for writer in range(3)]
for kill in range(50):
    time.sleep(dice.uniform(0.02, 0.15))
    slot = dice.randrange(3)
    os.kill(writers[slot], signal.SIGKILL)
    _, status = os.waitpid(writers[slot], 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    writers[slot] = fork(3 + kill)
for child in writers:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_of_three_writers_killed_fifty_times_no_acknowledged_record_is_lost(tmp_path, ledger, draft):
    (tmp_path / "draft").write_bytes(draft(1).canonical_bytes())
    (tmp_path / "named").write_bytes(canonical_json(1))
    subprocess.run([sys.executable, "-c", KILLER, str(tmp_path)], check=True, timeout=60)
    acked = [line.split() for line in (tmp_path / "acked").read_text().splitlines()]
    records = ledger.records()
    stored = {(str(record.seq), record.sha256) for record in records}
    assert acked
    assert {(seq, sha256) for seq, sha256 in acked} <= stored
    # A writer has at most one record on disk that it had no time to acknowledge.
    assert len(records) <= len(acked) + 53
    assert ledger.append(draft(2)).seq == len(records)
