"""What a desk writes down after an incident: no closing without a scenario that would show it again.

Belongs here: the record that a person writes, and the times that follow from the history. Doesn't: the history.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.promotion.record import Text, UtcMillis

Words = Annotated[str, Field(min_length=20)]


class ReviewError(ValueError):
    """The review can't be used; the message lists every wrong field."""


class Action(Frozen):
    """Something that will be different, who makes it so, and until when."""

    what: Words
    owner: Annotated[str, Field(pattern=r"^(user|team):[a-z0-9._-]+$")]
    due: date


class Review(Frozen):
    """The record of a review.

    Parameters
    ----------
    scenario
        Id of a replay scenario that did not exist before: the rules are measured against it from now on.
    began_at
        When the fault began, as far as is known now.
    detected_by
        The rule, or who saw it first.
    loss
        What it cost, quote currency, a gain negative; None where it can't be told.
    should_have_fired
        Rules that ought to have told, and didn't.
    false_alarms
        Incidents of the same time that were none.
    """

    scenario: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{4,59}$")]
    began_at: UtcMillis
    detected_by: Text
    cause: Words
    loss: float | None
    should_have_fired: tuple[Text, ...] = ()
    false_alarms: tuple[Text, ...] = ()
    actions: tuple[Action, ...]

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if self.should_have_fired and not self.actions:
            raise ValueError("a rule that should have fired and didn't needs an action")
        return self


def load_review(path: Path) -> Review:
    """Read a review from a YAML file.

    Raises
    ------
    ReviewError
        Listing every wrong field.
    """
    return read_declared(path, Review, ReviewError)
