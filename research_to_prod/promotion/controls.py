"""Controls: what people and rules hold back at once, whatever the ledger has promoted.

A control takes away and never gives: the ledger says what may trade, the controls in force say what of it may not
just now. Lifting one is a control too, with mode NONE, in the name of whoever lifts it.

Belongs here: one control, and which are in force. Doesn't: who sets them and where they are kept (`operations`), and
demotions, which are the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import model_validator

from research_to_prod.promotion.record import CanonicalModel, Text, UtcMillis


class Mode(StrEnum):
    """What is held back, from nothing to every order; a halted strategy's positions are closed by people."""

    NONE = "none"
    REDUCE_ONLY = "reduce_only"
    HALT = "halt"


STRICTNESS = (Mode.NONE, Mode.REDUCE_ONLY, Mode.HALT)


class Scope(StrEnum):
    """What a control is on."""

    CANDIDATE = "candidate"
    VENUE = "venue"
    ALL = "all"


class Control(CanonicalModel):
    """One decision to hold back or to let go: on what, since when, by whom and why.

    ``name`` is the candidate's or the venue's, absent for all; a candidate's control is on all of its versions.
    """

    scope: Scope
    name: Text | None = None
    mode: Mode
    since: UtcMillis
    by: Text
    reason: Text

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.name is None) is not (self.scope is Scope.ALL):
            raise ValueError("a control on a candidate or a venue names it, one on all names none")
        return self


def strictest(modes: Iterable[Mode]) -> Mode:
    """Return the strictest of ``modes``; NONE of none."""
    return max(modes, key=STRICTNESS.index, default=Mode.NONE)


def in_force(controls: Iterable[Control], as_of: datetime) -> tuple[Control, ...]:
    """Return the controls that hold something back at ``as_of``: the latest on each thing, unless it lets go.

    Of two of one moment on one thing the stricter holds.

    Raises
    ------
    ValueError
        When a control is later than ``as_of``: leaving it out could leave out a halt.
    """
    latest: dict[tuple[Scope, str | None], Control] = {}
    for control in controls:
        if control.since > as_of:
            raise ValueError(f"a control on {control.name or 'all'} is of {control.since}, after {as_of}")
        held = latest.get((control.scope, control.name))
        if held is None or _rank(held) < _rank(control):
            latest[control.scope, control.name] = control
    holding = [control for control in latest.values() if control.mode is not Mode.NONE]
    return tuple(sorted(holding, key=lambda control: (control.scope, control.name or "")))


def _rank(control: Control) -> tuple[datetime, int]:
    return control.since, STRICTNESS.index(control.mode)
