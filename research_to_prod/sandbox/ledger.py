"""The simulated desk's own double-entry truth: every fill, fee and funding payment as legs that sum to zero.

Belongs here: the legs and the balances that follow from them. Doesn't: why the desk traded, and how the venue words it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

# What the venue credits and charges is cut to eight digits.
UNIT = Decimal("0.00000001")


class Holder(StrEnum):
    """Whose side of an entry a leg is: the desk's wallets and contracts, or who stands against them."""

    SPOT = "spot"
    FUTURES = "futures"
    CONTRACTS = "contracts"
    TREASURY = "treasury"
    MARKET = "market"
    FEES = "fees"
    FUNDING = "funding"


class LegKind(StrEnum):
    """Why an amount moved."""

    DEPOSIT = "deposit"
    TRADE = "trade"
    REALIZED_PNL = "realized_pnl"
    COMMISSION = "commission"
    FUNDING_FEE = "funding_fee"


@dataclass(frozen=True)
class Leg:
    """One side of an entry.

    Parameters
    ----------
    event
        Names the entry: ``deposit``, ``fill <symbol> <trade id>`` or ``funding <symbol> <time>``.
    asset
        A currency, or the unified symbol of a contract.
    amount
        Positive into the holder's account.
    """

    event: str
    kind: LegKind
    at: datetime
    holder: Holder
    asset: str
    amount: Decimal


@dataclass(frozen=True)
class Fill:
    """One execution, complete enough for the desk's record, the venue's record and the ledger."""

    fill_id: str
    order_id: str
    venue_order_id: str
    strategy: str
    venue: str
    symbol: str
    side: int
    quantity: Decimal
    price: Decimal
    liquidity: str
    fee: Decimal
    fee_currency: str
    filled_at: datetime
    received_at: datetime

    @property
    def perpetual(self) -> bool:
        """Whether the fill is of a contract and not of coins."""
        return ":" in self.symbol


@dataclass(frozen=True)
class FundingPayment:
    """One funding time of a contract that the desk held."""

    symbol: str
    at: datetime
    rate: Decimal
    mark_price: Decimal


@dataclass
class Books:
    """Balances by holder and asset, and what the open contracts cost; changed only by posting events."""

    balances: dict[tuple[Holder, str], Decimal] = field(default_factory=dict)
    entry_costs: dict[str, Decimal] = field(default_factory=dict)

    def copy(self) -> Self:
        """Return books that can go on without changing these."""
        return type(self)(dict(self.balances), dict(self.entry_costs))

    def balance(self, holder: Holder, asset: str) -> Decimal:
        """Return what the holder has of the asset."""
        return self.balances.get((holder, asset), Decimal(0))

    def deposit(self, at: datetime, amounts: Iterable[tuple[Holder, str, Decimal]]) -> tuple[Leg, ...]:
        """Post what the treasury gives the desk to start with."""
        return self._post(
            "deposit",
            at,
            [(LegKind.DEPOSIT, Holder.TREASURY, holder, asset, amount) for holder, asset, amount in amounts],
        )

    def fill(self, fill: Fill) -> tuple[Leg, ...]:
        """Post one execution with its fee."""
        signed = fill.side * fill.quantity
        base, quote = fill.symbol.split(":")[0].split("/")
        event = f"fill {fill.symbol} {fill.fill_id}"
        if fill.perpetual:
            wallet = Holder.FUTURES
            moves = [
                (LegKind.TRADE, Holder.MARKET, Holder.CONTRACTS, fill.symbol, signed),
                (LegKind.REALIZED_PNL, Holder.MARKET, wallet, quote, self._realize(fill.symbol, signed, fill.price)),
            ]
        else:
            wallet = Holder.SPOT
            moves = [
                (LegKind.TRADE, Holder.MARKET, wallet, base, signed),
                (LegKind.TRADE, Holder.MARKET, wallet, quote, -signed * fill.price),
            ]
        moves.append((LegKind.COMMISSION, Holder.FEES, wallet, fill.fee_currency, -fill.fee))
        return self._post(event, fill.filled_at, moves)

    def funding(self, payment: FundingPayment) -> tuple[Leg, ...]:
        """Post one funding payment on the position held; nothing where none is."""
        held = self.balance(Holder.CONTRACTS, payment.symbol)
        paid = (-held * payment.mark_price * payment.rate).quantize(UNIT)
        quote = payment.symbol.split(":")[1]
        event = f"funding {payment.symbol} {payment.at.isoformat()}"
        return self._post(event, payment.at, [(LegKind.FUNDING_FEE, Holder.FUNDING, Holder.FUTURES, quote, paid)])

    def _realize(self, symbol: str, signed: Decimal, price: Decimal) -> Decimal:
        """Return the profit that a fill realizes at average cost, and carry the cost of what stays open."""
        held, cost = self.balance(Holder.CONTRACTS, symbol), self.entry_costs.get(symbol, Decimal(0))
        if held * signed >= 0:
            self.entry_costs[symbol] = cost + signed * price
            return Decimal(0)
        closed = -signed if abs(signed) <= abs(held) else held
        share = (cost * closed / held).quantize(UNIT)
        self.entry_costs[symbol] = cost - share + (signed + closed) * price
        return (closed * price - share).quantize(UNIT)

    def _post(
        self, event: str, at: datetime, moves: Iterable[tuple[LegKind, Holder, Holder, str, Decimal]]
    ) -> tuple[Leg, ...]:
        """Move amounts from the first holder to the second: two legs each, so that every event sums to zero."""
        legs: list[Leg] = []
        for kind, giver, taker, asset, amount in moves:
            if amount == 0:
                continue
            for holder, signed in ((giver, -amount), (taker, amount)):
                legs.append(Leg(event, kind, at, holder, asset, signed))
                self.balances[holder, asset] = self.balance(holder, asset) + signed
        return tuple(legs)
