"""The limits that a record signs for a candidate: its markets, and what the capital allocation gives it at a stage.

Belongs here: the record's value of them. Doesn't: deriving the amounts (``gates.limits``), withholding what lacks one
(``manifest``).
"""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.gates.limits import pre_set_limits
from research_to_prod.promotion.record import Limits, Record
from research_to_prod.promotion.stages import TRADING
from research_to_prod.research.candidate import Candidate
from research_to_prod.values import Stage


def limits_of(candidate: Candidate, allocation: CapitalAllocation, stage: Stage) -> Limits:
    """Return what ``candidate`` may touch and with how much at ``stage``; what does not follow is absent."""
    amounts = pre_set_limits(candidate.type, candidate.universe, candidate.capital, allocation, stage)
    instruments = [{"venue": candidate.venue, "symbol": symbol} for symbol in candidate.universe]
    return Limits.model_validate({"instruments": instruments, **asdict(amounts)})


def limits_below(record: Record, allocation: CapitalAllocation, stage: Stage) -> Limits | None:
    """Return what a version may trade with after it was taken back to ``stage``: never more than before.

    None where its record has no limits, or nothing is traded at ``stage``.
    """
    before = record.limits
    if before is None or before.capital is None or stage not in TRADING:
        return None
    symbols = tuple(each.symbol for each in before.instruments)
    amounts = pre_set_limits(record.strategy_type, symbols, Decimal(before.capital), allocation, stage)
    return Limits.model_validate({"instruments": before.instruments, **asdict(amounts)})
