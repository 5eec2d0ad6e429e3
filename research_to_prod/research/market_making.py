"""Market making: quotes against a tape of trades, to fills, to profit and loss and adverse selection.

The rules:

1. A bar's quotes are decided at its close and rest during the next bar. They are new orders in every bar: each joins
   the back of the queue, behind ``queue_ahead`` units. A quote that would cross the bar's open is not placed.
2. A trade beyond a quote's price fills all that is left of it: the price level was consumed. A trade at the price, by
   a taker of the other side, first consumes the queue ahead and fills us with what is left of the trade. Our quotes
   change nothing for others.
3. A fill never takes the inventory of its market beyond ``max_inventory``, long or short.
4. A fill is at the quoted price and pays the maker's fee (receives it, where it is a rebate).
5. Positions are marked at closes; funding due at an open is paid on the units held into it. Equity that falls to zero
   is ruin: nothing is filled after that bar, and its positions are closed at its mark.

Adverse selection is measured by markouts: what a fill's units gained from its price to the close some bars later. A
fill that others knew more about is one that the price moves against.

Where there is no tape, ``tape_of_bars`` stands in: a proxy that knows the bar's four prices and its volume only.

Belongs here: matching, profit, markouts. Doesn't: choosing quotes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from research_to_prod.research.backtest import Backtest, float64, refuse, wrong_input
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.costs import Costs
from research_to_prod.research.signals import carry_forward
from research_to_prod.research.strategy import Quotes


class Quoting(BaseModel):
    """What is assumed of a market maker's orders, in base units of each market."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue_ahead: float = Field(ge=0, allow_inf_nan=False)
    """Units that were at the price before us."""
    max_inventory: float = Field(gt=0, allow_inf_nan=False)
    markout_bars: int = Field(default=1, ge=0)
    """Adverse selection is measured at the close that many bars after the fill's."""


@dataclass(frozen=True)
class Tape:
    """Trades in the order in which they happened.

    Parameters
    ----------
    bar, market
        (N,) int64: row and column of the bar that holds the trade; rows never decrease.
    price, size
        (N,) float64, quote currency and base units.
    side
        (N,) float64: +1 where the taker bought, -1 where he sold.
    """

    bar: npt.NDArray[np.int64]
    market: npt.NDArray[np.int64]
    price: Floats
    size: Floats
    side: Floats


@dataclass(frozen=True)
class MarketMaking:
    """What quoting came to.

    Parameters
    ----------
    backtest
        The ledger, as for positions; spread and impact are zero, trades are fills.
    bar, market, price, units
        (F,) the fills, by market and then time; units are signed.
    markouts
        (F,) gain of each fill from its price to the later close, in quote currency before fees; NaN where the bars end
        before.
    """

    backtest: Backtest
    bar: npt.NDArray[np.int64]
    market: npt.NDArray[np.int64]
    price: Floats
    units: Floats
    markouts: Floats


def tape_of_bars(bars: Bars) -> Tape:
    """Return a stand-in for the trades: four a bar, a quarter of its volume each.

    They are at the open, then low and high (high and low in a bar that fell), then the close. The taker bought where
    the price rose to get there; at the open both may have, and the bar's direction decides.
    """
    rose = bars.close >= bars.open
    second, third = np.where(rose, bars.low, bars.high), np.where(rose, bars.high, bars.low)
    prices = np.stack([bars.open, second, third, bars.close], axis=2)
    sides = np.broadcast_to(np.where(rose, 1.0, -1.0)[:, :, None], prices.shape) * np.array([1.0, -1.0, 1.0, -1.0])
    sizes = np.broadcast_to(bars.volume[:, :, None] / 4, prices.shape)
    row, market, _ = np.nonzero(np.isfinite(prices) & (sizes > 0))
    there = np.isfinite(prices) & (sizes > 0)
    return Tape(row, market, prices[there], sizes[there], sides[there])


def run_market_making(
    bars: Bars, quotes: Quotes, tape: Tape, costs: Costs, initial_capital: float, quoting: Quoting
) -> MarketMaking:
    """Match ``quotes`` with ``tape`` and account for the fills.

    Raises
    ------
    ValueError
        If bars or capital would give a meaningless result, or the tape's trades are not those of the bars in order.
    """
    refuse([*wrong_input(bars, initial_capital, {}), *_wrong_tape(bars, tape)])
    from research_to_prod.research._quoting_kernel import match

    found = []
    for m in range(len(bars.symbols)):
        own = np.flatnonzero(tape.market == m)
        first = np.searchsorted(tape.bar[own], np.arange(len(bars) + 1))
        columns = [quotes.bid[:, m], quotes.ask[:, m], quotes.bid_size[:, m], quotes.ask_size[:, m]]
        bar, price, units = match(
            first, float64(tape.price[own]), float64(tape.size[own]), float64(tape.side[own]),
            float64(np.stack(columns, axis=1)), float64(bars.open[:, m]), quoting.queue_ahead, quoting.max_inventory,
        )  # fmt: skip
        found.append((bar, np.full(len(bar), m, np.int64), price, units))
    bar, market, price, units = (np.concatenate(each) for each in zip(*found, strict=True))
    alive = np.ones(len(bars), bool)
    backtest = _account(bars, bar, market, price, units, costs.maker_fee, float(initial_capital), alive)
    if np.any(backtest.equity <= 0):
        # Ruin: the bars after it earn, pay and fill nothing.
        alive[int(np.argmax(backtest.equity <= 0)) + 1 :] = False
        kept = alive[bar]
        bar, market, price, units = bar[kept], market[kept], price[kept], units[kept]
        backtest = _account(bars, bar, market, price, units, costs.maker_fee, float(initial_capital), alive)
    later = bar + quoting.markout_bars
    known = later < len(bars)
    markouts = np.full(len(bar), np.nan)
    markouts[known] = units[known] * (carry_forward(bars.close)[later[known], market[known]] - price[known])
    return MarketMaking(backtest, bar, market, price, units, markouts)


def _account(
    bars: Bars, bar: npt.NDArray[np.int64], market: npt.NDArray[np.int64], price: Floats, units: Floats,
    maker_fee: float, capital: float, alive: npt.NDArray[np.bool_],
) -> Backtest:  # fmt: skip
    """Return the ledger of the fills; where not ``alive`` nothing moves any more."""
    shape = bars.close.shape
    closes = np.nan_to_num(carry_forward(bars.close), nan=0.0)
    opens = np.where(np.isfinite(bars.open), bars.open, np.vstack((np.zeros((1, shape[1])), closes[:-1]))[: len(bars)])
    bought, spent, notional = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for table, values in ((bought, units), (spent, units * price), (notional, np.abs(units) * price)):
        np.add.at(table, (bar, market), values)
    held = np.cumsum(bought, axis=0)
    before, closes_before = (np.vstack((np.zeros((1, shape[1])), each))[: len(bars)] for each in (held, closes))
    pnl = (before * (closes - closes_before) + bought * closes - spent).sum(axis=1) * alive
    funding = -(before * opens * bars.funding).sum(axis=1) * alive
    fees = notional.sum(axis=1) * maker_fee
    equity = capital + np.cumsum(pnl + funding - fees)
    start = np.concatenate(([capital], equity[:-1]))[: len(bars)]
    held = held * (alive & (equity > 0))[:, None]

    def over(values: Floats, whole: Floats) -> Floats:
        return np.divide(values, whole, out=np.zeros(len(values)), where=whole > 0)

    zeros = np.zeros(len(bars))
    return Backtest(
        ts=bars.ts, initial_capital=capital, equity=equity, net_returns=over(equity - start, start), price_pnl=pnl,
        fees=fees, spread_cost=zeros, impact_cost=zeros, funding=funding, borrow_cost=zeros, liquidation_cost=zeros,
        turnover=over(notional.sum(axis=1), start), gross_exposure=over(np.abs(held * closes).sum(axis=1), equity),
        units=held, trades=len(bar),
    )  # fmt: skip


def _wrong_tape(bars: Bars, tape: Tape) -> list[str]:
    problems = []
    if np.any(np.diff(tape.bar) < 0):
        problems.append("the tape's trades are not in order")
    if len(tape.bar) and not (tape.bar.min() >= 0 and tape.bar.max() < len(bars)):
        problems.append("the tape has trades outside the bars")
    if not (np.isfinite(tape.price).all() and np.isfinite(tape.size).all() and np.all(tape.size > 0)):
        problems.append("the tape has a price or size that is not a positive, finite number")
    if not np.isin(tape.side, (-1.0, 1.0)).all():
        problems.append("the tape has a side that is neither +1 nor -1")
    return problems
