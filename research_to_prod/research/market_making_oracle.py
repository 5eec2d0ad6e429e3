"""Market making once more, slow and plain, to hold the compiled engine against. The rules are those of `market_making`.

Belongs here: one trade at a time in ordinary Python. Doesn't: speed, or anything imported by the product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from research_to_prod.research.bars import Bars
from research_to_prod.research.costs import Costs
from research_to_prod.research.market_making import Quoting, Tape
from research_to_prod.research.strategy import Quotes


@dataclass
class RestingOrder:
    """One quote during one bar; ``side`` is +1 for a bid and -1 for an ask."""

    side: int
    price: float
    left: float
    ahead: float

    def filled_by(self, price: float, size: float, taker: float, room: float) -> float:
        """Return the units that a trade fills, and take them off."""
        beyond = price < self.price if self.side > 0 else price > self.price
        units = 0.0
        if beyond:
            units = self.left
        elif price == self.price and taker == -self.side:
            passed = min(self.ahead, size)
            self.ahead -= passed
            units = min(self.left, size - passed)
        units = max(0.0, min(units, room))
        self.left -= units
        return units


def run_market_making_oracle(
    bars: Bars, quotes: Quotes, tape: Tape, costs: Costs, initial_capital: float, quoting: Quoting
) -> tuple[list[tuple[int, int, float, float]], list[float]]:
    """Return the fills (bar, market, price, signed units) in order of time, and equity at each close."""
    markets = range(len(bars.symbols))
    held, last = [0.0] * len(markets), [0.0] * len(markets)
    equity, fills, curve = initial_capital, [], []
    for t in range(len(bars)):
        if equity > 0:
            for m in markets:
                price = float(bars.open[t, m])
                equity -= held[m] * (last[m] if math.isnan(price) else price) * float(bars.funding[t, m])
            orders = {m: _placed(bars, quotes, t, m, quoting.queue_ahead) for m in markets}
            new: list[tuple[int, float, float]] = []
            for i in range(len(tape.bar)):
                if tape.bar[i] != t:
                    continue
                m = int(tape.market[i])
                for order in orders[m]:
                    room = quoting.max_inventory - order.side * held[m]
                    units = order.filled_by(float(tape.price[i]), float(tape.size[i]), float(tape.side[i]), room)
                    if units:
                        held[m] += order.side * units
                        new.append((m, order.price, order.side * units))
            carried = list(held)
            for m, price, units in new:
                fills.append((t, m, price, units))
                carried[m] -= units
                equity -= abs(units) * price * costs.maker_fee
            for m in markets:
                close = float(bars.close[t, m])
                mark = last[m] if math.isnan(close) else close
                equity += carried[m] * (mark - last[m])
                last[m] = mark
            for m, price, units in new:
                equity += units * (last[m] - price)
        curve.append(equity)
    return fills, curve


def _placed(bars: Bars, quotes: Quotes, t: int, m: int, ahead: float) -> list[RestingOrder]:
    """Return the quotes decided at the close before that don't cross the open."""
    if t == 0:
        return []
    bid, ask, open_ = float(quotes.bid[t - 1, m]), float(quotes.ask[t - 1, m]), float(bars.open[t, m])
    orders = []
    if bid < open_:
        orders.append(RestingOrder(1, bid, float(quotes.bid_size[t - 1, m]), ahead))
    if ask > open_:
        orders.append(RestingOrder(-1, ask, float(quotes.ask_size[t - 1, m]), ahead))
    return orders
