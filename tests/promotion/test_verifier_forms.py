"""The forms that the verifier reads, and what it says of what is none: records, keys, checkpoints, signatures."""

from __future__ import annotations

import base64
import json
import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from research_to_prod.promotion import verifier
from research_to_prod.promotion.verifier import (
    Checkpoint,
    canonical,
    decision_digest,
    form_problems,
    parse_checkpoint,
    parse_keys,
    parse_record,
    sha256,
    signature_problems,
)
from tests.promotion.book import ID, KEYS, PUBLIC, START, Book, at, told

SHA = sha256(b"")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", "a\nb"), ("sha256", SHA), ("count", 0), ("count", 2**53 - 1), ("version", 2), ("boolean", False),
        ("time", "2026-12-31T23:59:59.999Z"), ("number", "-1"), ("number", "0.97"), ("number", "1e-07"),
        ("number", "2.0"), ("decimal", "250000"), ("decimal", "0.05"), ("stage", "halted"), ("[text]", []),
        ("[text]", ["a", "b"]), ("policy", {"version": "1", "id": "a", "sha256": SHA}),
    ],
)  # fmt: skip
def test_what_is_of_its_kind_has_no_problems(kind: str, value: object) -> None:
    assert form_problems(value, kind) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", ""), ("text", 5), ("sha256", SHA.upper()), ("sha256", SHA + "0"), ("count", -1), ("count", 2**53),
        ("count", True), ("count", 1.0), ("version", 1), ("version", 2.0), ("boolean", 1), ("boolean", "true"),
        ("time", "2026-02-30T00:00:00.000Z"), ("time", "2026-01-01T00:00:00Z"), ("number", "0.970"), ("number", "01"),
        ("number", "--1"), ("number", "1e999"), ("number", "1" + "0" * 400), ("number", "-0"), ("number", "1e"),
        ("number", "nan"), ("decimal", "1.50"), ("stage", "retired"), ("[text]", "a"), ("policy", []),
        ("of no form", "a"),
    ],
)  # fmt: skip
def test_what_is_not_of_its_kind_is_said_to_be_none(kind: str, value: object) -> None:
    assert form_problems(value, kind) == [f"it is not a {kind}"]
    assert form_problems(value, kind, "the field") == [f"the field is not a {kind}"]


def test_of_a_list_and_of_an_object_everything_wrong_is_named() -> None:
    assert form_problems(["a", 5, ""], "[text]", "reasons") == ["reasons is not a text"] * 2
    assert form_problems({"id": "a", "also": 1, "sha256": "b", "version": 3, "more": 2}, "policy", "policy") == [
        "policy has an unknown field 'also'",
        "sha256 is not a sha256",
        "version is not a text",
        "policy has an unknown field 'more'",
    ]
    assert form_problems({"version": "1"}, "policy", "policy") == ["policy has no id", "policy has no sha256"]
    assert form_problems({"instruments": [{"venue": "x"}, {"symbol": "y"}]}, "limits") == [
        "instruments has no symbol",
        "instruments has no venue",
    ]


def test_times_have_one_width_and_say_that_they_are_utc() -> None:
    assert verifier.time_text(datetime(2026, 1, 1, 2, 3, 4, 5999, UTC)) == "2026-01-01T02:03:04.005Z"


def test_the_canonical_bytes_are_sorted_dense_and_utf_8() -> None:
    assert canonical({"b": "é", "a": [1, {"d": None, "c": True}]}) == '{"a":[1,{"c":true,"d":null}],"b":"é"}'.encode()
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        canonical({"a": math.nan})


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_line_that_is_no_record_says_why(book: Book) -> None:
    record = book.placed(book.promotion(0))
    assert parse_record(canonical(record)) == record

    def said(line: bytes) -> str:
        with pytest.raises(ValueError, match=r"^(not|of|promote) ") as found:
            parse_record(line)
        return str(found.value)

    assert said(b"") == "not JSON: Expecting value: line 1 column 1 (char 0)"
    assert said(b"\xff").startswith("not JSON: 'utf-8' codec can't decode byte 0xff")
    assert said(b"[]") == "not a JSON object"
    assert said(b'{"record":{},"signatures":[]}') == (
        "of version 1, from before the first release: start a new ledger in an empty folder"
    )
    assert said(b'{"record":{}}') == "of unknown type None"
    assert said(b'{"type":"policy"}') == "of unknown type 'policy'"
    assert said(canonical(told(record, author=None, also="x"))) == (
        "promote has no author; promote has an unknown field 'also'"
    )
    assert said(canonical(record) + b" ") == "not in canonical form (RFC 8785)"


@pytest.mark.parametrize("kind", ["reject", "demote", "rollback", "override"])
def test_every_decision_has_one_form(book: Book, kind: str) -> None:
    line = canonical(book.placed(book.promotion(0, type=kind)))
    assert parse_record(line)["type"] == kind


def test_a_change_of_a_key_and_one_of_a_policy_are_read(book: Book) -> None:
    key = {"algorithm": "ed25519", "public_key": "A", "role": "log", "valid_from": START}
    for changed in (
        book.change("key_change", 0, key_id=SHA, key=key),
        book.change("policy_change", 0, policy={"id": "p", "sha256": SHA}),
    ):
        line = canonical(book.placed(changed))
        assert canonical(parse_record(line)) == line


def test_what_is_approved_is_everything_but_what_is_given_later(book: Book) -> None:
    record = book.placed(book.promotion(0))
    later = {"v", "log_id", "seq", "prev", "recorded_at", "approvals", "dagster", "trial_ledger_head"}
    for name in {*record, "approvals"}:
        same = decision_digest(record | {name: "another"}) == decision_digest(record)
        assert same is (name in later), name
    assert decision_digest({"a": 1, "seq": 2}) == sha256(b'{"a":1}')


def test_a_key_is_valid_from_its_first_moment_until_just_before_its_last() -> None:
    key = KEYS[ID["log"]]
    assert (key.valid_at(at(0)), key.valid_at("2025-12-31T23:59:59.999Z")) == (True, False)
    ended = key._replace(valid_to=at(9))
    assert [ended.valid_at(at(second)) for second in (8, 9, 10)] == [True, False, False]


def entry(name: str = "log", **changes: Any) -> dict[str, Any]:
    made = {
        "algorithm": "ed25519",
        "public_key": base64.b64encode(PUBLIC[name]).decode(),
        "role": "approver",
        "person": "user:ben",
        "valid_from": START,
        "valid_to": at(9),
    }
    return told(made, **changes)


def keys_of(name: str, **changes: Any) -> dict[str, verifier.Key]:
    return parse_keys(json.dumps({"keys": {name: entry(**changes)}}).encode())


def test_keys_are_read_with_everything_that_they_say() -> None:
    assert keys_of(ID["log"]) == {ID["log"]: verifier.Key(PUBLIC["log"], "approver", "user:ben", START, at(9))}
    bare = keys_of(ID["log"], person=None, valid_to=None)[ID["log"]]
    assert (bare.person, bare.valid_to) == (None, None)
    both = parse_keys(json.dumps({"keys": {ID[name]: entry(name) for name in ("log", "wes")}}).encode())
    assert list(both) == [ID["log"], ID["wes"]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[]", "not a file of public keys"),
        (b'{"keys":[]}', "not a file of public keys"),
        (b'{"no keys":{}}', "not a file of public keys"),
        (b'{"keys":{"k":{"role":"log","valid_from":"2026-01-01T00:00:00.000Z"}}}',
         "key k has no algorithm; key k has no public_key"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_keys_says_why(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}$"):
        parse_keys(data)


def test_a_key_goes_by_its_own_hash_has_32_bytes_and_is_spelled_as_it_is() -> None:
    for name, key in ((ID["wes"], PUBLIC["log"]), (sha256(b"k" * 31), b"k" * 31)):
        with pytest.raises(ValueError, match=f"^{name} is not the id of its key$"):
            keys_of(name, public_key=base64.b64encode(key).decode())
    with pytest.raises(ValueError, match="base64"):
        keys_of(ID["log"], public_key="!" + base64.b64encode(PUBLIC["log"]).decode())


ORIGIN = verifier.ORIGIN + SHA
ROOT = base64.b64encode(b"r" * 32).decode()
NOTE = f"{ORIGIN}\n12\n{ROOT}\n\n— some.name AAAA\n— other/name AAECAw==\n".encode()


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    found = parse_checkpoint(NOTE)
    assert found == Checkpoint(ORIGIN, 12, b"r" * 32, (("some.name", b"\0\0\0"), ("other/name", b"\0\1\2\3")))
    assert found.text == verifier.checkpoint_text(ORIGIN, 12, b"r" * 32) == f"{ORIGIN}\n12\n{ROOT}\n".encode()
    assert found.text + b"\n" + b"".join(verifier.signature_line(*each) for each in found.signatures) == NOTE


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace(b"\n12\n", b"\n012\n"),
        NOTE.replace(b"\n12\n", b"\n-1\n"),
        NOTE.replace(b"research-to-prod", b"another"),
        NOTE[: NOTE.index("—".encode())],
        NOTE.replace(b" AAAA", b""),
        NOTE.replace(b"AAAA\n", b"AAAA"),
        NOTE + b"more",
        NOTE + "— some.name AAAA\n".encode() * 6000,
    ],
)
def test_a_note_in_another_form_is_no_checkpoint(note: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a signed checkpoint of a promotion ledger$"):
        parse_checkpoint(note)


def test_a_note_may_be_long_but_not_of_100_000_bytes() -> None:
    line = "— some.name AAAA\n".encode()
    count = (99_999 - len(NOTE)) // len(line)
    pad = "A" * (99_999 - len(NOTE) - count * len(line))
    longest = NOTE.replace(b"other/name", b"other/name" + pad.encode()) + line * count
    assert len(longest) == 99_999
    assert len(parse_checkpoint(longest).signatures) == count + 2
    with pytest.raises(ValueError, match=r"^not a signed checkpoint"):
        parse_checkpoint(longest.replace(b"other/name", b"other/nameA"))


def test_a_key_is_named_in_a_note_by_four_bytes_and_a_witness_signs_the_time_too() -> None:
    # The key of the example in the specification of signed notes (golang.org/x/mod/sumdb/note).
    public = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    assert verifier.note_key_hash("PeterNeumann", 1, public).hex() == "c74f20a3"
    assert verifier.cosigned_message(b"text\n", 1735689600) == b"cosignature/v1\ntime 1735689600\ntext\n"


@pytest.fixture
def signed(book: Book) -> Book:
    book.write(book.promotion(0))
    return book


def problems(book: Book, *lines: bytes, moment: str = START, **keys: verifier.Key) -> tuple[list[str], list[str]]:
    text = verifier.checkpoint_text(book.log.origin, 1, book.log.tree.root())
    known = KEYS | {ID[name]: key for name, key in keys.items()}
    return signature_problems(parse_checkpoint(text + b"\n" + b"".join(lines)), known, moment)


def test_the_log_s_signature_and_a_witness_s_are_recognized(signed: Book) -> None:
    text = verifier.checkpoint_text(signed.log.origin, 1, signed.log.tree.root())
    own, seen = signed.signature("log", text), signed.cosignature(text, 1767225600)
    stranger = verifier.signature_line("stranger.example", b"12345678" * 9)
    assert problems(signed, stranger, own) == ([], [])
    assert problems(signed, own, seen, stranger) == ([], ["user:wes"])
    nameless = KEYS[ID["wes"]]._replace(person=None)
    assert problems(signed, own, seen, wes=nameless) == ([], ["witness.example"])
    unsigned = "it is not signed by a trusted key of the log"
    assert problems(signed, seen) == ([unsigned], ["user:wes"])
    assert problems(signed, stranger) == ([unsigned], [])
    assert problems(signed, signed.signature("log", text, "another.name")) == ([unsigned], [])
    assert problems(signed, own, log=KEYS[ID["log"]]._replace(role="witness")) == ([unsigned], [])
    assert problems(signed, own, seen, wes=KEYS[ID["wes"]]._replace(role="approver")) == ([], [])


def test_a_bad_signature_of_a_known_key_is_an_attack_whoever_else_signed(signed: Book) -> None:
    text = verifier.checkpoint_text(signed.log.origin, 1, signed.log.tree.root())
    own, bad = signed.signature("log", text), signed.signature("log", text + b"more")
    assert problems(signed, bad, own) == ([f"the signature by key {ID['log']} is not of this checkpoint"], [])
    other = signed.cosignature(text + b"more", 1767225600)
    assert problems(signed, own, other) == (
        [f"the signature by key {ID['wes']} is not of this checkpoint"], ["user:wes"]
    )  # fmt: skip


def test_a_log_s_key_must_be_valid_at_the_last_record_and_a_witness_s_when_it_signed(signed: Book) -> None:
    text = verifier.checkpoint_text(signed.log.origin, 1, signed.log.tree.root())
    own, seen = signed.signature("log", text), signed.cosignature(text, 1767225600)
    early = "2025-12-31T23:59:59.999Z"
    assert problems(signed, own, seen, moment=early) == (
        [f"key {ID['log']} is valid from {START}, not at {early}"], ["user:wes"]
    )  # fmt: skip
    ended = {name: KEYS[ID[name]]._replace(valid_to=at(9)) for name in ("log", "wes")}
    assert problems(signed, own, seen, moment=at(8), **ended) == ([], ["user:wes"])
    assert problems(signed, own, signed.cosignature(text, 1767225609), moment=at(9), **ended) == (
        [f"key {ID[name]} is valid from {START} until {at(9)}, not at {at(9)}" for name in ("log", "wes")], ["user:wes"]
    )  # fmt: skip


def test_a_cosignature_s_time_is_utc_wherever_it_is_read(signed: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    text = verifier.checkpoint_text(signed.log.origin, 1, signed.log.tree.root())
    own, early = signed.signature("log", text), signed.cosignature(text, 1767225599)
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found, _ = problems(signed, own, early)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == [f"key {ID['wes']} is valid from {START}, not at 2025-12-31T23:59:59.000Z"]


def test_a_cosignature_of_the_year_584942417355_is_of_the_last_moment_that_a_time_can_say(signed: Book) -> None:
    text = verifier.checkpoint_text(signed.log.origin, 1, signed.log.tree.root())
    ended = KEYS[ID["wes"]]._replace(valid_to=at(9))
    for seconds in (2**64 - 1, 2**56 + 1767225600):
        found, _ = problems(signed, signed.signature("log", text), signed.cosignature(text, seconds), wes=ended)
        assert found == [
            f"the signature by key {ID['wes']} is not of this checkpoint",
            f"key {ID['wes']} is valid from {START} until {at(9)}, not at 9999-12-31T23:59:59.000Z",
        ]
    last = signed.cosignature(text, 253402300799)
    assert problems(signed, signed.signature("log", text), last) == ([], ["user:wes"])
