"""The numbers that all rules share, each with the sentence that says why, and the scales they are told on.

Belongs here: severities, classes of exposure, and the contract of ``desk/alerts/settings.yaml``. Doesn't: rules.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen

Why = Annotated[str, Field(min_length=30)]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,39}$")]
Seconds = Annotated[float, Field(ge=0, le=7 * 86_400)]


class Severity(StrEnum):
    """What a firing rule asks of people, most urgent first."""

    P1 = "P1"
    """Page now; an automatic action is allowed."""
    P2 = "P2"
    """Page."""
    P3 = "P3"
    """A ticket for the next shift."""
    P4 = "P4"
    """Written down."""

    @property
    def pages(self) -> bool:
        """Whether somebody is woken."""
        return self in {Severity.P1, Severity.P2}


SEVERITIES = tuple(Severity)


class Exposed(StrEnum):
    """How much a failure can cost now, least first."""

    X0 = "X0"
    """Flat and no working orders."""
    X1 = "X1"
    """Something at stake that can be sold within the policy's time."""
    X2 = "X2"
    """What takes longer to sell, is close to its margin, or can't be told."""


class Number(Frozen):
    """A number and why it is that number."""

    value: float = Field(gt=0)
    why: Why


class Blindness(Frozen):
    """What the blind-time budget is made of (``blind_time``)."""

    loss_budget: Number
    deviations: Number
    shortest: Number
    longest: Number
    participation: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.longest.value <= self.shortest.value:
            raise ValueError("longest is not above shortest")
        if self.participation.value > 1 or self.loss_budget.value > 1:
            raise ValueError("participation and loss_budget are shares")
        return self


class ExposureClasses(Frozen):
    """From when on exposure is X2."""

    unwind_minutes: Number
    margin_use: Number


class Window(Frozen):
    """One pair of windows of a burn rate: it burns when both do."""

    factor: float = Field(gt=1)
    long_seconds: Seconds = Field(gt=0)
    short_seconds: Seconds = Field(gt=0)


class Objective(Frozen):
    """A share of events that must be good, whose budget can burn too fast (``burn_rate``).

    With fewer than ``fewest_events`` in the long window a ratio says nothing; there ``bad_events`` of them fire.
    """

    metric: Identifier
    target: float = Field(gt=0, lt=1)
    windows: tuple[Window, ...] = Field(min_length=1)
    fewest_events: int = Field(ge=10)
    bad_events: int = Field(ge=1)
    why: Why


class Step(Frozen):
    """Whom an incident that nobody has taken is brought to next."""

    after: Seconds
    to: str = Field(min_length=3)


class Paging(Frozen):
    """What becomes of a firing rule."""

    grouping: Number
    reopen_within: Number
    escalation: dict[Severity, tuple[Step, ...]]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for severity, steps in self.escalation.items():
            if not severity.pages or [step.after for step in steps] != sorted({step.after for step in steps}):
                raise ValueError(f"{severity}: only pages escalate, each step later than the one before")
        return self


class Settings(Frozen):
    """The numbers that all rules share."""

    blind_time: Blindness
    exposure: ExposureClasses
    paging: Paging
    objectives: tuple[Objective, ...] = ()
