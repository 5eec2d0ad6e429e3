"""A promotion that needs people, from the refusal that asks for them to the record that names them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.promotion.approvals import approve, rule_for
from research_to_prod.promotion.keys import PUBLIC_FILE, Keys, open_keys
from research_to_prod.promotion.ledger import LedgerError
from research_to_prod.promotion.record import Draft, Record, RecordType
from research_to_prod.promotion.waiting import envelope_name, with_approvals
from research_to_prod.values import Stage, canonical_json, digest, sha256_hex
from tests.promotion.desk_folders import NOW, DeskFolders

MINUTE = timedelta(minutes=1)
ONE = ApprovalRule(people=1, valid_for=timedelta(days=7), why="A rule of one person, for these tests only.")
TWO = ONE.model_copy(update={"people": 2})
BLOBS = tuple(canonical_json(each) for each in (1, "edited", "another", "new"))
"""What the drafts of these tests name by hash."""


class Desk(DeskFolders):
    """A desk that decides on one candidate, a minute after the last time."""

    def __init__(self, root: Path, draft) -> None:
        super().__init__(root)
        self.draft, self.runs = draft, 0

    @property
    def request(self) -> Path:
        return self.folder.path("momentum", Stage.PAPER)

    def decide(self, rule=ONE, **changes) -> Record:
        """Decide again, in a run of its own, a minute after the last one."""
        self.runs += 1
        run = f"run-{self.runs}"
        now = changes.pop("now", NOW + self.runs * MINUTE)
        fields = {"candidate": "momentum", "author": "user:ann", "recorded_at": now, "dagster": {"run_id": run}}
        draft: Draft = self.draft(1, decision_id=f"{run}:momentum", **(fields | changes))
        decided, envelopes = with_approvals(draft, self.folder, self.keys, rule, now)
        assert {sha256_hex(each) for each in envelopes} == {each.envelope_sha256 for each in decided.approvals or ()}
        return self.ledger.append(decided, (*envelopes, *BLOBS))

    def approve(self, key: Keys, now: datetime | None = None) -> Path:
        asked = self.folder.asked("momentum", Stage.PAPER)
        path = self.data / "approvals" / envelope_name(asked, key)
        path.write_bytes(approve(asked, key, now or NOW + self.runs * MINUTE))
        return path


@pytest.fixture
def desk(tmp_path, draft):
    return Desk(tmp_path, draft)


def said(record):
    return "; ".join(record.reasons)


def test_it_is_refused_then_approved_then_promoted(desk):
    bob = desk.approver("bob")
    waiting = desk.decide()
    assert waiting.type is RecordType.REJECT
    assert said(waiting).startswith(
        "waiting for approval of 1 more of 1 people who are not user:ann; run `r2p approve "
    )
    desk.approve(bob)
    promoted = desk.decide()
    assert promoted.type is RecordType.PROMOTE
    (approval,) = promoted.approvals
    assert (approval.person, approval.key_id) == ("user:bob", bob.signer_id)
    assert promoted.decision_digest() == json.loads(desk.request.read_bytes())["request"]["decision_sha256"]
    assert promoted.dagster.run_id == "run-2", "recorded by the run that found the approval"


def test_why_names_the_people_who_approved(desk, monkeypatch):
    desk.decide()
    desk.approve(desk.approver("bob"))
    promoted = desk.decide()
    monkeypatch.setenv("R2P_DATA", str(desk.data))
    monkeypatch.setenv("COLUMNS", "200")
    told = CliRunner().invoke(app, ["why", "momentum", "--on", f"{promoted.recorded_at:%Y-%m-%d}"]).stdout
    assert "momentum was at paper" in told
    assert f"user:bob {NOW + MINUTE:%Y-%m-%d %H:%M}Z" in told


def test_a_rule_of_nobody_promotes_at_once_and_asks_nothing(desk):
    assert desk.decide(ONE.model_copy(update={"people": 0})).type is RecordType.PROMOTE
    assert not desk.request.exists()


def test_what_was_moved_down_waits_for_a_person_whatever_the_policy_says(desk):
    nobody = ONE.model_copy(update={"people": 0})
    first = desk.decide(nobody)
    down = {"decision_id": "down", "recorded_at": NOW + MINUTE, "reasons": ["the edge is gone"]}
    stages = {"from_stage": "paper", "to_stage": "demoted", "candidate_sha256": first.candidate_sha256}
    desk.ledger.append(desk.draft(1, type="rollback", candidate="momentum", **stages, **down), BLOBS)
    again = {"from_stage": "demoted", "gate_report_sha256": digest("new")}
    with pytest.raises(LedgerError, match="only a record that names a person"):
        desk.decide(nobody, **again)
    rule = rule_for(nobody, fallen=True)
    assert (rule.people, rule_for(TWO, fallen=True).people, rule_for(nobody, fallen=False).people) == (1, 2, 0)
    assert desk.decide(rule, **again).type is RecordType.REJECT
    desk.approve(desk.approver("bob"))
    assert desk.decide(rule, **again).to_stage is Stage.PAPER


def test_what_the_gates_refuse_is_not_put_to_people(desk):
    assert desk.decide(type="reject", reasons=["overfitted"]).reasons == ("overfitted",)
    assert not desk.request.exists()


def test_a_request_is_asked_once_and_stays_while_nothing_changes(desk):
    desk.decide()
    first = desk.request.read_bytes()
    desk.decide()
    assert desk.request.read_bytes() == first


def test_others_trials_do_not_take_an_approval_back(desk):
    desk.decide(trial_ledger_head=digest("then"))
    desk.approve(desk.approver("bob"))
    promoted = desk.decide(trial_ledger_head=digest("now"))
    assert promoted.type is RecordType.PROMOTE
    assert promoted.trial_ledger_head == digest("now"), "the record says what was so when it was written"


@pytest.mark.parametrize(
    "changes",
    [
        {"candidate_sha256": digest("edited")},
        {"policy": {"id": "research_to_paper", "sha256": digest("edited")}},
        {"gate_report_sha256": digest("another")},
        {"n_trials": 41},
        {"limits": None},
        {"code": {"package_sha256": digest("edited"), "lockfile_sha256": digest("x"), "version": "0.1.0"}},
    ],
)
def test_whatever_changes_after_it_was_approved_is_asked_again(desk, changes):
    desk.decide()
    before = desk.request.read_bytes()
    desk.approve(desk.approver("bob"))
    refused = desk.decide(**changes)
    assert refused.type is RecordType.REJECT
    assert "it approves another request" in said(refused)
    assert desk.request.read_bytes() != before


def test_an_approval_does_not_promote_twice(desk):
    desk.decide()
    desk.approve(desk.approver("bob"))
    desk.decide()
    with pytest.raises(LedgerError, match=r"decision run-1:momentum:asked is already record 1"):
        desk.decide()


def test_the_author_the_same_key_twice_and_an_expired_approval_promote_nothing(desk):
    ann, bob = desk.approver("ann"), desk.approver("bob")
    desk.decide(TWO)
    desk.approve(ann)
    once = desk.approve(bob)
    once.with_name("momentum.paper.again.dsse.json").write_bytes(once.read_bytes())
    refused = desk.decide(TWO)
    assert "1 more of 2 people who are not user:ann (user:bob approved)" in said(refused)
    assert "nobody approves their own work" in said(refused)
    late = desk.decide(TWO, now=NOW + timedelta(days=8))
    assert late.type is RecordType.REJECT
    assert "it approves another request, with another decision_id, decision_sha256, requested_at" in said(late)
    assert {record.type for record in desk.ledger.records()} == {RecordType.REJECT}


def test_a_clock_set_back_promotes_nothing(desk):
    desk.decide()
    desk.approve(desk.approver("bob"))
    with pytest.raises(LedgerError, match="clock set back"):
        desk.decide(now=NOW - 6 * MINUTE)
    (refused,) = desk.ledger.records()
    assert refused.type is RecordType.REJECT


def test_a_broken_request_is_asked_again(desk):
    desk.decide()
    desk.request.write_bytes(desk.request.read_bytes().replace(b'"people":1', b'"people":0'))
    desk.decide()
    assert json.loads(desk.request.read_bytes())["request"]["people"] == 1


def test_what_waits_says_for_whom(desk):
    def waiting(now=NOW + 5 * MINUTE):
        return desk.folder.pending(desk.ledger.records(), desk.keys, now)

    bob, _ = desk.approver("bob"), desk.approver("eve")
    desk.approver("ann")
    assert waiting() == []
    desk.decide(TWO)
    desk.approve(bob)
    (each,) = waiting()
    assert (each.approved, each.waiting_for) == (("user:bob",), ("user:eve",))
    assert each.asked.request.to_stage is Stage.PAPER
    assert waiting(NOW + timedelta(days=8)) == [], "expired"


def test_what_is_recorded_waits_no_longer(desk):
    desk.decide()
    desk.approve(desk.approver("bob"))
    desk.decide()
    assert desk.folder.pending(desk.ledger.records(), desk.keys, NOW + 5 * MINUTE) == []


def r2p(desk, *arguments, answer=None):
    environment = {"R2P_DATA": str(desk.data), "COLUMNS": "300", "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(each) for each in arguments], input=answer, env=environment)


def test_a_person_makes_a_key_reads_signs_and_the_desk_promotes(desk):
    key = desk.root / "own" / "approver.key"
    made = r2p(desk, "keys", "new-approver", "--person", "user:bob", "--key", key)
    assert made.exit_code == 0, made.output
    assert key.stat().st_mode & 0o777 == 0o600
    (desk.root / "bob.json").write_text(made.stdout)
    trusted = r2p(desk, "keys", "trust", desk.root / "bob.json")
    assert "user:bob" in trusted.stdout, trusted.output

    desk.decide()
    signed = r2p(desk, "approve", desk.request, "--key", key, answer="y\n")
    assert signed.exit_code == 0, signed.output
    for shown in ("research to paper", "deflated_sharpe", "0.97", "BTC/USDT on sandbox", "capital: 250000 USDT"):
        assert shown in signed.stdout
    # The key was made by the real clock, some minutes after this desk's time.
    promoted = desk.decide(now=datetime.now(UTC))
    assert promoted.type is RecordType.PROMOTE, promoted.reasons
    assert [each.person for each in promoted.approvals] == ["user:bob"]


def test_who_does_not_agree_signs_nothing(desk):
    desk.approver("bob")
    desk.decide()
    answer = r2p(desk, "approve", desk.request, "--key", desk.root / "bob.key", answer="n\n")
    assert answer.exit_code == 1
    assert "nothing is signed" in answer.stdout
    told = r2p(desk, "approve", desk.request, "--key", desk.root / "bob.key", "--json", answer="n\n")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["envelope"] is None
    assert "deflated_sharpe" in told.stderr, "what is asked is read whatever becomes of the answer"
    assert list((desk.data / "approvals").glob("*.dsse.json")) == []


def test_a_wrong_file_or_key_is_named_and_nothing_is_signed(desk):
    desk.approver("bob")
    desk.decide()
    key, altered = desk.root / "bob.key", desk.root / "altered.json"
    altered.write_bytes(desk.request.read_bytes().replace(b'"250000"', b'"950000"'))
    for request, private, says in (
        (desk.root / "none.json", key, "No such file"),
        (altered, key, "differ in decision_sha256"),
        (desk.request, desk.root / "none.key", "cannot read the private key"),
        (desk.request, altered, "may be read by others"),
    ):
        answer = r2p(desk, "approve", request, "--key", private, answer="y\n")
        assert answer.exit_code == 2
        assert says in " ".join(answer.output.split()), answer.output
    assert list(desk.root.rglob("*.dsse.json")) == []


def test_an_approvers_key_is_not_made_where_the_desks_processes_read_nor_over_another(desk):
    inside = r2p(desk, "keys", "new-approver", "--person", "user:bob", "--key", desk.data / "keys" / "bob.key")
    assert (inside.exit_code, "keep it elsewhere" in inside.output) == (2, True)
    assert not (desk.data / "keys" / "bob.key").exists()
    desk.approver("bob")
    before = (desk.root / "bob.key").read_bytes()
    again = r2p(desk, "keys", "new-approver", "--person", "user:bob", "--key", desk.root / "bob.key")
    assert (again.exit_code, "there already" in again.output) == (2, True)
    assert (desk.root / "bob.key").read_bytes() == before
    team = r2p(desk, "keys", "new-approver", "--person", "team:risk", "--key", desk.root / "team.key")
    assert (team.exit_code, "user:NAME" in team.output) == (2, True)


def test_a_key_of_a_log_or_one_known_otherwise_is_not_added(desk, tmp_path):
    before = (desk.data / "keys" / PUBLIC_FILE).read_bytes()
    open_keys(tmp_path / "another", NOW)
    answer = r2p(desk, "keys", "trust", tmp_path / "another" / PUBLIC_FILE)
    assert (answer.exit_code, "would sign the log" in answer.output) == (2, True)
    assert (desk.data / "keys" / PUBLIC_FILE).read_bytes() == before
    desk.approver("bob")
    renamed = desk.root / "bob.json"
    renamed.write_bytes(renamed.read_bytes().replace(b"user:bob", b"user:eve"))
    answer = r2p(desk, "keys", "trust", renamed)
    assert (answer.exit_code, "known with another person" in answer.output) == (2, True)
