"""What the daily tables of live against model hold: shadow, waterfall, verdicts, drawdowns and failure modes.

Belongs here: declared tables. Doesn't: costs of single orders and fills (``contracts``), and how rows come about.
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import DECIMAL, TIMESTAMP, Column, PartitionBy, Schema

_TEXT = pa.string()
_COUNT = pa.int64()
_NUMBER = pa.float64()

_DAY = Column("day", _TEXT, "UTC day, YYYY-MM-DD")
_STRATEGY = Column("strategy", _TEXT, "name of the strategy that decided")
_MARKET = (
    _DAY,
    _STRATEGY,
    Column("venue", _TEXT, "venue name as in the universe file"),
    Column("symbol", _TEXT, "ccxt unified symbol"),
)
_EXCLUDED = Column("excluded_reason", _TEXT, "why numbers are missing; null when none is", nullable=True)


def _money(name: str, description: str) -> Column:
    return Column(name, DECIMAL, description, "quote currency, received positive", nullable=True)


def _price(name: str, description: str) -> Column:
    return Column(name, DECIMAL, description, "quote per base unit", nullable=True)


SHADOW = Schema(
    description="What one strategy's model and the strategy itself earned on one day in one market that it holds.",
    columns=(
        *_MARKET,
        Column("position_known", pa.bool_(), "false: what was held before the desk's first recorded day is taken as 0"),
        Column("opening_position", DECIMAL, "signed, at the day's start", "base units", nullable=True),
        Column("closing_position", DECIMAL, "signed, at the day's end", "base units", nullable=True),
        _price("opening_mid", "mid at the day's first midnight"),
        _price("closing_mid", "last mid before the day's second midnight"),
        _money("funding", "funding due on the positions of the day"),
        Column("capital", DECIMAL, "what a weight of 1 holds, by the candidate", "quote currency", nullable=True),
        _money("expected", "what the deflated backtest expects of a day in this market"),
        Column("cost_rate", DECIMAL, "price cost that the model charges", "fraction of value", nullable=True),
        Column("fee_rate", DECIMAL, "fee that the model charges", "fraction of value", nullable=True),
        _money("shadow", "the model's P&L: each order whole, at its decision's mid, at the model's charges"),
        _money("live", "P&L of the fills"),
        _money("selection", "what the unfilled missed beyond the filled's mean; null unless there were both"),
        Column("orders", _COUNT, "parent orders", "count"),
        Column("signals", _COUNT, "decisions held against the model run again on the stored bars", "count"),
        Column("diverging", pa.list_(pa.string()), "ids of the decisions on which the model decides otherwise"),
        Column("model_quantities", pa.list_(pa.float64()), "signed, what the model trades there instead", "base units"),
        _EXCLUDED,
    ),
    key=("strategy", "venue", "symbol"),
    partition_by=PartitionBy("day"),
)

PNL_WATERFALL = Schema(
    description="One step from what was expected of a strategy's day in a market to what the venue's records say.",
    columns=(
        *_MARKET,
        Column("step", _COUNT, "0: expected; then one cause after the other; the last one is the residual", "order"),
        Column("cause", _TEXT, "expected, a cause of the waterfall, or residual"),
        _money("amount", "what this step adds; a loss is negative. The residual is a break in the records, no cause"),
        _money("value", "P&L after this step: the value before it plus the amount, exactly"),
        _EXCLUDED,
    ),
    key=("strategy", "venue", "symbol", "step"),
    partition_by=PartitionBy("day"),
)

EDGE_VERDICTS = Schema(
    description="The answer to one question about one strategy, and the verdict that its three answers make.",
    columns=(
        _DAY,
        _STRATEGY,
        Column("question", _TEXT, "edge, execution or selection"),
        Column("verdict", _TEXT, "NORMAL, EXECUTION, EDGE, BOTH, SELECTION or INCONCLUSIVE, of all three questions"),
        Column("answer", _TEXT, "whether it does worse in this respect: YES, NO or UNKNOWN"),
        Column("days", _COUNT, "days of the record that this answer rests on", "days"),
        Column("orders", _COUNT, "parent orders of the record", "count"),
        Column("effect", _NUMBER, "estimated worsening", "see unit", nullable=True),
        Column("lower", _NUMBER, "lower bound of the effect that holds at every look", "see unit", nullable=True),
        Column("upper", _NUMBER, "upper bound of the effect that holds at every look", "see unit", nullable=True),
        Column("unit", _TEXT, "share of the expected edge, or bps of capital a day"),
        Column("days_to_decide", _COUNT, "days until this answer, or its estimate, can come", "days", nullable=True),
        Column("orders_to_decide", _COUNT, "orders in those days, at the rate so far", "count", nullable=True),
        Column("began", _COUNT, "day of the record on which a change began, from 0", "days", nullable=True),
        Column("effect_since", _NUMBER, "the effect since then", "see unit", nullable=True),
        Column("verdict_days", _COUNT, "days until the verdict can say more", "days", nullable=True),
        Column("verdict_orders", _COUNT, "orders in those days", "count", nullable=True),
        Column("reason", _TEXT, "the verdict in words"),
        Column("policy_sha256", _TEXT, "digest of the policy that judged"),
    ),
    key=("strategy", "question"),
    partition_by=PartitionBy("day"),
)

DRAWDOWNS = Schema(
    description="One part of one drawdown of a strategy's record; episode 0 is the record itself, with its card.",
    columns=(
        _DAY,
        _STRATEGY,
        Column("episode", _COUNT, "0: the record; then the deepest drawdowns, deepest first", "order"),
        Column("dimension", _TEXT, "all (the whole loss), component, symbol, venue or regime; of the record: day"),
        Column("value", _TEXT, "which component, symbol, venue, regime or day; all"),
        Column("peak_at", TIMESTAMP, "last high before the drawdown", nullable=True),
        Column("trough_at", TIMESTAMP, "its lowest point", nullable=True),
        Column("recovered_at", TIMESTAMP, "first return to the high; null while it is open", nullable=True),
        Column("seconds", _NUMBER, "from the high to the return there, or so far", "s", nullable=True),
        Column(
            "loss",
            DECIMAL,
            "peak to trough, a gain negative; day: below the high",
            "quote currency",
            nullable=True,
        ),
        Column("share", _NUMBER, "of the episode's loss", "fraction", nullable=True),
        Column("fraction", _NUMBER, "loss as a share of the equity at the peak", "fraction", nullable=True),
        Column("standing", _TEXT, "of the record: within, beyond or inconclusive", nullable=True),
        Column("reason", _TEXT, "why it stands so", nullable=True),
    ),
    key=("strategy", "episode", "dimension", "value"),
    partition_by=PartitionBy("day"),
)

FAILURE_MODES = Schema(
    description="The answer to one failure mode: in one market on the day, in one drawdown, or in the whole record.",
    columns=(
        _DAY,
        _STRATEGY,
        Column(
            "episode", _COUNT, "a drawdown's number in drawdowns; 0 for the record, and for the day's markets", "order"
        ),
        Column("venue", _TEXT, "venue of the market; all for a drawdown or the record"),
        Column("symbol", _TEXT, "ccxt unified symbol; all for a drawdown or the record"),
        Column("mode", _TEXT, "name of the failure mode, as in failure_modes.yaml"),
        Column("answer", _TEXT, "present, absent (every rule had its inputs) or unknown"),
        Column("days", _COUNT, "days that the answer rests on", "days"),
        Column("days_present", _COUNT, "days on which a market of the strategy showed it", "days"),
        Column("days_unknown", _COUNT, "further days on which it can't be excluded", "days"),
        Column("first_at", TIMESTAMP, "when it was first present", nullable=True),
        Column("last_at", TIMESTAMP, "when it was last present, exclusive", nullable=True),
        Column("severity", _NUMBER, "worst value over its threshold, on the day", "ratio", nullable=True),
        Column("evidence", _TEXT, "what was measured on the day, as JSON", nullable=True),
        Column("reason", _TEXT, "why it is unknown; empty otherwise"),
        Column("loss_share", _NUMBER, "share of the loss of the drawdowns on days with it", "fraction", nullable=True),
        Column("time_share", _NUMBER, "share of the record's days with it", "fraction", nullable=True),
        Column(
            "p_value",
            _NUMBER,
            "share of circular shifts of the losses that gather there as much",
            "fraction",
            nullable=True,
        ),
        Column("shifts", _COUNT, "shifts compared", "count", nullable=True),
        Column("policy_sha256", _TEXT, "digest of the policy that judged"),
    ),
    key=("strategy", "episode", "venue", "symbol", "mode"),
    partition_by=PartitionBy("day"),
)
