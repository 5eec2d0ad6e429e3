"""The dead man's handle: a file that the alerter renews after every turn, and that somebody else watches.

Whoever watches must not share the alerter's fate: another process, best another machine, with another channel. Belongs
here: the file. Doesn't: the rule on it (``alerter_heartbeat``), which covers what the alerter itself can still see.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import Field, ValidationError

from research_to_prod.declared import Frozen
from research_to_prod.promotion.files import replace_file
from research_to_prod.promotion.record import UtcMillis

FILE = "heartbeat.json"
TOLERATED = 2
"""Intervals without a sign of life after which the alerter counts as silent."""


class Beat(Frozen):
    """One sign of life: a whole turn, judged and delivered."""

    at: UtcMillis
    interval_seconds: float = Field(gt=0)
    turn: int = Field(ge=0)
    undelivered: int = Field(ge=0)
    oldest_undelivered_seconds: float = Field(ge=0)


def beat(path: Path, sign: Beat) -> None:
    """Renew the file, whole or not at all."""
    replace_file(path, sign.model_dump_json().encode())


def last_beat(path: Path) -> Beat | None:
    """Return the last sign of life; None where there is none, or none that can be read."""
    try:
        return Beat.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def silence(path: Path, now: datetime) -> str | None:
    """Return why the alerter counts as silent; None while it doesn't."""
    sign = last_beat(path)
    if sign is None:
        return f"there is no readable heartbeat at {path}"
    age = (now - sign.at).total_seconds()
    if age > TOLERATED * sign.interval_seconds:
        return f"the alerter's last turn ended {age:.0f} s ago; it makes one every {sign.interval_seconds:.0f} s"
    if age < -sign.interval_seconds:
        return f"the alerter's last turn is {-age:.0f} s in the future: one of the clocks is wrong"
    return None
