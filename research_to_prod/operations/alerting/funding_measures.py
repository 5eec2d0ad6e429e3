"""Whether funding that was paid is what was due, and what the desk booked.

Two things are held against each payment of the venue's: the desk's books, by way of the breaks; and what the rate makes
due on the position that the venue's own records amount to. Belongs here: both, and what they make of a day. Doesn't:
what the next payment will cost (``day_measures``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate, groupby

from research_to_prod.operations.alerting.accounts import Account, Row
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.contracts import BreakClass

_SETTLED = timedelta(minutes=30)
"""Until then a payment may still come in on either side."""
_APART = timedelta(minutes=1)
"""Venues book a payment some seconds off its time, and so on a position before or after a fill near to it."""
# A cent and one percent, the metric's own measure of a difference: rounding of mark and rate stays below.
_CENT, _PERCENT = 0.01, 0.01
_CLASSES = (BreakClass.FUNDING_MISSING, BreakClass.FUNDING_MISMATCH)


@dataclass(frozen=True)
class _Payment:
    """One payment, and how far the venue's amount is from what it is held against; ``judged`` if by anything."""

    symbol: str
    at: datetime
    value: float
    relative: float
    judged: bool

    @property
    def differs(self) -> bool:
        return _weight((self.value, self.relative))[0]


def funding(account: Account) -> Iterator[Observation]:
    """Yield the payment that differs most, as a fraction and in money, and how many differ one after the other.

    Of none that differs the one that is furthest off. A payment that nothing could be held against leaves a day without
    a difference unknown.
    """
    paid = _payments(account)
    seen = account.saw("venue_income") and all(each.judged for each in paid)
    worst = max(paid, key=lambda each: (each.differs, each.value), default=None)
    told = seen or (worst is not None and worst.differs)
    relative, value = (0.0, 0.0) if worst is None else (worst.relative, worst.value)
    yield account.observe("funding_mismatch", relative if told else None, _EVIDENCE)
    yield account.observe("funding_mismatch_value", value if told else None, _EVIDENCE)
    yield account.observe("funding_mismatches_in_a_row", _longest(paid) if told else None, _EVIDENCE)


_EVIDENCE = "venue_income, funding_rates, breaks"


def _payments(account: Account) -> list[_Payment]:
    """Return the payments that are settled at the moment, by market and time."""
    booked: dict[tuple[str, datetime], Decimal] = {}
    for row in account.rows("venue_income"):
        if row["income_type"] == "FUNDING_FEE" and row["symbol"] and _counts(account, row["booked_at"]):
            key = (row["symbol"], _minute(row["booked_at"]))
            booked[key] = booked.get(key, Decimal(0)) + row["amount"]
    due = _due(account)
    broken = {
        (row["symbol"], _minute(row["opened_at"])): row
        for row in account.found(*_CLASSES)
        if _counts(account, row["opened_at"])
    }
    compared = "ledger_entries" in account.known.recorded and account.excludes(*_CLASSES)
    paid = []
    owed = {key for key, amounts in due.items() if any(amounts)}
    for key in sorted(booked.keys() | owed | broken.keys()):
        symbol, at = key
        offs = []
        if key in due:
            amount = float(booked.get(key, Decimal(0)))
            offs.append(min(_off(amount, each) for each in due[key]))
        if key in broken:
            offs.append(_off(*(_amount(broken[key][name]) for name in ("internal_value", "venue_value"))))
        elif compared and at <= account.known.told_to:
            offs.append((0.0, 0.0))
        value, relative = max(offs, key=_weight, default=(0.0, 0.0))
        paid.append(_Payment(symbol, at, value, relative, bool(offs)))
    return paid


def _due(account: Account) -> dict[tuple[str, datetime], list[float]]:
    """Return what each rate makes due on each position that was held within a minute.

    Nothing where positions, fills or the payments themselves were not read completely: what lacks then is not unpaid.
    """
    if not account.saw("venue_positions", "venue_fills", "venue_income"):
        return {}
    held = {row["symbol"]: row["position"] for row in account.rows("venue_positions") if row["moment"] == "opening"}
    fills: dict[str, list[Row]] = {}
    for fill in sorted(account.rows("venue_fills"), key=lambda row: row["traded_at"]):
        fills.setdefault(fill["symbol"], []).append(fill)
    due: dict[tuple[str, datetime], list[float]] = {}
    for row in account.rates():
        symbol, at = row["symbol"], row["ts"]
        quote, _, settled_in = symbol.partition("/")[2].partition(":")
        # Only of linear contracts a quantity times a price is money.
        if row["mark_price"] is None or not _counts(account, at) or quote != settled_in:
            continue
        own = [fill for fill in fills.get(symbol, ()) if fill["traded_at"] <= at + _APART]
        moves = (each["side"] * each["quantity"] for each in own)
        positions = list(accumulate(moves, initial=held.get(symbol, Decimal(0))))
        near = positions[sum(fill["traded_at"] < at - _APART for fill in own) :]
        due[symbol, _minute(at)] = [-float(each) * row["mark_price"] * row["rate"] for each in near]
    return due


def _counts(account: Account, at: datetime) -> bool:
    return account.known.since <= at <= account.moment - _SETTLED


def _minute(at: datetime) -> datetime:
    return (at + timedelta(seconds=30)).replace(second=0, microsecond=0)


def _amount(text: str | None) -> float:
    """Return the number of what one side of a break says; nothing where it says nothing."""
    return 0.0 if text is None else float(text.partition(" ")[0])


def _weight(off: tuple[float, float]) -> tuple[bool, float]:
    """Order differences: rounding before what is none, then by money."""
    value, relative = off
    return value > _CENT and relative > _PERCENT, value


def _off(one: float, other: float) -> tuple[float, float]:
    largest = max(abs(one), abs(other))
    return abs(one - other), abs(one - other) / largest if largest else 0.0


def _longest(paid: list[_Payment]) -> float:
    runs = [
        sum(1 for _ in run)
        for _, of_market in groupby(paid, key=lambda each: each.symbol)
        for differs, run in groupby(of_market, key=lambda each: each.differs)
        if differs
    ]
    return float(max(runs, default=0))
