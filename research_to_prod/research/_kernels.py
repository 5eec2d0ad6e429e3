"""The compiled inner loop of the backtest. Imported lazily: numba takes a second or more to load.

Belongs here: one order, and the loop over bars that keeps the whole ledger. Doesn't: validation, the loop that keeps a
summary only (``_sweep_kernel``), and anything that chooses a position.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from research_to_prod.research.bars import Floats

EQUITY, PRICE_PNL, FEES, SPREAD, IMPACT, FUNDING, BORROW, LIQUIDATION, TURNOVER, GROSS = range(10)
"""The ledger's rows."""


class Market(NamedTuple):
    """The terms of the markets, (M,) float64 each; ``lot`` in base units, ``borrow`` as a fraction a bar."""

    lot: Floats
    tick: Floats
    min_notional: Floats
    max_leverage: Floats
    maintenance: Floats
    liquidation_fee: Floats
    borrow: Floats
    perpetual: Floats


class Rates(NamedTuple):
    """Cost rates and how orders are sent; ``cap`` is infinite where there is none."""

    fee: float
    half_spread: float
    impact: float
    cap: float
    passive: bool


class Prices(NamedTuple):
    """(T, M) float64 each, NaN where there is no bar."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


# `error_model="numpy"` drops a check for a zero divisor at each division; prices, volumes and equity are positive where
# they divide. Inner functions take whole arrays and a row number: slicing rows off counts references in every bar.


@njit(cache=True, nogil=True, error_model="numpy")
def in_lots(units: float, lot: float) -> float:
    """Round towards zero to whole lots; the slack keeps 0.3 at three lots of 0.1, which divide to 2.9999999999999996."""
    if lot == 0.0:
        return units
    return np.sign(units) * np.floor(abs(units) / lot + 1e-9) * lot


@njit(cache=True, nogil=True, error_model="numpy")
def order(
    t: int, m: int, target: float, held: float, equity: float, prices: Prices, market: Market, rates: Rates
) -> tuple[float, float, float, float, float, bool]:
    """Return units held afterwards, fee, spread and impact paid, notional traded, and whether the target was reached."""
    price, volume = prices.open[t, m], prices.volume[t, m]
    if not np.isfinite(price) or (rates.impact > 0.0 and not volume > 0.0):
        return held, 0.0, 0.0, 0.0, 0.0, False
    bound, lot = market.max_leverage[m], market.lot[m]
    units = in_lots(min(max(target, -bound), bound) * equity / price, lot)
    reached = True
    if rates.cap < np.inf:
        most = in_lots(rates.cap * volume, lot) if volume > 0.0 else 0.0
        if abs(units - held) > most * (1.0 + 1e-9):
            units = held + most if units > held else held - most
            reached = False
    quantity = abs(units - held)
    notional = quantity * price
    if notional == 0.0:
        return held, 0.0, 0.0, 0.0, 0.0, reached
    if notional < market.min_notional[m] and not (units == 0.0 and market.perpetual[m] > 0.0):
        return held, 0.0, 0.0, 0.0, 0.0, False
    if rates.passive:
        through = prices.low[t, m] < price if units > held else prices.high[t, m] > price
        if not through:
            return held, 0.0, 0.0, 0.0, 0.0, False
        return units, notional * rates.fee, 0.0, 0.0, notional, reached
    spread = notional * rates.half_spread
    tick = market.tick[m]
    if tick > 0.0:
        if units > held:
            spread = quantity * (np.ceil(price * (1.0 + rates.half_spread) / tick - 1e-9) * tick - price)
        else:
            spread = quantity * (price - np.floor(price * (1.0 - rates.half_spread) / tick + 1e-9) * tick)
    impact = notional * rates.impact * np.sqrt(quantity / volume) if rates.impact > 0.0 else 0.0
    return units, notional * rates.fee, spread, impact, notional, reached


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _liquidate(
    at: Floats, t: int, equity: float, held: Floats, last: Floats, market: Market
) -> tuple[float, float, bool]:
    """Close what has a maintenance margin if equity at these prices doesn't cover it; return profit, fee and whether."""
    profit, margin = 0.0, 0.0
    for m in range(len(held)):
        if held[m] != 0.0:
            price = at[t, m] if np.isfinite(at[t, m]) else last[m]
            profit += held[m] * (price - last[m])
            margin += abs(held[m]) * price * market.maintenance[m]
    if margin == 0.0 or equity + profit > margin:
        return 0.0, 0.0, False
    profit, fee = 0.0, 0.0
    for m in range(len(held)):
        if held[m] != 0.0 and market.maintenance[m] > 0.0:
            price = at[t, m] if np.isfinite(at[t, m]) else last[m]
            profit += held[m] * (price - last[m])
            fee += abs(held[m]) * price * market.liquidation_fee[m]
            held[m] = 0.0
    return profit, fee, True


@njit(cache=True, nogil=True, error_model="numpy")
def simulate(
    prices: Prices, funding_rate: Floats, weights: Floats, delay: int, capital: float, market: Market, rates: Rates,
    ledger: Floats, units: Floats,
) -> int:  # fmt: skip
    """Fill the per-bar ledger (10, T) and the units held at each close (T, M), both given as zeros; return the fills.

    ``backtest`` has the rules in words, ``backtest_oracle`` in plain Python.
    """
    steps, markets = prices.open.shape
    held, done, last = np.zeros(markets), np.zeros(markets), np.full(markets, np.nan)
    margined = np.any(market.maintenance > 0.0)
    equity, ruined, fills = capital, False, 0
    for t in range(steps):
        pnl = _mark(prices.open, t, held, last)
        funding, borrow = 0.0, 0.0
        for m in range(markets):
            if held[m] != 0.0:
                funding -= held[m] * last[m] * funding_rate[t, m]
                if held[m] < 0.0:
                    borrow -= held[m] * last[m] * market.borrow[m]
        now = equity + pnl + funding - borrow
        fees, spread, impact, traded, liquidation, closed = 0.0, 0.0, 0.0, 0.0, 0.0, False
        if margined and now > 0.0:
            _, liquidation, closed = _liquidate(prices.open, t, now, held, last, market)
        at_open = now - liquidation
        ruined = ruined or at_open <= 0.0
        if ruined:
            held[:] = 0.0
        elif t >= delay and not closed:
            for m in range(markets):
                target = weights[t - delay, m]
                if target == done[m]:
                    continue
                held[m], fee, crossed, moved, notional, reached = order(
                    t, m, target, held[m], at_open, prices, market, rates
                )
                if reached:
                    done[m] = target
                if notional > 0.0:
                    fees += fee
                    spread += crossed
                    impact += moved
                    traded += notional
                    fills += 1
        if margined and not closed and not ruined:
            now = at_open - fees - spread - impact
            for at in (prices.low, prices.high, prices.close):
                if not closed:
                    profit, liquidation, closed = _liquidate(at, t, now, held, last, market)
                    pnl += profit
        if closed and t >= delay:
            for m in range(markets):
                if market.maintenance[m] > 0.0:
                    done[m] = weights[t - delay, m]
        pnl += _mark(prices.close, t, held, last)
        equity += pnl - fees - spread - impact + funding - borrow - liquidation
        if equity <= 0.0:
            ruined = True
            held[:] = 0.0
        gross = 0.0
        for m in range(markets):
            if held[m] != 0.0:
                units[t, m] = held[m]
                gross += abs(held[m] * last[m])
        ledger[EQUITY, t], ledger[PRICE_PNL, t] = equity, pnl
        # What is zero in most bars is written where it isn't: untouched pages of zeros cost nothing.
        if traded > 0.0:
            ledger[FEES, t], ledger[SPREAD, t], ledger[IMPACT, t] = fees, spread, impact
            ledger[TURNOVER, t] = traded / at_open
        if funding != 0.0:
            ledger[FUNDING, t] = funding
        if borrow != 0.0:
            ledger[BORROW, t] = borrow
        if liquidation != 0.0:
            ledger[LIQUIDATION, t] = liquidation
        if gross != 0.0:
            ledger[GROSS, t] = gross / equity
    return fills
