"""Asks each account for its margin, between two looks at its records: minutes are too long for a leveraged book."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg

from research_to_prod.defs.operations.posture_sources import PostureSources
from research_to_prod.defs.partitions import UNIVERSE_FILE
from research_to_prod.defs.resources import Venues
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.market_data.universe import VenueSpec
    from research_to_prod.market_data.venue import VenueClient


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Asks each account for its margin and its contracts' liquidation prices, for the alerter's rule `margin`. "
        "Stopped by default: it asks over the network with the account's key, and starts the sandbox where that is a "
        "venue."
    ),
)
def account_margin(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.SkipReason:
    """Write down what each venue answers; of one that does not, nothing, so that its account counts as not seen."""
    from research_to_prod.market_data.universe import Universe
    from research_to_prod.market_data.venue_errors import VenueError, VenueUnsupported
    from research_to_prod.operations.alerting.margin_measures import margin_of
    from research_to_prod.operations.readings import Measured, Readings

    deviations = PostureSources(lake, settings, clock()).context().hour_deviations
    told: list[str] = []
    for venue in Universe.load(settings.desk / UNIVERSE_FILE).venues:
        try:
            wallets = [each.rows for each in _client(venues, venue).holdings()]
        except VenueUnsupported:
            continue
        except VenueError as error:
            context.log.warning("%s: its margin is not known: %s", venue.name, error)
            continue
        now = clock()
        measured = [Measured.of(each) for each in margin_of(venue.name, wallets, deviations, now)]
        Readings(settings.operations).add(measured, now)
        told += [f"{each.venue} {each.metric} {each.value}" for each in measured]
    return dg.SkipReason("; ".join(told) or "no account told its margin")


@lru_cache(maxsize=16)
def _client(venues: Venues, venue: VenueSpec) -> VenueClient:
    """Return a client that is kept, and this sensor's own: two sensors may tick at once, and a client serves one."""
    return venues.client(venue)
