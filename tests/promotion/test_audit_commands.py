"""`r2p audit`: whole populations, as an auditor draws samples from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from research_to_prod.cli import app
from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.promotion.approvals import approve, ask, judge
from research_to_prod.promotion.keys import PUBLIC_FILE, new_approver, open_keys, public_entries, trust
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Draft
from research_to_prod.values import canonical_json, sha256_hex

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TWO = ApprovalRule(people=2, valid_for=timedelta(days=7), why="A rule of two people, for these tests only.")
POLICY = canonical_json({"approval": {"people": 2}, "to_stage": "paper"})
R2p = Callable[..., Result]


@pytest.fixture
def r2p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> R2p:
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "300")
    return lambda *words: CliRunner().invoke(app, [str(each) for each in words])


def ledger_of(folder: Path) -> Ledger:
    return Ledger(folder / "data" / "ledger", open_keys(folder / "data" / "keys", NOW))


def approved(folder: Path, draft: Draft) -> tuple[Draft, list[bytes]]:
    """Have two people sign a draft, whose keys the desk trusts from then on."""
    asked, envelopes = ask(draft, TWO, NOW), []
    for name in ("bob", "eve"):
        key = new_approver(folder / f"{name}.key", f"user:{name}", NOW)
        (folder / f"{name}.json").write_bytes(public_entries(key))
        trust(folder / "data" / "keys" / PUBLIC_FILE, folder / f"{name}.json")
        envelopes.append(approve(asked, key, NOW))
    keys = open_keys(folder / "data" / "keys", NOW)
    signed = judge(asked.request, envelopes, keys, draft.recorded_at).approvals
    return Draft.model_validate(dict(draft) | {"approvals": signed}), envelopes


@pytest.fixture
def recorded(tmp_path: Path, draft: Callable[..., Draft], ledger: Any, r2p: R2p) -> R2p:
    """The command line over a ledger of a refusal, a promotion that two people signed, and what took it back."""
    desk = type(ledger)(tmp_path / "data" / "ledger", open_keys(tmp_path / "data" / "keys", NOW))
    desk.append(draft(1, type="reject", reasons=["the candles have gaps", "nobody approved"]))
    policy = {"id": "research_to_paper", "sha256": sha256_hex(POLICY)}
    two, envelopes = approved(tmp_path, draft(2, policy=policy))
    desk = type(ledger)(tmp_path / "data" / "ledger", open_keys(tmp_path / "data" / "keys", NOW))
    promoted = desk.append(two, [POLICY, *envelopes])
    moved = {"candidate": "c2", "candidate_sha256": promoted.candidate_sha256, "from_stage": "paper"}
    desk.append(draft(3, type="rollback", to_stage="demoted", reasons=["the edge is gone"], **moved))
    return r2p


def test_every_promotion_says_how_many_had_to_approve_who_did_and_with_which_key(recorded: R2p) -> None:
    (line,) = json.loads(recorded("audit", "approvals", "--json").stdout)
    assert (line["record"], line["people_asked"], line["author"]) == (1, 2, "ann")
    assert [each["person"] for each in line["signed"]] == ["user:bob", "user:eve"]
    assert all(each["valid"] == "valid from 2026-01-01 00:00:00Z" for each in line["signed"])
    shown = recorded("audit", "approvals").stdout
    assert f"asked for  2 people, by research_to_paper {sha256_hex(POLICY)[:12]}" in shown
    assert f"user:eve 2026-01-01 00:00:00Z with key {line['signed'][1]['key_id'][:12]}, valid from" in shown
    assert "The ledger of 3 records holds" in shown


def test_every_refusal_has_all_of_its_reasons(recorded: R2p) -> None:
    (line,) = json.loads(recorded("audit", "refusals", "--json").stdout)
    assert (line["record"], line["reasons"]) == (0, ["the candles have gaps", "nobody approved"])
    shown = recorded("audit", "refusals").stdout
    assert "because    the candles have gaps\n             nobody approved\n" in shown
    assert "1 of 2 decisions on a promotion were refusals." in shown


def test_what_was_taken_back_and_held_says_by_whom_and_on_which_numbers_in_order_of_time(recorded: R2p) -> None:
    for words in (
        ["hold", "--reason", "the venue [looks] odd", "--by", "user:ana", "--candidate", "c2"],
        ["release", "--reason", "it is fine", "--by", "user:ana", "--candidate", "c2"],
        ["kill", "--reason", "a loop", "--by", "user:ben", "--candidate", "c2"],
    ):
        assert recorded(*words).exit_code == 0, words
    rolled, held, released, killed = json.loads(recorded("audit", "interventions", "--json").stdout)
    assert rolled["numbers"] == "cusum_of_edge 11.2 against 9.5, n = 40, observed 2026-01-01 00:00:00Z"
    assert (rolled["by"], rolled["why"]) == ("ann", "the edge is gone")
    assert held["what"] == "ladder of candidate c2 from level 0 to 2, reduce only"
    assert "the venue [looks] odd" in held["why"]
    assert (released["what"], released["by"]) == ("ladder of candidate c2 from level 2 to 0, observe", "user:ana")
    assert killed["what"] == "ladder of candidate c2 from level 0 to 5, kill"
    shown = recorded("audit", "interventions").stdout
    assert "the venue [looks] odd" in shown
    assert "1 by record, 3 changes of a ladder's level." in shown


def test_where_nothing_was_recorded_nothing_is_listed(r2p: R2p, tmp_path: Path) -> None:
    open_keys(tmp_path / "data" / "keys", NOW)
    for population in ("approvals", "refusals", "interventions"):
        shown = r2p("audit", population, "--json")
        assert (shown.exit_code, json.loads(shown.stdout)) == (0, []), shown.output


@pytest.mark.parametrize("population", ["approvals", "refusals", "interventions"])
def test_nothing_is_listed_of_a_ledger_that_does_not_verify(recorded: R2p, tmp_path: Path, population: str) -> None:
    path = tmp_path / "data" / "ledger" / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b"the candles have gaps", b"the candles have gap"))
    shown = recorded("audit", population)
    assert (shown.exit_code, shown.stdout) == (1, "")


def test_interventions_are_not_listed_from_an_edited_journal(recorded: R2p, tmp_path: Path) -> None:
    assert recorded("hold", "--reason", "odd", "--by", "user:ana").exit_code == 0
    path = tmp_path / "data" / "controls" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"user:ana", b"user:bob", 1))
    shown = recorded("audit", "interventions")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "does not follow from those before it" in shown.stderr


@pytest.mark.parametrize(("given", "told"), [("ffffffff", "0 recorded policies begin with ffffffff"), ("", "")])
def test_a_policy_that_nobody_decided_under_is_named_with_those_that_were(recorded: R2p, given: str, told: str) -> None:
    shown = recorded("policy", "diff", given or sha256_hex(POLICY)[:12], "research_to_paper")
    assert shown.exit_code == 2
    assert (told or "can't be read any more") in shown.output
    assert sha256_hex(POLICY)[:12] in shown.output
