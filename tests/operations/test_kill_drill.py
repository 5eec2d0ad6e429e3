"""The kill switch is drilled on the sandbox through ccxt; a venue that keeps something alive fails the drill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from research_to_prod.defs.resources import open_drill_venue
from research_to_prod.execution.order_entry import OrderEntry, connect_orders, countdown_matrix
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueRejected, VenueUnsupported
from research_to_prod.operations.contracts import KILL_DRILL
from research_to_prod.operations.kill_drill import Step, drill, drill_table

SPOT, PERPETUAL = "BTC/USDT", "ETH/USDT:USDT"
NOW = datetime(2026, 2, 1, tzinfo=UTC)
STEPS = [
    ("orders_rest", SPOT), ("orders_rest", PERPETUAL), ("everything_is_cancelled", "all"), ("nothing_rests", SPOT),
    ("nothing_rests", PERPETUAL), ("increases_are_refused", PERPETUAL), ("reductions_are_taken", PERPETUAL),
    ("silence_cancels", PERPETUAL), ("nothing_may_trade", "all"),
]  # fmt: skip


@pytest.fixture(scope="module")
def venue() -> Iterator[OrderEntry]:
    with open_drill_venue() as orders:
        yield orders


def test_on_the_sandbox_every_step_works_and_is_timed(venue: OrderEntry) -> None:
    found = drill(venue, (SPOT, PERPETUAL), (), lambda: datetime.now(UTC))
    assert [(each.step, each.symbol) for each in found] == STEPS
    assert [each for each in found if not each.passed] == []
    assert all(each.milliseconds > 0 for each in found)
    rows = KILL_DRILL.conform(drill_table("2026-01-31", venue.name, found, NOW), "2026-01-31")
    assert rows.num_rows == len(STEPS)


def test_orders_rest_until_they_are_cancelled_by_market(venue: OrderEntry) -> None:
    low, lot = Decimal(10_000), Decimal("0.01")
    number = venue.rest(SPOT, 1, low, lot)
    other = venue.rest(PERPETUAL, 1, Decimal(500), Decimal(1))
    assert (venue.open_orders(SPOT), venue.open_orders(PERPETUAL)) == ((number,), (other,))
    venue.cancel_all(SPOT)
    assert (venue.open_orders(SPOT), venue.open_orders(PERPETUAL)) == ((), (other,))
    venue.cancel_all(SPOT)
    venue.cancel_all(PERPETUAL)
    assert venue.open_orders(PERPETUAL) == ()


def test_the_sandbox_refuses_what_would_trade_what_is_off_its_steps_and_what_does_not_reduce(venue: OrderEntry) -> None:
    mid = venue.mid(PERPETUAL).quantize(Decimal("0.01"))
    held = venue.position(PERPETUAL)
    assert held != 0
    for side, price, quantity, reduce_only in (
        (1, mid, Decimal(1), False),
        (1, mid / 2, Decimal("0.00001"), False),
        (1 if held > 0 else -1, mid / 2 if held > 0 else mid * 2, Decimal(1), True),
    ):
        with pytest.raises(VenueRejected if reduce_only or quantity == 1 else Exception):
            venue.rest(PERPETUAL, side, price.quantize(Decimal("0.01")), quantity, reduce_only=reduce_only)
    assert venue.open_orders(PERPETUAL) == ()
    with pytest.raises(VenueUnsupported, match="know no reduce-only"):
        venue.rest(SPOT, 1, Decimal(10_000), Decimal(1), reduce_only=True)


def test_a_countdown_that_is_disarmed_cancels_nothing_and_spot_has_none(venue: OrderEntry) -> None:
    venue.countdown(PERPETUAL, 50)
    venue.countdown(PERPETUAL, 0)
    venue.rest(PERPETUAL, 1, Decimal(500), Decimal(1))
    venue.wait(0.1)
    assert len(venue.open_orders(PERPETUAL)) == 1
    venue.cancel_all(PERPETUAL)
    with pytest.raises(VenueUnsupported, match="no countdown for spot"):
        venue.countdown(SPOT, 50)


def test_only_what_has_a_contract_is_asked_to_count_down_and_other_venues_take_no_orders() -> None:
    found = {each.exchange: each for each in countdown_matrix()}
    assert [name for name, each in found.items() if each.contract] == ["binance"]
    assert found["kraken"].ccxt
    assert "no contract of ours" in found["kraken"].remedy
    with pytest.raises(VenueUnsupported, match="nothing here can cancel"):
        connect_orders(VenueSpec(name="kraken", ccxt="kraken"), Credentials(key="k", secret="s"))  # noqa: S106


class Paper:
    """A venue in memory whose faults the test chooses."""

    def __init__(self, fault: str = "", held: str = "2") -> None:
        self.fault, self.held, self.time = fault, Decimal(held), NOW
        self.resting: dict[str, list[int]] = {SPOT: [], PERPETUAL: []}
        self.ends: datetime | None = None

    def clock(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def steps(self, _symbol: str) -> tuple[Decimal, Decimal, Decimal]:
        return Decimal("0.1"), Decimal("0.001"), Decimal(10)

    def mid(self, _symbol: str) -> Decimal:
        return Decimal(100)

    def rest(self, symbol: str, side: int, price: Decimal, quantity: Decimal, *, reduce_only: bool = False) -> int:
        assert quantity * price >= 10
        if self.fault == "refuses orders":
            raise VenueRejected("no")
        if reduce_only and side * self.held > 0 and self.fault != "lets positions grow":
            raise VenueRejected("-2022")
        number = sum(map(len, self.resting.values())) + 1
        if self.fault != "loses orders":
            self.resting[symbol].append(number)
        return number

    def open_orders(self, symbol: str) -> tuple[int, ...]:
        if self.ends is not None and self.time >= self.ends and self.fault != "never counts down":
            self.resting[PERPETUAL].clear()
            self.ends = None
        return tuple(self.resting[symbol])

    def cancel_all(self, symbol: str) -> None:
        if self.fault == "refuses cancels" and symbol == SPOT:
            raise VenueRejected("no")
        if self.fault != "keeps orders":
            self.resting[symbol].clear()

    def position(self, _symbol: str) -> Decimal:
        return self.held

    def countdown(self, _symbol: str, milliseconds: int) -> None:
        if self.fault == "has no countdown":
            raise VenueUnsupported("none here")
        self.ends = self.time + timedelta(milliseconds=milliseconds)


def failed(venue: Paper) -> set[str]:
    found: tuple[Step, ...] = drill(venue, (SPOT, PERPETUAL), (), venue.clock)
    return {f"{each.step} {each.symbol}" for each in found if not each.passed}


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        ("", set()),
        ("loses orders", {f"orders_rest {SPOT}", f"orders_rest {PERPETUAL}", f"reductions_are_taken {PERPETUAL}"}),
        ("refuses cancels", {"everything_is_cancelled all", f"nothing_rests {SPOT}"}),
        ("lets positions grow", {f"increases_are_refused {PERPETUAL}"}),
        ("never counts down", {f"silence_cancels {PERPETUAL}"}),
        ("has no countdown", {f"silence_cancels {PERPETUAL}"}),
        (
            "keeps orders",
            {f"nothing_rests {SPOT}", f"nothing_rests {PERPETUAL}"},
        ),
        (
            "refuses orders",
            {f"orders_rest {SPOT}", f"orders_rest {PERPETUAL}", f"reductions_are_taken {PERPETUAL}",
             f"silence_cancels {PERPETUAL}"},
        ),
    ],
)  # fmt: skip
def test_what_a_venue_does_wrong_fails_the_steps_that_see_it(fault: str, steps: set[str]) -> None:
    assert failed(Paper(fault)) == steps


def test_one_market_s_failed_cancel_spares_no_other() -> None:
    venue = Paper("refuses cancels")
    drill(venue, (SPOT, PERPETUAL), (), venue.clock)
    assert venue.resting[PERPETUAL] == []
    assert venue.resting[SPOT] != []


def test_where_nothing_is_held_reduce_only_was_not_seen() -> None:
    assert f"increases_are_refused {PERPETUAL}" in failed(Paper(held="0"))
