"""The backtest: target weights to fills to profit and loss, for a portfolio of spot and linear perpetual markets.

The rules, in the order in which a bar applies them:

1. Positions are marked from the last known price to the bar's open; funding due at the open is paid on the units held
   into it, and short units of a market with a borrow rate pay for one bar. A market without a bar (NaN) keeps its last
   known price.
2. If equity no longer covers the maintenance margin (the sum over markets of |units| x price x rate), every position of
   a market with a rate is closed at the open for its liquidation fee, and nothing else trades in that bar.
3. The weights decided at the close ``delay_bars`` bars ago are traded at the open: units = weight x equity at the open
   / price, the weight cut to the market's largest leverage, the units rounded towards zero to whole lots. A market
   trades only when its target differs from the one it reached last, so a position drifts with the price in between.
   What can't trade now is tried again in each bar, with that bar's equity and price, until the target is reached or
   replaced: where there is no bar, or no volume while impact is charged; the remainder beyond ``participation_cap`` of
   the bar's volume; an order below the smallest notional (an order that flattens a perpetual is never too small).
4. A taker's order pays fee, half-spread and square-root impact on the traded notional; with a tick, the price after
   the half-spread is rounded against us. A maker's order rests at the open and is filled there only if the bar trades
   through it (low below a buy, high above a sell); it pays the maker's fee, no spread and no impact.
5. The margin of rule 2 is tested again with all markets at their lows, then at their highs, then at their closes; the
   first set of prices that breaks it is where the positions are closed. That is never better than what a venue does,
   which starts when the margin is touched. After a liquidation a market trades again when its target changes.
6. Positions are marked from the open to the close.

Equity that falls to zero is ruin: positions are closed at that mark and nothing trades again.

Belongs here: running the engine and its result. Doesn't: choosing weights, judging results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.research.bars import Bars, Floats, is_perpetual
from research_to_prod.research.costs import Costs
from research_to_prod.research.terms import Execution, Instrument, Liquidity

if TYPE_CHECKING:
    from research_to_prod.research._kernels import Market, Prices, Rates

ANY_MARKET: Mapping[str, Instrument] = MappingProxyType({})
"""No terms: every market is frictionless."""
NEXT_OPEN = Execution()
"""Taken whole at the next bar's open."""


@dataclass(frozen=True)
class Backtest:
    """What a run earned and paid, per bar; money in quote currency, costs positive.

    Parameters
    ----------
    ts
        (T,) bar open times.
    initial_capital
        Equity before the first bar.
    equity, net_returns, price_pnl, fees, spread_cost, impact_cost, funding, borrow_cost, liquidation_cost
        (T,) float64. Equity at each close; costs are positive, funding is positive when received.
    turnover, gross_exposure
        (T,) float64. Traded notional over equity at the open; absolute positions over equity at the close.
    units
        (T, M) base units held at each close.
    trades
        Number of fills; liquidations are not among them.
    """

    ts: npt.NDArray[np.datetime64]
    initial_capital: float
    equity: Floats
    net_returns: Floats
    price_pnl: Floats
    fees: Floats
    spread_cost: Floats
    impact_cost: Floats
    funding: Floats
    borrow_cost: Floats
    liquidation_cost: Floats
    turnover: Floats
    gross_exposure: Floats
    units: Floats
    trades: int

    def to_table(self, candidate: str, scenario: str) -> pa.Table:
        """Return the rows of ``contracts.BACKTEST``."""
        steps = len(self.ts)
        return pa.table(
            {
                "candidate": pa.array([candidate] * steps, pa.string()),
                "scenario": pa.array([scenario] * steps, pa.string()),
                "ts": pa.array(self.ts.astype("datetime64[us]").astype("int64"), pa.int64()).cast(TIMESTAMP),
                "equity": self.equity,
                "net_return": self.net_returns,
                "price_pnl": self.price_pnl,
                "fees": self.fees,
                "spread_cost": self.spread_cost,
                "impact_cost": self.impact_cost,
                "funding": self.funding,
                "borrow_cost": self.borrow_cost,
                "liquidation_cost": self.liquidation_cost,
                "turnover": self.turnover,
                "gross_exposure": self.gross_exposure,
                "units": pa.array(list(self.units), pa.list_(pa.float64())),
            }
        )


def run_backtest(
    bars: Bars,
    weights: Floats,
    costs: Costs,
    initial_capital: float,
    execution: Execution = NEXT_OPEN,
    instruments: Mapping[str, Instrument] = ANY_MARKET,
) -> Backtest:
    """Trade ``weights`` on ``bars``.

    Parameters
    ----------
    weights
        (T, M) target weights as signed fractions of equity, decided at each bar's close.
    initial_capital
        In quote currency.
    instruments
        Terms by symbol; a market without terms is frictionless.

    Returns
    -------
    Backtest
        ``equity[-1] - initial_capital`` is the sum of ``price_pnl + funding`` less all costs, up to rounding.

    Raises
    ------
    ValueError
        If a weight is not finite, a price is not positive, shapes differ, capital is not positive, or terms are of a
        market that is not there.
    """
    refuse([*wrong_weights(bars, weights), *wrong_input(bars, initial_capital, instruments)])
    from research_to_prod.research import _kernels

    steps = len(bars)
    ledger, units = np.zeros((len(_kernels.LEDGER), steps)), np.zeros(bars.close.shape)
    trades = _kernels.simulate(
        prices_of(bars), float64(bars.funding), float64(weights), execution.delay_bars, float(initial_capital),
        markets_of(bars, instruments), rates_of(costs, execution), ledger, units,
    )  # fmt: skip
    equity, net_returns, price_pnl, fees, spread, impact, funding, borrow, liquidation, turnover, gross_exposure = (
        ledger
    )
    return Backtest(
        ts=bars.ts, initial_capital=float(initial_capital), equity=equity, net_returns=net_returns,
        price_pnl=price_pnl, fees=fees, spread_cost=spread, impact_cost=impact, funding=funding, borrow_cost=borrow,
        liquidation_cost=liquidation, turnover=turnover, gross_exposure=gross_exposure, units=units, trades=int(trades),
    )  # fmt: skip


def float64(values: Floats) -> Floats:
    """Return the values in C order: the compiled loops would compile a second copy for another layout (seconds)."""
    return np.ascontiguousarray(values, np.float64)


def prices_of(bars: Bars) -> Prices:
    """Return what the kernels read of the bars."""
    from research_to_prod.research._kernels import Prices

    return Prices(*(float64(each) for each in (bars.open, bars.high, bars.low, bars.close, bars.volume)))


def markets_of(bars: Bars, instruments: Mapping[str, Instrument]) -> Market:
    """Return the terms of the bars' markets as the kernels read them."""
    from research_to_prod.research._kernels import Market

    terms = [instruments.get(symbol, Instrument()) for symbol in bars.symbols]
    a_bar = float((bars.ts[1] - bars.ts[0]) / np.timedelta64(365, "D")) if len(bars) > 1 else 0.0

    def column(values: Iterable[float]) -> Floats:
        return np.array(list(values), np.float64)

    return Market(
        lot=column(each.lot * each.contract_size for each in terms),
        tick=column(each.tick for each in terms),
        min_notional=column(each.min_notional for each in terms),
        max_leverage=column(np.inf if each.max_leverage is None else each.max_leverage for each in terms),
        maintenance=column(each.maintenance_margin for each in terms),
        liquidation_fee=column(each.liquidation_fee for each in terms),
        borrow=column(each.borrow_rate * a_bar for each in terms),
        perpetual=column(float(is_perpetual(symbol)) for symbol in bars.symbols),
    )


def rates_of(costs: Costs, execution: Execution) -> Rates:
    """Return the rates that orders pay when they are sent so."""
    from research_to_prod.research._kernels import Rates

    passive = execution.liquidity is Liquidity.MAKER
    cap = np.inf if execution.participation_cap is None else execution.participation_cap
    return Rates(costs.maker_fee if passive else costs.taker_fee, costs.half_spread, costs.impact, cap, passive)


def wrong_weights(bars: Bars, weights: Floats) -> list[str]:
    """Return what is wrong with the weights: they must be finite, and one for each bar and market."""
    problems = []
    if weights.shape != bars.close.shape:
        problems.append(f"weights have shape {weights.shape}, bars {bars.close.shape}")
    if not np.isfinite(weights).all():
        problems.append("weights hold a value that is not a finite number")
    return problems


def wrong_input(bars: Bars, initial_capital: float, instruments: Mapping[str, Instrument]) -> list[str]:
    """Return what is wrong with the rest of a backtest's input."""
    problems = []
    for name in ("open", "high", "low", "close"):
        price = getattr(bars, name)
        # The extremes that are not NaN: a missing bar passes, and nothing of the bars' size is laid out anew.
        lowest, highest = (each.reduce(price, axis=None, initial=1.0) for each in (np.fmin, np.fmax))
        if lowest <= 0 or np.isinf(highest):
            problems.append(f"{name} prices must be positive and finite, or NaN where there is no bar")
    if not np.isfinite(bars.funding).all():
        problems.append("funding must be 0 where none is due, not NaN")
    if not (np.isfinite(initial_capital) and initial_capital > 0):
        problems.append(f"initial capital must be positive, is {initial_capital}")
    if strangers := sorted(set(instruments) - set(bars.symbols)):
        problems.append(f"terms are given for {', '.join(strangers)}, the bars are of {', '.join(bars.symbols)}")
    if wrong := sorted(each for each, terms in instruments.items() if is_perpetual(each) and terms.borrow_rate):
        problems.append(f"{', '.join(wrong)}: a perpetual is not borrowed, it pays funding; remove the borrow rate")
    return problems


def refuse(problems: list[str]) -> None:
    """Raise ValueError with all that is wrong, if anything is."""
    if problems:
        raise ValueError("; ".join(problems))
