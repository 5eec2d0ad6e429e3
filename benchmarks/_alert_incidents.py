"""Dated public incidents as scenarios: what their published figures would have shown this desk's alerter.

One simulated week in which each happens at its own weekday and hour, to a book that is long. What no source says (how a
price went between two published figures, how much of it our measurements would have shown) is a straight line. Belongs
here: the figures, each with its source. Doesn't: scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks._alert_weeks import (
    COIN,
    DAY,
    LIMIT,
    STRATEGIES,
    SYMBOLS,
    VENUE,
    WEEK,
    Fault,
    Kind,
    Weeks,
    injected,
    sound_weeks,
)
from research_to_prod.market_data.liquidity import WEEKS
from research_to_prod.operations.alerting.situation import Subject


@dataclass(frozen=True)
class Incident:
    """A fault of the past: when in the week (day 0 is Monday, UTC), and where its figures are from."""

    title: str
    figures: str
    source: str
    kind: Kind
    subject: Subject
    day: int
    at: tuple[int, int]
    minutes: int
    size: float

    @property
    def begin(self) -> int:
        """Minute of its beginning in the incidents' week."""
        return WEEKS * WEEK + self.day * DAY + self.at[0] * 60 + self.at[1]

    @property
    def fault(self) -> Fault:
        """The line of the journal."""
        return Fault(self.kind, self.subject, self.begin, self.begin + self.minutes, self.size)


FALL = np.log(104 / 117)
INCIDENTS = (
    Incident(
        "Binance.US, 21 October 2021",
        "bitcoin at 8,200 for less than a minute from 11:34 UTC, 63,600 at Bitstamp: 8,711 bp off in one reading",
        "CoinDesk, 2021-10-21",
        Kind.BAD_PRICE, Subject(VENUE.venue, instrument=SYMBOLS[0]), 3, (11, 34), 1, 1e4 * (1 - 8_200 / 63_600),
    ),
    Incident(
        "Binance, 24 March 2023",
        "the matching engine stops at 11:27 UTC, normal operations resume at 13:30",
        "Binance News, flash 7520134, 2023-04-23",
        Kind.OUTAGE, VENUE, 4, (11, 27), 123, 1.0,
    ),
    Incident(
        "the cascade of 10 October 2025",
        "bitcoin from 117,000 to 104,000 from 20:50 UTC on; half an hour and a tenth of the depth are assumed",
        "Binance Square, post 31063396369578; Amberdata",
        Kind.LOSSES, Subject(), 4, (20, 50), 30, 0.0,
    ),
    Incident(
        "USDe at Binance, 10 October 2025",
        "index off from 21:36 to 22:15 UTC, down to 0.65",
        "N. Nibir, post-mortem of 2026-02-17; Infini, 2025-10-14",
        Kind.DEPEG, COIN, 4, (21, 36), 39, 3_500.0,
    ),
    Incident(
        "USDC, 11 March 2023",
        "0.877 on a Saturday, dollar conversions shut until Monday; begin at 03:00 UTC assumed",
        "Cointelegraph through paypii.com and Coinbase through ForkLog, 2023-03-11",
        Kind.DEPEG, COIN, 5, (3, 0), 2_640, 1_230.0,
    ),
)  # fmt: skip


def incidents_week(seed: int) -> Weeks:
    """Return eight sound weeks and the week of the incidents, in which the book is long from Thursday 10:00 UTC on."""
    world = sound_weeks(seed, WEEKS + 1)
    held = slice(WEEKS * WEEK + 3 * DAY + 600, None)
    for name in STRATEGIES:
        world.net[name][held] = 0.4 * LIMIT
        world.values["limit_use", Subject(strategy=name)][held] = 0.4
    cascade = next(each for each in INCIDENTS if each.kind is Kind.LOSSES)
    span = slice(cascade.begin, cascade.begin + cascade.minutes)
    for symbol in SYMBOLS:
        world.returns[symbol][span] += FALL / cascade.minutes
        world.depth[symbol][span] *= 0.1
        world.spread[symbol][span] *= 10
    return injected(world, [each.fault for each in INCIDENTS], seed)
