"""An export, and the verifier as an auditor runs it: one file, alone, without a network."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks import ledger_attacks as attacks
from research_to_prod.promotion import verifier
from research_to_prod.promotion.export import ExportError, export
from research_to_prod.promotion.keys import public_entries
from research_to_prod.promotion.ledger import Ledger

FOREIGN = ("dagster", "duckdb", "pandas", "pydantic", "research_to_prod")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield attacks.desk(tmp_path_factory.mktemp("desk"), people=2)


@pytest.fixture
def keys_file(desk, tmp_path):
    path = tmp_path / "keys.json"
    path.write_bytes(public_entries(desk.keys))
    return path


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_an_export_is_whole_and_verifies_from_its_files_alone(desk, keys_file, tmp_path, name):
    destination = tmp_path / "for the auditor" / name
    assert export(Ledger(desk.folder, desk.keys), destination) == attacks.SIZE
    report = verifier.verify(destination, keys_file)
    assert (report.problems, report.records) == ((), attacks.SIZE)
    assert [path.name for path in destination.parent.iterdir()] == [name]
    with pytest.raises(ExportError, match="is there already"):
        export(Ledger(desk.folder, desk.keys), destination)


def test_an_empty_ledger_is_not_exported(ledger, tmp_path):
    with pytest.raises(ExportError, match="nothing to export"):
        export(ledger, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_record_that_was_never_acknowledged_is_not_exported(ledger, draft, keys, tmp_path):
    ledger.append(draft(0))
    with ledger.path.open("ab") as stream:
        stream.write(b'{"approvals"')
    assert export(ledger, tmp_path / "export") == 1
    (tmp_path / "keys.json").write_bytes(public_entries(keys))
    assert verifier.verify(tmp_path / "export", tmp_path / "keys.json").problems == ()
    # The living folder itself is not an export: the verifier knows nothing of crashes.
    assert verifier.verify(ledger.path.parent, tmp_path / "keys.json").problems != ()


def test_a_zip_with_two_files_of_one_name_is_refused(desk, keys_file, tmp_path):
    path = tmp_path / "export.zip"
    export(Ledger(desk.folder, desk.keys), path)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(verifier.RECORDS, b"")
    with pytest.raises(ValueError, match="more than one file named records"):
        verifier.verify(path, keys_file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[]", "not a file of public keys"),
        (b'{"keys":{"a":{}}}', "has no algorithm"),
        (b'{"keys":', "Expecting value"),
        # The auditor's terminal is not the desk's.
        (b'{"keys":{"\\u001b[2J":{}}}', "key \ufffd[2J"),
    ],
)
def test_keys_that_are_none_verify_nothing(desk, tmp_path, capsys, content, says):
    (tmp_path / "keys.json").write_bytes(content)
    assert verifier.main([str(desk.folder), "--keys", str(tmp_path / "keys.json")]) == 2
    assert says in capsys.readouterr().err


def test_a_key_under_another_s_id_is_refused(desk):
    keys = json.loads(public_entries(desk.keys))
    first, second, *_ = keys["keys"]
    keys["keys"][first] = keys["keys"][second]
    with pytest.raises(ValueError, match="is not the id of its key"):
        verifier.parse_keys(json.dumps(keys).encode())


def test_a_missing_or_foreign_export_verifies_nothing(keys_file, tmp_path, capsys):
    (tmp_path / "text").write_text("no zip")
    for name in ("nowhere", "text"):
        assert verifier.main([str(tmp_path / name), "--keys", str(keys_file)]) == 2
        assert "nothing was verified" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert verifier.main([str(tmp_path / "empty"), "--keys", str(keys_file)]) == 2


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python that has cryptography and nothing else of ours: no dagster, no pydantic, not this package."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    import cffi
    import cryptography

    installed = Path(cryptography.__file__).parents[1]
    for name in ("cryptography", Path(cffi.__file__).parent.name, "pycparser"):
        if (installed / name).is_dir():
            shutil.copytree(installed / name, site / name)
    for binary in installed.glob("_cffi_backend*"):
        shutil.copy(binary, site)
    return folder / "bin" / "python"


@pytest.fixture(params=["as it is", "without network"])
def isolation(request):
    """What a command is started under: nothing, or a namespace without network where the kernel allows one."""
    if request.param == "as it is":
        return []
    isolated = ["unshare", "--user", "--map-root-user", "--net"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no network namespace may be made here (unshare -rn)")
    return isolated


@pytest.mark.slow
def test_the_verifier_runs_as_one_file_without_the_package(desk, bare_python, isolation, keys_file, tmp_path):
    export(Ledger(desk.folder, desk.keys), tmp_path / "export.zip")
    (tmp_path / "witness").write_bytes(desk.checkpoint(18))
    alone = tmp_path / "auditor" / "verifier.py"
    alone.parent.mkdir()
    shutil.copy(verifier.__file__, alone)
    probe = f"import importlib.util as u; assert not [n for n in {FOREIGN} if u.find_spec(n)]"
    subprocess.run([bare_python, "-I", "-c", probe], check=True)

    def run(*arguments):
        command = [str(bare_python), "-I", "-W", "error", str(alone), *arguments, "--keys", str(keys_file)]
        return subprocess.run([*isolation, *command], check=False, capture_output=True, text=True, cwd=tmp_path)

    done = run(str(tmp_path / "export.zip"), "--witness", str(tmp_path / "witness"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "The ledger of 20 records holds." in done.stdout
    assert "Witnessed up to record 17, 2 records unwitnessed." in done.stdout
    again = run(str(tmp_path / "export.zip"), "--witness", str(tmp_path / "witness"))
    assert again.stdout == done.stdout, "deterministic"

    spoiled = attacks.Export(desk, tmp_path / "spoiled")
    attacks.truncate(spoiled)
    done = run(str(spoiled.folder), "--witness", str(tmp_path / "witness"), "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["problems"] == ["truncated: the witness saw 18 records, here are 17"]
    assert set(report) == {"records", "root", "witnessed", "problems", "checked", "not_checked"}
