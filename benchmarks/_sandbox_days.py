"""Daily P&L of the sandbox's desk, live and paired with its own decisions: the noise of the study of verdicts.

Belongs here: the sum over a simulated day. Doesn't: any truth; the study takes the means away and plants its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np

from research_to_prod.research.bars import Floats
from research_to_prod.sandbox._underlying import micros
from research_to_prod.sandbox.desk import FIRST_DAY, SandboxDesk
from research_to_prod.sandbox.ledger import Fill
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.values import day_bounds


class Days(NamedTuple):
    """(days, strategies) bps of capital a day."""

    shadow: Floats
    cost: Floats


def sandbox_days(seed: int, days: int) -> Days:
    """Return what the decisions of the sandbox's desk earned at their mids, and what it lost against that.

    A day begins with the position held. Shadow trades what was sent, whole and at the mid of its decision; live trades
    its fills, and pays fees. Both are marked to the mid at midnight. Funding is the same for both and left out.
    """
    desk = SandboxDesk(SandboxMarket(seed))
    shadow, cost = np.zeros((2, days, len(desk.book)))
    position = dict.fromkeys(desk.symbols, 0.0)
    for day in range(days):
        name = (FIRST_DAY + timedelta(days=day)).isoformat()
        simulated = desk.simulate_day(name)
        times = np.array([micros(each) for each in day_bounds(name)])
        for column, entry in enumerate(desk.book):
            scale = 1e4 / float(entry.capital)
            for symbol in entry.symbols:
                opened, closed = desk.market.mid(symbol, times).tolist()
                mids = {
                    each.decision_id: float(each.reference_bid + each.reference_ask) / 2
                    for each in simulated.decisions
                    if each.symbol == symbol
                }
                fills = [each for each in simulated.fills if each.symbol == symbol]
                earned = position[symbol] * (closed - opened)
                model = sum(
                    each.side * float(each.quantity) * (closed - mids[each.decision_id])
                    for each in simulated.orders
                    if each.symbol == symbol
                )
                live = sum(
                    each.side * float(each.quantity) * (closed - float(each.price)) - _fee(each) for each in fills
                )
                shadow[day, column] += scale * (earned + model)
                cost[day, column] += scale * (model - live)
                position[symbol] += sum(each.side * float(each.quantity) for each in fills)
    return Days(shadow, cost)


def _fee(fill: Fill) -> float:
    in_quote = fill.fee_currency == fill.symbol.partition(":")[0].partition("/")[2]
    return float(fill.fee if in_quote else fill.fee * fill.price)
