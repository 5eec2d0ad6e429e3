"""The policy of rollback: limits, shifts to detect and the false alarms that a book is willing to pay, with reasons.

Belongs here: the contract of ``rollback.yaml``, overrides by strategy type, the digest. Doesn't: thresholds of charts,
which follow from it (``design``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.values import StrategyType, digest


class RollbackPolicyError(ValueError):
    """The policy file is wrong; the message lists every field."""


class Positive(Frozen):
    """A positive number, and the sentence that says why it is that number."""

    value: float = Field(gt=0)
    why: str = Field(min_length=30)


class Fraction(Positive):
    """A number below 1."""

    value: float = Field(gt=0, lt=1)


class Error(Positive):
    """The probability of a wrong decision."""

    value: float = Field(gt=0, lt=0.5)


class Confidence(Positive):
    """A confidence of at least one half."""

    value: float = Field(ge=0.5, lt=1)


class Count(Positive):
    """A number of things."""

    value: float = Field(ge=1, multiple_of=1)


class CleanReads(Count):
    """A number of readings in a row; fewer than three have halted desks on one phantom equity."""

    value: float = Field(ge=3, multiple_of=1)


class Clip(Positive):
    """A limit of single observations, in deviations; below 2 the charts would ignore ordinary days."""

    value: float = Field(ge=2, le=10)


class Shift(Positive):
    """A shift of the mean in daily deviations; of 1 and more every day would decide, and no chart is needed."""

    value: float = Field(ge=0.02, lt=1)


class Sharpe(Positive):
    """An annual Sharpe ratio; the bounds are those of `Shift`, times the root of 365."""

    value: float = Field(ge=0.4, lt=19)


class Book(Frozen):
    """Who shares a budget of false alarms."""

    strategies: Count
    """Most candidates that are watched together; every false-alarm budget is for all of them."""


class Limits(Frozen):
    """Hard limits; what breaks one halts."""

    position: Positive
    """Largest gross position, as a multiple of the capital approved."""
    orders_a_minute: Positive
    """Largest number of orders, cancels and changes in a minute."""
    leverage: Positive
    """Largest gross position, as a multiple of equity."""
    loss: Fraction
    """Largest loss since midnight UTC, as a share of the capital approved."""
    oldest_reading: Positive
    """Minutes after which an exposure is no longer known."""
    clean_reads_of_equity: CleanReads
    """Clean readings in a row that must all be beyond a limit derived from equity or profit."""


class Standardisation(Frozen):
    """How returns become observations of unit long-run deviation."""

    fewest_days: Count
    """Days of reference below which nothing is watched."""
    fewest_paired_days: Count
    """Days of live and shadow together below which the implementation is held to nothing."""
    reference_confidence: Confidence
    """The edge that a candidate is held to is this one-sided lower bound of its reference mean."""
    clip: Clip
    """Largest observation counted, in deviations of its day."""
    memory: Fraction
    """Weight of the past in the daily variance (exponential)."""
    volatility_floor: Fraction
    """Least daily deviation, as a share of the reference's."""


class Implementation(Frozen):
    """Layer 1: live against shadow."""

    shift: Shift
    false_alarms_a_year: Positive
    """Of the whole book, both sides together."""


class Edge(Frozen):
    """Layer 2: live against what was promised."""

    lost_sharpe: Sharpe
    """Annual Sharpe ratio whose loss the chart is made to find fastest."""
    false_alarms_a_year: Positive
    """Of the whole book."""


class Canary(Frozen):
    """Layer 3: the canary's sequential test."""

    lost_sharpe: Sharpe
    wrongly_demoted: Error
    wrongly_kept: Error


class Audit(Frozen):
    """The evidence that is written beside each alarm, and acts on nothing."""

    false_alarms_a_year: Positive
    """Of the whole book."""


class RollbackPolicy(Frozen):
    """What takes a strategy back. Every number must be given: a detector can't be switched off by leaving it out."""

    id: str = Field(pattern=r"^rollback$")
    book: Book
    limits: Limits
    standardisation: Standardisation
    implementation: Implementation
    edge: Edge
    canary: Canary
    audit: Audit
    overrides: dict[StrategyType, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    """By strategy type, family and number: replaces the number whole, ``why`` included."""

    @model_validator(mode="after")
    def _overrides_are_numbers(self) -> Self:
        for strategy_type in self.overrides:
            self.for_type(strategy_type)
        return self

    @property
    def sha256(self) -> str:
        """Digest of the canonical form; comments and layout of the file don't enter."""
        return digest(self.model_dump(mode="json"))

    def for_type(self, strategy_type: StrategyType) -> RollbackPolicy:
        """Return the policy that applies to ``strategy_type``: the general one with its overrides."""
        plain = self.model_dump(exclude={"overrides"})
        for family, numbers in self.overrides.get(strategy_type, {}).items():
            # The book's size is one for all types: it divides one budget.
            if family not in plain or family in {"id", "book"}:
                raise ValueError(f"overrides.{strategy_type}.{family}: no such family")
            plain[family] = {**plain[family], **numbers}
        return RollbackPolicy.model_validate(plain)


def load_rollback_policy(path: Path) -> RollbackPolicy:
    """Load the policy file.

    Raises
    ------
    RollbackPolicyError
        Listing every wrong field.
    """
    return read_declared(path, RollbackPolicy, RollbackPolicyError)
