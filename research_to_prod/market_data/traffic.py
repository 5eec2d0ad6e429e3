"""What our requests to a venue came back as, counted by spells of ten seconds, and its clock against ours.

Every client counts its own. Belongs here: the counts, the bracket of a question for the time. Doesn't: what a count
means (``operations.alerting.venue_measures``), keeping it for other processes (``operations.traffic_log``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from research_to_prod.declared import Frozen

SPELL = timedelta(seconds=10)
KEPT = timedelta(minutes=10)
"""How long a client remembers; no rule looks at answers further back than five minutes."""

_COUNTS = (
    *("answers", "unanswered", "server_errors", "signed", "clock_refusals", "bans"),
    *("fetches", "incomplete"),
)


@dataclass(frozen=True)
class Budget:
    """A host's own count of what it was asked in the running minute.

    Parameters
    ----------
    header
        Of each answer, that says what was used, whoever at our address used it.
    allowed
        What the venue's documents allow in a minute.
    """

    header: str
    allowed: int


@dataclass(frozen=True)
class Bracket:
    """One question for the venue's time: our clock before and after, the venue's in between, and its step."""

    sent: datetime
    answered: datetime
    venue: datetime
    step: timedelta


class Heard(Frozen):
    """What one client heard of a venue in the ten seconds from ``at`` on.

    Parameters
    ----------
    answers, unanswered
        Requests that were answered, whatever it said; and those that broke on the way.
    server_errors, clock_refusals, bans
        Answers that were a server's error, a refusal of our timestamp, or a 418.
    signed
        Answers to signed requests: only these can be refused for their timestamp.
    used
        Highest share of a minute's request weight that the venue called used, by its host's path.
    fetches, incomplete
        Fetches that ended then, and those of them that no certificate calls complete.
    """

    venue: str = Field(min_length=1)
    at: AwareDatetime
    answers: int = Field(0, ge=0)
    unanswered: int = Field(0, ge=0)
    server_errors: int = Field(0, ge=0)
    signed: int = Field(0, ge=0)
    clock_refusals: int = Field(0, ge=0)
    bans: int = Field(0, ge=0)
    used: dict[str, float] = Field(default_factory=dict)
    fetches: int = Field(0, ge=0)
    incomplete: int = Field(0, ge=0)


class Traffic:
    """The spells of one client, newest last."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._spells: dict[datetime, Heard] = {}

    def note(self, at: datetime, used: Mapping[str, float], **counts: int) -> None:
        """Add one request, with its counts of `Heard`."""
        start = at.replace(second=at.second // 10 * 10, microsecond=0)
        one = Heard(venue=self._venue, at=start, used=dict(used), **counts)
        before = self._spells.get(start)
        self._spells[start] = one if before is None else _together(before, one)
        for old in [each for each in self._spells if each < start - KEPT]:
            del self._spells[old]

    @property
    def spells(self) -> tuple[Heard, ...]:
        """What was heard in the last ten minutes of asking, oldest first."""
        return tuple(self._spells[at] for at in sorted(self._spells))


def _together(one: Heard, other: Heard) -> Heard:
    counts = {name: getattr(one, name) + getattr(other, name) for name in _COUNTS}
    used = {host: max(one.used.get(host, 0), other.used.get(host, 0)) for host in one.used | other.used}
    return one.model_copy(update=counts | {"used": used})
