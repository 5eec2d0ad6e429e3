"""Opens the sources that the universe names, and finds what an earlier fetch left."""

from __future__ import annotations

from research_to_prod.defs.resources import Venues
from research_to_prod.lake import Lake
from research_to_prod.market_data.certificates import certificates_from
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
    certificates = f"{table}-{month}"
    if not lake.has(table, month) or not lake.has("fetch_certificates", certificates):
        return None
    proofs = certificates_from(lake.read("fetch_certificates", certificates).rows)
    return Month(lake.read(table, month).rows, proofs)
