"""The backtest: target weights to fills to profit and loss, for a portfolio of spot and perpetual markets.

The rules, in the order in which a bar applies them:

1. Positions are marked from the last known price to the bar's open; funding due at the open is paid on the units held
   into it. A market without a bar (NaN) keeps its last known price.
2. The weights decided at the close ``delay`` bars ago are traded at the open: units = weight x equity at the open /
   price. A market trades only when its target differs from the one it traded last, so a position drifts with the price
   in between; one that can't trade now (no bar, or no volume while impact is charged) trades when it can.
3. Fee, half-spread and square-root impact are paid on the traded notional.
4. Positions are marked from the open to the close.

Equity that falls to zero is ruin: positions are closed at that mark and nothing trades again.

Belongs here: running the engine and its result. Doesn't: choosing weights, judging results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.costs import Costs


@dataclass(frozen=True)
class Backtest:
    """What a run earned and paid, per bar; money in quote currency, costs positive.

    Parameters
    ----------
    ts
        (T,) bar open times.
    initial_capital
        Equity before the first bar.
    equity, net_returns, price_pnl, fees, spread_cost, impact_cost, funding, turnover, gross_exposure
        (T,) float64. Equity at each close; funding is positive when received; turnover is traded notional over equity
        at the open; gross exposure is over equity at the close.
    units
        (T, M) base units held at each close.
    trades
        Number of position changes.
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
                "turnover": self.turnover,
                "gross_exposure": self.gross_exposure,
            }
        )


def run_backtest(bars: Bars, weights: Floats, costs: Costs, initial_capital: float, delay: int = 1) -> Backtest:
    """Trade ``weights`` on ``bars``.

    Parameters
    ----------
    weights
        (T, M) target weights as signed fractions of equity, decided at each bar's close.
    initial_capital
        In quote currency.
    delay
        Bars between the decision's bar and the one whose open it trades at; at least 1.

    Returns
    -------
    Backtest
        ``equity[-1] - initial_capital == sum(price_pnl - fees - spread_cost - impact_cost + funding)`` up to rounding.

    Raises
    ------
    ValueError
        If a weight is not finite, a price is not positive, shapes differ, or delay or capital are out of range.
    """
    _refuse_bad_input(bars, weights, initial_capital, delay)
    from research_to_prod.research._kernels import simulate

    ledger, units, trades = simulate(
        _float64(bars.open), _float64(bars.close), _float64(bars.volume), _float64(bars.funding), _float64(weights),
        delay, float(initial_capital), (costs.taker_fee, costs.half_spread, costs.impact),
    )  # fmt: skip
    equity, price_pnl, fees, spread_cost, impact_cost, funding, turnover, gross_exposure = ledger
    before = np.concatenate(([float(initial_capital)], equity[:-1]))[: len(equity)]
    net_returns = np.divide(equity - before, before, out=np.zeros(len(equity)), where=before > 0)
    return Backtest(
        ts=bars.ts, initial_capital=float(initial_capital), equity=equity, net_returns=net_returns,
        price_pnl=price_pnl, fees=fees, spread_cost=spread_cost, impact_cost=impact_cost, funding=funding,
        turnover=turnover, gross_exposure=gross_exposure, units=units, trades=int(trades),
    )  # fmt: skip


def _float64(values: Floats) -> Floats:
    # The compiled loop is specialised to C order: another layout would compile a second copy (seconds, not results).
    return np.ascontiguousarray(values, np.float64)


def _refuse_bad_input(bars: Bars, weights: Floats, initial_capital: float, delay: int) -> None:
    problems = []
    if weights.shape != bars.close.shape:
        problems.append(f"weights have shape {weights.shape}, bars {bars.close.shape}")
    if not np.isfinite(weights).all():
        problems.append("weights hold a value that is not a finite number")
    for name in ("open", "close"):
        price = getattr(bars, name)
        if np.any(price <= 0) or np.isinf(price).any():
            problems.append(f"{name} prices must be positive and finite, or NaN where there is no bar")
    if not np.isfinite(bars.funding).all():
        problems.append("funding must be 0 where none is due, not NaN")
    if not (np.isfinite(initial_capital) and initial_capital > 0):
        problems.append(f"initial capital must be positive, is {initial_capital}")
    if delay < 1:
        problems.append(f"delay must be at least 1 bar, is {delay}: a close can't be traded at its own bar's open")
    if problems:
        raise ValueError("; ".join(problems))


def compile_ahead() -> None:
    """Compile the kernel into its cache; ``make install`` does, so that the first backtest doesn't wait 10 s for it."""
    ts = np.arange(np.datetime64("2024-01-01T00", "us"), np.datetime64("2024-01-01T03", "us"), np.timedelta64(1, "h"))
    ones = np.ones((len(ts), 1))
    bars = Bars(ts, ("BTC/USDT",), ones, ones, ones, ones, ones, np.zeros_like(ones))
    run_backtest(bars, ones, Costs(), 1.0)
