"""The desk's payments and transfers against the venue's.

Belongs here: what moves money besides trades and fees. Doesn't: realized profit, which follows from fills and which
only the balances check (``conservation``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from research_to_prod.operations.contracts import Account, Book, BreakClass, Resolution
from research_to_prod.operations.findings import Finding, Proof, minus, own
from research_to_prod.operations.ledger import Balances, post_movement
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy, exact
from research_to_prod.operations.records import MoneyKind, Movement, Side, Source

_FUNDING_APART = timedelta(minutes=1)
_TRANSFER_APART = timedelta(hours=1)
_UNMATCHED = {
    MoneyKind.FUNDING: BreakClass.FUNDING_MISSING,
    MoneyKind.TRANSFER: BreakClass.TRANSFER_UNMATCHED,
    MoneyKind.OTHER: BreakClass.EXTERNAL_ACTIVITY,
}

Pair = tuple[Movement | None, Movement | None]


@dataclass(frozen=True)
class MoneyCompared:
    """The findings, and what would be findings if they were old enough and the venue's fetch complete."""

    findings: tuple[Finding, ...]
    waiting: tuple[Finding, ...]


def compare_money(desk: Side, venue: Side, proof: Proof, policy: ReconciliationPolicy) -> MoneyCompared:
    """Compare payments and transfers; nothing where either side does not record them.

    A pair has one id, or else, of one wallet, kind, asset and market, times a minute (of a transfer: the same amount
    and times an hour) apart: books rarely keep a venue's ids.
    """
    if desk.money is None or venue.money is None:
        return MoneyCompared((), ())
    found: list[Finding] = []
    waiting: list[Finding] = []
    for mine, yours in _pairs(_compared(desk.money), _compared(venue.money)):
        either = yours or mine
        assert either is not None  # noqa: S101 - a pair has a side
        finding = _compare(mine, yours, either, policy, proof)
        if finding is None:
            continue
        fresh = max(each.at for each in (mine, yours) if each is not None) > proof.judged_to
        unproven = yours is None and not proof.saw(Source.MONEY, either.account)
        (waiting if fresh or unproven else found).append(finding)
    return MoneyCompared(tuple(found), tuple(waiting))


def _compared(money: Iterable[Movement]) -> list[Movement]:
    return sorted((each for each in money if each.kind in _UNMATCHED), key=_place)


def _place(each: Movement) -> tuple[str, ...]:
    return each.account, each.kind, each.asset, each.symbol or "", each.at.isoformat(), each.record_id, str(each)


def _pairs(ours: list[Movement], theirs: list[Movement]) -> list[Pair]:
    """Pair by id, then by time, each record once; the same for any order in which they came."""
    pairs: list[Pair] = []
    left, right = list(ours), list(theirs)
    for same in (_same_id, _same_event):
        for mine in list(left):
            near = [each for each in right if same(mine, each)]
            if near:
                yours = min(near, key=lambda each: (abs(each.at - mine.at), _place(each)))
                pairs.append((mine, yours))
                left.remove(mine)
                right.remove(yours)
    return [*pairs, *((mine, None) for mine in left), *((None, yours) for yours in right)]


def _same_id(a: Movement, b: Movement) -> bool:
    return _where(a) == _where(b) and a.record_id == b.record_id


def _same_event(a: Movement, b: Movement) -> bool:
    apart = abs(a.at - b.at)
    if _where(a) != _where(b):
        return False
    if a.kind is MoneyKind.FUNDING:
        return a.symbol == b.symbol and apart <= _FUNDING_APART
    return a.amount == b.amount and apart <= _TRANSFER_APART


def _where(each: Movement) -> tuple[str, ...]:
    return each.account, each.kind, each.asset


def _compare(
    mine: Movement | None, yours: Movement | None, either: Movement, policy: ReconciliationPolicy, proof: Proof
) -> Finding | None:
    resolution = None
    if mine is not None and yours is not None:
        apart = abs(mine.amount - yours.amount)
        if apart == 0:
            return None
        kind = BreakClass.FUNDING_MISMATCH if either.kind is MoneyKind.FUNDING else _UNMATCHED[either.kind]
        allowed = max(exact(policy.funding_money), exact(policy.funding_relative) * abs(yours.amount))
        if kind is BreakClass.FUNDING_MISMATCH and apart <= allowed:
            resolution = Resolution.ROUNDING
        money, evidence = apart, "both have the payment and differ"
    else:
        kind, money = _UNMATCHED[either.kind], abs(either.amount)
        evidence = (
            "in the venue's records, not in ours"
            if mine is None
            else "in our records, not in the venue's certified complete ones"
        )
    ours, theirs = _legs(Book.DESK, mine), _legs(Book.VENUE, yours)
    change = minus(ours, theirs)
    return Finding(
        kind,
        either.symbol or either.asset,
        either.record_id,
        None if mine is None else str(mine),
        None if yours is None else str(yours),
        money if _is_money(either) else None,
        either.at,
        evidence,
        account=either.account,
        evidence_ids=(*proof.cited(Source.MONEY, either.account), either.record_id),
        alternatives=(change,),
        resolution=resolution,
        correction=minus(theirs, ours) if resolution else None,
    )


def _is_money(each: Movement) -> bool:
    """Tell whether the amount is a value in quote currency: a payment is, a transfer of coins is not."""
    return each.account is Account.FUTURES or each.symbol is not None


def _legs(book: Book, moved: Movement | None) -> Balances:
    return {} if moved is None else own(post_movement(book, moved))
