"""The context of simulated weeks, made by the functions that make it of real ones: profile, live regime, calendars.

Belongs here: the truth about regime and exposure that the shipped rules are given. Doesn't: what the baselines are told
instead (``_alert_systems``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

import research_to_prod
from benchmarks._alert_weeks import (
    ACCOUNT,
    CAPITAL,
    COIN,
    PRICES,
    STRATEGIES,
    SYMBOLS,
    VENUE,
    WEEK,
    Floats,
    Measured,
    Weeks,
)
from research_to_prod.lake.content import content_hash
from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data import regime as live_regime
from research_to_prod.market_data.calendars import load_calendars
from research_to_prod.market_data.contracts import CANDLES
from research_to_prod.market_data.liquidity import HOURS, WEEKS, observe, profile_week
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.operations.alerting.rules import Per
from research_to_prod.operations.alerting.situation import (
    Context,
    Holding,
    MarketNow,
    Subject,
    events_of,
    market_of_profile,
)

DESK = Path(research_to_prod.__file__).parent / "desk"
BAR = 5  # minutes
_LENGTH = timedelta(minutes=BAR)
TUNED = {
    "market_data_age", "mid_deviation", "ack_latency", "reject_rate", "margin_ratio", "loss_share_1h",
    "limit_use", "server_errors", "clock_skew", "peg_deviation",
}  # fmt: skip
"""Metrics whose levels a baseline has of its own; the others count events, of which one is one."""
WATCHED: dict[str, tuple[Subject, ...]] = {
    Per.MARKET: tuple(Subject(VENUE.venue, instrument=each) for each in SYMBOLS),
    Per.VENUE: (VENUE,),
    Per.ACCOUNT: (ACCOUNT,),
    Per.STRATEGY: tuple(Subject(strategy=each) for each in STRATEGIES),
    Per.ASSET: (COIN,),
    Per.DESK: (Subject(),),
}


@dataclass(frozen=True)
class Surroundings:
    """What surrounded the desk: by five-minute bar from ``first`` on, both markets; by hour the events."""

    world: Weeks
    first: int
    markets: Sequence[tuple[MarketNow, ...]]
    events: Sequence[tuple[str, ...]]

    @cached_property
    def z_values(self) -> dict[Measured, Floats]:
        """The measurements, the tuned ones as z-scores."""
        return z_values(self.world)

    def context(self, minute: int) -> Context:
        """Return what is true at the end of a minute."""
        world = self.world
        margin = float(world.values["margin_ratio", ACCOUNT][minute])
        holdings = tuple(
            Holding(
                VENUE.venue, ACCOUNT.account, symbol, name, net, int(net != 0), None if math.isnan(margin) else margin
            )
            for name, symbol in STRATEGIES.items()
            for net in [float(world.net[name][minute])]
        )
        markets = self.markets[(minute - self.first) // BAR]
        return Context(CAPITAL, holdings, markets, WATCHED, world.at(self.first), self.events[minute // 60])


def surroundings(world: Weeks) -> Surroundings:
    """Return the context from the first week on that has a whole profile before it."""
    calendars = load_calendars(DESK / "calendars")
    first = WEEKS * WEEK
    bars = {symbol: _bars(world, symbol) for symbol in SYMBOLS}
    markets: list[list[MarketNow]] = [[] for _ in SYMBOLS]
    specs = [MarketSpec(venue=VENUE.venue, symbol=each, timeframe="5m", since=world.start) for each in SYMBOLS]
    candles = pa.concat_tables([found[0] for found in bars.values()])
    books = pa.concat_tables([found[1] for found in bars.values()])
    states = dict.fromkeys(SYMBOLS, live_regime.State())
    for week in range(WEEKS, world.minutes // WEEK):
        monday = f"{world.start + timedelta(weeks=week):%Y-%m-%d}"
        profile = profile_week(candles, specs, monday, books)
        version = content_hash(profile)
        for found, symbol in zip(markets, SYMBOLS, strict=True):
            states[symbol] = _week(found, bars[symbol], profile, version, symbol, world, week, states[symbol])
    hours = range(world.minutes // 60)
    events = [events_of(calendars, world.at(60 * hour), "") for hour in hours]
    return Surroundings(world, first, list(zip(*markets, strict=True)), events)


def z_values(world: Weeks) -> dict[Measured, Floats]:
    """Return the tuned metrics as robust z-scores of their logs against the same hour of the first eight weeks."""
    hour = np.arange(world.minutes) // 60 % HOURS
    found = dict(world.values)
    for (metric, subject), values in world.values.items():
        if metric in TUNED:
            logs = np.log(values + 1e-3)
            past = logs[: WEEKS * WEEK].reshape(WEEKS, HOURS, 60).swapaxes(0, 1).reshape(HOURS, -1)
            center = np.median(past, axis=1)
            spread = 1.4826 * np.median(np.abs(past - center[:, None]), axis=1)
            # Where most are the same (no order was rejected) an hour has no scale of its own.
            scale = np.maximum(spread, max(1e-3, 0.5 * float(past.std())))
            found[metric, subject] = (logs - center[hour]) / scale[hour]
    return found


def _week(
    found: list[MarketNow],
    bars: tuple[pa.Table, pa.Table],
    profile: pa.Table,
    version: str,
    symbol: str,
    world: Weeks,
    week: int,
    state: live_regime.State,
) -> live_regime.State:
    """Append a week's markets, the live regime over the profile's; return the state for the next week."""
    candles, books = bars
    volatility = np.exp(observe(candles, _LENGTH)["volatility"].logs)
    spread, depth = (books[name].to_numpy() for name in ("spread_bp", "depth"))
    rows = [row for row in profile.to_pylist() if row["symbol"] == symbol]
    reference = math.exp(float(np.median([row["depth_med"] for row in rows])))

    @cache
    def hour(how: int) -> tuple[live_regime.Hour | None, MarketNow]:
        at = world.start + timedelta(weeks=week, hours=how)
        known = live_regime.hour_of(profile, VENUE.venue, symbol, at)
        (row,) = [each for each in rows if each["how"] == how]
        usual = known.regime if known is not None else live_regime.Regime.UNKNOWN
        return known, market_of_profile(row, 60 / BAR, usual, version, reference)

    for bar in range(week * WEEK // BAR, (week + 1) * WEEK // BAR):
        known, usual = hour(bar * BAR % WEEK // 60)
        live = live_regime.Live(float(volatility[bar]), float(spread[bar]), float(depth[bar]))
        at = world.start + (bar + 1) * _LENGTH
        now = live_regime.evaluate(live_regime.Inputs(state, live, known), version, at)
        state = now.after
        lately = float(volatility[max(0, bar - 11) : bar + 1].mean()) / 60  # for the root of a second, from an hour's
        found.append(replace(usual, regime=now.regime, volatility=max(usual.volatility or 0.0, lately)))
    return state


def _bars(world: Weeks, symbol: str) -> tuple[pa.Table, pa.Table]:
    """Return five-minute CANDLES of a market, and what its books showed at their ends."""
    n = world.minutes // BAR
    log = np.log(PRICES[symbol]) + np.cumsum(world.returns[symbol])
    before = np.concatenate([[np.log(PRICES[symbol])], log[:-1]])
    steps = np.concatenate([before.reshape(n, BAR)[:, :1], log.reshape(n, BAR)], axis=1)
    close, open_ = np.exp(steps[:, -1]), np.exp(steps[:, 0])
    high, low = np.exp(steps.max(axis=1)), np.exp(steps.min(axis=1))
    quote = world.volume[symbol].reshape(n, BAR).sum(axis=1)
    ts = _times(world, n, timedelta(0))
    columns: dict[str, Floats] = {
        "open": open_, "high": high, "low": low, "close": close, "volume": quote / ((open_ + high + low + close) / 4),
    }  # fmt: skip
    named = {"venue": pa.repeat(VENUE.venue, n), "symbol": pa.repeat(symbol, n)}
    empty = {"timeframe": pa.repeat("5m", n), "ts": ts, "repair": pa.nulls(n, pa.string())}
    candles = pa.table(named | empty | {name: pa.array(each) for name, each in columns.items()})
    shown = {
        "spread_bp": world.spread[symbol].reshape(n, BAR)[:, -1],
        "depth": world.depth[symbol].reshape(n, BAR)[:, -1],
    }
    books = pa.table(named | {"ts": _times(world, n, _LENGTH - timedelta(seconds=1))} | shown)
    return candles.select(CANDLES.arrow.names).cast(CANDLES.arrow), books


def _times(world: Weeks, n: int, after: timedelta) -> pa.Array:
    first = int((world.start + after).timestamp()) * 1_000_000
    return pa.array(first + np.arange(n) * (BAR * 60_000_000)).cast(TIMESTAMP)
