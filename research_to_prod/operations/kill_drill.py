"""The drill of the kill switch: orders are placed, everything is killed, and what is left is looked at.

A kill path that is only ever run in an emergency is not known to work. The drill goes the whole way on a peer of the
venue: orders that rest are cancelled, none is left, the venue refuses what would increase a position and takes what
reduces it, a countdown cancels without us, and a manifest under the halt lets nothing trade.

Belongs here: the steps, each with its time and its answer. Doesn't: requests (``execution.order_entry``), the real kill
(``controls``), and when to drill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pyarrow as pa

from research_to_prod.market_data.venue_errors import VenueError, VenueRejected, VenueUnsupported
from research_to_prod.operations.contracts import KILL_DRILL
from research_to_prod.promotion.controls import Control, Mode, Scope
from research_to_prod.promotion.manifest import production_manifest
from research_to_prod.promotion.record import Record

WITHIN = timedelta(seconds=2)
"""Until when nothing may rest after a kill: RTS 6 Article 12 says at once; a request, its answer and a look fit in."""
COUNTDOWN_MS = 150
_AWAY = Decimal("0.05")


class Orders(Protocol):
    """What the drill asks of order entry; ``execution.order_entry.OrderEntry`` gives it."""

    def steps(self, symbol: str, /) -> tuple[Decimal, Decimal, Decimal]: ...  # noqa: D102
    def mid(self, symbol: str, /) -> Decimal: ...  # noqa: D102
    def rest(  # noqa: D102
        self, symbol: str, side: int, price: Decimal, quantity: Decimal, /, *, reduce_only: bool = False
    ) -> int: ...
    def open_orders(self, symbol: str, /) -> tuple[int, ...]: ...  # noqa: D102
    def cancel_all(self, symbol: str, /) -> None: ...  # noqa: D102
    def position(self, symbol: str, /) -> Decimal: ...  # noqa: D102
    def countdown(self, symbol: str, milliseconds: int, /) -> None: ...  # noqa: D102
    def wait(self, seconds: float, /) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Step:
    """One step of a drill: what was done in which market, whether it worked, how long it took and what was seen."""

    step: str
    symbol: str
    passed: bool
    milliseconds: float
    detail: str


@dataclass
class _Watch:
    """Takes the time of each step, and takes a venue's refusal or silence as a step that failed."""

    clock: Callable[[], datetime]
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, symbol: str = "all") -> Iterator[list[str]]:
        """Yield what was seen; a step passes unless it wrote something there or the venue failed it."""
        started, wrong = self.clock(), list[str]()
        try:
            yield wrong
        except VenueError as error:
            wrong.append(str(error))
        took = (self.clock() - started) / timedelta(milliseconds=1)
        self.steps.append(Step(name, symbol, not wrong, took, "; ".join(wrong) or "as it should be"))


def kill(orders: Orders, symbols: Sequence[str]) -> list[str]:
    """Cancel everything in every market, and return what went wrong: one market's failure doesn't spare the others."""
    wrong = []
    for symbol in symbols:
        try:
            orders.cancel_all(symbol)
        except VenueError as error:
            wrong.append(f"{symbol}: {error}")
    return wrong


def drill(
    orders: Orders, symbols: Sequence[str], records: Sequence[Record], clock: Callable[[], datetime]
) -> tuple[Step, ...]:
    """Go through the drill.

    Parameters
    ----------
    symbols
        Markets of the peer, a perpetual that the account holds among them: reduce-only is seen there.
    records
        The promotion ledger's: what the manifest would let trade.
    clock
        Our time; all times are taken by it.
    """
    watch = _Watch(clock)
    placed: dict[str, set[int]] = {}
    for symbol in symbols:
        with watch.step("orders_rest", symbol) as wrong:
            placed[symbol] = {_rest(orders, symbol, side) for side in (1, -1)}
            if missing := placed[symbol] - set(orders.open_orders(symbol)):
                wrong.append(f"{len(missing)} of 2 do not rest")
    with watch.step("everything_is_cancelled") as wrong:
        wrong.extend(kill(orders, symbols))
    cancelled = clock()
    for symbol in symbols:
        with watch.step("nothing_rests", symbol) as wrong:
            while (left := orders.open_orders(symbol)) and clock() - cancelled < WITHIN:
                orders.wait(0.05)
            if left:
                wrong.append(f"{len(left)} orders rest {WITHIN.total_seconds():g} s after the kill")
    held = [each for each in symbols if ":" in each]
    for symbol in held:
        _reduce_only(orders, symbol, watch)
        _counts_down(orders, symbol, watch)
    with watch.step("nothing_may_trade") as wrong:
        wrong.extend(_may_trade(records, clock()))
    return tuple(watch.steps)


def drill_table(day: str, venue: str, steps: Sequence[Step], ended_at: datetime) -> pa.Table:
    """Return the rows of ``KILL_DRILL`` of the drill that the run of ``day`` held."""
    rows = [
        {"day": day, "venue": venue, "drilled_at": ended_at, "number": number, **vars(each)}
        for number, each in enumerate(steps, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=KILL_DRILL.arrow)


def _rest(orders: Orders, symbol: str, side: int, *, reduce_only: bool = False) -> int:
    """Rest the smallest order that the market takes, far from where it would be filled."""
    tick, lot, least = orders.steps(symbol)
    price = (orders.mid(symbol) * (1 - side * _AWAY) / tick).to_integral_value() * tick
    quantity = max(lot, -(-2 * least // (price * lot)) * lot)
    return orders.rest(symbol, side, price, quantity, reduce_only=reduce_only)


def _reduce_only(orders: Orders, symbol: str, watch: _Watch) -> None:
    with watch.step("increases_are_refused", symbol) as wrong:
        position = orders.position(symbol)
        if not position:
            wrong.append("nothing is held, so nothing could be increased")
            return
        side = 1 if position > 0 else -1
        try:
            _rest(orders, symbol, side, reduce_only=True)
        except VenueRejected:
            pass
        else:
            wrong.append("an order that would increase the position rests, reduce-only as it is")
    with watch.step("reductions_are_taken", symbol) as wrong:
        number = _rest(orders, symbol, -side, reduce_only=True)
        if number not in orders.open_orders(symbol):
            wrong.append("the order that reduces does not rest")
        orders.cancel_all(symbol)


def _counts_down(orders: Orders, symbol: str, watch: _Watch) -> None:
    with watch.step("silence_cancels", symbol) as wrong:
        try:
            orders.countdown(symbol, COUNTDOWN_MS)
        except VenueUnsupported as error:
            wrong.append(str(error))
            return
        _rest(orders, symbol, 1)
        orders.wait(2 * COUNTDOWN_MS / 1000)
        if orders.open_orders(symbol):
            wrong.append(f"an order rests {2 * COUNTDOWN_MS} ms after the venue heard of us last")
            orders.cancel_all(symbol)


def _may_trade(records: Sequence[Record], now: datetime) -> list[str]:
    """Return what a manifest under a halt on everything would still let trade; nothing, if all is well."""
    now = max([now, *(each.recorded_at for each in records[-1:])])
    halt = Control(scope=Scope.ALL, mode=Mode.HALT, since=now, by="rule:kill_drill", reason="drill")
    manifest = production_manifest(records, now, (halt,))
    wrong = [f"{each.candidate} may trade under a halt" for each in manifest.entries]
    return wrong + [f"{each.candidate} is only {each.mode}" for each in manifest.withheld if each.mode is not Mode.HALT]
