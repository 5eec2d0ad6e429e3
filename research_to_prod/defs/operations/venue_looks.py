"""One look at each venue: whether it trades, its time, and what all our requests of the last minutes came back as."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from research_to_prod.defs.operations.posture_sources import Written, written
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.market_data.traffic import Bracket
    from research_to_prod.market_data.venue import VenueClient
    from research_to_prod.operations.alerting.evaluation import Observation
    from research_to_prod.operations.alerting.settings import Objective

UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Look:
    """What one venue was asked, and how it answered.

    Parameters
    ----------
    answer
        Its status, or that it is unavailable; None where that is not known.
    problem
        Why something is not known.
    """

    client: VenueClient
    answer: str | None
    bracket: Bracket | None
    problem: str = ""


def look_at(client: VenueClient, minute: int) -> Look:
    """Ask a venue for its status and, if it answers or has none, one of its hosts for the time: one request more."""
    from research_to_prod.market_data.venue_errors import VenueError, VenueUnavailable, VenueUnsupported

    answer, problem = None, ""
    try:
        answer = client.status().value
    except VenueUnavailable as error:
        return Look(client, UNAVAILABLE, None, str(error))
    except VenueError as error:
        problem = f"whether it trades is not known: {error}"
        if not isinstance(error, VenueUnsupported):
            return Look(client, None, None, problem)
    try:
        return Look(client, answer, client.bracket(minute), problem)
    except VenueError as error:
        return Look(client, answer, None, f"its time is not known: {error}")


def heard_of(looks: list[Look], settings: Settings, now: datetime) -> tuple[list[Observation], tuple[str, ...]]:
    """Return what requests to the venues say, ours of these looks and those of runs; and lines that were refused."""
    from research_to_prod.defs.operations.promised_runs import LOOK_BACK
    from research_to_prod.operations.alerting.burn_measures import certificate_burn_heard
    from research_to_prod.operations.alerting.venue_measures import VenueLook, incomplete_in_a_row, observe_venue
    from research_to_prod.operations.traffic_log import TrafficLog

    told, refused = TrafficLog(settings.operations).within(now - LOOK_BACK, now)
    objectives = objectives_of(settings.desk, written(settings.desk, "alerts/settings.yaml"))
    found: list[Observation] = []
    for each in looks:
        name = each.client.name
        runs = [heard for heard in told if heard.venue == name]
        look = VenueLook(name, (*each.client.heard, *runs), each.bracket, each.client.banned)
        found += observe_venue(look, now)
        found += [*incomplete_in_a_row(runs, name, now), *certificate_burn_heard(runs, objectives, now)]
    return found, refused


@lru_cache(maxsize=4)
def objectives_of(desk: Path, _: Written) -> tuple[Objective, ...]:
    """Return the desk's objectives as they are written: parsed again only when the file has changed."""
    from research_to_prod.operations.alerting.rules import load_objectives

    return load_objectives(desk / "alerts")
