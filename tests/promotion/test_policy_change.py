"""A version of a policy in force: from the request that asks for it to the promotions that it refuses."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.gates.policy import Policy, load_policy
from research_to_prod.promotion.approvals import ApprovalError, approve, read_asked
from research_to_prod.promotion.keys import Keys
from research_to_prod.promotion.policy_change import (
    PolicyChangeError,
    Waiting,
    in_force,
    not_in_force,
    put_in_force,
)
from research_to_prod.promotion.record import ChangeRecord
from research_to_prod.promotion.waiting import POLICY, envelope_name
from research_to_prod.settings import Settings
from tests.promotion.desk_folders import NOW, DeskFolders

DESK = Settings.from_environment({}).desk
SECOND = timedelta(seconds=1)
ID = "paper_to_canary"
CANARY = load_policy(DESK / "policies" / f"{ID}.yaml")


def version(people: int, days: int = 7) -> Policy:
    """The shipped policy to canary, asking for so many people."""
    rule = CANARY.approval.model_copy(update={"people": people, "valid_for": timedelta(days=days)})
    return CANARY.model_copy(update={"approval": rule})


class Book(DeskFolders):
    """A desk at which every call is a second after the last."""

    calls = 0

    def put(self, policy: Policy, by: str = "user:ann", reason: str = "fills are thinner") -> ChangeRecord | Waiting:
        self.calls += 1
        now = NOW + self.calls * SECOND
        return put_in_force(self.ledger, self.folder, self.keys, policy, by=by, reason=reason, now=now)

    def approve(self, *keys: Keys) -> None:
        asked = self.folder.asked(ID, POLICY)
        assert asked is not None
        for key in keys:
            path = self.data / "approvals" / envelope_name(asked, key)
            path.write_bytes(approve(asked, key, NOW + self.calls * SECOND))

    def adopted(self, policy: Policy, *keys: Keys) -> ChangeRecord:
        """Put a version in force, with the approvals that it takes."""
        done = self.put(policy)
        if isinstance(done, Waiting):
            self.approve(*keys)
            done = self.put(policy)
        assert isinstance(done, ChangeRecord), done
        return done


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_before_any_record_every_version_decides(book: Book) -> None:
    assert in_force(book.ledger.verify().changes, ID) is None
    assert not_in_force(book.ledger.verify().changes, CANARY) is None


def test_a_version_is_in_force_once_the_people_that_it_asks_for_approve(book: Book) -> None:
    waiting = book.put(version(1))
    assert isinstance(waiting, Waiting)
    assert waiting.obstacles[0].startswith("waiting for approval of 1 more of 1 people who are not user:ann")
    assert f"{ID}.policy.json" in waiting.remedy
    assert book.ledger.verify().changes == ()
    book.approve(book.approver("bob"))
    record = book.put(version(1))
    assert isinstance(record, ChangeRecord)
    assert record.approvals is not None
    assert [each.person for each in record.approvals] == ["user:bob"]
    assert record.reasons == ("fills are thinner", "no version was in force before")
    assert in_force(book.ledger.verify().changes, ID) == record
    assert Policy.model_validate_json(book.ledger.blobs.read(version(1).sha256)) == version(1)


def test_from_then_on_another_version_is_told_to_promote_nobody(book: Book) -> None:
    record = book.adopted(version(0))
    changes = book.ledger.verify().changes
    assert not_in_force(changes, version(0)) is None
    told = not_in_force(changes, version(0, days=8))
    assert told is not None
    assert f"{version(0).sha256[:12]} is since record {record.seq}" in told
    assert f"`r2p policy adopt {ID}`" in told
    other = version(0).model_copy(update={"id": "canary_to_live"})
    assert not_in_force(changes, other) is None


def test_a_policy_that_asks_for_fewer_people_takes_as_many_as_the_one_before(book: Book) -> None:
    bob, eve = book.approver("bob"), book.approver("eve")
    book.adopted(version(2), bob, eve)
    waiting = book.put(version(0))
    assert isinstance(waiting, Waiting)
    assert "2 more of 2 people" in waiting.obstacles[0]
    book.approve(bob)
    assert isinstance(book.put(version(0)), Waiting)
    book.approve(eve)
    assert isinstance(book.put(version(0)), ChangeRecord)
    assert isinstance(book.put(version(0, days=8)), ChangeRecord), "nobody is asked for once two have agreed to that"


def test_nobody_approves_what_they_propose(book: Book) -> None:
    ann = book.approver("ann")
    book.put(version(1))
    book.approve(ann)
    waiting = book.put(version(1))
    assert isinstance(waiting, Waiting)
    assert "user:ann is the author, and nobody approves their own work" in "; ".join(waiting.obstacles)


def test_an_approval_is_of_one_version_and_one_reason(book: Book) -> None:
    bob = book.approver("bob")
    book.put(version(1))
    book.approve(bob)
    other = book.put(version(1, days=8))
    assert isinstance(other, Waiting)
    assert "it approves another request" in "; ".join(other.obstacles)
    book.approve(bob)
    said = book.put(version(1, days=8), reason="it is Friday")
    assert isinstance(said, Waiting)
    assert book.ledger.verify().changes == ()


def test_a_version_in_force_is_not_put_in_force_again_and_may_come_back_later(book: Book) -> None:
    first = book.adopted(version(0))
    with pytest.raises(PolicyChangeError, match=f"in force since record {first.seq} .*nothing to change"):
        book.put(version(0))
    second = book.adopted(version(0, days=8))
    third = book.adopted(version(0))
    assert second.reasons[1] == f"in place of version {version(0).sha256}"
    assert in_force(book.ledger.verify().changes, ID) == third


def test_a_request_shows_the_very_versions_that_its_signature_names(book: Book) -> None:
    bob = book.approver("bob")
    book.adopted(version(1), bob)
    book.put(version(1, days=9))
    path = book.folder.path(ID, POLICY)
    genuine = json.loads(path.read_bytes())
    for side, policy in (("after", version(1)), ("before", version(1, days=9))):
        doctored: dict[str, Any] = {
            **genuine,
            "policies": genuine["policies"] | {side: policy.canonical_bytes().decode()},
        }
        with pytest.raises(ApprovalError, match=rf"differ in policies\.{side}"):
            read_asked(json.dumps(doctored, sort_keys=True, separators=(",", ":")).encode())
    without = {name: value for name, value in genuine.items() if name != "policies"}
    with pytest.raises(ApprovalError, match=r"differ in policies\.after, policies\.before"):
        read_asked(json.dumps(without, sort_keys=True, separators=(",", ":")).encode())


def test_it_waits_among_the_decisions_that_wait_for_people(book: Book) -> None:
    book.approver("bob")
    book.put(version(1))
    (pending,) = book.folder.pending(book.ledger.verify().entries(), book.keys, NOW + SECOND)
    assert pending.what == f"version {version(1).sha256[:12]} of {ID}"
    assert (pending.approved, pending.waiting_for) == ((), ("user:bob",))


class TestOnTheCommandLine:
    @pytest.fixture(autouse=True)
    def desk(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> Path:
        shutil.copytree(DESK, book.root / "desk")
        for name in [name for name in os.environ if name.startswith("R2P_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("R2P_DATA", str(book.data))
        monkeypatch.setenv("R2P_DESK", str(book.root / "desk"))
        monkeypatch.setenv("COLUMNS", "200")
        return book.root / "desk" / "policies" / f"{ID}.yaml"

    ADOPT = ("policy", "adopt", ID, "--by", "user:ann", "--reason", "a week was too long")

    def test_it_is_asked_read_signed_and_in_force(self, book: Book, desk: Path) -> None:
        book.adopted(CANARY, book.approver("bob"))
        desk.write_text(desk.read_text().replace("valid_for: P7D", "valid_for: P3D"))
        run = CliRunner().invoke
        asked = run(app, self.ADOPT)
        assert asked.exit_code == 1
        assert "waiting for approval of 1 more of 1 people" in asked.output
        assert "this one promotes nobody" in run(app, ["policy", "list"]).output
        request = book.folder.path(ID, POLICY)
        answer = ["approve", str(request), "--key", str(book.root / "bob.key")]
        shown = run(app, answer, input="y\n").output
        assert "a week was too long" in shown
        assert f"in place of version {CANARY.sha256}" in shown
        assert "1, within 7 days" in shown
        assert "1, within 3 days" in shown
        assert "then run `r2p policy adopt` again" in shown
        done = run(app, self.ADOPT)
        assert done.exit_code == 0, done.output
        assert "is in force, record 1; others promote nobody" in done.output
        assert "this one, since" in run(app, ["policy", "list"]).output
        diffed = run(app, ["policy", "diff", CANARY.sha256[:12], ID]).output
        assert "put in force by record 1 of user:ann, approved by user:bob" in diffed.replace("\n", " ")
        again = run(app, self.ADOPT)
        assert again.exit_code == 2
        assert "there is nothing to change" in again.output

    def test_the_first_version_is_shown_whole(self, book: Book) -> None:
        book.approver("bob")
        assert CliRunner().invoke(app, self.ADOPT).exit_code == 1
        answer = ["approve", str(book.folder.path(ID, POLICY)), "--key", str(book.root / "bob.key")]
        shown = CliRunner().invoke(app, answer, input="n\n").output
        assert "no version was in force before" in shown
        assert "capital allocation" in shown
        assert "nothing is signed" in shown

    def test_a_desk_without_records_says_that_files_decide(self) -> None:
        shown = CliRunner().invoke(app, ["policy", "list"]).output
        assert shown.count("none was ever put in force") == 3
