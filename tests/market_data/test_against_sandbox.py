"""The client against the sandbox venue: what it concludes is the sandbox's own truth, with and without faults."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import research_to_prod
from research_to_prod.market_data.ingest import Month, Sources, fetch_funding, fetch_month
from research_to_prod.market_data.quality import profile
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec, Universe
from research_to_prod.market_data.venue import VenueClient, connect
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.server import SandboxServer
from research_to_prod.settings import Settings

NOW = datetime(2023, 3, 10, 12, 30, tzinfo=UTC)
MONTH = "2023-03"
UNIVERSE = Universe.load(Path(research_to_prod.__file__).parent / "desk" / "universe.yaml")
MARKETS = tuple(each for each in UNIVERSE.markets if each.symbol in {"BTC/USDT", "DOGE/USDT", "ETH/USDT:USDT"})


@pytest.fixture(scope="module")
def desk() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(7))


def client(server: SandboxServer) -> VenueClient:
    return connect(UNIVERSE.venue("sandbox"), base_url=server.base_url, sleep=lambda _: None)


def fetch(server: SandboxServer, markets: Sequence[MarketSpec] = MARKETS) -> tuple[Month, Month]:
    sources = Sources(clients={"sandbox": client(server)})
    return fetch_month(markets, MONTH, sources, NOW), fetch_funding(markets, MONTH, sources, NOW)


@pytest.fixture(scope="module")
def calm(desk: SandboxDesk) -> tuple[Month, Month]:
    with SandboxServer(seed=7, clock=lambda: NOW, desk=desk) as server:
        return fetch(server)


def test_the_bars_are_the_sandboxes_own(desk: SandboxDesk, calm: tuple[Month, Month]) -> None:
    judged = split(calm[0].rows)
    assert judged.accepted.num_rows > 600
    for spec in MARKETS:
        truth = desk.market.candles(
            spec.symbol, datetime(2023, 3, 1, tzinfo=UTC), datetime(2023, 3, 10, 12, tzinfo=UTC), timedelta(hours=1)
        )
        mine = judged.accepted.filter(pc.equal(judged.accepted["symbol"], spec.symbol))
        broken = judged.rejected.filter(pc.equal(judged.rejected["symbol"], spec.symbol))
        true_close = dict(zip(truth.ts.tolist(), truth.close.tolist(), strict=True))
        close = dict(zip(mine["ts"].cast(pa.int64()).to_pylist(), mine["close"].to_pylist(), strict=True))
        assert close == pytest.approx({ts: true_close[ts] for ts in close})
        assert set(true_close) - set(close) <= set(broken["ts"].cast(pa.int64()).to_pylist())


def test_the_profile_names_what_the_sandbox_left_out(desk: SandboxDesk, calm: tuple[Month, Month]) -> None:
    judged = split(calm[0].rows)
    policy = load_quality_policy(Settings().desk / "policies" / "market_quality.yaml")
    series = read_series(judged.accepted, MARKETS, MONTH, NOW)
    rows = profile(series, judged.rejected, MONTH, calm[0].certificates, policy).to_pylist()
    assert {row["expected_bars"] for row in rows} == {9 * 24 + 12}
    for row in rows:
        assert row["valid_bars"] + row["missing_bars"] == row["expected_bars"]
        assert row["unknown_bars"] == 0


WIRE_FAULTS = (
    FaultKind.RATE_LIMITED,
    FaultKind.SERVER_ERROR,
    FaultKind.HTML_BODY,
    FaultKind.EMPTY_BODY,
    FaultKind.CUT_JSON,
    FaultKind.WRONG_SHAPE,
    FaultKind.RESET,
    FaultKind.SHORT_BODY,
)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_faults_changes_nothing(desk: SandboxDesk, calm: tuple[Month, Month], seed: int) -> None:
    plan = FaultPlan(tuple(FaultRule("*", kind, probability=0.04) for kind in WIRE_FAULTS), seed=seed)
    with SandboxServer(seed=7, clock=lambda: NOW, faults=plan, desk=desk) as server:
        candles, funding = fetch(server)
        assert server.journal.records
    assert candles.rows.equals(calm[0].rows)
    assert funding.rows.equals(calm[1].rows)


def test_rows_doubled_and_disordered_on_the_wire_end_in_the_same_bars(
    desk: SandboxDesk, calm: tuple[Month, Month]
) -> None:
    kinds = (FaultKind.DUPLICATE_ROWS, FaultKind.OUT_OF_ORDER)
    plan = FaultPlan(tuple(FaultRule("*klines", kind, probability=0.5) for kind in kinds), seed=3)
    with SandboxServer(seed=7, clock=lambda: NOW, faults=plan, desk=desk) as server:
        candles, _ = fetch(server)
        assert server.journal.records
    assert split(candles.rows).accepted.equals(split(calm[0].rows).accepted)
