"""The sweep: many sets of positions on the same bars, each summarised to what a search and the trial ledger need.

The rules are those of ``backtest``; what isn't kept is the ledger of each bar. The summary equals that of the whole
ledger to rounding (1e-12), at a small part of its cost.

Belongs here: preparing bars once and scoring positions on them. Doesn't: choosing positions, recording trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from research_to_prod.research.backtest import (
    ANY_MARKET,
    NEXT_OPEN,
    Backtest,
    float64,
    markets_of,
    prices_of,
    rates_of,
    refuse,
    run_backtest,
    wrong_input,
    wrong_weights,
)
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.costs import Costs
from research_to_prod.research.metrics import daily_returns, last_of_each_day, max_drawdown, returns_between
from research_to_prod.research.signals import carry_forward
from research_to_prod.research.terms import Execution, Instrument

if TYPE_CHECKING:
    from research_to_prod.research._kernels import Course, Rows

GATHERED = 2**20
"""Changed targets that a sweep keeps before it scores them: 16 MB of one market, more than all of most searches."""


@dataclass(frozen=True)
class Outcome:
    """What one set of positions came to.

    Parameters
    ----------
    final_equity
        At the last close, in quote currency.
    trades
        Number of fills.
    max_drawdown
        Largest fall of equity at closes from its peak, as a fraction of the peak; NaN without bars.
    daily_returns
        (D,) net returns of UTC days, as ``metrics.daily_returns`` gives them.
    """

    final_equity: float
    trades: int
    max_drawdown: float
    daily_returns: Floats


class Sweep:
    """Bars, costs and terms, made ready for many sets of positions.

    Parameters
    ----------
    bars, costs, initial_capital, execution, instruments
        As for ``backtest.run_backtest``.

    Raises
    ------
    ValueError
        Listing all that is wrong with them.
    """

    def __init__(
        self,
        bars: Bars,
        costs: Costs,
        initial_capital: float,
        execution: Execution = NEXT_OPEN,
        instruments: Mapping[str, Instrument] = ANY_MARKET,
    ) -> None:
        refuse(wrong_input(bars, initial_capital, instruments))
        self._bars, self._costs, self._capital = bars, costs, float(initial_capital)
        self._execution, self._instruments = execution, instruments
        self._prices, self._funding = prices_of(bars), float64(bars.funding)
        self._market, self._rates = markets_of(bars, instruments), rates_of(costs, execution)
        # Margin and borrow act in every bar, so such markets need the whole ledger.
        self._every_bar = any(each.maintenance_margin or each.borrow_rate for each in instruments.values())
        self._course = _course(bars)

    def outcome(self, weights: Floats) -> Outcome:
        """Return what (T, M) target weights come to; raises as `outcomes`."""
        (outcome,) = self.outcomes([weights])
        return outcome

    def outcomes(self, sets: Iterable[Floats]) -> tuple[Outcome, ...]:
        """Return what each set of (T, M) target weights comes to.

        The sets are read one by one, and of each only its changes are kept until some have gathered. Scored in a row,
        they find the bars in the cache, from where making or reading the next set would push them: a set then takes
        0.16 ms instead of 0.43 (a year of minutes, 1,800 changes).

        Raises
        ------
        ValueError
            If a weight is not finite, or their shape is not that of the bars.
        """
        if self._every_bar or not len(self._bars):
            terms = (self._costs, self._capital, self._execution, self._instruments)
            return tuple(outcome_of(run_backtest(self._bars, weights, *terms)) for weights in sets)
        outcomes: list[Outcome] = []
        gathered: list[tuple[Rows, Floats]] = []
        size = 0
        for weights in sets:
            gathered.append(self._changes(float64(weights)))
            size += gathered[-1][1].size
            if size > GATHERED:
                outcomes += [self._summary(*each) for each in gathered]
                gathered, size = [], 0
        return (*outcomes, *(self._summary(*each) for each in gathered))

    def _changes(self, weights: Floats) -> tuple[Rows, Floats]:
        """Return the rows whose targets differ from the row above, and those; the first does if it is not flat."""
        if weights.shape != self._bars.close.shape:
            refuse(wrong_weights(self._bars, weights))
        differs = weights[1:] != weights[:-1]
        # A reduction over an axis of one takes ten times as long as the comparison.
        rows = np.flatnonzero(differs if weights.shape[1] == 1 else differs.any(axis=1)) + 1
        changed = np.concatenate(([0], rows)) if weights[0].any() else rows
        targets = weights[changed]
        # What is not finite differs from the row above, NaN even from NaN: the rows that changed hold any.
        if not np.isfinite(targets).all():
            refuse(wrong_weights(self._bars, weights))
        return changed, targets

    def _summary(self, changed: Rows, targets: Floats) -> Outcome:
        from research_to_prod.research._kernels import summarise

        closings = np.empty(len(self._course.day_ends))
        final, drawdown, trades = summarise(
            self._prices, self._funding, self._course, changed, targets,
            self._execution.delay_bars, self._capital, self._market, self._rates, closings,
        )  # fmt: skip
        return Outcome(final, int(trades), drawdown, returns_between(closings, self._capital))


def outcome_of(backtest: Backtest) -> Outcome:
    """Return the outcome of a whole ledger."""
    final = float(backtest.equity[-1]) if len(backtest.equity) else backtest.initial_capital
    drawdown = max_drawdown(backtest.equity, backtest.initial_capital)
    _, returns = daily_returns(backtest.ts, backtest.equity, backtest.initial_capital)
    return Outcome(final, backtest.trades, drawdown, returns)


def _course(bars: Bars) -> Course:
    """Return what all positions on the bars share."""
    from research_to_prod.research._kernels import BLOCK, Course

    steps, markets = bars.close.shape
    marks = np.empty((markets, steps, 2))
    marks[:, :, 0], marks[:, :, 1] = bars.open.T, bars.close.T
    if np.isnan(marks).any():
        marks = np.nan_to_num(carry_forward(marks.reshape(markets, 2 * steps).T), nan=1.0)
        marks = float64(marks.T).reshape(markets, steps, 2)
    closes = marks[:, : steps // BLOCK * BLOCK, 1].reshape(markets, steps // BLOCK, BLOCK)
    gap = marks[:, :, 0] / marks[:, :, 1]
    slack = np.array([1 - 1e-12, 1 + 1e-12])  # so that rounding makes no bound too narrow
    return Course(
        marks=marks,
        blocks=np.stack([closes.min(axis=2), closes.max(axis=2)], axis=2),
        gaps=np.stack([gap.min(axis=1), gap.max(axis=1)], axis=1) * slack,
        there=np.ascontiguousarray(np.isfinite(bars.open)),
        day_ends=last_of_each_day(bars.ts),
        funding_due=np.flatnonzero(bars.funding.any(axis=1)),
    )


def compile_ahead() -> None:
    """Compile the kernels into their cache, as ``make install`` does: the first backtest would wait 10 s for them."""
    ts = np.arange(np.datetime64("2024-01-01T00", "us"), np.datetime64("2024-01-01T03", "us"), np.timedelta64(1, "h"))
    ones = np.ones((len(ts), 1))
    bars = Bars(ts, ("BTC/USDT",), ones, ones, ones, ones, ones, np.zeros_like(ones))
    run_backtest(bars, ones, Costs(), 1.0)
    Sweep(bars, Costs(), 1.0).outcome(ones)
