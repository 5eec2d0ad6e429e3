"""How the simulated desk works a parent order: child orders, fills, latency, spread, impact and what stays undone.

Belongs here: the execution of one order against the sandbox's quotes. Doesn't: deciding, and keeping books.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from math import ceil, hypot, sqrt

import numpy as np

from research_to_prod.sandbox._underlying import instant, micros
from research_to_prod.sandbox.instruments import MARKET_VOLATILITY, PROCESSES, Instrument
from research_to_prod.sandbox.ledger import UNIT, Fill
from research_to_prod.sandbox.market import SandboxMarket

VENUE = "sandbox"
FEES = {"maker": Decimal("0.0002"), "taker": Decimal("0.0004")}
_MS = 1000
_STALENESS = 100 * _MS  # age of the quote on which a child order acts


@dataclass(frozen=True)
class ExecutionQuality:
    """How well a strategy's orders are worked.

    Parameters
    ----------
    delay_ms
        Bounds of the time from decision to send.
    maker_share
        Share of child orders that wait at the touch.
    impact
        Multiple of the square-root law: impact of a full day's volume, in daily volatilities.
    slice_notional
        Size of a child order in quote currency.
    spacing_seconds
        Time between child orders.
    """

    delay_ms: tuple[int, int]
    maker_share: float
    impact: float
    slice_notional: float
    spacing_seconds: float


CAREFUL = ExecutionQuality((4, 30), 0.6, 0.5, 400.0, 12.0)
CARELESS = ExecutionQuality((3_000, 12_000), 0.0, 12.0, 2_500.0, 3.0)
"""Slow to send, never patient, in large pieces: the truth behind a strategy whose execution got worse."""


@dataclass(frozen=True)
class Decision:
    """One decision to trade; the fields are those of the desk's decisions table."""

    decision_id: str
    strategy: str
    venue: str
    symbol: str
    decided_at: datetime
    side: int
    target_quantity: Decimal
    reference_bid: Decimal
    reference_ask: Decimal
    sent: bool
    reason: str | None
    signal: float | None = None


@dataclass(frozen=True)
class ParentOrder:
    """One parent order; the fields are those of the desk's orders table."""

    order_id: str
    decision_id: str
    strategy: str
    venue: str
    symbol: str
    side: int
    quantity: Decimal
    style: str
    limit_price: Decimal | None
    sent_at: datetime
    acknowledged_at: datetime | None
    ended_at: datetime
    end_reason: str


@dataclass(frozen=True)
class ChildOrder:
    """One order as the venue knows it: as it ended, or as it stood while it was working (see `as_of`)."""

    venue_order_id: str
    order_id: str
    symbol: str
    side: int
    kind: str
    price: Decimal
    quantity: Decimal
    executed: Decimal
    quote_executed: Decimal
    created_at: datetime
    updated_at: datetime
    working: bool = False

    @property
    def status(self) -> str:
        """The venue's word for how far it came."""
        if self.executed == self.quantity:
            return "FILLED"
        if not self.working:
            return "CANCELED"
        return "PARTIALLY_FILLED" if self.executed else "NEW"

    def as_of(self, now: datetime, fills: Iterable[Fill]) -> ChildOrder:
        """Return the order as it stood at ``now``, of all ``fills`` of its day; itself once it has ended."""
        if self.updated_at <= now:
            return self
        own = [
            fill
            for fill in fills
            if (fill.symbol, fill.venue_order_id) == (self.symbol, self.venue_order_id) and fill.filled_at <= now
        ]
        return replace(
            self,
            executed=sum((fill.quantity for fill in own), Decimal(0)),
            quote_executed=sum((fill.quantity * fill.price for fill in own), Decimal(0)),
            updated_at=max((fill.filled_at for fill in own), default=self.created_at),
            working=True,
        )


@dataclass(frozen=True)
class Worked:
    """What became of one parent order."""

    order: ParentOrder
    children: tuple[ChildOrder, ...]
    fills: tuple[Fill, ...]


class Ids:
    """Numbers that the venue gives within a day, by symbol: they grow with time and name their day."""

    DAY = 100_000

    def __init__(self, day_index: int) -> None:
        self._first = day_index * self.DAY
        self._last: dict[tuple[str, str], int] = {}

    def take(self, kind: str, symbol: str) -> str:
        """Return the next number of this kind for this symbol."""
        number = self._last.get((kind, symbol), self._first) + 1
        self._last[kind, symbol] = number
        return str(number)


def impact_fraction(instrument: Instrument, quality: ExecutionQuality, notional: float) -> float:
    """Return the price impact of ``notional`` as a fraction: coefficient x daily volatility x sqrt(share of volume)."""
    process = PROCESSES[instrument.base]
    daily = hypot(process.volatility, process.beta * MARKET_VOLATILITY) / sqrt(365.0)
    return quality.impact * daily * sqrt(notional / (instrument.turnover * 1440.0))


@dataclass(frozen=True)
class _Slice:
    """One child order to be: lots, limit in ticks, and its executions as (lots, price in ticks, time)."""

    number: str
    maker: bool
    limit: int
    lots: int
    start: int
    executions: tuple[tuple[int, int, int], ...]

    @property
    def end(self) -> int:
        """The last execution, or the cancel ten seconds after the start of what stayed open."""
        done = sum(lots for lots, _, _ in self.executions) == self.lots
        return self.executions[-1][2] if done else self.start + 10_000 * _MS


def work(
    market: SandboxMarket, decision: Decision, quality: ExecutionQuality, ids: Ids, random: np.random.Generator
) -> Worked:
    """Work one decision's order to its end, at most some minutes later."""
    instrument = market.instrument(decision.symbol)
    sent = micros(decision.decided_at) + int(random.integers(*quality.delay_ms)) * _MS
    live = sent + int(random.integers(15, 60)) * _MS
    slices = _slices(market, decision, quality, ids, live, random)
    order_id = decision.decision_id.replace("D-", "O-", 1)
    # The venue numbers trades in the order in which they happen.
    executed = sorted((at, each.number, lots, ticks) for each in slices for lots, ticks, at in each.executions)
    liquidity = {each.number: "maker" if each.maker else "taker" for each in slices}
    fills = tuple(
        _fill(decision, order_id, number, ids, lots * instrument.lot, ticks * instrument.tick, liquidity[number], at)
        for at, number, lots, ticks in executed
    )
    children = tuple(_child(each, order_id, instrument, decision.side, fills) for each in slices)
    ordered = sum(each.lots for each in slices) * instrument.lot
    style = "maker" if slices[0].maker else "taker"
    order = ParentOrder(
        order_id=order_id,
        decision_id=decision.decision_id,
        strategy=decision.strategy,
        venue=VENUE,
        symbol=decision.symbol,
        side=decision.side,
        quantity=ordered,
        style="sweep" if quality.maker_share == 0 else "twap" if len(slices) > 1 else style,
        limit_price=None,
        sent_at=instant(sent),
        acknowledged_at=instant(live),
        ended_at=instant(max(each.end for each in slices) + 80 * _MS),
        end_reason="filled" if sum((fill.quantity for fill in fills), Decimal(0)) == ordered else "cancelled",
    )
    return Worked(order, children, fills)


def _slices(
    market: SandboxMarket, decision: Decision, quality: ExecutionQuality, ids: Ids, live: int,
    random: np.random.Generator,
) -> list[_Slice]:  # fmt: skip
    """Cut the order into child orders and let the market answer each."""
    instrument, side = market.instrument(decision.symbol), decision.side
    lots = int(decision.target_quantity / instrument.lot)
    lot, tick = float(instrument.lot), float(instrument.tick)
    mid = float(decision.reference_bid + decision.reference_ask) / 2
    count = min(max(1, ceil(lots * lot * mid / quality.slice_notional)), 12, lots)
    offsets = (np.arange(count) + random.uniform(0.1, 0.6, count)) * quality.spacing_seconds
    starts = live + (offsets * 1000).astype(np.int64) * _MS
    waits = random.integers(500, 9_000, count) * _MS
    makers = random.random(count) < quality.maker_share
    luck = random.random(count)
    portions = np.where(random.random(count) < 0.15, random.uniform(0.2, 0.9, count), 1.0)
    seen = market.quote(instrument.symbol, starts - _STALENESS)
    near, far = (
        np.round(each / tick).astype(np.int64).tolist()
        for each in ((seen.bid, seen.ask) if side > 0 else (seen.ask, seen.bid))
    )
    drift = side * (market.mid(instrument.symbol, starts + waits) - (seen.bid + seen.ask) / 2)
    slices: list[_Slice] = []
    taken = 0
    for each in range(count):
        size = lots // count + (lots % count if each == count - 1 else 0)
        start = int(starts[each])
        if makers[each]:
            # A resting order is filled when the price comes to it, or by its place in the queue.
            filled = ceil(size * portions[each]) if drift[each] < 0 or luck[each] < 0.7 else 0
            executions = [(filled, near[each], start + int(waits[each]))]
        else:
            taken += size
            cost = impact_fraction(instrument, quality, taken * lot * mid) * mid / tick
            arrive = start + (2 + int(luck[each] * 6)) * _MS
            half = size // 2
            executions = [
                (size - half, far[each] + side * round(cost / 2), arrive),
                (half, far[each] + side * round(cost), arrive),
            ]
        slices.append(
            _Slice(
                number=ids.take("order", instrument.symbol),
                maker=bool(makers[each]),
                limit=near[each] if makers[each] else far[each],
                lots=size,
                start=start,
                executions=tuple(execution for execution in executions if execution[0]),
            )
        )
    return slices


def _child(made: _Slice, order_id: str, instrument: Instrument, side: int, fills: tuple[Fill, ...]) -> ChildOrder:
    own = [fill for fill in fills if fill.venue_order_id == made.number]
    return ChildOrder(
        venue_order_id=made.number,
        order_id=order_id,
        symbol=instrument.symbol,
        side=side,
        kind="LIMIT" if made.maker else "MARKET",
        price=made.limit * instrument.tick,
        quantity=made.lots * instrument.lot,
        executed=sum((fill.quantity for fill in own), Decimal(0)),
        quote_executed=sum((fill.quantity * fill.price for fill in own), Decimal(0)),
        created_at=instant(made.start),
        updated_at=instant(made.end),
    )


def received(at: datetime) -> datetime:
    """Return when the desk learns of what happened at the venue at ``at``: 20 to 59 ms later."""
    return at + timedelta(milliseconds=20 + micros(at) // _MS % 40)


def _fill(
    decision: Decision, order_id: str, number: str, ids: Ids, quantity: Decimal, price: Decimal, liquidity: str, at: int
) -> Fill:
    base, _, quote = decision.symbol.partition(":")[0].partition("/")
    # A spot buyer pays in the coin received, everyone else in quote currency.
    in_base = decision.side > 0 and ":" not in decision.symbol
    fee = quantity * FEES[liquidity] * (1 if in_base else price)
    return Fill(
        fill_id=ids.take("trade", decision.symbol),
        order_id=order_id,
        venue_order_id=number,
        strategy=decision.strategy,
        venue=VENUE,
        symbol=decision.symbol,
        side=decision.side,
        quantity=quantity,
        price=price,
        liquidity=liquidity,
        fee=fee.quantize(UNIT, ROUND_DOWN),
        fee_currency=base if in_base else quote,
        filled_at=instant(at),
        received_at=received(instant(at)),
    )
