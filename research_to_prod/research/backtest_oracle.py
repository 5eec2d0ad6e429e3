"""The backtest once more, slow and plain, to hold the compiled engine against. The rules are those of ``backtest``.

Sums are written as loops: ``sum`` of floats compensates its rounding from Python 3.12 on, the kernels don't.

Belongs here: one market at a time in ordinary Python. Doesn't: speed, or anything imported by the product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from research_to_prod.research.bars import Bars, Floats, is_perpetual
from research_to_prod.research.costs import Costs
from research_to_prod.research.terms import Execution, Instrument, Liquidity


@dataclass
class Position:
    """One market: its terms, units held, last known price, and the target weight that was reached last."""

    terms: Instrument
    perpetual: bool
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
class Bar:
    """One market's bar."""

    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass
class Fill:
    """What one order did."""

    units: float
    fee: float = 0.0
    spread: float = 0.0
    impact: float = 0.0
    notional: float = 0.0
    reached: bool = False


@dataclass
class Book:
    """What a run leaves behind, one entry per bar."""

    equity: list[float] = field(default_factory=list)
    price_pnl: list[float] = field(default_factory=list)
    fees: list[float] = field(default_factory=list)
    spread_cost: list[float] = field(default_factory=list)
    impact_cost: list[float] = field(default_factory=list)
    funding: list[float] = field(default_factory=list)
    borrow_cost: list[float] = field(default_factory=list)
    liquidation_cost: list[float] = field(default_factory=list)
    turnover: list[float] = field(default_factory=list)
    gross_exposure: list[float] = field(default_factory=list)
    units: list[list[float]] = field(default_factory=list)
    trades: int = 0


def run_backtest_oracle(  # noqa: PLR0912, PLR0915 - the rules in one piece, in their order
    bars: Bars,
    weights: Floats,
    costs: Costs,
    initial_capital: float,
    execution: Execution,
    instruments: Mapping[str, Instrument],
) -> Book:
    """Trade ``weights`` on ``bars``; parameters as in ``backtest.run_backtest``, which checks them."""
    book = Book()
    positions = [Position(instruments.get(each, Instrument()), is_perpetual(each)) for each in bars.symbols]
    years_a_bar = float((bars.ts[1] - bars.ts[0]).astype(int)) / (365 * 86400 * 1e6) if len(bars) > 1 else 0.0
    delay, equity, ruined = execution.delay_bars, initial_capital, False
    for t in range(len(bars)):
        row = [
            Bar(*(float(getattr(bars, name)[t, m]) for name in ("open", "high", "low", "close", "volume")))
            for m in range(len(positions))
        ]
        targets = [float(each) for each in weights[t - delay]] if t >= delay else [0.0] * len(positions)

        # Rule 1: mark to the open; funding and borrow.
        price_pnl = _mark(positions, [bar.open for bar in row])
        funding = borrow = 0.0
        for m, position in enumerate(positions):
            funding -= position.value * float(bars.funding[t, m])
            if position.units < 0:
                borrow -= position.value * (position.terms.borrow_rate * years_a_bar)
        at_open = equity + price_pnl + funding - borrow

        # Rule 2: liquidation at the open.
        liquidation, liquidated = 0.0, False
        if at_open > 0 and _below_margin(positions, [bar.open for bar in row], at_open):
            _, liquidation = _liquidate(positions, [bar.open for bar in row])
            at_open, liquidated = at_open - liquidation, True
        if at_open <= 0:
            ruined = True
        if ruined:
            _close(positions)

        # Rules 3 and 4: orders.
        fees = spread = impact = traded = 0.0
        for m, position in enumerate(positions):
            if t < delay or ruined or liquidated or targets[m] == position.target:
                continue
            fill = _order(position, row[m], targets[m], at_open, costs, execution)
            position.units = fill.units
            if fill.reached:
                position.target = targets[m]
            if fill.notional:
                fees += fill.fee
                spread += fill.spread
                impact += fill.impact
                traded += fill.notional
                book.trades += 1

        # Rule 5: liquidation within the bar.
        now = at_open - fees - spread - impact
        for prices in ([bar.low for bar in row], [bar.high for bar in row], [bar.close for bar in row]):
            if not ruined and not liquidated and _below_margin(positions, prices, now):
                profit, liquidation = _liquidate(positions, prices)
                price_pnl, liquidated = price_pnl + profit, True
        if liquidated and t >= delay:
            for m, position in enumerate(positions):
                if position.terms.maintenance_margin:
                    position.target = targets[m]

        # Rule 6: mark to the close.
        price_pnl += _mark(positions, [bar.close for bar in row])
        equity += price_pnl - fees - spread - impact + funding - borrow - liquidation
        if equity <= 0:
            ruined = True
            _close(positions)
        gross = 0.0
        for position in positions:
            gross += abs(position.value)
        book.equity.append(equity)
        book.price_pnl.append(price_pnl)
        book.fees.append(fees)
        book.spread_cost.append(spread)
        book.impact_cost.append(impact)
        book.funding.append(funding)
        book.borrow_cost.append(borrow)
        book.liquidation_cost.append(liquidation)
        book.turnover.append(traded / at_open if traded else 0.0)
        book.gross_exposure.append(gross / equity if gross else 0.0)
        book.units.append([position.units for position in positions])
    return book


def _order(position: Position, bar: Bar, target: float, equity: float, costs: Costs, execution: Execution) -> Fill:
    """Send one order at the open and return what became of it."""
    terms, held = position.terms, position.units
    nothing = Fill(held)
    if math.isnan(bar.open) or (costs.impact and not bar.volume > 0):
        return nothing
    lot = terms.lot * terms.contract_size
    if terms.max_leverage is not None:
        target = min(max(target, -terms.max_leverage), terms.max_leverage)
    wanted = _in_lots(target * equity / bar.open, lot)
    reached = True
    if execution.participation_cap is not None:
        most = _in_lots(execution.participation_cap * bar.volume, lot) if bar.volume > 0 else 0.0
        if abs(wanted - held) > most * (1 + 1e-9):
            wanted, reached = (held + most if wanted > held else held - most), False
    quantity = abs(wanted - held)
    notional = quantity * bar.open
    if not notional:
        return Fill(held, reached=reached)
    flattens = wanted == 0 and position.perpetual
    if notional < terms.min_notional and not flattens:
        return nothing
    buys = wanted > held
    if execution.liquidity is Liquidity.MAKER:
        through = bar.low < bar.open if buys else bar.high > bar.open
        return Fill(wanted, notional * costs.maker_fee, notional=notional, reached=reached) if through else nothing
    if not terms.tick:
        spread = notional * costs.half_spread
    elif buys:
        spread = quantity * (math.ceil(bar.open * (1 + costs.half_spread) / terms.tick - 1e-9) * terms.tick - bar.open)
    else:
        spread = quantity * (bar.open - math.floor(bar.open * (1 - costs.half_spread) / terms.tick + 1e-9) * terms.tick)
    impact = notional * costs.impact * math.sqrt(quantity / bar.volume) if costs.impact else 0.0
    return Fill(wanted, notional * costs.taker_fee, spread, impact, notional, reached)


def _in_lots(units: float, lot: float) -> float:
    """Round towards zero to whole lots."""
    return math.copysign(math.floor(abs(units) / lot + 1e-9) * lot, units) if lot else units


def _mark(positions: list[Position], prices: list[float]) -> float:
    profit = 0.0
    for position, price in zip(positions, prices, strict=True):
        profit += position.mark(price)
    return profit


def _below_margin(positions: list[Position], prices: list[float], equity: float) -> bool:
    """Return whether equity at these prices doesn't cover the maintenance margin of what is held."""
    margin = profit = 0.0
    for position, price in zip(positions, prices, strict=True):
        if position.units:
            at = position.price if math.isnan(price) else price
            profit += position.units * (at - position.price)
            margin += abs(position.units) * at * position.terms.maintenance_margin
    return margin > 0 and equity + profit <= margin


def _liquidate(positions: list[Position], prices: list[float]) -> tuple[float, float]:
    """Close what has a maintenance margin at these prices; return profit and fee."""
    profit = fee = 0.0
    for position, price in zip(positions, prices, strict=True):
        if position.units and position.terms.maintenance_margin:
            at = position.price if math.isnan(price) else price
            profit += position.units * (at - position.price)
            fee += abs(position.units) * at * position.terms.liquidation_fee
            position.units = 0.0
    return profit, fee


def _close(positions: list[Position]) -> None:
    for position in positions:
        position.units = 0.0
