"""The end of a key: on record first, then in keys.json, and from then on nothing that it signs counts."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.promotion import key_ending
from research_to_prod.promotion.key_ending import end_key
from research_to_prod.promotion.keys import KeyFileError, KeyRole, new_approver, open_keys, public_entries, read_keys
from research_to_prod.promotion.keys import trust as trust_key
from research_to_prod.promotion.ledger import LedgerError
from tests.promotion.conftest import DeskLedger

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEGAN + timedelta(days=30)
SAID = {"by": "user:ann", "reason": "eve left"}


@pytest.fixture
def desk(tmp_path, draft):
    """A ledger with one record whose keys.json trusts an approver."""
    keys = open_keys(tmp_path / "keys", BEGAN)
    (tmp_path / "eve.json").write_bytes(public_entries(new_approver(tmp_path / "eve.key", "user:eve", BEGAN)))
    trust_key(tmp_path / "keys" / "keys.json", tmp_path / "eve.json")
    ledger = DeskLedger(tmp_path / "ledger", open_keys(tmp_path / "keys", BEGAN))
    ledger.append(draft(1))
    assert keys.can_sign
    return ledger, tmp_path / "keys" / "keys.json"


def id_of(path, role):
    (found,) = [name for name, key in read_keys(path).public.items() if key.role is role]
    return found


def test_an_ended_key_is_on_record_and_in_the_desk_s_file_at_one_time(desk):
    ledger, path = desk
    name = id_of(path, KeyRole.APPROVER)
    assert end_key(ledger, path, name[:8], **SAID, now=NOW)[0] == name
    (record,) = ledger.verify().changes
    assert (record.key_id, record.author, record.reasons) == (name, "user:ann", ("eve left",))
    assert record.key.valid_to == read_keys(path).public[name].valid_to == NOW
    with pytest.raises(KeyFileError, match="ends at 2026-01-31 00:00:00\\+00:00 already"):
        end_key(ledger, path, name, **SAID, now=NOW + timedelta(days=1))


def test_what_was_interrupted_between_record_and_file_ends_at_the_time_on_record(desk, monkeypatch):
    ledger, path = desk
    name = id_of(path, KeyRole.APPROVER)
    with monkeypatch.context() as broken:
        broken.setattr(key_ending, "replace_file", lambda *_: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            end_key(ledger, path, name, **SAID, now=NOW)
    assert read_keys(path).public[name].valid_to is None
    end_key(ledger, path, name, **SAID, now=NOW + timedelta(hours=1))
    assert read_keys(path).public[name].valid_to == NOW
    assert len(ledger.verify().changes) == 1


def test_the_log_s_own_key_an_unknown_one_and_an_ambiguous_one_are_refused(desk):
    ledger, path = desk
    with pytest.raises(KeyFileError, match="is the log's key"):
        end_key(ledger, path, id_of(path, KeyRole.LOG), **SAID, now=NOW)
    for key in ("", "zz"):
        with pytest.raises(KeyFileError, match="keys list"):
            end_key(ledger, path, key, **SAID, now=NOW)
    assert ledger.verify().changes == ()


def test_a_ledger_that_does_not_verify_ends_no_key(desk):
    ledger, path = desk
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b"user:ann", b"user:eve").replace(b"c1", b"c2"))
    with pytest.raises(LedgerError):
        end_key(ledger, path, id_of(path, KeyRole.APPROVER), **SAID, now=NOW)
    assert read_keys(path).public[id_of(path, KeyRole.APPROVER)].valid_to is None


def test_a_key_is_listed_and_ended_on_the_command_line(desk, tmp_path, monkeypatch):
    ledger, path = desk
    monkeypatch.setenv("R2P_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def r2p(*arguments):
        return CliRunner().invoke(app, ["keys", *arguments])

    name = id_of(path, KeyRole.APPROVER)
    assert name[:12] in r2p("list").output
    words = ("--by", "user:ann", "--reason", "eve left")
    assert r2p("end", name[:12], "--by", "ann", "--reason", "x").exit_code == 2
    done = r2p("end", name[:12], *words)
    assert (done.exit_code, "of user:eve ends at" in done.output) == (0, True), done.output
    again = r2p("end", name[:12], *words)
    assert (again.exit_code, "already" in again.output) == (2, True)
    assert len(ledger.verify().changes) == 1
