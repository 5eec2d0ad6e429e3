"""Opens the sources that the universe names, and finds what an earlier fetch left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from research_to_prod.defs.resources import Venues
from research_to_prod.lake import Lake, LakeError
from research_to_prod.market_data.certificates import Certificate, certificates_from
from research_to_prod.market_data.ingest import Month, Sources
from research_to_prod.market_data.universe import Universe
from research_to_prod.settings import Settings


def open_sources(universe: Universe, settings: Settings, venues: Venues) -> Sources:
    """Return a client for each venue that some market is fetched from, and the vendor's folder."""
    fetched = {market.venue for market in universe.markets if market.source == "venue" or market.funding is True}
    clients = {name: venues.client(universe.venue(name)) for name in sorted(fetched)}
    return Sources(clients=clients, folder=settings.vendor)


def existing_month(lake: Lake, table: str, month: str) -> Month | None:
    """Return the month as an earlier fetch left it, with its certificates; None before the first."""
    certificates = certificates_of(lake, table, month)
    return Month(lake.read(table, month).rows, certificates) if certificates and lake.has(table, month) else None


def certificates_of(lake: Lake, table: str, month: str) -> tuple[Certificate, ...]:
    """Return the certificates of the fetches that fed ``month`` of ``table``; empty when there are none."""
    try:
        kept = lake.read("fetch_certificates", f"{table}-{month}")
    except LakeError:  # none, or none that can be read: what they covered is unknown either way
        return ()
    return certificates_from(kept.rows)


def fetched_until(certificates: Sequence[Certificate], now: datetime) -> datetime:
    """Return the time to which the fetches reached: a bar that ended since is not missing, only not fetched yet."""
    return min(now, max(each.interval_end for each in certificates)) if certificates else now
