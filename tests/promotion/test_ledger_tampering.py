"""The attacks on a log, and for each whether a log without a witness can see it.

A chain alone sees only naive edits; an attacker who chains again needs the log's key; one who has the key, or who
cuts off the end, is seen only by someone outside who kept a head.
"""

import json

import pytest

from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import RECORD_TYPE, Ledger, LedgerError, Line
from research_to_prod.promotion.record import GENESIS, Record
from research_to_prod.values import canonical_json


@pytest.fixture
def log(ledger, draft):
    """A log of six records whose fourth is a refusal."""
    for number in range(6):
        refused = {"type": "reject", "reasons": ["drawdown 0.41 > 0.25"]} if number == 3 else {}
        ledger.append(draft(number, **refused))
    return ledger


def lines_of(log):
    return log.path.read_bytes().splitlines()


def put(log, lines):
    log.path.write_bytes(b"".join(line + b"\n" for line in lines))


def rechain(lines, start=0):
    """Give every record from ``start`` on its right place and predecessor; signatures stay, for want of the key."""
    values = [json.loads(line) for line in lines]
    records: list[Record] = []
    for seq, value in enumerate(values):
        if seq >= start:
            value["record"] |= {"seq": seq, "prev": records[-1].sha256 if records else GENESIS}
        records.append(Record.model_validate(value["record"]))
    return [canonical_json(value) for value in values]


def edit(line, **changes):
    value = json.loads(line)
    value["record"] |= changes
    return canonical_json(value)


def turn_refusal_into_promotion(lines):
    return [*lines[:3], edit(lines[3], type="promote", reasons=[]), *lines[4:]]


ATTACKS = {
    "edit": (turn_refusal_into_promotion, 4),
    "edit the first": (lambda lines: [edit(lines[0], author="eve"), *lines[1:]], 1),
    "edit the last": (lambda lines: [*lines[:5], edit(lines[5], author="eve")], 6),
    "delete": (lambda lines: lines[:2] + lines[3:], 3),
    "delete the first": (lambda lines: lines[1:], 1),
    "reorder": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
    "insert a copy": (lambda lines: [*lines[:3], lines[1], *lines[3:]], 4),
    "append a copy": (lambda lines: [*lines, lines[4]], 7),
    "insert an edited copy": (lambda lines: [*lines[:3], edit(lines[1], decision_id="new", seq=3), *lines[3:]], 4),
    "backdate": (lambda lines: [*lines[:5], edit(lines[5], recorded_at="2026-01-01T00:00:00.500Z")], 6),
    "blank line": (lambda lines: [*lines[:2], b"", *lines[2:]], 3),
    "unknown field": (lambda lines: [*lines[:2], edit(lines[2], override="yes"), *lines[3:]], 3),
    "not a number": (lambda lines: [*lines[:2], lines[2].replace(b'"value":"0.97"', b'"value":NaN'), *lines[3:]], 3),
    "space": (lambda lines: [*lines[:2], lines[2].replace(b'"seq":2', b'"seq": 2'), *lines[3:]], 3),
    "not UTF-8": (lambda lines: [*lines[:2], lines[2].replace(b"ann", b"\xff\xff\xff"), *lines[3:]], 3),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_without_rechaining_is_detected_at_its_line(log, draft, name):
    attack, line = ATTACKS[name]
    put(log, attack(lines_of(log)))
    for read_or_write in (log.records, lambda: log.append(draft(9))):
        with pytest.raises(LedgerError, match=f"line {line} does not verify"):
            read_or_write()


@pytest.mark.parametrize(
    ("attack", "line"),
    [
        (turn_refusal_into_promotion, 4),
        (lambda lines: lines[:2] + lines[3:], 3),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines[:3], edit(lines[1], decision_id="new"), *lines[3:]], 4),
        (lambda lines: [*lines, edit(lines[4], decision_id="new", recorded_at="2026-01-02T00:00:00.000Z")], 7),
    ],
)
def test_an_attack_that_chains_again_without_the_key_is_detected_by_the_signature(log, attack, line):
    put(log, rechain(attack(lines_of(log))))
    with pytest.raises(LedgerError, match=rf"line {line} does not verify: .*signature .* is not of these bytes"):
        log.records()


def resign(lines, keys):
    records = [Record.model_validate(json.loads(line)["record"]) for line in lines]
    return [
        Line(record=record, signatures=(keys.sign(RECORD_TYPE, record.canonical_bytes()),)).canonical_bytes()
        for record in records
    ]


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        (lambda lines: [*lines[:2], edit(lines[2], prev=GENESIS), *lines[3:]], f"line 3 .*prev is {GENESIS}"),
        (lambda lines: [*rechain(lines[:5]), edit(rechain(lines)[5], seq=6)], "line 6 .*seq is 6, expected 5"),
    ],
)
def test_a_record_signed_with_the_key_and_put_in_the_wrong_place_is_detected(log, keys, attack, says):
    put(log, resign(attack(lines_of(log)), keys))
    with pytest.raises(LedgerError, match=says):
        log.records()


def test_a_log_signed_again_with_another_key_is_detected(log, tmp_path):
    stranger = open_keys(tmp_path / "stranger", log.records()[0].recorded_at)
    put(log, resign(lines_of(log), stranger))
    with pytest.raises(LedgerError, match=r"line 1 does not verify: .*not among the trusted keys"):
        log.records()


@pytest.mark.parametrize(
    "signatures",
    [[], "twice", [{"key_id": "nobody", "signature": "AAAA"}]],
)
def test_a_record_without_exactly_good_signatures_is_detected(log, signatures):
    lines = lines_of(log)
    value = json.loads(lines[2])
    value["signatures"] = value["signatures"] * 2 if signatures == "twice" else signatures
    put(log, [*lines[:2], canonical_json(value), *lines[3:]])
    with pytest.raises(LedgerError, match=r"line 3 .*(not signed|more than once|not among the trusted)"):
        log.records()


def test_a_signature_of_a_second_trusted_key_can_be_added_later(log, tmp_path):
    # Signatures stand outside the hashed record: a co-signature changes no chain.
    recorded_at = log.records()[0].recorded_at
    second = open_keys(tmp_path / "second", recorded_at)
    lines = lines_of(log)
    value = json.loads(lines[2])
    leaf = canonical_json(value["record"])
    value["signatures"].append(second.sign(RECORD_TYPE, leaf).model_dump())
    put(log, [*lines[:2], canonical_json(value), *lines[3:]])
    with pytest.raises(LedgerError, match="line 3"):
        log.records()
    first = open_keys(tmp_path / "keys", recorded_at)
    both = type(first)({**first.public, **second.public})
    assert len(Ledger(log.path.parent, both).records()) == 6


def test_a_record_of_another_log_signed_with_the_same_key_is_detected(log, keys, draft, tmp_path):
    other = Ledger(tmp_path / "staging", keys)
    for number in range(10, 17):
        other.append(draft(number))
    record = other.records()[6].model_copy(update={"prev": log.head.sha256})
    signed = Line(record=record, signatures=(keys.sign(RECORD_TYPE, record.canonical_bytes()),))
    put(log, [*lines_of(log), signed.canonical_bytes()])
    with pytest.raises(LedgerError, match=r"line 7 .*belongs to log"):
        log.records()


def test_a_replay_with_fresh_id_and_time_is_detected_even_with_the_key(log, keys):
    old = json.loads(lines_of(log)[4])["record"]
    replayed = old | {"decision_id": "fresh", "recorded_at": "2026-01-02T00:00:00.000Z", "from_stage": "paper"}
    put(log, resign(rechain([*lines_of(log), canonical_json({"record": replayed})]), keys))
    with pytest.raises(LedgerError, match=r"line 7 .*already promoted it to paper: record 4"):
        log.records()


def test_what_a_log_alone_cannot_see_needs_the_head_that_a_witness_kept(log, keys):
    witnessed = log.head
    put(log, lines_of(log)[:4])
    assert log.verify().head != witnessed
    put(log, resign(rechain(turn_refusal_into_promotion(lines_of(log))), keys))
    assert log.verify().head != witnessed
    said = " ".join(log.verify().not_checked)
    assert "cut off at the end" in said
    assert "holder of the log's key rewrote" in said
