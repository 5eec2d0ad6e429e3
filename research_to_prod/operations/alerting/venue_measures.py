"""What our own requests say of a venue, as measurements for the rules.

Belongs here: one function a measurement, over what was heard of one venue. Doesn't: levels, asking the venue, and what
requests are counted as (``market_data.traffic``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from research_to_prod.market_data.traffic import Bracket, Heard
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Subject

RECENT = timedelta(minutes=2)
REFUSED_WITHIN = timedelta(minutes=5)
WEIGHED_WITHIN = timedelta(minutes=3)
"""A venue's hosts are asked in turn, one a minute: each was heard within this time."""
SURE = timedelta(seconds=0.1)
"""The rule for clocks is calm again below this; what is less certain than that can't call anything calm."""


@dataclass(frozen=True)
class VenueLook:
    """What is known of one venue at a look.

    Parameters
    ----------
    heard
        By all our clients.
    bracket
        The newest question for its time; None where it was not answered.
    banned
        Whether a ban keeps us from asking.
    """

    venue: str
    heard: Sequence[Heard]
    bracket: Bracket | None = None
    banned: bool = False


def observe_venue(look: VenueLook, moment: datetime) -> list[Observation]:
    """Return every measurement of a venue that a look holds at ``moment``, of nothing later than it."""
    return [*answers(look, moment), *clocks(look, moment), *budgets(look, moment)]


def answers(look: VenueLook, moment: datetime) -> Iterator[Observation]:
    """Yield the share of server's errors; not known where nothing was answered."""
    recent = _within(look, moment, RECENT)
    count, wrong = sum(each.answers for each in recent), sum(each.server_errors for each in recent)
    share = wrong / count if count else None
    yield Observation("server_errors", Subject(look.venue), share, moment, count, evidence="traffic")


def clocks(look: VenueLook, moment: datetime) -> Iterator[Observation]:
    """Yield how far the clocks are apart, and refusals of our timestamps; not known where nothing signed was sent."""
    subject = Subject(look.venue)
    if look.bracket is not None and look.bracket.answered <= moment:
        yield Observation("clock_skew", subject, skew_of(look.bracket), moment, evidence="the venue's time")
    recent = _within(look, moment, REFUSED_WITHIN)
    signed, refused = sum(each.signed for each in recent), sum(each.clock_refusals for each in recent)
    yield Observation("clock_refusals", subject, float(refused) if signed else None, moment, signed, evidence="traffic")


def budgets(look: VenueLook, moment: datetime) -> Iterator[Observation]:
    """Yield the share of the request budget that is used, of the host with least left; and bans.

    The venue counts for the whole address, so that the highest of its counts has everybody's requests in it. It is
    not known where its answers don't say.
    """
    subject = Subject(look.venue)
    used: dict[str, float] = {}
    for each in _within(look, moment, WEIGHED_WITHIN):
        for host, share in each.used.items():
            used[host] = max(used.get(host, 0.0), share)
    worst = max(used, key=lambda host: (used[host], host), default=None)
    value = None if worst is None else used[worst]
    yield Observation("rate_budget", subject, value, moment, evidence=worst or "traffic")
    recent = _within(look, moment, RECENT)
    bans = max(sum(each.bans for each in recent), int(look.banned))
    asked = look.banned or any(each.answers for each in recent)
    yield Observation("venue_bans", subject, float(bans) if asked else None, moment, evidence="traffic")


def incomplete_in_a_row(told: Sequence[Heard], venue: str, moment: datetime) -> Iterator[Observation]:
    """Yield how many readings of an account in a row had a fetch that no certificate calls complete.

    Of the newest reading's time: where nobody reads any more, it ages until it is not seen.
    """
    own = (each for each in told if each.venue == venue and each.fetches and each.at <= moment)
    looks = sorted(own, key=lambda each: each.at, reverse=True)
    if looks:
        run = next((place for place, each in enumerate(looks) if not each.incomplete), len(looks))
        yield Observation("incomplete_fetches", Subject(venue), float(run), looks[0].at, len(looks), None, "traffic")


def skew_of(bracket: Bracket) -> float | None:
    """Return how far the venue's time is from the middle of the bracket, in seconds.

    None where the venue's time lies within the bracket and the bracket is too wide to call the clocks one: the answer
    was under way for longer than what is to be told.
    """
    half = (bracket.answered - bracket.sent + bracket.step) / 2
    off = abs(bracket.venue + bracket.step / 2 - bracket.sent - (bracket.answered - bracket.sent) / 2)
    return None if off <= half and half > SURE else off.total_seconds()


def _within(look: VenueLook, moment: datetime, length: timedelta) -> list[Heard]:
    return [each for each in look.heard if moment - length < each.at <= moment]
