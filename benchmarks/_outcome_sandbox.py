"""What the strategies of the sandbox's book are over the window of its candidates: what the draws are held against.

Belongs here: measuring. Doesn't: drawing.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks._tables import table
from benchmarks.false_promotions import PACKAGE
from research_to_prod.gates.statistics import sharpe_moments
from research_to_prod.research.backtest import run_backtest
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.costs import Costs
from research_to_prod.research.metrics import DAYS_A_YEAR, daily_returns
from research_to_prod.research.strategy import load_strategy
from research_to_prod.sandbox.book import BOOK, BookEntry
from research_to_prod.sandbox.market import Candles, SandboxMarket

SEEDS = (7, 8)
START, END, HOUR = datetime(2023, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
FREE = Costs(taker_fee=0.0, maker_fee=0.0, half_spread=0.0)


def sandbox() -> str:
    """Return the table of annual Sharpe ratio with and without costs, volatility, autocorrelation and correlation."""
    rows = []
    for seed in SEEDS:
        market = SandboxMarket(seed)
        series = [traded(market, entry, Costs()) for entry in BOOK]
        between = np.corrcoef(series) - np.eye(len(series))
        for number, (entry, net) in enumerate(zip(BOOK, series, strict=True)):
            rows.append(
                [
                    str(seed),
                    f"`{entry.strategy_id}`",
                    f"{sharpe(net):.1f}",
                    f"{sharpe(traded(market, entry, FREE)):.1f}",
                    f"{net.std() * math.sqrt(DAYS_A_YEAR):.0%}",
                    f"{np.corrcoef(net[1:], net[:-1])[0, 1]:.2f}",
                    f"{between[number, np.abs(between[number]).argmax()]:.2f}",
                ]
            )
    head = ["seed", "strategy", "Sharpe", "Sharpe without costs", "volatility a year", "autocorrelation"]
    return table([*head, "largest correlation with another"], rows)


def sharpe(returns: Floats) -> float:
    return float(sharpe_moments(returns[None, :])[0, 0]) * math.sqrt(DAYS_A_YEAR)


def traded(market: SandboxMarket, entry: BookEntry, costs: Costs) -> Floats:
    """Return the daily net returns of one strategy of the book, without funding."""
    bars = hourly(entry.symbols, market.candles(entry.symbols[0], START, END, HOUR))
    strategy = load_strategy(PACKAGE / "desk" / "strategies", entry.strategy)
    positions = strategy.target_positions(bars, strategy.parameters(**entry.parameters))
    backtest = run_backtest(bars, positions, costs, float(entry.capital))
    return daily_returns(backtest.ts, backtest.equity, float(entry.capital))[1]


def hourly(symbols: tuple[str, ...], candles: Candles) -> Bars:
    """Return the bars on the whole grid; NaN where the market was down."""
    ts = np.arange(np.datetime64(START.replace(tzinfo=None), "us"), np.datetime64(END.replace(tzinfo=None), "us"), HOUR)
    at = np.searchsorted(ts.astype(np.int64), candles.ts)

    def column(values: Floats) -> Floats:
        full = np.full((len(ts), 1), np.nan)
        full[at, 0] = values
        return full

    prices = (column(each) for each in (candles.open, candles.high, candles.low, candles.close, candles.volume))
    return Bars(ts, symbols, *prices, np.zeros((len(ts), 1)))
