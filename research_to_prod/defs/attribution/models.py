"""What the candidates of the strategies that trade promised, read for one day of attribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.drawdown_days import Backtest
from research_to_prod.attribution.funding import FundingTime
from research_to_prod.attribution.shadow import ModelCharges
from research_to_prod.attribution.shadow_days import Model
from research_to_prod.attribution.signal_divergence import SignalTime, rerun_signals
from research_to_prod.attribution.verdict_record import deflated_expectation
from research_to_prod.defs.research.assets import TRIAL_LEDGER
from research_to_prod.lake import Lake, Reader, Snapshot
from research_to_prod.market_data.certificates import certificates_from, covered_until
from research_to_prod.research.bars import Bars, align_bars
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.candidate_table import candidate_from_table
from research_to_prod.research.metrics import daily_returns
from research_to_prod.research.strategy import Strategy, load_strategy
from research_to_prod.research.terms import Liquidity
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds, month_bounds, timeframe_length

_HISTORY = timedelta(days=60)
"""Least bars that a strategy is run again on: what it did weeks ago may decide what it holds."""


@dataclass(frozen=True)
class Models:
    """Models by strategy, and what they were read from."""

    by_strategy: dict[str, Model]
    read: tuple[Snapshot, ...]


def read_models(lake: Lake, settings: Settings, strategies: Iterable[str], day: str) -> Models:
    """Read the model of each strategy whose candidate, of the same name, is materialized.

    Signals are those of the bars as the lake holds them now, the night after. There are none on a bar that is missing,
    of a strategy whose source was changed since, or of one that makes markets.
    """
    found, read = {}, []
    for name in sorted(strategies):
        if not lake.has("candidate", name):
            continue
        recorded = lake.read("candidate", name)
        candidate = candidate_from_table(recorded.rows)
        strategy = load_strategy(settings.desk / "strategies", candidate.strategy)
        backtest, tried = read_backtest(lake, settings, candidate)
        unchanged = strategy.source_sha256 == candidate.strategy_sha256
        signals, bars = run_again(lake, candidate, strategy, *day_bounds(day)) if unchanged else ({}, [])
        read += [recorded, *tried, *bars]
        costs, making = candidate.costs, candidate.execution.liquidity is Liquidity.MAKER
        fee = costs.maker_fee if making else costs.taker_fee
        found[name] = Model(
            markets=frozenset((candidate.venue, symbol) for symbol in candidate.universe),
            capital=candidate.capital,
            charges=ModelCharges(Decimal(repr(0.0 if making else costs.half_spread)), Decimal(repr(fee))),
            expected=_expected(backtest, candidate.capital),
            signals=signals,
            step=timeframe_length(candidate.timeframe),
        )
    return Models(found, tuple(read))


def read_funding(
    lake: Lake, markets: Iterable[tuple[str, str]], day: str
) -> tuple[dict[tuple[str, str], list[FundingTime] | None], tuple[Snapshot, ...]]:
    """Return the day's funding times of each perpetual, by venue and symbol; None where no complete fetch covers it."""
    start, end = day_bounds(day)
    month = day[:7]
    perpetuals = sorted(each for each in set(markets) if ":" in each[1])
    if not perpetuals or not lake.has("funding_rates", month):
        return dict.fromkeys(perpetuals), ()
    rates = lake.read("funding_rates", month)
    certificates = certificates_from(lake.read("fetch_certificates", f"funding_rates-{month}").rows)
    found: dict[tuple[str, str], list[FundingTime] | None] = {}
    for venue, symbol in perpetuals:
        own = [
            row
            for row in rates.rows.to_pylist()
            if (row["venue"], row["symbol"]) == (venue, symbol) and start <= row["ts"] < end
        ]
        proven = covered_until(certificates, venue, symbol, month_bounds(month)[0]) >= end
        marked = all(row["mark_price"] is not None for row in own)
        times = [
            FundingTime(symbol, row["ts"], Decimal(repr(row["rate"])), Decimal(repr(row["mark_price"]))) for row in own
        ]
        found[venue, symbol] = times if proven and marked else None
    return found, (rates,)


def read_backtests(
    lake: Lake, settings: Settings, strategies: Iterable[str]
) -> tuple[dict[str, Backtest], tuple[Snapshot, ...]]:
    """Return the backtest of each strategy whose candidate has one."""
    found, read = {}, []
    for name in sorted(strategies):
        if lake.has("candidate", name):
            recorded = lake.read("candidate", name)
            backtest, tried = read_backtest(lake, settings, candidate_from_table(recorded.rows))
            read += [recorded, *tried]
            if backtest is not None:
                found[name] = backtest
    return found, tuple(read)


def read_backtest(lake: Lake, settings: Settings, candidate: Candidate) -> tuple[Backtest | None, list[Snapshot]]:
    """Return the daily returns of the candidate's backtest at base costs, with its trials; None where there is none."""
    trials = TrialLedger(settings.ledger / TRIAL_LEDGER).count(candidate.strategy, candidate.universe)
    if not lake.has("backtest", candidate.name) or trials < 2:
        return None, []
    made = lake.read("backtest", candidate.name, where={"scenario": "base"})
    ts = made.rows["ts"].cast(pa.timestamp("us")).to_numpy()
    _, returns = daily_returns(ts, made.rows["equity"].to_numpy(), float(candidate.capital))
    return Backtest(returns, trials), [made]


def _expected(backtest: Backtest | None, capital: Decimal) -> Decimal | None:
    """Return what the deflated backtest expects of a day, in quote currency."""
    bps = math.nan if backtest is None else deflated_expectation(backtest.returns, backtest.trials)
    return capital * Decimal(repr(bps)) / 10_000 if math.isfinite(bps) else None


def bars_until(
    lake: Reader, candidate: Candidate, first: datetime, end: datetime
) -> tuple[Bars, list[Snapshot]] | None:
    """Return the candidate's bars from ``first`` to ``end``, whole months read; None where one was never materialized.

    A bar that is not there, or not yet, is NaN.
    """
    months = _months(first, end)
    if not all(set(months) <= set(lake.partitions(table)) for table in ("candles", "funding_rates")):
        return None
    candles = [
        lake.read("candles", months, where={"venue": candidate.venue, "symbol": each, "timeframe": candidate.timeframe})
        for each in candidate.universe
    ]
    funding = lake.read("funding_rates", months)
    rows = pa.concat_tables(each.rows for each in candles)
    within = pc.and_(pc.greater_equal(rows["ts"], first), pc.less(rows["ts"], end))
    paid = funding.rows.filter(pc.equal(funding.rows["venue"], candidate.venue))
    step = timeframe_length(candidate.timeframe)
    return align_bars(rows.filter(within), paid, candidate.universe, first, end, step), [*candles, funding]


def run_again(
    lake: Reader, candidate: Candidate, strategy: Strategy, start: datetime, end: datetime
) -> tuple[dict[SignalTime, float], list[Snapshot]]:
    """Return the signals of the bars that close in ``[start, end]``, by the strategy run again on the stored bars.

    None on a bar that is missing, where a month was never materialized, and of a strategy that makes markets.
    """
    step = timeframe_length(candidate.timeframe)
    parameters = candidate.own_parameters(strategy)
    first = start - max(_HISTORY, 3 * strategy.warm_up(parameters) * step)
    read = None if strategy.makes_markets else bars_until(lake, candidate, first, end)
    if read is None:
        return {}, []
    bars, snapshots = read
    signals = rerun_signals(candidate.name, strategy, parameters, bars, start - step)
    there = np.asarray(np.isfinite(bars.close).all(axis=1))
    return {each: weight for each, weight in signals.items() if there[(each.at - first) // step - 1]}, snapshots


def _months(first: datetime, end: datetime) -> list[str]:
    months, at = [], first
    while at < end:
        months.append(f"{at:%Y-%m}")
        at = month_bounds(months[-1])[1]
    return months
