"""Evidence: the numbers that a decision rests on, gathered from tables into one value.

Belongs here: the value, and gathering it so that what is missing stays missing. Doesn't: judging it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.gates.holdings import Holdings, holdings_of
from research_to_prod.market_data.findings import Level
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.metrics import daily_returns, max_drawdown
from research_to_prod.research.strategy import Strategy
from research_to_prod.research.trial_ledger import TrialRecord
from research_to_prod.research.trials import SCENARIOS
from research_to_prod.values import StrategyType, timeframe_length


@dataclass(frozen=True)
class Studies:
    """The figures of the validation studies, by study, item and metric; what is not there is not known."""

    figures: Mapping[tuple[str, str, str], float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, candidate: str, validation: pa.Table) -> Studies:
        """Take the candidate's rows of ``research.contracts.VALIDATION``; a figure that stands twice is not known."""
        rows = validation.filter(pc.equal(validation["candidate"], candidate))
        keys = list(zip(*(rows[name].to_pylist() for name in ("study", "item", "metric")), strict=True))
        values = dict(zip(keys, rows["value"].to_pylist(), strict=True))
        return cls({key: values[key] if times == 1 else None for key, times in sorted(Counter(keys).items())})

    def value(self, study: str, metric: str, item: str = "all") -> float | None:
        """Return one figure; None where it is missing, null or not a finite number."""
        found = self.figures.get((study, item, metric))
        return found if found is not None and math.isfinite(found) else None

    def items(self, study: str, metric: str) -> dict[str, float | None]:
        """Return the figures of all items but ``all``, in order of the items."""
        named = sorted(item for s, item, m in self.figures if (s, m) == (study, metric) and item != "all")
        return {item: self.value(study, metric, item) for item in named}


@dataclass(frozen=True)
class BookStrategy:
    """A strategy that trades the desk's money now.

    Parameters
    ----------
    capital
        Allocated to it, in the book's currency.
    days, daily_returns
        (D,) UTC days and the net returns of its backtest.
    exposure
        Largest gross exposure by base asset, in the book's currency.
    """

    candidate: str
    strategy_type: StrategyType
    venue: str
    capital: float
    days: npt.NDArray[np.datetime64]
    daily_returns: Floats
    exposure: Mapping[str, float]


@dataclass(frozen=True)
class LatencySamples:
    """One measure of latency; a timeout or a rejection is a sample of +inf, never left out.

    Parameters
    ----------
    at
        (n,) UTC times of the samples, any order.
    milliseconds
        (n,) float64.
    """

    at: npt.NDArray[np.datetime64]
    milliseconds: Floats


@dataclass(frozen=True)
class LatencyEvidence:
    """What was measured between us and the venue.

    Parameters
    ----------
    measures
        By name: signal_to_ack, cancel_to_ack, feed_age, leg_skew.
    busiest_hour
        Hour of the UTC day in which the market trades most; None when it is not known.
    """

    measures: Mapping[str, LatencySamples] = field(default_factory=dict)
    busiest_hour: int | None = None


@dataclass(frozen=True)
class PairedEvidence:
    """What the desk's trading did beside the model, on the same decisions."""

    days: int | None = None
    decisions: int | None = None
    compared_decisions: int | None = None
    """Decisions held against the model run again, those among them that only the model made."""
    equal_decisions: int | None = None
    bars: int | None = None
    agreeing_bars: int | None = None
    slippage_ratio: float | None = None
    """Upper confidence bound of realised over modelled slippage."""


@dataclass(frozen=True)
class ReadinessEvidence:
    """What people and systems have ready."""

    runbooks: tuple[str, ...] | None = None
    drilled_at: datetime | None = None
    """When the kill switch was last drilled and worked."""
    as_of: datetime | None = None
    """The time of the decision: an input."""


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
    days
        (D,) the UTC days of ``daily_returns``.
    venue, capital
        Where it trades and with how much.
    studies, holdings, book, latency, paired, readiness
        What the further families of gates rest on; an empty book is known to hold nothing.
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
    days: npt.NDArray[np.datetime64] = field(default_factory=lambda: np.empty(0, "datetime64[D]"))
    venue: str = ""
    capital: float | None = None
    studies: Studies = field(default_factory=Studies)
    holdings: Holdings | None = None
    book: tuple[BookStrategy, ...] | None = None
    latency: LatencyEvidence = field(default_factory=LatencyEvidence)
    paired: PairedEvidence = field(default_factory=PairedEvidence)
    readiness: ReadinessEvidence = field(default_factory=ReadinessEvidence)


def gather_evidence(
    candidate: Candidate,
    strategy: Strategy,
    market_quality: pa.Table,
    market_findings: pa.Table,
    backtest: pa.Table,
    trials: Mapping[str, TrialRecord],
    validation: pa.Table | None = None,
    bars: Bars | None = None,
    book: tuple[BookStrategy, ...] | None = None,
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
    validation
        Rows of ``research.contracts.VALIDATION``, any candidates and order; without them no study is known.
    bars
        The candidate's universe over its window; without them no position is known.
    book
        The strategies that trade the desk's money, without this one; None when that is not known.
    """
    scenarios = {name: _equity(candidate, backtest, name) for name in SCENARIOS}
    capital = float(candidate.capital)
    series = {SCENARIOS[name]: daily_returns(*curve, capital) for name, curve in scenarios.items() if len(curve[0])}
    days, base = series.get(1.0, (np.empty(0, "datetime64[D]"), np.empty(0)))
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
        daily_returns=base,
        stressed_returns={multiplier: each for multiplier, (_, each) in series.items() if multiplier != 1.0},
        max_drawdown=None if math.isnan(drawdown) else drawdown,
        n_trials=len(trials) if own in trials else None,
        trial_sharpes=np.sort(np.array(sharpes, dtype=np.float64)),
        days=days,
        venue=candidate.venue,
        capital=capital,
        studies=Studies() if validation is None else Studies.of(candidate.name, validation),
        holdings=None if bars is None else _holdings(candidate, bars, backtest),
        book=book,
    )


def book_strategy(candidate: Candidate, backtest: pa.Table, capital: float) -> BookStrategy | None:
    """Return a strategy of the book from its own tables; None unless its backtest is whole.

    Its largest gross exposure is spread evenly over the base assets of its universe.
    """
    ts, equity = _equity(candidate, backtest, "base")
    if not len(ts):
        return None
    days, returns = daily_returns(ts, equity, float(candidate.capital))
    base = pc.and_(pc.equal(backtest["candidate"], candidate.name), pc.equal(backtest["scenario"], "base"))
    gross = pc.max(backtest.filter(base)["gross_exposure"]).as_py()
    assets = sorted({symbol.split("/", 1)[0] for symbol in candidate.universe})
    exposure = {asset: capital * gross / len(assets) for asset in assets}
    return BookStrategy(candidate.name, candidate.type, candidate.venue, capital, days, returns, exposure)


def _holdings(candidate: Candidate, bars: Bars, backtest: pa.Table) -> Holdings | None:
    """Return the positions of the backtest that is judged, or None unless it is whole and on these bars."""
    ts, equity = _equity(candidate, backtest, "base")
    if not len(ts) or not np.array_equal(ts, bars.ts.astype("datetime64[us]")):
        return None
    chosen = pc.and_(pc.equal(backtest["candidate"], candidate.name), pc.equal(backtest["scenario"], "base"))
    rows = backtest.filter(chosen).sort_by("ts")
    units = np.array(rows["units"].to_pylist(), dtype=np.float64)
    if units.shape != bars.close.shape or not np.isfinite(units).all():
        return None
    found = holdings_of(candidate, bars, units, equity)
    return found if np.allclose(rows["gross_exposure"].to_numpy(), found.gross, rtol=1e-9, atol=1e-12) else None


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
