"""The policy of reconciliation: tolerances, waiting times, and who must act by when.

Belongs here: the contract of ``reconciliation.yaml``. Doesn't: what the numbers are compared with (``matching``,
``conservation``, ``register``).
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.gates.thresholds import PolicyError, Positive, Share
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.contracts import Severity


class InFlight(Frozen):
    """Seconds in which both sides must have heard of a fact, by how liquid the market is."""

    normal: Positive
    thin: Positive
    stressed: Positive


class Due(Frozen):
    """Seconds until somebody must have acted, by severity; the least severe has no date."""

    p1: Positive
    p2: Positive
    p3: Positive


class ReconciliationPolicy(Frozen):
    """What counts as a difference, and what becomes of it."""

    id: str
    in_flight: InFlight
    money_unit: Positive
    fee_relative: Share
    funding_money: Positive
    funding_relative: Share
    clock_seconds: Positive
    dust_money: Positive
    suspense_money: Positive
    escalate_money: Positive
    due: Due
    external_orders: tuple[str, ...]

    def wait(self, regime: Regime) -> timedelta:
        """Return the age below which nothing is judged; an unknown market is handled as thin."""
        by_regime = {
            Regime.STRESSED: self.in_flight.stressed,
            Regime.UNKNOWN: self.in_flight.thin,
            Regime.THIN: self.in_flight.thin,
        }
        return timedelta(seconds=by_regime.get(regime, self.in_flight.normal).value)

    def due_within(self, severity: Severity) -> timedelta | None:
        """Return how long a break may stay open; None for what is only recorded."""
        limit: Positive | None = getattr(self.due, severity.value, None)
        return None if limit is None else timedelta(seconds=limit.value)


def exact(threshold: Positive | Share) -> Decimal:
    """Return the number as it is written in the file."""
    return Decimal(str(threshold.value))


def load_reconciliation_policy(path: Path) -> ReconciliationPolicy:
    """Load the policy file.

    Raises
    ------
    PolicyError
        Listing every wrong field.
    """
    return read_declared(path, ReconciliationPolicy, PolicyError)
