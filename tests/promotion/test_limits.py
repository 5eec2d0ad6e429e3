"""What a record signs of a candidate's limits is whole, so that the manifest lets a canary trade."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import research_to_prod
from research_to_prod.gates.capital import load_allocation
from research_to_prod.promotion.limits import limits_of
from research_to_prod.promotion.manifest import production_manifest
from research_to_prod.promotion.record import Instrument
from research_to_prod.research.candidate import load_candidates
from research_to_prod.values import Stage

DESK = Path(research_to_prod.__file__).parent / "desk"
ALLOCATION = load_allocation(DESK / "capital" / "allocation.yaml")
CANDIDATE = next(each for each in load_candidates(DESK / "candidates") if each.name == "btc_momentum")


def test_a_record_says_markets_and_amounts_as_text():
    found = limits_of(CANDIDATE, ALLOCATION, Stage.CANARY)
    assert found.instruments == (Instrument(venue="sandbox", symbol="BTC/USDT"),)
    assert found.model_dump(exclude={"instruments"}) == {
        "capital": "8000",
        "currency": "USDT",
        "max_order_value": "12000",
        "max_position_value": "24000",
        "max_messages_per_second": 2,
    }


@pytest.mark.parametrize("stage", [Stage.CANARY, Stage.LIVE])
def test_a_version_at_money_trades_within_them_and_not_without(ledger, draft, stage):
    steps = [Stage.RESEARCH, Stage.PAPER, Stage.CANARY, Stage.LIVE]
    way = list(pairwise(steps[: steps.index(stage) + 1]))
    of = {"candidate": "c1", "candidate_sha256": draft(1).candidate_sha256}
    for number, (start, to) in enumerate(way, start=1):
        limits = limits_of(CANDIDATE, ALLOCATION, to)
        record = ledger.append(draft(number, **of, from_stage=start, to_stage=to, limits=limits.model_dump()))
    (entry,) = production_manifest(ledger.records(), record.recorded_at).entries
    assert (entry.stage, entry.limits) == (stage, limits_of(CANDIDATE, ALLOCATION, stage))
    bare = limits.model_copy(update={"max_order_value": None})
    record = ledger.append(draft(9, **of, from_stage=stage, to_stage=stage, limits=bare.model_dump()))
    (withheld,) = production_manifest(ledger.records(), record.recorded_at).withheld
    assert withheld.reasons == ("no pre-set max_order_value",)
