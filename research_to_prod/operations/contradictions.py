"""Lists of the venue that its own other records show to be cut, whatever their certificates say.

A venue in trouble may answer an empty list of the right shape, again and again: no certificate can tell it from a day
on which nothing happened, but the venue's orders, fills and statements can. What such a list lacks is unknown, not
absent.

Belongs here: which lists those are. Doesn't: what follows (``reconciliation``).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from research_to_prod.operations.contracts import Account, BreakClass
from research_to_prod.operations.findings import Finding, Proof
from research_to_prod.operations.records import MoneyKind, Side, Source

_MONEY = {BreakClass.FUNDING_MISSING, BreakClass.TRANSFER_UNMATCHED, BreakClass.EXTERNAL_ACTIVITY}

Scope = tuple[Source, str]


def contradicted(
    desk: Side, venue: Side, proof: Proof, findings: Iterable[Finding], desk_is_right: Iterable[Finding]
) -> frozenset[Scope]:
    """Return the source and scope of each list that is certified complete and lacks what the venue has elsewhere.

    Parameters
    ----------
    findings
        All differences, taking the certificates at their word.
    desk_is_right
        Those whose desk's version the venue's balances and positions contain.
    """
    found = {scope for each in desk_is_right if (scope := _list_of(each)) is not None}
    found |= _fills_that_orders_tell_of(venue, findings) | _orders_that_fills_tell_of(desk, venue, proof)
    found |= _lists_that_fees_tell_of(venue, proof)
    return frozenset(scope for scope in found if proof.saw(*scope))


def _list_of(finding: Finding) -> Scope | None:
    """Return the list in which the venue lacks what only the desk has."""
    if finding.venue is not None:
        return None
    if finding.kind is BreakClass.MISSING_FILL_VENUE:
        return Source.FILLS, finding.symbol
    if finding.kind is BreakClass.ORPHAN_INTENT:
        return Source.ORDERS, finding.symbol
    if finding.kind in _MONEY and finding.account in {Account.SPOT, Account.FUTURES}:
        return Source.MONEY, str(finding.account)
    return None


def _fills_that_orders_tell_of(venue: Side, findings: Iterable[Finding]) -> set[Scope]:
    """Return the symbols of fills that only we list, of orders that the venue says to be filled beyond its fills."""
    listed: dict[tuple[str, str | None], Decimal] = {}
    for fill in venue.fills:
        key = (fill.symbol, fill.order_id)
        listed[key] = listed.get(key, Decimal(0)) + fill.quantity
    short = {
        (order.symbol, order.order_id)
        for order in venue.orders or ()
        if order.filled > listed.get((order.symbol, order.order_id), Decimal(0))
    }
    missing = (each for each in findings if each.kind is BreakClass.MISSING_FILL_VENUE)
    return {(Source.FILLS, each.symbol) for each in missing if (each.symbol, each.order_id) in short}


def _orders_that_fills_tell_of(desk: Side, venue: Side, proof: Proof) -> set[Scope]:
    """Return the symbols of orders of the day that the venue filled and does not list."""
    if desk.orders is None or venue.orders is None:
        return set()
    filled = {(fill.symbol, fill.order_id) for fill in venue.fills}
    unlisted = filled - {(order.symbol, order.order_id) for order in venue.orders}
    return {
        (Source.ORDERS, order.symbol)
        for order in desk.orders
        if (order.symbol, order.order_id) in unlisted and proof.judges(order)
    }


def _lists_that_fees_tell_of(venue: Side, proof: Proof) -> set[Scope]:
    """Return which of two lists has fewer fees of contracts than the other: that of fills, or that of payments."""
    if venue.money is None or not proof.saw(Source.MONEY, Account.FUTURES):
        return set()
    symbols = {scope for source, scope in proof.complete if source is Source.FILLS and ":" in scope}
    if not all(proof.saw(Source.FILLS, symbol) for symbol in symbols):
        return set()
    found: set[Scope] = set()
    for symbol in symbols:
        charged = _totals((fill.fee_currency, fill.fee) for fill in venue.fills if fill.symbol == symbol)
        paid = _totals(
            (each.asset, -each.amount)
            for each in venue.money
            if each.kind is MoneyKind.COMMISSION and each.symbol == symbol
        )
        for asset in charged.keys() | paid.keys():
            by_fills, by_payments = (total.get(asset, Decimal(0)) for total in (charged, paid))
            if abs(by_payments) < abs(by_fills):
                found.add((Source.MONEY, Account.FUTURES.value))
            elif by_payments != by_fills:
                found.add((Source.FILLS, symbol))
    return found


def _totals(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for asset, amount in amounts:
        totals[asset] = totals.get(asset, Decimal(0)) + amount
    return totals
