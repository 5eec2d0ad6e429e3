"""What the detectors are fed: exposures within the day, and results of whole days.

Belongs here: the two kinds of reading. Doesn't: judging them (``watch``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from pydantic import AwareDatetime


@dataclass(frozen=True)
class Exposure:
    """What a candidate holds and does at one moment; a number that is None, not finite or impossible is not known.

    Parameters
    ----------
    at, observed_at
        When it is judged, and when the venue said so; None when it didn't.
    position
        Gross position as a multiple of the capital approved.
    orders_a_minute
        Orders, cancels and changes in the last minute.
    leverage
        Gross position as a multiple of equity.
    loss
        Since midnight UTC, as a share of the capital approved; a gain is negative.
    """

    candidate: str
    at: AwareDatetime
    observed_at: AwareDatetime | None
    position: float | None
    orders_a_minute: float | None
    leverage: float | None
    loss: float | None


@dataclass(frozen=True)
class DayResult:
    """What a candidate earned on one whole UTC day, and what its shadow did on the same bars and orders.

    Parameters
    ----------
    observed_at
        When the day's result was taken; before the day's end it is not the day's. None when nothing was taken.
    live, shadow
        Net returns on the capital approved; None or not finite: not known.
    """

    candidate: str
    day: date
    observed_at: AwareDatetime | None
    live: float | None
    shadow: float | None


Reading = Exposure | DayResult


def moment(reading: Reading) -> datetime | date:
    """Return where a reading stands among those of its kind."""
    return reading.at if isinstance(reading, Exposure) else reading.day
