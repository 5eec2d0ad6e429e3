"""What a market demands of an order and a position, and how the backtest's orders are sent.

Belongs here: the terms as values, as a candidate file states them. Doesn't: applying them (the engine does), cost rates
(``costs``).
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Instrument(BaseModel):
    """The terms of one market; the defaults are those of a frictionless one.

    Spot and linear perpetuals (margined and settled in quote) are told apart by the symbol. Inverse contracts are not
    modelled: their profit is in base currency, which an account in quote currency can't add up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contract_size: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Base units of one contract."""
    lot: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Smallest step of an order, in contracts; 0: any quantity."""
    tick: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Smallest step of a price, in quote currency; 0: any price."""
    min_notional: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Smallest order, in quote currency."""
    max_leverage: float | None = Field(default=None, gt=0, le=1000, allow_inf_nan=False)
    """Largest position as a multiple of equity; None: no bound."""
    maintenance_margin: float = Field(default=0.0, ge=0, lt=1)
    """Equity that the venue demands, as a fraction of the position's value; 0: the position is never liquidated."""
    liquidation_fee: float = Field(default=0.0, ge=0, lt=1)
    """As a fraction of the liquidated value."""
    borrow_rate: float = Field(default=0.0, ge=0, le=10, allow_inf_nan=False)
    """What a short of a spot market pays for the borrowed units, as a fraction of their value a year of 365 days."""


class Liquidity(StrEnum):
    """Whether an order takes liquidity or makes it, which decides its fee."""

    TAKER = "taker"
    MAKER = "maker"


class Execution(BaseModel):
    """How a decision becomes fills."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delay_bars: int = Field(default=1, ge=1)
    """Bars between the decision's bar and the one that it trades in: a close can't be traded at its own bar's open."""
    liquidity: Liquidity = Liquidity.TAKER
    participation_cap: float | None = Field(default=None, gt=0, le=1)
    """Largest share of a bar's volume that is filled in it; None: no bound."""
