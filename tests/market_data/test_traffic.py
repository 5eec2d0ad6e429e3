"""What a client counts of its requests: the real client, the sandbox venue over HTTP, one fault at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from research_to_prod.market_data.traffic import Heard
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueClient, VenueError, connect
from research_to_prod.operations.alerting.venue_measures import VenueLook, observe_venue
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, FaultSwitch
from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer

NOW = datetime(2026, 1, 6, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(7, lambda: NOW) as server:
        yield server


@pytest.fixture
def client(server: SandboxServer) -> VenueClient:
    """A client whose clock stands with the venue's; a wait costs it a minute of its own clock."""
    server.switch = FaultSwitch(FaultPlan())
    spec = VenueSpec(name="sandbox", ccxt="binance", rate_limit_ms=1)
    keys = Credentials(key=API_KEY, secret=API_SECRET)
    client = connect(spec, base_url=server.base_url, credentials=keys, sleep=lambda _: None)
    set_clock(client, NOW)
    return client


def set_clock(client: VenueClient, now: datetime) -> None:
    client._transport._exchange.milliseconds = lambda: int(now.timestamp() * 1000)


def inject(server: SandboxServer, pattern: str, kind: FaultKind, *occurrences: int, **how: float) -> None:
    rule = FaultRule(pattern, kind, frozenset(occurrences), **how)  # type: ignore[arg-type]
    server.switch = FaultSwitch(FaultPlan((rule,)))


def heard(client: VenueClient) -> Heard:
    (spell,) = client.heard
    return spell


def measured(client: VenueClient, bracket_of: int | None = None) -> dict[str, float | None]:
    bracket = None if bracket_of is None else client.bracket(bracket_of)
    look = VenueLook("sandbox", client.heard, bracket, client.banned)
    return {each.metric: each.value for each in observe_venue(look, NOW)}


def test_a_calm_venue_is_calm_in_everything(server: SandboxServer, client: VenueClient) -> None:
    client.status()
    client.fees("ETH/USDT:USDT")
    found = measured(client, 0)
    assert found.pop("rate_budget") == pytest.approx(max(heard(client).used.values()))
    assert found == {"server_errors": 0, "clock_skew": 0.0005, "clock_refusals": 0, "venue_bans": 0}
    assert set(heard(client).used) == {"/api/", "/fapi/"}


def test_servers_errors_are_counted_with_every_attempt(server: SandboxServer, client: VenueClient) -> None:
    inject(server, "/sapi/*", FaultKind.SERVER_ERROR, 1, 2)
    client.status()
    assert (heard(client).answers, heard(client).server_errors) == (3, 2)
    assert measured(client)["server_errors"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.SHORT_BODY])
def test_a_request_that_broke_is_no_answer(server: SandboxServer, client: VenueClient, kind: FaultKind) -> None:
    inject(server, "/sapi/*", kind, 1)
    client.status()
    assert (heard(client).answers, heard(client).unanswered, heard(client).server_errors) == (1, 1, 0)


@pytest.mark.parametrize("kind", [FaultKind.HTML_BODY, FaultKind.CUT_JSON, FaultKind.RATE_LIMITED])
def test_an_answer_that_is_no_servers_error_is_counted_as_none(
    server: SandboxServer, client: VenueClient, kind: FaultKind
) -> None:
    inject(server, "/sapi/*", kind, 1)
    client.status()
    assert (heard(client).answers, heard(client).server_errors) == (2, 0)


@pytest.mark.parametrize(("turn", "path"), [(0, "/api/v3/time"), (1, "/fapi/v1/time")])
def test_each_host_s_clock_is_held_against_ours(
    server: SandboxServer, client: VenueClient, turn: int, path: str
) -> None:
    inject(server, path, FaultKind.CLOCK_SKEW, 1, seconds=-0.6)
    assert measured(client, turn)["clock_skew"] == pytest.approx(0.5995)
    assert [each.where for each in server.journal.records[-1:]] == [path]


def test_a_timestamp_that_is_refused_is_counted_though_the_client_gets_over_it(
    server: SandboxServer, client: VenueClient
) -> None:
    client.instruments()
    inject(server, "/fapi/v1/commissionRate", FaultKind.CLOCK_SKEW, 1, seconds=30)
    client.fees("ETH/USDT:USDT")
    assert measured(client)["clock_refusals"] == 1
    assert (heard(client).signed, heard(client).server_errors) == (2, 0)


def test_what_others_use_of_the_budget_is_in_the_venue_s_count(server: SandboxServer, client: VenueClient) -> None:
    inject(server, "/fapi/v1/time", FaultKind.OTHERS_ASK, 1, weight=2200)
    assert (measured(client, 0)["rate_budget"] or 0) < 0.7
    assert (measured(client, 1)["rate_budget"] or 0) > 0.9


def test_a_ban_is_counted_and_the_client_keeps_still_until_it_ends(server: SandboxServer, client: VenueClient) -> None:
    inject(server, "/sapi/*", FaultKind.BANNED, 1, seconds=60)
    asked = server.requests
    for _ in range(2):
        with pytest.raises(VenueError, match="banned this address"):
            client.status()
    assert server.requests == asked + 1
    assert (measured(client)["venue_bans"], client.banned) == (1, True)
    set_clock(client, NOW + timedelta(seconds=61))
    client.status()
    assert (server.requests, client.banned) == (asked + 2, False)
