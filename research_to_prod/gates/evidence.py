"""Evidence: the numbers that a decision rests on, gathered from tables into one value.

Belongs here: the value, and gathering it so that what is missing stays missing. Doesn't: judging it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.findings import Level
from research_to_prod.research.bars import Floats
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.metrics import daily_returns, max_drawdown
from research_to_prod.research.strategy import Strategy
from research_to_prod.research.trial_ledger import TrialRecord
from research_to_prod.research.trials import SCENARIOS
from research_to_prod.values import StrategyType, timeframe_length


@dataclass(frozen=True)
class Evidence:
    """What is known of a candidate; None and empty mean that it is not known.

    Parameters
    ----------
    completeness
        For each market of the universe the expected and the valid bars over the window.
    unresolved
        For each market of the universe its error-level findings over the window that no repair settles, in words.
    daily_returns
        (D,) net returns of UTC days in order, at base costs.
    stressed_returns
        The same under costs multiplied by each key.
    max_drawdown
        Largest fall from a peak on bar equity, as a fraction of the peak.
    n_trials
        Distinct trials of this strategy on this universe in the trial ledger; None if the candidate's own is not there.
    trial_sharpes
        Daily Sharpe ratios of those trials, in any order; trials without one (never traded) are left out.
    """

    candidate: str
    strategy_type: StrategyType
    completeness: Mapping[str, tuple[int, int] | None]
    unresolved: Mapping[str, tuple[str, ...] | None]
    daily_returns: Floats
    stressed_returns: Mapping[float, Floats]
    max_drawdown: float | None
    n_trials: int | None
    trial_sharpes: Floats


def gather_evidence(
    candidate: Candidate,
    strategy: Strategy,
    market_quality: pa.Table,
    market_findings: pa.Table,
    backtest: pa.Table,
    trials: Mapping[str, TrialRecord],
) -> Evidence:
    """Put a candidate's evidence together.

    Parameters
    ----------
    market_quality
        Rows of ``market_data.contracts.MARKET_QUALITY``, any markets and months.
    market_findings
        Rows of ``market_data.contracts.MARKET_FINDINGS``, any markets and months. A month without findings has no rows,
        so only a month that ``market_quality`` profiles counts as examined: both are made in one step.
    backtest
        Rows of ``research.contracts.BACKTEST``, any candidates and order.
    trials
        ``TrialLedger.trials(candidate.strategy, candidate.universe)``.
    """
    scenarios = {name: _equity(candidate, backtest, name) for name in SCENARIOS}
    capital = float(candidate.capital)
    returns = {
        SCENARIOS[name]: daily_returns(ts, equity, capital)[1] for name, (ts, equity) in scenarios.items() if len(ts)
    }
    own = candidate.trial_id(candidate.own_parameters(strategy))
    sharpes = [record.sharpe_daily for record in trials.values() if record.sharpe_daily is not None]
    drawdown = max_drawdown(scenarios["base"][1], capital)
    return Evidence(
        candidate=candidate.name,
        strategy_type=candidate.type,
        completeness={symbol: _completeness(candidate, market_quality, symbol) for symbol in candidate.universe},
        unresolved={
            symbol: _unresolved(candidate, market_quality, market_findings, symbol) for symbol in candidate.universe
        },
        daily_returns=returns.get(1.0, np.empty(0)),
        stressed_returns={multiplier: series for multiplier, series in returns.items() if multiplier != 1.0},
        max_drawdown=None if math.isnan(drawdown) else drawdown,
        n_trials=len(trials) if own in trials else None,
        trial_sharpes=np.sort(np.array(sharpes, dtype=np.float64)),
    )


def _equity(candidate: Candidate, backtest: pa.Table, scenario: str) -> tuple[np.ndarray, Floats]:
    """Return times and equity of one scenario; empty unless every bar of the window is there once."""
    chosen = pc.and_(pc.equal(backtest["candidate"], candidate.name), pc.equal(backtest["scenario"], scenario))
    rows = backtest.filter(chosen).sort_by("ts")
    ts = rows["ts"].to_numpy().astype("datetime64[us]")
    if not np.array_equal(ts, _grid(candidate)):
        return np.empty(0, "datetime64[us]"), np.empty(0)
    return ts, rows["equity"].to_numpy()


def _grid(candidate: Candidate) -> np.ndarray:
    start, end = (
        np.datetime64(at.replace(tzinfo=None), "us") for at in (candidate.window.start_at, candidate.window.end_at)
    )
    return np.arange(start, end, np.timedelta64(timeframe_length(candidate.timeframe)))


def _completeness(candidate: Candidate, market_quality: pa.Table, symbol: str) -> tuple[int, int] | None:
    """Return expected and valid bars of one market, or None unless every bar of the window is there or known absent.

    Expected bars follow from the window, not from the table: a market listed within the window is incomplete.
    """
    rows = _of(candidate, market_quality, symbol)
    if not _profiled(candidate, rows) or rows["valid_bars"].null_count or pc.sum(rows["unknown_bars"]).as_py() != 0:
        return None
    return len(_grid(candidate)), int(pc.sum(rows["valid_bars"]).as_py())


def _unresolved(
    candidate: Candidate, market_quality: pa.Table, market_findings: pa.Table, symbol: str
) -> tuple[str, ...] | None:
    """Return the open errors of one market in order of time, or None unless every month was examined once."""
    if not _profiled(candidate, _of(candidate, market_quality, symbol)):
        return None
    found = _of(candidate, market_findings, symbol)
    found = found.filter(pc.and_(pc.equal(found["level"], Level.ERROR.value), pc.is_null(found["resolved_by"])))
    rows = found.sort_by([("first_at", "ascending"), ("rule", "ascending"), ("against", "ascending")]).to_pylist()
    return tuple(f"{row['rule']} at {row['first_at']:%Y-%m-%dT%H:%MZ}" for row in rows)


def _of(candidate: Candidate, table: pa.Table, symbol: str) -> pa.Table:
    """Return the rows of one market in the months of the window."""
    chosen = pc.is_in(table["month"], pa.array(candidate.window.months, pa.string()))
    for name, value in (("venue", candidate.venue), ("symbol", symbol), ("timeframe", candidate.timeframe)):
        chosen = pc.and_(chosen, pc.equal(table[name], value))
    return table.filter(chosen)


def _profiled(candidate: Candidate, rows: pa.Table) -> bool:
    """Whether ``rows`` hold each month of the window exactly once."""
    return sorted(rows["month"].to_pylist()) == list(candidate.window.months)
