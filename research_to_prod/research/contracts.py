"""The tables that research hands on: trials, backtests and validation.

Belongs here: declarations. Doesn't: how the rows come about.
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP, Column, PartitionBy, Schema

TRIALS = Schema(
    description="One parameter set of a candidate's search, tried on the candidate's whole window at base costs.",
    columns=(
        Column("candidate", pa.string(), "the candidate whose search it belongs to"),
        Column("trial_id", pa.string(), "digest of strategy, universe, timeframe and parameters"),
        Column("parameters", pa.string(), "the strategy's parameters as canonical JSON"),
        Column("sharpe_daily", pa.float64(), "mean over deviation of daily net returns", "1/sqrt(day)", nullable=True),
        Column("sharpe_annual", pa.float64(), "daily Sharpe ratio x sqrt(365)", "1/sqrt(year)", nullable=True),
        Column("max_drawdown", pa.float64(), "largest fall of equity from its peak, on bars", "fraction of the peak"),
        Column("n_days", pa.int64(), "UTC days in the return series", "days"),
        Column("returns", pa.list_(pa.float64()), "net returns of each UTC day in order", "fraction"),
    ),
    key=("candidate", "trial_id"),
    partition_by=PartitionBy("candidate"),
)

BACKTEST = Schema(
    description="One bar of the candidate's own parameters under one cost scenario.",
    columns=(
        Column("candidate", pa.string(), "the candidate"),
        Column("scenario", pa.string(), "base, costs_1.5x or costs_2x: what fees, spread and impact are multiplied by"),
        Column("ts", TIMESTAMP, "open time of the bar"),
        Column("equity", pa.float64(), "equity at the bar's close", "quote"),
        Column("net_return", pa.float64(), "change of equity over equity at the previous close", "fraction"),
        Column("price_pnl", pa.float64(), "profit from price changes", "quote"),
        Column("fees", pa.float64(), "trading fees, a cost (negative: a maker's rebate)", "quote"),
        Column("spread_cost", pa.float64(), "half-spread paid, a cost", "quote"),
        Column("impact_cost", pa.float64(), "market impact, a cost", "quote"),
        Column("funding", pa.float64(), "funding received (negative: paid)", "quote"),
        Column("borrow_cost", pa.float64(), "paid for units borrowed to be short of a spot market, a cost", "quote"),
        Column("liquidation_cost", pa.float64(), "liquidation fees, a cost", "quote"),
        Column("turnover", pa.float64(), "traded notional over equity at the bar's open", "fraction"),
        Column("gross_exposure", pa.float64(), "sum of absolute position values over equity at the close", "fraction"),
        Column("units", pa.list_(pa.float64()), "held at the close in each market, in the universe's order", "base"),
    ),
    key=("candidate", "scenario", "ts"),
    partition_by=PartitionBy("candidate"),
)

VALIDATION = Schema(
    description="One number of one validation study of a candidate.",
    columns=(
        Column("candidate", pa.string(), "the candidate"),
        Column("study", pa.string(), "walk_forward_anchored, cpcv, neighbourhood, latency_stress, ..."),
        Column("item", pa.string(), "fold, split, path, rank, parameter or stress; all: the study's summary"),
        Column("metric", pa.string(), "what the number is; Sharpe ratios are annual, means are of a day"),
        Column("value", pa.float64(), "the number; null: it could not be computed", "the metric's", nullable=True),
        Column("reason", pa.string(), "why there is no number; empty where there is one"),
    ),
    key=("candidate", "study", "item", "metric"),
    partition_by=PartitionBy("candidate"),
)
