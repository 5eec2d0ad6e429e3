"""Quotes and the clocks that stamped them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.execution.contracts import QUOTES
from research_to_prod.execution.quote_judgement import clock_skew, judge_clocks, judge_quotes
from research_to_prod.market_data.contracts import TRADES

START = datetime(2026, 1, 5, tzinfo=UTC)


def quotes(*changes: dict[str, Any]) -> pa.Table:
    rows = []
    for number, change in enumerate(changes):
        at = START + timedelta(seconds=number)
        given = {"venue": "v", "symbol": "A/B", "quoted_at": at, "received_at": at + timedelta(milliseconds=30)}
        given |= {"sequence": number, "bid": 10.0, "bid_size": 1.0, "ask": 10.1, "ask_size": 1.0}
        rows.append(given | change)
    return pa.Table.from_pylist(rows, schema=QUOTES.arrow)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bid": 0.0}, "price not positive and finite"),
        ({"ask": float("nan")}, "price not positive and finite"),
        ({"ask": float("inf")}, "price not positive and finite"),
        ({"bid_size": -1.0}, "size negative or not finite"),
        ({"ask_size": float("nan")}, "size negative or not finite"),
        ({"sequence": 0}, "update number against the venue's clock"),
        ({"ask": 10.0}, "locked"),
        ({"ask": 9.9}, "crossed"),
    ],
)
def test_a_quote_that_breaks_a_rule_is_shown_with_it(change: dict[str, Any], why: str) -> None:
    good: list[dict[str, Any]] = [{}, {}]
    assert judge_quotes(quotes(*good)).passed
    # Beside an update number that repeats an older one, the newer quotes are the ones that look late.
    found = judge_quotes(quotes(*good, change, {"sequence": -1} if "sequence" in change else {}))
    assert not found.passed
    assert why in found.worst["why"].to_pylist()[0]


def test_one_crossed_quote_in_a_thousand_is_listed_and_passes_and_two_do_not() -> None:
    crossed: dict[str, Any] = {"ask": 9.9}
    one = judge_quotes(quotes(*[{}] * 999, crossed))
    assert (one.passed, one.worst.num_rows) == (True, 1)
    assert not judge_quotes(quotes(*[{}] * 998, crossed, crossed)).passed
    # A share of its own market: a busy market must not hide a broken one.
    assert not judge_quotes(quotes(*[{}] * 5000, crossed | {"symbol": "C/D"})).passed


def test_a_day_without_quotes_passes() -> None:
    assert judge_quotes(QUOTES.empty()).passed
    assert judge_clocks(QUOTES.empty(), TRADES.empty()).passed


def test_a_quote_received_before_it_was_made_means_a_clock_behind() -> None:
    early = {"received_at": START - timedelta(seconds=2)}
    found = judge_clocks(quotes(early, early, {}), TRADES.empty())
    assert not found.passed
    assert "the collector's clock is behind the venue's" in found.worst["why"].to_pylist()[0]
    assert found.worst["median_delay_ms"].to_pylist()[0] < 0
    fine = judge_clocks(quotes({}, {}), TRADES.empty())
    assert (fine.passed, fine.worst["compared_with_trades"].to_pylist()) == (True, ["no trades"])


def session(skew_ms: int, seed: int = 3) -> tuple[pa.Table, pa.Table]:
    """A random walk of the touch every 100 ms, trades at the touch between, the quotes' clock behind by ``skew_ms``."""
    chance = np.random.default_rng(seed)
    micros = np.arange(600) * 100_000
    bid = 100 + 0.01 * np.cumsum(chance.integers(-3, 4, len(micros)))
    at = np.sort(chance.integers(5_000_000, 59_000_000, 800))
    side = chance.choice([-1, 1], len(at))
    standing = np.searchsorted(micros, at) - 1
    price = np.where(side > 0, bid[standing] + 0.01, bid[standing])
    origin = int(START.timestamp() * 1_000_000)

    def times(values: np.ndarray) -> pa.Array:
        return pa.array((values + origin).astype("int64"), pa.timestamp("us", "UTC"))

    n = len(micros)
    own = {"venue": ["v"] * n, "symbol": ["A/B"] * n, "quoted_at": times(micros - skew_ms * 1000)}
    own |= {"received_at": times(micros + 30_000), "sequence": range(n)}
    own |= {"bid": bid, "bid_size": np.ones(n), "ask": bid + 0.01, "ask_size": np.ones(n)}
    m = len(at)
    public = {"venue": ["v"] * m, "symbol": ["A/B"] * m, "ts": times(at), "price": price, "side": side}
    return pa.table(own), pa.table(public)


@settings(max_examples=8)
@given(skew_ms=st.integers(-400, 400).map(lambda ten: ten * 10), seed=st.integers(0, 5))
def test_the_skew_of_the_quotes_clock_is_found(skew_ms: int, seed: int) -> None:
    found = clock_skew(*session(skew_ms, seed))
    assert found is not None
    assert abs(found.milliseconds - skew_ms) <= 50
    assert found.hits > 0.9


def test_too_few_trades_or_trades_of_another_market_tell_nothing() -> None:
    own, public = session(1000)
    assert clock_skew(own, public.slice(0, 150)) is None
    elsewhere = public.set_column(3, "price", pa.array(np.asarray(public["price"]) * 1.5))
    assert clock_skew(own, elsewhere) is None


def test_a_skewed_market_is_named_before_the_others() -> None:
    own, public = session(1300)
    other = quotes({"symbol": "0/1"}).select(own.column_names).cast(own.schema)
    found = judge_clocks(pa.concat_tables([other, own]), public)
    assert not found.passed
    assert found.worst["symbol"].to_pylist() == ["A/B", "0/1"]
    assert "1300 ms behind that of the trades" in found.worst["why"].to_pylist()[0]


FOLDER = Path(os.environ.get("R2P_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "market_data")


@pytest.mark.real_data
@pytest.mark.skipif(not FOLDER.is_dir(), reason="no real market data: set R2P_REAL_DATA to its folder")
@pytest.mark.parametrize(("name", "skew"), [("BTC-USDT", 1300), ("BTC-USDT_USDT", 0)])
def test_the_real_collector_whose_clock_was_behind_is_found_and_the_good_one_is_not(name: str, skew: int) -> None:
    own = pq.read_table(FOLDER / "quotes" / f"binance__{name}__2024-08-08.parquet").rename_columns({"ts": "quoted_at"})
    own = own.append_column("sequence", pa.array(range(own.num_rows), pa.int64()))
    own = own.append_column("received_at", own["quoted_at"])
    public = pq.read_table(FOLDER / "trades" / f"binance__{name}__2024-08-08.parquet")
    side = pc.if_else(pc.equal(public["side"], "buy"), 1, -1)
    public = public.set_column(public.column_names.index("side"), "side", side)
    assert judge_quotes(own).passed
    found = judge_clocks(own, public)
    assert found.passed == (skew == 0)
    assert abs(found.worst["skew_to_trades_ms"].to_pylist()[0] - skew) <= 50
