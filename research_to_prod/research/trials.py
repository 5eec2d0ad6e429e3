"""Trials: a candidate's whole search, run and recorded; and its own parameters under other terms.

Belongs here: the one way to evaluate a trial, which leaves it in the trial ledger before anyone sees the result.
Doesn't: judging.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.research.backtest import Backtest, run_backtest
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.candidate import Candidate, canonical_parameters
from research_to_prod.research.contracts import BACKTEST, TRIALS
from research_to_prod.research.costs import Costs
from research_to_prod.research.market_making import run_market_making, tape_of_bars
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.strategy import Quotes, Strategy, StrategyParameters
from research_to_prod.research.sweep import Outcome, Sweep, outcome_of
from research_to_prod.research.terms import Execution
from research_to_prod.research.trial_ledger import TrialLedger, TrialRecord, series_bytes
from research_to_prod.values import sha256_hex, timeframe_length

SCENARIOS = {"base": 1.0, "costs_1.5x": 1.5, "costs_2x": 2.0}
"""Cost scenarios of a backtest: what the candidate's fees, spread and impact are multiplied by."""


COSTS = ("fees", "spread_cost", "impact_cost", "borrow_cost", "liquidation_cost")
"""The columns of ``contracts.BACKTEST`` that equity pays."""


@dataclass(frozen=True)
class Trial:
    """One parameter set with what it came to, as it stands in the trial ledger."""

    parameters: StrategyParameters
    record: TrialRecord
    max_drawdown: float
    returns: Floats
    """(D,) daily net returns."""


@dataclass(frozen=True)
class Terms:
    """What a run of the candidate's own parameters changes of the candidate's file; the defaults change nothing."""

    cost_multiplier: float = 1.0
    extra_delay_bars: int = 0
    """Bars by which every decision acts later than the file says."""
    impact: float | None = None
    """Cost of trading a whole bar's volume, before the multiplier; None: that of the file."""


@dataclass(frozen=True)
class Experiment:
    """A candidate on its bars, and the ledger: the only way to what a parameter set comes to.

    Each method evaluates, leaves the parameter sets in the trial ledger durably, and only then returns what they came
    to. No other module calls the engine (``tests/research/test_trial_discipline.py``).

    Parameters
    ----------
    bars
        The candidate's universe over exactly its window.
    run_id, recorded_at
        Who asks and when, for the record.

    Raises
    ------
    ValueError
        If bars or strategy are not those of the candidate.
    """

    candidate: Candidate
    strategy: Strategy
    bars: Bars
    ledger: TrialLedger
    run_id: str
    recorded_at: datetime

    def __post_init__(self) -> None:
        _refuse_mismatch(self.candidate, self.strategy, self.bars)

    @property
    def own(self) -> StrategyParameters:
        """The candidate's parameters, with the strategy's defaults filled in."""
        return self.candidate.own_parameters(self.strategy)

    def evaluate(self, parameter_sets: Sequence[StrategyParameters]) -> tuple[Trial, ...]:
        """Return what each parameter set comes to at the terms of the candidate's file."""
        score = _trier(self.candidate, self.strategy, self.bars, Terms())
        data_sha256 = bars_sha256(self.bars)
        trials = []
        for parameters, outcome in zip(parameter_sets, score(parameter_sets), strict=True):
            record = self._record(parameters, outcome.daily_returns, data_sha256)
            trials.append(Trial(parameters, record, outcome.max_drawdown, outcome.daily_returns))
        self.ledger.append([trial.record for trial in trials], [trial.returns for trial in trials])
        return tuple(trials)

    def backtests(self, terms: Sequence[Terms]) -> tuple[Backtest, ...]:
        """Return the own parameters' whole ledger of bars under each of ``terms``."""
        self.evaluate([self.own])
        return tuple(_backtest(self.candidate, self.strategy, self.bars, self.own, each) for each in terms)

    def returns_under(self, terms: Sequence[Terms]) -> tuple[Floats, ...]:
        """Return the own parameters' (D,) daily net returns under each of ``terms``."""
        self.evaluate([self.own])
        return tuple(
            _trier(self.candidate, self.strategy, self.bars, each)([self.own])[0].daily_returns for each in terms
        )

    def _record(self, parameters: StrategyParameters, returns: Floats, data_sha256: str) -> TrialRecord:
        sharpe = sharpe_ratio(returns)
        return TrialRecord(
            trial_id=self.candidate.trial_id(parameters),
            strategy=self.strategy.name,
            source_sha256=self.strategy.source_sha256,
            venue=self.candidate.venue,
            universe=self.candidate.universe,
            timeframe=self.candidate.timeframe,
            parameters=canonical_parameters(parameters),
            window_start=self.candidate.window.start_at,
            window_end=self.candidate.window.end_at,
            data_sha256=data_sha256,
            sharpe_daily=None if math.isnan(sharpe) else sharpe,
            returns_sha256=sha256_hex(series_bytes(returns)),
            candidate=self.candidate.name,
            run_id=self.run_id,
            recorded_at=self.recorded_at,
        )


def run_trials(
    candidate: Candidate, strategy: Strategy, bars: Bars, ledger: TrialLedger, *, run_id: str, recorded_at: datetime
) -> pa.Table:
    """Try every parameter set of the candidate's search.

    Parameters
    ----------
    bars, ledger, run_id, recorded_at
        As for `Experiment`.

    Returns
    -------
    pyarrow.Table
        Rows of ``contracts.TRIALS``, one per parameter set, sorted by trial id.

    Raises
    ------
    ValueError
        If bars or strategy are not those of the candidate.
    """
    experiment = Experiment(candidate, strategy, bars, ledger, run_id, recorded_at)
    rows = [
        {
            "candidate": candidate.name,
            "trial_id": trial.record.trial_id,
            "parameters": trial.record.parameters,
            "sharpe_daily": trial.record.sharpe_daily,
            "sharpe_annual": None
            if trial.record.sharpe_daily is None
            else annualised_sharpe_ratio(trial.record.sharpe_daily),
            "max_drawdown": trial.max_drawdown,
            "n_days": len(trial.returns),
            "returns": trial.returns.tolist(),
        }
        for trial in experiment.evaluate(candidate.grid(strategy))
    ]
    return TRIALS.conform(pa.Table.from_pylist(rows, schema=TRIALS.arrow), candidate.name)


def backtest_candidate(
    candidate: Candidate, strategy: Strategy, bars: Bars, ledger: TrialLedger, *, run_id: str, recorded_at: datetime
) -> pa.Table:
    """Run the candidate's own parameters under each of `SCENARIOS`.

    Parameters
    ----------
    bars, ledger, run_id, recorded_at
        As for `Experiment`.

    Returns
    -------
    pyarrow.Table
        Rows of ``contracts.BACKTEST``.

    Raises
    ------
    ValueError
        If bars or strategy are not those of the candidate.
    """
    experiment = Experiment(candidate, strategy, bars, ledger, run_id, recorded_at)
    runs = experiment.backtests([Terms(cost_multiplier=multiplier) for multiplier in SCENARIOS.values()])
    tables = [run.to_table(candidate.name, scenario) for run, scenario in zip(runs, SCENARIOS, strict=True)]
    return BACKTEST.conform(pa.concat_tables(tables), candidate.name)


def unrecorded_trials(trials: pa.Table, ledger: TrialLedger) -> list[str]:
    """Return the ids of those of ``trials`` (rows of ``contracts.TRIALS``) that the ledger lacks, or other returns of.

    Raises
    ------
    TrialLedgerError
        If the chain or a series is not intact.
    """
    kept = {(record.trial_id, record.returns_sha256): record for record in ledger.records()}
    missing = []
    for name, returns in zip(trials["trial_id"].to_pylist(), trials["returns"].to_pylist(), strict=True):
        record = kept.get((name, sha256_hex(series_bytes(np.array(returns, dtype=np.float64)))))
        if record is None:
            missing.append(name)
        else:
            ledger.returns(record)
    return missing


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


def _trier(
    candidate: Candidate, strategy: Strategy, bars: Bars, terms: Terms
) -> Callable[[Sequence[StrategyParameters]], tuple[Outcome, ...]]:
    """Return what scores parameter sets: the sweep, or the fills of quotes."""
    if strategy.makes_markets:
        return lambda sets: tuple(outcome_of(_backtest(candidate, strategy, bars, each, terms)) for each in sets)
    sweep = Sweep(bars, *_applied(candidate, terms), candidate.instruments)
    return lambda sets: sweep.outcomes(strategy.target_positions(bars, each) for each in sets)


def _backtest(
    candidate: Candidate, strategy: Strategy, bars: Bars, parameters: StrategyParameters, terms: Terms
) -> Backtest:
    costs, capital, execution = _applied(candidate, terms)
    if candidate.quoting is not None:
        quotes = _later(strategy.quotes(bars, parameters), terms.extra_delay_bars)
        return run_market_making(bars, quotes, tape_of_bars(bars), costs, capital, candidate.quoting).backtest
    weights = strategy.target_positions(bars, parameters)
    return run_backtest(bars, weights, costs, capital, execution, candidate.instruments)


def _applied(candidate: Candidate, terms: Terms) -> tuple[Costs, float, Execution]:
    """Return costs, capital and execution of the candidate's file under ``terms``."""
    costs, execution = candidate.costs, candidate.execution
    if terms.impact is not None:
        costs = costs.model_copy(update={"impact": terms.impact})
    delay = execution.delay_bars + terms.extra_delay_bars
    return (
        costs.stressed(terms.cost_multiplier),
        float(candidate.capital),
        execution.model_copy(update={"delay_bars": delay}),
    )


def _later(quotes: Quotes, bars: int) -> Quotes:
    """Return the quotes as they rest ``bars`` later; none before the first."""
    if bars == 0:
        return quotes

    def moved(values: Floats, none: float) -> Floats:
        return np.concatenate([np.full((min(bars, len(values)), values.shape[1]), none), values[:-bars]])

    return Quotes(
        moved(quotes.bid, np.nan), moved(quotes.ask, np.nan), moved(quotes.bid_size, 0.0), moved(quotes.ask_size, 0.0)
    )


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
