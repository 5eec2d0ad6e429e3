"""The backtest once more, slow and plain, to hold the compiled engine against. The rules are those of ``backtest``.

Belongs here: one market at a time in ordinary Python. Doesn't: speed, or anything imported by the product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.costs import Costs


@dataclass
class Position:
    """One market: units held, last known price, and the target weight that was traded last."""

    units: float = 0.0
    price: float = math.nan
    target: float = 0.0

    def mark(self, price: float) -> float:
        """Move to a new price, if there is one, and return the profit."""
        if math.isnan(price):
            return 0.0
        profit = self.units * (price - self.price) if self.units else 0.0
        self.price = price
        return profit

    @property
    def value(self) -> float:
        """Signed value at the last known price."""
        return self.units * self.price if self.units else 0.0


@dataclass
class Book:
    """What a run leaves behind, one entry per bar."""

    equity: list[float] = field(default_factory=list)
    price_pnl: list[float] = field(default_factory=list)
    fees: list[float] = field(default_factory=list)
    spread_cost: list[float] = field(default_factory=list)
    impact_cost: list[float] = field(default_factory=list)
    funding: list[float] = field(default_factory=list)
    turnover: list[float] = field(default_factory=list)
    gross_exposure: list[float] = field(default_factory=list)
    units: list[list[float]] = field(default_factory=list)
    trades: int = 0


def run_backtest_oracle(bars: Bars, weights: Floats, costs: Costs, initial_capital: float, delay: int = 1) -> Book:
    """Trade ``weights`` on ``bars``; parameters as in ``backtest.run_backtest``, which checks them."""
    positions = [Position() for _ in bars.symbols]
    book = Book()
    equity, ruined = initial_capital, False
    for t in range(len(bars)):
        price_pnl = sum(position.mark(float(bars.open[t, m])) for m, position in enumerate(positions))
        funding = -sum(position.value * float(bars.funding[t, m]) for m, position in enumerate(positions))
        at_open = equity + price_pnl + funding
        ruined = ruined or at_open <= 0
        fees = spread = impact = traded = 0.0
        for m, position in enumerate(positions):
            price, volume = float(bars.open[t, m]), float(bars.volume[t, m])
            target = float(weights[t - delay, m]) if t >= delay else position.target
            tradable = not math.isnan(price) and (costs.impact == 0 or volume > 0)
            if ruined or target == position.target or not tradable:
                continue
            wanted = target * at_open / price
            quantity = abs(wanted - position.units)
            fees += quantity * price * costs.taker_fee
            spread += quantity * price * costs.half_spread
            impact += quantity * price * costs.impact * math.sqrt(quantity / volume) if costs.impact else 0.0
            traded += quantity * price
            position.units, position.target = wanted, target
            book.trades += 1
        if ruined:
            _close(positions)
        price_pnl += sum(position.mark(float(bars.close[t, m])) for m, position in enumerate(positions))
        equity += price_pnl - fees - spread - impact + funding
        if equity <= 0:
            ruined = True
            _close(positions)
        book.equity.append(equity)
        book.price_pnl.append(price_pnl)
        book.fees.append(fees)
        book.spread_cost.append(spread)
        book.impact_cost.append(impact)
        book.funding.append(funding)
        book.turnover.append(traded / at_open if at_open > 0 else 0.0)
        gross = sum(abs(position.value) for position in positions)
        book.gross_exposure.append(gross / equity if equity > 0 else 0.0)
        book.units.append([position.units for position in positions])
    return book


def _close(positions: list[Position]) -> None:
    for position in positions:
        position.units = 0.0
