"""The engine against vectorbt and backtesting.py, where they mean the same; run in .venv-peers (`make peers`).

What they share with us: targets as a fraction of equity (vectorbt) or whole units (backtesting.py), filled at the next
bar's open for a proportional fee.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from research_to_prod.research.backtest import run_backtest
from research_to_prod.research.bars import Bars
from research_to_prod.research.costs import Costs
from research_to_prod.research.terms import Instrument

STEPS, FEE = 3_000, 0.0006
COSTS = Costs(taker_fee=FEE, half_spread=0)


def bars(seed: int, markets: int = 1) -> Bars:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (STEPS, markets)), axis=0))
    open_ = np.vstack((np.full((1, markets), 100.0), close[:-1])) * np.exp(rng.normal(0, 0.002, close.shape))
    ts = np.datetime64("2024-01-01", "us") + np.arange(STEPS) * np.timedelta64(1, "h")
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    symbols = tuple(f"M{m}/Q" for m in range(markets))
    return Bars(ts, symbols, open_, high, low, close, np.ones_like(close), np.zeros_like(close))


def held(seed: int, choices: list[float]) -> np.ndarray:
    """Targets that last some ten bars each."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.choice(choices, STEPS // 10), 10)[:, None]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_vectorbt_comes_to_the_same_equity_long_and_short(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectorbt = pytest.importorskip("vectorbt", reason="vectorbt is a peer, not a dependency: run in .venv-peers")
        import pandas as pd

        history, weights = bars(seed), held(seed, [-0.5, 0.0, 0.3, 0.9])
        ours = run_backtest(history, weights, COSTS, 10_000.0)
        before = np.vstack(([[0.0]], weights[:-1]))
        size = np.vstack(([[np.nan]], np.where(weights != before, weights, np.nan)[:-1]))[:, 0]
        open_, close = (pd.Series(each[:, 0], pd.DatetimeIndex(history.ts)) for each in (history.open, history.close))
        portfolio = vectorbt.Portfolio.from_orders(
            close, size=size, size_type="targetpercent", price=open_, val_price=open_, fees=FEE, init_cash=10_000.0,
            freq="1h",
        )  # fmt: skip
        np.testing.assert_allclose(ours.equity, portfolio.value().to_numpy(), rtol=1e-12)
        assert ours.trades == int(portfolio.orders.count())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_backtesting_py_comes_to_the_same_equity_in_whole_units(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("backtesting", reason="backtesting.py is a peer, not a dependency: see `make peers`")
        import pandas as pd

        history, weights = bars(seed), held(seed, [0.0, 0.5])
        # It decides from the second bar on, and closes what is open at the end: both start and end flat.
        weights[:10], weights[-20:] = 0.0, 0.0
        ours = run_backtest(history, weights, COSTS, 100_000.0, instruments={"M0/Q": Instrument(lot=1)})
        units = ours.units[:, 0]

        class Told(peer.Strategy):  # type: ignore[name-defined,misc]
            def init(self) -> None:
                pass

            def next(self) -> None:
                now = len(self.data)
                if now < STEPS and units[now] != units[now - 1]:
                    self.position.close() if units[now] == 0 else self.buy(size=int(units[now]))

        frame = pd.DataFrame(
            {name: getattr(history, name.lower())[:, 0] for name in ("Open", "High", "Low", "Close", "Volume")},
            index=pd.DatetimeIndex(history.ts),
        )
        theirs = peer.Backtest(frame, Told, cash=100_000.0, commission=FEE).run()
        assert ours.trades > 50
        np.testing.assert_allclose(ours.equity[1:], theirs["_equity_curve"]["Equity"].to_numpy()[1:], rtol=1e-12)
