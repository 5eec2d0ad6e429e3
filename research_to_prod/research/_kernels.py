"""The compiled loops of the backtest. Imported lazily: numba takes a second or more to load.

`simulate` keeps the whole ledger, bar by bar. `summarise` keeps what a search needs and goes from event to event:
between two events (a target that changes, an order that waits, funding that is due) units stand still, so equity
follows from the price alone. A stretch of bars whose extreme prices allow neither a new peak nor a lower low nor ruin
is passed over at once; of any other each block is tried so, and walked bar by bar if it can't be.

All stand in one file because numba's cache goes by file: a loop in another one would keep the old `order` compiled in.

Belongs here: one order, and the loops over bars. Doesn't: validation, choosing positions.
"""

# A branch a rule is what these loops are; and `min` looks after NaN with branches that a random walk mispredicts.
# ruff: noqa: PLR0912, PLR0915, FURB136

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from research_to_prod.research.bars import Floats

LEDGER = (
    "equity", "net_returns", "price_pnl", "fees", "spread_cost", "impact_cost", "funding", "borrow_cost",
    "liquidation_cost", "turnover", "gross_exposure",
)  # fmt: skip
"""The ledger's rows, named as in ``backtest.Backtest``."""
EQUITY, NET_RETURN, PRICE_PNL, FEES, SPREAD, IMPACT, FUNDING, BORROW, LIQUIDATION, TURNOVER, GROSS = range(len(LEDGER))

BLOCK = 16
"""Bars of which the extremes are known in advance: a stretch reads them instead of its bars."""
Rows = npt.NDArray[np.int64]


class Rates(NamedTuple):
    """Cost rates and how orders are sent; ``cap`` is infinite where there is none."""

    fee: float
    half_spread: float
    impact: float
    cap: float
    passive: bool


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


class Terms(NamedTuple):
    """What an order must know of its market."""

    lot: float
    tick: float
    min_notional: float
    max_leverage: float
    perpetual: float


class Prices(NamedTuple):
    """(T, M) float64 each, NaN where there is no bar."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


class Bar(NamedTuple):
    """What an order must know of its bar."""

    open: float
    high: float
    low: float
    volume: float


class Course(NamedTuple):
    """What all positions on the same bars share.

    ``marks`` is (M, T, 2): open and close, where there is no bar the last known price, 1 before the first. They lie
    beside each other because an event touches one bar of many: a cache line each for opens, closes and extremes made
    the loop twice as slow. ``blocks`` is (M, T // BLOCK, 2): what `_range` returns of a block. ``gaps`` is (M, 2): the
    lowest and highest open over the close of its bar. ``there`` is (T, M): whether there is a bar. ``day_ends`` and
    ``funding_due`` are rows: each UTC day's last bar, opens with funding due.
    """

    marks: Floats
    blocks: Floats
    gaps: Floats
    there: npt.NDArray[np.bool_]
    day_ends: Rows
    funding_due: Rows


# `error_model="numpy"` drops the check for a zero divisor; prices, volumes and equity are positive where they divide.
# Loops hand numbers to `order`: a tuple of arrays counts references to each, which made a sweep ten times slower.

_compiled = njit(cache=True, nogil=True, error_model="numpy")
# A call counts references to each array it is given.
_inlined = njit(cache=True, nogil=True, error_model="numpy", inline="always")


@_compiled
def in_lots(units: float, lot: float) -> float:
    """Round towards zero to whole lots; the slack keeps the third lot of 0.3 / 0.1 = 2.9999999999999996."""
    if lot == 0.0:
        return units
    return np.sign(units) * np.floor(abs(units) / lot + 1e-9) * lot


@_compiled
def order(
    target: float, held: float, equity: float, bar: Bar, terms: Terms, rates: Rates
) -> tuple[float, float, float, float, float, bool]:
    """Return units held afterwards, fee, spread and impact paid, notional traded, and whether the target is reached."""
    price, volume = bar.open, bar.volume
    if not np.isfinite(price) or (rates.impact > 0.0 and not volume > 0.0):
        return held, 0.0, 0.0, 0.0, 0.0, False
    units = in_lots(min(max(target, -terms.max_leverage), terms.max_leverage) * equity / price, terms.lot)
    reached = True
    if rates.cap < np.inf:
        most = in_lots(rates.cap * volume, terms.lot) if volume > 0.0 else 0.0
        if abs(units - held) > most * (1.0 + 1e-9):
            units = held + most if units > held else held - most
            reached = False
    quantity = abs(units - held)
    notional = quantity * price
    if notional == 0.0:
        return held, 0.0, 0.0, 0.0, 0.0, reached
    flattens = units == 0.0 and terms.perpetual > 0.0
    if notional < terms.min_notional and not flattens:
        return held, 0.0, 0.0, 0.0, 0.0, False
    buys = units > held
    if rates.passive:
        through = bar.low < price if buys else bar.high > price
        if not through:
            return held, 0.0, 0.0, 0.0, 0.0, False
        return units, notional * rates.fee, 0.0, 0.0, notional, reached
    if terms.tick == 0.0:
        spread = notional * rates.half_spread
    elif buys:
        spread = quantity * (np.ceil(price * (1.0 + rates.half_spread) / terms.tick - 1e-9) * terms.tick - price)
    else:
        spread = quantity * (price - np.floor(price * (1.0 - rates.half_spread) / terms.tick + 1e-9) * terms.tick)
    impact = notional * rates.impact * np.sqrt(quantity / volume) if rates.impact > 0.0 else 0.0
    return units, notional * rates.fee, spread, impact, notional, reached


@_compiled
def _liquidate(
    at: Floats, t: int, equity: float, held: Floats, last: Floats, maintenance: Floats, fee_rate: Floats
) -> tuple[float, float, bool]:
    """Close what has a maintenance margin if equity at these prices doesn't cover it; return profit, fee, whether."""
    profit, margin = 0.0, 0.0
    for m in range(len(held)):
        if held[m] != 0.0:
            price = at[t, m] if np.isfinite(at[t, m]) else last[m]
            profit += held[m] * (price - last[m])
            margin += abs(held[m]) * price * maintenance[m]
    if margin == 0.0 or equity + profit > margin:
        return 0.0, 0.0, False
    profit, fee = 0.0, 0.0
    for m in range(len(held)):
        if held[m] != 0.0 and maintenance[m] > 0.0:
            price = at[t, m] if np.isfinite(at[t, m]) else last[m]
            profit += held[m] * (price - last[m])
            fee += abs(held[m]) * price * fee_rate[m]
            held[m] = 0.0
    return profit, fee, True


@_compiled
def simulate(
    prices: Prices, funding_rate: Floats, weights: Floats, delay: int, capital: float, market: Market, rates: Rates,
    ledger: Floats, units: Floats,
) -> int:  # fmt: skip
    """Fill the per-bar ledger (11, T) and the units held at each close (T, M), both given as zeros; return the fills.

    ``backtest`` has the rules in words, ``backtest_oracle`` in plain Python.
    """
    open_, high, low, close, volume = prices
    lot, tick, min_notional, max_leverage, maintenance, liquidation_fee, borrow_rate, perpetual = market
    steps, markets = open_.shape
    held, done, last = np.zeros(markets), np.zeros(markets), np.full(markets, np.nan)
    margined = np.any(maintenance > 0.0)
    equity, ruined, fills = capital, False, 0
    for t in range(steps):
        pnl, funding, borrow = 0.0, 0.0, 0.0
        for m in range(markets):
            price = open_[t, m]
            if np.isfinite(price):
                if held[m] != 0.0:
                    pnl += held[m] * (price - last[m])
                last[m] = price
            if held[m] != 0.0:
                funding -= held[m] * last[m] * funding_rate[t, m]
                if held[m] < 0.0:
                    borrow -= held[m] * last[m] * borrow_rate[m]
        now = equity + pnl + funding - borrow
        fees, spread, impact, traded, liquidation, closed = 0.0, 0.0, 0.0, 0.0, 0.0, False
        if margined and now > 0.0:
            _, liquidation, closed = _liquidate(open_, t, now, held, last, maintenance, liquidation_fee)
        at_open = now - liquidation
        ruined = ruined or at_open <= 0.0
        if ruined:
            held[:] = 0.0
        elif t >= delay and not closed:
            for m in range(markets):
                target = weights[t - delay, m]
                if target == done[m]:
                    continue
                bar = Bar(open_[t, m], high[t, m], low[t, m], volume[t, m])
                terms = Terms(lot[m], tick[m], min_notional[m], max_leverage[m], perpetual[m])
                held[m], fee, crossed, moved, notional, reached = order(target, held[m], at_open, bar, terms, rates)
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
            for at in (low, high, close):
                if not closed:
                    profit, liquidation, closed = _liquidate(at, t, now, held, last, maintenance, liquidation_fee)
                    pnl += profit
        if closed and t >= delay:
            for m in range(markets):
                if maintenance[m] > 0.0:
                    done[m] = weights[t - delay, m]
        gross, profit = 0.0, 0.0
        for m in range(markets):
            price = close[t, m]
            if np.isfinite(price):
                if held[m] != 0.0:
                    profit += held[m] * (price - last[m])
                last[m] = price
            if held[m] != 0.0:
                gross += abs(held[m] * last[m])
        pnl += profit
        before = equity
        equity += pnl - fees - spread - impact + funding - borrow - liquidation
        if equity <= 0.0:
            ruined, gross = True, 0.0
            held[:] = 0.0
        for m in range(markets):
            if held[m] != 0.0:
                units[t, m] = held[m]
        ledger[EQUITY, t], ledger[PRICE_PNL, t] = equity, pnl
        if before > 0.0:
            ledger[NET_RETURN, t] = (equity - before) / before
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


@_inlined
def _range(marks: Floats, blocks: Floats, m: int, start: int, stop: int) -> tuple[float, float]:
    """Return the lowest and highest close of the bars ``start`` to ``stop`` (exclusive)."""
    low, high = marks[m, start, 1], marks[m, start, 1]
    first = min(stop, (start + BLOCK - 1) // BLOCK * BLOCK)
    final = max(first, stop // BLOCK * BLOCK)
    for begin, end in ((start, first), (final, stop)):
        for t in range(begin, end):
            close = marks[m, t, 1]
            low, high = close if close < low else low, close if close > high else high
    for b in range(first // BLOCK, final // BLOCK):
        low = blocks[m, b, 0] if blocks[m, b, 0] < low else low
        high = blocks[m, b, 1] if blocks[m, b, 1] > high else high
    return low, high


@_inlined
def _value(cash: float, marks: Floats, t: int, i: int, held: Floats) -> float:
    """Return equity at the open (0) or close (1) of bar ``t``."""
    for m in range(len(held)):
        if held[m] != 0.0:
            cash += held[m] * marks[m, t, i]
    return cash


@_inlined
def _score(equity: float, peak: float, trough: float, drawdown: float) -> tuple[float, float, float]:
    """Return peak, lowest equity since, and largest drawdown from earlier peaks, after equity was seen."""
    if equity > peak:
        return equity, equity, max(drawdown, (peak - trough) / peak)
    return peak, equity if equity < trough else trough, drawdown


@_inlined
def _hold(
    cash: float, peak: float, trough: float, drawdown: float, marks: Floats, blocks: Floats, gaps: Floats,
    start: int, stop: int, held: Floats,
) -> tuple[float, float, float, float, int]:  # fmt: skip
    """Hold through ``start`` to ``stop``; return equity, peak, trough, drawdown, and the bar of ruin or ``stop``."""
    equity, begin, end = cash, start, stop
    while begin < stop:
        worst, best, least, positions = cash, cash, cash, 0
        for m in range(len(held)):
            if held[m] != 0.0:
                low, high = _range(marks, blocks, m, begin, end)
                bound = low * gaps[m, 0] if held[m] > 0.0 else high * gaps[m, 1]
                low, high = (low, high) if held[m] > 0.0 else (high, low)
                worst, best, least = worst + held[m] * low, best + held[m] * high, least + held[m] * bound
                positions += 1
        # Of a single position the extremes are those of equity itself; of several they bound it.
        if best <= peak and least > 0.0 and (positions <= 1 or worst >= trough):
            trough = worst if worst < trough else trough
        elif end > begin // BLOCK * BLOCK + BLOCK:
            end = begin // BLOCK * BLOCK + BLOCK
            continue
        else:
            for t in range(begin, end):
                equity = _value(cash, marks, t, 0, held)
                if equity > 0.0:
                    equity = _value(cash, marks, t, 1, held)
                peak, trough, drawdown = _score(equity, peak, trough, drawdown)
                if equity <= 0.0:
                    return equity, peak, trough, drawdown, t
        begin, end = end, min(end + BLOCK, stop)
    return _value(cash, marks, stop - 1, 1, held), peak, trough, drawdown, stop


@_compiled
def summarise(
    prices: Prices, funding_rate: Floats, course: Course, changed: Rows, targets: Floats, delay: int, capital: float,
    market: Market, rates: Rates, closings: Floats,
) -> tuple[float, float, int]:  # fmt: skip
    """Fill the equity at the close of each day (D,); return final equity, largest drawdown and number of fills.

    ``changed`` are the rows (C,) whose target weights differ from the row above, ``targets`` (C, M) those weights.
    """
    _, highs, lows, _, volumes = prices
    marks, blocks, gaps, there, day_ends, funding_due = course
    lot, tick, min_notional, max_leverage, _, _, _, perpetual = market
    markets, steps, _ = marks.shape
    held, done = np.zeros(markets), np.zeros(markets)
    looks_at_bar = rates.passive or rates.impact > 0.0 or rates.cap < np.inf
    equity, cash, peak, trough, drawdown = capital, capital, capital, capital, 0.0
    fills, waiting = 0, False
    t, day, change, due = 0, 0, 0, 0
    while t < steps:
        event = t if waiting else (changed[change] + delay if change < len(changed) else steps)
        while due < len(funding_due) and funding_due[due] < t:
            due += 1
        if due < len(funding_due):
            event = min(event, funding_due[due])
        event = min(event, steps)
        if event > t:
            equity, peak, trough, drawdown, ruin = _hold(
                cash, peak, trough, drawdown, marks, blocks, gaps, t, event, held
            )
            while day < len(day_ends) and day_ends[day] < ruin:
                closings[day] = _value(cash, marks, day_ends[day], 1, held)
                day += 1
            t = event
            if ruin < event or t == steps:
                break
        if due < len(funding_due) and funding_due[due] == t:
            for m in range(markets):
                if held[m] != 0.0:
                    cash -= held[m] * marks[m, t, 0] * funding_rate[t, m]
        equity = _value(cash, marks, t, 0, held)
        if equity > 0.0:
            waiting = False
            change += change < len(changed) and changed[change] + delay == t
            for m in range(markets):
                target = targets[change - 1, m] if change > 0 else 0.0
                if target == done[m]:
                    continue
                high, low, volume = 0.0, 0.0, 0.0
                if looks_at_bar:
                    high, low, volume = highs[t, m], lows[t, m], volumes[t, m]
                price = marks[m, t, 0]
                bar = Bar(price if there[t, m] else np.nan, high, low, volume)
                terms = Terms(lot[m], tick[m], min_notional[m], max_leverage[m], perpetual[m])
                units, fee, spread, impact, notional, reached = order(target, held[m], equity, bar, terms, rates)
                cash -= (units - held[m]) * price + fee + spread + impact
                held[m] = units
                fills += notional > 0.0
                if reached:
                    done[m] = target
                else:
                    waiting = True
            equity = _value(cash, marks, t, 1, held)
        peak, trough, drawdown = _score(equity, peak, trough, drawdown)
        if equity <= 0.0:
            break
        if day < len(day_ends) and day_ends[day] == t:
            closings[day] = equity
            day += 1
        t += 1
    closings[day:] = equity
    return equity, max(drawdown, (peak - trough) / peak), fills
