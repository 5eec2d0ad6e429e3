from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import ccxt
import pytest

from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.server import SandboxServer


@pytest.fixture(scope="session")
def clock() -> Callable[[], datetime]:
    """A clock that reads 2026-01-08 01:30 UTC at the start and runs: half an hour in which the desk is quiet."""
    behind = datetime.now(UTC) - datetime(2026, 1, 8, 1, 30, tzinfo=UTC)
    return lambda: datetime.now(UTC) - behind


@pytest.fixture(scope="session")
def desk() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(7))


@pytest.fixture(scope="session")
def server(desk: SandboxDesk, clock: Callable[[], datetime]) -> Iterator[SandboxServer]:
    with SandboxServer(7, clock, desk=desk) as running:
        yield running


@pytest.fixture(scope="session")
def connect() -> Callable[..., ccxt.binance]:
    """Point the real ccxt client at a server."""

    def connected(base_url: str, **changes: object) -> ccxt.binance:
        config = {
            "apiKey": "sandbox-key",
            "secret": "sandbox-secret",
            "enableRateLimit": False,
            "timeout": 2_000,
            "options": {
                "fetchMarkets": {"types": ["spot", "linear"]},
                "fetchMargins": False,
                "fetchCurrencies": False,
                "adjustForTimeDifference": True,
            },
        }
        exchange = ccxt.binance(config | changes)
        for name, url in exchange.urls["api"].items():
            if isinstance(url, str):
                exchange.urls["api"][name] = base_url + urlsplit(url).path
        exchange.number = str
        return exchange

    return connected


@pytest.fixture(scope="session")
def exchange(server: SandboxServer, connect: Callable[..., ccxt.binance]) -> ccxt.binance:
    client = connect(server.base_url)
    client.load_markets()
    return client


@pytest.fixture(scope="session")
def day_of() -> Callable[[str], int]:
    """Return a day's first millisecond."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return lambda day: (datetime.fromisoformat(day).replace(tzinfo=UTC) - epoch) // timedelta(milliseconds=1)
