"""The desk's fifteen standing questions, and the inputs without which each stays open.

Belongs here: the questions and what they need. Doesn't: the answers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.reports.desk_report import Question

# number, question, section of the page that answers it, tables of the lake that must exist for an answer.
_QUESTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Is the edge gone, or is execution eating it?", "verdicts", ("shadow", "edge_verdicts")),
    ("Where did the gap between live and model go?", "waterfall", ("shadow", "pnl_waterfall")),
    ("What did we pay, and for what?", "costs", ("slippage",)),
    ("Is this drawdown normal?", "drawdowns", ("drawdowns", "shadow")),
    ("What caused the drawdown?", "drawdowns", ("drawdowns", "pnl_waterfall")),
    ("How much do we lose to latency?", "latency", ("slippage", "order_events", "markouts", "latency_costs")),
    ("Are our maker fills toxic?", "markouts", ("markouts",)),
    ("What did we miss, and was it the good stuff?", "model", ("decisions", "shadow", "pnl_waterfall")),
    ("Which venue, style and size costs most, like for like?", "comparison", ("slippage", "cost_model")),
    ("When should we not trade?", "hours", ("slippage", "cost_model", "liquidity_profile")),
    ("Is our cost model still right?", "model", ("shadow", "pnl_waterfall")),
    ("Fee tier, maker share, funding: what changed?", "fees", ("fee_schedules", "venue_income", "fee_changes")),
    ("Are we trading the size that we think?", "breaks", ("positions", "venue_positions", "breaks")),
    ("Can I trust these numbers?", "quality", ("slippage", "breaks")),
    ("What do I do today?", "actions", ("slippage", "breaks")),
)


def desk_questions(present: Collection[str]) -> tuple[Question, ...]:
    """Return the questions in their standing order, each answered or with the tables that it lacks.

    Parameters
    ----------
    present
        Names of the lake's tables that hold this day.
    """
    return tuple(
        Question(
            number=number,
            text=text,
            answered=not (missing := tuple(each for each in needs if each not in present)),
            where=where,
            missing=missing,
        )
        for number, (text, where, needs) in enumerate(_QUESTIONS, start=1)
    )


@dataclass(frozen=True)
class OpenQuestion:
    """A standing question, one input without which it stays open, and who has to bring it."""

    number: int
    question: str
    missing_input: str
    brought_by: str


def unanswered(present: Collection[str]) -> tuple[OpenQuestion, ...]:
    """Return each question that stays open with each input that it lacks, in the standing order.

    Parameters
    ----------
    present
        Names of the lake's tables that hold this day; with none, all that the desk could deliver and gain by it.
    """
    return tuple(
        OpenQuestion(
            question.number, question.text, each, "the desk's inbox" if each in INBOX_KINDS else "the pipeline"
        )
        for question in desk_questions(present)
        for each in question.missing
    )
