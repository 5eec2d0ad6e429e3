"""The desk's fills against the venue's.

Belongs here: the comparison, exact and three-valued. Doesn't: fetching, and correcting anything: a break is a finding.

Three rules come from desks that lost money without them. Only a fetch that is certified complete may prove that a fill
does not exist at the venue (LEAN zeroed a balance absent from one reply; hummingbot dropped orders after network errors
and kept an untracked short). Quantities match exactly or not at all (freqtrade adopts differences within 2 %). A fill
too fresh to have reached both sides is not judged yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from itertools import chain

import pyarrow as pa

from research_to_prod.execution.contracts import FILLS, VENUE_FILLS
from research_to_prod.operations.contracts import BREAKS, BreakClass, BreakVerdict
from research_to_prod.values import digest

IN_FLIGHT = timedelta(seconds=60)
"""Default age below which a fill is not judged: the time in which both sides must have heard of it."""

_CENT_OF_WEI = Decimal(1).scaleb(-18)
# Columns that say how a record reached us, not what it says: two copies that differ only here are one record.
_PROVENANCE = {"received_at", "fetch_id"}


@dataclass(frozen=True)
class _Fill:
    symbol: str
    fill_id: str
    side: int
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    at: datetime
    # Everything else that the record says, so that two versions of one fill can be told apart.
    rest: tuple[tuple[str, object], ...]

    @property
    def value(self) -> Decimal:
        return self.quantity * self.price

    @property
    def fee_in_quote(self) -> Decimal | None:
        base, _, quote = self.symbol.partition(":")[0].partition("/")
        if self.fee_currency == quote or self.fee == 0:
            return self.fee
        return self.fee * self.price if self.fee_currency == base else None

    def __str__(self) -> str:
        side = "buy" if self.side > 0 else "sell"
        return f"{side} {_text(self.quantity)} @ {_text(self.price)}, fee {_text(self.fee)} {self.fee_currency}"


_Side = dict[tuple[str, str], list[_Fill]]


def reconcile_fills(
    internal: pa.Table,
    venue_fills: pa.Table,
    certificates_complete: Mapping[str, bool],
    as_of: datetime,
    *,
    venue: str,
    day: str,
    in_flight: timedelta = IN_FLIGHT,
) -> pa.Table:
    """Compare the desk's fills of one venue and day with the venue's; return the ``BREAKS``.

    Parameters
    ----------
    internal, venue_fills
        ``FILLS`` and ``VENUE_FILLS`` rows of that venue and UTC day, any order; repeated delivery is harmless.
    certificates_complete
        Symbol -> whether the venue's fetch for that symbol and day is certified complete. A symbol that is not named
        counts as incomplete.
    as_of
        The venue's clock when the earliest of the fetches began (``venue_clock_before`` of the certificates). Fills
        younger than ``in_flight`` before it are not judged.

    Returns
    -------
    pa.Table
        Sorted by ``break_id``; the same for any order or repetition of the inputs. Where the venue's fetch is not
        complete, no fill is claimed to be missing there: one ``source_incomplete`` row for the symbol says so, with the
        value of our unmatched fills as the money known to be at stake.

    Raises
    ------
    ValueError
        If rows of another venue are given.
    """
    # 28 digits, Python's default, would round a product of two 38-digit decimals.
    with localcontext(prec=100):
        ours = _by_key(internal, FILLS.arrow.names, "fill_id", "filled_at", venue)
        theirs = _by_key(venue_fills, VENUE_FILLS.arrow.names, "trade_id", "traded_at", venue)
        fresh_after = as_of - in_flight
        breaks: list[dict[str, object]] = []
        unmatched: dict[str, list[_Fill]] = {}
        for key in sorted(ours.keys() | theirs.keys()):
            mine, yours = ours.get(key, []), theirs.get(key, [])
            if max(fill.at for fill in chain(mine, yours)) > fresh_after:
                continue
            if len(mine) == 1 and not yours and not certificates_complete.get(key[0], False):
                unmatched.setdefault(key[0], []).append(mine[0])
                continue
            breaks += _compare(mine, yours)
        symbols = certificates_complete.keys() | {symbol for symbol, _ in ours.keys() | theirs.keys()}
        breaks += [
            _incomplete(symbol, unmatched.get(symbol, []), as_of)
            for symbol in symbols
            if not certificates_complete.get(symbol, False)
        ]
    for each in breaks:
        each |= {"venue": venue, "day": day}
        each["break_id"] = digest([each["class"], venue, each["symbol"], each["fill_id"], day])
    return BREAKS.conform(pa.Table.from_pylist(breaks, schema=BREAKS.arrow), day)


def _by_key(rows: pa.Table, names: list[str], fill_id: str, at: str, venue: str) -> _Side:
    """Group records by (symbol, fill id); copies that say the same are one."""
    others = sorted(set(rows.column("venue").to_pylist()) - {venue})
    if others:
        raise ValueError(f"fills of {', '.join(others)} given for the reconciliation of {venue}")
    common = {"venue", "symbol", "side", "quantity", "price", "fee", "fee_currency", fill_id, at}
    rest = [name for name in names if name not in common | _PROVENANCE]
    grouped: dict[tuple[str, str], set[_Fill]] = {}
    for row in rows.to_pylist():
        fill = _Fill(
            symbol=row["symbol"],
            fill_id=row[fill_id],
            side=row["side"],
            quantity=row["quantity"],
            price=row["price"],
            fee=row["fee"],
            fee_currency=row["fee_currency"],
            at=row[at],
            rest=tuple((name, row[name]) for name in rest),
        )
        grouped.setdefault((fill.symbol, fill.fill_id), set()).add(fill)
    return {key: sorted(fills, key=lambda fill: (str(fill), repr(fill))) for key, fills in grouped.items()}


def _compare(mine: list[_Fill], yours: list[_Fill]) -> list[dict[str, object]]:
    """Return the breaks of one fill id; a fill recorded twice is one break, not compared further."""
    if len(mine) > 1 or len(yours) > 1:
        value = max(fill.value for fill in chain(mine, yours))
        evidence = f"one id, {len(mine)} different records of ours, {len(yours)} of the venue's"
        return [_break(BreakClass.DUPLICATE_FILL, mine, yours, value, evidence)]
    if not yours:
        evidence = "in our records, not in the venue's certified complete ones"
        return [_break(BreakClass.MISSING_FILL_VENUE, mine, yours, mine[0].value, evidence)]
    if not mine:
        return [
            _break(BreakClass.MISSING_FILL_INTERNAL, mine, yours, yours[0].value, "in the venue's records, not in ours")
        ]
    a, b = mine[0], yours[0]
    price, quantity = max(a.price, b.price), max(a.quantity, b.quantity)
    found: list[tuple[BreakClass, str, str, Decimal | None]] = []
    if a.side != b.side:
        found.append((BreakClass.SIDE_MISMATCH, f"{a.side:+d}", f"{b.side:+d}", a.value + b.value))
    if a.quantity != b.quantity:
        money = abs(a.quantity - b.quantity) * price
        found.append((BreakClass.QUANTITY_MISMATCH, _text(a.quantity), _text(b.quantity), money))
    if a.price != b.price:
        money = abs(a.price - b.price) * quantity
        found.append((BreakClass.PRICE_MISMATCH, _text(a.price), _text(b.price), money))
    if (a.fee, a.fee_currency) != (b.fee, b.fee_currency):
        texts = [f"{_text(fill.fee)} {fill.fee_currency}" for fill in (a, b)]
        found.append((BreakClass.FEE_MISMATCH, texts[0], texts[1], _fee_difference(a, b)))
    return [
        {
            **_break(kind, mine, yours, money, "both have the fill and differ"),
            "internal_value": ours,
            "venue_value": theirs,
        }
        for kind, ours, theirs, money in found
    ]


def _fee_difference(a: _Fill, b: _Fill) -> Decimal | None:
    """Return the fees' difference in quote currency; None when a fee is in neither the base nor the quote currency."""
    ours, theirs = a.fee_in_quote, b.fee_in_quote
    return None if ours is None or theirs is None else abs(ours - theirs)


def _break(
    kind: BreakClass, mine: list[_Fill], yours: list[_Fill], money: Decimal | None, evidence: str
) -> dict[str, object]:
    either = (mine or yours)[0]
    return {
        "class": kind.value,
        "symbol": either.symbol,
        "fill_id": either.fill_id,
        "internal_value": " | ".join(map(str, mine)) or None,
        "venue_value": " | ".join(map(str, yours)) or None,
        "money": None if money is None else money.quantize(_CENT_OF_WEI),
        "opened_at": min(fill.at for fill in chain(mine, yours)),
        "evidence": evidence,
        "verdict": BreakVerdict.CONFIRMED.value,
    }


def _incomplete(symbol: str, unmatched: list[_Fill], as_of: datetime) -> dict[str, object]:
    money = sum((fill.value for fill in unmatched), Decimal(0))
    return {
        "class": BreakClass.SOURCE_INCOMPLETE.value,
        "symbol": symbol,
        "fill_id": None,
        "internal_value": f"{len(unmatched)} fills not seen at the venue" if unmatched else None,
        "venue_value": None,
        "money": money.quantize(_CENT_OF_WEI) if unmatched else None,
        "opened_at": as_of,
        "evidence": (
            "the venue's fetch is not certified complete; "
            f"{len(unmatched)} of our fills are neither confirmed nor denied by it"
        ),
        "verdict": BreakVerdict.UNKNOWN.value,
    }


def _text(number: Decimal) -> str:
    """Return a decimal in plain digits without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
