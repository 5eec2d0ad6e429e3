"""What a venue says of a market and of itself, apart from series: terms, fees, state.

Belongs here: the values. Doesn't: where they come from (``dialects``, ``venue``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VenueStatus(StrEnum):
    """Whether a venue trades."""

    ONLINE = "online"
    LIMITED = "limited"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True)
class Instrument:
    """The contract terms of one market; amounts are decimal text, None where the venue states none.

    Parameters
    ----------
    tick, lot
        Smallest step of a price, and of an amount.
    min_notional
        Least price times amount of an order, in quote currency.
    contract_size
        Base units of one contract; None for spot.
    linear, inverse
        Whether a contract is settled in its quote or in its base currency; both false for spot.
    maker, taker
        Default fees as fractions, before an account's own tier.
    """

    symbol: str
    tick: str | None
    lot: str | None
    min_notional: str | None
    contract_size: str | None
    linear: bool
    inverse: bool
    active: bool
    maker: str | None
    taker: str | None


@dataclass(frozen=True)
class TradingFee:
    """What the account pays in one market, as fractions in decimal text; negative is a rebate."""

    symbol: str
    maker: str
    taker: str
