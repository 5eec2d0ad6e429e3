"""Which quote stood at an instant, against DuckDB's ASOF join as the oracle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.attribution.quote_match import StoredQuotes, Unmatched, match_quotes
from research_to_prod.execution.contracts import QUOTES
from research_to_prod.lake import Lake
from research_to_prod.lake.schema import TIMESTAMP

START = datetime(2026, 1, 2, tzinfo=UTC)
EVENTS = pa.schema([("venue", pa.string()), ("symbol", pa.string()), ("at", TIMESTAMP)])


def quote(ms: float, bid: float, ask: float, **changes: Any) -> dict[str, Any]:
    at = START + timedelta(milliseconds=ms)
    return {
        "venue": "sandbox",
        "symbol": "BTC/USDT",
        "quoted_at": at,
        "received_at": at + timedelta(milliseconds=100),
        "sequence": 1,
        "bid": bid,
        "bid_size": 1.0,
        "ask": ask,
        "ask_size": 1.0,
        **changes,
    }


def event(ms: float | None, symbol: str = "BTC/USDT", venue: str = "sandbox") -> dict[str, Any]:
    return {"venue": venue, "symbol": symbol, "at": None if ms is None else START + timedelta(milliseconds=ms)}


def match(events: list[dict[str, Any]], quotes: list[dict[str, Any]], clock: Any = "quoted_at", **limits: Any) -> Any:
    return match_quotes(
        pa.Table.from_pylist(events, schema=EVENTS),
        {"at": clock},
        [pa.Table.from_pylist(quotes, schema=QUOTES.arrow)],
        **limits,
    )["at"]


def test_a_quote_of_the_same_instant_is_not_before_it() -> None:
    found = match([event(1000)], [quote(0, 99, 101), quote(1000, 199, 201)])
    assert found.mid.tolist() == [100]
    assert found.age.tolist() == [timedelta(seconds=1)]


def test_of_quotes_of_one_instant_the_highest_sequence_stands() -> None:
    quotes = [quote(0, 3, 3, sequence=3), quote(0, 1, 1, sequence=1), quote(0, 2, 2, sequence=2)]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        assert match([event(1)], [quotes[each] for each in order]).mid.tolist() == [3]


def test_on_our_clock_a_quote_counts_once_it_has_arrived() -> None:
    quotes = [quote(0, 99, 101), quote(1000, 199, 201)]
    assert match([event(1050)], quotes, "quoted_at").mid.tolist() == [200]
    assert match([event(1050)], quotes, "received_at").mid.tolist() == [100]


def test_the_touch_is_what_a_taker_pays() -> None:
    found = match([event(1), event(1)], [quote(0, 99, 101)])
    assert found.touch(np.array([1, -1])).tolist() == [101, 99]


def test_every_exclusion_has_its_reason_and_is_counted() -> None:
    quotes = [quote(0, 99, 101), quote(10_000, 101, 99), quote(20_000, float("nan"), 1), quote(30_000, -1, 1)]
    events = [event(None), event(0), event(2000), event(2001), event(10_001), event(20_001), event(30_001)]
    events += [event(1, symbol="ETH/USDT"), event(1, venue="other")]
    found = match(events, quotes)
    no_time, no_quote, too_old, unusable = (each.text for each in Unmatched)
    reasons = [no_time, no_quote, None, too_old, unusable, unusable, unusable, no_quote, no_quote]
    assert found.why().to_pylist() == reasons
    assert found.exclusions() == {no_time: 1, no_quote: 3, too_old: 1, unusable: 3}
    assert np.isfinite(found.mid).tolist() == [reason is None for reason in reasons]
    assert np.isnat(found.age).tolist() == [reason is not None for reason in reasons]


def test_the_age_limit_is_an_input() -> None:
    assert match([event(5000)], [quote(0, 99, 101)]).why().to_pylist() == [Unmatched.TOO_OLD.text]
    assert match([event(5000)], [quote(0, 99, 101)], max_age=timedelta(seconds=5)).mid.tolist() == [100]


def test_no_quotes_and_no_events_are_no_error() -> None:
    assert match([event(1)], []).why().to_pylist() == [Unmatched.NO_QUOTE.text]
    assert match([], [quote(0, 1, 2)]).mid.tolist() == []


ORACLE = """
WITH last AS (
    SELECT venue, symbol, {clock} AS stood_at, max_by(bid, sequence) AS bid, max_by(ask, sequence) AS ask
    FROM quotes GROUP BY ALL
)
SELECT CASE WHEN e.at - q.stood_at <= INTERVAL 2 SECOND THEN q.bid END AS bid,
       CASE WHEN e.at - q.stood_at <= INTERVAL 2 SECOND THEN q.ask END AS ask
FROM events e ASOF LEFT JOIN last q ON e.venue = q.venue AND e.symbol = q.symbol AND e.at > q.stood_at
ORDER BY e.number
"""
SQL = {"quoted_at": ORACLE.replace("{clock}", "quoted_at"), "received_at": ORACLE.replace("{clock}", "received_at")}
markets = st.tuples(st.sampled_from(["sandbox", "other"]), st.sampled_from(["BTC/USDT", "ETH/USDT", "SOL/USDT:USDT"]))


@given(
    events=st.lists(st.tuples(markets, st.integers(0, 40)), min_size=1, max_size=25),
    quotes=st.lists(st.tuples(markets, st.integers(0, 40), st.integers(0, 10)), max_size=40, unique_by=lambda q: q[:2]),
    repeats=st.integers(1, 3),
    clock=st.sampled_from(["quoted_at", "received_at"]),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_the_match_is_duckdbs_asof_join_however_the_quotes_are_cut(
    events: Any, quotes: Any, repeats: int, clock: Any, shuffle: Any
) -> None:
    rows = [
        quote(250 * at, 100 + number + sequence / 8, 101 + number + sequence / 8, sequence=sequence)
        | {"venue": venue, "symbol": symbol, "received_at": START + timedelta(milliseconds=250 * (at + delay))}
        for number, ((venue, symbol), at, delay) in enumerate(quotes)
        for sequence in range(repeats)
    ]
    # Quotes may reach us out of order, but two of one market never have the same place on either clock here: then
    # "last" would have no meaning that the oracle shares.
    table = pa.Table.from_pylist(rows, schema=QUOTES.arrow)
    if clock == "received_at":
        keys = [(r["venue"], r["symbol"], r["received_at"], r["sequence"]) for r in rows]
        if len(set(keys)) != len(keys):
            return
    asked = [event(250 * at, symbol, venue) for (venue, symbol), at in events]
    at = pa.Table.from_pylist(asked, schema=EVENTS).append_column("number", pa.array(range(len(asked))))
    with duckdb.connect() as connection:
        connection.register("quotes", table)
        connection.register("events", at)
        oracle = connection.execute(SQL[clock]).fetchall()
    shuffled = table.take(pa.array(shuffle.sample(range(len(rows)), len(rows)), pa.int64()))
    cut = shuffle.randint(0, len(rows))
    ordered = table.sort_by([(name, "ascending") for name in ("venue", "symbol", clock, "sequence")])
    for pieces in (
        [table],
        [shuffled],
        [shuffled.slice(0, cut), shuffled.slice(cut)],
        [table.slice(cut), table.slice(0, cut)],
        [ordered.slice(first, 2) for first in range(0, len(rows), 2)],
        [shuffled.slice(number, 1) for number in range(len(rows))],
    ):
        found = match_quotes(at, {"at": clock}, pieces)["at"]
        ours = [(None, None) if np.isnan(bid) else (bid, ask) for bid, ask in zip(found.bid, found.ask, strict=True)]
        assert ours == oracle


def test_both_clocks_are_matched_in_one_pass() -> None:
    asked = pa.Table.from_pylist([event(1050)], schema=EVENTS)
    asked = asked.append_column("ours", asked["at"])
    pieces = iter([pa.Table.from_pylist([quote(0, 99, 101), quote(1000, 199, 201)], schema=QUOTES.arrow)])
    found = match_quotes(asked, {"at": "quoted_at", "ours": "received_at"}, pieces)
    assert (found["at"].mid.tolist(), found["ours"].mid.tolist()) == ([200], [100])


def test_a_long_way_between_two_events_is_stepped_over_in_both_directions() -> None:
    quotes = [quote(10 * n, 100 + n, 101 + n) for n in range(5000)]
    asked = [49_995, 5, 25_005, 24_995, 1, 49_999]
    found = match([event(ms) for ms in asked], quotes)
    assert found.bid.tolist() == [100 + ms // 10 for ms in asked]


def test_quotes_stream_from_the_lake_over_midnight(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    days = {"2026-01-02": [quote(0, 1, 2), quote(86_399_900, 3, 4)], "2026-01-03": [quote(86_400_500, 5, 6)]}
    versions = [
        lake.write("quotes", day, pa.Table.from_pylist(rows, schema=QUOTES.arrow), QUOTES) for day, rows in days.items()
    ]
    asked = pa.Table.from_pylist([event(86_400_100), event(86_400_600), event(1)], schema=EVENTS)
    stored = StoredQuotes(lake, tuple(versions))
    for _ in range(2):
        assert match_quotes(asked, {"at": "quoted_at"}, stored)["at"].bid.tolist() == [3, 5, 1]
    # What is cited is what is read, also after somebody wrote the day again.
    lake.write("quotes", "2026-01-03", pa.Table.from_pylist([quote(86_400_500, 7, 8)], schema=QUOTES.arrow), QUOTES)
    assert match_quotes(asked, {"at": "quoted_at"}, stored)["at"].bid.tolist() == [3, 5, 1]
