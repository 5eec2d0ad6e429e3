"""The account over HTTP through ccxt: all of it, in one settled reading, or unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from benchmarks._reconciliation_trials import POLICY
from research_to_prod.execution.account_reading import Reading, known_symbols, read_account
from research_to_prod.market_data.certificates import certificates_table
from research_to_prod.market_data.universe import Universe, VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueClient, VenueError, connect
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.operations.daily import DayTables, reconcile_day
from research_to_prod.sandbox._execution import FEES
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultRule
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer
from research_to_prod.sandbox.venue_tables import venue_tables

DAY = "2026-01-07"
TRADED = {"BTC/USDT", "DOGE/USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"}


class Clock:
    """The venue's clock: runs, and can be set ahead."""

    def __init__(self, start: datetime) -> None:
        self.behind = datetime.now(UTC) - start

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.behind

    def ahead(self, by: timedelta) -> None:
        self.behind -= by


@pytest.fixture(scope="module")
def desk() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(7), faults=FaultPlan())


@contextmanager
def account(
    desk: SandboxDesk, clock: Clock, faults: FaultPlan | None = None
) -> Iterator[tuple[VenueClient, SandboxServer]]:
    spec = VenueSpec(name="sandbox", ccxt="binance", rate_limit_ms=0.1, order_history_days=36500)
    with SandboxServer(7, clock, faults=faults, desk=desk) as server:
        credentials = Credentials(key=API_KEY, secret=API_SECRET)
        yield connect(spec, base_url=server.base_url, credentials=credentials, sleep=lambda _: None), server


def after(day: str, **later: float) -> Clock:
    return Clock(datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(**later))


def breaks(desk: SandboxDesk, reading: Reading, day: str, now: datetime) -> list[dict[str, Any]]:
    proofs = {name: certificates_table(each, f"{name}-{day}") for name, each in reading.certificates.items()}
    delivered = desk.deliveries(day)
    known = {name: delivered[name] for name in ("fills", "order_events", "ledger_entries", "positions")}
    tables = DayTables(known, reading.tables, proofs)
    found: list[dict[str, Any]] = reconcile_day(tables, BREAKS.empty(), day, POLICY, now).breaks.to_pylist()
    return found


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.drop_columns(["fetch_id"]).to_pylist(), key=str)


@pytest.mark.parametrize("day", ["2026-01-01", DAY])
def test_the_reading_is_the_account_as_it_truly_was(desk: SandboxDesk, day: str) -> None:
    clock = after(day, hours=26)
    with account(desk, clock) as (client, _):
        reading = read_account(client, TRADED, day, client.clock())
    for name, expected in venue_tables(desk, day).items():
        assert rows(reading.tables[name]) == rows(expected), name
    rates = {row["symbol"]: (row["maker_rate"], row["taker_rate"]) for row in reading.tables["venue_fees"].to_pylist()}
    assert rates == dict.fromkeys(TRADED, (FEES["maker"], FEES["taker"]))
    terms = {row["symbol"]: (row["lot"], row["margin_rates"]) for row in reading.tables["venue_fees"].to_pylist()}
    assert terms["ETH/USDT:USDT"] == (desk.market.instrument("ETH/USDT:USDT").lot, [Decimal("0.004")])
    assert terms["BTC/USDT"][1] is None
    assert all(each.complete and each.genuine for found in reading.certificates.values() for each in found)
    assert (reading.problems, reading.settled) == ((), True)
    assert breaks(desk, reading, day, clock()) == []


def test_markets_that_the_account_itself_names_are_read_too(desk: SandboxDesk) -> None:
    clock = after(DAY, hours=26)
    with account(desk, clock) as (client, _):
        reading = read_account(client, {"BTC/USDT"}, DAY, client.clock())
    assert {each.scope for each in reading.certificates["venue_fills"]} == TRADED
    assert reading.settled


def test_a_day_that_runs_is_held_against_what_is_held_now(desk: SandboxDesk) -> None:
    clock = after(DAY, hours=13, minutes=30)
    with account(desk, clock) as (client, _):
        reading = read_account(client, TRADED, DAY, client.clock())
    closing = [row for row in reading.tables["venue_balances"].to_pylist() if row["moment"] == "closing"]
    assert {row["asset"] for row in closing} == {"USDT", "BTC", "DOGE"}
    assert {row["snapshot_at"].hour for row in closing} == {13}
    # What the venue needs of the account it says of now, and of no day that is over.
    (wallet,) = [row for row in closing if row["account"] == "futures"]
    assert wallet["margin_balance"] > 100 * wallet["maintenance_margin"] > 0
    held = reading.tables["venue_positions"].to_pylist()
    marks = [(row["mark_price"], row["liquidation_price"]) for row in held if row["moment"] == "closing"]
    assert marks
    assert all(mark > 0 and liquidation >= 0 for mark, liquidation in marks)
    assert {row["mark_price"] for row in held if row["moment"] == "opening"} <= {None}
    delivered = {name: rows.slice(0, 0) for name, rows in desk.deliveries(DAY).items()}
    # The venue's own records alone: what it holds now is what they add up to.
    tables = DayTables(
        {"fills": delivered["fills"]},
        reading.tables,
        {name: certificates_table(each, f"{name}-{DAY}") for name, each in reading.certificates.items()},
    )
    found = reconcile_day(tables, BREAKS.empty(), DAY, POLICY, clock()).breaks
    assert set(found["class"].to_pylist()) == {"missing_fill_internal"}


@pytest.mark.parametrize(("moves", "settled"), [(1, True), (9, False)])
def test_fills_that_come_during_the_reading_are_read_again_once_and_then_nothing_is_certified(
    desk: SandboxDesk, monkeypatch: pytest.MonkeyPatch, moves: int, settled: bool
) -> None:
    clock = after(DAY, hours=1, minutes=30)
    left = [moves]
    with account(desk, clock) as (client, _):
        payments: Callable[..., Any] = client.payments

        def and_then_time_goes_on(*interval: datetime) -> Any:
            if left[0]:
                left[0] -= 1
                clock.ahead(timedelta(hours=6))
            return payments(*interval)

        monkeypatch.setattr(client, "payments", and_then_time_goes_on)
        reading = read_account(client, TRADED, DAY, client.clock())
    assert reading.settled is settled
    proofs = [each for found in reading.certificates.values() for each in found]
    assert {each.complete for each in proofs} == {settled}
    if not settled:
        assert reading.problems == ("fills changed during both readings",)
        assert {row["class"] for row in breaks(desk, reading, DAY, clock())} == {"source_incomplete"}


def test_what_cannot_be_read_is_unknown_and_the_rest_is_read(desk: SandboxDesk) -> None:
    clock = after(DAY, hours=26)
    rule = FaultRule("/sapi/v1/accountSnapshot", FaultKind.WRONG_SHAPE, probability=1.0)
    with account(desk, clock, FaultPlan((rule,))) as (client, _):
        reading = read_account(client, TRADED, DAY, client.clock())
    assert [problem.partition(":")[0] for problem in reading.problems] == [
        "venue_balances spot",
        "venue_balances futures",
        "venue_positions futures",
    ]
    found = breaks(desk, reading, DAY, clock())
    assert {(row["class"], row["record_id"]) for row in found} == {
        ("source_incomplete", "balances"),
        ("source_incomplete", "positions"),
    }


WIRE = [kind for kind in FaultKind if kind is not FaultKind.BANNED]


@pytest.mark.parametrize("seed", range(4))
def test_no_fault_on_the_wire_makes_a_break(desk: SandboxDesk, seed: int) -> None:
    clock = after(DAY, hours=26)
    paths = ("/api/v3/myTrades", "/fapi/v1/userTrades", "/*/allOrders", "/fapi/v1/income", "/sapi/v1/*")
    chance = 0.6 / len(WIRE)
    rules = [FaultRule(path, kind, probability=chance, seconds=0.2) for path in paths for kind in WIRE]
    # And one list that says for as long as it is asked that there is nothing.
    empty = ("/api/v3/myTrades", "/fapi/v1/userTrades", "/api/v3/allOrders", "/fapi/v1/income")[seed]
    plan = FaultPlan((*rules, FaultRule(empty, FaultKind.EMPTY_LIST, probability=1.0)), seed=seed)
    with account(desk, clock, plan) as (client, server):
        try:
            reading = read_account(client, TRADED, DAY, client.clock())
        except VenueError:
            # Without fills there is no reading, and so no break.
            reading = None
        assert len({record.kind for record in server.journal.records}) > 3
    if reading is not None:
        found = breaks(desk, reading, DAY, clock())
        assert {row["class"] for row in found} <= {"source_incomplete"}
        assert found


def test_every_symbol_that_the_desk_ever_traded_is_known() -> None:
    market = {"venue": "sandbox", "symbol": "BTC/USDT", "timeframe": "1h", "since": "2023-01-01"}
    universe = Universe.model_validate({"venues": [{"name": "sandbox", "ccxt": "binance"}], "markets": [market]})
    traded = pa.table({"venue": ["sandbox", "gone"], "symbol": ["DOGE/USDT", "XRP/USDT"]})
    assert known_symbols(universe, traded) == {"sandbox": {"BTC/USDT", "DOGE/USDT"}}
    assert known_symbols(universe, None) == {"sandbox": {"BTC/USDT"}}
