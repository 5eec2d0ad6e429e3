"""The simulated desk is deterministic, keeps books that balance, and delivers what the inbox expects."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.execution.inbox import read_inbox
from research_to_prod.research.candidate import load_candidates
from research_to_prod.sandbox._underlying import micros
from research_to_prod.sandbox.book import BOOK, OPENING, Truth
from research_to_prod.sandbox.desk import STRATEGIES, SandboxDesk
from research_to_prod.sandbox.faults import DroppedFill, FaultPlan
from research_to_prod.sandbox.instruments import INSTRUMENTS
from research_to_prod.sandbox.ledger import Books, Fill, FundingPayment, Holder
from research_to_prod.sandbox.market import SandboxMarket

DAYS = [f"2026-01-{day:02d}" for day in range(1, 8)]
HELD = (Holder.SPOT, Holder.FUTURES, Holder.CONTRACTS)


def test_a_day_is_the_same_from_another_desk_asked_in_another_order(desk: SandboxDesk):
    other = SandboxDesk(SandboxMarket(7))
    for day in ("2026-01-02", "2026-01-01"):
        one, two = desk.simulate_day(day), other.simulate_day(day)
        assert (one.decisions, one.orders, one.children, one.events, one.legs) == (
            two.decisions, two.orders, two.children, two.events, two.legs,
        )  # fmt: skip
    assert other.quotes("2026-01-02").equals(desk.quotes("2026-01-02"))


def test_another_seed_is_another_day(desk: SandboxDesk):
    assert SandboxDesk(SandboxMarket(8)).simulate_day("2026-01-01").fills != desk.simulate_day("2026-01-01").fills


def test_there_is_nothing_before_the_first_day(desk: SandboxDesk):
    with pytest.raises(ValueError, match="2026-01-01"):
        desk.simulate_day("2025-12-31")


def test_two_strategies_may_not_share_a_symbol():
    with pytest.raises(ValueError, match="BTC/USDT"):
        SandboxDesk(SandboxMarket(7), book=(BOOK[0], BOOK[0]))


def test_a_day_has_the_size_of_a_real_one(desk: SandboxDesk):
    for day in DAYS:
        simulated = desk.simulate_day(day)
        assert 15 <= len(simulated.orders) <= 96
        assert 30 <= len(simulated.fills) <= 500
        unsent = [decision for decision in simulated.decisions if not decision.sent]
        assert unsent
        assert all(decision.reason for decision in unsent)
    ends = {order.end_reason for day in DAYS for order in desk.simulate_day(day).orders}
    assert ends == {"filled", "cancelled"}


def test_every_entry_sums_to_zero_and_balances_are_the_sum_of_legs(desk: SandboxDesk):
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    balances: dict[tuple[Holder, str], Decimal] = defaultdict(Decimal)
    for day in DAYS:
        for leg in desk.simulate_day(day).legs:
            sums[leg.event, leg.asset] += leg.amount
            balances[leg.holder, leg.asset] += leg.amount
    assert len(sums) > 1000
    assert set(sums.values()) == {Decimal(0)}
    books = desk.simulate_day("2026-01-08").opening
    assert {key: value for key, value in books.balances.items() if value} == {k: v for k, v in balances.items() if v}


def test_books_at_the_end_of_a_day_open_the_next(desk: SandboxDesk):
    for day, following in pairwise(DAYS):
        closing = desk.simulate_day(day).books_at(datetime.fromisoformat(following).replace(tzinfo=UTC))
        opening = desk.simulate_day(following).opening
        assert closing == opening


def test_no_wallet_is_ever_overdrawn(desk: SandboxDesk):
    for day in DAYS:
        for (holder, asset), amount in desk.simulate_day(day).opening.balances.items():
            if holder in (Holder.SPOT, Holder.FUTURES):
                assert amount > 0, (day, asset)


def test_prices_and_quantities_are_on_tick_and_lot(desk: SandboxDesk):
    for fill in desk.simulate_day("2026-01-05").fills:
        terms = INSTRUMENTS[fill.symbol]
        assert fill.price % terms.tick == 0
        assert fill.quantity % terms.lot == 0
        assert fill.quantity > 0
        assert fill.filled_at < fill.received_at
        assert fill.filled_at.microsecond % 1000 == 0


def test_fills_stay_within_their_orders_and_ids_grow_with_time(desk: SandboxDesk):
    simulated = desk.simulate_day("2026-01-05")
    orders = {order.order_id: order for order in simulated.orders}
    filled: dict[str, Decimal] = defaultdict(Decimal)
    last: dict[str, tuple[int, datetime]] = {}
    for fill in simulated.fills:
        order = orders[fill.order_id]
        filled[fill.order_id] += fill.quantity
        assert order.acknowledged_at is not None
        assert order.acknowledged_at < fill.filled_at < order.ended_at
        assert fill.received_at < order.ended_at
        before = last.get(fill.symbol, (0, fill.filled_at))
        assert int(fill.fill_id) > before[0]
        assert fill.filled_at >= before[1]
        last[fill.symbol] = (int(fill.fill_id), fill.filled_at)
    for order_id, order in orders.items():
        assert (filled[order_id] == order.quantity) is (order.end_reason == "filled")
        assert filled[order_id] <= order.quantity


def test_a_position_is_what_its_fills_made_it_and_follows_the_strategy(desk: SandboxDesk):
    # Every entry is momentum or breakout: no position exceeds its capital times its leverage by much.
    opening = desk.simulate_day("2026-01-08").opening
    inventory = {asset: amount for holder, asset, amount in OPENING if holder is Holder.SPOT}
    held = 0
    for entry in BOOK:
        for symbol in entry.symbols:
            base = INSTRUMENTS[symbol].base
            position = (
                opening.balance(Holder.CONTRACTS, symbol)
                if INSTRUMENTS[symbol].perpetual
                else opening.balance(Holder.SPOT, base) - inventory[base]
            )
            price = desk.market.mid(symbol, np.array([1_767_830_400_000_000]))[0]
            assert abs(float(position)) * price < 1.1 * entry.parameters["leverage"] * float(entry.capital)
            held += position != 0
    assert held >= 3


def test_the_desk_trades_its_candidates_as_their_files_ask():
    candidates = {each.name: each for each in load_candidates(STRATEGIES.parent / "candidates")}
    assert {entry.strategy_id for entry in BOOK} == candidates.keys()
    for entry in BOOK:
        candidate = candidates[entry.strategy_id]
        assert (entry.strategy, entry.symbols) == (candidate.strategy, candidate.universe)
        assert (entry.parameters, entry.capital) == (candidate.parameters, candidate.capital)


def test_the_inbox_takes_every_drop_whole(desk: SandboxDesk, tmp_path: Path):
    day = "2026-01-05"
    written = desk.write_inbox(day, tmp_path)
    # It computes no model's side of its own.
    kinds = set(INBOX_KINDS) - {"shadow_pnl"}
    assert {path.parent.name for path in written} == kinds
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    simulated = desk.simulate_day(day)
    counts = {}
    for kind in kinds:
        delivery = read_inbox(tmp_path, kind, day)
        assert delivery.quarantined.num_rows == 0
        assert delivery.repeated_rows == 0
        counts[kind] = delivery.rows.num_rows
    assert counts["decisions"] == len(simulated.decisions)
    signals = read_inbox(tmp_path, "decisions", day).rows["signal"].to_pylist()
    assert sorted(signals) == sorted(decision.signal for decision in simulated.decisions)
    largest = max(entry.parameters["leverage"] for entry in BOOK)
    assert all(-largest <= signal <= largest for signal in signals)
    assert counts["orders"] == len(simulated.orders)
    assert counts["fills"] == len(simulated.fills)
    again = [path.read_bytes() for path in written]
    assert again == [path.read_bytes() for path in desk.write_inbox(day, tmp_path)]


def _delivered(folder: Path, day: str) -> set[tuple[str, str]]:
    rows = read_inbox(folder, "fills", day).rows
    return set(zip(*(rows.column(name).to_pylist() for name in ("symbol", "fill_id")), strict=True))


def _true(desk: SandboxDesk, day: str) -> set[tuple[str, str]]:
    return {(fill.symbol, fill.fill_id) for fill in desk.simulate_day(day).fills}


def test_exactly_one_fill_is_lost_on_the_sixth_and_the_journal_names_it(desk: SandboxDesk, tmp_path: Path):
    for day in (*DAYS, "2026-01-06"):
        desk.write_inbox(day, tmp_path)
    missing = {day: _true(desk, day) - _delivered(tmp_path, day) for day in DAYS}
    ((symbol, number),) = missing.pop("2026-01-06")
    assert not any(missing.values())
    (record,) = desk.journal.records
    assert record.kind == "dropped_fill"
    assert record.detail.startswith(f"{symbol} trade {number} ")


def test_a_desk_loses_the_fills_that_its_plan_names_and_no_other(tmp_path: Path):
    for plan, lost in ((FaultPlan(), 0), (FaultPlan(dropped_fills=(DroppedFill("2026-01-01", 3),)), 1)):
        careful = SandboxDesk(SandboxMarket(7), faults=plan)
        careful.write_inbox("2026-01-01", tmp_path)
        assert len(_true(careful, "2026-01-01") - _delivered(tmp_path, "2026-01-01")) == lost
        assert len(careful.journal.records) == lost


def _last(quotes: pa.Table, symbol: str, clock: str, at: datetime) -> dict[str, Any]:
    """Return the last quote of ``symbol`` strictly before ``at`` on one of the two clocks."""
    mine = quotes.filter(pc.and_(pc.equal(quotes["symbol"], symbol), pc.less(quotes[clock], pa.scalar(at))))
    (row,) = mine.slice(mine.num_rows - 1).to_pylist()
    return dict(row)


def test_a_fresh_quote_stands_before_every_event_and_is_the_one_decided_on(desk: SandboxDesk):
    simulated, quotes = desk.simulate_day("2026-01-05"), desk.quotes("2026-01-05")
    second = timedelta(seconds=1)
    for decision in simulated.decisions:
        seen = _last(quotes, decision.symbol, "received_at", decision.decided_at)
        assert decision.decided_at - seen["received_at"] < second
        assert Decimal(repr(round(seen["bid"], 5))) == decision.reference_bid
        assert Decimal(repr(round(seen["ask"], 5))) == decision.reference_ask
    for order in simulated.orders:
        for at in (order.acknowledged_at, order.ended_at):
            assert at is not None
            assert at - _last(quotes, order.symbol, "received_at", at)["received_at"] < second
    for fill in simulated.fills:
        assert fill.filled_at - _last(quotes, fill.symbol, "quoted_at", fill.filled_at)["quoted_at"] < second


def test_quotes_are_ordered_by_both_clocks_and_received_after_they_were_made(desk: SandboxDesk):
    quotes = desk.quotes("2026-01-07")
    for symbol in desk.symbols:
        mine = quotes.filter(pc.equal(quotes["symbol"], symbol))
        made, received = (mine[name].to_numpy().astype("int64") for name in ("quoted_at", "received_at"))
        assert mine.num_rows > 1440
        assert (np.diff(made) > 0).all()
        assert (np.diff(received) >= 0).all()
        assert (np.diff(mine["sequence"].to_numpy()) > 0).all()
        assert (received > made).all()


def test_the_careless_entry_pays_visibly_more_than_any_other(desk: SandboxDesk):
    paid: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for day in DAYS:
        for fill in desk.simulate_day(day).fills:
            quote = desk.market.quote(fill.symbol, np.array([micros(fill.filled_at) - 100_000]))
            mid = float(quote.bid[0] + quote.ask[0]) / 2
            value = float(fill.quantity) * mid
            paid[fill.strategy].append((fill.side * (float(fill.price) / mid - 1) * 1e4, value))
    # Value-weighted effective half spread in basis points.
    costs = {
        strategy: float(np.average([cost for cost, _ in each], weights=[value for _, value in each]))
        for strategy, each in paid.items()
    }
    careless = next(entry.strategy_id for entry in BOOK if entry.truth is Truth.WORSE_EXECUTION)
    assert costs.pop(careless) > 8.0
    assert max(costs.values()) < 4.0


def _fill(number: int, side: int, quantity: int, price: int) -> Fill:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Fill(
        str(number), "O", "1", "s", "sandbox", "ETH/USDT:USDT", side, Decimal(quantity) / 1000,
        Decimal(price) / 100, "taker", Decimal(quantity) / 10**6, "USDT", at, at,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, -1]), st.integers(1, 5000), st.integers(100_000, 400_000)),
        min_size=1,
        max_size=30,
    )
)
def test_whatever_is_traded_flat_again_means_that_cash_is_what_the_trades_made(trades: list[tuple[int, int, int]]):
    books, at = Books(), datetime(2026, 1, 1, tzinfo=UTC)
    fills = [_fill(number, *trade) for number, trade in enumerate(trades)]
    open_lots = sum(side * quantity for side, quantity, _ in trades)
    if open_lots:
        fills.append(_fill(len(fills), -1 if open_lots > 0 else 1, abs(open_lots), 250_000))
    for fill in fills:
        legs = books.fill(fill)
        for asset in {leg.asset for leg in legs}:
            assert sum(leg.amount for leg in legs if leg.asset == asset) == 0
    cash = sum((-fill.side * fill.quantity * fill.price - fill.fee for fill in fills), Decimal(0))
    assert books.balance(Holder.CONTRACTS, "ETH/USDT:USDT") == 0
    assert books.balance(Holder.FUTURES, "USDT") == cash
    assert books.funding(FundingPayment("ETH/USDT:USDT", at, Decimal("0.0001"), Decimal(2500))) == ()
