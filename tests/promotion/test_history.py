"""Where a candidate stood when, and because of which record: read from the ledger alone."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.promotion.history import NoSuchRecordError, named, spells
from research_to_prod.promotion.keys import open_keys
from research_to_prod.values import Stage, digest

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def moved(ledger, draft):
    """The records of ``c1``: to paper, refused for canary, demoted, and of another candidate in between."""
    paper = {"type": "promote", "from_stage": "research", "to_stage": "paper"}
    moves = [
        draft(1, **paper, recorded_at=EPOCH + DAY),
        draft(2, recorded_at=EPOCH + 2 * DAY),
        draft(1, decision_id="no", type="reject", from_stage="paper", to_stage="canary", reasons=["too early"],
              recorded_at=EPOCH + 3 * DAY),
        draft(1, decision_id="down", type="demote", from_stage="paper", to_stage="demoted", reasons=["it lost"],
              recorded_at=EPOCH + 5 * DAY),
    ]  # fmt: skip
    for each in moves:
        ledger.append(each)
    return ledger.records()


def test_a_stay_lasts_from_its_record_to_the_one_that_ended_it(moved):
    paper, demoted = spells(moved, "c1")
    assert (paper.stage, paper.since, paper.until) == (Stage.PAPER, EPOCH + DAY, EPOCH + 5 * DAY)
    assert (paper.record.seq, paper.ended_by.seq) == (0, 3)
    assert (demoted.stage, demoted.until, demoted.ended_by) == (Stage.DEMOTED, None, None)


def test_a_day_is_told_of_every_stay_in_it_and_no_other(moved):
    def on(day):
        start = EPOCH + day * DAY
        return [each.stage for each in spells(moved, "c1") if each.overlaps(start, start + DAY)]

    assert [on(day) for day in (0, 1, 4)] == [[], [Stage.PAPER], [Stage.PAPER]]
    assert on(5) == [Stage.DEMOTED], "the stay at paper ended with the day's first moment"


def test_a_stay_ends_when_its_record_expires(ledger, draft):
    ledger.append(draft(1, expires_at=EPOCH + 4 * DAY))
    (stay,) = spells(ledger.records(), "c1")
    assert (stay.until, stay.ended_by) == (EPOCH + 4 * DAY, None)
    assert not stay.overlaps(EPOCH + 4 * DAY, EPOCH + 5 * DAY)


def test_another_version_at_the_same_stage_ends_the_stay_of_the_first(ledger, draft):
    ledger.append(draft(1))
    changes = {"candidate": "c1", "candidate_sha256": digest("another version"), "recorded_at": EPOCH + DAY}
    ledger.append(draft(2, **changes))
    first, second = spells(ledger.records(), "c1")
    assert (first.until, first.ended_by) == (EPOCH + DAY, second.record)
    assert second.until is None


def test_a_promotion_is_named_by_number_decision_or_candidate(moved):
    assert named(moved, "0") == named(moved, "decision-1") == named(moved, "c1") == moved[0]
    assert named(moved, "down") == moved[3]
    with pytest.raises(NoSuchRecordError, match="lists all 4"):
        named(moved, "c9")


def test_a_candidate_that_was_never_promoted_is_named_by_its_records(ledger, draft):
    ledger.append(draft(1, type="reject", reasons=["no edge"]))
    with pytest.raises(NoSuchRecordError, match="c1 was never promoted; its records are 0"):
        named(ledger.records(), "c1")


def test_why_tells_stage_record_gates_and_people_of_a_day(draft, ledger, tmp_path, monkeypatch):
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    desk = type(ledger)(tmp_path / "data" / "ledger", open_keys(tmp_path / "data" / "keys", EPOCH))
    desk.append(draft(1, recorded_at=EPOCH + DAY))
    desk.append(draft(1, decision_id="down", type="demote", from_stage="paper", to_stage="demoted",
                      reasons=["it lost"], recorded_at=EPOCH + 5 * DAY))  # fmt: skip

    def why(day):
        return CliRunner().invoke(app, ["why", "c1", "--on", day]).stdout

    assert "was at research" in why("2026-01-01")
    told = why("2026-01-03")
    assert "c1 was at paper" in told
    assert "record 0, promote of c1 from research to paper, 2026-01-02 00:00:00Z" in told
    assert "2026-01-06 00:00:00Z, by record 1: demote" in told
    assert "1 of 1 passed; closest deflated_sharpe: 0.97 >= 0.95" in told
    assert re.search(r"approved by +nobody", told)
    assert "it lost" in why("2026-01-07")
    stood = json.loads(CliRunner().invoke(app, ["why", "c1", "--on", "2026-01-03", "--json"]).stdout)
    (stay,) = stood["stays"]
    assert (stay["spell"]["record"]["to_stage"], stay["spell"]["until"]) == ("paper", "2026-01-06T00:00:00Z")


def test_why_does_not_call_research_what_was_promoted_and_expired(draft, ledger, tmp_path, monkeypatch):
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    desk = type(ledger)(tmp_path / "data" / "ledger", open_keys(tmp_path / "data" / "keys", EPOCH))
    desk.append(draft(1, expires_at=EPOCH + 4 * DAY))
    told = CliRunner().invoke(app, ["why", "c1", "--on", "2026-01-09"]).stdout
    assert "at no stage: record 0 had expired" in told
