"""The desk's feed beside the vendor's bars: a bar agrees when the quote that stood at its close holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.execution.contracts import QUOTES
from research_to_prod.gates.feed_evidence import AGES_A_DAY, FeedEvidence, feed_evidence
from research_to_prod.research.bars import Bars
from research_to_prod.research.candidate import load_candidates
from research_to_prod.research.terms import Instrument

DESK = Path(research_to_prod.__file__).parent / "desk"
CANDIDATE = next(each for each in load_candidates(DESK / "candidates") if each.universe == ("BTC/USDT",))
DAY, OTHER = "2026-01-01", "2026-01-02"
STATED = CANDIDATE.model_copy(update={"instruments": {"BTC/USDT": Instrument(tick=0.5)}})


def bars(closes: float | list[float], hours: int = 48) -> Bars:
    """Return hourly bars of which the first closes at midnight."""
    ts = np.datetime64("2025-12-31T23:00", "us") + np.arange(hours) * np.timedelta64(1, "h")
    close = np.broadcast_to(np.asarray(closes, dtype=np.float64), hours)[:, None].copy()
    return Bars(ts, ("BTC/USDT",), close, close, close, close, close, np.zeros_like(close))


def quotes(day: str = DAY, minutes: int = 1, late_ms: int = 30, **changes: object) -> pa.Table:
    """Return a quote of 100 to 101 every so many minutes of a day, in steps of 0.5."""
    quoted = np.datetime64(day, "us") + np.arange(0, 1440, minutes) * np.timedelta64(1, "m")
    n = len(quoted)
    columns = {
        "venue": ["sandbox"] * n, "symbol": ["BTC/USDT"] * n, "quoted_at": quoted,
        "received_at": quoted + np.timedelta64(late_ms, "ms"), "sequence": np.arange(n),
        "bid": np.full(n, 100.0), "bid_size": np.ones(n), "ask": np.full(n, 101.0), "ask_size": np.ones(n),
    }  # fmt: skip
    return pa.table(columns | changes).cast(QUOTES.arrow)


def shown(closes: float | list[float], *days: tuple[str, pa.Table]) -> FeedEvidence:
    return feed_evidence(STATED, days or [(DAY, quotes())], bars(closes))


@pytest.mark.parametrize(
    ("close", "agrees"), [(100.5, 24), (99.5, 24), (101.5, 24), (99.4, 0), (101.6, 0), (np.nan, 0)]
)
def test_a_close_within_a_tick_of_the_quote_agrees_and_a_bar_that_is_missing_does_not(
    close: float, agrees: int
) -> None:
    found = shown(close)
    assert (found.bars, found.agreeing_bars) == (24, agrees)


def test_a_day_s_bars_are_those_that_close_in_it_and_days_add_up() -> None:
    closes = [100.5] * 24 + [90.0] * 24
    assert (shown(closes).bars, shown(closes).agreeing_bars) == (24, 24)
    both = shown(closes, (DAY, quotes()), (OTHER, quotes(OTHER)))
    assert (both.bars, both.agreeing_bars) == (48, 24)


def test_a_quote_older_than_a_minute_and_no_quote_agree_with_nothing() -> None:
    early = quotes()
    late = quotes(quoted_at=early["quoted_at"].to_numpy() - np.timedelta64(30, "s"))
    assert shown(100.5, (DAY, late)).agreeing_bars == 24
    seldom = quotes(minutes=7)
    assert shown(100.5, (DAY, seldom)).agreeing_bars == sum(60 * hour % 7 <= 1 for hour in range(24))
    assert shown(100.5, (DAY, early.slice(0, 0))).agreeing_bars == 0
    assert shown(100.5, (DAY, quotes(venue=["elsewhere"] * 1440))).agreeing_bars == 0


def test_of_two_quotes_of_one_instant_the_later_number_stands() -> None:
    first = quotes()
    second = quotes(bid=np.full(1440, 200.0), ask=np.full(1440, 201.0), sequence=np.arange(1440) + 5000)
    assert shown(100.5, (DAY, pa.concat_tables([second, first]))).agreeing_bars == 0


def test_a_crossed_quote_holds_nothing() -> None:
    crossed = quotes(bid=np.full(1440, 103.0))
    assert shown(102.0, (DAY, crossed)).agreeing_bars == 0


def test_where_the_candidate_states_no_tick_it_is_the_smallest_step_between_the_day_s_prices() -> None:
    bid = np.where(np.arange(1440) % 2, 100.0, 100.25)
    found = feed_evidence(CANDIDATE, [(DAY, quotes(bid=bid))], bars(101.25))
    assert found.agreeing_bars == 24
    assert feed_evidence(CANDIDATE, [(DAY, quotes(bid=bid))], bars(101.26)).agreeing_bars == 0


def test_the_age_of_a_quote_runs_from_the_venue_s_clock_to_ours_and_a_negative_one_is_kept() -> None:
    age = shown(100.5).age
    assert len(age.milliseconds) == 1440
    assert set(age.milliseconds) == {30.0}
    assert set(shown(100.5, (DAY, quotes(late_ms=-5))).age.milliseconds) == {-5.0}


def test_of_many_quotes_a_day_evenly_spaced_ones_are_kept() -> None:
    n = 3 * AGES_A_DAY
    at = np.datetime64(DAY, "us") + np.arange(n) * np.timedelta64(2, "s")
    one = {name: np.full(n, 1.0) for name in ("bid_size", "ask_size")} | {"bid": np.full(n, 100.0)}
    many = pa.table(
        {"venue": ["sandbox"] * n, "symbol": ["BTC/USDT"] * n, "quoted_at": at, "received_at": at,
         "sequence": np.arange(n), "ask": np.full(n, 101.0)} | one
    ).select(QUOTES.arrow.names).cast(QUOTES.arrow)  # fmt: skip
    kept = shown(100.5, (DAY, many)).age.at
    assert len(kept) == AGES_A_DAY
    assert (kept[0], kept[-1]) == (at[0], at[-1])
    assert np.ptp(np.diff(kept).astype(int)) <= 2_000_000


def test_two_markets_count_together() -> None:
    pair = STATED.model_copy(update={"universe": ("BTC/USDT", "ETH/USDT")})
    one = bars(100.5)
    two = replace(one, symbols=pair.universe, close=np.hstack([one.close, one.close]))
    found = feed_evidence(pair, [(DAY, quotes())], two)
    assert (found.bars, found.agreeing_bars) == (48, 24)
