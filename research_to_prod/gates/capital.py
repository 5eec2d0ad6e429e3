"""The capital allocation: what the desk's money can bear, from which the risk gates derive their limits.

Belongs here: the file's contract and its digest. Doesn't: finding an allocation. An optimiser may propose one; a person
freezes it in the file, because a solver's tolerance is no contract.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.gates.thresholds import PolicyError, Positive, PositiveCount, Probability, Share
from research_to_prod.values import StrategyType, digest


class TypeAllocation(Frozen):
    """What all strategies of one type may risk together, and what each may do alone."""

    risk_budget: Share
    """Share of the book's risk; the budgets of all types add up to 1."""
    drawdown_limit: Share
    """Largest fall of one strategy from its peak, as a fraction of its own capital."""
    gross_leverage: Positive
    """Largest gross exposure of one strategy, as a multiple of its own capital."""
    order_share: Share
    """Largest single order, as a share of the largest gross exposure."""
    messages_per_second: PositiveCount
    """Most orders, amendments and cancellations of one strategy in a second."""


class CapitalAllocation(Frozen):
    """The model of the book."""

    currency: str = Field(pattern=r"^[A-Z0-9]{2,10}$")
    book_capital: Positive
    """In ``currency``."""
    target_volatility: Share
    """A year, of the book."""
    expected_shortfall_level: Probability
    expected_shortfall_limit: Share
    """Of one day, as a share of the book's capital."""
    diversification_ratio: Share
    """Shortfall of the book over the sum of its parts' own."""
    kelly_fraction: Share
    asset_cap: Share
    """Of the book's capital, gross, in one base asset."""
    venue_cap: Share
    """Of the book's capital, at one venue."""
    canary_loss: Share
    """What a canary may lose at its hard stop, as a share of the book's capital."""
    canary_share: Share
    """The same as a share of the capital that it asks for."""
    types: dict[StrategyType, TypeAllocation]

    @model_validator(mode="after")
    def _every_type_has_its_part(self) -> Self:
        if missing := sorted(set(StrategyType) - set(self.types)):
            raise ValueError(f"types: {', '.join(missing)} is missing; a type without a budget gives 0 a wrong meaning")
        total = math.fsum(each.risk_budget.value for each in self.types.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"types: the risk budgets add up to {total:.12g}, not to 1")
        return self

    @property
    def sha256(self) -> str:
        """Digest of the canonical form; comments and layout of the file don't enter."""
        return digest(self.model_dump(mode="json"))


def load_allocation(path: Path) -> CapitalAllocation:
    """Load the capital allocation.

    Raises
    ------
    PolicyError
        Listing every wrong field.
    """
    return read_declared(path, CapitalAllocation, PolicyError)
