"""Trials: a candidate's whole search, run and recorded; and its own parameters under several cost scenarios.

Belongs here: the one way to evaluate a trial, which leaves it in the trial ledger before anyone sees the result.
Doesn't: judging.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.research.backtest import Backtest, run_backtest
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.candidate import Candidate, canonical_parameters
from research_to_prod.research.contracts import BACKTEST, TRIALS
from research_to_prod.research.market_making import run_market_making, tape_of_bars
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.strategy import Strategy, StrategyParameters
from research_to_prod.research.sweep import Outcome, Sweep, outcome_of
from research_to_prod.research.trial_ledger import TrialLedger, TrialRecord
from research_to_prod.values import sha256_hex, timeframe_length

SCENARIOS = {"base": 1.0, "costs_1.5x": 1.5, "costs_2x": 2.0}
"""Cost scenarios of a backtest: what the candidate's fees, spread and impact are multiplied by."""


COSTS = ("fees", "spread_cost", "impact_cost", "borrow_cost", "liquidation_cost")
"""The columns of ``contracts.BACKTEST`` that equity pays."""


def run_trials(
    candidate: Candidate, strategy: Strategy, bars: Bars, ledger: TrialLedger, *, run_id: str, recorded_at: datetime
) -> pa.Table:
    """Try every parameter set of the candidate's search and record each in the trial ledger.

    Parameters
    ----------
    bars
        The candidate's universe over exactly its window.
    ledger
        Where the trials are recorded, durably, before this returns.
    run_id, recorded_at
        Who asks and when, for the record.

    Returns
    -------
    pyarrow.Table
        Rows of ``contracts.TRIALS``, one per parameter set, sorted by trial id.

    Raises
    ------
    ValueError
        If bars or strategy are not those of the candidate.
    """
    _refuse_mismatch(candidate, strategy, bars)
    data_sha256 = bars_sha256(bars)
    score = _trier(candidate, strategy, bars)
    rows, records = [], []
    for parameters in candidate.grid(strategy):
        result = score(parameters)
        returns = result.daily_returns
        sharpe = sharpe_ratio(returns)
        defined = None if math.isnan(sharpe) else sharpe
        rows.append(
            {
                "candidate": candidate.name,
                "trial_id": candidate.trial_id(parameters),
                "parameters": canonical_parameters(parameters),
                "sharpe_daily": defined,
                "sharpe_annual": None if defined is None else annualised_sharpe_ratio(sharpe),
                "max_drawdown": result.max_drawdown,
                "n_days": len(returns),
                "returns": returns.tolist(),
            }
        )
        records.append(
            TrialRecord(
                trial_id=candidate.trial_id(parameters),
                strategy=strategy.name,
                source_sha256=strategy.source_sha256,
                venue=candidate.venue,
                universe=candidate.universe,
                timeframe=candidate.timeframe,
                parameters=canonical_parameters(parameters),
                window_start=candidate.window.start_at,
                window_end=candidate.window.end_at,
                data_sha256=data_sha256,
                sharpe_daily=defined,
                returns_sha256=sha256_hex(_bytes(returns)),
                candidate=candidate.name,
                run_id=run_id,
                recorded_at=recorded_at,
            )
        )
    ledger.append(records)
    return TRIALS.conform(pa.Table.from_pylist(rows, schema=TRIALS.arrow), candidate.name)


def backtest_candidate(candidate: Candidate, strategy: Strategy, bars: Bars) -> pa.Table:
    """Run the candidate's own parameters under each of `SCENARIOS`.

    These parameters are one of the trials that `run_trials` records, so nothing new is tried here.

    Returns
    -------
    pyarrow.Table
        Rows of ``contracts.BACKTEST``.

    Raises
    ------
    ValueError
        If bars or strategy are not those of the candidate.
    """
    _refuse_mismatch(candidate, strategy, bars)
    parameters = candidate.own_parameters(strategy)
    tables = [
        _backtest(candidate, strategy, bars, parameters, multiplier).to_table(candidate.name, scenario)
        for scenario, multiplier in SCENARIOS.items()
    ]
    return BACKTEST.conform(pa.concat_tables(tables), candidate.name)


def accounting_residuals(backtest: pa.Table, initial_capital: float) -> dict[str, float]:
    """Return for each scenario how far equity strays from what was earned and paid, relative to the money moved.

    Parameters
    ----------
    backtest
        Rows of ``contracts.BACKTEST`` of one candidate, in any order.

    Returns
    -------
    dict
        By scenario: the largest distance over all bars between equity and capital plus accumulated price P&L, costs and
        funding, over the capital plus all money moved. Infinite where a number is missing.
    """
    residuals = {}
    for scenario in sorted(set(backtest["scenario"].to_pylist())):
        rows = backtest.filter(pc.equal(backtest["scenario"], scenario)).sort_by("ts")
        flows = {name: rows[name].to_numpy() for name in ("price_pnl", "funding", *COSTS)}
        earned = flows["price_pnl"] + flows["funding"] - sum(flows[name] for name in COSTS)
        moved = initial_capital + sum(float(np.abs(flow).sum()) for flow in flows.values())
        residual = float(np.max(np.abs(rows["equity"].to_numpy() - initial_capital - np.cumsum(earned)))) / moved
        residuals[scenario] = residual if math.isfinite(residual) else math.inf
    return residuals


def bars_sha256(bars: Bars) -> str:
    """Return the digest of all that the bars hold; the same prices give the same digest wherever they came from."""
    whole = hashlib.sha256(repr(bars.symbols).encode())
    for array in (bars.ts, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.funding):
        whole.update(_bytes(array))
    return whole.hexdigest()


def _trier(candidate: Candidate, strategy: Strategy, bars: Bars) -> Callable[[StrategyParameters], Outcome]:
    """Return what scores a parameter set at base costs: the sweep, or the fills of quotes."""
    if strategy.makes_markets:
        return lambda parameters: outcome_of(_backtest(candidate, strategy, bars, parameters, 1.0))
    sweep = Sweep(bars, candidate.costs, float(candidate.capital), candidate.execution, candidate.instruments)
    return lambda parameters: sweep.outcome(strategy.target_positions(bars, parameters))


def _backtest(
    candidate: Candidate, strategy: Strategy, bars: Bars, parameters: StrategyParameters, cost_multiplier: float
) -> Backtest:
    costs, capital = candidate.costs.stressed(cost_multiplier), float(candidate.capital)
    if candidate.quoting is not None:
        quotes, tape = strategy.quotes(bars, parameters), tape_of_bars(bars)
        return run_market_making(bars, quotes, tape, costs, capital, candidate.quoting).backtest
    weights = strategy.target_positions(bars, parameters)
    return run_backtest(bars, weights, costs, capital, candidate.execution, candidate.instruments)


def _bytes(array: Floats | np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _refuse_mismatch(candidate: Candidate, strategy: Strategy, bars: Bars) -> None:
    problems = []
    if (strategy.name, strategy.source_sha256) != (candidate.strategy, candidate.strategy_sha256):
        problems.append(f"strategy {strategy.name} is not the file that the candidate was checked against; reload it")
    if bars.symbols != candidate.universe:
        problems.append(f"bars are of {bars.symbols}, the universe is {candidate.universe}")
    window = candidate.window
    steps = (window.end_at - window.start_at) // timeframe_length(candidate.timeframe)
    start = np.datetime64(window.start_at.replace(tzinfo=None), "us")
    if len(bars) != steps or bars.ts[0] != start:
        problems.append(f"bars must be the {steps} of {candidate.timeframe} from {window.start} to {window.end}")
    if problems:
        raise ValueError(f"candidate {candidate.name}: " + "; ".join(problems))
