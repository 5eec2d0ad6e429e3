import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.promotion.approvals import (
    STATEMENT_TYPE,
    ApprovalError,
    Asked,
    Statement,
    approval_obstacles,
    approve,
    ask,
    judge,
    read_asked,
)
from research_to_prod.promotion.keys import Keys, new_approver
from research_to_prod.promotion.record import Draft, Policy
from research_to_prod.values import canonical_json, digest, sha256_hex

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
TWO = ApprovalRule(people=2, valid_for=timedelta(days=3), why="A rule of two people, for these tests only.")
ONE = TWO.model_copy(update={"people": 1})


@dataclass
class People:
    """Everybody's own key, and the public keys that the desk trusts."""

    folder: Path
    trusted: dict

    def key(self, person: str, name: str | None = None, since: datetime = NOW - HOUR, **changes) -> Keys:
        made = new_approver(self.folder / f"{name or person}.key", person, since)
        self.trusted |= {known: entry.model_copy(update=changes) for known, entry in made.public.items()}
        return made

    @property
    def keys(self) -> Keys:
        return Keys(self.trusted)


@pytest.fixture
def people(tmp_path):
    return People(tmp_path, {})


@pytest.fixture
def decision(draft) -> Draft:
    return draft(1, author="user:ann", from_stage="canary", to_stage="live", recorded_at=NOW)


@pytest.fixture
def asked(decision):
    return ask(decision, TWO, NOW)


def obstacles(asked, envelopes, people, rule=TWO, author="user:ann", now=NOW + HOUR):
    return approval_obstacles(asked.request, envelopes, people.keys, rule, author, now)


def told(*args, **kwargs):
    return "; ".join(obstacles(*args, **kwargs))


def test_two_people_who_are_not_the_author_approve(asked, people):
    envelopes = [approve(asked, people.key(who), NOW + HOUR) for who in ("user:bob", "user:eve")]
    assert obstacles(asked, envelopes, people) == []
    judged = judge(asked.request, envelopes, people.keys, NOW + HOUR)
    assert [each.person for each in judged.approvals] == ["user:bob", "user:eve"]
    assert judged.refused == ()


def test_one_of_two_is_not_enough_and_none_is_said_to_be_missing_two(asked, people):
    assert told(asked, [], people) == "waiting for approval of 2 more of 2 people who are not user:ann"
    envelope = approve(asked, people.key("user:bob"), NOW)
    assert told(asked, [envelope], people).endswith("1 more of 2 people who are not user:ann (user:bob approved)")


def test_a_rule_of_nobody_asks_nobody(decision, people):
    nobody = TWO.model_copy(update={"people": 0})
    assert obstacles(ask(decision, nobody, NOW), [], people, nobody) == []


@pytest.mark.parametrize("spelled", ["user:ann", "ann", "user:Ann"])
def test_nobody_approves_their_own_work(asked, people, spelled):
    envelope = approve(asked, people.key(spelled, "own"), NOW)
    assert "is the author" in told(asked, [envelope], people, ONE)


def test_the_same_key_twice_is_one_person(asked, people):
    bob = people.key("user:bob")
    envelopes = [approve(asked, bob, NOW), approve(asked, bob, NOW), approve(asked, bob, NOW + HOUR)]
    assert "1 more of 2" in told(asked, envelopes, people)


def test_two_keys_of_one_person_are_one_person(asked, people):
    envelopes = [approve(asked, people.key("user:bob", name), NOW) for name in ("at work", "at home")]
    assert "1 more of 2" in told(asked, envelopes, people)


def test_an_author_who_is_a_team_cannot_be_told_from_the_approvers(draft, people):
    asked = ask(draft(1, author="team:research", recorded_at=NOW), ONE, NOW)
    envelope = approve(asked, people.key("user:bob"), NOW)
    assert "name a person" in told(asked, [envelope], people, ONE, author="team:research")


def test_an_expired_approval_does_not_count(asked, people):
    envelopes = [approve(asked, people.key(who), NOW) for who in ("user:bob", "user:eve")]
    ends = asked.request.expires_at
    assert obstacles(asked, envelopes, people, now=ends - timedelta(milliseconds=1)) == []
    assert "expired at" in told(asked, envelopes, people, now=ends)


def test_an_expired_request_is_not_signed(asked, people):
    expired = r"^the request expired at 2026-01-05 .*: decide again, which asks again$"
    with pytest.raises(ApprovalError, match=expired):
        approve(asked, people.key("user:bob"), asked.request.expires_at)


def test_a_clock_set_back_is_noticed_on_either_side(asked, people):
    bob = people.key("user:bob")
    with pytest.raises(ApprovalError, match="clock set back"):
        approve(asked, bob, NOW - timedelta(milliseconds=1))
    envelope = approve(asked, bob, NOW + 2 * HOUR)
    assert "after 2026-01-02 01:00:00+00:00: was the clock set back?" in told(asked, [envelope], people, ONE)
    assert "the request is of" in told(asked, [envelope], people, ONE, now=NOW - HOUR)


def test_an_approval_of_another_decision_does_not_count(asked, decision, people):
    bob = people.key("user:bob")
    other_limits = decision.limits.model_copy(update={"capital": "900000"})
    for changes in ({"decision_id": "another"}, {"limits": other_limits}, {"candidate_sha256": digest("edited")}):
        other = ask(Draft.model_validate(dict(decision) | changes), TWO, NOW)
        assert "it approves another request, with another" in told(asked, [approve(other, bob, NOW)], people, ONE)
        assert "decision_sha256" in told(asked, [approve(other, bob, NOW)], people, ONE)


def test_the_moment_and_the_run_that_record_a_decision_are_not_part_of_what_is_approved(decision):
    later = {"recorded_at": NOW + HOUR, "dagster": {"run_id": "run-9"}}
    assert Draft.model_validate(dict(decision) | later).decision_digest() == decision.decision_digest()


def test_a_key_of_another_role_or_unknown_or_not_valid_then_or_now_does_not_count(asked, people, keys, tmp_path):
    def refusal(key, **kwargs):
        return told(asked, [approve(asked, key, NOW)], people, ONE, **kwargs)

    assert "not among the trusted keys" in refusal(new_approver(tmp_path / "stranger.key", "user:bob", NOW))
    people.trusted |= keys.public
    assert "is a key of the log, not of the approver" in refusal(keys)
    assert "is a key of the witness" in refusal(people.key("user:wes", role="witness"))
    assert "is valid from" in refusal(people.key("user:new", since=NOW + HOUR))
    assert "is valid until" in refusal(people.key("user:old", valid_to=NOW))
    revoked = people.key("user:gone", valid_to=NOW + HOUR)
    assert refusal(revoked, now=NOW + HOUR - timedelta(milliseconds=1)) == ""
    assert "is valid until" in refusal(revoked), "revoked between signing and recording"


def test_an_altered_envelope_does_not_count(asked, people):
    signed = json.loads(approve(asked, people.key("user:bob"), NOW))
    payload = base64.b64decode(signed["payload"])

    def refusal(**changes):
        return told(asked, [json.dumps(signed | changes).encode()], people, ONE)

    later = payload.replace(b'"signed_at":"2026-01-02T00', b'"signed_at":"2026-01-02T01')
    assert later != payload
    assert refusal() == ""
    assert "not of these bytes" in refusal(payload=base64.b64encode(later).decode())
    assert "not in canonical form" in refusal(payload=base64.b64encode(payload + b" ").decode())
    assert "its type is text/plain" in refusal(payloadType="text/plain")
    assert "signatures" in refusal(signatures=[])
    assert "signatures" in refusal(signatures=signed["signatures"] * 2)
    assert "not an approval" in refusal(override=True)
    assert "not an approval" in refusal(payload="no base64")
    assert "not an approval" in told(asked, [b"", b"[]", b"\xff"], people, ONE)


def test_what_does_not_count_is_named_by_its_hash_with_every_reason(asked, people):
    late = approve(asked, people.key("user:ann"), NOW + 2 * HOUR)
    name = f"envelope {sha256_hex(late)[:12]}"
    after = "2026-01-02 02:00:00+00:00, which is after 2026-01-02 01:00:00+00:00: was the clock set back?"
    refused = judge(asked.request, [late, b"rubbish", late], people.keys, NOW + HOUR).refused
    assert refused[:2] == (
        f"{name} does not count: user:ann is the author, and nobody approves their own work",
        f"{name} does not count: it is signed at {after}",
    )
    assert refused[2].startswith(f"envelope {sha256_hex(b'rubbish')[:12]} is not an approval: ")
    assert len(refused) == 3


def test_an_approval_counts_that_was_signed_from_the_request_on_until_just_before_its_end(asked, people, monkeypatch):
    monkeypatch.setattr("research_to_prod.promotion.approvals._untimely", lambda *_: [])
    bob, opens, ends = people.key("user:bob"), asked.request.requested_at, asked.request.expires_at
    millisecond = timedelta(milliseconds=1)
    for moment, counts in ((opens - millisecond, False), (opens, True), (ends - millisecond, True), (ends, False)):
        envelope = approve(asked, bob, moment)
        judged = judge(asked.request, [envelope], people.keys, ends)
        said = f"it is signed at {moment}, the request is open from {opens} until {ends}"
        told = () if counts else (f"envelope {sha256_hex(envelope)[:12]} does not count: {said}",)
        assert (len(judged.approvals), judged.refused) == (counts, told)


def test_an_envelope_is_written_for_people_too(asked, people):
    envelope = approve(asked, people.key("user:bob"), NOW)
    assert envelope == json.dumps(json.loads(envelope), indent=2).encode() + b"\n"


def test_those_who_approved_are_named(asked, people):
    three = TWO.model_copy(update={"people": 3})
    envelopes = [approve(asked, people.key(who), NOW) for who in ("user:eve", "user:bob")]
    assert obstacles(asked, envelopes, people, three)[-1] == (
        "waiting for approval of 1 more of 3 people who are not user:ann (user:bob, user:eve approved)"
    )


def test_what_does_not_count_does_not_stand_in_the_way_of_what_does(asked, people):
    envelopes = [b"rubbish", *(approve(asked, people.key(who), NOW) for who in ("user:bob", "user:eve"))]
    assert obstacles(asked, envelopes, people) == []


def test_a_request_that_asks_for_less_than_the_policy_is_refused(decision, people):
    weak, long = ask(decision, ONE, NOW), ask(decision, TWO.model_copy(update={"valid_for": timedelta(days=30)}), NOW)
    envelopes = [approve(weak, people.key(who), NOW) for who in ("user:bob", "user:eve")]
    assert obstacles(weak, envelopes, people) == ["the request asks for 1 people, the policy for 2: ask again"]
    assert "open for longer than the policy's 3 days" in told(long, [], people)
    assert "names user:ann as the author, who is user:zoe" in told(weak, [], people, author="user:zoe")


def test_a_request_whose_decision_was_altered_is_not_read(asked):
    data = asked.canonical_bytes()
    assert read_asked(data) == asked
    for before, after in ((b'"capital":"250000"', b'"capital":"950000"'), (b'"value":"0.97"', b'"value":"0.99"')):
        assert before in data
        with pytest.raises(ApprovalError, match="differ in decision_sha256"):
            read_asked(data.replace(before, after))
    with pytest.raises(ApprovalError, match="differ in author"):
        read_asked(data.replace(b'"author":"user:ann"', b'"author":"user:eve"', 1))


def test_everything_in_which_a_request_is_not_about_its_decision_is_named(asked):
    other = {
        "decision_id": "another", "candidate": "another", "candidate_sha256": digest("another"), "from_stage": "paper",
        "to_stage": "canary", "policy": Policy(id="another", sha256=digest("another")), "author": "user:zoe",
        "decision_sha256": digest("another"),
    }  # fmt: skip
    for names in (*([name] for name in other), list(other)):
        request = asked.request.model_copy(update={name: other[name] for name in names})
        said = f"Value error, the request and the decision in it differ in {', '.join(names)} "
        with pytest.raises(ValueError, match=said):
            Asked(request=request, decision=asked.decision)


@pytest.mark.parametrize("name", ["../../.ssh/authorized_keys", "/etc/cron.d/x", "*", "Momentum", "a b", "a\x1b[2J"])
def test_a_request_whose_candidate_could_not_name_a_file_is_not_read(draft, name):
    """The answer is written beside the request under that name, on the approver's own machine."""
    with pytest.raises(ApprovalError, match="is no name of a candidate or a policy"):
        read_asked(ask(draft(1, candidate=name), TWO, NOW).canonical_bytes())


def test_only_promotions_are_approved(draft):
    refusal = draft(1, type="reject", reasons=["overfitted"])
    with pytest.raises(ValueError, match="Value error, only promotions and changes of policies are approved "):
        ask(refusal, TWO, NOW)


def test_an_envelope_is_one_that_securesystemslib_verifies(asked, people):
    bob = people.key("user:bob")
    envelope = Envelope.from_dict(json.loads(approve(asked, bob, NOW)))
    (public,) = bob.public.values()
    key = SSlibKey(bob.signer_id, "ed25519", "ed25519", {"public": public.raw().hex()})
    assert list(envelope.verify([key], threshold=1)) == [bob.signer_id]


def test_an_envelope_that_securesystemslib_signed_counts(asked, people, tmp_path):
    bob = people.key("user:bob")
    signer = CryptoSigner.from_priv_key_uri(
        f"file2:{tmp_path / 'user:bob.key'}",
        SSlibKey(bob.signer_id, "ed25519", "ed25519", {"public": next(iter(bob.public.values())).raw().hex()}),
    )
    statement = Statement(**dict(asked.request), signed_at=NOW)
    envelope = Envelope(canonical_json(statement.model_dump(mode="json")), STATEMENT_TYPE, {})
    envelope.sign(signer)
    assert obstacles(asked, [json.dumps(envelope.to_dict()).encode()], people, ONE) == []


@given(
    answers=st.lists(
        st.tuples(st.sampled_from(["ann", "bob", "eve", "zoe"]), st.sampled_from(["good", "late", "other", "broken"])),
        max_size=6,
    ),
    needed=st.integers(min_value=0, max_value=3),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_approved_exactly_when_enough_other_people_gave_a_good_answer(decision, crowd, answers, needed):
    people, held = crowd
    rule = TWO.model_copy(update={"people": needed})
    asked = ask(decision, rule, NOW)
    other = ask(decision.model_copy(update={"decision_id": "other"}), rule, NOW)
    make = {
        "good": lambda key: approve(asked, key, NOW),
        "late": lambda key: approve(asked, key, NOW + 2 * HOUR),
        "other": lambda key: approve(other, key, NOW),
        "broken": lambda key: approve(asked, key, NOW).replace(b'"sig": "', b'"sig": "AAAA'),
    }
    envelopes = [make[kind](held[person]) for person, kind in answers]
    good = {person for person, kind in answers if kind == "good"} - {"ann"}
    assert (obstacles(asked, envelopes, people, rule) == []) is (len(good) >= needed)


@pytest.fixture
def crowd(people):
    return people, {name: people.key(f"user:{name}") for name in ("ann", "bob", "eve", "zoe")}
