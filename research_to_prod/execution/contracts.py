"""What the desk's own records and the venue's records of its trades hold.

Belongs here: the declared tables of decisions, parent orders, fills, quotes and the venue's fills, with meaning and
unit of every column. Doesn't: reading files (inbox), ccxt shapes (venue_records), and anything computed from them.

Money, prices and quantities are exact decimals, because they are reconciled; quotes are float64, because they are
only ever benchmarks. The venue's clock and ours are two columns wherever both exist.
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import DECIMAL, TIMESTAMP, Column, PartitionBy, Schema

_TEXT = pa.string()
_DAY = "%Y-%m-%d"

_STRATEGY = Column("strategy", _TEXT, "name of the strategy that decided")
_VENUE = Column("venue", _TEXT, "venue name as in the universe file")
_SYMBOL = Column("symbol", _TEXT, "ccxt unified symbol, BTC/USDT or BTC/USDT:USDT")
_SIDE = Column("side", pa.int64(), "+1 buy, -1 sell", "sign")
_VENUE_ORDER = Column("venue_order_id", _TEXT, "the venue's id of the (child) order that was filled")
_QUANTITY = Column("quantity", DECIMAL, "filled quantity, positive", "base units")
_PRICE = Column("price", DECIMAL, "fill price", "quote per base unit")
_LIQUIDITY = Column("liquidity", _TEXT, "'maker' or 'taker'")
_FEE = Column("fee", DECIMAL, "fee charged; a rebate is negative", "fee_currency")
_FEE_CURRENCY = Column("fee_currency", _TEXT, "currency in which the fee was charged")

DECISIONS = Schema(
    description="One decision of a strategy to trade or not to trade, sent or not.",
    columns=(
        Column("decision_id", _TEXT, "the desk's id of the decision"),
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        Column("decided_at", TIMESTAMP, "when the strategy decided, our clock"),
        _SIDE,
        Column("target_quantity", DECIMAL, "quantity that the strategy wanted to trade, positive", "base units"),
        Column("reference_bid", DECIMAL, "best bid that the strategy saw", "quote per base unit"),
        Column("reference_ask", DECIMAL, "best ask that the strategy saw", "quote per base unit"),
        Column("sent", pa.bool_(), "whether a parent order was sent"),
        Column("reason", _TEXT, "why it was not sent, or what made it special", nullable=True),
    ),
    key=("decision_id",),
    partition_by=PartitionBy("decided_at", _DAY),
)

ORDERS = Schema(
    description="One parent order: a decision on its way to the venue, however many child orders it took.",
    columns=(
        Column("order_id", _TEXT, "the desk's id of the parent order"),
        Column("decision_id", _TEXT, "the decision that it carries out"),
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        _SIDE,
        Column("quantity", DECIMAL, "quantity ordered, positive", "base units"),
        Column("style", _TEXT, "how it is worked: maker, taker, twap, pov, sweep"),
        Column("limit_price", DECIMAL, "worst acceptable price", "quote per base unit", nullable=True),
        Column("sent_at", TIMESTAMP, "when we sent it, our clock"),
        Column("acknowledged_at", TIMESTAMP, "when we learned that it is live at the venue, our clock", nullable=True),
        Column("ended_at", TIMESTAMP, "last fill, cancel or expiry, our clock"),
        Column("end_reason", _TEXT, "filled, cancelled, expired, rejected"),
    ),
    key=("order_id",),
    partition_by=PartitionBy("sent_at", _DAY),
)

FILLS = Schema(
    description="One fill as the desk's own systems recorded it.",
    columns=(
        Column("fill_id", _TEXT, "the venue's trade id as text; unique per venue and symbol only"),
        Column("order_id", _TEXT, "the parent order"),
        _VENUE_ORDER,
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        _SIDE,
        _QUANTITY,
        _PRICE,
        _LIQUIDITY,
        _FEE,
        _FEE_CURRENCY,
        Column("filled_at", TIMESTAMP, "when the trade happened, the venue's clock"),
        Column("received_at", TIMESTAMP, "when we learned of it, our clock"),
    ),
    key=("venue", "symbol", "fill_id"),
    partition_by=PartitionBy("filled_at", _DAY),
)

QUOTES = Schema(
    description="One update of the best bid and ask of a market.",
    columns=(
        _VENUE,
        _SYMBOL,
        Column("quoted_at", TIMESTAMP, "when the quote was made, the venue's clock"),
        Column("received_at", TIMESTAMP, "when it reached us, our clock"),
        Column("sequence", pa.int64(), "the venue's update number; orders quotes of one instant"),
        Column("bid", pa.float64(), "best bid", "quote per base unit"),
        Column("bid_size", pa.float64(), "quantity at the best bid", "base units"),
        Column("ask", pa.float64(), "best ask", "quote per base unit"),
        Column("ask_size", pa.float64(), "quantity at the best ask", "base units"),
    ),
    key=("venue", "symbol", "quoted_at", "sequence"),
    partition_by=PartitionBy("quoted_at", _DAY),
)

VENUE_FILLS = Schema(
    description="One fill as the venue's own records state it.",
    columns=(
        _VENUE,
        _SYMBOL,
        Column("trade_id", _TEXT, "the venue's trade id; unique per venue and symbol only"),
        _VENUE_ORDER,
        _SIDE,
        _QUANTITY,
        _PRICE,
        _LIQUIDITY,
        _FEE,
        _FEE_CURRENCY,
        Column("traded_at", TIMESTAMP, "when the trade happened, the venue's clock"),
        Column("fetch_id", _TEXT, "the fetch that brought this row; its certificate says whether it was complete"),
    ),
    key=("venue", "symbol", "trade_id"),
    partition_by=PartitionBy("traded_at", _DAY),
)

INBOX_KINDS: dict[str, Schema] = {"decisions": DECISIONS, "orders": ORDERS, "fills": FILLS, "quotes": QUOTES}
"""Folder name in the desk's inbox -> the table it delivers."""
