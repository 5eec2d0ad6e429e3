"""What the tables of post-trade attribution hold.

Belongs here: declared tables. Doesn't: how they are computed (slippage, parent_orders).
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP, Column, PartitionBy, Schema

_TEXT = pa.string()
_NUMBER = pa.float64()


def _cost(name: str, description: str) -> Column:
    return Column(name, _NUMBER, description, "quote currency, cost positive", nullable=True)


def _mid(name: str, description: str) -> Column:
    return Column(name, _NUMBER, description, "quote per base unit", nullable=True)


def _benchmark(name: str, description: str) -> Column:
    return Column(name, _NUMBER, description, "quote per base unit", nullable=True)


REVERSION_SECONDS = (60, 300, 1800)
"""When temporary and permanent cost are told apart: no horizon is the truth, so each is stated."""

SLIPPAGE = Schema(
    description="What one parent order cost against its decision price, by component; costs null where excluded.",
    columns=(
        Column("order_id", _TEXT, "the desk's id of the parent order"),
        Column("strategy", _TEXT, "name of the strategy that decided"),
        Column("venue", _TEXT, "venue name as in the universe file"),
        Column("symbol", _TEXT, "ccxt unified symbol"),
        Column("side", pa.int64(), "+1 buy, -1 sell", "sign"),
        Column("sent_at", TIMESTAMP, "when the order was sent, our clock"),
        Column("ended_at", TIMESTAMP, "when the order ended, our clock; a day's costs are those of orders ended in it"),
        Column("quantity", _NUMBER, "quantity ordered", "base units; quote units of an inverse contract"),
        Column("fills", pa.int64(), "number of fills", "count"),
        Column("filled_quantity", _NUMBER, "quantity filled", "base units; quote units of an inverse contract"),
        _mid("decision_mid", "mid that stood when the strategy decided"),
        _mid("arrival_mid", "mid that stood when the order was live at the venue"),
        _mid("end_mid", "mid that stood when the order ended"),
        _cost("delay_filled", "price move from decision to arrival, on the filled part"),
        _cost("delay_unfilled", "price move from decision to arrival, on the unfilled part"),
        _cost("timing", "price move from arrival to each fill"),
        _cost("spread", "from mid to touch at each fill"),
        _cost("impact", "from touch to price at each fill; negative is price improvement"),
        _cost("fees", "fees less rebates"),
        _cost("opportunity", "price move from arrival to end, on the unfilled part"),
        _cost("total", "implementation shortfall (Perold), computed apart from the components"),
        _cost("residual", "total less the sum of the components; at most 1e-9 (1 + |total|)"),
        Column("order_value", _NUMBER, "quantity x decision mid", "quote currency", nullable=True),
        Column("executed_value", _NUMBER, "sum of filled quantity x price", "quote currency", nullable=True),
        Column("total_bps_of_order_value", _NUMBER, "total / order value", "bps", nullable=True),
        Column("total_bps_of_executed_value", _NUMBER, "total / executed value", "bps", nullable=True),
        _benchmark("average_price", "average price of the fills; harmonic for an inverse contract"),
        _benchmark("interval_vwap", "VWAP of the public tape from arrival to end; null above 30 % own share"),
        _benchmark("interval_twap", "time-weighted last traded price from arrival to end"),
        _benchmark("close_price", "last trade of the UTC day in which the order ended"),
        _benchmark("pwp", "VWAP from arrival until ten times the filled quantity had traded"),
        Column("interval_volume", _NUMBER, "volume of the tape from arrival to end", "base units", nullable=True),
        Column("own_share_of_volume", _NUMBER, "filled quantity / interval volume", "fraction", nullable=True),
        Column(
            "worse_volume_share", _NUMBER, "share of that volume at worse prices than ours", "fraction", nullable=True
        ),
        *(
            _cost(f"{kind}_{seconds}s", f"{what} {seconds} s after the end; null where no quote stood then")
            for seconds in REVERSION_SECONDS
            for kind, what in (
                ("temporary", "what of the cost against arrival came back by"),
                ("permanent", "what of the cost against arrival stayed by"),
            )
        ),
        _cost("against_decision", "the filled part against the decision mid"),
        _cost("against_arrival", "the filled part against the arrival mid"),
        _cost("against_interval_vwap", "the filled part against the interval VWAP"),
        _cost("against_interval_twap", "the filled part against the interval TWAP"),
        _cost("against_close_price", "the filled part against the close"),
        _cost("against_pwp", "the filled part against the participation-weighted price"),
        Column("excluded_reason", _TEXT, "why this order has no costs; null when it has", nullable=True),
    ),
    key=("order_id",),
    partition_by=PartitionBy("ended_at", "%Y-%m-%d"),
)


def _gain(name: str, description: str) -> Column:
    return Column(name, _NUMBER, description, "quote currency, gain positive", nullable=True)


MARKOUTS = Schema(
    description="What the market did until one horizon after one fill; measures null where excluded.",
    columns=(
        Column("venue", _TEXT, "venue name as in the universe file"),
        Column("symbol", _TEXT, "ccxt unified symbol"),
        Column("fill_id", _TEXT, "the venue's trade id as text; unique per venue and symbol only"),
        Column("horizon_seconds", pa.int64(), "time from the fill to the mid after it", "s"),
        Column("order_id", _TEXT, "the parent order; fills of one parent are no independent observations"),
        Column("strategy", _TEXT, "name of the strategy that decided"),
        Column("liquidity", _TEXT, "'maker' or 'taker'"),
        Column("side", pa.int64(), "+1 buy, -1 sell", "sign"),
        Column("filled_at", TIMESTAMP, "when the trade happened, the venue's clock"),
        Column("matured_at", TIMESTAMP, "when the longest horizon ended; decides the partition"),
        Column("quantity", _NUMBER, "filled quantity", "base units; quote units of an inverse contract"),
        Column("price", _NUMBER, "fill price", "quote per base unit"),
        Column("value", _NUMBER, "quantity x price", "quote currency"),
        _mid("mid", "mid just before the fill"),
        _mid("mid_after", "mid at the horizon"),
        _gain("spread_capture", "side x quantity x (mid - price)"),
        _cost("adverse_selection", "-side x quantity x (mid after - mid)"),
        _gain("net_markout", "side x quantity x (mid after - price): capture less adverse selection"),
        _cost("fee", "fee; a rebate is negative"),
        _gain("net_after_fee", "net markout less fee"),
        Column("excluded_reason", _TEXT, "why there are no measures; null when there are", nullable=True),
    ),
    key=("venue", "symbol", "fill_id", "horizon_seconds"),
    partition_by=PartitionBy("matured_at", "%Y-%m-%d"),
)


def _milliseconds(name: str, description: str) -> Column:
    return Column(name, _NUMBER, description, "ms", nullable=True)


LATENCY_COSTS = Schema(
    description="How long one parent order took from its decision to live, and what the price did meanwhile.",
    columns=(
        Column("order_id", _TEXT, "the desk's id of the parent order"),
        Column("strategy", _TEXT, "name of the strategy that decided"),
        Column("venue", _TEXT, "venue name as in the universe file"),
        Column("symbol", _TEXT, "ccxt unified symbol"),
        Column("ended_at", TIMESTAMP, "when the order ended, our clock; decides the partition"),
        _milliseconds("decision_to_sent_ms", "from decision to sending, our clock: the desk's own systems"),
        _milliseconds("sent_to_live_ms", "from sending to learning that it is live, our clock: way and venue"),
        _milliseconds("decision_to_live_ms", "the two together"),
        _milliseconds("venue_to_us_ms", "median over its child orders: live by the venue's clock, known by ours"),
        Column("child_orders", pa.int64(), "child orders that went live, by the order events", "count", nullable=True),
        Column("order_value", _NUMBER, "quantity x decision mid", "quote currency", nullable=True),
        _cost("before_sending", "price move from decision to sending, on the whole order"),
        _cost("on_the_way", "price move from sending to live, on the whole order"),
        _cost("delay", "delay of the order as in slippage, on filled and unfilled: the sum of the two"),
        Column("unsplit_reason", _TEXT, "why the delay is not split at sending; null when it is", nullable=True),
        Column("excluded_reason", _TEXT, "why there is no cost at all; null when there is", nullable=True),
    ),
    key=("order_id",),
    partition_by=PartitionBy("ended_at", "%Y-%m-%d"),
)
