"""The attacks on a log: what its verifier sees, alone, with approvals, with a witness; and the ledger never sees less.

A chain alone sees only naive edits; an attacker who chains again needs the log's key; one who has it, or who cuts off
the end, is seen only by someone outside who kept a checkpoint, or by people whose keys he does not have.
"""

import json
import os
from dataclasses import replace

import pytest

from benchmarks import ledger_attacks as attacks
from benchmarks.ledger_attacks import ATTACKS, SIZE, Export
from research_to_prod.promotion import verifier
from research_to_prod.promotion.blobs import Blobs
from research_to_prod.promotion.keys import Keys, open_keys
from research_to_prod.promotion.ledger import Ledger, LedgerError

# By attack: seen by the ledger alone, with approvals, with a witness. With both, every attack is seen.
SEEN = {
    "edit": (True, True, True),
    "delete": (True, True, True),
    "edit, chain and sign again": (False, True, True),
    "delete, chain and sign again": (False, False, True),
    "reorder, chain and sign again": (True, True, True),
    "cut off the tail": (True, True, True),
    "roll back to an older checkpoint": (False, False, True),
    "fork from record 12": (False, False, True),
    "replay under the same id": (True, True, True),
    "backdate, append": (True, True, True),
    "backdate, insert, chain and sign again": (False, False, True),
    "careful: reorder with swapped times": (False, False, True),
    "careful: insert, one fresh checkpoint kept": (True, True, True),
    "careful: replay under a fresh id, time and report": (False, True, False),
    "careful: a promotion made up, under a laxer policy": (False, True, False),
}


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    """A desk without and one with approvals; what is durable is tested elsewhere, and fsync is most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        folder = tmp_path_factory.mktemp("desks")
        yield {people: attacks.desk(folder / f"desk-{people}", people) for people in (0, 2)}


@pytest.fixture
def export(desks, tmp_path):
    return Export(desks[2], tmp_path / "export")


def ledger_problems(export):
    """What the package's own ledger says of an attacked log; None when it takes it for good."""
    try:
        Ledger(export.folder, export.desk.keys).records()
    except LedgerError as error:
        return str(error)
    return None


def test_an_honest_ledger_holds_and_says_how_far_it_is_witnessed(desks, tmp_path):
    for people, desk in desks.items():
        export = Export(desk, tmp_path / str(people))
        report = export.verify(witness=desk.checkpoint(17))
        assert report.problems == ()
        assert (report.records, report.witnessed) == (SIZE, 17)
        assert "Witnessed up to record 16, 3 records unwitnessed." in report.text()
        assert export.verify(witness=None).witnessed == 0


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_seen_where_it_can_be_and_with_witness_and_approvals_always(desks, tmp_path, name):
    found = {}
    for people, desk in desks.items():
        export = Export(desk, tmp_path / str(people))
        ATTACKS[name](export)
        alone, witnessed = (export.verify(witness=kept) for kept in (None, desk.checkpoint(SIZE)))
        found[people] = (bool(alone.problems), bool(witnessed.problems))
        # One source of rules: what the verifier refuses, the ledger neither reads nor adds to, in the same words.
        said = ledger_problems(export)
        assert said == (f"{export.folder / 'records.jsonl'}: " + "; ".join(alone.problems) if alone.problems else None)
    assert (found[0][0], found[2][0], found[0][1]) == SEEN[name]
    assert found[2][1], "with both"


def test_without_witness_or_approvals_the_report_names_the_attacks_that_it_cannot_see(desks, tmp_path):
    plain, approved = (Export(desks[people], tmp_path / str(people)) for people in (0, 2))
    blind = " ".join(plain.verify(witness=None).not_checked)
    assert all(each in blind for each in (verifier.REWRITTEN, verifier.CUT_OFF, verifier.MADE_UP))
    seen = " ".join(approved.verify(witness=approved.desk.checkpoint(SIZE)).not_checked)
    assert not any(each in seen for each in (verifier.REWRITTEN, verifier.CUT_OFF, verifier.MADE_UP))
    half = " ".join(approved.verify(witness=approved.desk.checkpoint(SIZE - 2)).not_checked)
    assert f"records {SIZE - 2} to {SIZE - 1} are not witnessed: {verifier.REWRITTEN}" in half


def test_the_page_of_the_attacks_is_the_table_of_this_file(desks):
    rows = [line for line in attacks.PAGE.read_text().splitlines() if line.startswith("| ")]
    page = {cells[1].strip(): cells[2:-1] for cells in (row.split("|") for row in rows)}
    for name, seen in SEEN.items():
        told = tuple("detected" in cell for cell in page[name])
        assert told == (*seen, True), name


MALFORMED = {
    "unknown field": lambda line: line.replace(b'"author":', b'"about":"x","author":'),
    "missing field": lambda line: line.replace(b'"author":"user:ann",', b""),
    "space": lambda line: line.replace(b'"seq":12', b'"seq": 12'),
    "other order": lambda line: b'{"v":2,' + line[1:].replace(b',"v":2}', b"}"),
    "repeated name": lambda line: line.replace(b'"author":', b'"author":"user:eve","author":'),
    "not a number": lambda line: line.replace(b'"n_trials":40', b'"n_trials":NaN'),
    "a float": lambda line: line.replace(b'"n_trials":40', b'"n_trials":40.0'),
    "a boolean for a number": lambda line: line.replace(b'"n_trials":40', b'"n_trials":true'),
    "too large a number": lambda line: line.replace(b'"n_trials":40', b'"n_trials":9007199254740993'),
    "null": lambda line: line.replace(b'"n_trials":40', b'"n_trials":null'),
    "another version": lambda line: line.replace(b'"v":2', b'"v":3'),
    "another type": lambda line: line.replace(b'"type":"promote"', b'"type":"policy"'),
    "a form's name as type": lambda line: line.replace(b'"type":"promote"', b'"type":"limits"'),
    "another zone": lambda line: line.replace(b'00:12:00.000Z"', b'00:12:00.000+00:00"'),
    "no such day": lambda line: line.replace(b'"recorded_at":"2026-01-01', b'"recorded_at":"2026-02-30'),
    "not UTF-8": lambda line: line.replace(b"user:ann", b"\xff\xff"),
    "lone surrogate": lambda line: line.replace(b"user:ann", b"\\ud800"),
    "escaped letter": lambda line: line.replace(b"user:ann", b"user:\\u0061nn"),
    "blank": lambda _: b"",
    "a list": lambda _: b"[]",
    "deep nesting": lambda _: b"[" * 100_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_line_in_another_form_is_refused_by_verifier_and_ledger(export, name):
    path = export.folder / "records.jsonl"
    lines = path.read_bytes().splitlines()
    spoiled = MALFORMED[name](lines[12])
    assert spoiled != lines[12]
    path.write_bytes(b"\n".join([*lines[:12], spoiled, *lines[13:]]) + b"\n")
    (problem,) = export.verify(witness=None).problems
    assert problem.startswith("line 13 does not verify: it is ")
    assert problem in (ledger_problems(export) or "")


def test_a_ledger_of_version_1_is_refused_in_so_many_words(export):
    path = export.folder / "records.jsonl"
    path.write_bytes(b'{"record":{"v":1},"signatures":[]}\n')
    assert "of version 1, from before the first release" in export.verify(witness=None).problems[0]


def promotion(export):
    return export.records()[12]


def resigned(export, **changes):
    """The insider writes the last promotion anew, with changes; None leaves a field out."""
    records = export.records()
    changed = {name: each for name, each in (records[19] | changes).items() if each is not None}
    export.rewrite([*records[:19], changed])
    return export.verify(witness=None).problems


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"from_stage": "paper", "to_stage": "live"}, "no promote leads c19 from paper to live"),
        ({"from_stage": "paper", "to_stage": "canary"}, "c19 is at research, not at paper"),
        ({"supersedes": "run-1:c1"}, "it supersedes run-1:c1, which is no earlier decision on c19"),
        ({"evidence_sha256": "0" * 64}, "its evidence, blob 000"),
        ({"gate_report_sha256": None}, "the gate report is missing"),
        ({"n_trials": None}, "the number of trials is missing"),
        ({"reasons": ["overfitted"]}, "its own contents refuse: overfitted"),
        ({"validator": "ann"}, "both its author and its validator"),
        ({"expires_at": "2026-01-01T00:19:00.000Z"}, "expired"),
        ({"type": "rollback", "reasons": ["x"]}, "names the trigger"),
        ({"approvals": []}, "is approved by 0 people"),
        ({"author": "user:Bea"}, "user:Bea approved their own decision"),
        ({"type": "key_change"}, "key_change has an unknown field"),
    ],
)
def test_a_record_signed_with_the_log_s_key_that_breaks_a_rule_is_refused(export, change, says):
    (problem,) = resigned(export, **change)
    assert says in problem
    assert problem.startswith("line 20 does not verify")
    assert problem in (ledger_problems(export) or "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda first, _: [first], "is approved by 1 people; its policy asks for 2"),
        (lambda first, _: [first, first], "one person approved twice"),
        (lambda first, second: [first, second | {"person": "user:dan"}], "not theirs among the trusted keys"),
        (lambda first, second: [first, second | {"key_id": "0" * 64}], "not theirs among the trusted keys"),
        (lambda first, second: [first, second | {"signed_at": "2025-12-31T00:00:00.000Z"}], "its key was not valid"),
        (lambda first, second: [first, second | {"signed_at": "2026-01-01T00:18:00.000Z"}], "or of another time"),
        (lambda first, second: [first, second | {"envelope_sha256": first["envelope_sha256"]}], "not signed by them"),
    ],
)
def test_approvals_that_are_not_of_two_other_people_for_this_decision_are_refused(export, change, says):
    (problem,) = resigned(export, approvals=change(*export.records()[19]["approvals"]))
    assert says in problem


def test_an_approval_that_has_expired_is_refused(export):
    (problem,) = resigned(export, recorded_at="2026-01-08T00:19:00.000Z")
    assert "holds from 2026-01-01T00:19:00.000Z to 2026-01-08T00:19:00.000Z" in problem


def test_altered_missing_or_swapped_evidence_is_refused(export):
    record = promotion(export)
    for name in ("evidence_sha256", "parameters_sha256", "gate_report_sha256"):
        path = export.folder / verifier.BLOBS / record[name][:2] / record[name]
        kept = path.read_bytes()
        path.write_bytes(kept.replace(b"2025-01", b"2025-02") + b" ")
        assert "another content than its name says" in export.verify(witness=None).problems[0]
        path.unlink()
        assert "is missing" in export.verify(witness=None).problems[0]
        path.write_bytes(kept)
    assert export.verify(witness=None).problems == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: e | {"inputs": []}, "no inputs are recorded"),
        (lambda e: e | {"checks": []}, "no checks are recorded"),
        (lambda e: e | {"gates": []}, "no gating gates are recorded"),
        (lambda e: e | {"gates": [e["gates"][0] | {"gating": False}]}, "no gating gates are recorded"),
        (lambda e: e | {"checks": [e["checks"][0] | {"passed": False}]}, "check matches_contract of candles[2025-01]"),
        (lambda e: e | {"checks": [e["checks"][0] | {"passed": 1}]}, "check matches_contract of candles[2025-01]"),
        (lambda e: e | {"gates": [e["gates"][0] | {"verdict": "inconclusive"}]}, "gate maximum_drawdown: inconclusive"),
        (lambda e: e["gates"], "is not of the known form"),
        (lambda _: {"gates": []}, "is not of the known form"),
        (lambda e: e | {"checks": ["passed"]}, "is not of the known form"),
    ],
)
def test_a_promotion_whose_evidence_does_not_promote_is_refused_whoever_signed_it(desks, tmp_path, change, says):
    export = Export(desks[0], tmp_path / "export")
    blobs = Blobs(export.folder)
    evidence = json.loads(blobs.read(export.records()[19]["evidence_sha256"]))
    (problem,) = resigned(export, evidence_sha256=blobs.write(verifier.canonical(change(evidence))))
    assert says in problem
    assert problem in (ledger_problems(export) or "")


def test_a_log_signed_again_with_another_key_is_refused(export, tmp_path):
    stranger = open_keys(tmp_path / "stranger", attacks.EPOCH)
    trusted = export.desk
    export.desk = replace(trusted, keys=Keys(trusted.keys.public, stranger._private))
    export.rewrite(export.records())
    (problem,) = export.verify(witness=None).problems
    assert "not signed by a trusted key of the log" in problem


def test_a_checkpoint_of_another_log_with_the_same_key_is_refused(export, desks, tmp_path):
    other = Export(export.desk, tmp_path / "other")
    records = other.records()
    other.rewrite([{**records[0], "reasons": ["another"], "type": "reject", "approvals": []}, *records[1:]])
    for size in (7, SIZE):
        path = export.folder / verifier.CHECKPOINTS / f"{size:08d}"
        kept = path.read_bytes()
        path.write_bytes((other.folder / verifier.CHECKPOINTS / path.name).read_bytes())
        assert f"checkpoints/{size:08d} is of other records" in export.verify(witness=None).problems[0]
        path.write_bytes(kept)
    seen = other.folder / verifier.CHECKPOINTS / "00000007"
    assert "forked" in export.verify(witness=seen.read_bytes()).problems[0]


def test_a_witness_s_file_that_nobody_signed_proves_nothing(export):
    note = export.desk.checkpoint(SIZE)
    body = note[: note.index(b"\n\n") + 2]
    (problem,) = export.verify(witness=body + "— somebody AAAAAAAA\n".encode()).problems
    assert "the witness's checkpoint: it is not signed by a trusted key of the log" in problem
    with pytest.raises(ValueError, match="not a signed checkpoint"):
        export.verify(witness=body)
    with pytest.raises(ValueError, match="not a signed checkpoint"):
        export.verify(witness=note.replace(b"\n20\n", b"\n020\n"))
