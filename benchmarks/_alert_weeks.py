"""Simulated weeks of a desk that an alerter watches: markets with hours, a book, nuisances, and faults with a journal.

Everything is drawn before any rule is asked. Numbers of nuisances and faults are the authors' judgement of what a small
desk at one venue sees; they were written down before a rule was asked, and not changed by what it said. Belongs here:
the weeks and their truth. Doesn't: rules, and what they found (``_alert_systems``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from research_to_prod.market_data.liquidity import WEEKS
from research_to_prod.operations.alerting.situation import Subject

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
WEEK, DAY, HOUR = 10_080, 1_440, 60
CAPITAL, LIMIT = 2e6, 1e6
DAY_LOSS = 0.02 * CAPITAL
VENUE, ACCOUNT, COIN = Subject("sandbox"), Subject("sandbox", "main"), Subject(key="USDT")
SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT")
STRATEGIES = {"carry": SYMBOLS[0], "momentum": SYMBOLS[1]}
PRICES = dict(zip(SYMBOLS, (60_000.0, 3_000.0), strict=True))
_RECONCILE = 5  # minutes between two looks at the records


class Kind(StrEnum):
    """What goes wrong."""

    STALE = "stale market data"
    BAD_PRICE = "untrue price"
    SLOW_ACKS = "slow acks"
    REJECTS = "rejects"
    UNKNOWN_OUTCOME = "unknown outcome"
    LOST_FILL = "missing fill"
    POSITION = "position break"
    MARGIN = "margin"
    RUNAWAY = "runaway position"
    LOSSES = "losses of a defect"
    OUTAGE = "venue outage"
    CLOCK = "clock skew"
    DEPEG = "depeg"
    FETCHES = "incomplete fetches"
    UNSEEN = "account not seen"


NEEDS_ORDERS = frozenset({Kind.REJECTS, Kind.UNKNOWN_OUTCOME, Kind.MARGIN, Kind.RUNAWAY, Kind.LOSSES})
"""Without orders or a position these can't happen."""


@dataclass(frozen=True)
class Fault:
    """One line of the journal: from minute ``begin`` to before ``end``."""

    kind: Kind
    subject: Subject
    begin: int
    end: int
    size: float


Measured = tuple[str, Subject]


@dataclass(frozen=True)
class Weeks:
    """What is true and what is measured, minute by minute; ``values`` are NaN where nothing was measured.

    Parameters
    ----------
    counts, usual
        Events that a value rests on; what is usual at this hour.
    net
        Signed exposure by strategy, quote currency.
    returns, volume, spread, depth
        By symbol: logarithms of price ratios; quote currency a minute; basis points; quote currency within 10 bp.
    rejecting, losing
        By strategy: the chance that an order is rejected; what a defect loses, quote currency a minute.
    """

    start: datetime
    minutes: int
    values: dict[Measured, Floats]
    counts: dict[Measured, Floats]
    usual: dict[Measured, Floats]
    net: dict[str, Floats]
    returns: dict[str, Floats]
    volume: dict[str, Floats]
    spread: dict[str, Floats]
    depth: dict[str, Floats]
    rejecting: dict[str, Floats]
    losing: dict[str, Floats]
    journal: tuple[Fault, ...] = ()

    def at(self, minute: int) -> datetime:
        """Return the end of a minute."""
        return self.start + timedelta(minutes=minute + 1)

    def held(self, subject: Subject) -> Floats:
        """Return the absolute exposure that ``subject`` covers."""
        covered = [
            name
            for name, symbol in STRATEGIES.items()
            if subject.strategy in {"", name} and subject.instrument in {"", symbol}
        ]
        return np.sum([np.abs(self.net[name]) for name in covered], axis=0)


def sound_weeks(seed: int, weeks: int) -> Weeks:  # noqa: PLR0915 - one draw after another
    """Return weeks in which nothing is wrong, with everything that only looks so."""
    rng = np.random.default_rng(seed)
    n = weeks * WEEK
    minute = np.arange(n)
    activity = activity_of(minute)
    bursts = _episodes(rng, n, 2 / WEEK, (30, 180))  # the market is wild, and nothing of ours is broken
    values: dict[Measured, Floats] = {}
    counts, usual = dict[Measured, Floats](), dict[Measured, Floats]()
    world = Weeks(START, n, values, counts, usual, {}, {}, {}, {}, {}, {}, {})
    for symbol in SYMBOLS:
        wild = np.where(bursts, 4.0, 1.0) * np.exp(_drift(rng, n, 360, 0.3))
        world.volume[symbol] = 8e5 * activity * wild**0.7 * rng.lognormal(0, 0.5, n)
        world.depth[symbol] = 3.5e6 * activity**0.6 * wild**-0.8 * np.exp(_drift(rng, n, 60, 0.15))
        world.spread[symbol] = 0.8 * activity**-0.4 * wild**0.8 * rng.lognormal(0, 0.2, n)
        deviation = 0.03 / DAY**0.5 * activity**0.35 * wild
        world.returns[symbol] = deviation * rng.standard_t(5, n) * (3 / 5) ** 0.5
        place = Subject(VENUE.venue, instrument=symbol)
        gap = 0.15 / activity  # seconds between two updates of the book
        age = rng.exponential(gap)
        hiccup = rng.random(n) < 2 / DAY  # a socket that is opened again
        age[hiccup] = rng.uniform(3, 25, hiccup.sum())
        values["market_data_age", place], usual["market_data_age", place] = age, gap * np.log(2)
        off = 2 * wild**0.7 * activity**-0.3 * rng.lognormal(0, 0.5, n)
        blip = rng.random(n) < np.where(bursts, 4.0, 0.3) / DAY
        values["mid_deviation", place] = np.where(blip, off + rng.uniform(10, 60, n), off)
        values["book_crossed", place] = np.zeros(n)
    share = np.minimum(1, activity**0.6)
    for name in STRATEGIES:
        world.net[name] = _positions(rng, n) * LIMIT * share[minute - minute % HOUR]
    usual["ack_latency", VENUE] = 0.08 + 0.1 * activity
    strain = np.where(bursts, rng.uniform(1, 3, n), 1.0)
    values["ack_latency", VENUE] = usual["ack_latency", VENUE] * strain * np.exp(_drift(rng, n, 5, 0.25))
    trading = np.sum([each != 0 for each in world.net.values()], axis=0)
    counts["ack_latency", VENUE] = rng.poisson(8 * activity * trading).astype(float)
    for name in STRATEGIES:
        world.rejecting[name] = np.where(bursts, 0.03, 0.01)
        world.losing[name] = np.zeros(n)
        values["limit_use", Subject(strategy=name)] = np.abs(world.net[name]) / LIMIT
    late = rng.random(n) < 1 / DAY  # an answer that took its time, and came
    values["unknown_outcome_age", VENUE] = np.where(late & (trading > 0), rng.uniform(2, 25, n), 0.0)
    values["outcome_burn", VENUE] = np.zeros(n)
    in_flight = rng.random(n // _RECONCILE + 1) < _RECONCILE / (10 * DAY)  # booked a look later
    values["fill_breaks", VENUE] = np.repeat(in_flight, _RECONCILE)[:n].astype(float)
    for metric in ("position_break_lots", "position_break_share", "position_sign_flips"):
        values[metric, ACCOUNT] = np.zeros(n)
    values["margin_ratio", ACCOUNT] = 0.35 * world.held(ACCOUNT) / LIMIT * rng.lognormal(0, 0.05, n)
    values["liquidation_distance", ACCOUNT] = np.full(n, 30.0)
    requests = rng.poisson(30, n) + 10
    failing = np.where(rng.random(n) < 0.5 / DAY, rng.uniform(0.1, 0.4, n), 0.004)
    counts["server_errors", VENUE] = requests.astype(float)
    values["server_errors", VENUE] = rng.binomial(requests, failing) / requests
    values["venue_not_ok", VENUE] = np.zeros(n)
    stepped = _episodes(rng, n, 1 / WEEK, (1, 5))  # the time service corrects itself
    values["clock_skew", VENUE] = np.abs(rng.normal(0, 0.03, n)) + np.where(stepped, 0.3, 0)
    values["clock_refusals", VENUE] = np.zeros(n)
    weekend = minute // DAY % 7 >= 5
    wiggle = _episodes(rng, n, 1 / WEEK, (60, 180)) * rng.uniform(10, 30)
    values["peg_deviation", COIN] = np.abs(_drift(rng, n, 240, 3) * np.where(weekend, 1.6, 1)) + wiggle
    counts["peg_deviation", COIN] = np.full(n, 5.0)
    failed = rng.random(n // _RECONCILE + 1) < 0.03
    values["incomplete_fetches", VENUE] = np.repeat(_in_a_row(failed), _RECONCILE)[:n]
    values["certificate_burn", VENUE] = np.zeros(n)
    _losses(world)
    _rejects(world, seed)
    return world


def with_faults(world: Weeks, seed: int, of_each: int, where: Callable[[int], bool]) -> Weeks:
    """Return the weeks with so many faults of each kind in every week whose number satisfies ``where``.

    Drawn again is what could not happen (no position to lose) and what is within an hour of another of its kind.
    """
    rng = np.random.default_rng(seed)
    faults: list[Fault] = []
    for week in range(world.minutes // WEEK):
        kinds = [kind for kind in Kind for _ in range(of_each)] if where(week) else []
        while kinds:
            fault = drawn(rng, kinds[0], week * WEEK + int(rng.integers(60, WEEK - 1_500)))
            idle = fault.kind in NEEDS_ORDERS and world.held(fault.subject)[fault.begin] == 0
            near = (each for each in faults if each.begin - 60 < fault.end and fault.begin < each.end + 60)
            if not idle and not any(each.kind is fault.kind for each in near):
                faults.append(fault)
                kinds.pop(0)
    return injected(world, sorted(faults, key=lambda each: each.begin), seed)


_SUBJECTS: dict[Kind, tuple[Subject, ...]] = {
    **dict.fromkeys((Kind.STALE, Kind.BAD_PRICE), tuple(Subject(VENUE.venue, instrument=each) for each in SYMBOLS)),
    **dict.fromkeys((Kind.REJECTS, Kind.RUNAWAY, Kind.LOSSES), tuple(Subject(strategy=each) for each in STRATEGIES)),
    **dict.fromkeys((Kind.POSITION, Kind.MARGIN, Kind.UNSEEN), (ACCOUNT,)),
    Kind.DEPEG: (COIN,),
}
_LASTS = {
    Kind.STALE: (2, 30), Kind.BAD_PRICE: (2, 20), Kind.SLOW_ACKS: (10, 60), Kind.REJECTS: (15, 60),
    Kind.UNKNOWN_OUTCOME: (2, 20), Kind.LOST_FILL: (20, 180), Kind.POSITION: (20, 180), Kind.MARGIN: (20, 120),
    Kind.RUNAWAY: (10, 60), Kind.LOSSES: (20, 90), Kind.OUTAGE: (5, 90), Kind.CLOCK: (20, 120), Kind.DEPEG: (60, 1_200),
    Kind.FETCHES: (20, 60), Kind.UNSEEN: (5, 60),
}  # fmt: skip
"""Minutes, shortest and longest."""
_SIZES = {
    Kind.STALE: (1, 1), Kind.BAD_PRICE: (20, 300), Kind.SLOW_ACKS: (4, 20), Kind.REJECTS: (0.05, 0.6),
    Kind.UNKNOWN_OUTCOME: (1, 1), Kind.LOST_FILL: (1, 3), Kind.POSITION: (1, 50), Kind.MARGIN: (0.6, 0.95),
    Kind.RUNAWAY: (1.05, 1.6), Kind.LOSSES: (0.3, 1.2), Kind.OUTAGE: (0.3, 1), Kind.CLOCK: (0.3, 2),
    Kind.DEPEG: (30, 600), Kind.FETCHES: (1, 1), Kind.UNSEEN: (1, 1),
}  # fmt: skip
"""Faintest and strongest, in the unit of the metric; slow acks in multiples, losses in shares of the day's."""


def drawn(rng: np.random.Generator, kind: Kind, begin: int) -> Fault:
    """Return a fault of ``kind``; lengths and sizes are uniform in their logarithms."""
    subjects = _SUBJECTS.get(kind, (VENUE,))
    length, size = (float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in (_LASTS[kind], _SIZES[kind]))
    return Fault(kind, subjects[int(rng.integers(len(subjects)))], begin, begin + round(length), size)


def injected(world: Weeks, faults: list[Fault], seed: int) -> Weeks:
    """Return a copy of the weeks with ``faults`` carried out, and in the journal."""
    journal = (*world.journal, *faults)
    values, counts, usual, net, rejecting, losing = (
        {key: array.copy() for key, array in each.items()}
        for each in (world.values, world.counts, world.usual, world.net, world.rejecting, world.losing)
    )
    changed = {"values": values, "counts": counts, "usual": usual, "net": net, "rejecting": rejecting, "losing": losing}
    world = replace(world, **changed, journal=journal)
    rng = np.random.default_rng([seed, 1])
    for fault in faults:
        _carry_out(world, fault, rng)
    _losses(world)
    _rejects(world, seed)
    return world


def _carry_out(  # noqa: PLR0912 - a case a kind
    world: Weeks, fault: Fault, rng: np.random.Generator
) -> None:
    begin, end, size, values = fault.begin, min(fault.end, world.minutes), fault.size, world.values
    span, length = slice(begin, end), end - begin
    passed = np.arange(1, length + 1)
    looks = slice(min(-(-begin // _RECONCILE) * _RECONCILE, end), end)
    match fault.kind:
        case Kind.STALE:
            values["market_data_age", fault.subject][span] = 60.0 * passed
        case Kind.BAD_PRICE:
            values["mid_deviation", fault.subject][span] = size * rng.lognormal(0, 0.1, length)
        case Kind.SLOW_ACKS:
            values["ack_latency", VENUE][span] *= size
        case Kind.REJECTS:
            world.rejecting[fault.subject.strategy][span] = size
        case Kind.UNKNOWN_OUTCOME:
            values["unknown_outcome_age", VENUE][span] = 60.0 * passed
        case Kind.LOST_FILL:
            values["fill_breaks", VENUE][looks] += round(size)
        case Kind.POSITION:
            values["position_break_lots", ACCOUNT][looks] = round(size)
            values["position_break_share", ACCOUNT][looks] = size * 600 / CAPITAL
        case Kind.MARGIN:
            ramp = np.minimum(1, passed / max(1, length / 3))
            values["margin_ratio", ACCOUNT][span] = np.maximum(values["margin_ratio", ACCOUNT][span], size * ramp)
            values["liquidation_distance", ACCOUNT][span] = 30 - (30 - 20 * (1 - size)) * ramp
        case Kind.RUNAWAY:
            world.net[fault.subject.strategy][span] = size * LIMIT
            values["limit_use", fault.subject][span] = size
        case Kind.LOSSES:
            for name, lost in world.losing.items():
                if fault.subject.strategy in {"", name}:
                    lost[span] += size * DAY_LOSS / length
        case Kind.OUTAGE:
            # The status page knows later than the requests do.
            values["server_errors", VENUE][span] = size
            values["venue_not_ok", VENUE][begin + min(5, length - 1) : end] = 1
            values["unknown_outcome_age", VENUE][span] = 60.0 * passed * (world.held(VENUE)[span] > 0)
            for symbol in SYMBOLS:
                values["market_data_age", Subject(VENUE.venue, instrument=symbol)][span] = 60.0 * passed
            values["ack_latency", VENUE][span] *= 20
            values["incomplete_fetches", VENUE][span] = passed // _RECONCILE
        case Kind.CLOCK:
            values["clock_skew", VENUE][span] = size * np.minimum(1, passed / 5)
        case Kind.DEPEG:
            ramp = np.minimum(1, passed / max(1, length / 4))
            values["peg_deviation", COIN][span] = np.maximum(values["peg_deviation", COIN][span], size * ramp)
        case Kind.FETCHES:
            values["incomplete_fetches", VENUE][span] = passed // _RECONCILE + 1
        case Kind.UNSEEN:
            for metric, subject in values:
                if subject == ACCOUNT:
                    values[metric, subject][span] = np.nan


@dataclass(frozen=True)
class Plan:
    """How many weeks, and how many faults of each kind a week; training has more, so that many try every level."""

    seed: int = 19
    training: int = 2
    scored: int = 4
    calm: int = 2
    training_faults: int = 3
    scored_faults: int = 2


def weeks_of(plan: Plan) -> Weeks:
    """Return eight weeks of history, those of training, those that are scored, and the calm ones, in this order."""
    first = WEEKS + plan.training
    world = sound_weeks(plan.seed, first + plan.scored + plan.calm)
    world = with_faults(world, plan.seed + 1, plan.training_faults, lambda week: WEEKS <= week < first)
    return with_faults(world, plan.seed + 2, plan.scored_faults, lambda week: first <= week < first + plan.scored)


def activity_of(minute: npt.NDArray[np.int64]) -> Floats:
    """Return activity against its mean: highest at 16 UTC, a quarter of that at 4, weekends at six tenths."""
    hour = minute % DAY / HOUR
    busy = np.exp(0.7 * np.cos(2 * np.pi * (hour - 16) / 24))
    return busy / 1.13 * np.where(minute // DAY % 7 >= 5, 0.6, 1.0)


def _losses(world: Weeks) -> None:
    for name, symbol in STRATEGIES.items():
        lost = world.losing[name] - world.net[name] * world.returns[symbol]
        summed = np.concatenate([[0.0], np.cumsum(lost)])
        ends = np.arange(1, world.minutes + 1)
        subject = Subject(strategy=name)
        for metric, begins, unit in (
            ("loss_share_5m", ends - 5, DAY_LOSS),
            ("loss_share_1h", ends - HOUR, DAY_LOSS),
            ("loss_share_day", (ends - 1) // DAY * DAY, DAY_LOSS),
            ("loss_1h", ends - HOUR, 1.0),
        ):
            total = summed[ends] - summed[np.maximum(begins, 0)]
            world.values[metric, subject] = np.maximum(0, total) / unit
        squares = np.concatenate([[0.0], np.cumsum((world.net[name] * world.returns[symbol]) ** 2)])
        world.usual["loss_1h", subject] = np.sqrt(squares[ends] - squares[np.maximum(ends - HOUR, 0)])


def _rejects(world: Weeks, seed: int) -> None:
    """Draw each minute's orders; what is measured is those of the last quarter of an hour."""
    activity = activity_of(np.arange(world.minutes))
    for number, (name, share) in enumerate(world.rejecting.items()):
        rng = np.random.default_rng([seed, 2, number])
        sent = rng.poisson(25 / 15 * activity * (world.net[name] != 0))
        refused = rng.binomial(sent, share)
        submitted, rejected = (_of_last(15, each) for each in (sent, refused))
        subject = Subject(strategy=name)
        world.counts["reject_rate", subject] = submitted
        world.values["reject_rate", subject] = rejected / np.maximum(submitted, 1)


def _of_last(minutes: int, events: npt.NDArray[np.int64]) -> Floats:
    """Return the running sum of so many minutes."""
    summed = np.concatenate([np.zeros(minutes), np.cumsum(events)])
    found: Floats = summed[minutes:] - summed[:-minutes]
    return found


def _episodes(rng: np.random.Generator, n: int, rate: float, lasts: tuple[int, int]) -> Bools:
    found = np.zeros(n, bool)
    for begin in np.flatnonzero(rng.random(n) < rate):
        found[begin : begin + int(rng.integers(*lasts))] = True
    return found


def _drift(rng: np.random.Generator, n: int, half_life: float, deviation: float) -> Floats:
    """Return an AR(1) path of five-minute steps, each held."""
    from scipy.signal import lfilter

    keep = 0.5 ** (5 / half_life)
    steps = rng.normal(0, deviation * (1 - keep**2) ** 0.5, n // 5 + 1)
    path: Floats = lfilter([1.0], [1.0, -keep], steps)
    return np.repeat(path, 5)[:n]


def _positions(rng: np.random.Generator, n: int) -> Floats:
    """Return shares of the limit, held for two to eight hours; flat a third of the time."""
    found = np.zeros(n)
    place = 0
    while place < n:
        length = int(rng.integers(24, 96)) * 5
        if rng.random() > 0.35:
            found[place : place + length] = rng.uniform(0.1, 0.7) * rng.choice([-1, 1])
        place += length
    return found


def _in_a_row(failed: Bools) -> Floats:
    runs = np.zeros(len(failed))
    for place in np.flatnonzero(failed):
        runs[place] = runs[place - 1] + 1 if place else 1
    return runs
