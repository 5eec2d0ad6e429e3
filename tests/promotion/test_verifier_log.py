"""What the verifier says of every record that does not follow from those before it, word for word."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from research_to_prod.promotion import verifier
from research_to_prod.promotion.verifier import canonical, named_blobs, own_problems, sha256
from tests.promotion.book import (
    CHECK,
    EVIDENCE,
    GATE,
    ID,
    KEYS,
    PARAMETERS,
    PUBLIC,
    START,
    Book,
    at,
    told,
)

NONE = "0" * 64
FILE, EDITED = sha256(b"file"), sha256(b"edited")


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_log_grows_by_good_records_and_is_as_it_was_after_a_bad_one(book: Book) -> None:
    assert (book.log.head, book.log.records, book.log.notes) == (verifier.GENESIS, [], [])
    for number in range(3):
        record = book.promotion(number)
        line = book.line(record)
        assert book.refused(record | {"reasons": ["no"]}) == ["a promotion that its own contents refuse: no"]
        assert (len(book.log.records), book.log.tree.size) == (number, number)
        assert book.log.add(line) == []
        assert (book.log.head, book.log.records[-1]) == (sha256(line), json.loads(line))
    tree = verifier.Tree()
    for each in book.log.records:
        tree.append(canonical(each))
    assert book.log.tree.root() == tree.root()
    assert book.log.origin == f"research-to-prod/ledger/{book.log.records[0]['log_id']}"
    assert book.log.add(b"{}") == ["it is of unknown type None"]


def test_a_record_out_of_its_place_says_in_what(book: Book) -> None:
    own = book.placed(book.promotion(0))["log_id"]
    assert book.refused(book.promotion(0) | {"seq": 5, "prev": FILE, "log_id": NONE}) == [
        "seq is 5, expected 0",
        f"prev is {FILE}, the record before it has SHA-256 {NONE}",
        f"it belongs to log {NONE}, this is log {own}",
    ]
    book.write(book.promotion(2))
    first = book.log.records[0]["log_id"]
    assert book.refused(book.promotion(1, decision_id="decision-2") | {"log_id": NONE}) == [
        f"it belongs to log {NONE}, this is log {first}",
        "decision decision-2 is already record 0",
        f"recorded at {at(1)}, before the last record ({at(2)}): was the clock set back?",
    ]
    assert book.refused(book.promotion(3, recorded_at=at(2))) == [], "at the same moment is in order"


def test_blobs_must_be_there_with_their_content_and_are_read_once(book: Book) -> None:
    book.write(book.promotion(0))
    again = book.promotion(1)
    book.read.clear()
    name = sha256(PARAMETERS)
    path = f"{verifier.BLOBS}{name[:2]}/{name}"
    book.files[path] = b"another"
    book.write(again)
    assert book.read == [again["gate_report_sha256"]], "what was good stays good"
    assert book.empty().add(book.line(again))[-1] == (
        f"its parameters, blob {name}, has another content than its name says"
    )
    # The blob known from before stands first: those after it are read nevertheless.
    for what, blob in (("gate report", "gate_report_sha256"), ("evidence", "evidence_sha256")):
        assert book.refused(book.promotion(2, **{blob: FILE})) == [f"its {what}, blob {FILE}, is missing"]
    assert book.refused(book.promotion(2, policy={"id": "p", "sha256": FILE})) == [
        f"its policy, blob {FILE}, is missing"
    ]


def test_what_a_record_names_is_listed_by_what_it_is(book: Book) -> None:
    record = book.approved(book.promotion(0), "ben")
    assert named_blobs(record) == {
        "parameters": record["parameters_sha256"],
        "evidence": record["evidence_sha256"],
        "gate report": record["gate_report_sha256"],
        "policy": record["policy"]["sha256"],
        "envelope of user:ben": record["approvals"][0]["envelope_sha256"],
    }
    assert named_blobs({}) == {}


def test_a_move_that_is_none_names_those_that_there_are(book: Book) -> None:
    for kind, way, onward in (
        ("promote", ("paper", "live"), "canary, paper"),
        ("reject", ("canary", "paper"), "canary, live"),
        ("rollback", ("research", "paper"), "nowhere"),
        ("demote", ("halted", "paper"), "demoted"),
    ):
        start, end = way
        changes = {} if kind == "promote" else {"reasons": ["because"]}
        changes |= {"trigger": TRIGGER} if kind == "rollback" else {}
        record = book.promotion(0, type=kind, from_stage=start, to_stage=end, **changes)
        assert book.refused(record)[0] == (
            f"no {kind} leads c0 from {start} to {end}; from {start} it may lead to: {onward}"
        )
    assert book.refused(book.promotion(0, from_stage="paper", to_stage="canary")) == [
        "c0 is at research, not at paper: decide again from where it is"
    ]


TRIGGER = {"rule": "cusum", "value": "9", "threshold": "8", "samples": 3, "observed_at": START}


def moved(book: Book, second: int, kind: str, start: str, end: str, version: str = FILE) -> dict[str, Any]:
    changes = {"reasons": ["because"]} if kind != "promote" else {}
    changes |= {"trigger": TRIGGER} if kind == "rollback" else {}
    return book.promotion(
        second, type=kind, from_stage=start, to_stage=end, candidate="c", candidate_sha256=version, **changes
    )


@pytest.mark.parametrize("kind", ["demote", "rollback"])
def test_what_was_moved_down_goes_up_again_in_somebody_s_name_only(book: Book, kind: str) -> None:
    book.write(moved(book, 0, "promote", "research", "paper"))
    book.write(moved(book, 1, kind, "paper", "demoted"))
    up = moved(book, 2, "promote", "demoted", "paper")
    named = "c was moved down; only a record that names a person leads it from demoted to paper"
    assert book.refused(up) == [named]
    book.write(moved(book, 2, "reject", "demoted", "paper"))
    up = moved(book, 3, "promote", "demoted", "paper")
    assert book.refused(up) == [named], "a refusal lets nobody up"
    book.write(book.approved(up, "ben"))
    assert book.refused(moved(book, 4, "promote", "paper", "paper")) == [], "and then it is up"


def test_a_halt_ends_in_somebody_s_name_and_nothing_else_asks_for_one(book: Book) -> None:
    book.write(moved(book, 0, "promote", "research", "paper"))
    book.write(moved(book, 1, "demote", "paper", "halted"))
    end = moved(book, 2, "demote", "halted", "demoted")
    assert book.refused(end) == ["c was moved down; only a record that names a person leads it from halted to demoted"]
    book.write(book.approved(end, "ben"))
    assert book.refused(moved(book, 3, "demote", "demoted", "halted")) == []


def test_a_new_version_takes_the_place_of_the_old_one_at_its_stage_and_of_no_other(book: Book) -> None:
    book.write(moved(book, 0, "promote", "research", "paper"))
    book.write(moved(book, 1, "promote", "paper", "canary"))
    book.write(moved(book, 2, "promote", "research", "paper", EDITED))
    book.write(moved(book, 3, "promote", "canary", "canary"))
    book.write(moved(book, 4, "promote", "paper", "canary", EDITED))
    assert book.refused(moved(book, 5, "promote", "canary", "live")) == [
        "c is at research, not at canary: decide again from where it is"
    ]
    book.write(book.promotion(5, candidate="another"))
    book.write(moved(book, 6, "promote", "canary", "live", EDITED))
    # The place is free: who held it once is gone from it, and stays where it is now.
    book.write(moved(book, 7, "promote", "research", "paper"))
    book.write(moved(book, 8, "promote", "paper", "canary"))
    assert book.refused(moved(book, 9, "promote", "live", "live", EDITED)) == []


def test_two_versions_may_be_demoted_at_once(book: Book) -> None:
    for number, version in enumerate((FILE, EDITED)):
        book.write(moved(book, 2 * number, "promote", "research", "paper", version))
        book.write(moved(book, 2 * number + 1, "demote", "paper", "demoted", version))
    for number, version in enumerate((FILE, EDITED)):
        assert book.refused(moved(book, 8 + number, "reject", "demoted", "paper", version)) == []


def test_what_is_superseded_is_an_earlier_decision_on_the_same_candidate(book: Book) -> None:
    book.write(book.promotion(0))
    later = book.promotion(1, candidate="c0", from_stage="paper", to_stage="paper")
    assert book.refused(later | {"supersedes": "decision-0"}) == []
    book.write(book.promotion(2))
    for name in ("nothing", "decision-2"):
        other = book.promotion(3, candidate="c0", from_stage="paper", to_stage="paper", supersedes=name)
        assert book.refused(other) == [f"it supersedes {name}, which is no earlier decision on c0"]


def test_evidence_promotes_once_to_one_stage(book: Book) -> None:
    report = book.blob(b"report")
    book.write(book.promotion(0))
    book.write(moved(book, 1, "promote", "research", "paper") | {"gate_report_sha256": report})
    again = moved(book, 2, "promote", "paper", "paper") | {"gate_report_sha256": report}
    assert book.refused(again) == [f"gate report {report} already promoted it to paper: record 1"]
    assert book.refused(again | {"to_stage": "canary"}) == []
    other = moved(book, 3, "promote", "research", "paper", EDITED) | {"gate_report_sha256": report}
    assert book.refused(other) == []
    assert book.refused(book.promotion(4, gate_report_sha256=report)) == []


def test_a_refusal_does_not_use_evidence_up(book: Book) -> None:
    report = book.blob(b"report")
    book.write(moved(book, 0, "reject", "research", "paper") | {"gate_report_sha256": report})
    assert book.refused(moved(book, 1, "promote", "research", "paper") | {"gate_report_sha256": report}) == []


def test_under_a_policy_that_was_changed_nothing_is_promoted_by_the_old_one(book: Book) -> None:
    old, new = book.policy(0), book.policy(0) | {"sha256": book.blob(b'{"to_stage":"paper","v":2}')}
    book.write(book.promotion(0, policy=old))
    book.write(book.change("policy_change", 1, policy=new))
    assert book.refused(book.promotion(2, policy=old)) == [
        f"policy to_paper in force is {new['sha256']}, not {old['sha256']}: record the change first"
    ]
    assert book.refused(book.promotion(2, policy=old | {"id": "another"})) == []
    assert book.refused(book.promotion(3, policy=new)) == []


@pytest.mark.parametrize("evidence", [b"no json", b"[]", b'{"gates":[]}', b'{"checks":["a"],"gates":[],"inputs":[]}'])
def test_evidence_in_no_known_form_promotes_nothing(book: Book, evidence: bytes) -> None:
    name = book.blob(evidence)
    assert book.refused(book.promotion(0, evidence_sha256=name))[-1] == (
        f"its evidence, blob {name}, is not of the known form"
    )
    assert book.refused(book.promotion(0, type="reject", reasons=["no"], evidence_sha256=name)) == []


def test_every_obstacle_to_a_promotion_is_named(book: Book) -> None:
    record = book.promotion(0)
    assert verifier.promotion_obstacles(record, EVIDENCE) == []
    bare = dict.fromkeys(("gate_report_sha256", "n_trials", "trial_ledger_head", "algo_id"))
    assert verifier.promotion_obstacles(told(record, **bare), {"inputs": [], "checks": [], "gates": []}) == [
        "no inputs are recorded", "no checks are recorded", "no gating gates are recorded",
        "the gate report is missing", "the number of trials is missing", "the trial ledger head is missing",
        "the algorithm's id is missing",
    ]  # fmt: skip
    failed, weak = CHECK | {"passed": False}, GATE | {"verdict": "inconclusive", "reason": "too few"}
    told_of = EVIDENCE | {
        "checks": [failed, CHECK, failed | {"partition": None}, failed | {"passed": 1}],
        "gates": [weak, GATE, weak | {"gating": False}],
    }
    assert verifier.promotion_obstacles(record, told_of) == [
        "check is_whole of candles[2025-01] failed", "check is_whole of candles failed",
        "check is_whole of candles[2025-01] failed", "gate drawdown: inconclusive: too few",
    ]  # fmt: skip


@pytest.mark.parametrize(("stage", "money"), [("paper", False), ("canary", True), ("live", True)])
def test_code_that_was_not_committed_promotes_to_no_money(book: Book, stage: str, money: bool) -> None:
    record = book.promotion(0, to_stage=stage)
    dirty = record | {"code": record["code"] | {"dirty": True}}
    assert verifier.promotion_obstacles(record, EVIDENCE) == []
    assert verifier.promotion_obstacles(dirty, EVIDENCE) == money * [
        "the code that decided was not committed: commit it or install a release, then promote again"
    ]


def test_what_a_record_says_alone_may_refuse_it(book: Book) -> None:
    record = book.promotion(5)

    def said(**changes: Any) -> list[str]:
        return list(own_problems(told(record, **changes)))

    assert said() == []
    assert said(reasons=["late", "weak"]) == [
        "a promotion that its own contents refuse: late", "a promotion that its own contents refuse: weak"
    ]  # fmt: skip
    assert said(type="reject") == ["a reject without reasons; say why"]
    assert said(type="reject", reasons=["no"]) == []
    trigger = "a rollback, and nothing else, names the trigger that asked for it"
    assert said(trigger=TRIGGER) == said(type="rollback", reasons=["loss"]) == [trigger]
    assert said(type="rollback", reasons=["loss"], trigger=TRIGGER) == []
    ends = "an override names the decision that it sets aside and when it ends"
    override = {"type": "override", "reasons": ["false alarm"], "supersedes": "d", "expires_at": at(6)}
    assert said(**override) == []
    assert said(**override | {"supersedes": None}) == said(**override | {"expires_at": None}) == [ends]
    assert said(expires_at=at(5)) == [f"it expired at {at(5)}, before it was recorded"]
    assert said(expires_at="2026-01-01T00:00:05.001Z") == []
    assert said(validator="Ann") == ["user:ann is both its author and its validator"]
    assert said(validator="user:bob") == []
    assert said(author="user:") == [], "nobody validated, and that is nobody's name"


def key_change(book: Book, second: int, name: str, **changes: Any) -> dict[str, Any]:
    known = KEYS[ID[name]]
    public = base64.b64encode(PUBLIC[name]).decode()
    key = {"algorithm": "ed25519", "public_key": public, "role": known.role, "valid_from": START}
    return book.change("key_change", second, key_id=ID[name], key=told(key | {"person": known.person}, **changes))


def test_a_key_is_ended_by_a_record_and_by_none_made_valid_longer(book: Book) -> None:
    def until() -> str | None:
        return book.log.keys[ID["ben"]].valid_to

    book.write(key_change(book, 0, "ben"))
    assert until() is None
    for second, said, holds in ((1, at(30), at(30)), (2, at(40), at(30)), (3, at(20), at(20)), (4, None, at(20))):
        book.write(key_change(book, second, "ben", valid_to=said))
        assert until() == holds
    assert (book.log.notes, KEYS[ID["ben"]].valid_to) == ([], None)
    late = book.promotion(25)
    assert book.refused(late | {"approvals": [book.approval(late, "ben", at(25))]}) == [
        f"the approval of user:ben is of {at(25)}, when its key was not valid"
    ]


def test_a_key_that_nobody_trusts_is_noted_and_not_trusted(book: Book) -> None:
    public = b"k" * 32
    new = {"algorithm": "ed25519", "public_key": base64.b64encode(public).decode(), "role": "log", "valid_from": START}
    book.write(book.promotion(0))
    book.write(book.change("key_change", 1, key_id=sha256(public), key=new | {"valid_to": at(9)}))
    assert book.log.notes == [f"record 1 names key {sha256(public)}, which is not among the trusted keys"]
    assert book.log.keys == KEYS


def test_a_key_stays_who_it_was_and_goes_by_its_own_hash(book: Book) -> None:
    known = f"the trusted keys know key {ID['ben']} as approver of user:ben"
    assert book.refused(key_change(book, 0, "ben", person="user:eve")) == [known]
    assert book.refused(key_change(book, 0, "ben", role="witness")) == [known]
    assert book.refused(key_change(book, 0, "log", role="witness")) == [
        f"the trusted keys know key {ID['log']} as log of None"
    ]
    for public in (
        base64.b64encode(PUBLIC["cyd"]).decode(),
        "no base64",
        "!" + base64.b64encode(PUBLIC["ben"]).decode(),
    ):
        assert book.refused(key_change(book, 0, "ben", public_key=public)) == [
            f"{ID['ben']} is not the id of the key that it names"
        ]
