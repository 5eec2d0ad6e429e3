"""Days on which both sides recorded the same, and what can go wrong on one side of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

import research_to_prod
from research_to_prod.operations.conservation import Held
from research_to_prod.operations.contracts import Account, Book, BreakClass
from research_to_prod.operations.findings import Finding, Proof, own
from research_to_prod.operations.ledger import post_side
from research_to_prod.operations.reconciliation import reconcile
from research_to_prod.operations.reconciliation_policy import load_reconciliation_policy
from research_to_prod.operations.records import (
    FillRecord,
    MoneyKind,
    Movement,
    OrderRecord,
    OrderState,
    Side,
    Snapshot,
    Source,
)

DAY = "2026-01-02"
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
NEXT = MIDNIGHT + timedelta(days=1)
NOON = MIDNIGHT + timedelta(hours=12)
SPOT, PERPETUAL = "BTC/USDT", "ETH/USDT:USDT"
WAIT = timedelta(seconds=60)
POLICY = load_reconciliation_policy(Path(research_to_prod.__file__).parent / "desk/policies/reconciliation.yaml")
COMPLETE = MappingProxyType(
    {(source, symbol): True for source in (Source.FILLS, Source.ORDERS) for symbol in (SPOT, PERPETUAL)}
    | {(source, account): True for source in (Source.MONEY, Source.BALANCES) for account in ("spot", "futures")}
    | {(Source.POSITIONS, "futures"): True}
)
OPENING = Snapshot(
    MIDNIGHT - timedelta(milliseconds=1),
    {
        (Account.SPOT, "USDT"): Decimal(10**9),
        (Account.SPOT, "BTC"): Decimal(10**6),
        (Account.FUTURES, "USDT"): Decimal(10**9),
        (Account.CONTRACTS, PERPETUAL): Decimal(5),
    },
)


Draw = Callable[..., Any]


@dataclass(frozen=True)
class World:
    """What both sides recorded, and what the venue stated around it."""

    desk: Side
    venue: Side
    held: Held
    complete: Mapping[tuple[Source, str], bool] = field(default_factory=lambda: COMPLETE)

    def proof(self, as_of: datetime = NEXT + timedelta(hours=2)) -> Proof:
        return Proof(self.complete, {}, as_of - WAIT, WAIT, MIDNIGHT, NEXT)

    def findings(self, as_of: datetime = NEXT + timedelta(hours=2)) -> tuple[Finding, ...]:
        return reconcile(self.desk, self.venue, self.held, self.proof(as_of), POLICY)

    def classes(self) -> list[str]:
        return sorted(each.kind.value for each in self.findings())


def fill(fill_id: str = "1", **changes: Any) -> FillRecord:
    values: dict[str, Any] = {"symbol": SPOT, "fill_id": fill_id, "order_id": "v1", "side": 1}
    values |= {"quantity": Decimal("0.5"), "price": Decimal(100), "fee": Decimal("0.05"), "fee_currency": "USDT"}
    return FillRecord(**{**values, "at": NOON, **changes})


def movement(record_id: str, amount: Decimal, **changes: Any) -> Movement:
    values: dict[str, Any] = {"account": Account.FUTURES, "kind": MoneyKind.FUNDING, "symbol": PERPETUAL, "at": NOON}
    return Movement(**{"record_id": record_id, "asset": "USDT", "amount": amount, **values, **changes})


def commission(paid: FillRecord) -> Movement:
    """Return a contract fill's fee as the wallet's statement has it."""
    changes: dict[str, Any] = {"kind": MoneyKind.COMMISSION, "symbol": paid.symbol, "at": paid.at}
    changes |= {"asset": paid.fee_currency}
    return movement(f"c{paid.fill_id}", -paid.fee, **changes)


def world(fills: list[FillRecord], money: list[Movement] | None = None, idle: int = 0) -> World:
    """Return a sound day: an order for the fills of each number, ``idle`` orders without a fill, and what follows."""
    contracts = [each for each in fills if each.symbol == PERPETUAL]
    orders = []
    for key in sorted({(each.symbol, each.order_id or "") for each in fills}):
        of_it = [each for each in fills if (each.symbol, each.order_id) == key]
        total = sum((each.quantity for each in of_it), Decimal(0))
        times = [each.at for each in of_it]
        client = f"o-{key[1]}"
        orders.append(OrderRecord(*key, client, of_it[0].side, total, total, OrderState.FILLED, min(times), max(times)))
    for number in range(idle):
        name = f"idle{number}"
        orders.append(
            OrderRecord(
                SPOT, name, name, 1, Decimal(1), Decimal(0), OrderState.ENDED, NOON, NOON + timedelta(seconds=9)
            )
        )
    side = Side(frozenset(fills), frozenset(orders), frozenset((*(money or ()), *map(commission, contracts))))
    moved = own(post_side(Book.VENUE, side))
    keys = OPENING.amounts.keys() | moved.keys()
    closing = {key: OPENING.amount(*key) + moved.get(key, Decimal(0)) for key in keys}
    believed = {key[1]: amount for key, amount in closing.items() if key[0] is Account.CONTRACTS}
    held = Held(OPENING, Snapshot(NEXT - timedelta(milliseconds=1), closing), believed)
    return World(side, side, held)


Fault = Callable[[World, Draw], World]

amounts = st.decimals("0.001", "1000", places=3)
times = st.integers(600, 85_000).map(lambda seconds: MIDNIGHT + timedelta(seconds=seconds))


@st.composite
def worlds(draw: st.DrawFn, minimum: int = 0) -> World:
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from([SPOT, PERPETUAL]), st.integers(1, 30)), min_size=minimum, max_size=7, unique=True
        )
    )
    sides = {(symbol, number % 4): draw(st.sampled_from([1, -1])) for symbol, number in keys}
    fills = [
        fill(
            str(number),
            symbol=symbol,
            order_id=f"v{number % 4}",
            side=sides[symbol, number % 4],
            quantity=draw(amounts),
            price=draw(amounts),
            fee=draw(st.decimals("1", "10", places=3)),
            fee_currency=draw(st.sampled_from(["USDT", "BNB"])),
            at=draw(times),
        )
        for symbol, number in keys
    ]
    hours = draw(st.lists(st.sampled_from([0, 8, 16]), min_size=minimum, unique=True))
    money = [movement(f"f{hour}", draw(amounts), at=MIDNIGHT + timedelta(hours=hour)) for hour in hours]
    for number in range(draw(st.integers(minimum, 2))):
        changes = {"kind": MoneyKind.TRANSFER, "symbol": None, "at": draw(times)}
        account = draw(st.sampled_from([Account.SPOT, Account.FUTURES]))
        money.append(movement(f"t{number}", draw(amounts) + 7, account=account, **changes))
    return world(fills, money, idle=draw(st.integers(minimum, 2)))


def without(found: frozenset[Any] | None, each: Any) -> frozenset[Any]:
    return frozenset(found or ()) - {each}


def pick(draw: Draw, found: Any) -> Any:
    # Two faults in a row may leave nothing for the second.
    assume(bool(found))
    return draw(st.sampled_from(sorted(found, key=str)))


def _venue_moves(sound: World, key: tuple[Account, str], amount: Decimal) -> World:
    """Let the venue's closing statement differ by an amount that nobody recorded."""
    assert sound.held.closing is not None
    changed = dict(sound.held.closing.amounts) | {key: sound.held.closing.amount(*key) + amount}
    return replace(sound, held=replace(sound.held, closing=replace(sound.held.closing, amounts=changed)))


def _desk_fill(change: Callable[[FillRecord], FillRecord]) -> Fault:
    def spoil(sound: World, draw: Draw) -> World:
        victim = pick(draw, sound.desk.fills)
        fills = without(sound.desk.fills, victim) | {change(victim)}
        return replace(sound, desk=replace(sound.desk, fills=fills))

    return spoil


def _desk_order(sound: World, draw: Draw, side: str) -> World:
    victim = pick(draw, [each for each in sound.desk.orders or () if each.order_id.startswith("idle")])
    one = getattr(sound, side)
    return replace(sound, **{side: replace(one, orders=without(one.orders, victim))})


def _external(sound: World, draw: Draw) -> World:
    """Let the venue close a position: an order and a fill that only it has."""
    del draw
    closed = fill("9999", symbol=PERPETUAL, order_id="liquidated", side=-1, quantity=Decimal(5), fee=Decimal(0))
    order = OrderRecord(
        PERPETUAL, "liquidated", "autoclose-1", -1, Decimal(5), Decimal(5), OrderState.FILLED, NOON, NOON
    )
    venue = replace(
        sound.venue, fills=sound.venue.fills | {closed}, orders=(sound.venue.orders or frozenset()) | {order}
    )
    return replace(_venue_moves(sound, (Account.CONTRACTS, PERPETUAL), Decimal(-5)), venue=venue)


def _money(change: Callable[[Movement], Movement | None], kind: MoneyKind) -> Fault:
    def spoil(sound: World, draw: Draw) -> World:
        victim = pick(draw, [each for each in sound.desk.money or () if each.kind is kind])
        changed = change(victim)
        money = without(sound.desk.money, victim) | ({changed} if changed is not None else set())
        return replace(sound, desk=replace(sound.desk, money=money))

    return spoil


def _believed(change: Callable[[Decimal], Decimal]) -> Fault:
    def spoil(sound: World, draw: Draw) -> World:
        del draw
        assert sound.held.closing is not None
        now = sound.held.closing.amount(Account.CONTRACTS, PERPETUAL)
        return replace(sound, held=replace(sound.held, believed={PERPETUAL: change(now)}))

    return spoil


def _twin(sound: World, draw: Draw) -> World:
    victim = pick(draw, sound.desk.fills)
    return replace(
        sound, desk=replace(sound.desk, fills=sound.desk.fills | {replace(victim, quantity=victim.quantity * 2)})
    )


def lost_at(side: str) -> Fault:
    def spoil(sound: World, draw: Draw) -> World:
        one = getattr(sound, side)
        return replace(sound, **{side: replace(one, fills=without(one.fills, pick(draw, one.fills)))})

    return spoil


def _invented(sound: World, draw: Draw) -> World:
    """Let the desk have a fill that never was."""
    like = pick(draw, sound.desk.fills)
    return replace(sound, desk=replace(sound.desk, fills=sound.desk.fills | {replace(like, fill_id="9998")}))


def _state(sound: World, draw: Draw) -> World:
    victim = pick(draw, sound.desk.orders)
    orders = without(sound.desk.orders, victim) | {replace(victim, state=OrderState.OPEN)}
    return replace(sound, desk=replace(sound.desk, orders=orders))


def _incomplete(sound: World, draw: Draw) -> World:
    """Let a fetch see half of what is there, and know it."""
    key = draw(st.sampled_from(sorted(COMPLETE)))
    venue = sound.venue
    if key[0] is Source.FILLS:
        venue = replace(venue, fills=frozenset(f for f in venue.fills if f.symbol != key[1]))
    if key[0] is Source.ORDERS:
        venue = replace(venue, orders=frozenset(o for o in venue.orders or () if o.symbol != key[1]))
    if key[0] is Source.MONEY:
        venue = replace(venue, money=frozenset(m for m in venue.money or () if m.account != key[1]))
    held = sound.held if key[0] is not Source.BALANCES else replace(sound.held, opening=None, closing=None)
    return World(sound.desk, venue, held, dict(COMPLETE) | {key: False})


def lot(amount: Decimal) -> Decimal:
    return amount + Decimal("0.001")


FAULTS: dict[BreakClass, Fault] = {
    BreakClass.MISSING_FILL_INTERNAL: lost_at("desk"),
    BreakClass.MISSING_FILL_VENUE: _invented,
    BreakClass.DUPLICATE_FILL: _twin,
    BreakClass.QUANTITY_MISMATCH: _desk_fill(lambda each: replace(each, quantity=each.quantity + Decimal("1e-18"))),
    BreakClass.PRICE_MISMATCH: _desk_fill(lambda each: replace(each, price=each.price + Decimal("1e-18"))),
    BreakClass.SIDE_MISMATCH: _desk_fill(lambda each: replace(each, side=-each.side)),
    BreakClass.FEE_MISMATCH: _desk_fill(lambda each: replace(each, fee=each.fee * 2)),
    BreakClass.FEE_ASSET: _desk_fill(lambda each: replace(each, fee_currency="XRP")),
    BreakClass.CLOCK: _desk_fill(lambda each: replace(each, at=each.at + timedelta(seconds=2))),
    BreakClass.UNKNOWN_ORDER: lambda sound, draw: _desk_order(sound, draw, "desk"),
    BreakClass.ORPHAN_INTENT: lambda sound, draw: _desk_order(sound, draw, "venue"),
    BreakClass.STATE_MISMATCH: _state,
    BreakClass.EXTERNAL_ACTIVITY: _external,
    BreakClass.FUNDING_MISSING: _money(lambda _: None, MoneyKind.FUNDING),
    BreakClass.FUNDING_MISMATCH: _money(lambda each: replace(each, amount=-each.amount - 1), MoneyKind.FUNDING),
    BreakClass.TRANSFER_UNMATCHED: _money(lambda _: None, MoneyKind.TRANSFER),
    BreakClass.POSITION_QUANTITY: _believed(lot),
    BreakClass.POSITION_SIGN: _believed(lambda amount: -amount),
    BreakClass.BALANCE_DRIFT: lambda sound, _: _venue_moves(sound, (Account.SPOT, "USDT"), Decimal("-123.45")),
    BreakClass.DUST: lambda sound, _: _venue_moves(sound, (Account.SPOT, "USDT"), Decimal("0.5")),
    BreakClass.SOURCE_INCOMPLETE: _incomplete,
}
