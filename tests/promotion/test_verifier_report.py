"""What the verifier says of an export as a whole, and how it answers from the command line, word for word."""

from __future__ import annotations

import base64
import json
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from research_to_prod.promotion import verifier
from research_to_prod.promotion.verifier import CUT_OFF, MADE_UP, RECORDS, REWRITTEN, Report, main, sha256, verify
from tests.promotion.book import ID, KEYS, PUBLIC, START, Book, at

CHECKED = (
    "{} records are canonical and of the known form, without unknown fields",
    "each carries the hash of the one before it, belongs to this log, and has a checkpoint with the tree's root",
    "the newest checkpoint is signed by a trusted key of the log, and so vouches for all records",
    "sequence numbers have no gap, times never go back, no decision appears twice",
    "every blob that a record names is there with the content that its hash says",
    "each promotion has its checks and gating gates passed, none reuses the evidence of another",
    "each transition is legal and starts where its candidate stood",
    "each approval is signed by the key of another person than the author, for this decision, and had not expired",
)
ALWAYS = (
    "whether the recorded times were the true times",
    "whether inputs, checks and gates were as recorded: that is for the lake to show (replay)",
)


def checked(size: int) -> tuple[str, ...]:
    return tuple(each.format(size) for each in CHECKED)


def blind(since: str, unapproved: int) -> tuple[str, ...]:
    made_up = (f"{unapproved} promotions carry no approval: {MADE_UP}, cannot be seen",) * bool(unapproved)
    unseen = (f"{since}: {REWRITTEN}, cannot be seen", f"{since}: {CUT_OFF}, cannot be seen") * bool(since)
    return (*unseen, *made_up, *ALWAYS)


@pytest.fixture
def book() -> Book:
    """Three records: a promotion, one that was approved, a refusal."""
    made = Book()
    made.write(made.promotion(0))
    made.write(made.approved(made.promotion(1), "ben"))
    made.write(made.promotion(2, type="reject", reasons=["weak"]))
    return made


def note_of(book: Book, size: int) -> bytes:
    return book.files[f"{verifier.CHECKPOINTS}{size:08d}"]


def root_of(book: Book) -> str:
    return base64.b64encode(book.log.tree.root()).decode()


def test_an_honest_export_is_reported_with_all_that_was_checked_and_all_that_could_not_be(book: Book) -> None:
    assert book.check() == Report(3, root_of(book), 0, (), checked(3), blind("no witness", 1))


def test_a_witness_narrows_what_cannot_be_seen_and_is_named_when_it_signed(book: Book) -> None:
    seen = "records 0 to 1 are those that the witness saw"
    half = book.check(note_of(book, 2))
    assert half == Report(3, root_of(book), 2, (), (*checked(3), seen), blind("records 2 to 2 are not witnessed", 1))
    whole = book.check(note_of(book, 3))
    assert (whole.witnessed, whole.not_checked) == (3, blind("", 1))
    text = verifier.checkpoint_text(book.log.origin, 3, book.log.tree.root())
    cosigned = note_of(book, 3) + book.cosignature(text, 1767225600)
    assert book.check(cosigned).checked[-1] == ("records 0 to 2 are those that the witness saw, cosigned by user:wes")


def test_two_witnesses_are_both_named(book: Book) -> None:
    text = verifier.checkpoint_text(book.log.origin, 3, book.log.tree.root())
    twice = book.cosignature(text, 1767225600) + book.cosignature(text, 1767225600, "second.example")
    assert book.check(note_of(book, 3) + twice).checked[-1].endswith(", cosigned by user:wes, user:wes")


def test_where_all_is_approved_and_witnessed_only_what_the_lake_must_show_is_left() -> None:
    book = Book()
    book.write(book.approved(book.promotion(0), "ben"))
    book.write(book.promotion(1, type="reject", reasons=["weak"]))
    assert book.check(note_of(book, 2)).not_checked == ALWAYS
    assert book.check().not_checked == blind("no witness", 0)


def test_what_the_log_notes_stands_first_in_what_was_not_checked(book: Book) -> None:
    public = b"k" * 32
    key = {"algorithm": "ed25519", "public_key": base64.b64encode(public).decode(), "role": "log", "valid_from": START}
    book.write(book.change("key_change", 3, key_id=sha256(public), key=key))
    assert book.check().not_checked[0] == (f"record 3 names key {sha256(public)}, which is not among the trusted keys")


def test_the_first_line_that_does_not_verify_ends_the_reading(book: Book) -> None:
    lines = book.files[RECORDS].splitlines()
    book.files[RECORDS] = b"\n".join([lines[0], lines[1].replace(b'"seq":1', b'"seq":7'), b"rubbish"]) + b"\n"
    found = book.check()
    assert found.problems == ("line 2 does not verify: seq is 7, expected 1",)
    assert (found.records, found.witnessed, found.checked) == (1, 0, ())
    both = book.check(note_of(book, 3))
    assert both.problems == (*found.problems, "of the 3 records that the witness saw, 1 verify here")
    assert book.check(note_of(book, 1)).problems == found.problems
    assert book.check(note_of(book, 1)).witnessed == 0, "nothing is witnessed where something is wrong"
    book.files[RECORDS] = lines[0].replace(b'"seq":0', b'"seq":7').replace(b'"author":"user:ann"', b'"author":"bob"')
    assert book.check().problems[0].startswith("line 1 does not verify: seq is 7, expected 0; it belongs to log ")


def test_every_record_has_its_checkpoint_and_no_checkpoint_is_beyond_them(book: Book) -> None:
    second = f"{verifier.CHECKPOINTS}00000002"
    kept = book.files.pop(second)
    assert book.check().problems == ("line 2 does not verify: there is no checkpoint after it (checkpoints/00000002)",)
    book.files[second] = note_of(book, 1)
    assert book.check().problems == ("line 2 does not verify: checkpoints/00000002 is of other records than these",)
    book.files[second] = kept
    book.files |= {f"{verifier.CHECKPOINTS}{size:08d}": kept for size in (9, 4)}
    assert book.check().problems == ("a checkpoint of 9 records is there, and only 3 records: it was cut off",)


def test_only_the_newest_checkpoint_s_signature_is_read_and_it_must_be_the_log_s(book: Book) -> None:
    for size in (1, 3):
        name = f"{verifier.CHECKPOINTS}{size:08d}"
        kept = book.files[name]
        book.files[name] = kept[: kept.index(b"\n\n") + 2] + "— somebody AAAAAAAA\n".encode()
        told = ("the newest checkpoint: it is not signed by a trusted key of the log",) * (size == 3)
        assert book.check().problems == told
        book.files[name] = kept[: kept.index(b"\n\n") + 2]
        told = ("the newest checkpoint: it is not a signed checkpoint of a promotion ledger",) * (size == 3)
        assert book.check().problems == told
        book.files[name] = kept
    ended = KEYS | {ID["log"]: KEYS[ID["log"]]._replace(valid_to=at(2))}
    assert book.check(keys=ended).problems == (
        f"the newest checkpoint: key {ID['log']} is valid from {START} until {at(2)}, not at {at(2)}",
    )


def test_a_key_that_the_log_ended_signs_no_later_checkpoint_and_no_witness_s(book: Book) -> None:
    key = {"algorithm": "ed25519", "public_key": base64.b64encode(PUBLIC["log"]).decode(), "role": "log"}
    ended = key | {"valid_from": START, "valid_to": at(3)}
    book.write(book.change("key_change", 3, key_id=ID["log"], key=ended))
    told = f"key {ID['log']} is valid from {START} until {at(3)}, not at {at(3)}"
    assert book.check(note_of(book, 4)).problems == (
        f"the newest checkpoint: {told}", f"the witness's checkpoint: {told}"
    )  # fmt: skip


def test_a_log_that_was_cut_off_or_forked_is_told_from_what_the_witness_saw(book: Book) -> None:
    other = Book()
    for number in range(4):
        other.write(other.promotion(number, n_trials=7))
    assert book.check(note_of(other, 4)).problems == ("truncated: the witness saw 4 records, here are 3",)
    forked = "forked: the first {} records are not those that the witness saw"
    assert book.check(note_of(other, 2)).problems == (forked.format(2),)
    # The same log by name, with another second record.
    fork = Book()
    fork.write(fork.promotion(0))
    for number in (1, 2, 3):
        fork.write(fork.promotion(number, n_trials=7))
    assert fork.log.origin == book.log.origin
    assert book.check(note_of(fork, 1)).problems == ()
    assert book.check(note_of(fork, 3)).problems == (forked.format(3),)


def test_a_witness_s_file_that_is_none_or_that_nobody_signed_proves_nothing(book: Book) -> None:
    note = note_of(book, 3)
    unsigned = note[: note.index(b"\n\n") + 2] + "— somebody AAAAAAAA\n".encode()
    assert book.check(unsigned).problems == ("the witness's checkpoint: it is not signed by a trusted key of the log",)
    with pytest.raises(ValueError, match=r"^not a signed checkpoint of a promotion ledger$"):
        book.check(b"")


def test_a_witness_that_saw_no_record_proves_nothing_and_hides_nothing(book: Book) -> None:
    text = verifier.checkpoint_text(book.log.origin, 0, verifier.Tree().root())
    nothing = text + b"\n" + book.signature("log", text)
    assert book.check(nothing) == book.check()
    whole = note_of(book, 3)
    book.files[RECORDS] = b"rubbish\n"
    rubbish = "line 1 does not verify: it is not JSON: Expecting value: line 1 column 1 (char 0)"
    cut_off = "a checkpoint of 3 records is there, and only 1 records: it was cut off"
    assert book.check(nothing).problems == book.check().problems == (rubbish, cut_off)
    assert book.check(note_of(book, 1)).problems[2:] == ("of the 1 records that the witness saw, 0 verify here",)
    assert book.check(whole).problems[2:] == ("truncated: the witness saw 3 records, here are 1",)


def test_the_bytes_of_a_log_end_with_a_line_and_hold_no_empty_one(book: Book) -> None:
    whole = book.files[RECORDS]
    book.files[RECORDS] = whole.removesuffix(b"\n")
    assert book.check().problems == ()
    book.files[RECORDS] = whole + b"\n"
    assert book.check().problems == (
        "line 4 does not verify: it is not JSON: Expecting value: line 1 column 1 (char 0)",
    )


def test_of_an_export_without_records_nothing_is_said_to_be_checked() -> None:
    empty = Book()
    root = base64.b64encode(bytes.fromhex(sha256(b""))).decode()
    assert empty.check() == Report(0, root, 0, (), (), ALWAYS)
    del empty.files[RECORDS]
    assert empty.check() == Report(0, root, 0, (), (), ALWAYS)
    empty.files[f"{verifier.CHECKPOINTS}00000001"] = b""
    assert empty.check().problems == ("a checkpoint of 1 records is there, and only 0 records: it was cut off",)


def test_the_report_for_people_says_first_whether_the_ledger_holds_and_how_far_it_is_witnessed() -> None:
    fine = Report(3, "cm9vdA==", 2, (), ("each line",), ("the times",))
    assert fine.text() == (
        "The ledger of 3 records holds. Root: cm9vdA==\n"
        "Witnessed up to record 1, 1 records unwitnessed.\n"
        "checked: each line\n"
        "not checked: the times\n"
    )
    wrong = Report(2, "cm9vdA==", 0, ("line 2 was edited",), (), ())
    assert wrong.text() == (
        "The ledger of 2 records DOES NOT HOLD. Root: cm9vdA==\n"
        "Not witnessed, 2 records unwitnessed.\n"
        "problem: line 2 was edited\n"
    )
    assert Report(1, "", 3, ("cut off",), (), ()).text().splitlines()[1].endswith(", 0 records unwitnessed.")


def keys_file(folder: Path) -> Path:
    entries = {
        name: {"algorithm": "ed25519", "public_key": base64.b64encode(key.public).decode(), "role": key.role}
        | ({"person": key.person} if key.person else {}) | {"valid_from": key.valid_from}
        for name, key in KEYS.items()
    }  # fmt: skip
    path = folder / "keys.json"
    path.write_text(json.dumps({"keys": entries}))
    return path


def in_folder(book: Book, folder: Path) -> Path:
    for name, content in book.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def in_zip(book: Book, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in book.files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("store", [in_folder, in_zip])
def test_an_export_verifies_as_a_folder_and_as_a_zip(book: Book, tmp_path: Path, store: object) -> None:
    assert callable(store)
    keys, witness = keys_file(tmp_path), tmp_path / "witness"
    witness.write_bytes(note_of(book, 2))
    expected = book.check(), book.check(note_of(book, 2))
    # What else lies there is of no concern.
    book.files |= {"checkpoints/notes": b"", "checkpoints/1.bak": b"", "other/00000009": b""}
    export = store(book, tmp_path / "export")
    assert (verify(export, keys), verify(export, keys, witness)) == expected


@pytest.mark.parametrize("store", [in_folder, in_zip])
def test_a_file_that_is_missing_is_missing_in_a_folder_and_in_a_zip(book: Book, tmp_path: Path, store: object) -> None:
    assert callable(store)
    keys = keys_file(tmp_path)
    del book.files[f"{verifier.CHECKPOINTS}00000002"]
    assert verify(store(book, tmp_path / "export"), keys).problems == (
        "line 2 does not verify: there is no checkpoint after it (checkpoints/00000002)",
    )
    book.files = {f"{verifier.CHECKPOINTS}00000005": b""}
    assert verify(store(book, tmp_path / "another"), keys).problems == (
        "a checkpoint of 5 records is there, and only 0 records: it was cut off",
    )
    book.files = {"README": b""}
    with pytest.raises(ValueError, match=r"nothing has no records\.jsonl, or nothing in it$"):
        verify(store(book, tmp_path / "nothing"), keys)


def test_a_zip_with_two_files_of_one_name_is_no_export(book: Book, tmp_path: Path) -> None:
    path = in_zip(book, tmp_path / "export.zip")
    for name in (RECORDS, "checkpoints/00000001"):
        with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, b"")
    with pytest.raises(ValueError, match=rf"^{path} has more than one file named records\.jsonl$"):
        verify(path, keys_file(tmp_path))


def test_the_command_answers_with_its_report_and_its_exit_code(
    book: Book, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, keys, witness = in_folder(book, tmp_path / "export"), keys_file(tmp_path), tmp_path / "witness"
    witness.write_bytes(note_of(book, 2))
    given = [str(export), "--keys", str(keys)]
    assert main(given) == 0
    assert capsys.readouterr().out == book.check().text()
    assert main([*given, "--witness", str(witness), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith('{\n  "records": 3,\n  "root": ')
    assert out.endswith("\n}\n")
    assert {**json.loads(out)} == {
        name: list(each) if isinstance(each, tuple) else each
        for name, each in vars(book.check(note_of(book, 2))).items()
    }
    (export / RECORDS).write_bytes(b"rubbish\n")
    assert main(given) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["folder", "keys", "zip"])
def test_the_command_says_why_nothing_was_verified(
    book: Book, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    export, keys = in_folder(book, tmp_path / "export"), keys_file(tmp_path)
    if what == "folder":
        export = tmp_path / "nowhere"
        says = f"[Errno 2] No such file or directory: '{export}'"
    elif what == "keys":
        keys.write_text("[]")
        says = "not a file of public keys"
    else:
        export = tmp_path / "text"
        export.write_text("no zip")
        says = "File is not a zip file"
    assert main([str(export), "--keys", str(keys)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"nothing was verified: {says}\n")


def test_what_an_export_says_does_not_steer_the_auditor_s_terminal(
    book: Book, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_file(tmp_path)
    for mode in ("w", "a"):
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "a\x1b[2Jb", mode) as archive:
            archive.writestr(RECORDS, b"")
    assert main([str(tmp_path / "a\x1b[2Jb"), "--keys", str(keys)]) == 2
    assert f"{tmp_path}/a\ufffd[2Jb has more than one file" in capsys.readouterr().err
    told = replace(book.check(), problems=("a\x1b[2Jb",))
    monkeypatch.setattr(verifier, "verify", lambda *_: told)
    assert main([str(tmp_path), "--keys", str(keys)]) == 1
    assert capsys.readouterr().out == told.text().replace("\x1b", "\ufffd")


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(
        "usage: verifier [-h] --keys KEYS [--witness WITNESS] [--json] export "
        "Verify an exported promotion ledger, offline. positional arguments: "
        "export folder or zip of `r2p ledger export` options: "
    )
    for option in (
        "--keys KEYS trusted public keys, not from the export",
        "--witness WITNESS a checkpoint that was kept outside",
        "--json print the report as JSON",
    ):
        assert option in shown
    with pytest.raises(SystemExit):
        main(["export"])
    assert "the following arguments are required: --keys" in capsys.readouterr().err


def test_the_command_reads_its_own_arguments_when_it_is_given_none(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export, keys = in_folder(book, tmp_path / "export"), keys_file(tmp_path)
    monkeypatch.setattr("sys.argv", ["verifier.py", str(export), "--keys", str(keys)])
    assert main() == 0
    assert capsys.readouterr().out.startswith("The ledger of 3 records holds.")
