"""The desk's orders against the venue's.

Belongs here: orders that one side does not know, and orders on whose fate the two disagree. Doesn't: fills.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from research_to_prod.operations.contracts import Book, BreakClass
from research_to_prod.operations.findings import Finding, Proof, own
from research_to_prod.operations.ledger import post_fill
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy
from research_to_prod.operations.records import FillRecord, OrderRecord, OrderState, Side, Source, plain

Key = tuple[str, str]


def strange_orders(desk: Side, venue: Side, proof: Proof, policy: ReconciliationPolicy) -> tuple[Finding, ...]:
    """Return the orders that one side does not know; nothing where either does not record orders.

    An order is known by its record or by a fill of it. Orders that began within the waiting time of the day's ends are
    left out: the two sides may have put them on different days.
    """
    if desk.orders is None or venue.orders is None:
        return ()
    ours, theirs = _known(desk.orders, desk.fills), _known(venue.orders, venue.fills)
    # An order that was sent and has no number yet is known by the name that the desk gave it.
    names = {order.client_id for order in desk.orders}
    found = []
    for order in sorted(venue.orders, key=_place):
        if _key(order) not in ours and order.client_id not in names and proof.judges(order):
            external = (order.client_id or "").startswith(policy.external_orders)
            kind = BreakClass.EXTERNAL_ACTIVITY if external else BreakClass.UNKNOWN_ORDER
            evidence = "the venue or a person sent it" if external else "nothing of ours sent it"
            found.append(_strange(kind, order, venue.fills, proof, f"in the venue's records, not in ours: {evidence}"))
    for order in sorted(desk.orders, key=_place):
        if _key(order) not in theirs and proof.judges(order) and proof.saw(Source.ORDERS, order.symbol):
            evidence = "in our records, not in the venue's certified complete ones"
            found.append(_strange(BreakClass.ORPHAN_INTENT, order, desk.fills, proof, evidence))
    return tuple(found)


def compare_states(desk: Side, venue: Side, proof: Proof, disputed: frozenset[Key]) -> tuple[Finding, ...]:
    """Return the orders that both sides have and on whose size, side, filled quantity or end they disagree.

    Also those whose filled quantity is not the sum of their own fills at the venue. An order with a disputed fill is
    not judged: what it lacks is that fill. One that went on after the day is not either.
    """
    if desk.orders is None or venue.orders is None:
        return ()
    ours = {_key(order): order for order in desk.orders if order.whole}
    # Sent, and never heard of again: what became of it at the venue is news to us.
    unanswered = {order.client_id: order for order in desk.orders if not order.order_id}
    sums: dict[Key, Decimal] = {}
    for fill in venue.fills:
        if fill.order_id is not None:
            key = (fill.symbol, fill.order_id)
            sums[key] = sums.get(key, Decimal(0)) + fill.quantity
    found = []
    for order in sorted(venue.orders, key=_place):
        key = _key(order)
        mine = ours.get(key) or unanswered.get(order.client_id)
        last = max(order.last_at, order.last_at if mine is None else mine.last_at)
        if mine is None or key in disputed or last > min(proof.judged_to, proof.day_end):
            continue
        differ = (mine.side, mine.quantity, mine.filled, mine.state) != (
            order.side,
            order.quantity,
            order.filled,
            order.state,
        )
        total = sums.get(key, Decimal(0))
        torn = proof.saw(Source.FILLS, order.symbol) and total != order.filled
        if not differ and not torn:
            continue
        evidence = "both have the order and differ" if differ else f"its fills at the venue add up to {plain(total)}"
        found.append(
            Finding(
                BreakClass.STATE_MISMATCH,
                order.symbol,
                order.order_id,
                str(mine),
                str(order),
                None,
                order.at,
                evidence,
                order_id=order.order_id,
                evidence_ids=(*proof.cited(Source.ORDERS, order.symbol), order.order_id),
            )
        )
    return tuple(found)


def _known(orders: Iterable[OrderRecord], fills: Iterable[FillRecord]) -> set[Key]:
    known = {_key(order) for order in orders}
    return known | {(fill.symbol, fill.order_id) for fill in fills if fill.order_id is not None}


def _strange(kind: BreakClass, order: OrderRecord, fills: Iterable[FillRecord], proof: Proof, evidence: str) -> Finding:
    of_it = sorted((f for f in fills if (f.symbol, f.order_id) == _key(order)), key=lambda fill: fill.fill_id)
    # An open order may still cost what nobody has reckoned with; one that ended without a fill costs nothing.
    money = sum((fill.value for fill in of_it), Decimal(0)) if order.state is not OrderState.OPEN else None
    mine = kind is BreakClass.ORPHAN_INTENT
    legs = own(leg for fill in of_it for leg in post_fill(Book.DESK, fill))
    change = legs if mine else {each: -amount for each, amount in legs.items()}
    return Finding(
        kind,
        order.symbol,
        order.order_id,
        str(order) if mine else None,
        None if mine else str(order),
        money,
        order.at,
        f"{evidence}; {len(of_it)} fills",
        order_id=order.order_id,
        evidence_ids=(*proof.cited(Source.ORDERS, order.symbol), order.order_id, *(fill.fill_id for fill in of_it)),
        alternatives=(change,) if change else (),
    )


def _key(order: OrderRecord) -> Key:
    return order.symbol, order.order_id


def _place(order: OrderRecord) -> tuple[str, str, str]:
    return order.symbol, order.order_id, str(order)
