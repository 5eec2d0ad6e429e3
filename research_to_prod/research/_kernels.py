"""The compiled inner loop of the backtest. Imported lazily: numba takes a second or more to load.

Belongs here: loops over bars. Doesn't: validation, and anything that chooses a position.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from research_to_prod.research.bars import Floats

# The inner functions take whole arrays and a row number: slicing rows off counts references in every bar, which more
# than halved the speed (2.5 against 6 million bars a second on one busy core).


@njit(cache=True)
def _mark(prices: Floats, t: int, held: Floats, last: Floats) -> float:
    """Move the last known prices to those of bar ``t`` where there are any, and return the profit."""
    profit = 0.0
    for m in range(len(last)):
        price = prices[t, m]
        if np.isfinite(price):
            if held[m] != 0.0:
                profit += held[m] * (price - last[m])
            last[m] = price
    return profit


@njit(cache=True)
def _trade(
    weights: Floats, prices: Floats, volume: Floats, t: int, delay: int, equity: float,
    rates: tuple[float, float, float], held: Floats, done: Floats,
) -> tuple[float, float, float, float, int]:  # fmt: skip
    """Trade the targets that changed; return fees, spread, impact, traded notional and number of trades."""
    fee, half_spread, impact = rates
    fees, spread, impacts, traded, trades = 0.0, 0.0, 0.0, 0.0, 0
    for m in range(len(held)):
        target = weights[t - delay, m]
        price = prices[t, m]
        if target == done[m] or not np.isfinite(price) or (impact > 0.0 and not volume[t, m] > 0.0):
            continue
        wanted = target * equity / price
        quantity = abs(wanted - held[m])
        notional = quantity * price
        fees += notional * fee
        spread += notional * half_spread
        if impact > 0.0:
            impacts += notional * impact * np.sqrt(quantity / volume[t, m])
        traded += notional
        held[m] = wanted
        done[m] = target
        trades += 1
    return fees, spread, impacts, traded, trades


@njit(cache=True)
def simulate(
    open_: Floats, close: Floats, volume: Floats, funding_rate: Floats, weights: Floats,
    delay: int, capital: float, rates: tuple[float, float, float],
) -> tuple[Floats, Floats, int]:  # fmt: skip
    """Return the per-bar ledger (8, T), units held at each close (T, M), and the number of trades.

    The ledger's rows are equity, price P&L, fees, spread, impact, funding, turnover, gross exposure; ``rates`` are
    fee, half-spread and impact. ``backtest`` has the rules in words, ``backtest_oracle`` in plain Python.
    """
    steps, markets = open_.shape
    ledger = np.zeros((8, steps))
    units = np.zeros((steps, markets))
    held, done, last = np.zeros(markets), np.zeros(markets), np.full(markets, np.nan)
    equity, ruined, trades = capital, False, 0
    for t in range(steps):
        price_pnl = _mark(open_, t, held, last)
        funding = 0.0
        for m in range(markets):
            if held[m] != 0.0:
                funding -= held[m] * last[m] * funding_rate[t, m]
        at_open = equity + price_pnl + funding
        ruined = ruined or at_open <= 0.0
        if ruined:
            held[:] = 0.0
        elif t >= delay:
            fees, spread, impact, traded, count = _trade(weights, open_, volume, t, delay, at_open, rates, held, done)
            trades += count
            ledger[2, t], ledger[3, t], ledger[4, t], ledger[6, t] = fees, spread, impact, traded / at_open
        price_pnl += _mark(close, t, held, last)
        equity += price_pnl - ledger[2, t] - ledger[3, t] - ledger[4, t] + funding
        if equity <= 0.0:
            ruined = True
            held[:] = 0.0
        gross = 0.0
        for m in range(markets):
            units[t, m] = held[m]
            if held[m] != 0.0:
                gross += abs(held[m] * last[m])
        ledger[0, t], ledger[1, t], ledger[5, t] = equity, price_pnl, funding
        ledger[7, t] = gross / equity if equity > 0.0 else 0.0
    return ledger, units, trades
