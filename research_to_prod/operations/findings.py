"""A difference between two sides, before anybody has judged how bad it is.

Belongs here: the value that every comparison returns, and which of two books a balance can be explained by. Doesn't:
the comparisons (``fill_matching``, ``order_matching``, ``money_matching``, ``conservation``), and what becomes of a
finding (``register``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from research_to_prod.operations.contracts import OWN_ACCOUNTS, Account, BreakClass, BreakVerdict, Resolution
from research_to_prod.operations.ledger import Balances, Posting, balances
from research_to_prod.operations.records import OrderRecord, Source

_MOST_SUMS = 4096


@dataclass(frozen=True)
class Finding:
    """One difference.

    Parameters
    ----------
    internal, venue
        What either side says; None where it says nothing.
    alternatives
        What the venue's book would have more of if the desk's version (or another version of a disputed record) were
        the true one: a balance that is off by just that is the same break and no second one.
    resolution
        Set where the policy lets it resolve itself.
    correction
        What the desk's book lacks against the venue's; booked to suspense when it resolves itself.
    """

    kind: BreakClass
    symbol: str
    record_id: str | None
    internal: str | None
    venue: str | None
    money: Decimal | None
    at: datetime
    evidence: str
    verdict: BreakVerdict = BreakVerdict.CONFIRMED
    account: Account | None = None
    order_id: str | None = None
    evidence_ids: tuple[str, ...] = ()
    alternatives: tuple[Balances, ...] = ()
    resolution: Resolution | None = None
    correction: Balances | None = None


@dataclass(frozen=True)
class Proof:
    """What of the venue was seen completely, and what is old enough to be judged.

    Parameters
    ----------
    complete
        Source and scope (symbol or wallet) -> whether the fetch is certified; what is not named is not complete.
    fetches
        Source and scope -> the fetch that the records are from.
    judged_to
        Facts later than this are not judged yet: one side may not have heard of them.
    wait
        How long both sides have to hear of a fact.
    day_start, day_end
        The day whose records are compared; orders near its ends may be recorded on either side of them.
    """

    complete: Mapping[tuple[Source, str], bool]
    fetches: Mapping[tuple[Source, str], str]
    judged_to: datetime
    wait: timedelta
    day_start: datetime
    day_end: datetime

    def saw(self, source: Source, scope: str) -> bool:
        """Return whether what is absent there is proven to be absent."""
        return self.complete.get((source, scope), False)

    def judges(self, order: OrderRecord) -> bool:
        """Return whether an order must be on record on both sides: it began in the day and not near its ends."""
        inside = self.day_start + self.wait <= order.at < self.day_end - self.wait
        return order.whole and inside and order.at <= self.judged_to

    def cited(self, source: Source, scope: str) -> tuple[str, ...]:
        """Return the fetch that evidence from there rests on."""
        fetch = self.fetches.get((source, scope))
        return () if fetch is None else (fetch,)


def own(postings: Iterable[Posting]) -> Balances:
    """Return what postings move in the desk's own wallets and contracts."""
    return {key: amount for key, amount in balances(postings).items() if key[0] in OWN_ACCOUNTS}


def minus(left: Balances, right: Balances) -> Balances:
    """Return the difference of two books, without what is equal."""
    keys = sorted(left.keys() | right.keys())
    differences = {key: left.get(key, Decimal(0)) - right.get(key, Decimal(0)) for key in keys}
    return {key: amount for key, amount in differences.items() if amount}


def explained(
    residual: Decimal,
    key: tuple[Account, str],
    findings: Iterable[Finding],
    within: Decimal,
    sign: int = 1,
) -> tuple[Finding, ...] | None:
    """Return findings whose alternatives add up to ``residual``; None where none do.

    Tried are none, all, all of one class and symbol (a list that was empty lacks every fill of it), and then sets of
    any, of which the first in the findings' order is returned. Beyond some thousand sums no more are tried: a day with
    many breaks may then report a balance beside them, and never misses one.

    Parameters
    ----------
    within
        What may be left over.
    sign
        -1 where the residual is what the desk has too little of, +1 where it is what the venue's book lacks.
    """
    touching = [each for each in findings if any(key in change for change in each.alternatives)]
    groups: dict[tuple[str, ...], list[Finding]] = {(): [], ("all",): touching}
    for each in touching:
        groups.setdefault((each.kind, each.symbol), []).append(each)
    for group in groups.values():
        total = sum((sign * each.alternatives[0].get(key, Decimal(0)) for each in group), Decimal(0))
        if abs(residual - total) <= within:
            return tuple(group)
    reached: dict[Decimal, tuple[Finding, ...]] = {Decimal(0): ()}
    for finding in touching:
        steps = {sign * each[key] for each in finding.alternatives if key in each}
        for total, used in list(reached.items()):
            for step in sorted(steps):
                if len(reached) < _MOST_SUMS:
                    reached.setdefault(total + step, (*used, finding))
    return next((used for total, used in reached.items() if abs(residual - total) <= within), None)
