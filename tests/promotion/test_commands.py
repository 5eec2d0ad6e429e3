"""`r2p ledger` and `r2p verify`, as the desk and its auditor type them."""

import json

import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.promotion.keys import open_keys


@pytest.fixture
def r2p(tmp_path, monkeypatch, draft, ledger, keys):
    """The command line over a desk's data with two records."""
    data = tmp_path / "data"
    monkeypatch.setenv("R2P_DATA", str(data))
    monkeypatch.setenv("COLUMNS", "200")
    on_disk = type(ledger)(data / "ledger", open_keys(data / "keys", draft(0).recorded_at))
    for number in range(2):
        on_disk.append(draft(number))
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_ledger_is_listed_after_it_verified(r2p):
    shown = r2p("ledger")
    assert shown.exit_code == 0, shown.output
    assert "c0" in shown.output
    assert "The ledger of 2 records holds." in shown.output
    assert "not checked: no witness" in shown.output


def test_from_export_and_witness_to_the_auditor_s_verdict(r2p, tmp_path):
    keys, kept = tmp_path / "data" / "keys" / "keys.json", tmp_path / "compliance" / "checkpoint"
    assert "keeps the checkpoint of 2 records" in r2p("ledger", "witness", kept).output
    assert "2 records in" in r2p("ledger", "export", tmp_path / "export.zip").output
    listed = json.loads(r2p("ledger", "--json").stdout)
    assert [each["candidate"] for each in listed["records"]] == ["c0", "c1"]
    assert json.loads(r2p("ledger", "export", tmp_path / "again.zip", "--json").stdout)["records"] == 2
    assert json.loads(r2p("ledger", "witness", kept, "--json").stdout) == {"records": 2, "to": str(kept)}
    good = r2p("verify", tmp_path / "export.zip", "--keys", keys, "--witness", kept, "--json")
    assert good.exit_code == 0
    assert json.loads(good.output)["witnessed"] == 2
    assert r2p("verify", tmp_path / "nowhere", "--keys", keys).exit_code == 2
    assert r2p("ledger", "export", tmp_path / "export.zip").exit_code == 2


def test_a_ledger_that_contradicts_its_witness_ends_with_exit_code_1(r2p, tmp_path, ledger, draft):
    for number in range(3, 6):
        ledger.append(draft(number))
    kept = tmp_path / "checkpoint"
    kept.write_bytes(ledger.checkpoint(3))
    alarm = r2p("ledger", "witness", kept)
    assert alarm.exit_code == 1
    assert "no continuation of the 3 that its witness saw" in alarm.output


def test_a_ledger_that_does_not_verify_ends_with_exit_code_1(r2p, tmp_path):
    path = tmp_path / "data" / "ledger" / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b"user:ann", b"user:eve").replace(b'"ann"', b'"eve"'))
    shown = r2p("ledger")
    assert shown.exit_code == 1
    assert "line 1 does not verify" in shown.output
    told = r2p("ledger", "--json")
    assert told.exit_code == json.loads(told.stdout)["exit_code"] == 1
    assert "line 1 does not verify" in json.loads(told.stdout)["error"]
