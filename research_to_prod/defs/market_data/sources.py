"""Opens the sources that the universe names, and finds what an earlier fetch left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from research_to_prod.defs.resources import Venues
from research_to_prod.lake import Lake, LakeError
from research_to_prod.market_data.certificates import Certificate, certificates_from
from research_to_prod.market_data.ingest import Month, Sources
from research_to_prod.market_data.universe import Universe
from research_to_prod.market_data.venue import VenueClient
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds


def open_sources(universe: Universe, settings: Settings, venues: Venues) -> Sources:
    """Return a client for each venue that some market is fetched from, and the vendor's folder.

    A venue without its credentials or without a strict client is noted: its markets fail, the others are fetched.
    """
    clients: dict[str, VenueClient] = {}
    refused: dict[str, str] = {}
    for name in sorted({market.venue for market in universe.markets if market.asks_venue}):
        try:
            clients[name] = venues.client(universe.venue(name))
        except ValueError as error:
            refused[name] = str(error)
    return Sources(clients=clients, folder=settings.vendor, refused=refused)


def trades_due(universe: Universe, day: str, fetched: Month) -> dict[tuple[str, str], tuple[datetime, datetime]]:
    """Return the part of the day that certificates must cover, of each market that asks for trades and didn't fail."""
    failed = {(each.venue, each.symbol) for each in fetched.failures}
    start, end = day_bounds(day)
    spans = {(each.venue, each.symbol): each.span_of((start, end), end) for each in universe.markets if each.trades}
    return {market: span for market, span in spans.items() if span[0] < span[1] and market not in failed}


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
