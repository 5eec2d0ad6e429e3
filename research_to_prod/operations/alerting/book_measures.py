"""What the book holds against its limits, and what it has just lost: from the desk's positions, fills and marks.

A position at an instant is the last one that the desk has stated, and its fills since. Belongs here: the measurements
by strategy. Doesn't: what a strategy may hold and lose (``allotted``), how fast costs and slippage grow.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import median_low
from typing import Any

import pyarrow as pa

from research_to_prod.attribution.shadow_days import position_change
from research_to_prod.operations.alerting.allotted import Allotted
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.values import timeframe_length

_HOUR, _MINUTES = timedelta(hours=1), timedelta(minutes=5)
_MARK_SHARE = 5
"""A mark is at most a fifth of the window old, of five minutes one: an older one belongs to another window's loss."""
STEP = timedelta(minutes=1)
"""Between two marks of which a market's move is made: of twelve steps of five minutes no move is 3.72 deviations."""
_MARKED = 0.5
"""Share of an hour's minutes that must have a mark of their own, before the moves between them tell how wild it was."""
_CLOCKS = timedelta(seconds=1)
"""How far the venue's clock and ours may tell an instant apart: beyond half a second `clock_skew` pages."""
_NO_LIMIT_IS = 1.0
"""What a limit of nothing counts as, in the book's currency: the use of it is then a number, and beyond every level."""

Row = Mapping[str, Any]
Place = tuple[str, str]


@dataclass(frozen=True)
class BookDay:
    """What is known of one day, in the desk's own records.

    Parameters
    ----------
    positions, fills
        POSITIONS and FILLS, those of later moments among them.
    since
        From when on all fills are among them.
    mids
        Of `market_measures.mids_at`; None where there are no quotes.
    candles
        CANDLES; None where there are none.
    allotted
        By strategy.
    currency
        Of the book: a market that is quoted in another one has no value in it.
    """

    positions: pa.Table
    fills: pa.Table
    since: datetime
    mids: pa.Table | None
    candles: pa.Table | None
    allotted: Mapping[str, Allotted]
    currency: str


def windows_to(moment: datetime) -> dict[str, datetime]:
    """Return since when each metric counts the losses up to ``moment``; midnight ends a day."""
    midnight = (moment - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"loss_share_1h": moment - _HOUR, "loss_share_5m": moment - _MINUTES, "loss_share_day": midnight}


def minutes_to(moment: datetime) -> list[datetime]:
    """Return the minutes of the hour before ``moment``, both its ends included."""
    return [moment - each * STEP for each in range(int(_HOUR / STEP), -1, -1)]


def observe_book(book: BookDay | None, moment: datetime) -> Iterator[Observation]:
    """Yield ``limit_use``, and the losses of five minutes, an hour and the day so far, by strategy.

    What is usual for the loss of an hour is one deviation of what the market did to what was held in it.
    """
    if book is None:
        return
    held = _Book(book, moment)
    for strategy in held.strategies:
        subject, allotted = Subject(strategy=strategy), book.allotted.get(strategy, Allotted(None, None))
        gross, limit = held.gross(strategy), allotted.position_limit
        use = None if gross is None or limit is None else gross / max(limit, _NO_LIMIT_IS)
        yield Observation("limit_use", subject, use, moment, None, None, "positions, fills")
        for metric, start in windows_to(moment).items():
            lost, budget = held.lost(strategy, start), allotted.loss_budget
            share = None if lost is None or not budget else max(0.0, lost / budget)
            yield Observation(metric, subject, share, moment, None, None, "positions, fills")
        lost = held.lost(strategy, moment - _HOUR)
        loss = None if lost is None else max(0.0, lost)
        yield Observation("loss_1h", subject, loss, moment, None, held.deviation(strategy), "positions, fills")


class _Book:
    """Positions, fills and marks up to one moment, by strategy and market."""

    def __init__(self, book: BookDay, moment: datetime) -> None:
        self._moment, self._since, self._currency = moment, book.since, book.currency
        self._stated: dict[tuple[str, Place], list[Row]] = {}
        self._filled: dict[tuple[str, Place], list[Row]] = {}
        self._marks: dict[Place, list[tuple[datetime, float]]] = {}
        for table, at, rows in ((book.positions, "held_at", self._stated), (book.fills, "filled_at", self._filled)):
            for row in table.sort_by(at).to_pylist():
                if row[at] <= moment:
                    rows.setdefault((row["strategy"], _place(row)), []).append(row)
        for place, priced_at, price in _priced(book, self._stated.values()):
            self._marks.setdefault(place, []).append((priced_at, price))

    @property
    def strategies(self) -> list[str]:
        return sorted({strategy for strategy, _ in (*self._stated, *self._filled)})

    def gross(self, strategy: str) -> float | None:
        """Return the absolute value of all that a strategy holds; None where a part of it can't be told."""
        values = []
        for place in self._places(strategy):
            held = self._position(strategy, place, self._moment)
            values.append(None if held is None else self._value(place, held, self._moment, _HOUR))
        return None if None in values else math.fsum(abs(each) for each in values if each is not None)

    def lost(self, strategy: str, start: datetime) -> float | None:
        """Return what a strategy has lost since ``start``, marked to the market, fees paid and funding left out.

        The change of the position's value less what was paid for it: what was held at the start earns the change of
        the mark, and each fill the way from its price to the mark.
        """
        earned = [self._earned(strategy, place, start) for place in self._places(strategy)]
        return None if None in earned else -math.fsum(each for each in earned if each is not None)

    def deviation(self, strategy: str) -> float | None:
        """Return the root of the sum of squares of what each minute of the last hour did to what a strategy held.

        None where a position, or most minutes' marks, can't be told.
        """
        steps = minutes_to(self._moment)
        moves = [0.0] * (len(steps) - 1)
        for place in self._places(strategy):
            fills = [row for row in self._filled.get((strategy, place), ()) if row["filled_at"] > steps[0]]
            held = self._opening(strategy, place, steps[0], fills)
            if held == 0 and not fills:
                continue
            marks = self._marks_at(place, steps)
            if held is None or marks is None:
                return None
            to_come = deque(fills)
            for number, (before, after) in enumerate(pairwise(marks)):
                while to_come and to_come[0]["filled_at"] <= steps[number]:
                    held += position_change(to_come.popleft())
                moves[number] += float(held) * (after - before)
        return math.hypot(*moves)

    def _marks_at(self, place: Place, steps: Sequence[datetime]) -> list[float] | None:
        """Return the newest mark at each of ``steps``; None where the book has none, or too few are new."""
        marks = sorted(self._marks.get(place, ()), key=lambda mark: mark[0])
        newest = [bisect_right(marks, step, key=lambda mark: mark[0]) - 1 for step in steps]
        fresh = sum(before < after for before, after in pairwise(newest))
        known = newest[0] >= 0 and marks[newest[0]][0] >= steps[0] - _HOUR / _MARK_SHARE
        if not known or fresh < _MARKED * (len(steps) - 1) or not self._in_currency(place):
            return None
        return [marks[each][1] for each in newest]

    def _in_currency(self, place: Place) -> bool:
        # An inverse contract is quoted in dollars, which is no book's coin here, and has no value by this formula.
        return place[1].partition("/")[2].partition(":")[0] == self._currency

    def _earned(self, strategy: str, place: Place, start: datetime) -> float | None:
        window = self._moment - start
        fills = [row for row in self._filled.get((strategy, place), ()) if row["filled_at"] > start]
        opening = self._opening(strategy, place, start, fills)
        if opening is None:
            return None
        closing = opening + _traded(fills)
        before = self._value(place, opening, start, window)
        after = self._value(place, closing, self._moment, window)
        # A fee in the coin itself has left the position; one in a third coin has no price here.
        charged = [row for row in fills if row["fee"] and row["fee_currency"] != place[1].partition("/")[0]]
        if before is None or after is None or any(row["fee_currency"] != self._currency for row in charged):
            return None
        paid = sum((row["side"] * row["quantity"] * row["price"] for row in fills), Decimal(0))
        return after - before - float(paid + sum((row["fee"] for row in charged), Decimal(0)))

    def _places(self, strategy: str) -> list[Place]:
        return sorted({place for name, place in (*self._stated, *self._filled) if name == strategy})

    def _position(self, strategy: str, place: Place, at: datetime) -> Decimal | None:
        """Return what was held: the last statement and the fills since, or the next one without those until then.

        None where nothing was stated, or the fills between are not all known.
        """
        stated, fills = self._stated.get((strategy, place), []), self._filled.get((strategy, place), [])
        by_then = [row for row in stated if row["held_at"] <= at]
        if by_then:
            last = by_then[-1]
            return _after(last, (row for row in fills if last["held_at"] < row["filled_at"] <= at), 1)
        if stated and at >= self._since:
            return _after(stated[0], (row for row in fills if at < row["filled_at"] <= stated[0]["held_at"]), -1)
        return None

    def _opening(self, strategy: str, place: Place, start: datetime, fills: Sequence[Row]) -> Decimal | None:
        """Return what was held at ``start``, as all statements since confirm it with the ``fills`` since.

        None where they don't: a fill that is missing has an unknown price. Positions are stated by our clock and fills
        by the venue's, so that fills near a statement's instant may be in it or not. If they are near the one that the
        position at the start rests on, what most later ones say corrects it.
        """
        opening = self._position(strategy, place, start)
        stated = self._stated.get((strategy, place), [])
        later = [row for row in stated if row["held_at"] > start]
        if opening is None or not later:
            return opening
        basis = stated[max(0, len(stated) - len(later) - 1)]
        to_come, held, apart = deque(fills), opening, list[Decimal]()
        for row in later:
            while to_come and to_come[0]["filled_at"] <= row["held_at"]:
                held += position_change(to_come.popleft())
            apart.append(row["position"] - held)
        usual = median_low(apart) if self._near(strategy, place, basis["held_at"]) else Decimal(0)
        off = [(usual, basis), *((each - usual, row) for each, row in zip(apart, later, strict=True))]
        agreed = all(not each or abs(each) <= self._near(strategy, place, row["held_at"]) for each, row in off)
        return opening + usual if agreed else None

    def _near(self, strategy: str, place: Place, at: datetime) -> Decimal:
        """Return how much was traded so close to an instant that either clock may put it before."""
        fills = self._filled.get((strategy, place), [])
        first = bisect_left(fills, at - _CLOCKS, key=lambda row: row["filled_at"])
        after = bisect_right(fills, at + _CLOCKS, key=lambda row: row["filled_at"])
        return sum((abs(position_change(row)) for row in fills[first:after]), Decimal(0))

    def _value(self, place: Place, quantity: Decimal, at: datetime, window: timedelta) -> float | None:
        if not quantity:
            return 0.0
        if not self._in_currency(place):
            return None
        oldest = at - min(window, _HOUR) / _MARK_SHARE
        marks = [each for each in self._marks.get(place, ()) if oldest <= each[0] <= at]
        # Of two prices of one instant the first source counts.
        return float(quantity) * max(marks, key=lambda mark: mark[0])[1] if marks else None


def _priced(book: BookDay, stated: Collection[Sequence[Row]]) -> Iterator[tuple[Place, datetime, float]]:
    """Yield every price that a position can be marked with: mids of quotes, closes of bars, the desk's own marks."""
    for row in [] if book.mids is None else book.mids.to_pylist():
        yield _place(row), row["quoted_at"], row["mid"]
    for row in [] if book.candles is None else book.candles.to_pylist():
        yield _place(row), row["ts"] + timeframe_length(row["timeframe"]), row["close"]
    for row in (each for rows in stated for each in rows):
        if row["mark_price"] is not None:
            yield _place(row), row["held_at"], float(row["mark_price"])


def _after(stated: Row, fills: Iterable[Row], sign: int) -> Decimal:
    position: Decimal = stated["position"] + sign * _traded(fills)
    return position


def _traded(fills: Iterable[Row]) -> Decimal:
    return sum((position_change(row) for row in fills), Decimal(0))


def _place(row: Row) -> Place:
    return row["venue"], row["symbol"]
