"""What the graph's assets are given: lake, settings, venues, clock.

Belongs here: wiring. The clock and the environment enter the system here and nowhere else.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster_duckdb import DuckDBResource

from research_to_prod.defs.fence import refuse_finished
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import LakeIOManager
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.execution.order_entry import OrderEntry
    from research_to_prod.market_data.universe import VenueSpec
    from research_to_prod.market_data.venue import VenueClient
    from research_to_prod.sandbox.server import SandboxServer

SANDBOX = "sandbox"
# The sandbox's market; another seed is another history.
SANDBOX_SEED = 7


def utc_now() -> datetime:
    """Return the wall clock's time; domain code gets it as an argument."""
    return datetime.now(UTC)


class Venues:
    """Opens clients of the venues that the universe names; the venue ``sandbox`` runs inside this process.

    Parameters
    ----------
    environment
        Holds the credentials under the names that the universe gives.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._sandbox: SandboxServer | None = None

    def client(self, venue: VenueSpec) -> VenueClient:
        """Return a client of ``venue``; the sandbox starts on first use and ends with the process."""
        from research_to_prod.market_data.venue import Credentials, connect

        if venue.name != SANDBOX:
            return connect(venue, credentials=Credentials.from_environment(venue, self._environment))
        from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer

        if self._sandbox is None:
            self._sandbox = SandboxServer(seed=SANDBOX_SEED).__enter__()
            atexit.register(self._sandbox.__exit__, None, None, None)
        return connect(venue, base_url=self._sandbox.base_url, credentials=Credentials(key=API_KEY, secret=API_SECRET))


@contextmanager
def open_drill_venue() -> Iterator[OrderEntry]:
    """Open order entry at a sandbox of its own, at midday of its desk's first day, for as long as a drill takes.

    Its account holds the desk's contracts of that day; the sandbox that serves market data is not touched.
    """
    from research_to_prod.execution.order_entry import connect_orders
    from research_to_prod.market_data.universe import VenueSpec
    from research_to_prod.market_data.venue import Credentials
    from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer

    midday, started = datetime(2026, 1, 1, 12, 30, tzinfo=UTC), time.monotonic()
    spec = VenueSpec(name=SANDBOX, ccxt="binance", rate_limit_ms=1)
    with SandboxServer(SANDBOX_SEED, lambda: midday + timedelta(seconds=time.monotonic() - started)) as server:
        yield connect_orders(spec, Credentials(key=API_KEY, secret=API_SECRET), base_url=server.base_url)


def build_resources(environment: Mapping[str, str], clock: Callable[[], datetime] = utc_now) -> dict[str, object]:
    """Return all resources of the graph for one environment."""
    settings = Settings.from_environment(environment)
    duckdb = DuckDBResource(database=":memory:")

    def lake(context: dg.InitResourceContext) -> Lake:
        instance, run = context.instance, context.run

        def admit() -> None:
            if instance is not None and run is not None:
                refuse_finished(instance, run.run_id)

        return Lake(settings.lake, connect=duckdb.get_connection, admit=admit)

    def io_manager(context: dg.InitResourceContext) -> LakeIOManager:
        return LakeIOManager(context.resources.lake, TABLES)

    return {
        "settings": settings,
        "lake": dg.ResourceDefinition(lake),
        # The default manager: no asset falls back to Dagster's pickles.
        "io_manager": dg.IOManagerDefinition(io_manager, required_resource_keys={"lake"}),
        "duckdb": duckdb,
        "venues": Venues(environment),
        "clock": clock,
    }
