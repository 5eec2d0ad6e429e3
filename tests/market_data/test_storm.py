"""Under a storm of faults ingestion ends with exactly the sandbox's truth, or says that it does not know.

Twenty seeds, every kind of fault that a read can meet, the real ccxt client. What the client concludes is compared row
by row with the market's own bars and the desk's own fills; what was thrown at it is read from the sandbox's journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import research_to_prod
from research_to_prod.market_data.ingest import IngestError, Month, Sources, fetch_funding, fetch_month
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.universe import MarketSpec, Universe
from research_to_prod.market_data.venue import Credentials, VenueClient, VenueError, connect
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule, Injection
from research_to_prod.sandbox.instruments import BROKEN_BARS
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer
from research_to_prod.values import month_bounds

SEEDS = range(20)
PAGE = 90
"""Rows that this venue gives at once, whatever is asked for: many pages, and many ends at which to lose a row."""

UNIVERSE = Universe.load(Path(research_to_prod.__file__).parent / "desk" / "universe.yaml")
MARKETS = tuple(each for each in UNIVERSE.markets if each.symbol in {"BTC/USDT", "DOGE/USDT", "ETH/USDT:USDT"})
MONTHS = ("2023-03", "2023-04")
NOW = datetime(2023, 4, 10, 12, 0, 30, tzinfo=UTC)
"""Half a minute into an hour: a venue's clock that is 90 s behind has not seen the last bar end."""

HOUR = timedelta(hours=1)
STALL = 0.6  # seconds, twice the client's patience below
TIMEOUT_MS = 300

MIX = {
    FaultKind.RATE_LIMITED: 0.02,
    FaultKind.BANNED: 0.002,
    FaultKind.SERVER_ERROR: 0.02,
    FaultKind.BAD_GATEWAY: 0.01,
    FaultKind.HTML_BODY: 0.01,
    FaultKind.EMPTY_BODY: 0.01,
    FaultKind.CUT_JSON: 0.01,
    FaultKind.WRONG_SHAPE: 0.01,
    FaultKind.NULL_BODY: 0.01,
    FaultKind.WRAPPED_BODY: 0.01,
    FaultKind.CODE_BODY: 0.01,
    FaultKind.EMPTY_LIST: 0.02,
    FaultKind.STALL: 0.006,
    FaultKind.RESET: 0.02,
    FaultKind.DROPPED_REPLY: 0.01,
    FaultKind.SHORT_BODY: 0.01,
    FaultKind.DUPLICATE_ROWS: 0.03,
    FaultKind.OUT_OF_ORDER: 0.03,
}
"""Chance of each kind for every request: one in five goes wrong somehow."""

RULES = (
    *(FaultRule("*", kind, probability=chance, seconds=STALL) for kind, chance in MIX.items()),
    FaultRule("*time", FaultKind.CLOCK_SKEW, probability=0.05, seconds=-90.0),
    FaultRule("*time", FaultKind.CLOCK_SKEW, probability=0.05, seconds=5_400.0),
)
KINDS = {*MIX, FaultKind.CLOCK_SKEW}


class ShortPages(SandboxServer):
    """A venue whose own limit is far below the one asked for."""

    def answer(self, method: str, path: str, raw_query: str, key: str | None, now: datetime) -> tuple[int, Any]:
        if path.endswith(("klines", "fundingRate")):
            raw_query += f"&limit={PAGE}"
        status, body = super().answer(method, path, raw_query, key, now)
        return status, body[:PAGE] if isinstance(body, list) else body


def client_of(server: SandboxServer) -> VenueClient:
    """Return a client that waits for nothing: not between attempts, and hardly for an answer."""
    credentials = Credentials(key=API_KEY, secret=API_SECRET)
    venue = UNIVERSE.venue("sandbox")
    client = connect(venue, base_url=server.base_url, credentials=credentials, sleep=lambda _: None)
    client._transport._exchange.timeout = TIMEOUT_MS
    return client


@dataclass
class Tally:
    """What the storm did, over all seeds."""

    requests: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def add(self, server: SandboxServer) -> None:
        self.requests += server.requests
        self.injected.update(each.kind for each in server.journal.records)


@pytest.fixture(scope="module")
def desk() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(7))


# Market data


Rows = dict[int, tuple[float, ...]]
BARS = ("open", "high", "low", "close", "volume")


def true_bars(market: SandboxMarket, symbol: str, start: datetime, end: datetime) -> Rows:
    """Return the market's own bars by their open in microseconds, as precise as the venue words prices."""
    bars, terms = market.candles(symbol, start, end, HOUR), market.instrument(symbol)
    digits = [-int(step.as_tuple().exponent) for step in (*[terms.tick] * 4, terms.lot)]
    columns = [getattr(bars, name).tolist() for name in BARS]
    return {
        ts: tuple(round(value, places) for value, places in zip(row, digits, strict=True))
        for ts, row in zip(bars.ts.tolist(), zip(*columns, strict=True), strict=True)
    }


def by_time(rows: pa.Table, names: Iterable[str]) -> Iterator[tuple[int, tuple[float, ...]]]:
    columns = [rows[name].to_pylist() for name in names]
    return zip(rows["ts"].cast(pa.int64()).to_pylist(), zip(*columns, strict=True), strict=True)


def broken_opens(spec: MarketSpec) -> set[int]:
    return {int(each.open_at.timestamp()) * 1_000_000 for each in BROKEN_BARS if spec.symbol == f"{each.base}/USDT"}


def covered_to(month: Month, scope: str) -> datetime:
    (proof,) = [each for each in month.certificates if each.scope == scope]
    assert proof.complete
    return proof.interval_end


def check_bars(month: Month, name: str, market: SandboxMarket, journal: tuple[Injection, ...]) -> None:
    judged = split(month.rows)
    failed = {each.symbol for each in month.failures}
    for spec in MARKETS:
        if spec.symbol in failed:
            check_unknown(month, spec)
            continue
        first, stop = spec.bars_of(name, NOW)
        covered = covered_to(month, f"{spec.symbol} {spec.timeframe}")
        # A certificate that ends early claims less; only a clock that the sandbox bent may be the reason.
        assert covered == stop or (
            covered == stop - HOUR and any(each.kind == FaultKind.CLOCK_SKEW for each in journal)
        )
        truth, broken = true_bars(market, spec.symbol, first, covered), broken_opens(spec)
        mine = judged.accepted.filter(pc.equal(judged.accepted["symbol"], spec.symbol))
        found = list(by_time(mine, BARS))
        assert len(dict(found)) == len(found)  # none twice
        assert dict(found) == {ts: row for ts, row in truth.items() if ts not in broken}  # none lost, none invented
        raw = month.rows.filter(pc.equal(month.rows["symbol"], spec.symbol))
        assert set(raw["ts"].cast(pa.int64()).to_pylist()) == set(truth)  # nor among what was put aside


def check_unknown(month: Month, spec: MarketSpec) -> None:
    """Of a market that failed nothing is told: neither a row nor a certificate."""
    assert spec.symbol not in month.rows["symbol"].to_pylist()
    assert not [each for each in month.certificates if each.scope.startswith(f"{spec.symbol} ")]


def check_funding(month: Month, name: str, market: SandboxMarket) -> None:
    (spec,) = [each for each in MARKETS if each.funding]
    start, _ = spec.span_of(month_bounds(name), NOW)
    paid = market.funding(spec.symbol, start, covered_to(month, spec.symbol))
    truth = zip(paid.ts.tolist(), zip(paid.rate.tolist(), paid.mark_price.tolist(), strict=True), strict=True)
    assert list(by_time(month.rows, ("rate", "mark_price"))) == list(truth)


@pytest.fixture(scope="module")
def market_storm(desk: SandboxDesk) -> Tally:
    """Run all seeds and compare each answer with the truth; what could not be fetched must be said so."""
    tally = Tally()
    for seed in SEEDS:
        with ShortPages(7, lambda: NOW, FaultPlan(RULES, seed=seed), desk) as server:
            sources = Sources(clients={"sandbox": client_of(server)})
            for name in MONTHS:
                for fetch in (fetch_month, fetch_funding):
                    try:
                        month = fetch(MARKETS, name, sources, NOW)
                    except IngestError:
                        tally.ended["unknown"] += 1  # nothing is returned, so nothing is certified
                        continue
                    tally.ended["unknown" if month.failures else "truth"] += 1
                    if fetch is fetch_month:
                        check_bars(month, name, desk.market, server.journal.records)
                    else:
                        check_funding(month, name, desk.market)
            tally.add(server)
    return tally


@pytest.mark.slow
def test_bars_and_funding_come_out_as_the_truth_or_not_at_all(market_storm: Tally) -> None:
    assert market_storm.ended["truth"] + market_storm.ended["unknown"] == len(SEEDS) * len(MONTHS) * 2
    # Mostly the truth, else refusing everything would pass; sometimes unknown, because a ban ends a fetch.
    assert market_storm.ended["truth"] > 50
    assert market_storm.ended["unknown"] > 0


@pytest.mark.slow
def test_the_storm_was_one(market_storm: Tally) -> None:
    assert market_storm.requests >= 1_000
    assert set(market_storm.injected) == KINDS
    assert len(KINDS) >= 10
    assert market_storm.injected.total() > market_storm.requests / 10


# The account's trades


TRADED = datetime(2026, 1, 4, 12, 0, 30, tzinfo=UTC)
TRADES_FROM = datetime(2026, 1, 2, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT:USDT")


@pytest.mark.slow
def test_the_accounts_trades_come_out_as_the_desks_own_or_not_at_all(desk: SandboxDesk) -> None:
    # Last, so that what nothing else hits is hit by it: a cursor by time would lose fills at the end of each page.
    rules = (*RULES, FaultRule("*rades", FaultKind.SAME_MILLISECOND, probability=1.0))
    fills = [fill for day in desk.days(TRADES_FROM, TRADED) for fill in day.fills if fill.filled_at < TRADED]
    tally = Tally()
    for seed in SEEDS:
        with ShortPages(7, lambda: TRADED, FaultPlan(rules, seed=seed), desk) as server:
            client = client_of(server)
            # ccxt signs with this machine's clock and corrects it by the difference that it measured.
            for symbol in SYMBOLS:
                try:
                    trades = client.my_trades(symbol, TRADES_FROM, TRADED).rows
                except VenueError:
                    tally.ended["unknown"] += 1
                    continue
                tally.ended["truth"] += 1
                assert [(each["id"], float(each["price"]), float(each["amount"])) for each in trades] == [
                    (fill.fill_id, float(fill.price), float(fill.quantity)) for fill in fills if fill.symbol == symbol
                ]
            tally.add(server)
    assert tally.ended["truth"] > len(SEEDS)
    assert tally.injected[FaultKind.SAME_MILLISECOND] > 0


def test_an_empty_list_in_place_of_a_page_is_not_taken_for_its_end(desk: SandboxDesk) -> None:
    (spec,) = [each for each in MARKETS if each.symbol == "BTC/USDT"]
    rule = FaultRule("*klines", FaultKind.EMPTY_LIST, frozenset({3}))
    with ShortPages(7, lambda: NOW, FaultPlan((rule,)), desk) as server:
        month = fetch_month([spec], MONTHS[0], Sources(clients={"sandbox": client_of(server)}), NOW)
        assert [each.kind for each in server.journal.records] == [FaultKind.EMPTY_LIST]
    assert month.rows.num_rows == len(true_bars(desk.market, spec.symbol, *spec.bars_of(MONTHS[0], NOW)))
