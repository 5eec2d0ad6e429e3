"""The limits that a record signs for a candidate: its markets, and what the capital allocation gives it at a stage.

Belongs here: the record's value of them. Doesn't: deriving the amounts (``gates.limits``), withholding what lacks one
(``manifest``).
"""

from __future__ import annotations

from dataclasses import asdict

from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.gates.limits import pre_set_limits
from research_to_prod.promotion.record import Limits
from research_to_prod.research.candidate import Candidate
from research_to_prod.values import Stage


def limits_of(candidate: Candidate, allocation: CapitalAllocation, stage: Stage) -> Limits:
    """Return what ``candidate`` may touch and with how much at ``stage``; what does not follow is absent."""
    amounts = pre_set_limits(candidate.type, candidate.universe, candidate.capital, allocation, stage)
    instruments = [{"venue": candidate.venue, "symbol": symbol} for symbol in candidate.universe]
    return Limits.model_validate({"instruments": instruments, **asdict(amounts)})
