"""The profile by hour of the week: against brute force, against laws of scale, and blind to whatever comes after."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.lake.content import content_hash
from research_to_prod.market_data.contracts import CANDLES
from research_to_prod.market_data.liquidity import (
    HOURS,
    corwin_schultz,
    hour_of_week,
    known_before,
    months_of,
    profile_week,
    window_of,
)
from research_to_prod.market_data.universe import MarketSpec

WEEK = "2024-03-04"
START, END = window_of(WEEK)


def market(timeframe: str = "1h", symbol: str = "A/B") -> MarketSpec:
    return MarketSpec(venue="v", symbol=symbol, timeframe=timeframe, since="2023-01-01")


def bars(timeframe: str = "1h", start: datetime = START, weeks: float = 8, seed: int = 7, **columns: Any) -> pa.Table:
    """A random walk with a daily rhythm of volume: fullest at 15 h, thinnest at 3 h, half of it at weekends."""
    minutes = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "1d": 1440}[timeframe]
    n = int(weeks * 7 * 1440 / minutes)
    rng = np.random.default_rng(seed)
    ts = [start + timedelta(minutes=minutes * step) for step in range(n)]
    hour = np.array([at.hour for at in ts])
    weekend = np.array([at.weekday() >= 5 for at in ts])
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, n)))
    open_ = np.concatenate(([100.0], close[:-1]))
    wick = np.exp(np.abs(rng.normal(0, 0.001, (2, n))))
    volume = np.exp(2 * np.cos((hour - 15) / 12 * np.pi) - weekend * math.log(2) + rng.normal(0, 0.2, n))
    values = {
        "venue": ["v"] * n,
        "symbol": ["A/B"] * n,
        "timeframe": [timeframe] * n,
        "ts": ts,
        "open": open_,
        "high": np.maximum(open_, close) * wick[0],
        "low": np.minimum(open_, close) / wick[1],
        "close": close,
        "volume": volume,
        "repair": [None] * n,
    }
    return pa.table(values | columns, schema=CANDLES.arrow)


def profile(candles: pa.Table, *markets: MarketSpec, **given: Any) -> list[dict[str, Any]]:
    return profile_week(candles, markets or (market(),), WEEK, **given).to_pylist()  # type: ignore[no-any-return]


def scaled(table: pa.Table, name: str, factor: float) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, CANDLES.arrow.field(name), pc.multiply(table[name], factor))


HOURLY, QUARTERS = bars(), bars("15m")


def test_the_window_is_the_eight_whole_weeks_before() -> None:
    assert window_of("2026-01-05") == (datetime(2025, 11, 10, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC))
    assert months_of("2026-01-05") == ("2025-11", "2025-12", "2026-01")
    assert months_of("2025-12-29") == ("2025-11", "2025-12")
    with pytest.raises(ValueError, match="does not begin on a Monday"):
        window_of("2026-01-06")


def test_hours_of_the_week_begin_on_monday_in_utc() -> None:
    assert hour_of_week(datetime(2026, 1, 5, tzinfo=UTC)) == 0
    assert hour_of_week(datetime(2026, 1, 11, 23, 59, tzinfo=UTC)) == 167


def test_quarter_hours_know_the_hour_of_the_week_and_see_the_weekend() -> None:
    rows = profile(QUARTERS, market("15m"))
    assert [row["how"] for row in rows] == list(range(HOURS))
    assert {row["volume_basis"] for row in rows} == {"hour_of_week"}
    assert {row["volume_n"] for row in rows} == {32}
    same_hour = {day: rows[24 * day + 15]["volume_med"] for day in (2, 6)}
    assert same_hour[2] - same_hour[6] == pytest.approx(math.log(2), abs=0.3)
    assert {row["regime"] for row in rows} == {"thin", "normal", "deep"}
    assert sum(row["regime"] == "thin" for row in rows) == 34
    assert sum(row["regime"] == "deep" for row in rows) == 34


def test_hourly_bars_fall_back_to_the_hour_of_the_day_and_say_so() -> None:
    rows = profile(HOURLY)
    assert {row["volume_basis"] for row in rows} == {"hour_of_day"}
    assert {row["volume_n"] for row in rows} == {56}
    assert all(rows[how]["volume_med"] == rows[how % 24]["volume_med"] for how in range(HOURS))
    assert rows[15]["regime"] == "deep"
    assert rows[3]["regime"] == "thin"


def test_three_weeks_say_nothing_however_many_bars_they_have() -> None:
    rows = profile(bars("15m", start=END - timedelta(weeks=3), weeks=3), market("15m"))
    assert {(row["volume_basis"], row["volume_n"], row["volume_med"]) for row in rows} == {("none", 84, None)}
    assert {row["regime"] for row in rows} == {"unknown"}


def test_four_weeks_and_24_observations_are_enough() -> None:
    rows = profile(bars(start=END - timedelta(weeks=4), weeks=4))
    assert {(row["volume_basis"], row["volume_n"]) for row in rows} == {("hour_of_day", 28)}
    thinned = bars(start=END - timedelta(weeks=4), weeks=4).filter(pc.greater(pc.day_of_week(QUARTERS["ts"])[:672], 1))
    assert {row["volume_basis"] for row in profile(thinned)} == {"none"}, "5 days of 4 weeks are 20 observations"


def test_a_market_without_bars_or_with_daily_bars_is_unknown() -> None:
    rows = profile(bars("1d"), market("1d"), market(symbol="C/D"))
    assert len(rows) == 2 * HOURS
    assert {(row["regime"], row["volume_n"], row["observed_to"]) for row in rows} == {("unknown", 0, None)}


def test_the_shortest_timeframe_counts() -> None:
    both = pa.concat_tables([HOURLY, QUARTERS])
    assert profile(both, market("1h"), market("15m")) == profile(QUARTERS, market("15m"))


def test_bars_that_a_repair_filled_are_another_markets_volume() -> None:
    filled = bars(repair=["r"] * HOURLY.num_rows, volume=np.full(HOURLY.num_rows, 1e9))
    half = [n % 2 == 0 for n in range(HOURLY.num_rows)]
    mixed = pa.concat_tables([HOURLY.filter(half), filled.filter([not each for each in half])])
    assert profile(mixed) == profile(HOURLY.filter(half))


def test_medians_and_deviations_equal_the_plain_reading_of_their_definitions() -> None:
    rows = profile(QUARTERS, market("15m"))
    values: dict[int, dict[str, list[float]]] = {
        how: {"volume": [], "volatility": [], "depth": []} for how in range(HOURS)
    }
    for bar in QUARTERS.to_pylist():
        quote = bar["volume"] * (bar["open"] + bar["high"] + bar["low"] + bar["close"]) / 4
        metrics = values[hour_of_week(bar["ts"])]
        metrics["volume"].append(math.log(quote))
        metrics["volatility"].append(math.log(math.log(bar["high"] / bar["low"]) / math.sqrt(4 * math.log(2)) * 2))
        metrics["depth"].append(math.log(quote / abs(math.log(bar["close"] / bar["open"])) * 0.001))
    for row in rows:
        for name, logs in values[row["how"]].items():
            med = statistics.median(logs)
            assert row[f"{name}_med"] == pytest.approx(med, rel=1e-9), name
            mad = statistics.median(abs(each - med) for each in logs)
            assert row[f"{name}_s"] == pytest.approx(1.4826 * mad, rel=1e-9), name


def test_corwin_and_schultz_find_the_spread_of_bars_that_only_bounce() -> None:
    """Highs at the ask and lows at the bid of a still price: the range of two bars is that of one."""
    ask, bid = np.full(5, 100.5), np.full(5, 99.5)
    assert corwin_schultz(ask, bid) == pytest.approx(np.full(4, math.log(100.5 / 99.5)), rel=1e-3)


def test_a_trend_without_a_spread_counts_as_none() -> None:
    low = 100 * np.exp(0.01 * np.arange(5))
    assert list(corwin_schultz(low * np.exp(0.01), low)) == [0.0] * 4


def test_a_spread_is_never_taken_over_a_gap() -> None:
    every_other = HOURLY.filter([n % 2 == 0 for n in range(HOURLY.num_rows)])
    assert {row["spread_n"] for row in profile(every_other)} == {0}


def test_hours_in_which_most_bars_saw_no_trade_are_unknown_and_a_few_such_bars_are_ordered_last() -> None:
    volume = HOURLY["volume"].to_numpy().copy()
    hours = np.arange(len(volume)) % 24
    volume[(hours == 5) & (np.arange(len(volume)) < 700)] = 0
    volume[(hours == 6) & (np.arange(len(volume)) < 240)] = 0
    rows, plain = profile(bars(volume=volume)), profile(HOURLY)
    assert (rows[5]["volume_med"], rows[5]["depth_med"], rows[5]["regime"]) == (None, None, "unknown")
    assert rows[6]["volume_med"] < plain[6]["volume_med"]
    assert rows[6]["volume_n"] == 56
    assert math.isfinite(rows[6]["volume_s"])


def books(**columns: Any) -> pa.Table:
    n = HOURLY.num_rows
    values = {
        "venue": ["v"] * n,
        "symbol": ["A/B"] * n,
        "ts": HOURLY["ts"],
        "spread_bp": [2.0] * n,
        "depth": [None] * n,
    }
    return pa.table(values | columns).cast(
        pa.schema(
            {
                "venue": pa.string(),
                "symbol": pa.string(),
                "ts": pa.timestamp("us", "UTC"),
                "spread_bp": pa.float64(),
                "depth": pa.float64(),
            }
        )
    )


def test_observed_quotes_replace_the_proxy_and_only_theirs() -> None:
    rows, plain = profile(HOURLY, books=books()), profile(HOURLY)
    assert {(row["spread_is_proxy"], row["depth_is_proxy"]) for row in plain} == {(True, True)}
    assert {(row["spread_is_proxy"], row["depth_is_proxy"]) for row in rows} == {(False, True)}
    assert {(row["spread_med"], row["spread_s"]) for row in rows} == {(math.log(2.0), 0.0)}
    assert [row["depth_med"] for row in rows] == [row["depth_med"] for row in plain]
    both = profile(HOURLY, books=books(depth=[1e6] * HOURLY.num_rows))
    assert {row["depth_med"] for row in both} == {math.log(1e6)}


def test_whatever_happens_from_the_week_on_changes_nothing() -> None:
    before = profile_week(HOURLY, [market()], WEEK)
    wild = bars(start=END, weeks=3, seed=8, volume=np.full(504, 1e12))
    quotes = books(ts=[at + timedelta(weeks=8) for at in HOURLY["ts"].to_pylist()])
    after = profile_week(pa.concat_tables([wild, HOURLY]), [market()], WEEK, quotes)
    assert content_hash(after) == content_hash(before)
    assert known_before(pa.concat_tables([HOURLY, wild]), WEEK).equals(HOURLY)
    assert {row["observed_to"] for row in before.to_pylist()} == {END}


def test_a_bar_that_ends_after_the_week_began_is_not_known_before_it() -> None:
    straddling = bars("30m", start=END - timedelta(minutes=15), weeks=0.01)
    assert known_before(straddling, WEEK).num_rows == 0
    assert {row["volume_n"] for row in profile(straddling, market("30m"))} == {0}


def test_what_happened_before_the_window_changes_nothing_either() -> None:
    older = bars(start=START - timedelta(weeks=2), weeks=2, seed=9)
    assert profile(pa.concat_tables([older, HOURLY])) == profile(HOURLY)


@settings(max_examples=8)
@given(st.randoms(use_true_random=False), st.integers(1, 7))
def test_neither_the_order_of_rows_nor_their_chunks_nor_threads_change_a_bit(random: Any, cuts: int) -> None:
    order = list(range(HOURLY.num_rows))
    random.shuffle(order)
    shuffled = HOURLY.take(order)
    size = shuffled.num_rows // cuts
    pieces = pa.concat_tables([shuffled.slice(n * size, size if n < cuts - 1 else None) for n in range(cuts)])
    threads = pa.cpu_count()
    try:
        pa.set_cpu_count(random.choice([1, 2, 8]))
        again = content_hash(profile_week(pieces, [market()], WEEK))
    finally:
        pa.set_cpu_count(threads)
    assert again == content_hash(profile_week(HOURLY, [market()], WEEK))


@settings(max_examples=8)
@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e3))
def test_the_laws_of_scale(volume: float, price: float) -> None:
    """More volume is more volume and depth and nothing else; another unit of price is the same market."""
    other = scaled(HOURLY, "volume", volume)
    for name in ("open", "high", "low", "close"):
        other = scaled(other, name, price)
    for row, plain in zip(profile(other), profile(HOURLY), strict=True):
        assert row["regime"] == plain["regime"]
        for metric, shift in {"volume": volume * price, "depth": volume * price, "volatility": 1, "spread": 1}.items():
            if plain[f"{metric}_med"] is None:
                assert row[f"{metric}_med"] is None
                continue
            assert row[f"{metric}_med"] == pytest.approx(plain[f"{metric}_med"] + math.log(shift), abs=1e-6), metric
            assert row[f"{metric}_s"] == pytest.approx(plain[f"{metric}_s"], abs=1e-6), metric
