"""The simulated desk: four strategies with known truth, traded on the sandbox since 2026-01-01.

Belongs here: the book, the day's decisions, and the drops of its order management system. Doesn't: how orders are
worked (`_execution`), the books (`ledger`), and the venue's view of them (`account`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from research_to_prod.execution.contracts import DECISIONS, FILLS, ORDERS, QUOTES
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.lake.schema import Schema
from research_to_prod.research.bars import Bars, Floats, align_bars
from research_to_prod.research.strategy import Strategy, load_strategy
from research_to_prod.sandbox import records
from research_to_prod.sandbox._execution import (
    CAREFUL,
    CARELESS,
    VENUE,
    ChildOrder,
    Decision,
    Ids,
    ParentOrder,
    Worked,
    work,
)
from research_to_prod.sandbox._tree import Ints
from research_to_prod.sandbox._underlying import HOUR, MINUTE, instant, micros
from research_to_prod.sandbox.book import BOOK, OPENING, BookEntry, Truth
from research_to_prod.sandbox.faults import DEFAULT_DESK_FAULTS, FaultPlan, Journal
from research_to_prod.sandbox.instruments import Instrument
from research_to_prod.sandbox.ledger import Books, Fill, FundingPayment, Holder, Leg
from research_to_prod.sandbox.market import Quotes, SandboxMarket
from research_to_prod.values import day_bounds

FIRST_DAY = date(2026, 1, 1)
STRATEGIES = Path(__file__).parent.parent / "desk" / "strategies"
_MS = 1000
_MARKOUTS = (1_000, 5_000, 10_000, 60_000, 300_000, 1_800_000)  # when markouts look, ms after a fill
_BAND = Decimal("0.004")  # share of the capital by which a position may miss its target before it is traded
_HISTORY = timedelta(days=60)  # bars that a strategy sees, unless it needs more to warm up


@dataclass(frozen=True)
class DeskDay:
    """Everything true of one day.

    Parameters
    ----------
    opening
        The books before the day's first event; not to be changed.
    events
        Fills and funding payments in the order of their posting.
    """

    day: str
    decisions: tuple[Decision, ...]
    orders: tuple[ParentOrder, ...]
    children: tuple[ChildOrder, ...]
    events: tuple[Fill | FundingPayment, ...]
    legs: tuple[Leg, ...]
    opening: Books = field(repr=False)

    @cached_property
    def fills(self) -> tuple[Fill, ...]:
        """The day's fills, as they truly were."""
        return tuple(event for event in self.events if isinstance(event, Fill))

    def books_at(self, now: datetime) -> Books:
        """Return the books after all events of the day up to ``now``."""
        books = self.opening.copy()
        for event in self.events:
            if isinstance(event, Fill):
                if event.filled_at <= now:
                    books.fill(event)
            elif event.at <= now:
                books.funding(event)
        return books


@dataclass(frozen=True)
class _Plan:
    """One strategy's day by the hour: (24, M) weights, random numbers, decision times, and quotes by symbol."""

    weights: Floats
    random: Sequence[np.random.Generator]
    decided: Ints
    seen: tuple[Quotes, ...]


class SandboxDesk:
    """The desk over its whole life; a day is simulated once, after all days before it.

    Parameters
    ----------
    market
        Where it trades.
    book
        Strategies; no two may share a symbol, so that a position belongs to one of them.
    faults
        Its ``dropped_fills`` are lost on the way into the desk's own drops, never on the venue's side.
    strategies
        Folder of strategy files.
    """

    def __init__(
        self,
        market: SandboxMarket,
        book: Sequence[BookEntry] = BOOK,
        faults: FaultPlan = DEFAULT_DESK_FAULTS,
        strategies: Path = STRATEGIES,
    ) -> None:
        symbols = [symbol for entry in book for symbol in entry.symbols]
        shared = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if shared:
            raise ValueError(f"two strategies trade {', '.join(shared)}; give each symbol to one")
        self.market = market
        self.book = tuple(book)
        self.symbols = tuple(symbols)
        self.journal = Journal()
        self._faults = faults
        self._strategies = strategies
        self._loaded: dict[str, Strategy] = {}
        self._books = Books()
        start = day_bounds(FIRST_DAY.isoformat())[0]
        self.opening_legs = self._books.deposit(start, OPENING)
        self._days: list[DeskDay] = []
        self._lock = threading.RLock()

    def simulate_day(self, day: str) -> DeskDay:
        """Return the day ``YYYY-MM-DD``.

        Raises
        ------
        ValueError
            For a day before the desk began.
        """
        index = (date.fromisoformat(day) - FIRST_DAY).days
        if index < 0:
            raise ValueError(f"the simulated desk began on {FIRST_DAY}; there is no {day}")
        with self._lock:
            while len(self._days) <= index:
                self._days.append(self._next_day(len(self._days)))
            return self._days[index]

    def days(self, start: datetime, end: datetime) -> Iterable[DeskDay]:
        """Yield the days that touch [start, end), from the desk's first."""
        day = max(start.date(), FIRST_DAY)
        while day_bounds(day.isoformat())[0] < end:
            yield self.simulate_day(day.isoformat())
            day += timedelta(days=1)

    # Deciding ---------------------------------------------------------------------------------------------------

    def _next_day(self, index: int) -> DeskDay:
        day = (FIRST_DAY + timedelta(days=index)).isoformat()
        start, end = day_bounds(day)
        opening, ids = self._books.copy(), Ids(index + 1)
        due = [payment for symbol in self.symbols for payment in self._funding(symbol, start, end)]
        plans = [self._plan(index, number, entry, start, end) for number, entry in enumerate(self.book)]
        decisions: list[Decision] = []
        worked: list[Worked] = []
        events: list[Fill | FundingPayment] = []
        legs: list[Leg] = list(self.opening_legs) if index == 0 else []
        for hour in range(24):
            now = start + timedelta(hours=hour)
            # Paid on the position held at the hour, before anything is traded in it.
            for payment in due:
                if now <= payment.at < now + timedelta(minutes=1):
                    events.append(payment)
                    legs += self._books.funding(payment)
            for entry, plan in zip(self.book, plans, strict=True):
                for column in range(len(entry.symbols)):
                    decision = self._decide(entry, plan, hour, column, now)
                    if decision is None:
                        continue
                    decisions.append(decision)
                    if decision.sent:
                        quality = CARELESS if entry.truth is Truth.WORSE_EXECUTION else CAREFUL
                        worked.append(work(self.market, decision, quality, ids, plan.random[hour]))
                        events += worked[-1].fills
                        legs += [leg for fill in worked[-1].fills for leg in self._books.fill(fill)]
        return DeskDay(
            day=day,
            decisions=tuple(decisions),
            orders=tuple(each.order for each in worked),
            children=tuple(child for each in worked for child in each.children),
            events=tuple(events),
            legs=tuple(legs),
            opening=opening,
        )

    def _funding(self, symbol: str, start: datetime, end: datetime) -> list[FundingPayment]:
        paid = self.market.funding(symbol, start, end)
        return [
            FundingPayment(symbol, instant(at), Decimal(f"{rate:.8f}"), Decimal(f"{mark:.8f}"))
            for at, rate, mark in zip(paid.ts.tolist(), paid.rate.tolist(), paid.mark_price.tolist(), strict=True)
        ]

    def _plan(self, index: int, number: int, entry: BookEntry, start: datetime, end: datetime) -> _Plan:
        """Return what of a day's decisions does not rest on positions; quotes of a day cost little more than one."""
        random = [np.random.default_rng([self.market.seed % 2**32, index, hour, number]) for hour in range(24)]
        decided = micros(start) + np.array(
            [hour * HOUR + int(r.integers(600, 1500)) * _MS for hour, r in enumerate(random)]
        )
        # 150 ms old at the venue, some 110 ms on our clock: known before the decision.
        seen = tuple(self.market.quote(symbol, decided - 150 * _MS) for symbol in entry.symbols)
        return _Plan(self._targets(entry, start, end), random, decided, seen)

    def _targets(self, entry: BookEntry, start: datetime, end: datetime) -> Floats:
        """Return (24, M) weights for the day's hours, each from the bars closed by then.

        Strategies are causal (the target of a bar rests on it and earlier ones), so one run over the day serves all
        of its hours.
        """
        if entry.strategy not in self._loaded:
            self._loaded[entry.strategy] = load_strategy(self._strategies, entry.strategy)
        strategy = self._loaded[entry.strategy]
        parameters = strategy.parameters.model_validate(dict(entry.parameters))
        hour = timedelta(hours=1)
        history = max(_HISTORY, 3 * strategy.warm_up(parameters) * hour)
        bars = self._bars(entry.symbols, start - history, end - hour)
        return strategy.target_positions(bars, parameters)[-24:]

    def _bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        hour = timedelta(hours=1)
        candles, funding = [], []
        for symbol in symbols:
            bars = self.market.candles(symbol, start, end, hour)
            columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
            names = pa.array([symbol] * len(bars), pa.string())
            candles.append(pa.table({"symbol": names, "ts": pa.array(bars.ts, pa.timestamp("us", "UTC"))} | columns))
            paid = self.market.funding(symbol, start, end)
            names = pa.array([symbol] * len(paid.ts), pa.string())
            times = pa.array(paid.ts, pa.timestamp("us", "UTC"))
            funding.append(pa.table({"symbol": names, "ts": times, "rate": paid.rate}))
        return align_bars(pa.concat_tables(candles), pa.concat_tables(funding), symbols, start, end, hour)

    def _decide(self, entry: BookEntry, plan: _Plan, hour: int, column: int, now: datetime) -> Decision | None:
        """Compare target with position; None where there is nothing to trade."""
        symbol, weight, seen = entry.symbols[column], float(plan.weights[hour, column]), plan.seen[column]
        instrument = self.market.instrument(symbol)
        bid, ask = (
            round(float(each[hour]) / float(instrument.tick)) * instrument.tick for each in (seen.bid, seen.ask)
        )
        mid = (bid + ask) / 2
        target = int(Decimal(repr(weight)) * entry.capital / mid / instrument.lot) * instrument.lot
        gap = target - self.position(symbol)
        lots = int(abs(gap) / instrument.lot)
        if lots == 0:
            return None
        quantity = lots * instrument.lot
        reason = self._objection(instrument, quantity * mid, entry.capital, (ask - bid) / mid)
        return Decision(
            decision_id=f"D-{now:%Y%m%d%H}-{entry.strategy_id}-{instrument.base}",
            strategy=entry.strategy_id,
            venue=VENUE,
            symbol=symbol,
            decided_at=instant(plan.decided[hour]),
            side=1 if gap > 0 else -1,
            target_quantity=quantity,
            reference_bid=bid,
            reference_ask=ask,
            sent=reason is None,
            reason=reason,
            signal=weight,
        )

    @staticmethod
    def _objection(instrument: Instrument, notional: Decimal, capital: Decimal, spread: Decimal) -> str | None:
        if notional < _BAND * capital:
            return "inside the no-trade band"
        if notional < instrument.min_notional:
            return "below the venue's least order value"
        if float(spread) > 6e-4 * instrument.half_spread_bp:
            return "spread above three times its mean"
        return None

    def position(self, symbol: str) -> Decimal:
        """Return what the desk's strategies hold of ``symbol`` after the last simulated event."""
        return _position(self._books, symbol)

    # Drops ------------------------------------------------------------------------------------------------------

    def quotes(self, day: str) -> pa.Table:
        """Return the day's quotes of the book's symbols: each minute, and around every decision, order and fill."""
        simulated = self.simulate_day(day)
        start, end = (micros(each) for each in day_bounds(day))
        parts = [self._quotes(symbol, _quote_times(simulated, symbol, start, end)) for symbol in sorted(self.symbols)]
        return pa.concat_tables(parts)

    def _quotes(self, symbol: str, times: Ints) -> pa.Table:
        quotes = self.market.quote(symbol, times)
        received = np.maximum.accumulate(times + (25 + times // 7_000 % 15) * _MS)
        return pa.table(
            {
                "venue": pa.array([VENUE] * len(times), pa.string()),
                "symbol": pa.array([symbol] * len(times), pa.string()),
                "quoted_at": pa.array(times, pa.timestamp("us", "UTC")),
                "received_at": pa.array(received, pa.timestamp("us", "UTC")),
                "sequence": times // _MS,
                "bid": quotes.bid,
                "bid_size": quotes.bid_size,
                "ask": quotes.ask,
                "ask_size": quotes.ask_size,
            }
        ).cast(QUOTES.arrow)

    def deliveries(self, day: str) -> dict[str, pa.Table]:
        """Return the day's drops by kind but quotes, as the desk's systems deliver them, dropped fills missing."""
        simulated = self.simulate_day(day)
        start = day_bounds(day)[0]
        fills = list(simulated.fills)
        for fault in self._faults.dropped_fills:
            if fault.day == day and fills:
                lost = fills.pop(fault.index % len(fills))
                self._note_dropped(lost)
        strategies = {symbol: entry.strategy_id for entry in self.book for symbol in entry.symbols}
        first_id = ((start.date() - FIRST_DAY).days + 1) * Ids.DAY
        return {
            "decisions": _table(simulated.decisions, DECISIONS),
            "orders": _table(simulated.orders, ORDERS),
            "fills": _table(fills, FILLS),
            "order_events": records.order_events(simulated.orders, simulated.children, fills),
            "positions": records.positions(
                self.market, strategies, simulated.opening, simulated.events, start, _position
            ),
            "ledger_entries": records.ledger_entries(simulated.legs, strategies, first_id),
            "fee_schedules": records.fee_schedules(self.symbols, start),
        }

    def write_inbox(self, day: str, folder: Path) -> tuple[Path, ...]:
        """Write the day's drops as files that the inbox reads."""
        writer = InboxWriter(folder)
        tables = {**self.deliveries(day), "quotes": self.quotes(day)}
        return tuple(writer.write(kind, day, table) for kind, table in tables.items())

    def _note_dropped(self, lost: Fill) -> None:
        detail = f"{lost.symbol} trade {lost.fill_id} of order {lost.order_id}"
        if detail not in {record.detail for record in self.journal.records}:
            self.journal.add(lost.filled_at, "fills", "dropped_fill", detail)


def _position(books: Books, symbol: str) -> Decimal:
    """Return what the strategies hold of ``symbol``: coins beyond the opening inventory, or contracts."""
    if ":" in symbol:
        return books.balance(Holder.CONTRACTS, symbol)
    base = symbol.partition("/")[0]
    inventory = next(
        (amount for holder, asset, amount in OPENING if (holder, asset) == (Holder.SPOT, base)), Decimal(0)
    )
    return books.balance(Holder.SPOT, base) - inventory


def _table(rows: Iterable[Decision | ParentOrder | Fill], schema: Schema) -> pa.Table:
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema.arrow)


def _quote_times(day: DeskDay, symbol: str, start: int, end: int) -> Ints:
    """Return when the desk recorded quotes: each minute, just before every event, and after fills for markouts."""
    times = [np.arange(start, end, MINUTE)]
    decided = [micros(each.decided_at) for each in day.decisions if each.symbol == symbol]
    orders = [each for each in day.orders if each.symbol == symbol]
    ours = [micros(at) for each in orders for at in (each.acknowledged_at, each.ended_at) if at is not None]
    # A quote of its own for an order that is sent long after its decision: the decision's has grown old.
    made = {each.decision_id: each.decided_at for each in day.decisions}
    ours += [micros(each.sent_at) for each in orders if each.sent_at - made[each.decision_id] > timedelta(seconds=1)]
    fills = np.array([micros(each.filled_at) for each in day.fills if each.symbol == symbol], np.int64)
    times.append(np.array(decided, np.int64) - 150 * _MS)
    times.append(np.array(ours, np.int64) - 60 * _MS)
    times += [fills + offset * _MS for offset in (-100, 200, *_MARKOUTS)]
    found = np.unique(np.concatenate(times))
    return found[(found >= start) & (found < end)]
