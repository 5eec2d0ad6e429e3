import logging
import os
import resource
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from research_to_prod.promotion.keys import KeyFileError, read_keys
from research_to_prod.promotion.ledger import Head, Ledger, LedgerError
from research_to_prod.promotion.record import GENESIS
from research_to_prod.values import canonical_json, sha256_hex

HOUR = 3600


def test_a_log_that_was_never_written_is_empty(ledger):
    assert ledger.records() == ()
    assert ledger.head == Head(0, GENESIS)
    assert not ledger.path.exists()


def test_appended_records_are_chained_signed_and_read_back(ledger, draft, tmp_path):
    appended = tuple(ledger.append(draft(number)) for number in range(3))
    reader = Ledger(tmp_path / "ledger", read_keys(tmp_path / "keys" / "keys.json"))
    assert reader.records() == appended
    assert [record.seq for record in appended] == [0, 1, 2]
    assert [record.prev for record in appended] == [GENESIS, appended[0].sha256, appended[1].sha256]
    assert len({record.log_id for record in appended}) == 1
    assert reader.head == Head(3, appended[2].sha256)


def test_a_record_is_its_draft_at_a_place(ledger, draft):
    ledger.append(draft(0))
    record = ledger.append(draft(1))
    assert record.decided() == draft(1).decided()


def test_the_same_decisions_with_the_same_key_are_the_same_bytes(ledger, keys, draft, tmp_path):
    twin = type(ledger)(tmp_path / "twin", keys)
    for number in range(2):
        ledger.append(draft(number))
        twin.append(draft(number))
    assert twin.path.read_bytes() == ledger.path.read_bytes()


def test_who_holds_only_public_keys_cannot_append(ledger, draft, tmp_path):
    reader = Ledger(tmp_path / "ledger", read_keys_of(ledger, draft, tmp_path))
    with pytest.raises(KeyFileError, match="only public keys"):
        reader.append(draft(1))
    assert len(ledger.records()) == 1


def read_keys_of(ledger, draft, tmp_path):
    ledger.append(draft(0))
    return read_keys(tmp_path / "keys" / "keys.json")


def test_a_decision_is_recorded_once(ledger, draft):
    ledger.append(draft(1))
    before = ledger.path.read_bytes()
    with pytest.raises(LedgerError, match="decision-1 is already record 0"):
        ledger.append(draft(2, decision_id="decision-1"))
    assert ledger.path.read_bytes() == before


def test_a_clock_that_was_set_back_is_refused(ledger, draft):
    ledger.append(draft(HOUR))
    with pytest.raises(LedgerError, match="clock set back"):
        ledger.append(draft(HOUR - 301))
    assert len(ledger.records()) == 1


def test_a_decision_that_was_overtaken_while_it_waited_is_recorded_at_the_time_of_the_other(ledger, draft):
    other = ledger.append(draft(HOUR))
    overtaken = ledger.append(draft(HOUR - 300))
    assert overtaken.recorded_at == other.recorded_at
    assert ledger.append(draft(HOUR + 1)).recorded_at == draft(HOUR + 1).recorded_at
    assert len(ledger.records()) == 3


def test_a_decision_taken_while_another_process_made_the_key_is_recorded_when_the_key_is_valid(ledger, keys, draft):
    early = draft(0, recorded_at=keys.valid_from - timedelta(seconds=2))
    assert ledger.append(early).recorded_at == keys.valid_from


def test_two_decisions_in_one_millisecond_are_fine(ledger, draft):
    first = ledger.append(draft(1))
    assert ledger.append(draft(2, recorded_at=first.recorded_at)).seq == 1


def test_a_record_from_before_the_key_was_valid_is_refused(ledger, draft, draft_fields):
    early = draft_fields(0)["recorded_at"] - timedelta(hours=1)
    with pytest.raises(LedgerError, match="valid from"):
        ledger.append(draft(0, recorded_at=early))
    assert ledger.records() == ()


def test_a_transition_that_is_illegal_or_starts_elsewhere_is_refused(ledger, draft):
    with pytest.raises(LedgerError, match="from research to live"):
        ledger.append(draft(1, to_stage="live"))
    with pytest.raises(LedgerError, match="is at research, not at paper"):
        ledger.append(draft(1, from_stage="paper", to_stage="canary"))
    assert ledger.records() == ()


def test_evidence_promotes_once(ledger, draft):
    ledger.append(draft(1))
    again = draft(2, **{"from_stage": "paper", **same_candidate(draft(1))})
    with pytest.raises(LedgerError, match="already promoted it to paper: record 0"):
        ledger.append(again)
    demoted = draft(
        3, type="demote", reasons=["drawdown"], from_stage="paper", to_stage="demoted", **same_candidate(draft(1))
    )
    ledger.append(demoted)
    with pytest.raises(LedgerError, match="already promoted it to paper: record 0"):
        ledger.append(draft(4, from_stage="demoted", **same_candidate(draft(1))))
    fresh = same_candidate(draft(1)) | {"gate_report_sha256": sha256_hex(b"new evidence")}
    with pytest.raises(LedgerError, match="only a record that names a person"):
        ledger.append(draft(5, from_stage="demoted", **fresh), [b"new evidence"])


def same_candidate(other):
    return {name: getattr(other, name) for name in ("candidate", "candidate_sha256", "gate_report_sha256")}


def test_all_broken_rules_are_named_at_once(ledger, draft):
    ledger.append(draft(HOUR))
    with pytest.raises(LedgerError, match=r"already record 0; .*clock set back"):
        ledger.append(draft(4, decision_id=f"decision-{HOUR}"))


def test_a_draft_that_was_built_around_its_checks_is_refused_before_it_is_written(ledger, draft):
    for value in (float("nan"), 0.97):
        gate = draft(1).gates[0].model_copy(update={"value": value})
        with pytest.raises(LedgerError, match=r"gates\.0\.value: Input should be a valid string"):
            ledger.append(draft(1).model_copy(update={"gates": (gate,)}))
    with pytest.raises(LedgerError, match="promotion that its own contents refuse: drawdown"):
        ledger.append(draft(1).model_copy(update={"reasons": ("drawdown",)}))
    assert ledger.records() == ()
    assert ledger.append(draft(1)).seq == 0


def test_verification_says_what_it_checked_and_what_it_cannot_see(ledger, draft):
    record = ledger.append(draft(1))
    verification = ledger.verify()
    assert verification.records == (record,)
    assert verification.unacknowledged_bytes == 0
    assert any("1 records are canonical" in line for line in verification.report.checked)
    assert any("cut off" in line and "no witness" in line for line in verification.report.not_checked)


def checkpoint(ledger, size):
    return ledger.path.parent / "checkpoints" / f"{size:08d}"


@pytest.mark.parametrize("kept", [1, 7, 11, 500, -2, None])
def test_a_last_line_without_checkpoint_whole_or_torn_is_passed_over_by_readers_and_cut_off_by_the_next_writer(
    ledger, draft, caplog, kept
):
    acked = [ledger.append(draft(number)) for number in range(2)]
    whole = ledger.path.read_bytes()
    ledger.append(draft(2))
    torn = ledger.path.read_bytes()[len(whole) :][:kept]
    ledger.path.write_bytes(whole + torn)
    checkpoint(ledger, 3).unlink()

    verification = ledger.verify()
    assert list(verification.records) == acked
    assert verification.unacknowledged_bytes == len(torn)
    assert ledger.path.read_bytes() == whole + torn

    with caplog.at_level(logging.WARNING):
        third = ledger.append(draft(3))
    assert f"cut off {len(torn)} bytes" in caplog.text
    assert list(ledger.records()) == [*acked, third]
    assert ledger.path.read_bytes().startswith(whole)
    assert ledger.verify().unacknowledged_bytes == 0


def test_a_torn_first_line_leaves_an_empty_log(ledger, draft):
    ledger.append(draft(0))
    ledger.path.write_bytes(ledger.path.read_bytes()[:100])
    checkpoint(ledger, 1).unlink()
    assert ledger.records() == ()
    assert ledger.append(draft(1)).seq == 0


def test_a_last_line_that_lost_only_its_end_of_line_is_kept(ledger, draft):
    acked = [ledger.append(draft(number)) for number in range(2)]
    ledger.path.write_bytes(ledger.path.read_bytes().removesuffix(b"\n"))
    assert list(ledger.records()) == acked
    acked.append(ledger.append(draft(2)))
    assert list(ledger.records()) == acked
    assert ledger.path.read_bytes().count(b"\n") == 3


def test_a_checkpoint_without_its_record_is_no_crash(ledger, draft):
    for number in range(2):
        ledger.append(draft(number))
    ledger.path.write_bytes(ledger.path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(LedgerError, match="a checkpoint of 2 records is there, and only 1"):
        ledger.records()


def test_two_records_without_checkpoints_are_no_crash(ledger, draft):
    for number in range(3):
        ledger.append(draft(number))
    for size in (2, 3):
        checkpoint(ledger, size).unlink()
    for read_or_write in (ledger.records, lambda: ledger.append(draft(3))):
        with pytest.raises(LedgerError, match="line 2 does not verify: there is no checkpoint after it"):
            read_or_write()


def test_a_tampered_last_line_does_not_pass_for_a_torn_one(ledger, draft):
    ledger.append(draft(0))
    ledger.append(draft(1))
    data = ledger.path.read_bytes().removesuffix(b"\n")
    ledger.path.write_bytes(data.replace(b"decision-1", b"decision-9"))
    with pytest.raises(LedgerError, match="line 2"):
        ledger.append(draft(2))


@pytest.mark.parametrize("tail", [b"garbage\n\n", b"\n" * 20, b"{}\n{}", b"\xff\n\xfe"])
def test_a_tail_that_no_crash_of_ours_leaves_is_an_error(ledger, draft, tail):
    ledger.append(draft(0))
    with ledger.path.open("ab") as stream:
        stream.write(tail)
    for read_or_write in (ledger.records, lambda: ledger.append(draft(1))):
        with pytest.raises(LedgerError, match="line 2"):
            read_or_write()


def test_a_file_in_place_of_the_folder_is_a_clear_error(keys, draft, tmp_path):
    (tmp_path / "ledger").write_text("in the way")
    ledger = Ledger(tmp_path / "ledger", keys)
    with pytest.raises(LedgerError, match=r"cannot read the ledger .*records\.jsonl: Not a directory"):
        ledger.records()
    with pytest.raises(LedgerError, match=r"cannot write the ledger .*records\.jsonl: File exists"):
        ledger.append(draft(1))


def test_a_folder_in_place_of_the_file_is_a_clear_error(ledger, draft):
    ledger.path.mkdir(parents=True)
    for read_or_write in (ledger.records, lambda: ledger.append(draft(1))):
        with pytest.raises(LedgerError, match="Is a directory"):
            read_or_write()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_permission_is_a_clear_error(ledger, draft):
    ledger.append(draft(1))
    ledger.path.parent.chmod(0)
    try:
        with pytest.raises(LedgerError, match="Permission denied"):
            ledger.records()
    finally:
        ledger.path.parent.chmod(0o755)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger, LedgerError
from research_to_prod.promotion.record import Draft
root = Path(sys.argv[1])
draft = Draft.from_canonical_bytes((root / "draft").read_bytes())
ledger = Ledger(root / "ledger", open_keys(root / "keys", draft.recorded_at))
# A file-size limit makes the kernel write a part of the line, exactly as a full disk does.
resource.setrlimit(resource.RLIMIT_FSIZE, (ledger.path.stat().st_size + 100,) * 2)
try:
    ledger.append(draft)
except LedgerError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_and_leaves_the_log_as_it_was(ledger, draft, tmp_path):
    ledger.append(draft(0))
    before = ledger.path.read_bytes()
    (tmp_path / "draft").write_bytes(draft(1).canonical_bytes())
    ledger.blobs.write(canonical_json(1))
    shown = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert "only a part was written" in shown
    assert ledger.path.read_bytes() == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert ledger.append(draft(1)).seq == 1


def test_blobs_then_record_then_checkpoint_are_on_disk_before_the_append_returns(ledger, draft, monkeypatch):
    synced = []
    fsync = os.fsync

    def spy(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced.append(path.relative_to(ledger.path.parent.parent).parts[:2])
        fsync(descriptor)

    ledger.append(draft(0))
    monkeypatch.setattr(os, "fsync", spy)
    ledger.append(draft(1))
    assert list(dict.fromkeys(synced)) == [("ledger", "blobs"), ("ledger", "records.jsonl"), ("ledger", "checkpoints")]
    # The file and its folder.
    assert synced.count(("ledger", "checkpoints")) == 2


def test_a_failing_fsync_is_no_acknowledgement(ledger, draft, monkeypatch):
    ledger.append(draft(0))
    before = ledger.path.read_bytes()

    def broken(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(LedgerError, match="Input/output error"):
            ledger.append(draft(1))
    assert ledger.path.read_bytes() == before
    assert ledger.append(draft(1)).seq == 1


def test_a_disk_that_refuses_the_checkpoint_s_folder_locks_nobody_out(ledger, draft, monkeypatch):
    """The record was cut off again and its checkpoint stayed: the ledger could never be read or written after that."""
    ledger.append(draft(0))
    fsync = os.fsync

    def broken(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").resolve().name == "checkpoints":
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(LedgerError, match="Input/output error"):
            ledger.append(draft(1))
    assert ledger.head.size == 1
    assert ledger.append(draft(1)).seq == 1
