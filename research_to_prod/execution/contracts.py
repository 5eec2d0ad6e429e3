"""What the desk's own records and the venue's records of its trades hold.

Belongs here: the declared tables that the desk delivers and the venue's fills, with meaning and unit of every column.
Doesn't: reading files (inbox), ccxt shapes (venue_records), and anything computed from them.

Money, prices and quantities are exact decimals, because they are reconciled; quotes, signals and the model's side are
float64, because they are only ever benchmarks. The venue's clock and ours are two columns wherever both exist.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from research_to_prod.lake.schema import DECIMAL, TIMESTAMP, Column, PartitionBy, Schema

_TEXT = pa.string()
_DAY = "%Y-%m-%d"

_STRATEGY = Column("strategy", _TEXT, "name of the strategy that decided")
_VENUE = Column("venue", _TEXT, "venue name as in the universe file")
_SYMBOL = Column("symbol", _TEXT, "ccxt unified symbol, BTC/USDT or BTC/USDT:USDT")
_SIDE = Column("side", pa.int64(), "+1 buy, -1 sell", "sign")
_VENUE_ORDER = Column("venue_order_id", _TEXT, "the venue's id of the (child) order that was filled")
# An inverse contract (BTC/USD:BTC) is counted in money and not in coins: a quantity of 100 is 100 USD.
_UNITS = "base units; quote units for an inverse contract"
_QUANTITY = Column("quantity", DECIMAL, "filled quantity, positive", _UNITS)
_PRICE = Column("price", DECIMAL, "fill price", "quote per base unit")
_LIQUIDITY = Column("liquidity", _TEXT, "'maker' or 'taker'")
_FEE = Column("fee", DECIMAL, "fee charged; a rebate is negative", "fee_currency")
_FEE_CURRENCY = Column("fee_currency", _TEXT, "currency in which the fee was charged")

LIQUIDITY_FLAGS = ("maker", "taker", "unknown")
FORCED_FLAGS = ("liquidation", "adl")
ORDER_EVENT_TYPES = ("sent", "new", "replaced", "fill", "cancel_sent", "cancelled", "expired", "rejected")
ENTRY_TYPES = (
    "deposit", "withdrawal", "transfer", "trade", "realized_pnl", "fee", "funding", "interest", "liquidation",
    "conversion", "other",
)  # fmt: skip

DECISIONS = Schema(
    description="One decision of a strategy to trade or not to trade, sent or not.",
    columns=(
        Column("decision_id", _TEXT, "the desk's id of the decision"),
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        Column("decided_at", TIMESTAMP, "when the strategy decided, our clock"),
        _SIDE,
        Column("target_quantity", DECIMAL, "quantity that the strategy wanted to trade, positive", _UNITS),
        Column("reference_bid", DECIMAL, "best bid that the strategy saw", "quote per base unit"),
        Column("reference_ask", DECIMAL, "best ask that the strategy saw", "quote per base unit"),
        Column("sent", pa.bool_(), "whether a parent order was sent"),
        Column("reason", _TEXT, "why it was not sent, or what made it special", nullable=True),
        Column("signal", pa.float64(), "what it saw, such as a target weight", "the strategy's own", nullable=True),
        Column("horizon_seconds", pa.float64(), "over which time the edge is expected", "seconds", nullable=True),
        Column("model_cost_bps", pa.float64(), "price cost that the model expected", "bp of value", nullable=True),
        Column("model_fee_bps", pa.float64(), "fee that the model expected", "bp of value", nullable=True),
        Column("expected_edge_bps", pa.float64(), "profit expected before costs", "bp of value", nullable=True),
        Column("code_sha", _TEXT, "commit of the code that decided", nullable=True),
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
        Column("quantity", DECIMAL, "quantity ordered, positive", _UNITS),
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
        replace(_VENUE_ORDER, nullable=True),
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        _SIDE,
        _QUANTITY,
        _PRICE,
        Column("liquidity", _TEXT, "'maker', 'taker', or 'unknown' where the source does not tell"),
        _FEE,
        _FEE_CURRENCY,
        Column("filled_at", TIMESTAMP, "when the trade happened, the venue's clock"),
        Column("received_at", TIMESTAMP, "when we learned of it, our clock; null where nobody noted it", nullable=True),
        Column("forced", _TEXT, "'liquidation' or 'adl' where the venue closed the position", nullable=True),
        Column("remark", _TEXT, "the source's own words on the fill, such as Close Long", nullable=True),
    ),
    key=("venue", "symbol", "fill_id"),
    partition_by=PartitionBy("filled_at", _DAY),
)

ORDER_EVENTS = Schema(
    description="One thing that happened to a child order on its way: sent, live, filled, cancelled, refused.",
    columns=(
        Column("event_id", _TEXT, "the desk's id of the event"),
        Column("child_id", _TEXT, "the desk's id of the child order, as sent to the venue"),
        Column("venue_order_id", _TEXT, "the venue's id of the child order; null before it has one", nullable=True),
        Column("order_id", _TEXT, "the parent order"),
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        _SIDE,
        Column("event", _TEXT, f"what happened: {', '.join(ORDER_EVENT_TYPES)}"),
        Column("occurred_at", TIMESTAMP, "the venue's clock; null for what happened on our side", nullable=True),
        Column("received_at", TIMESTAMP, "when we did it or learned of it, our clock"),
        Column("price", DECIMAL, "limit, or price of the fill; null at market", "quote per base unit", nullable=True),
        Column("quantity", DECIMAL, "ordered; of a fill: filled; of an end: left undone, positive", _UNITS),
        Column("post_only", pa.bool_(), "whether it may only make", nullable=True),
        Column("queue_ahead", DECIMAL, "quantity before it at its price when it joined", _UNITS, nullable=True),
        Column("reject_code", _TEXT, "the venue's code of a refusal", nullable=True),
    ),
    key=("event_id",),
    partition_by=PartitionBy("received_at", _DAY),
)

QUOTES = Schema(
    description="One update of the best bid and ask of a market.",
    columns=(
        _VENUE,
        _SYMBOL,
        Column("quoted_at", TIMESTAMP, "when the quote was made, the venue's clock"),
        Column("received_at", TIMESTAMP, "when it reached us, our clock"),
        Column("sequence", pa.int64(), "the venue's update number; orders quotes of one instant", "order"),
        Column("bid", pa.float64(), "best bid", "quote per base unit"),
        Column("bid_size", pa.float64(), "quantity at the best bid", _UNITS),
        Column("ask", pa.float64(), "best ask", "quote per base unit"),
        Column("ask_size", pa.float64(), "quantity at the best ask", _UNITS),
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

VENUE_ORDERS = Schema(
    description="One order as the venue's own records state it, as far as it had come when they were read.",
    columns=(
        _VENUE,
        _SYMBOL,
        Column("venue_order_id", _TEXT, "the venue's id of the order; unique per venue and symbol only"),
        Column("client_order_id", _TEXT, "the name that whoever sent it gave it", nullable=True),
        _SIDE,
        Column("quantity", DECIMAL, "ordered quantity, positive", _UNITS),
        Column("filled", DECIMAL, "filled quantity", _UNITS),
        Column("price", DECIMAL, "limit; null at market", "quote per base unit", nullable=True),
        Column("order_type", _TEXT, "limit, market, or another word of the venue's"),
        Column("status", _TEXT, "open, closed (filled), canceled, expired or rejected"),
        Column("created_at", TIMESTAMP, "when it began, the venue's clock"),
        Column("updated_at", TIMESTAMP, "when it last changed, the venue's clock", nullable=True),
        Column("fetch_id", _TEXT, "the fetch that brought this row; its certificate says whether it was complete"),
    ),
    key=("venue", "symbol", "venue_order_id"),
    partition_by=PartitionBy("created_at", _DAY),
)

_MOMENT = Column("moment", _TEXT, "opening or closing: at the day's beginning or at its end")
_SNAPSHOT_AT = Column("snapshot_at", TIMESTAMP, "the instant of which the venue says it, the venue's clock")
_SNAPSHOT_DAY = Column("day", _TEXT, "UTC day, YYYY-MM-DD")
_ACCOUNT = Column("account", _TEXT, "wallet: spot or futures")
# What an account has now says more than the statement of a day that is over.
_NOW = "null in a day's statement"
_MANY = pa.list_(DECIMAL)
_PER_UNIT = "quote per base unit"
_FETCH = Column("fetch_id", _TEXT, "the fetch that brought this row; its certificate says whether it was complete")

VENUE_BALANCES = Schema(
    description="What a wallet held of an asset at the beginning or the end of a day; what has no row is zero.",
    columns=(
        _SNAPSHOT_DAY,
        _VENUE,
        _ACCOUNT,
        Column("asset", _TEXT, "currency"),
        _MOMENT,
        Column("amount", DECIMAL, "held, free or locked in orders", "asset"),
        _SNAPSHOT_AT,
        _FETCH,
        Column("margin_balance", DECIMAL, f"with the profit of open contracts; {_NOW}", "asset", nullable=True),
        Column("maintenance_margin", DECIMAL, f"what open contracts need of it; {_NOW}", "asset", nullable=True),
    ),
    key=("venue", "account", "asset", "moment"),
    partition_by=PartitionBy("day"),
)

VENUE_POSITIONS = Schema(
    description="What was held of a contract at the beginning or the end of a day; a flat market has no row.",
    columns=(
        _SNAPSHOT_DAY,
        _VENUE,
        _SYMBOL,
        _MOMENT,
        Column("position", DECIMAL, "held, negative when short", _UNITS),
        _SNAPSHOT_AT,
        _FETCH,
        Column("mark_price", DECIMAL, f"at what the venue values it; {_NOW}", _PER_UNIT, nullable=True),
        Column("liquidation_price", DECIMAL, f"mark at which it is closed, 0: none; {_NOW}", _PER_UNIT, nullable=True),
    ),
    key=("venue", "symbol", "moment"),
    partition_by=PartitionBy("day"),
)

VENUE_INCOME = Schema(
    description="One movement of money in a wallet besides spot trades, as the venue's own records state it.",
    columns=(
        _VENUE,
        _ACCOUNT,
        Column("income_id", _TEXT, "the venue's id of the movement; unique per wallet, type and asset only"),
        Column("income_type", _TEXT, "the venue's word, such as FUNDING_FEE or REALIZED_PNL; or deposit, withdrawal"),
        Column("asset", _TEXT, "of the amount"),
        Column("amount", DECIMAL, "into the wallet; negative out of it", "asset"),
        Column("symbol", _TEXT, "the contract that it came from, if one", nullable=True),
        Column("reference", _TEXT, "a trade id, a transaction, or the venue's remark", nullable=True),
        Column("booked_at", TIMESTAMP, "when it was booked, the venue's clock"),
        _FETCH,
    ),
    key=("venue", "account", "income_id", "income_type", "asset"),
    partition_by=PartitionBy("booked_at", _DAY),
)

VENUE_FEES = Schema(
    description="The terms of our account in a market, as the venue stated them when the day was read.",
    columns=(
        _SNAPSHOT_DAY,
        _VENUE,
        _SYMBOL,
        Column("maker_rate", DECIMAL, "fee of a maker; a rebate is negative", "fraction of value"),
        Column("taker_rate", DECIMAL, "fee of a taker", "fraction of value"),
        Column("stated_at", TIMESTAMP, "when the venue stated it, the venue's clock"),
        Column("lot", DECIMAL, "smallest step of a quantity; null where the venue states none", _UNITS, nullable=True),
        Column("margin_floors", _MANY, "values from which on each margin tier holds", "quote currency", nullable=True),
        Column(
            "margin_rates", _MANY, "share that a position in a tier must maintain", "fraction of value", nullable=True
        ),
        Column("margin_deductions", _MANY, "less this; of each tier", "quote currency", nullable=True),
    ),
    key=("venue", "symbol"),
    partition_by=PartitionBy("day"),
)

VENUE_RECORDS: dict[str, Schema] = {
    "venue_fills": VENUE_FILLS,
    "venue_orders": VENUE_ORDERS,
    "venue_balances": VENUE_BALANCES,
    "venue_positions": VENUE_POSITIONS,
    "venue_income": VENUE_INCOME,
    "venue_fees": VENUE_FEES,
}
"""What is read of each venue every day, by the name of its asset."""

POSITIONS = Schema(
    description="What the desk's systems believed a strategy to hold at an instant; a flat market is a row of zero.",
    columns=(
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        Column("held_at", TIMESTAMP, "the instant, our clock; what happened at it counts"),
        Column("position", DECIMAL, "held, negative when short", _UNITS),
        Column("entry_price", DECIMAL, "mean price of what is open", "quote per base unit", nullable=True),
        Column("mark_price", DECIMAL, "price at which it was valued", "quote per base unit", nullable=True),
    ),
    key=("strategy", "venue", "symbol", "held_at"),
    partition_by=PartitionBy("held_at", _DAY),
)

LEDGER_ENTRIES = Schema(
    description="One movement of money in one of the desk's accounts, from the venue's statement or the desk's books.",
    columns=(
        _VENUE,
        Column("account", _TEXT, "wallet or sub-account, such as spot or futures"),
        Column("entry_id", _TEXT, "the book's id of the movement; unique per venue and account only"),
        Column("booked_at", TIMESTAMP, "when it was booked, the venue's clock"),
        Column("entry_type", _TEXT, f"why it moved: {', '.join(ENTRY_TYPES)}"),
        Column("currency", _TEXT, "of the amount"),
        Column("amount", DECIMAL, "into the account; negative out of it", "currency"),
        Column("symbol", _TEXT, "the market that it came from, if one", nullable=True),
        Column("strategy", _TEXT, "the strategy that it belongs to, if one", nullable=True),
        Column("reference", _TEXT, "what caused it: a trade id, a transfer id, a funding time", nullable=True),
    ),
    key=("venue", "account", "entry_id"),
    partition_by=PartitionBy("booked_at", _DAY),
)

SHADOW_PNL = Schema(
    description="What the model would have held and earned in one period, where the desk computes that itself.",
    columns=(
        _STRATEGY,
        _VENUE,
        _SYMBOL,
        Column("started_at", TIMESTAMP, "start of the period; the open time of its bar"),
        Column("ended_at", TIMESTAMP, "end of the period"),
        Column("decision_id", _TEXT, "the decision that it follows, where there is one", nullable=True),
        Column("model_position", pa.float64(), "held during the period, negative when short", _UNITS),
        Column("gross_pnl", pa.float64(), "profit before costs", "currency"),
        Column("model_cost", pa.float64(), "price cost that the model assumed, positive", "currency"),
        Column("model_fee", pa.float64(), "fees that the model assumed; a rebate is negative", "currency"),
        Column("model_funding", pa.float64(), "funding that the model received; paid is negative", "currency"),
        Column("currency", _TEXT, "of all amounts"),
        Column("run_id", _TEXT, "the run of the model that made the row"),
        Column("code_sha", _TEXT, "commit of the model's code", nullable=True),
    ),
    key=("strategy", "venue", "symbol", "started_at"),
    partition_by=PartitionBy("started_at", _DAY),
)

FEE_SCHEDULES = Schema(
    description="The fees that the venue asked of our account for a market at an instant.",
    columns=(
        _VENUE,
        _SYMBOL,
        Column("stated_at", TIMESTAMP, "when the venue stated it"),
        Column("tier", _TEXT, "the venue's name of the tier", nullable=True),
        Column("maker_rate", DECIMAL, "fee of a maker; a rebate is negative", "fraction of value"),
        Column("taker_rate", DECIMAL, "fee of a taker", "fraction of value"),
        Column("volume_30d", DECIMAL, "traded value that the tier rests on", "quote units", nullable=True),
    ),
    key=("venue", "symbol", "stated_at"),
    partition_by=PartitionBy("stated_at", _DAY),
)

INBOX_KINDS: dict[str, Schema] = {
    "decisions": DECISIONS,
    "orders": ORDERS,
    "fills": FILLS,
    "quotes": QUOTES,
    "order_events": ORDER_EVENTS,
    "positions": POSITIONS,
    "ledger_entries": LEDGER_ENTRIES,
    "shadow_pnl": SHADOW_PNL,
    "fee_schedules": FEE_SCHEDULES,
}
"""Folder name in the desk's inbox -> the table it delivers."""

REQUIRED_KINDS = frozenset({"decisions", "orders", "fills", "quotes"})
"""Without these a day can't be measured at all; what else is not delivered leaves questions unanswered."""
