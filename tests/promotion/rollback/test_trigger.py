"""What a trigger leads to, and what the ledger's record carries of it."""

from __future__ import annotations

import pytest

from research_to_prod.promotion.record import RecordType, number_text
from research_to_prod.promotion.rollback.trigger import (
    ACTIONS,
    Action,
    Layer,
    Trigger,
    demotion_draft_fields,
    stage_after,
)
from research_to_prod.promotion.stages import LEGAL, TRADING
from research_to_prod.values import Stage

TRIGGER = Trigger(
    candidate="alpha",
    layer=Layer.EDGE,
    measure="cusum of the edge",
    statistic=18.6000000000000014,
    threshold=18.5,
    samples=212,
    action=Action.REDUCE_SIZE,
    from_stage=Stage.LIVE,
    to_stage=Stage.CANARY,
    at="2026-03-04",
    rules_sha256="0" * 64,
    log_evidence=0.1 + 0.2,
    log_evidence_limit=7.25,
    reason="live has earned less than it was held to",
)


def test_every_layer_has_an_action() -> None:
    assert set(ACTIONS) == set(Layer)


@pytest.mark.parametrize("stage", TRADING)
@pytest.mark.parametrize("action", list(Action))
def test_every_action_leads_down_a_way_that_the_ledger_allows(action: Action, stage: Stage) -> None:
    to = stage_after(action, stage)
    assert (stage, to) in LEGAL[RecordType.DEMOTE]
    assert to not in TRADING or TRADING.index(to) < TRADING.index(stage)


@pytest.mark.parametrize("stage", [Stage.RESEARCH, Stage.DEMOTED, Stage.HALTED])
def test_what_does_not_trade_cannot_be_taken_back(stage: Stage) -> None:
    with pytest.raises(ValueError, match=f"nothing trades at {stage}: there is nothing to demote to paper"):
        stage_after(Action.DEMOTE_TO_PAPER, stage)


def test_the_record_carries_the_whole_trigger_as_text() -> None:
    fields = demotion_draft_fields(TRIGGER)
    assert set(fields) == set(TRIGGER.__dataclass_fields__)
    assert all(isinstance(value, str) for value in fields.values())
    for name in ("statistic", "threshold", "samples", "log_evidence", "log_evidence_limit"):
        assert fields[name] == number_text(getattr(TRIGGER, name))
        assert float(fields[name]) == getattr(TRIGGER, name)
    assert (fields["log_evidence"], fields["action"], fields["to_stage"]) == (
        "0.30000000000000004", "reduce_size", "canary",
    )  # fmt: skip
