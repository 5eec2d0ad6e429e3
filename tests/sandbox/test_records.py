"""What the simulated desk notes beside its fills agrees with them, and with the venue's books."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.execution.inbox import read_inbox
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.ledger import Holder
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.values import day_bounds

# One fill of the sixth is lost on its way into the desk's own drops.
DAYS = ("2026-01-05", "2026-01-06", "2026-01-07")

Drops = dict[str, dict[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def desk() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(7))


@pytest.fixture(scope="module")
def drops(desk: SandboxDesk, tmp_path_factory: pytest.TempPathFactory) -> Drops:
    folder: Path = tmp_path_factory.mktemp("inbox")
    kinds = [{path.parent.name for path in desk.write_inbox(day, folder)} for day in DAYS]
    return {day: {kind: read_inbox(folder, kind, day).rows.to_pylist() for kind in kinds[0]} for day in DAYS}


def test_what_was_ordered_of_a_child_is_filled_or_cancelled_and_within_its_order(drops: Drops) -> None:
    children: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    orders = {row["order_id"]: row for row in drops["2026-01-05"]["orders"]}
    for row in drops["2026-01-05"]["order_events"]:
        children[row["child_id"]][row["event"]] += row["quantity"]
        order = orders[row["order_id"]]
        at = row["received_at"] if row["event"] == "cancel_sent" else row["occurred_at"]
        assert order["acknowledged_at"] <= at <= row["received_at"] < order["ended_at"]
        assert (row["side"], row["symbol"], row["strategy"]) == (order["side"], order["symbol"], order["strategy"])
    assert len(children) > 50
    for quantities in children.values():
        assert quantities["new"] == quantities["fill"] + quantities["cancelled"]
        assert quantities["cancel_sent"] == quantities["cancelled"]
    assert any(quantities["cancelled"] for quantities in children.values())


@pytest.mark.parametrize("day", DAYS)
def test_the_fills_among_the_events_are_the_fills_that_the_desk_delivers(drops: Drops, day: str) -> None:
    def told(row: dict[str, Any], at: str) -> tuple[Any, ...]:
        names = ("symbol", "venue_order_id", "side", "price", "quantity", at, "received_at")
        return tuple(row[name] for name in names)

    events = sorted(told(row, "occurred_at") for row in drops[day]["order_events"] if row["event"] == "fill")
    assert events == sorted(told(row, "filled_at") for row in drops[day]["fills"])


def test_a_position_changes_by_what_was_truly_filled_less_fees_paid_in_the_coin(
    desk: SandboxDesk, drops: Drops
) -> None:
    snapshots = [row for day in DAYS for row in drops[day]["positions"]]
    fills = [fill for day in DAYS for fill in desk.simulate_day(day).fills]
    moves = 0
    for symbol in desk.symbols:
        held = sorted((row for row in snapshots if row["symbol"] == symbol), key=lambda row: row["held_at"])
        assert [row["held_at"] for row in held] == [day_bounds(DAYS[0])[0] + timedelta(hours=n) for n in range(72)]
        for before, after in pairwise(held):
            change = Decimal(0)
            for fill in fills:
                if fill.symbol == symbol and before["held_at"] < fill.filled_at <= after["held_at"]:
                    in_coin = fill.fee_currency == symbol.partition("/")[0]
                    change += fill.side * fill.quantity - (fill.fee if in_coin else 0)
            assert after["position"] - before["position"] == change
            moves += change != 0
    assert moves > 20


def test_the_ledger_moves_each_wallet_as_the_venue_does_lost_fill_or_not(desk: SandboxDesk, drops: Drops) -> None:
    for day in DAYS:
        start, end = day_bounds(day)
        moved: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for row in drops[day]["ledger_entries"]:
            assert start <= row["booked_at"] < end
            moved[row["account"], row["currency"]] += row["amount"]
        simulated = desk.simulate_day(day)
        opening, closing = simulated.opening, simulated.books_at(end)
        for holder, asset in closing.balances:
            if holder in {Holder.SPOT, Holder.FUTURES}:
                change = closing.balance(holder, asset) - opening.balance(holder, asset)
                assert moved.pop((holder.value, asset), Decimal(0)) == change
        assert not moved


def test_every_fee_follows_from_the_schedule_of_its_day(drops: Drops) -> None:
    rates = {row["symbol"]: row for row in drops["2026-01-05"]["fee_schedules"]}
    for fill in drops["2026-01-05"]["fills"]:
        rate = rates[fill["symbol"]][f"{fill['liquidity']}_rate"]
        in_base = fill["fee_currency"] == fill["symbol"].partition("/")[0]
        due = fill["quantity"] * rate * (1 if in_base else fill["price"])
        assert abs(fill["fee"] - due) < Decimal("0.00000001")


def test_the_first_day_books_what_the_desk_started_with(desk: SandboxDesk, tmp_path: Path) -> None:
    desk.write_inbox("2026-01-01", tmp_path)
    rows = read_inbox(tmp_path, "ledger_entries", "2026-01-01").rows.to_pylist()
    deposits = {(row["account"], row["currency"]): row["amount"] for row in rows if row["entry_type"] == "deposit"}
    assert deposits["spot", "USDT"] == 10_000_000
    assert len(deposits) == 4
