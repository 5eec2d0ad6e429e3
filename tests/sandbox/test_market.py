"""The market is a pure function of the seed and the time, and what it answers is consistent with itself."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.sandbox._underlying import MINUTE, ORIGIN, instant, micros
from research_to_prod.sandbox.instruments import INSTRUMENTS, OUTAGES, STALE_RUNS
from research_to_prod.sandbox.market import DAY, Candles, SandboxMarket

HOUR = timedelta(hours=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
MARKET = SandboxMarket(7)
FINGERPRINT = """
import hashlib
from datetime import UTC, datetime, timedelta
from research_to_prod.sandbox.market import SandboxMarket
bars = SandboxMarket(7).candles("ETH/USDT:USDT", datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 3, tzinfo=UTC),
    timedelta(minutes=5))
print(hashlib.sha256(bars.close.tobytes() + bars.high.tobytes() + bars.volume.tobytes()).hexdigest())
"""


def _same(one: Candles, other: Candles) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_two_processes_give_the_same_bars():
    runs = [subprocess.run([sys.executable, "-c", FINGERPRINT], capture_output=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout) > 60


def test_another_seed_is_another_market():
    mine, other = (SandboxMarket(seed).candles("BTC/USDT", START, START + 5 * HOUR, HOUR) for seed in (7, 8))
    assert not np.array_equal(mine.close, other.close)


@settings(max_examples=15, deadline=None)
@given(offset=st.integers(0, 400), length=st.integers(1, 48), symbol=st.sampled_from(sorted(INSTRUMENTS)))
def test_a_short_question_is_answered_like_a_part_of_a_long_one(offset: int, length: int, symbol: str):
    long = MARKET.candles(symbol, START, START + 450 * HOUR, HOUR)
    begin = START + offset * HOUR
    short = SandboxMarket(7).candles(symbol, begin, begin + length * HOUR, HOUR)
    inside = (long.ts >= micros(begin)) & (long.ts < micros(begin + length * HOUR))
    assert _same(short, long.where(inside))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3 * 365 * 86_400_000), min_size=1, max_size=20))
def test_the_mid_at_an_instant_does_not_depend_on_what_else_is_asked(offsets: list[int]):
    times = micros(START) + np.array(offsets) * 1000
    together = MARKET.mid("BTC/USDT:USDT", times)
    alone = np.concatenate([MARKET.mid("BTC/USDT:USDT", times[each : each + 1]) for each in range(len(times))])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("symbol", sorted(INSTRUMENTS))
def test_hours_are_their_minutes_gathered(symbol: str):
    hours = MARKET.candles(symbol, START, START + 6 * HOUR, HOUR)
    minutes = MARKET.candles(symbol, START, START + 6 * HOUR, timedelta(minutes=1))
    assert len(minutes) == 360
    assert np.array_equal(hours.high, minutes.high.reshape(6, 60).max(axis=1))
    assert np.array_equal(hours.low, minutes.low.reshape(6, 60).min(axis=1))
    assert np.array_equal(hours.open, minutes.open[::60])
    assert np.array_equal(hours.close, minutes.close[59::60])
    assert np.allclose(hours.volume, minutes.volume.reshape(6, 60).sum(axis=1), rtol=1e-12)
    assert (minutes.low <= np.minimum(minutes.open, minutes.close)).all()
    assert (minutes.high >= np.maximum(minutes.open, minutes.close)).all()


@pytest.mark.parametrize("symbol", ["BTC/USDT", "DOGE/USDT", "SOL/USDT:USDT"])
def test_trades_lie_within_their_bar_and_sum_to_its_volume(symbol: str):
    minutes = MARKET.candles(symbol, START, START + HOUR, timedelta(minutes=1))
    tape = MARKET.trades(symbol, START, START + HOUR)
    owner = (tape.ts - minutes.ts[0]) // MINUTE
    assert len(tape.id) > 200
    assert (tape.price <= minutes.high[owner] + 1e-9).all()
    assert (tape.price >= minutes.low[owner] - 1e-9).all()
    assert np.allclose(np.bincount(owner, tape.quantity, 60), minutes.volume, rtol=1e-9)
    assert (np.diff(tape.id) > 0).all()
    assert (np.diff(tape.ts) >= 0).all()
    part = MARKET.trades(symbol, START + timedelta(seconds=90), START + timedelta(minutes=7))
    chosen = (tape.ts >= micros(START) + 90_000_000) & (tape.ts < micros(START) + 7 * MINUTE)
    assert np.array_equal(part.id, tape.id[chosen])


def test_quotes_are_on_the_tick_never_crossed_and_top_the_book():
    for symbol, terms in INSTRUMENTS.items():
        times = micros(START) + np.arange(500) * 7_000_000
        quotes = MARKET.quote(symbol, times)
        ticks = quotes.bid / float(terms.tick)
        assert np.allclose(ticks, np.round(ticks), atol=1e-6)
        assert (quotes.bid < quotes.ask).all()
        assert (quotes.bid_size > 0).all()
        bids, asks = MARKET.book(symbol, int(times[0]), 20)
        assert bids[0].tolist() == [quotes.bid[0], quotes.bid_size[0]]
        assert asks[0].tolist() == [quotes.ask[0], quotes.ask_size[0]]
        assert (np.diff(bids[:, 0]) < 0).all()
        assert (np.diff(asks[:, 0]) > 0).all()


def test_a_bar_that_runs_holds_only_the_minutes_that_have_ended():
    now = START + timedelta(minutes=90, seconds=30)
    running = MARKET.candles("BTC/USDT", START, now, HOUR, known_at=now).where(slice(1, 2))
    minutes = MARKET.candles("BTC/USDT", START + HOUR, START + timedelta(minutes=90), timedelta(minutes=1))
    assert running.close[0] == minutes.close[-1]
    assert np.isclose(running.volume[0], minutes.volume.sum())


def test_every_named_outage_is_missing_and_nothing_else_is():
    end = datetime(2026, 1, 1, tzinfo=UTC)
    for symbol, least, most in (("SOL/USDT", 0.9995, 1.0), ("DOGE/USDT", 0.990, 0.995)):
        base = INSTRUMENTS[symbol].base
        bars = MARKET.candles(symbol, datetime(2023, 1, 1, tzinfo=UTC), end, HOUR)
        expected = {
            micros(each.start + hour * HOUR)
            for each in OUTAGES
            if each.base in (None, base)
            for hour in range(each.hours)
        }
        every = set(range(micros(datetime(2023, 1, 1, tzinfo=UTC)), micros(end), 60 * MINUTE))
        assert every - set(bars.ts.tolist()) == expected
        assert least <= len(bars) / len(every) <= most


def test_a_stale_run_is_flat_and_without_volume():
    run = STALE_RUNS[0]
    bars = MARKET.candles("DOGE/USDT", run.start - HOUR, run.start + (run.hours + 1) * HOUR, HOUR)
    inside = slice(1, 1 + run.hours)
    assert set(bars.volume[inside]) == {0.0}
    assert len(set(bars.close[inside]) | set(bars.high[inside]) | set(bars.low[inside])) == 1
    assert bars.volume[0] > 0
    assert bars.volume[-1] > 0


def test_funding_is_due_every_eight_hours_and_follows_the_basis():
    paid = MARKET.funding("BTC/USDT:USDT", START, START + timedelta(days=300))
    assert len(paid.ts) == 900
    late = paid.ts % (8 * 60 * MINUTE)
    assert late.max() < 20_000
    assert np.abs(paid.rate).max() <= 2e-3
    assert len(np.unique(paid.rate)) > 50
    # Between -0.04 % and 0.06 % of premium the clamp gives the interest rate of 0.01 %.
    due = paid.ts // (8 * 60 * MINUTE) * (8 * 60 * MINUTE)
    premium = MARKET.mid("BTC/USDT:USDT", due) / MARKET.mid("BTC/USDT", due) - 1
    assert np.corrcoef(premium, paid.rate)[0, 1] > 0.5
    assert len(MARKET.funding("BTC/USDT", START, START + timedelta(days=3)).ts) == 0


def test_a_perpetual_stays_near_its_spot():
    times = micros(START) + np.arange(2000) * 3_600_000_000
    premium = MARKET.mid("ETH/USDT:USDT", times) / MARKET.mid("ETH/USDT", times) - 1
    assert np.abs(premium).max() < 2e-3
    assert np.abs(premium).mean() > 1e-5


def test_times_that_the_tree_does_not_span_are_refused():
    with pytest.raises(ValueError, match="eight years"):
        MARKET.mid("BTC/USDT", np.array([ORIGIN - DAY]))
    with pytest.raises(ValueError, match="eight years"):
        MARKET.mid("BTC/USDT", np.array([micros(datetime(2031, 1, 1, tzinfo=UTC))]))
    assert len(MARKET.candles("BTC/USDT", instant(ORIGIN - DAY), instant(ORIGIN), HOUR)) == 0
    with pytest.raises(KeyError, match="SOL/USDT"):
        MARKET.candles("XRP/USDT", START, START + HOUR, HOUR)


def _momentum(bars: Candles, lookback: int, cost: float) -> tuple[float, float]:
    """Return annual net Sharpe ratio of daily returns and maximum drawdown of a daily-rebalanced trend follower."""
    trailing = np.full(len(bars), np.nan)
    trailing[lookback:] = np.log(bars.close[lookback:] / bars.close[:-lookback])
    decided = np.where((bars.ts // 3_600_000_000) % 24 == 23, np.sign(trailing), np.nan)
    held = np.where(np.isnan(decided), 0, np.arange(len(bars)))
    held = np.nan_to_num(decided[np.maximum.accumulate(held)])
    position = np.concatenate(([0.0], held[:-1]))
    earned = position[:-1] * (bars.open[1:] / bars.open[:-1] - 1)
    net = earned - cost * np.abs(np.diff(position, prepend=0.0))[:-1]
    equity = np.cumprod(1 + net)
    days = np.add.reduceat(net, np.flatnonzero(np.diff(bars.ts[:-1] // DAY, prepend=-1)))
    drawdown = float((1 - equity / np.maximum.accumulate(equity)).max())
    return float(days.mean() / days.std() * np.sqrt(365)), drawdown


@pytest.mark.parametrize(
    ("symbol", "least", "most"),
    [("BTC/USDT", 3.0, 6.5), ("ETH/USDT", 2.5, 6.5), ("DOGE/USDT", 3.0, 6.5), ("SOL/USDT", -2.0, 2.0)],
)
def test_the_planted_edge_is_there_and_only_where_it_is_said_to_be(symbol: str, least: float, most: float):
    bars = MARKET.candles(symbol, datetime(2023, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), HOUR)
    sharpe, drawdown = _momentum(bars, 72, 6e-4)
    assert least < sharpe < most
    if symbol == "BTC/USDT":
        assert drawdown < 0.25


def test_the_edge_of_doge_does_not_outlive_january_2026():
    bars = MARKET.candles("DOGE/USDT", datetime(2026, 2, 1, tzinfo=UTC), datetime(2029, 2, 1, tzinfo=UTC), HOUR)
    sharpe, _ = _momentum(bars, 72, 6e-4)
    assert sharpe < 1.0
