import fcntl
import json
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from research_to_prod.promotion.controls import Control, Mode, Scope
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
    manifest = production_manifest(ledger.records(), NOON)
    assert [entry.candidate for entry in manifest.entries] == ["c2"]
    (held,) = manifest.withheld
    assert (held.candidate, held.stage, held.mode) == ("c1", away, "halt" if away == "halted" else "reduce_only")
    assert held.reasons == (f"demote to {away}: loss",)


LIMITS = {
    "instruments": [{"venue": "sandbox", "symbol": "BTC/USDT"}, {"venue": "other", "symbol": "BTC/USDT"}],
    "capital": "1000",
    "currency": "USDT",
    "max_order_value": "1000",
    "max_position_value": "2000",
    "max_messages_per_second": 5,
}


@pytest.mark.parametrize("missing", sorted(LIMITS.keys() - {"instruments"}))
def test_with_real_money_nothing_trades_whose_limits_are_not_all_set(ledger, draft, missing):
    first = ledger.append(draft(1))
    limits = {name: each for name, each in LIMITS.items() if name != missing}
    ledger.append(draft(2, **of(first, from_stage="paper", to_stage="canary", limits=limits)))
    manifest = production_manifest(ledger.records(), NOON)
    assert manifest.entries == ()
    assert [(each.mode, each.reasons) for each in manifest.withheld] == [("reduce_only", (f"no pre-set {missing}",))]


@pytest.mark.parametrize("limits", [None, LIMITS | {"instruments": []}])
def test_without_markets_nothing_trades_even_on_paper(ledger, draft, limits):
    ledger.append(draft(1, limits=limits))
    manifest = production_manifest(ledger.records(), NOON)
    assert (manifest.entries, len(manifest.withheld)) == ((), 1)


def test_what_a_rule_rolled_back_only_reduces_at_its_lower_stage(ledger, draft):
    first = ledger.append(draft(1))
    ledger.append(draft(2, **of(first, from_stage="paper", to_stage="canary", limits=LIMITS)))
    assert len(production_manifest(ledger.records(), NOON).entries) == 1
    ledger.append(draft(3, type="rollback", reasons=["the edge is gone"], **of(first, from_stage="canary")))
    manifest = production_manifest(ledger.records(), NOON)
    assert manifest.entries == ()
    assert [(each.stage, each.mode) for each in manifest.withheld] == [("paper", "reduce_only")]


def test_a_promotion_that_ends_is_followed_until_then_and_no_longer(ledger, draft):
    ends = NOON + timedelta(hours=1)
    ledger.append(draft(1, expires_at=ends))
    before = production_manifest(ledger.records(), ends - timedelta(milliseconds=1))
    assert (len(before.entries), before.valid_until) == (1, ends)
    after = production_manifest(ledger.records(), ends)
    assert (after.entries, after.valid_until) == ((), ends + timedelta(hours=26))
    assert "its promotion ended" in after.withheld[0].reasons[0]


def control(mode, scope=Scope.ALL, name=None, since=NOON):
    return Control(scope=scope, name=name, mode=mode, since=since, by="user:eve", reason="a drill")


def under(ledger, *controls, as_of=NOON):
    manifest = production_manifest(ledger.records(), as_of, controls)
    return [each.candidate for each in manifest.entries], [(each.candidate, each.mode) for each in manifest.withheld]


def test_a_control_holds_back_what_it_is_on_and_the_strictest_counts(ledger, draft):
    for number in (1, 2):
        ledger.append(draft(number))
    on_c1 = {"scope": Scope.CANDIDATE, "name": "c1"}
    assert under(ledger) == (["c1", "c2"], [])
    assert under(ledger, control("reduce_only", **on_c1)) == (["c2"], [("c1", "reduce_only")])
    everything = ([], [("c1", "halt"), ("c2", "reduce_only")])
    assert under(ledger, control("halt", **on_c1), control("reduce_only")) == everything
    assert under(ledger, control("halt")) == ([], [("c1", "halt"), ("c2", "halt")])


def test_a_control_on_a_venue_takes_its_markets_out_and_leaves_the_others(ledger, draft):
    ledger.append(draft(1, limits=LIMITS))
    manifest = production_manifest(ledger.records(), NOON, [control("reduce_only", Scope.VENUE, "other")])
    (entry,), (held,) = manifest.entries, manifest.withheld
    assert [each.venue for each in entry.limits.instruments] == ["sandbox"]
    assert (held.venue, held.mode) == ("other", "reduce_only")
    both = [control(Mode.HALT, Scope.VENUE, venue) for venue in ("sandbox", "other")]
    assert production_manifest(ledger.records(), NOON, both).entries == ()


def test_the_latest_control_on_a_thing_counts_and_one_of_the_future_is_refused(ledger, draft):
    ledger.append(draft(1))
    second = timedelta(seconds=1)
    halted, lifted = control("halt", since=NOON - 2 * second), control("none", since=NOON - second)
    assert under(ledger, lifted, halted) == (["c1"], [])
    assert under(ledger, control("none"), control("halt")) == ([], [("c1", "halt")]), "of one moment: the stricter"
    with pytest.raises(ManifestError, match="clock set back"):
        under(ledger, control("none", since=NOON + second))


def test_a_control_never_lets_trade_what_the_ledger_does_not(ledger, draft):
    first = ledger.append(draft(1))
    ledger.append(draft(2, type="demote", reasons=["loss"], **of(first, from_stage="paper", to_stage="demoted")))
    assert under(ledger, control("none")) == ([], [("c1", "reduce_only")])


@pytest.mark.parametrize(("scope", "name"), [(Scope.ALL, "c1"), (Scope.VENUE, None), (Scope.CANDIDATE, None)])
def test_a_control_names_what_it_is_on(scope, name):
    with pytest.raises(ValueError, match="names it"):
        control("halt", scope, name)


def test_a_manifest_that_is_older_by_the_clock_does_not_replace_one(ledger, keys, draft, path):
    ledger.append(draft(1))
    write_manifest(path, production_manifest(ledger.records(), NOON, [control("halt")]), keys)
    with pytest.raises(ManifestError, match="a control may have come in between"):
        write_manifest(path, production_manifest(ledger.records(), NOON - timedelta(seconds=1)), keys)
    assert read_manifest(path, keys).entries == ()


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
        (lambda data: data.replace(b'"v":2', b'"v":1'), "not a signed production manifest"),
        (lambda data: data.replace(b'"v":2', b'"v":2,"override":true'), "override"),
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
