"""What the lake's daily tables say at one moment, as measurements for the rules.

A rule whose input no table holds gets no measurement here, and is then told as its declaration says of no data.
Belongs here: one function a measurement. Doesn't: levels, and reading the lake.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, quantiles, stdev
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.operations.alerting.accounts import Accounts
from research_to_prod.operations.alerting.book_measures import BookDay, observe_book
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.market_measures import MarketDay, observe_market
from research_to_prod.operations.alerting.record_measures import observe_records
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.values import timeframe_length

Row = Mapping[str, Any]


@dataclass(frozen=True)
class DayTables:
    """The rows of one day; None for a table that has none of that day.

    Parameters
    ----------
    seen
        Of `events_seen` at the moment.
    candles, funding_rates
        Of the day's month, bars and payments of other days among them.
    certificates
        Of the venue's fills of the day.
    lags
        Age of the newest partition by table, in cadences.
    market, book
        What `market_measures` and `book_measures` rest on.
    accounts
        What is known of the venues' accounts; None where none was read.
    """

    seen: pa.Table | None
    orders: pa.Table | None
    fills: pa.Table | None
    venue_fills: pa.Table | None
    slippage: pa.Table | None
    shadow: pa.Table | None
    certificates: pa.Table | None
    positions: pa.Table | None
    candles: pa.Table | None
    funding_rates: pa.Table | None
    lags: Mapping[str, float]
    market: MarketDay | None = None
    book: BookDay | None = None
    accounts: Accounts | None = None


def events_seen(connection: duckdb.DuckDBPyConnection, moment: datetime) -> pa.Table:
    """Return when each market was last heard of before ``moment``, from the views ``quotes`` and ``trades``.

    Columns ``venue, symbol, newest, usual_gap`` (median seconds between events of the day so far) and ``crossed``
    (seconds for which the newest quotes have been crossed).
    """
    # Before, not at: what came at midnight is the next day's, and the views have it only once that day was delivered.
    # A day that was judged again then heard its markets 60 s later than the first time.
    return connection.execute(_SEEN, [moment, moment - timedelta(days=1)]).to_arrow_table()


_SEEN = """
WITH q AS (SELECT venue, symbol, quoted_at AS ts, bid >= ask AS crossed FROM quotes
           WHERE quoted_at >= $2 AND quoted_at < $1),
e AS (SELECT venue, symbol, ts FROM q UNION ALL SELECT venue, symbol, ts FROM trades WHERE ts >= $2 AND ts < $1),
g AS (SELECT *, epoch(ts - lag(ts) OVER (PARTITION BY venue, symbol ORDER BY ts)) AS gap FROM e),
s AS (SELECT venue, symbol, max(ts) FILTER (NOT crossed) AS sane, bool_or(crossed) AS any_crossed FROM q GROUP BY ALL)
SELECT venue, symbol, max(ts) AS newest, quantile_cont(gap, 0.5) FILTER (gap > 0) AS usual_gap,
       CASE WHEN max(s.any_crossed) AND max(ts) > max(s.sane) THEN epoch($1 - max(s.sane)) ELSE 0 END AS crossed
FROM g LEFT JOIN s USING (venue, symbol) GROUP BY ALL ORDER BY ALL
"""


def observe_day(tables: DayTables, moment: datetime) -> list[Observation]:
    """Return every measurement that ``tables`` hold at ``moment``, of nothing later than it."""
    return [each for measure in MEASURES for each in measure(tables, moment)]


def market_data(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield the age of the newest event, and how long quotes are crossed."""
    for row in _rows(tables.seen):
        subject = Subject(row["venue"], instrument=row["symbol"])
        age = (moment - row["newest"]).total_seconds()
        yield Observation("market_data_age", subject, age, moment, usual=row["usual_gap"])
        yield Observation("book_crossed", subject, row["crossed"], moment)


def gaps_of_bars(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield the age of the oldest missing bar of the last day."""
    for (venue, symbol, timeframe), rows in _grouped(tables.candles, "venue", "symbol", "timeframe").items():
        length = timeframe_length(timeframe)
        opens = {row["ts"] for row in rows}
        due = [moment - number * length for number in range(int(timedelta(days=1) / length), 0, -1)]
        missing = next((each for each in due if each not in opens), None)
        if opens and min(opens) <= due[0]:
            age = 0.0 if missing is None else (moment - missing - length).total_seconds()
            yield Observation("market_data_gap", Subject(venue, instrument=symbol), age, moment, evidence="candles")


def order_answers(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield how fast, how often and whether at all the venue answered."""
    yield from order_answers_of(tables.orders, moment)


def order_answers_of(orders: pa.Table | None, moment: datetime) -> Iterator[Observation]:
    """Yield the same from orders alone: parents of a finished day, or children of the running one."""
    sent = [row for row in _rows(orders) if row["sent_at"] <= moment]
    for (venue,), rows in _by(sent, "venue").items():
        late = [(moment - row["sent_at"]).total_seconds() for row in rows if not _known(row, moment)]
        yield Observation(
            "unknown_outcome_age", Subject(venue), max(late, default=0.0), moment, len(rows), None, "orders"
        )
        recent = [row for row in rows if _known(row, moment) and moment - row["sent_at"] <= timedelta(minutes=5)]
        took = [(row["acknowledged_at"] - row["sent_at"]).total_seconds() for row in recent if row["acknowledged_at"]]
        p95 = quantiles(took, n=20)[-1] if len(took) > 1 else None
        yield Observation("ack_latency", Subject(venue), p95 if took else 0.0, moment, len(took), None, "orders")
    for (strategy,), rows in _by(sent, "strategy").items():
        recent = [row for row in rows if moment - row["sent_at"] <= timedelta(minutes=15)]
        rejected = sum(row["end_reason"] == "rejected" for row in recent)
        share = rejected / len(recent) if recent else 0.0
        yield Observation("reject_rate", Subject(strategy=strategy), share, moment, len(recent), None, "orders")


def costs(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield slippage against what the strategy's model charges, standardised; and the dearest fill beyond 50 bp."""
    charged = {
        (row["strategy"], row["symbol"]): 1e4 * float(row["cost_rate"] + row["fee_rate"])
        for row in _rows(tables.shadow)
        if row["cost_rate"] is not None and row["fee_rate"] is not None
    }
    ended = [row for row in _rows(tables.slippage) if row["ended_at"] <= moment and row["excluded_reason"] is None]
    for (strategy,), rows in _by(ended, "strategy").items():
        subject = Subject(strategy=strategy)
        bps = "total_bps_of_executed_value"
        paid = [row for row in rows if row[bps] is not None]
        excess = [row[bps] - charged[key] for row in paid if (key := (strategy, row["symbol"])) in charged]
        spread = stdev(excess) if len(excess) > 1 else 0.0
        z = fmean(excess) / (spread / math.sqrt(len(excess))) if spread > 0 else None
        yield Observation("slippage_z", subject, z, moment, len(excess), None, "slippage")
        dear = [row["total"] for row in paid if row[bps] > 50]
        yield Observation("worst_fill_loss", subject, max(dear, default=0.0), moment, len(paid), None, "slippage")


def records(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield fees against the venue's, and fetches that are not complete."""
    for (venue,), rows in _grouped(tables.certificates, "venue").items():
        latest = sorted(rows, key=lambda row: (row["interval_end"], row["scope"]), reverse=True)
        run = next((place for place, row in enumerate(latest) if row["complete"]), len(latest))
        yield Observation("incomplete_fetches", Subject(venue), run, moment, len(rows), None, "fetch_certificates")
    ours, theirs = (
        {(row["venue"], row["symbol"], row[name]): row for row in _rows(table) if row[at] <= moment}
        for table, name, at in ((tables.fills, "fill_id", "filled_at"), (tables.venue_fills, "trade_id", "traded_at"))
    )
    both = [
        key for key in sorted(ours.keys() & theirs.keys()) if ours[key]["fee_currency"] == theirs[key]["fee_currency"]
    ]
    for venue in sorted({key[0] for key in both}):
        keys = [key for key in both if key[0] == venue]
        expected, charged = (sum(float(side[key]["fee"]) for key in keys) for side in (ours, theirs))
        off = abs(charged - expected) / abs(expected) if expected else None
        yield Observation("fee_mismatch", Subject(venue), off, moment, len(keys), None, "fills, venue_fills")


def accounts(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield what the records of the accounts say."""
    if tables.accounts is not None:
        yield from observe_records(tables.accounts, moment)


def carry(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield what the last known rate makes the next funding cost, and how far perpetual and spot are apart."""
    nets = _nets(tables.positions, moment)
    for (venue, symbol), rows in _grouped(tables.funding_rates, "venue", "symbol").items():
        past = [row for row in rows if moment - timedelta(days=1) <= row["ts"] <= moment]
        net = nets.get((venue, symbol))
        if past and net is not None:
            last = max(past, key=lambda row: row["ts"])
            paid = last["rate"] * math.copysign(1, net)
            subject = Subject(venue, instrument=symbol)
            yield Observation("funding_rate", subject, 1e4 * paid, moment, None, None, "funding_rates")
            yield Observation("funding_cost", subject, paid * abs(net), moment, None, None, "funding_rates")
    closes: dict[tuple[str, str], Row] = {}
    for row in _rows(tables.candles):
        if moment - timedelta(hours=2) <= row["ts"] < moment and row["ts"] >= closes.get(_place(row), row)["ts"]:
            closes[_place(row)] = row
    for (venue, symbol), row in sorted(closes.items()):
        spot = closes.get((venue, symbol.partition(":")[0]))
        if ":" in symbol and spot is not None and spot["ts"] == row["ts"]:
            bp = abs(1e4 * (row["close"] / spot["close"] - 1))
            yield Observation("basis", Subject(venue, instrument=symbol), bp, moment, None, None, "candles")


def lateness(tables: DayTables, moment: datetime) -> Iterator[Observation]:
    """Yield how far the graph is behind."""
    yield from lateness_of(tables.lags, moment)


def lateness_of(lags: Mapping[str, float], moment: datetime) -> Iterator[Observation]:
    """Yield what ages of the newest partitions, in cadences by table, amount to."""
    if lags:
        worst = max(lags, key=lambda each: (lags[each], each))
        yield Observation("asset_lag", Subject(), lags[worst], moment, None, None, worst)
        if "breaks" in lags:
            yield Observation("reconciliation_lag", Subject(), lags["breaks"], moment, None, None, "breaks")


MEASURES: tuple[Callable[[DayTables, datetime], Iterator[Observation]], ...] = (
    market_data,
    gaps_of_bars,
    order_answers,
    costs,
    records,
    accounts,
    carry,
    lateness,
    lambda tables, moment: observe_market(tables.market, moment),
    lambda tables, moment: observe_book(tables.book, moment),
)


def before(table: pa.Table | None, column: str, moment: datetime, days: int) -> pa.Table | None:
    """Return the rows of ``days`` days before ``moment``: a month of bars is more than a day needs."""
    if table is None:
        return None
    first = pa.scalar(moment - timedelta(days=days), TIMESTAMP)
    within = pc.and_(pc.greater_equal(table[column], first), pc.less_equal(table[column], pa.scalar(moment, TIMESTAMP)))
    return table.filter(within)


def _nets(positions: pa.Table | None, moment: datetime) -> dict[tuple[str, str], float]:
    """Return the value held by market, all strategies' together; a market without a mark is left out."""
    latest = {
        (*_place(row), row["strategy"]): row
        for row in sorted(_rows(positions), key=lambda row: row["held_at"])
        if row["held_at"] <= moment
    }
    nets: dict[tuple[str, str], float] = {}
    unmarked = {_place(row) for row in latest.values() if row["mark_price"] is None}
    for row in latest.values():
        if _place(row) not in unmarked:
            nets[_place(row)] = nets.get(_place(row), 0.0) + float(row["position"] * row["mark_price"])
    return nets


def _known(row: Row, moment: datetime) -> bool:
    """Whether by ``moment`` the venue had said what became of an order."""
    return any(row[name] is not None and row[name] <= moment for name in ("acknowledged_at", "ended_at"))


def _place(row: Row) -> tuple[str, str]:
    return row["venue"], row["symbol"]


def _rows(table: pa.Table | None) -> list[Row]:
    return [] if table is None else list(table.to_pylist())


def _grouped(table: pa.Table | None, *names: str) -> dict[tuple[str, ...], list[Row]]:
    return _by(_rows(table), *names)


def _by(rows: Iterable[Row], *names: str) -> dict[tuple[str, ...], list[Row]]:
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault(tuple(row[name] for name in names), []).append(row)
    return dict(sorted(grouped.items()))
