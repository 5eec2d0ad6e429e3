"""The tables of market data: columns, units, keys and partitioning.

Belongs here: declarations only. Doesn't: rules about values (``bar_contract`` holds what a valid bar is) and
anything that reads or computes.
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import MONTH_OF_TS, TIMESTAMP, Column, PartitionBy, Schema

MARKET_KEY = ("venue", "symbol", "timeframe")
"""What names one series of bars."""

BAR_KEY = (*MARKET_KEY, "ts")
"""What names one bar."""

BAR_VALUES = ("open", "high", "low", "close", "volume")
"""The measured columns of a bar."""

FETCHED_KEY = (*MARKET_KEY, "fetch_id", "page", "row")
"""Where a raw row came from."""

_MARKET = (
    Column("venue", pa.string(), "name of the venue in universe.yaml"),
    Column("symbol", pa.string(), "ccxt unified symbol, such as BTC/USDT or BTC/USDT:USDT"),
    Column("timeframe", pa.string(), "length of one bar as ccxt writes it, such as 1h"),
)
_TS = Column("ts", TIMESTAMP, "time at which the bar opens", "UTC")


def _values(*, nullable: bool) -> tuple[Column, ...]:
    price = "quote currency per base unit"
    return (
        Column("open", pa.float64(), "price of the first trade", price, nullable),
        Column("high", pa.float64(), "highest price traded", price, nullable),
        Column("low", pa.float64(), "lowest price traded", price, nullable),
        Column("close", pa.float64(), "price of the last trade", price, nullable),
        Column("volume", pa.float64(), "amount traded", "base units", nullable),
    )


_FETCHED = (
    Column("fetch_id", pa.string(), "digest of the fetch, as in fetch_certificates"),
    Column("page", pa.int64(), "page of the fetch, or file of a file source, from 0", "order"),
    Column("row", pa.int64(), "position in the page or the file as sent, from 0", "order"),
)

RAW_CANDLES = Schema(
    description="One bar exactly as the venue or the vendor's file sent it, defects and repetitions included.",
    columns=(*_MARKET, _TS, *_values(nullable=True), *_FETCHED),
    key=FETCHED_KEY,
    partition_by=MONTH_OF_TS,
)

CANDLES = Schema(
    description="One bar that passed the contract of bars; one per market and time.",
    columns=(
        *_MARKET,
        _TS,
        *_values(nullable=False),
        Column(
            "repair",
            pa.string(),
            "id of the repair that put this bar here; null for a bar as the venue sent it",
            nullable=True,
        ),
    ),
    key=BAR_KEY,
    # Three days a file: one day is replaced in a tenth of the month's time, and one market's month still comes out as
    # from one file. With a day a file that takes three times as long, with five a day takes half as long again.
    partition_by=PartitionBy("ts", "%Y-%m", slice_days=3),
)

CANDLE_QUARANTINE = Schema(
    description="One raw row that did not pass the contract of bars, with the rules it broke.",
    columns=(
        *RAW_CANDLES.columns,
        Column(
            "repair",
            pa.string(),
            "id of the repair that took this row out, or that says of a copy that someone looked; null without one",
            nullable=True,
        ),
        Column("rule", pa.string(), "names of the broken rules, joined by commas; masked: taken out by a repair"),
    ),
    key=FETCHED_KEY,
    partition_by=MONTH_OF_TS,
)

REPAIRS = Schema(
    description="One declared repair that touches the month, as its file stood when the month was made.",
    columns=(
        Column("id", pa.string(), "id of the repair: the name of its file"),
        Column("month", pa.string(), "the month it was applied to, YYYY-MM"),
        Column("kind", pa.string(), "drop_exact_duplicates, resort, fill_from or mask"),
        Column("author", pa.string(), "who declared it"),
        Column("reason", pa.string(), "why, in the author's words"),
        Column("declared_at", TIMESTAMP, "when it was declared, as the file says", "UTC"),
        *_MARKET,
        Column("start", TIMESTAMP, "first open that it touches", "UTC"),
        Column("end", TIMESTAMP, "open after the last one that it touches", "UTC"),
        Column("rules", pa.string(), "names of the quality findings that it answers, joined by commas"),
        Column("bars", pa.int64(), "bars of the month that it masked, filled, or found repeated or late", "bars"),
        Column("file_sha256", pa.string(), "SHA-256 of the file"),
        Column("file_text", pa.string(), "the whole file: an audit reads again what was applied"),
    ),
    key=("id",),
    partition_by=PartitionBy("month"),
)

FUNDING_RATES = Schema(
    description="One funding payment of a perpetual: what a long position paid at that time.",
    columns=(
        *_MARKET[:2],
        Column("ts", TIMESTAMP, "time of the payment; venues stamp it up to some milliseconds off the hour", "UTC"),
        Column("rate", pa.float64(), "payment of a long position, negative when it receives", "fraction of notional"),
        Column("mark_price", pa.float64(), "mark price at the payment", "quote currency per base unit", nullable=True),
        Column("fetch_id", pa.string(), "digest of the fetch, as in fetch_certificates"),
    ),
    key=("venue", "symbol", "ts"),
    partition_by=MONTH_OF_TS,
)

_DAY_OF_TS = PartitionBy("ts", "%Y-%m-%d")

TRADES = Schema(
    description="One public trade as the venue or the vendor's file reported it.",
    columns=(
        *_MARKET[:2],
        Column("trade_id", pa.string(), "the venue's id; null where the source has none", nullable=True),
        Column("ts", TIMESTAMP, "time of the trade, the venue's clock", "UTC"),
        Column("price", pa.float64(), "price traded", "quote currency per base unit", nullable=True),
        Column("amount", pa.float64(), "amount traded", "base units", nullable=True),
        Column("side", pa.int64(), "side of the aggressor, +1 buy, -1 sell; null where unknown", "sign", nullable=True),
        *_FETCHED,
    ),
    # Not the id: some sources have none, and two of their rows that are alike in everything are two trades.
    key=("venue", "symbol", "fetch_id", "page", "row"),
    partition_by=_DAY_OF_TS,
)

BOOK = Schema(
    description="One level of one snapshot of the order book.",
    columns=(
        *_MARKET[:2],
        Column("ts", TIMESTAMP, "the venue's stamp of the snapshot, or its clock before the request", "UTC"),
        Column("side", pa.string(), "bid or ask"),
        Column("level", pa.int64(), "place from the best price on, from 0", "order"),
        Column("price", pa.float64(), "price of the level", "quote currency per base unit"),
        Column("size", pa.float64(), "amount offered at the level", "base units"),
    ),
    key=("venue", "symbol", "ts", "side", "level"),
    partition_by=_DAY_OF_TS,
)

MARKET_QUALITY = Schema(
    description="How complete and plausible one month of one market is; each rule is defined in market_data.quality.",
    columns=(
        *_MARKET,
        Column("month", pa.string(), "the month judged, YYYY-MM"),
        Column("first_expected_at", TIMESTAMP, "open of the first expected bar", "UTC", nullable=True),
        Column("last_expected_at", TIMESTAMP, "open of the last expected bar", "UTC", nullable=True),
        Column("expected_bars", pa.int64(), "bars that the grid of the timeframe asks for", "bars"),
        Column("valid_bars", pa.int64(), "expected bars that are present and passed the contract", "bars"),
        Column("filled_bars", pa.int64(), "valid bars that a declared repair filled from another market", "bars"),
        Column("missing_bars", pa.int64(), "expected bars that are not valid bars", "bars"),
        Column(
            "unknown_bars",
            pa.int64(),
            "expected bars that no complete fetch covers: nothing proves them absent",
            "bars",
        ),
        Column("gap_runs", pa.int64(), "runs of consecutive missing bars", "runs"),
        Column("longest_gap_bars", pa.int64(), "length of the longest run of missing bars", "bars"),
        Column("duplicates", pa.int64(), "quarantined rows that repeat another row's market and time", "rows"),
        Column("quarantined_rows", pa.int64(), "rows in quarantine, for any rule", "rows"),
        Column("zero_volume_bars", pa.int64(), "valid bars without any volume", "bars"),
        Column("stale_runs", pa.int64(), "runs of at least 3 bars with one close and no volume", "runs"),
        Column("longest_stale_bars", pa.int64(), "length of the longest stale run", "bars"),
        Column(
            "outlier_returns",
            pa.int64(),
            "returns with a robust z-score beyond 10; null when the month cannot scale them",
            "returns",
            nullable=True,
        ),
        Column(
            "completeness",
            pa.float64(),
            "valid / expected; a filled bar counts, because a named person declared its repair; null when nothing is "
            "expected or any bar is unknown",
            "fraction",
            nullable=True,
        ),
        Column("gaps", pa.string(), "each gap as its first missing open and its length: 2018-02-08T01:00Z +33; ..."),
    ),
    key=MARKET_KEY,
    partition_by=PartitionBy("month"),
)

MARKET_FINDINGS = Schema(
    description="One reason to doubt one month of one market; each rule is defined in market_data.rules.",
    columns=(
        *_MARKET,
        Column("month", pa.string(), "the month examined, YYYY-MM"),
        Column("rule", pa.string(), "name of the rule"),
        Column("level", pa.string(), "error: no decision may rest on it; warning: look at it; info: know it"),
        Column("against", pa.string(), "the series it was found against, such as kraken BTC/USDT 1h; empty for none"),
        Column("first_at", TIMESTAMP, "open of the first bar concerned", "UTC"),
        Column("last_at", TIMESTAMP, "open of the last bar concerned", "UTC"),
        Column("rows", pa.int64(), "bars or rows concerned", "rows"),
        Column("value", pa.float64(), "what was measured", "as in unit"),
        Column("threshold", pa.float64(), "the policy's threshold", "as in unit"),
        Column("unit", pa.string(), "unit of value and threshold"),
        Column("confidence", pa.float64(), "how sure it is that the stated cause is the true one", "fraction"),
        Column("what", pa.string(), "what was found, and where"),
        Column("cost", pa.string(), "what it costs to use the data anyway"),
        Column("remedy", pa.string(), "what would settle it"),
        Column("resolved_by", pa.string(), "declared repair that settles it; null while none does", nullable=True),
    ),
    key=(*MARKET_KEY, "rule", "first_at", "against"),
    partition_by=PartitionBy("month"),
)

LIQUIDITY_METRICS = ("volume", "volatility", "spread", "depth")
"""What a liquidity profile measures, each as a natural logarithm; defined in market_data.liquidity."""

_LOG_OF = {
    "volume": "quote currency a bar",
    "volatility": "fraction per square root of an hour",
    "spread": "basis points of mid",
    "depth": "quote currency within, or for each, 10 basis points",
}


def _metric(name: str) -> tuple[Column, ...]:
    unit = f"ln({_LOG_OF[name]})"
    return (
        Column(f"{name}_med", pa.float64(), f"median of log {name}; null when unknown", unit, nullable=True),
        Column(f"{name}_s", pa.float64(), f"1.4826 MAD of log {name}; null when unknown", unit, nullable=True),
        Column(f"{name}_n", pa.int64(), "observations behind them", "observations"),
        Column(f"{name}_basis", pa.string(), "hour_of_week, hour_of_day where that has too few, none where both have"),
    )


LIQUIDITY_PROFILE = Schema(
    description="What one market's liquidity usually is at one hour of the week, from the eight weeks before the week.",
    columns=(
        *_MARKET,
        Column("week", pa.string(), "Monday of the week that the profile is for, YYYY-MM-DD"),
        Column("how", pa.int64(), "hour of the week, 0 to 167; 0 is Monday 00:00 UTC", "hours"),
        Column("regime", pa.string(), "thin, normal, deep or unknown, by the rank of the median volume in the week"),
        *(column for name in LIQUIDITY_METRICS for column in _metric(name)),
        Column("spread_is_proxy", pa.bool_(), "whether spread is estimated from bars instead of observed quotes"),
        Column("depth_is_proxy", pa.bool_(), "whether depth is estimated from bars instead of observed books"),
        Column("observed_to", TIMESTAMP, "end of the newest bar or quote of the market used", "UTC", nullable=True),
    ),
    key=("venue", "symbol", "how"),
    partition_by=PartitionBy("week"),
)

FETCH_CERTIFICATES = Schema(
    description="Proof that one fetch saw everything in its interval; without one, absent rows prove nothing.",
    columns=(
        Column("asset_partition", pa.string(), "asset and partition that the fetch fed, such as raw_candles-2023-01"),
        Column("fetch_id", pa.string(), "digest of venue, endpoint, scope, interval and the hashes of the bodies"),
        Column("venue", pa.string(), "name of the venue in universe.yaml"),
        Column("endpoint", pa.string(), "endpoint of the venue, or 'files'"),
        Column("scope", pa.string(), "what was asked for: the symbol, and the timeframe of bars"),
        Column("interval_start", TIMESTAMP, "start of the interval covered, inclusive", "UTC"),
        Column("interval_end", TIMESTAMP, "end of the interval covered, exclusive", "UTC"),
        Column("pages", pa.int64(), "pages or files read", "pages"),
        Column("rows", pa.int64(), "rows received within the interval", "rows"),
        Column(
            "terminal",
            pa.string(),
            "what ended the fetch. Proofs: empty_page, end_reached, caught_up (a page of known rows), end_of_file, "
            "empty_interval. None: history_cut (the venue no longer serves the start)",
        ),
        Column("complete", pa.bool_(), "whether the whole interval was seen"),
        Column("venue_clock_before", TIMESTAMP, "the venue's clock before the first page", "UTC", nullable=True),
        Column("venue_clock_after", TIMESTAMP, "the venue's clock after the last page", "UTC", nullable=True),
        Column("body_sha256", pa.string(), "SHA-256 over the SHA-256 of each body, in order"),
        Column("page_sha256", pa.list_(pa.string()), "SHA-256 of each body as received, in order"),
    ),
    key=("fetch_id",),
    partition_by=PartitionBy("asset_partition"),
)
