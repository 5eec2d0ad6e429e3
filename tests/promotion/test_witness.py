"""Checkpoints in the standard's form, witnesses that keep and cosign them, and what they notice."""

import base64
import io
import subprocess
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from research_to_prod.promotion import verifier
from research_to_prod.promotion.keys import KeyRole, Keys, PublicKey, key_id
from research_to_prod.promotion.merkle import consistency_proof, includes, inclusion_proof, root
from research_to_prod.promotion.witness import (
    FileTarget,
    GitTarget,
    S3Target,
    WitnessError,
    cosign,
    open_target,
    publish,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def appended(ledger, draft, numbers):
    for number in numbers:
        ledger.append(draft(number))


def test_a_signed_note_is_the_one_of_the_go_implementation():
    # The example of golang.org/x/mod/sumdb/note.
    public = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    text = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    raw = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert verifier.note_key_hash("PeterNeumann", 1, public) == raw[:4] == bytes.fromhex("c74f20a3")
    assert verifier.Key(public, "log", None, "", None).signed(raw[4:], text)


def test_a_checkpoint_is_three_lines_and_a_signature_over_the_root_of_all_records(ledger, draft):
    appended(ledger, draft, range(3))
    note = ledger.verify().checkpoint
    text, _, signature = note.partition(b"\n\n")
    origin, size, encoded = text.decode().split("\n")
    leaves = ledger.path.read_bytes().splitlines()
    assert origin == f"research-to-prod/ledger/{ledger.records()[0].log_id}"
    assert size == "3"
    assert base64.b64decode(encoded) == root(leaves)
    assert signature.decode().startswith(f"— {origin} ")
    assert includes(leaves[1], 1, 3, inclusion_proof(leaves, 1), base64.b64decode(encoded))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: note.replace(b"\n2\n", b"\n02\n"),
        lambda note: note.replace(b"\n2\n", b"\n-2\n"),
        lambda note: note.replace(b"\n2\n", b"\n2\nextension\n"),
        lambda note: note.replace(b"research-to-prod", b"somebody-else"),
        lambda note: note.replace("—".encode(), b"--"),
        lambda note: note + b"\n",
        lambda note: note[:-1],
        lambda note: note[: note.index(b"\n\n") + 2],
        lambda note: note * 1000,
    ],
)
def test_what_is_no_checkpoint_of_ours_is_refused(ledger, draft, spoil):
    appended(ledger, draft, range(2))
    note = ledger.checkpoint(2)
    verifier.parse_checkpoint(note)
    with pytest.raises(ValueError, match="not a signed checkpoint"):
        verifier.parse_checkpoint(spoil(note))


class Bucket:
    """The four calls of boto3's S3 client that a witness makes, over a dict, with its refusal to overwrite."""

    def __init__(self):
        self.objects = {}
        self.exceptions = SimpleNamespace(ClientError=RuntimeError)

    def get_paginator(self, name):
        assert name == "list_objects_v2"
        return self

    def paginate(self, Bucket, Prefix):  # noqa: N803 - boto3's names
        keys = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))
        return [{"Contents": [{"Key": key}]} for key in keys] or [{}]

    def get_object(self, Bucket, Key):  # noqa: N803
        return {"Body": io.BytesIO(self.objects[Bucket, Key])}

    def put_object(self, Bucket, Key, Body, IfNoneMatch):  # noqa: N803
        assert IfNoneMatch == "*"
        if (Bucket, Key) in self.objects:
            raise self.exceptions.ClientError("PreconditionFailed")
        self.objects[Bucket, Key] = Body


@pytest.fixture(params=["file", "git", "s3"])
def target(request, tmp_path):
    if request.param == "file":
        return FileTarget(tmp_path / "compliance" / "checkpoint")
    if request.param == "s3":
        return S3Target(Bucket(), "compliance", "desk-1")
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    return GitTarget(str(remote))


def test_a_target_keeps_the_newest_checkpoint_and_lets_the_log_go_on(ledger, draft, target):
    assert target.newest() is None
    for upto in (range(2), range(2, 3), range(3, 12)):
        appended(ledger, draft, upto)
        assert publish(ledger, target).size == upto.stop
        assert target.newest() == ledger.checkpoint(upto.stop)
    assert publish(ledger, target).size == 12


def test_a_log_that_was_cut_off_or_told_anew_is_an_alarm_and_the_target_keeps_what_it_saw(
    ledger, draft, keys, target, tmp_path
):
    appended(ledger, draft, range(3))
    publish(ledger, target)
    seen = target.newest()
    cut, told_anew = (type(ledger)(tmp_path / name, keys) for name in ("cut", "anew"))
    appended(cut, draft, range(2))
    appended(told_anew, draft, [0, 1, 3, 4])
    for other in (cut, told_anew):
        with pytest.raises(WitnessError, match="no continuation of the 3 that its witness saw"):
            publish(other, target)
    assert target.newest() == seen


def test_an_empty_ledger_has_nothing_to_witness(ledger, target):
    with pytest.raises(WitnessError, match="nothing to witness"):
        publish(ledger, target)


def test_a_tag_that_is_there_is_not_moved(ledger, draft, tmp_path):
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    target = GitTarget(str(remote))
    target.keep(b"one\n", 1)
    with pytest.raises(WitnessError, match="git push failed"):
        target.keep(b"another\n", 1)
    assert target.newest() == b"one\n"


def test_an_object_that_is_there_is_not_overwritten():
    target = S3Target(Bucket(), "compliance", "desk-1")
    target.keep(b"one", 1)
    with pytest.raises(WitnessError, match="s3://compliance/desk-1/00000001 cannot be written"):
        target.keep(b"another", 1)
    assert target.newest() == b"one"


def test_a_remote_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(WitnessError, match="git ls-remote failed"):
        GitTarget(str(tmp_path / "nowhere")).newest()


def test_targets_by_name(tmp_path):
    assert open_target("git:git@example.com:desk/witness.git") == GitTarget("git@example.com:desk/witness.git")
    assert open_target("/mnt/compliance/checkpoint") == FileTarget(tmp_path.__class__("/mnt/compliance/checkpoint"))
    with pytest.raises(WitnessError, match="s3://BUCKET/PREFIX"):
        open_target("s3://compliance")


@pytest.fixture
def witness(keys):
    """A witness's keys: its own private one, beside the public ones of the log."""
    private = Ed25519PrivateKey.generate()
    entry = PublicKey(
        public_key=base64.b64encode(private.public_key().public_bytes_raw()).decode(),
        role=KeyRole.WITNESS,
        person="compliance",
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Keys({**keys.public, key_id(private.public_key()): entry}, private)


def problems_of(note, keys, moment="2026-01-01T12:00:00.000Z"):
    from research_to_prod.promotion.keys import public_entries

    return verifier.signature_problems(
        verifier.parse_checkpoint(note), verifier.parse_keys(public_entries(keys)), moment
    )


def test_a_witness_cosigns_what_is_proven_to_contain_what_it_cosigned_before(ledger, draft, witness):
    appended(ledger, draft, range(7))
    leaves = ledger.path.read_bytes().splitlines()
    first = cosign(ledger.checkpoint(3), witness, "compliance.example", NOON)
    proof = consistency_proof(leaves, 3)
    second = cosign(ledger.checkpoint(7), witness, "compliance.example", NOON, seen=first, proof=proof)
    assert problems_of(second, witness) == ([], ["compliance"])
    assert second.startswith(ledger.checkpoint(7))
    for wrong in ([], proof[1:], consistency_proof(leaves, 4)):
        with pytest.raises(WitnessError, match="no proof that the 7 records only add to the 3"):
            cosign(ledger.checkpoint(7), witness, "compliance.example", NOON, seen=first, proof=wrong)


def test_a_cosignature_is_of_its_time_by_a_key_valid_then_and_of_this_checkpoint(ledger, draft, witness):
    appended(ledger, draft, range(2))
    note = cosign(ledger.checkpoint(2), witness, "compliance.example", NOON)
    other = note.replace(b"\n2\n", b"\n3\n")
    assert len(problems_of(other, witness)[0]) == 2
    early = cosign(ledger.checkpoint(2), witness, "compliance.example", datetime(2025, 1, 1, tzinfo=UTC))
    assert "not at 2025-01-01T00:00:00.000Z" in problems_of(early, witness)[0][0]


def test_signatures_of_unknown_keys_are_passed_over_but_are_no_signature(ledger, draft, witness, keys):
    appended(ledger, draft, range(2))
    note = cosign(ledger.checkpoint(2), witness, "compliance.example", NOON)
    assert problems_of(note, keys) == ([], [])
    body, _, lines = note.partition(b"\n\n")
    cosignature_alone = body + b"\n\n" + lines.splitlines(keepends=True)[1]
    assert problems_of(cosignature_alone, witness)[0] == ["it is not signed by a trusted key of the log"]


def test_a_key_of_the_log_that_is_no_longer_valid_signs_no_checkpoint(ledger, draft, keys):
    appended(ledger, draft, range(2))
    (name,) = keys.public
    ended = Keys({name: keys.public[name].model_copy(update={"valid_to": NOON})})
    assert problems_of(ledger.checkpoint(2), ended, "2026-01-01T11:59:59.999Z") == ([], [])
    assert "not at 2026-01-01T12:00:00.000Z" in problems_of(ledger.checkpoint(2), ended)[0][0]
