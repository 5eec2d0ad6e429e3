"""What a detector says when it fires, and what follows from it.

Belongs here: the value, the fixed way from layer to action to stage, its text for the ledger. Doesn't: detecting
(``watch``), writing the record, and enabling again, which takes a named person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from research_to_prod.promotion.record import number_text
from research_to_prod.values import Stage


class Layer(StrEnum):
    """What fired."""

    LIMIT = "limit"
    IMPLEMENTATION = "implementation"
    EDGE = "edge"
    CANARY = "canary"


class Action(StrEnum):
    """What is done at once, without asking; each only ever reduces."""

    HALT = "halt"
    DEMOTE_TO_PAPER = "demote_to_paper"
    REDUCE_SIZE = "reduce_size"


ACTIONS: Mapping[Layer, Action] = {
    Layer.LIMIT: Action.HALT,
    # What is traded isn't what was judged: no size is small enough for that.
    Layer.IMPLEMENTATION: Action.DEMOTE_TO_PAPER,
    # A fading edge is no emergency: at the canary's size the sequential test goes on judging it.
    Layer.EDGE: Action.REDUCE_SIZE,
    Layer.CANARY: Action.DEMOTE_TO_PAPER,
}

_LEADS_TO: Mapping[tuple[Action, Stage], Stage] = {
    (Action.REDUCE_SIZE, Stage.LIVE): Stage.CANARY,
    (Action.REDUCE_SIZE, Stage.CANARY): Stage.PAPER,
    (Action.REDUCE_SIZE, Stage.PAPER): Stage.DEMOTED,
    (Action.DEMOTE_TO_PAPER, Stage.LIVE): Stage.PAPER,
    (Action.DEMOTE_TO_PAPER, Stage.CANARY): Stage.PAPER,
    (Action.DEMOTE_TO_PAPER, Stage.PAPER): Stage.DEMOTED,
    (Action.HALT, Stage.LIVE): Stage.HALTED,
    (Action.HALT, Stage.CANARY): Stage.HALTED,
    (Action.HALT, Stage.PAPER): Stage.HALTED,
}


def stage_after(action: Action, stage: Stage) -> Stage:
    """Return where an action leads from a stage at which orders are sent.

    Raises
    ------
    ValueError
        When nothing is traded at ``stage``.
    """
    try:
        return _LEADS_TO[action, stage]
    except KeyError:
        raise ValueError(f"nothing trades at {stage}: there is nothing to {action.replace('_', ' ')}") from None


@dataclass(frozen=True)
class Trigger:
    """One layer that fired for one candidate.

    Parameters
    ----------
    measure
        What was compared: a limit's name, or a detector's.
    statistic, threshold
        Its value at the reading that confirmed it, and the limit that it is beyond.
    samples
        Clean readings behind the statistic.
    log_evidence, log_evidence_limit
        ``ln(1 + R)`` of the e-SR process of the edge, and the limit above which it alone would call the edge lost. It
        acts on nothing: it is written beside, because its promise holds for any stopping and needs no run length.
    reason
        The trigger in words.
    began
        Since when, a day or a moment: the first reading of those that broke the limit; for a chart the first day since
        it last stood at zero, which is Page's estimate of the change. Empty where there is no estimate: the canary's
        test holds one edge against another, and neither began.
    """

    candidate: str
    layer: Layer
    measure: str
    statistic: float
    threshold: float
    samples: int
    action: Action
    from_stage: Stage
    to_stage: Stage
    at: str
    rules_sha256: str
    log_evidence: float
    log_evidence_limit: float
    reason: str
    began: str = ""


def demotion_draft_fields(trigger: Trigger) -> dict[str, str]:
    """Return what a demotion's record carries of its trigger: text throughout, numbers in shortest form."""
    numbers = {
        "statistic": trigger.statistic,
        "threshold": trigger.threshold,
        "samples": trigger.samples,
        "log_evidence": trigger.log_evidence,
        "log_evidence_limit": trigger.log_evidence_limit,
    }
    texts = {
        "candidate": trigger.candidate,
        "layer": str(trigger.layer),
        "measure": trigger.measure,
        "action": str(trigger.action),
        "from_stage": str(trigger.from_stage),
        "to_stage": str(trigger.to_stage),
        "at": trigger.at,
        "rules_sha256": trigger.rules_sha256,
        "reason": trigger.reason,
        "began": trigger.began,
    }
    return texts | {name: str(number_text(value)) for name, value in numbers.items()}
