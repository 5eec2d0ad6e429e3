"""The desk's fills against the venue's.

Quantities, prices and sides match exactly or not at all: a desk that adopted differences within 2 % never learned of
them. Belongs here: fills. Doesn't: orders (``order_matching``), and the balances that follow (``conservation``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

from research_to_prod.operations.contracts import Book, BreakClass, Resolution
from research_to_prod.operations.findings import Finding, Proof, minus, own
from research_to_prod.operations.ledger import Balances, post_fill
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy, exact
from research_to_prod.operations.records import FillRecord, Source, plain

Key = tuple[str, str]


@dataclass(frozen=True)
class FillsCompared:
    """The findings, and what could not be judged.

    Parameters
    ----------
    waiting
        What would be findings if they were old enough and the venue's fetch complete: no breaks, but a balance may be
        off by them.
    unproven
        Symbol -> our fills that the venue neither confirms nor denies, because its fetch is not complete.
    disputed
        (symbol, order) of every fill that is a finding, unproven or too fresh.
    """

    findings: tuple[Finding, ...]
    waiting: tuple[Finding, ...]
    unproven: dict[str, list[FillRecord]]
    disputed: frozenset[Key]


def compare_fills(
    desk: Iterable[FillRecord],
    venue: Iterable[FillRecord],
    proof: Proof,
    policy: ReconciliationPolicy,
    strange_orders: frozenset[Key],
) -> FillsCompared:
    """Compare fills by (symbol, trade id).

    Parameters
    ----------
    strange_orders
        (symbol, order) that one side does not know: their fills belong to that finding and are none of their own.
    """
    ours, theirs = _by_id(desk), _by_id(venue)
    findings: list[Finding] = []
    waiting: list[Finding] = []
    unproven: dict[str, list[FillRecord]] = {}
    disputed: set[Key] = set()
    for key in sorted(ours.keys() | theirs.keys()):
        mine, yours = ours.get(key, []), theirs.get(key, [])
        orders = {(each.symbol, each.order_id) for each in chain(mine, yours) if each.order_id is not None}
        if not (mine and yours) and orders & strange_orders:
            continue
        found = _compare(mine, yours, policy, proof.cited(Source.FILLS, key[0]))
        fresh = max(each.at for each in chain(mine, yours)) > proof.judged_to
        if not found and not fresh:
            continue
        disputed |= orders
        if fresh:
            waiting += found
        elif len(mine) == 1 and not yours and not proof.saw(Source.FILLS, key[0]):
            unproven.setdefault(key[0], []).append(mine[0])
            waiting += found
        else:
            findings += found
    return FillsCompared(tuple(findings), tuple(waiting), unproven, frozenset(disputed))


def _by_id(fills: Iterable[FillRecord]) -> dict[Key, list[FillRecord]]:
    grouped: dict[Key, list[FillRecord]] = {}
    for fill in fills:
        grouped.setdefault((fill.symbol, fill.fill_id), []).append(fill)
    # Hardly any id has two records, and their words are slow to write.
    return {
        key: found if len(found) == 1 else sorted(found, key=lambda fill: (str(fill), repr(fill)))
        for key, found in grouped.items()
    }


def _compare(
    mine: list[FillRecord], yours: list[FillRecord], policy: ReconciliationPolicy, fetches: tuple[str, ...]
) -> list[Finding]:
    """Return the findings of one trade id; a fill recorded twice is one, not compared further."""

    def found(kind: BreakClass, money: Decimal | None, evidence: str, **more: object) -> Finding:
        either = (yours or mine)[0]
        values: dict[str, Any] = {
            "internal": " | ".join(map(str, mine)) or None,
            "venue": " | ".join(map(str, yours)) or None,
        }
        values |= {"alternatives": _alternatives(mine, yours)} | more
        return Finding(
            kind,
            either.symbol,
            either.fill_id,
            money=money,
            at=min(fill.at for fill in chain(mine, yours)),
            evidence=evidence,
            order_id=either.order_id,
            evidence_ids=(*fetches, either.fill_id),
            **values,
        )

    if len(mine) > 1 or len(yours) > 1:
        value = max(fill.value for fill in chain(mine, yours))
        evidence = f"one id, {len(mine)} different records of ours, {len(yours)} of the venue's"
        return [found(BreakClass.DUPLICATE_FILL, value, evidence)]
    if not yours:
        evidence = "in our records, not in the venue's certified complete ones"
        return [found(BreakClass.MISSING_FILL_VENUE, mine[0].value, evidence)]
    if not mine:
        evidence = "in the venue's records, not in ours"
        return [found(BreakClass.MISSING_FILL_INTERNAL, yours[0].value, evidence)]
    differences = _differences(mine[0], yours[0], policy)
    return [
        found(
            each.kind,
            each.money,
            "both have the fill and differ",
            internal=each.internal,
            venue=each.venue,
            resolution=each.resolution,
            correction=_legs(yours[0], Book.VENUE, mine[0]) if each.resolution else None,
            # Once for the fill, whatever the number of its differences.
            alternatives=_alternatives(mine, yours) if each is differences[0] else (),
        )
        for each in differences
    ]


@dataclass(frozen=True)
class _Difference:
    kind: BreakClass
    internal: str
    venue: str
    money: Decimal | None
    resolution: Resolution | None = None


def _differences(a: FillRecord, b: FillRecord, policy: ReconciliationPolicy) -> list[_Difference]:
    price, quantity = max(a.price, b.price), max(a.quantity, b.quantity)
    found: list[_Difference] = []
    if a.side != b.side:
        found.append(_Difference(BreakClass.SIDE_MISMATCH, f"{a.side:+d}", f"{b.side:+d}", a.value + b.value))
    if a.quantity != b.quantity:
        money = abs(a.quantity - b.quantity) * price
        found.append(_Difference(BreakClass.QUANTITY_MISMATCH, plain(a.quantity), plain(b.quantity), money))
    if a.price != b.price:
        money = abs(a.price - b.price) * quantity
        found.append(_Difference(BreakClass.PRICE_MISMATCH, plain(a.price), plain(b.price), money))
    if (a.fee, a.fee_currency) != (b.fee, b.fee_currency):
        texts = [f"{plain(fill.fee)} {fill.fee_currency}" for fill in (a, b)]
        other = a.fee_currency != b.fee_currency
        allowed = max(exact(policy.money_unit), exact(policy.fee_relative) * max(abs(a.fee), abs(b.fee)))
        # Only what is alone and small is rounding: beside another difference it belongs to that.
        rounding = not other and not found and abs(a.fee - b.fee) <= allowed
        kind = BreakClass.FEE_ASSET if other else BreakClass.FEE_MISMATCH
        resolution = Resolution.ROUNDING if rounding else None
        found.append(_Difference(kind, texts[0], texts[1], _fee_difference(a, b), resolution))
    if abs(a.at - b.at) > timedelta(seconds=policy.clock_seconds.value):
        times = [f"{fill.at:%Y-%m-%d %H:%M:%S.%f}" for fill in (a, b)]
        found.append(_Difference(BreakClass.CLOCK, times[0], times[1], None))
    return found


def _fee_difference(a: FillRecord, b: FillRecord) -> Decimal | None:
    """Return the fees' difference in quote currency; None when a fee is in neither the base nor the quote currency."""
    ours, theirs = _fee_in_quote(a), _fee_in_quote(b)
    return None if ours is None or theirs is None else abs(ours - theirs)


def _fee_in_quote(fill: FillRecord) -> Decimal | None:
    base, _, quote = fill.symbol.partition(":")[0].partition("/")
    if fill.fee_currency == quote or fill.fee == 0:
        return fill.fee
    return fill.fee * fill.price if fill.fee_currency == base else None


def _alternatives(mine: list[FillRecord], yours: list[FillRecord]) -> tuple[Balances, ...]:
    """Return what the venue's book would have more of under each version that it did not post."""
    posted = yours[0] if len(yours) == 1 else None
    versions = [*mine, *(yours if posted is None else [])]
    changes = [_legs(version, Book.DESK, posted) for version in versions]
    # Without a fill, or with two versions of it, the desk's book has none.
    if len(mine) != 1 and posted is not None:
        changes.append(minus({}, _legs(posted, Book.VENUE, None)))
    return tuple(each for each in changes if each)


def _legs(version: FillRecord, book: Book, posted: FillRecord | None) -> Balances:
    return minus(own(post_fill(book, version)), {} if posted is None else own(post_fill(Book.VENUE, posted)))
