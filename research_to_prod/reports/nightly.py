"""Which days still want a report: told from what was delivered and what was made, not from the ticks of a clock.

Belongs here: the days that are due and the days that are late. Doesn't: running them (``defs.automation``).

A scheduler that was down misses ticks, catches up a handful at most, and takes a tick whose run was killed for done.
The records themselves miss nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

LOOK_BACK = timedelta(days=31)
"""Older days than these are nobody's night's work any more; whoever wants their report asks for it."""

MOST_A_NIGHT = 7
"""Days made in one night: a week's outage is caught up in one, and a fault in every day costs seven runs."""

GRACE = timedelta(hours=6)
"""A day's report may be missing for so long after its end: the schedule's time, the run, and one retry of it."""


@dataclass(frozen=True)
class Late:
    """Days without a report long after their end, by whether the desk delivered them."""

    not_made: tuple[str, ...]
    not_delivered: tuple[str, ...]


def due_days(made: Collection[str], delivered: Collection[str], now: datetime) -> list[str]:
    """Return the days to make tonight, oldest first, because a day begins with what the day before ended with.

    Parameters
    ----------
    made
        Days that have a report.
    delivered
        Days of which the desk delivered all that is required.
    now
        The tick. The day before it is due whether it was delivered or not, so that a missing delivery fails a run where
        everybody sees it; an earlier one once it is delivered.
    """
    yesterday = (now - timedelta(days=1)).date()
    oldest = (yesterday - LOOK_BACK).isoformat()
    wanted = {day for day in delivered if oldest < day < yesterday.isoformat()} | {yesterday.isoformat()}
    # Yesterday is wanted every night, however many older ones wait.
    *earlier, last = sorted(wanted)
    missing = [day for day in earlier if day not in made][: MOST_A_NIGHT - (last not in made)]
    return missing + [last] * (last not in made)


def late_days(made: Collection[str], delivered: Collection[str], now: datetime) -> Late:
    """Return the days since the desk's first, at most `LOOK_BACK` ago, that ended `GRACE` ago and have no report."""
    last = (now - GRACE - timedelta(days=1)).date()
    known = sorted({*made, *delivered})
    first = max(date.fromisoformat(known[0]), last - LOOK_BACK) if known else last
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    missing = [day for day in days if day not in made]
    return Late(
        not_made=tuple(day for day in missing if day in delivered),
        not_delivered=tuple(day for day in missing if day not in delivered),
    )
