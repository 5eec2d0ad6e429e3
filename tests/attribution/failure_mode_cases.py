"""A case that shows each failure mode, one that nearly does, and one that doesn't; all made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from research_to_prod.attribution.failure_mode_rules.case import (
    DAY,
    HOUR,
    SECOND,
    Case,
    FeeSchedule,
    Fills,
    Liquidations,
    MarketBars,
    Orders,
    Samples,
    Window,
)
from research_to_prod.market_data.contracts import CANDLES, LIQUIDITY_PROFILE
from research_to_prod.market_data.series import micros

MONDAY = datetime(2024, 1, 8, tzinfo=UTC)
START = micros(MONDAY)
MINUTE = 60 * SECOND
HOURLY_RANGE = 0.01
USUAL_DEPTH, USUAL_SPREAD = 1e6, 1.0


def times(step: int, duration: int = 6 * HOUR, start: int = START) -> Any:
    return np.arange(start, start + duration, step, dtype=np.int64)


def case(duration: int = 6 * HOUR, **inputs: Any) -> Case:
    return Case(START, START + duration, **inputs)


def profile(weeks: int = 1, *, proxy: bool = False, thin: tuple[int, ...] = ()) -> pa.Table:
    """A flat profile: 1 % volatility the hour, a spread of 1 bp, a depth of a million; some hours a tenth of that."""
    rows = []
    for week in range(weeks):
        for how in range(168):
            row: dict[str, Any] = {each.name: None for each in LIQUIDITY_PROFILE.columns}
            row |= {"venue": "binance", "symbol": "BTC/USDT", "timeframe": "5m", "how": how, "regime": "normal"}
            row |= {"week": f"{MONDAY + timedelta(weeks=week):%Y-%m-%d}", "spread_is_proxy": proxy}
            row |= {"depth_is_proxy": proxy, "volatility_med": np.log(HOURLY_RANGE)}
            row |= {"spread_med": np.log(USUAL_SPREAD)}
            row |= {"depth_med": np.log(USUAL_DEPTH * (0.1 if how in thin else 1 + how / 1e4))}
            for name in ("volume", "volatility", "spread", "depth"):
                row |= {f"{name}_n": 100, f"{name}_basis": "hour_of_week"}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=LIQUIDITY_PROFILE.arrow)


def bars(times_usual: Any, length: timedelta = timedelta(minutes=5), close: Any = None) -> MarketBars:
    """Bars whose range is so many times the usual one."""
    factor = np.asarray(times_usual, float)
    step = length // timedelta(microseconds=1)
    at = START + np.arange(len(factor)) * step
    half = factor * HOURLY_RANGE * np.sqrt(length / timedelta(hours=1)) * np.sqrt(4 * np.log(2)) / 2
    close = np.full(len(factor), 100.0) if close is None else np.asarray(close, float)
    table = {
        "venue": ["binance"] * len(at),
        "symbol": ["BTC/USDT"] * len(at),
        "timeframe": ["5m"] * len(at),
        "ts": pa.array(at, pa.int64()).cast(pa.timestamp("us", "UTC")),
        "open": close,
        "high": close * np.exp(half),
        "low": close * np.exp(-half),
        "close": close,
        "volume": np.full(len(at), 1.0),
        "repair": pa.nulls(len(at), pa.string()),
    }
    return MarketBars(pa.table(table).select([each.name for each in CANDLES.columns]), length)


def shocked(*hot: float, usual: float = 1.0) -> Case:
    """Six hours at ``usual`` times one percent the hour, the bars from the thirtieth on so many times that."""
    factor = np.ones(72)
    factor[30 : 30 + len(hot)] = hot
    rows = profile()
    index = rows.column_names.index("volatility_med")
    quiet = pa.array(np.full(168, np.log(usual * HOURLY_RANGE)))
    return case(bars=bars(usual * factor), profile=rows.set_column(index, rows.schema.field(index), quiet))


def book(depth: float, spread: float, lasting: int, *, proxy: bool = False) -> Case:
    """A book sampled every ten seconds that is usual but for a while from the second hour on."""
    at = times(10 * SECOND)
    away = (at >= START + 2 * HOUR) & (at <= START + 2 * HOUR + lasting)
    return case(
        depth=Samples(at, np.where(away, depth, 1.0) * USUAL_DEPTH),
        spread=Samples(at, np.where(away, spread, 1.0) * USUAL_SPREAD),
        profile=profile(proxy=proxy),
    )


def orders(n: int, **given: Any) -> Orders:
    base: dict[str, Any] = {
        "at": START + np.arange(n, dtype=np.int64) * 5 * MINUTE,
        "client_id": np.array([f"order {i}" for i in range(n)], object),
        "quantity": np.ones(n),
        "wanted": np.ones(n),
        "rejected": np.zeros(n, bool),
        "excess_cost": np.zeros(n),
    }
    return Orders(**base | given)


def in_thin_hours(excess: float, elsewhere: float = 0.0) -> Case:
    """Two orders in each of the 17 thin hours of Saturday and in 17 of Monday, by turns 5 bp over and under a cost."""
    hours = np.concatenate([np.arange(17), np.arange(5 * 24, 5 * 24 + 17)])
    at = START + np.repeat(hours, 2) * HOUR + np.tile([0, 30 * MINUTE], 34)
    cost = np.repeat([elsewhere, excess], 34) + np.tile([5.0, -5.0], 34)
    thin = tuple(range(5 * 24, 5 * 24 + 17))
    return case(7 * DAY, profile=profile(thin=thin, proxy=True), orders=orders(68, at=at, excess_cost=cost))


def liquidated(times_mean: float, one_sided: float, interest_falls: float) -> Case:
    """A week of 1,000 a minute, then forty minutes of so many times that."""
    at = times(MINUTE, 7 * DAY + 6 * HOUR, START - 7 * DAY)
    burst = (at >= START + HOUR) & (at < START + HOUR + 40 * MINUTE)
    total = np.where(burst, times_mean, 1.0) * 1000
    longs = total * np.where(burst, one_sided, 0.5)
    five = times(5 * MINUTE, 7 * DAY + 6 * HOUR, START - 7 * DAY)
    interest = np.where(five < START + HOUR + 30 * MINUTE, 1.0, 1 - interest_falls)
    return case(liquidations=Liquidations(at, longs, total - longs), open_interest=Samples(five, interest))


def funded(rate: float, carry: float, often: float = 0.0004) -> Case:
    """Half a year of one basis point each eight hours, every fiftieth ``often``, then one payment of ``rate``."""
    at = times(8 * HOUR, 182 * DAY + DAY, START - 182 * DAY)
    value = np.where(np.arange(len(at)) % 50 == 0, often, 0.0001)
    value[-2] = rate
    return case(DAY, funding=Samples(at, value), carry_share=carry)


def flipping(flips: int, moves_on: float) -> Case:
    """A day of prices that swing by 1 % an hour, and a strategy that buys the highs and sells the lows of some."""
    n = 288
    swing = 0.005 * np.sin(np.arange(n) / n * 2 * np.pi * 24)
    close = 100 * np.exp(swing + np.linspace(0, moves_on, n))
    prices = bars(np.ones(n), close=close)
    step = 5 * MINUTE
    rows = []
    for i in range(flips + 1):
        hour = close[20 + 12 * i : 32 + 12 * i]
        rows.append(20 + 12 * i + int(np.argmax(hour) if i % 2 == 0 else np.argmin(hour)))
    traded = fills(
        len(rows),
        at=START + np.array(rows, np.int64) * step,
        side=np.where(np.arange(len(rows)) % 2 == 0, 1, -1),
        quantity=np.where(np.arange(len(rows)) == 0, 1.0, 2.0),
        price=close[rows],
    )
    return case(DAY, bars=prices, fills=traded)


def fills(n: int, **given: Any) -> Fills:
    base: dict[str, Any] = {
        "at": START + np.arange(n, dtype=np.int64) * MINUTE,
        "side": np.ones(n, np.int64),
        "quantity": np.ones(n),
        "price": np.full(n, 100.01),
        "bid": np.full(n, 99.99),
        "ask": np.full(n, 100.01),
        "fee": np.full(n, 5.0),
        "maker": np.zeros(n, bool),
        "forced": np.zeros(n, bool),
    }
    return Fills(**base | given)


def silent(length: int, elsewhere: int, *, halted: bool = False, rejected: int = 0) -> Case:
    """A venue that quotes each second but for one silence, in which another updates so many times."""
    own = times(SECOND)
    quiet = (own > START + HOUR) & (own < START + HOUR + length)
    inside = np.linspace(START + HOUR + 1, START + HOUR + length - 1, elsewhere).astype(np.int64)
    halts = (Window(MONDAY + timedelta(hours=2), MONDAY + timedelta(hours=3)),) if halted else ()
    return case(
        updates=own[~quiet],
        updates_elsewhere={"okx": np.sort(np.concatenate([own[own < START + HOUR], inside]))},
        halts=halts,
        orders=orders(30, rejected=np.arange(30) < rejected),
    )


def apart(deviation: float, lasting: int) -> Case:
    """A basis that moves by 1 bp around 0, and by ``deviation`` for a while."""
    at = times(30 * SECOND, 7 * DAY + 6 * HOUR, START - 7 * DAY)
    value = np.where(np.arange(len(at)) % 2 == 0, 1e-4, -1e-4)
    away = (at >= START + HOUR) & (at <= START + HOUR + lasting)
    return case(basis=Samples(at, np.where(away, deviation, value)))


def depegged(deviation: float, lasting: int, venues: int = 2) -> Case:
    at = times(MINUTE)
    away = (at >= START + HOUR) & (at <= START + HOUR + lasting)
    prices = {
        name: Samples(at, np.where(away & (i < venues), 1 - deviation, 1.0))
        for i, name in enumerate(("binance", "kraken", "okx"))
    }
    return case(stablecoins={"USDC": prices})


def held(*, forced: bool = False, lost: float = 0.0) -> Case:
    """Ten purchases of one, and a statement after each."""
    after = Samples(START + np.arange(10, dtype=np.int64) * MINUTE + SECOND, np.arange(1.0, 11.0))
    after = replace(after, value=after.value - np.where(np.arange(10) >= 5, lost, 0.0))
    marks = np.zeros(10, bool)
    marks[4] = forced
    return case(fills=fills(10, forced=marks), positions=after)


def mistaken(
    *, through: float = 0.0, spread: float = 0.02, size: float = 1.0, repeated: bool = False, off: int = 0
) -> Case:
    """Thirty ordinary orders, one of them a mistake."""
    price, bid, quantity = np.full(30, 100.01), np.full(30, 99.99), np.ones(30)
    price[7] += through * 100.01 / 1e4
    bid[7] = 100.01 - spread
    quantity[9] = size
    names = np.array([f"order {i}" for i in range(30)], object)
    if repeated:
        names[12] = names[11]
    position = np.arange(30, dtype=float)
    target = Samples(START + np.arange(30, dtype=np.int64) * 10 * MINUTE, position)
    return case(
        fills=fills(30, price=price, bid=bid),
        orders=orders(30, quantity=quantity, client_id=names),
        targets=target,
        positions=Samples(target.at + off, position),
    )


def charged(above: float, n: int) -> Case:
    fee = np.full(40, 5.0)
    fee[10 : 10 + n] += above
    return case(fills=fills(40, fee=fee), fee_schedule=FeeSchedule(maker=-0.5, taker=5.0))


def marked_out(mean: float, n: int = 200) -> Case:
    noise = np.random.default_rng(1).normal(size=n) * 2.4
    return case(markouts=Samples(START + np.arange(n, dtype=np.int64) * MINUTE, mean + noise - noise.mean()))


def decayed(edge: float, drift: float, half_life: float = 1.0) -> Case:
    rng = np.random.default_rng(2)
    at = START + np.arange(200, dtype=np.int64) * DAY
    late = np.arange(200) >= 100
    noise = rng.normal(size=200)
    return case(
        200 * DAY,
        edge=Samples(at, edge + noise - noise.mean()),
        early_drift=Samples(at, late * drift + rng.normal(size=200)),
        half_life=Samples(at, 10 * np.where(late, half_life, 1.0) + 0.1 * rng.normal(size=200)),
    )


Made = Callable[[], Case]

POSITIVE: dict[str, list[Made]] = {
    "volatility_shock": [lambda: shocked(5, 5, 5), lambda: shocked(4.1, 1, 4.1, 1, 9)],
    "liquidity_vacuum": [lambda: book(0.1, 1, MINUTE), lambda: book(1, 6, 2 * MINUTE)],
    "thin_hours": [lambda: in_thin_hours(3.0)],
    "liquidation_cascade": [lambda: liquidated(200, 0.84, 0.2)],
    "funding_squeeze": [lambda: funded(0.0012, 0.0), lambda: funded(-0.0012, 0.0), lambda: funded(0.0001, 0.3)],
    "trend_whipsaw": [lambda: flipping(5, 0.0)],
    "venue_outage": [
        lambda: silent(30 * SECOND, 40),
        lambda: silent(1, 0, halted=True),
        lambda: silent(1, 0, rejected=5),
    ],
    "basis_blow_out": [lambda: apart(0.02, 2 * MINUTE), lambda: apart(-0.02, MINUTE)],
    "stablecoin_depeg": [lambda: depegged(0.12, 30 * MINUTE), lambda: depegged(0.35, 40 * MINUTE, venues=1)],
    "forced_position": [lambda: held(forced=True), lambda: held(lost=2.0)],
    "fat_finger": [
        lambda: mistaken(through=80),
        lambda: mistaken(size=10),
        lambda: mistaken(repeated=True),
        lambda: mistaken(off=2 * MINUTE),
    ],
    "fee_tier_change": [lambda: charged(0.25, 25)],
    "maker_toxicity": [lambda: marked_out(-1.0)],
    "crowding": [lambda: decayed(-0.5, 2.0), lambda: decayed(-0.5, 0.0, half_life=0.5)],
}
NEAR_MISS: dict[str, list[Made]] = {
    # Beyond the quantile and below the floor, with a large share that is no quarter; large, but not for these months.
    "volatility_shock": [
        lambda: shocked(9, 1, 1, 9, 1),
        lambda: shocked(9, 1, 1, 9, 1, 9),
        lambda: shocked(3.9, 3.9, 3.9, 3.9),
        lambda: shocked(12, 12, 12, usual=0.2),
    ],
    # Away for less than a minute; away for long, but only by two thirds.
    "liquidity_vacuum": [lambda: book(0.1, 6, 40 * SECOND), lambda: book(0.35, 4.5, HOUR)],
    # Dearer, but not beyond chance: 1 bp with a standard error of 0.87; dear in the thinnest of the other hours.
    "thin_hours": [lambda: in_thin_hours(1.0), lambda: in_thin_hours(0.0, elsewhere=6.0)],
    # Large and one-sided without lost positions; with them but on both sides; too small.
    "liquidation_cascade": [
        lambda: liquidated(200, 0.84, 0.03),
        lambda: liquidated(200, 0.7, 0.2),
        lambda: liquidated(19, 0.84, 0.2),
    ],
    # Beyond the quantile and below the floor, with a large share that is no quarter; large, but not for this half year.
    "funding_squeeze": [lambda: funded(0.00045, 0.24), lambda: funded(0.001, 0.0, often=0.0012)],
    # Two flips only; prices that get somewhere.
    "trend_whipsaw": [lambda: flipping(2, 0.0), lambda: flipping(5, 0.2)],
    # Silent while all are; shorter than it takes; two rejections of ten.
    "venue_outage": [lambda: silent(30 * SECOND, 10), lambda: silent(4 * SECOND, 40), lambda: silent(1, 0, rejected=2)],
    # Far, but for one sample; long, but within half a percent.
    "basis_blow_out": [lambda: apart(0.02, 10 * SECOND), lambda: apart(0.0045, HOUR)],
    "stablecoin_depeg": [lambda: depegged(0.12, 4 * MINUTE), lambda: depegged(0.0045, 6 * HOUR)],
    # A fee of less than a thousandth of the position taken in the base currency.
    "forced_position": [lambda: held(lost=0.005)],
    # Far but within five wide spreads; not twice what was decided; on its way for less than a minute.
    "fat_finger": [
        lambda: mistaken(through=80, spread=0.5),
        lambda: mistaken(size=1.9),
        lambda: mistaken(off=50 * SECOND),
    ],
    "fee_tier_change": [lambda: charged(0.25, 19), lambda: charged(0.04, 30)],
    # Negative, but not beyond what chance does to 200 of them.
    "maker_toxicity": [lambda: marked_out(-0.2)],
    # An edge that is gone without earlier prices or faster decay; early prices without a lost edge.
    "crowding": [lambda: decayed(-0.5, 0.0), lambda: decayed(0.0, 2.0)],
}
NEGATIVE: dict[str, list[Made]] = {
    "volatility_shock": [shocked],
    "liquidity_vacuum": [lambda: book(1, 1, MINUTE)],
    "thin_hours": [lambda: in_thin_hours(-2.0)],
    "liquidation_cascade": [lambda: liquidated(1, 0.5, 0.0)],
    "funding_squeeze": [lambda: funded(0.0001, 0.0)],
    "trend_whipsaw": [lambda: flipping(0, 0.0)],
    "venue_outage": [lambda: silent(1, 0)],
    "basis_blow_out": [lambda: apart(0.0, MINUTE)],
    "stablecoin_depeg": [lambda: depegged(0.0, MINUTE)],
    "forced_position": [held],
    "fat_finger": [mistaken],
    "fee_tier_change": [lambda: charged(0.0, 0)],
    "maker_toxicity": [lambda: marked_out(0.5)],
    "crowding": [lambda: decayed(0.1, 0.0)],
}
