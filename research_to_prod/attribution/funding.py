"""Funding by timestamp: what a position was due at each funding time.

Funding booked at a trade's exit is doubled by partial exits and lost by retries (freqtrade issues 13102 and 13517), so
it follows from the positions at the venue's funding times and from nothing else.

Belongs here: payments due. Doesn't: fetching rates, and what the venue booked (reconciliation compares the two).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, localcontext

_EXACT = Context(prec=120)
_ZERO = Decimal(0)


@dataclass(frozen=True)
class PositionChange:
    """A fill, or another change of a position; ``quantity`` is signed, in base units."""

    symbol: str
    at: datetime
    quantity: Decimal


@dataclass(frozen=True)
class FundingTime:
    """A funding time of a linear perpetual: the rate a long position pays, and the mark it is paid on."""

    symbol: str
    at: datetime
    rate: Decimal
    mark: Decimal


@dataclass(frozen=True)
class Funding:
    """What one funding time was due; ``amount`` in quote currency, received positive."""

    symbol: str
    at: datetime
    position: Decimal
    rate: Decimal
    mark: Decimal
    amount: Decimal


def funding_due(
    opening: Mapping[str, Decimal], changes: Iterable[PositionChange], times: Sequence[FundingTime]
) -> tuple[Funding, ...]:
    """Return what each funding time is due: ``-position x mark x rate``, with the position held just before it.

    A change at the very time of a payment comes after it: venues fix positions at the stroke of the hour.

    Parameters
    ----------
    opening
        Signed positions before the first change; none for a symbol that isn't named.
    changes, times
        In any order.

    Returns
    -------
    tuple
        In order of time and symbol; flat positions are left out.

    Raises
    ------
    ValueError
        For an inverse contract, which pays in base currency, a number that is not finite, or a time without a zone.
    """
    changes = tuple(changes)
    problems = [f"{each.symbol} at {each.at}: not a linear perpetual" for each in times if not _linear(each.symbol)]
    problems += [
        f"{each.symbol} at {each.at}: rate {each.rate} on a mark of {each.mark}"
        for each in times
        if not (each.rate.is_finite() and each.mark.is_finite() and each.mark > 0)
    ]
    instants = [(each.symbol, each.at) for each in changes] + [(each.symbol, each.at) for each in times]
    problems += [f"{symbol} at {at}: no time zone" for symbol, at in instants if at.tzinfo is None]
    if problems:
        raise ValueError("funding can't be computed: " + "; ".join(problems))
    due = []
    with localcontext(_EXACT):
        for symbol in sorted({each.symbol for each in times}):
            own = sorted((each.at, each.quantity) for each in changes if each.symbol == symbol)
            held = [opening.get(symbol, _ZERO)]
            for _, quantity in own:
                held.append(held[-1] + quantity)
            moved = [at for at, _ in own]
            for each in times:
                if each.symbol == symbol and (position := held[bisect_left(moved, each.at)]):
                    amount = -position * each.mark * each.rate
                    due.append(Funding(symbol, each.at, position, each.rate, each.mark, amount))
    return tuple(sorted(due, key=lambda each: (each.at, each.symbol)))


def _linear(symbol: str) -> bool:
    pair, _, settle = symbol.partition(":")
    return bool(settle) and settle == pair.partition("/")[2]
