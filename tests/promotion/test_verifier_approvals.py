"""Whose approval a record needs, and which counts, word for word; by whoever wrote the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from research_to_prod.promotion import verifier
from research_to_prod.promotion.verifier import decision_digest
from tests.promotion.book import ID, START, Book, at

NONE = "0" * 64


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.mark.parametrize("policy", [b"7", b"null", b"{}", b'{"approval":{}}', b"no json", b"[" * 100_000])
def test_a_policy_that_asks_for_nobody_is_answered_by_nobody(book: Book, policy: bytes) -> None:
    assert book.refused(book.promotion(0, policy={"id": "p", "sha256": book.blob(policy)})) == []


@pytest.mark.parametrize("approval", ["5", '{"people":null}', '{"people":"two"}', '{"people":1e999}'])
def test_a_policy_that_cannot_be_read_lets_nobody_through(book: Book, approval: str) -> None:
    name = book.blob(f'{{"approval":{approval}}}'.encode())
    assert book.refused(book.promotion(0, policy={"id": "p", "sha256": name})) == [
        f"its policy, blob {name}, is not of the known form"
    ]


def test_as_many_people_approve_as_the_policy_asks_for_and_as_the_one_before_did(book: Book) -> None:
    def missing(people: int, asked: int, before: int) -> list[str]:
        return [
            (
                f"a way to paper is approved by {people} people; its policy asks for {asked}, the one "
                f"before for {before}: for fewer than before it takes a policy_change that so many approve"
            )
        ]

    two, one = (book.promotion(number, policy=book.policy(2 - number)) for number in range(2))
    assert book.refused(two) == missing(0, 2, 0)
    assert book.refused(book.approved(two, "ben")) == missing(1, 2, 0)
    book.write(book.approved(two, "ben", "cyd"))
    assert book.refused(book.approved(one, "ben")) == missing(1, 1, 2)
    changed = book.change("policy_change", 1, policy=book.policy(1))
    assert book.refused(book.approved(changed, "ben")) == missing(1, 1, 2)
    book.write(book.approved(changed, "ben", "cyd"))
    later = book.promotion(2, policy=book.policy(1))
    assert book.refused(later) == missing(0, 1, 1)
    book.write(book.approved(later, "ben"))
    # The way is the record's, whatever the policy is for.
    assert book.refused(book.promotion(3, policy=book.policy(2, "other", "live"))) == missing(0, 2, 1)
    # Another way is asked for by itself, and a refusal asks for nobody.
    fewer = book.policy(0, "to_live", "live")
    assert book.refused(book.change("policy_change", 3, policy=fewer)) == []
    assert book.refused(book.promotion(4, type="reject", reasons=["no"], policy=book.policy(2))) == []


def test_an_approval_counts_from_its_signing_until_just_before_its_end(book: Book) -> None:
    record = book.promotion(5)

    def refused(signed_at: str, until: str) -> list[str]:
        return book.refused(record | {"approvals": [book.approval(record, "ben", signed_at, until)]})

    assert refused(at(6), at(9)) == [f"the approval of user:ben holds from {at(6)} to {at(9)}, not at {at(5)}"]
    assert refused(at(4), at(5)) == [f"the approval of user:ben holds from {at(4)} to {at(5)}, not at {at(5)}"]
    assert refused(at(5), at(6)) == []


def test_nobody_approves_twice_or_their_own_and_names_are_told_apart_however_spelled(book: Book) -> None:
    record = book.promotion(0)
    twice = book.approved(record, "cyd", "ben", "ben")
    assert book.refused(twice) == ["one person approved twice: ben, ben, cyd"]
    for author in ("user:ben", "Ben", " BEN "):
        own = record | {"author": author}
        assert book.refused(book.approved(own, "ben")) == [f"{author} approved their own decision"]
    assert verifier.person_name("user: Ann ") == "ann"
    assert verifier.person_name("Straße") == "strasse"


def test_an_approval_by_a_key_that_is_not_that_person_s_says_so_and_the_next_is_judged(book: Book) -> None:
    record = book.promotion(0)
    good = book.approval(record, "cyd", "2025-12-31T00:00:00.000Z")
    early = "the approval of user:cyd is of 2025-12-31T00:00:00.000Z, when its key was not valid"
    for key in (NONE, ID["cyd"], ID["log"], ID["wes"]):
        bad = book.approval(record, "ben", START) | {"key_id": key}
        assert book.refused(record | {"approvals": [bad, good]}) == [
            f"the approval of user:ben is by key {key}, which is not theirs among the trusted keys of approvers", early
        ]  # fmt: skip
    witness = book.approval(record, "wes", START)
    assert "which is not theirs" in book.refused(record | {"approvals": [witness]})[0]


def test_an_approval_of_another_decision_or_time_says_which(book: Book) -> None:
    record, other = book.promotion(0), book.promotion(0, n_trials=41)
    digest, signed = decision_digest(record), book.approval(other, "ben", START)
    assert book.refused(record | {"approvals": [signed]}) == [
        f"the approval of user:ben is of another decision ({decision_digest(other)}, not {digest}) or of another time"
    ]
    moved = book.approval(record, "ben", START) | {"signed_at": "2026-01-01T00:00:00.001Z"}
    assert book.refused(record | {"recorded_at": at(1), "approvals": [moved]}) == [
        f"the approval of user:ben is of another decision ({digest}, not {digest}) or of another time"
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"payload": "no base64"}, {"payload": "!"}, {"payload": None}, {"payloadType": "text/plain"},
        {"payloadType": 5, "body": b"{}", "signatures": []}, {"signatures": []}, {"signatures": 5},
        {"signatures": [{"keyid": ID["ben"], "sig": "AAAA"}]}, {"signatures": [{"keyid": ID["ben"], "sig": "!AAAA"}]},
        {"signatures": [{"keyid": ID["cyd"], "sig": "AAAA"}]}, {"body": b"{}"}, {"body": b"5"}, {"body": b"no json"},
    ],
)  # fmt: skip
def test_an_envelope_that_its_person_did_not_sign_in_this_form_is_refused_and_the_next_is_judged(
    book: Book, other: dict[str, Any]
) -> None:
    record = book.promotion(0)
    if other.get("payloadType") == 5:
        envelope = {"payload": "", "payloadType": 5, "signatures": []}
        bad = book.approval(record, "ben", START) | {"envelope_sha256": book.blob(json.dumps(envelope).encode())}
    else:
        bad = book.approval(record, "ben", START, **other)
    own, digest = book.approval(record, "cyd", START) | {"signed_at": at(1)}, decision_digest(record)
    assert book.refused(record | {"recorded_at": at(1), "approvals": [bad, own]}) == [
        "the approval of user:ben is not signed by them",
        f"the approval of user:cyd is of another decision ({digest}, not {digest}) or of another time",
    ]


def test_base64_of_an_envelope_is_spelled_in_one_way(book: Book) -> None:
    """What a lenient reader skips would let one signed content have many names."""
    record = book.promotion(0)
    good = book.approval(record, "ben", START)
    envelope = json.loads(book.blob_of(good["envelope_sha256"]) or b"")
    (signature,) = envelope["signatures"]
    for changed in (
        envelope | {"payload": "!" + envelope["payload"]},
        envelope | {"signatures": [signature | {"sig": "!" + signature["sig"]}]},
    ):
        bad = good | {"envelope_sha256": book.blob(json.dumps(changed).encode())}
        assert book.refused(record | {"approvals": [bad]}) == ["the approval of user:ben is not signed by them"]
    assert book.refused(record | {"approvals": [good]}) == []
