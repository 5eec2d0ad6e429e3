"""What the verdict on a strategy rests on: its paired days, and what its backtest lets expect.

Belongs here: days to series, a backtest to an expectation. Doesn't: pairing days (``shadow``), judging (``verdict``).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from research_to_prod.attribution.shadow import PairedDay
from research_to_prod.attribution.verdict import StrategyRecord
from research_to_prod.gates.statistics import expected_maximum_sharpe_ratio, null_sharpe_deviation
from research_to_prod.research.bars import Floats

_BPS = Decimal(10_000)


def strategy_record(
    strategy: str, days: Sequence[Sequence[PairedDay]], capital: Decimal, expected: float
) -> StrategyRecord:
    """Return what the verdict on a strategy rests on: its markets added up, in bps of capital.

    Parameters
    ----------
    days
        One entry a day, from the strategy's first day with none left out; each the strategy's markets of that day.
    capital
        What a weight of 1 holds, in quote currency.
    expected
        Mean daily P&L that the deflated backtest expects, in bps of capital (`deflated_expectation`).

    Raises
    ------
    ValueError
        If a day has no market, or one of another strategy, or capital is not positive.
    """
    problems = [f"day {number} has no market" for number, markets in enumerate(days) if not markets]
    strangers = {each.market.strategy for markets in days for each in markets} - {strategy}
    problems += [f"a day of {each} is among them" for each in sorted(strangers)]
    if not capital > 0:
        problems.append(f"the capital is {capital}")
    if problems:
        raise ValueError(f"no record of {strategy}: " + "; ".join(problems))
    scale = _BPS / capital
    chosen = [[each.selection for each in markets if each.selection is not None] for markets in days]
    return StrategyRecord(
        strategy=strategy,
        shadow=np.array([float(scale * sum(each.shadow for each in markets)) for markets in days]),
        live=np.array([float(scale * sum(each.live for each in markets)) for markets in days]),
        expected=expected,
        selection=np.array([float(scale * sum(each)) for each in chosen if each]),
        orders=sum(each.orders for markets in days for each in markets),
    )


def deflated_expectation(returns: Floats, n_trials: int) -> float:
    """Return the mean daily return, in bps, that is left of a backtest after what its search would show by luck.

    The mean less the deviation times the Sharpe ratio that the best of ``n_trials`` worthless trials is expected to
    reach: the bar of the deflated Sharpe ratio. At or below 0 nothing can be expected, and no loss of edge be seen.

    Parameters
    ----------
    returns
        (n,) daily net returns of the backtest, as fractions.
    n_trials
        Of the search, as the trial ledger counts them; at least 2.
    """
    luck = expected_maximum_sharpe_ratio(null_sharpe_deviation(returns), n_trials)
    return float(1e4 * (returns.mean() - luck * returns.std(ddof=1)))
