"""The double-entry ledger: events in, legs out that add up to nothing in each asset.

Belongs here: which accounts an event moves, and balances. Doesn't: where events come from (``records``), and what is
concluded from a difference (``conservation``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from types import MappingProxyType

import pyarrow as pa

from research_to_prod.operations.contracts import POSTINGS, Account, Book
from research_to_prod.operations.records import FillRecord, MoneyKind, Movement, Side

SMALLEST = Decimal(1).scaleb(-18)
"""The last digit that the lake's decimals keep."""

_CONTRA: Mapping[MoneyKind, Account] = MappingProxyType(
    {
        MoneyKind.REALIZED_PNL: Account.MARKET,
        MoneyKind.FUNDING: Account.FUNDING,
        MoneyKind.TRANSFER: Account.TREASURY,
        MoneyKind.OTHER: Account.OTHER,
    }
)

Balances = dict[tuple[Account, str], Decimal]


@dataclass(frozen=True)
class Posting:
    """One leg of an event: ``amount`` of ``asset`` into ``account``."""

    book: Book
    event_id: str
    kind: str
    at: datetime
    account: Account
    asset: str
    amount: Decimal


def post_fill(book: Book, fill: FillRecord) -> tuple[Posting, ...]:
    """Return the legs of a fill and its fee.

    A spot fill exchanges the two currencies with the market. A contract fill moves contracts only: what it earns
    enters the wallet as realized profit, which the venue books as a movement of its own. The fee leaves the wallet in
    the currency in which it was charged.
    """
    pair, perpetual, _ = fill.symbol.partition(":")
    base, _, quote = pair.partition("/")
    signed = fill.side * fill.quantity
    wallet = Account.FUTURES if perpetual else Account.SPOT
    moves = (
        [("trade", Account.CONTRACTS, Account.MARKET, fill.symbol, signed)]
        if perpetual
        else [
            ("trade", wallet, Account.MARKET, base, signed),
            ("trade", wallet, Account.MARKET, quote, -signed * fill.price),
        ]
    )
    moves.append(("fee", wallet, Account.FEES, fill.fee_currency, -fill.fee))
    return _post(book, f"fill {fill.symbol} {fill.fill_id}", fill.at, moves)


def post_movement(book: Book, moved: Movement) -> tuple[Posting, ...]:
    """Return the legs of a payment or transfer."""
    event = f"{moved.kind} {moved.account} {moved.asset} {moved.record_id}"
    return _post(
        book, event, moved.at, [(moved.kind.value, moved.account, _CONTRA[moved.kind], moved.asset, moved.amount)]
    )


def post_adjustment(break_id: str, at: datetime, account: Account, asset: str, amount: Decimal) -> tuple[Posting, ...]:
    """Return the correcting entry that moves the desk's book by ``amount``, against suspense."""
    return _post(Book.DESK, break_id, at, [("adjustment", account, Account.SUSPENSE, asset, amount)])


def post_side(book: Book, side: Side) -> tuple[Posting, ...]:
    """Return the legs of all that one side recorded, the same for any order in which it came.

    A fill of which there are two versions is in dispute and is not posted.
    """
    by_id: dict[tuple[str, str], list[FillRecord]] = {}
    for fill in side.fills:
        by_id.setdefault((fill.symbol, fill.fill_id), []).append(fill)
    legs = [leg for _, (fill, *others) in sorted(by_id.items()) if not others for leg in post_fill(book, fill)]
    paid = (each for each in side.money or () if each.kind is not MoneyKind.COMMISSION)
    moved = sorted(paid, key=lambda each: (each.account, each.kind, each.asset, each.record_id, str(each)))
    return (*legs, *(leg for each in moved for leg in post_movement(book, each)))


def balances(postings: Iterable[Posting]) -> Balances:
    """Return the sum of the legs of each account and asset."""
    totals: Balances = {}
    with localcontext(prec=100):
        for leg in postings:
            key = (leg.account, leg.asset)
            totals[key] = totals.get(key, Decimal(0)) + leg.amount
    return totals


def unbalanced(postings: Iterable[Posting]) -> dict[tuple[Book, str, str], Decimal]:
    """Return what the legs of an event do not add up to nothing in: book, event and asset; empty for a sound ledger."""
    totals: dict[tuple[Book, str, str], Decimal] = {}
    with localcontext(prec=100):
        for leg in postings:
            key = (leg.book, leg.event_id, leg.asset)
            totals[key] = totals.get(key, Decimal(0)) + leg.amount
    return {key: total for key, total in totals.items() if total}


def postings_table(postings: Iterable[Posting], venue: str, day: str) -> pa.Table:
    """Return ``POSTINGS`` rows of one venue and day."""
    lines: dict[tuple[Book, str], int] = {}
    rows = []
    for leg in postings:
        key = (leg.book, leg.event_id)
        lines[key] = lines.get(key, 0) + 1
        rows.append(
            {
                "day": day,
                "venue": venue,
                "book": leg.book.value,
                "event_id": leg.event_id,
                "line": lines[key],
                "kind": leg.kind,
                "booked_at": leg.at,
                "account": leg.account.value,
                "asset": leg.asset,
                "amount": leg.amount,
            }
        )
    return POSTINGS.conform(pa.Table.from_pylist(rows, schema=POSTINGS.arrow), day)


def postings_from(rows: pa.Table) -> tuple[Posting, ...]:
    """Return the legs that ``POSTINGS`` rows hold."""
    return tuple(
        Posting(
            Book(row["book"]),
            f"{row['venue']} {row['event_id']}",
            row["kind"],
            row["booked_at"],
            Account(row["account"]),
            row["asset"],
            row["amount"],
        )
        for row in rows.to_pylist()
    )


def _post(
    book: Book, event: str, at: datetime, moves: Iterable[tuple[str, Account, Account, str, Decimal]]
) -> tuple[Posting, ...]:
    legs: list[Posting] = []
    with localcontext(prec=100):
        for kind, own, contra, asset, amount in moves:
            # Rounded once, so that the two legs still add up to nothing.
            kept = amount.quantize(SMALLEST)
            if kept:
                legs += [Posting(book, event, kind, at, own, asset, kept)]
                legs += [Posting(book, event, kind, at, contra, asset, -kept)]
    return tuple(legs)
