"""The backtest engine against vectorbt and backtesting.py: one pass over a year of minutes, and a sweep of 1,000.

One pass is signals, fills, equity, largest drawdown, Sharpe ratio and number of trades of a 20/50 moving-average
strategy over 525,600 bars, half of equity or flat, 6 bp a trade at the next open. The bars are made ready before, as
vectorbt's series are; what that costs us is a row of its own. The sweep tries 20 fast by 50 slow averages. vectorbt is
timed on 25 combinations spread over the grid and scaled to 1,000, on its shortest path: positions given, final value
only. After each of these ours takes its turn with the next 40, so that a machine that others slow down for a second
slows down both. Everything runs in one thread, vectorbt too.
"""

import contextlib
import functools
import gc
import io
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks._harness import Claim, in_turns, peak_memory, ratio, report
from research_to_prod.research.backtest import run_backtest
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.costs import Costs
from research_to_prod.research.metrics import daily_returns, max_drawdown, sharpe_ratio
from research_to_prod.research.strategy import StrategyParameters, load_strategy
from research_to_prod.research.sweep import Sweep
from research_to_prod.research.terms import Instrument

STEPS, CAPITAL, FEE = 525_600, 1e6, 0.0006
STRATEGY = load_strategy(Path(__file__).parent / "strategies", "moving_averages")
COSTS = Costs(taker_fee=FEE, half_spread=0)
ONE = STRATEGY.parameters(fast=20, slow=50)
GRID = [
    STRATEGY.parameters(fast=fast, slow=slow)
    for fast, slow in itertools.product(range(10, 210, 10), range(220, 1220, 20))
]
PART = 40
SAMPLE = GRID[::PART]


def minutes() -> Bars:
    """Return a year of a market that opens at its last close, in whole ticks."""
    close = np.round(50_000 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 3e-4, STEPS))))[:, None]
    open_ = np.vstack((close[:1], close[:-1]))
    ts = np.datetime64("2024-01-01", "us") + np.arange(STEPS) * np.timedelta64(1, "m")
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    return Bars(ts, ("BTC/USDT",), open_, high, low, close, np.ones_like(close), np.zeros_like(close))


BARS = minutes()


@functools.cache
def ready() -> Sweep:
    """Return the bars made ready, once."""
    return Sweep(BARS, COSTS, CAPITAL)


def one_pass(sweep: Sweep | None = None) -> tuple[float, float, float, int]:
    """Return final equity, largest drawdown, daily Sharpe ratio and trades, from signals on."""
    outcome = (sweep or ready()).outcome(STRATEGY.target_positions(BARS, ONE))
    return outcome.final_equity, outcome.max_drawdown, sharpe_ratio(outcome.daily_returns), outcome.trades


def one_pass_from_scratch() -> tuple[float, float, float, int]:
    """Make the bars ready too."""
    return one_pass(Sweep(BARS, COSTS, CAPITAL))


def one_pass_with_ledger() -> tuple[float, float, float, int]:
    """Keep every bar's equity, profit, costs, exposure and units on the way."""
    result = run_backtest(BARS, STRATEGY.target_positions(BARS, ONE), COSTS, CAPITAL)
    _, returns = daily_returns(BARS.ts, result.equity, CAPITAL)
    return float(result.equity[-1]), max_drawdown(result.equity, CAPITAL), sharpe_ratio(returns), result.trades


class Vectorbt:
    """The same through vectorbt."""

    def __init__(self) -> None:
        import pandas as pd
        import vectorbt

        self._vectorbt = vectorbt
        index = pd.DatetimeIndex(BARS.ts)
        self._open, self._close = (pd.Series(each[:, 0], index) for each in (BARS.open, BARS.close))
        self._sizes = {each: self._orders(STRATEGY.target_positions(BARS, each)[:, 0]) for each in SAMPLE}

    def one_pass(self) -> tuple[float, float, float, int]:
        """Return what `one_pass` of ours does; its drawdown is negative, its Sharpe ratio of minutes and a year."""
        fast, slow = (self._vectorbt.MA.run(self._close, each).ma.to_numpy() for each in (ONE.fast, ONE.slow))
        portfolio = self._portfolio(self._orders(np.where(fast > slow, 0.5, 0.0)))
        return (
            float(portfolio.final_value()), float(portfolio.max_drawdown()), float(portfolio.sharpe_ratio()),
            int(portfolio.orders.count()),
        )  # fmt: skip

    def final_value(self, parameters: StrategyParameters) -> float:
        """Return the final value of one of the sample."""
        return float(self._portfolio(self._sizes[parameters]).final_value())

    def _portfolio(self, size: np.ndarray) -> object:
        return self._vectorbt.Portfolio.from_orders(
            self._close, size=size, size_type="targetpercent", price=self._open, val_price=self._open, fees=FEE,
            init_cash=CAPITAL, freq="1min",
        )  # fmt: skip

    @staticmethod
    def _orders(weights: np.ndarray) -> np.ndarray:
        """Return the target at the bar after each change, NaN (no order) elsewhere."""
        before = np.concatenate(([0.0], weights[:-1]))
        return np.concatenate(([np.nan], np.where(weights != before, weights, np.nan)[:-1]))


class BacktestingPy:
    """The same through backtesting.py, which trades whole units: it is told how many, and compared with lots of 1."""

    def __init__(self) -> None:
        import pandas as pd
        from backtesting import Backtest, Strategy
        from backtesting.test import SMA

        lots = {"BTC/USDT": Instrument(lot=1)}
        self.ours = run_backtest(BARS, STRATEGY.target_positions(BARS, ONE), COSTS, CAPITAL, instruments=lots)
        units = self.ours.units[:, 0]

        class MovingAverages(Strategy):
            def init(self) -> None:
                self.fast, self.slow = (self.I(SMA, self.data.Close, each) for each in (ONE.fast, ONE.slow))

            def next(self) -> None:
                above, now = self.fast[-1] > self.slow[-1], len(self.data)
                if above and not self.position and now < STEPS and units[now] > 0:
                    self.buy(size=int(units[now]))
                elif not above and self.position:
                    self.position.close()

        frame = pd.DataFrame(
            {name: getattr(BARS, name.lower())[:, 0] for name in ("Open", "High", "Low", "Close", "Volume")},
            index=pd.DatetimeIndex(BARS.ts),
        )
        self._backtest = Backtest(frame, MovingAverages, cash=CAPITAL, commission=FEE)

    def one_pass(self) -> float:
        """Return final equity, without the progress bar."""
        with contextlib.redirect_stderr(io.StringIO()):
            return float(self._backtest.run()["Equity Final [$]"])


def timed_sweep(vectorbt: Vectorbt) -> tuple[float, float, float]:
    """Return the seconds of a sweep of all combinations: vectorbt's, ours, and ours without the making of positions."""
    theirs = ours = signals = 0.0

    def positions(sets: Sequence[StrategyParameters]) -> Iterator[Floats]:
        nonlocal signals
        for each in sets:
            began = time.perf_counter()
            weights = STRATEGY.target_positions(BARS, each)
            signals += time.perf_counter() - began
            yield weights

    for start in range(0, len(GRID), PART):
        began = time.perf_counter()
        vectorbt.final_value(GRID[start])
        between = time.perf_counter()
        ready().outcomes(positions(GRID[start : start + PART]))
        ended = time.perf_counter()
        theirs, ours = theirs + (between - began) * PART, ours + ended - between
    return theirs, ours, ours - signals


def extra_memory_of_a_sweep() -> float:
    """Return by how many MB a sweep raises the memory that the process holds, the bars made ready among them.

    To be called before anything else, as freed memory that the process still holds would hide it; compiled code is in.
    """
    few = BARS.window(0, 1440)
    Sweep(few, COSTS, CAPITAL).outcome(STRATEGY.target_positions(few, ONE))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    held = peak_memory()
    sweep = Sweep(BARS, COSTS, CAPITAL)
    outcomes = sweep.outcomes(STRATEGY.target_positions(BARS, each) for each in GRID)
    assert len(outcomes) == len(GRID)
    return (peak_memory() - held) * 1e3


def main() -> int:
    """Run all and return the exit code."""
    megabytes = extra_memory_of_a_sweep()
    vectorbt, backtesting = Vectorbt(), BacktestingPy()
    for mine, theirs in zip(one_pass()[:2], vectorbt.one_pass()[:2], strict=True):
        np.testing.assert_allclose(mine, abs(theirs), rtol=1e-9)
    np.testing.assert_allclose(one_pass_with_ledger(), one_pass(), rtol=1e-9)
    np.testing.assert_allclose(backtesting.one_pass(), backtesting.ours.equity[-1], rtol=1e-9)
    finals = [each.final_equity for each in ready().outcomes(STRATEGY.target_positions(BARS, each) for each in SAMPLE)]
    np.testing.assert_allclose(finals, [vectorbt.final_value(each) for each in SAMPLE], rtol=1e-9)

    ours, ledger, scratch = "ours, one pass", "ours, keeping the ledger", "ours, bars made ready within"
    single = in_turns(
        {ours: one_pass, scratch: one_pass_from_scratch, ledger: one_pass_with_ledger, "vectorbt": vectorbt.one_pass}, 9
    )
    slow = in_turns(
        {"ours, one pass": one_pass, ledger: one_pass_with_ledger, "backtesting.py": backtesting.one_pass}, 3
    )
    exit_code = report(
        "one pass over 525,600 bars",
        {**single, "backtesting.py": slow["backtesting.py"]},
        [
            Claim("times faster than vectorbt, all of it", ratio(single, "vectorbt", ours), at_least=20),
            Claim("times faster than backtesting.py", ratio(slow, "backtesting.py", ours), at_least=300),
        ],
        dict.fromkeys((*single, "backtesting.py"), STEPS),
    )
    lean, signals, given = "vectorbt, final value only, x 40", "ours with signals", "ours, positions given"
    seconds = dict(zip((lean, signals, given), np.array([timed_sweep(vectorbt) for _ in range(5)]).T, strict=True))
    return exit_code | report(
        "sweep of 1,000 combinations over 525,600 bars",
        seconds,
        [
            Claim("times faster than vectorbt, positions given", ratio(seconds, lean, given), 100),
            Claim("times faster than vectorbt, signals included", ratio(seconds, lean, signals), 20),
            Claim("extra memory, MB", megabytes, at_most=200),
        ],
        dict.fromkeys(seconds, float(len(GRID))),
    )


if __name__ == "__main__":
    sys.exit(main())
