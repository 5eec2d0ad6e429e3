import fcntl
import json
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from research_to_prod.promotion.keys import open_keys, read_keys
from research_to_prod.promotion.manifest import ManifestError, production_manifest, read_manifest, write_manifest
from research_to_prod.promotion.record import GENESIS
from research_to_prod.values import canonical_json

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "production" / "manifest.json"


def of(record, **changes):
    return {"candidate": record.candidate, "candidate_sha256": record.candidate_sha256} | changes


def test_an_empty_ledger_lets_nothing_trade():
    manifest = production_manifest([], NOON)
    assert (manifest.entries, manifest.ledger_size, manifest.ledger_head) == ((), 0, GENESIS)


def test_what_was_promoted_may_trade_and_says_by_which_record(ledger, draft):
    promoted = ledger.append(draft(2))
    ledger.append(draft(3, type="reject", reasons=["overfitted"]))
    manifest = production_manifest(ledger.records(), NOON)
    (entry,) = manifest.entries
    assert (entry.candidate, entry.stage, entry.strategy) == ("c2", "paper", "momentum")
    assert (entry.seq, entry.decision_id, entry.record_sha256) == (0, "decision-2", promoted.sha256)
    assert entry.parameters_sha256 == promoted.parameters_sha256
    assert entry.limits.capital == "250000"
    assert (manifest.ledger_size, manifest.ledger_head) == (2, ledger.head.sha256)


@pytest.mark.parametrize("away", ["demoted", "halted"])
def test_what_was_demoted_or_halted_may_not_trade(ledger, draft, away):
    promoted = ledger.append(draft(1))
    ledger.append(draft(2))
    ledger.append(draft(3, type="demote", reasons=["loss"], **of(promoted, from_stage="paper", to_stage=away)))
    assert [entry.candidate for entry in production_manifest(ledger.records(), NOON).entries] == ["c2"]


def test_a_demotion_to_a_lower_stage_is_what_the_entry_cites(ledger, draft):
    first = ledger.append(draft(1))
    ledger.append(draft(2, **of(first, from_stage="paper", to_stage="canary")))
    down = ledger.append(draft(3, type="demote", reasons=["loss"], **of(first, from_stage="canary")))
    (entry,) = production_manifest(ledger.records(), NOON).entries
    assert (entry.stage, entry.record_sha256) == ("paper", down.sha256)


def test_a_clock_behind_the_ledger_is_refused(ledger, draft):
    last = ledger.append(draft(5)).recorded_at
    with pytest.raises(ManifestError, match="clock set back"):
        production_manifest(ledger.records(), last - timedelta(milliseconds=1))
    assert production_manifest(ledger.records(), last).ledger_size == 1


def test_the_same_records_and_moment_are_the_same_bytes(ledger, draft):
    for number in (3, 4):
        ledger.append(draft(number))
    first, second = (production_manifest(ledger.records(), NOON).canonical_bytes() for _ in range(2))
    assert first == second
    assert first == canonical_json(json.loads(first))


def test_a_written_manifest_is_read_back_with_public_keys_only(ledger, keys, draft, path, tmp_path):
    ledger.append(draft(1))
    manifest = production_manifest(ledger.records(), NOON)
    write_manifest(path, manifest, keys)
    assert read_manifest(path, read_keys(tmp_path / "keys" / "keys.json")) == manifest
    assert sorted(file.name for file in path.parent.iterdir()) == [".manifest.json.lock", "manifest.json"]


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (lambda data: data.replace(b'"stage":"paper"', b'"stage":"live"'), "not of these bytes"),
        (lambda data: data.replace(b'"capital":"250000"', b'"capital":"950000"'), "not of these bytes"),
        (lambda data: data[: data.index(b',"signatures"')] + b',"signatures":[]}\n', "not signed"),
        (lambda data: data[: data.index(b',"signatures"')] + b"}\n", "signatures"),
        (lambda data: data.replace(b'"v":1', b'"v":2'), "not a signed production manifest"),
        (lambda data: data.replace(b'"v":1', b'"v":1,"override":true'), "override"),
        (lambda data: data[:200], "not a signed production manifest"),
        (lambda data: data[:0], "not a signed production manifest"),
    ],
)
def test_a_tampered_or_unsigned_manifest_is_refused(ledger, keys, draft, path, tamper, says):
    ledger.append(draft(1))
    write_manifest(path, production_manifest(ledger.records(), NOON), keys)
    data = path.read_bytes()
    assert tamper(data) != data
    path.write_bytes(tamper(data))
    with pytest.raises(ManifestError, match=says):
        read_manifest(path, keys)


def test_a_manifest_signed_with_another_key_is_refused(ledger, keys, draft, path, tmp_path):
    ledger.append(draft(1))
    stranger = open_keys(tmp_path / "stranger", NOON)
    write_manifest(path, production_manifest(ledger.records(), NOON), stranger)
    with pytest.raises(ManifestError, match="not among the trusted keys"):
        read_manifest(path, keys)


def test_a_signature_of_another_type_is_none_for_a_manifest(ledger, keys, draft, path):
    ledger.append(draft(1))
    manifest = production_manifest(ledger.records(), NOON)
    write_manifest(path, manifest, keys)
    signed = json.loads(path.read_bytes())
    signed["signatures"] = [
        keys.sign("application/vnd.research-to-prod.approval+json", manifest.canonical_bytes()).model_dump()
    ]
    path.write_bytes(canonical_json(signed))
    with pytest.raises(ManifestError, match="not of these bytes"):
        read_manifest(path, keys)


def test_a_missing_manifest_is_a_clear_error(keys, path):
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(path, keys)


def test_a_slow_writer_does_not_bring_back_what_was_demoted_meanwhile(ledger, keys, draft, path):
    promoted = ledger.append(draft(1))
    slow = production_manifest(ledger.records(), NOON)
    ledger.append(draft(2, type="demote", reasons=["loss"], **of(promoted, from_stage="paper", to_stage="halted")))
    write_manifest(path, production_manifest(ledger.records(), NOON), keys)
    with pytest.raises(ManifestError, match="derive it again"):
        write_manifest(path, slow, keys)
    assert read_manifest(path, keys).entries == ()


def test_a_manifest_of_another_ledger_does_not_replace_one(ledger, keys, draft, path, tmp_path):
    ledger.append(draft(1))
    write_manifest(path, production_manifest(ledger.records(), NOON), keys)
    other = type(ledger)(tmp_path / "other", keys)
    for number in (7, 8):
        other.append(draft(number))
    with pytest.raises(ManifestError, match="replaced on purpose"):
        write_manifest(path, production_manifest(other.records(), NOON), keys)


def test_a_broken_manifest_is_replaced_by_what_the_ledger_says(ledger, keys, draft, path, caplog):
    ledger.append(draft(1))
    manifest = production_manifest(ledger.records(), NOON)
    path.parent.mkdir()
    path.write_text("broken")
    with caplog.at_level(logging.WARNING):
        write_manifest(path, manifest, keys)
    assert "does not verify" in caplog.text
    assert read_manifest(path, keys) == manifest


def test_readers_never_see_half_a_manifest(ledger, keys, draft, path):
    manifests = []
    for number in range(4):
        ledger.append(draft(number))
        manifests.append(production_manifest(ledger.records(), NOON + timedelta(seconds=number)))
    write_manifest(path, manifests[0], keys)
    done = threading.Event()
    failures = []

    def read_on():
        while not done.is_set():
            try:
                read_manifest(path, keys)
            except ManifestError as error:
                failures.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    for manifest in manifests:
        write_manifest(path, manifest, keys)
    done.set()
    reader.join()
    assert failures == []
    assert read_manifest(path, keys) == manifests[-1]


def test_a_writer_waits_for_the_other(ledger, keys, draft, path):
    ledger.append(draft(1))
    manifest = production_manifest(ledger.records(), NOON)
    path.parent.mkdir()
    writer = threading.Thread(target=write_manifest, args=(path, manifest, keys))
    with (path.parent / ".manifest.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert not path.exists()
    writer.join()
    assert read_manifest(path, keys) == manifest
