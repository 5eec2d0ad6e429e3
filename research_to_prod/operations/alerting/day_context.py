"""What surrounded the desk at one moment of a day: what it held, and what the profile expects of its markets.

Belongs here: the context of `day_measures`. Doesn't: the live regime, which needs books and a process that watches
them: a day that is judged afterwards has the profile's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median

import pyarrow as pa

from research_to_prod.market_data.calendars import Calendar
from research_to_prod.market_data.liquidity import Regime, hour_of_week
from research_to_prod.operations.alerting.rules import Per
from research_to_prod.operations.alerting.situation import (
    Context,
    Holding,
    MarketNow,
    Subject,
    events_of,
    market_of_profile,
)
from research_to_prod.values import timeframe_length


def context_of_day(
    moment: datetime,
    since: datetime,
    positions: pa.Table | None,
    orders: pa.Table | None,
    profile: pa.Table | None,
    profile_version: str | None,
    calendars: Sequence[Calendar],
    capital: float,
) -> Context:
    """Return the context at ``moment``.

    Parameters
    ----------
    since
        From when on something was to be seen: the day's start.
    positions, orders
        POSITIONS and ORDERS of the day; without positions nothing held is known, and nothing is called flat: what the
        desk ordered on is held to an unknown size.
    profile
        LIQUIDITY_PROFILE of the week, None where it was not made: then every regime is unknown.
    """
    holdings = _holdings(moment, positions, orders)
    markets = [
        replace(each, events=events_of(calendars, moment, each.symbol))
        for each in _markets(moment, profile, profile_version, holdings)
    ]
    venues = sorted({each.venue for each in holdings})
    at_venues = tuple(Subject(each) for each in venues)
    coins = sorted({each.instrument.partition(":")[0].rpartition("/")[2] for each in holdings if each.at_stake})
    return Context(
        capital=capital,
        holdings=holdings,
        markets=tuple(markets),
        watched={
            Per.MARKET: tuple(sorted({Subject(each.venue, instrument=each.instrument) for each in holdings})),
            Per.VENUE: at_venues,
            Per.ACCOUNT: at_venues,
            Per.STRATEGY: tuple(Subject(strategy=each) for each in sorted({each.strategy for each in holdings})),
            Per.ASSET: tuple(Subject(key=each) for each in coins),
            Per.DESK: (Subject(),),
        },
        watched_since=since,
        events=events_of(calendars, moment, ""),
    )


def _holdings(moment: datetime, positions: pa.Table | None, orders: pa.Table | None) -> tuple[Holding, ...]:
    latest: dict[tuple[str, str, str], tuple[datetime, float | None]] = {}
    for row in [] if positions is None else positions.to_pylist():
        place = (row["venue"], row["symbol"], row["strategy"])
        if row["held_at"] <= moment and (place not in latest or latest[place][0] <= row["held_at"]):
            unknown = row["mark_price"] is None and row["position"] != 0
            latest[place] = (row["held_at"], None if unknown else float(row["position"] * (row["mark_price"] or 0)))
    working: dict[tuple[str, str, str], int] = {}
    for row in [] if orders is None else orders.to_pylist():
        if row["sent_at"] <= moment:
            place = (row["venue"], row["symbol"], row["strategy"])
            working[place] = working.get(place, 0) + (row["ended_at"] is None or row["ended_at"] > moment)
    return tuple(
        Holding(venue, "", symbol, strategy, latest.get(place, (moment, None))[1], working.get(place, 0))
        for place in sorted(latest.keys() | working.keys())
        for venue, symbol, strategy in [place]
    )


def _markets(
    moment: datetime, profile: pa.Table | None, version: str | None, holdings: Sequence[Holding]
) -> list[MarketNow]:
    known: dict[tuple[str, str], MarketNow] = {}
    if profile is not None:
        # The hour that has just ended: at midnight the last one of the day.
        how = hour_of_week(moment - timedelta(microseconds=1))
        depths: dict[tuple[str, str], list[float]] = {}
        rows = profile.to_pylist()
        for row in rows:
            if row["depth_med"] is not None:
                depths.setdefault((row["venue"], row["symbol"]), []).append(row["depth_med"])
        for row in rows:
            if row["how"] == how:
                place = (row["venue"], row["symbol"])
                reference = math.exp(median(depths[place])) if place in depths else None
                bars = timedelta(hours=1) / timeframe_length(row["timeframe"])
                known[place] = market_of_profile(row, bars, Regime(row["regime"]), version, reference)
    places = known.keys() | {(each.venue, each.instrument) for each in holdings}
    return [known.get(place, MarketNow(*place, Regime.UNKNOWN)) for place in sorted(places)]
