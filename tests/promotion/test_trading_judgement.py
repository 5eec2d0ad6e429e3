"""Which of the desk's tables a judgement reads: those since they count, for a way to money, or none at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

import research_to_prod
from research_to_prod.attribution.contracts import SLIPPAGE
from research_to_prod.defs.gates.trading import read_trading
from research_to_prod.defs.promotion.decision import records_that_end_early
from research_to_prod.execution.contracts import DECISIONS, ORDERS
from research_to_prod.gates.policy import load_policy
from research_to_prod.lake import Lake, PinnedLake
from research_to_prod.research.candidate import load_candidates

DESK = Path(research_to_prod.__file__).parent / "desk"
CANDIDATE = next(each for each in load_candidates(DESK / "candidates") if each.name == "btc_momentum")
CANARY, PAPER = (load_policy(DESK / "policies" / f"{name}.yaml") for name in ("paper_to_canary", "research_to_paper"))
DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
SCHEMAS = {"decisions": DECISIONS, "orders": ORDERS, "slippage": SLIPPAGE}


@pytest.fixture
def lake(tmp_path):
    """A lake with three days of the desk's records."""
    made = Lake(tmp_path / "lake")
    for table, schema in SCHEMAS.items():
        for day in DAYS:
            made.write(table, day, schema.empty(), schema)
    return made


@pytest.fixture
def on_paper(ledger, draft):
    """Records by which the candidate came to paper in the first second of 2026."""
    ledger.append(draft(1, candidate=CANDIDATE.name, candidate_sha256=CANDIDATE.sha256))
    return ledger.records()


def test_every_whole_day_since_the_arrival_is_read_at_its_version(lake, on_paper):
    trading, read = read_trading(lake, CANDIDATE, CANARY, on_paper)
    assert trading.days == DAYS[1:]
    found = {(each.table, each.partition) for snapshot in read for each in snapshot.versions}
    assert found == {(table, day) for table in SCHEMAS for day in DAYS[1:]}


def test_a_past_judgement_reads_the_days_of_then(lake, on_paper):
    _, read = read_trading(lake, CANDIDATE, CANARY, on_paper)
    then = PinnedLake(lake, [each for snapshot in read for each in snapshot.versions])
    for table, schema in SCHEMAS.items():
        lake.write(table, "2026-01-04", schema.empty(), schema)
    assert read_trading(lake, CANDIDATE, CANARY, on_paper)[0].days == (*DAYS[1:], "2026-01-04")
    assert read_trading(then, CANDIDATE, CANARY, on_paper)[0].days == DAYS[1:]


def test_the_way_to_paper_reads_none_of_them(lake, on_paper):
    assert read_trading(lake, CANDIDATE, PAPER, on_paper) == (None, ())


def test_what_never_traded_or_was_edited_since_has_no_evidence(lake, on_paper):
    edited = CANDIDATE.model_copy(update={"capital": CANDIDATE.capital + 1})
    assert read_trading(lake, CANDIDATE, CANARY, ()) == (None, ())
    assert read_trading(lake, edited, CANARY, on_paper) == (None, ())


def test_two_versions_that_trade_at_once_cannot_be_told_apart(lake, ledger, draft, on_paper):
    of = {"candidate": CANDIDATE.name, "candidate_sha256": CANDIDATE.sha256}
    ledger.append(draft(2, **of, from_stage="paper", to_stage="canary"))
    ledger.append(draft(3, candidate=CANDIDATE.name))
    assert read_trading(lake, CANDIDATE, CANARY, ledger.records()) == (None, ())


def test_a_missing_day_or_table_leaves_all_of_it_unknown(lake, on_paper, tmp_path):
    for table, schema in SCHEMAS.items():
        lake.write(table, "2026-01-05", schema.empty(), schema)
    assert read_trading(lake, CANDIDATE, CANARY, on_paper) == (None, ())
    assert read_trading(Lake(tmp_path / "bare"), CANDIDATE, CANARY, on_paper) == (None, ())


def test_a_decision_refuses_records_that_end_before_the_days_that_are_over(lake, on_paper):
    _, read = read_trading(lake, CANDIDATE, CANARY, on_paper)
    assert records_that_end_early(read, datetime(2026, 1, 6, tzinfo=UTC)) == []
    (refusal,) = records_that_end_early(read, datetime(2026, 1, 6, 0, 0, 1, tzinfo=UTC))
    assert "end on 2026-01-03" in refusal
    assert records_that_end_early((), datetime(2026, 1, 6, tzinfo=UTC)) == ["none of the desk's records count for it"]
