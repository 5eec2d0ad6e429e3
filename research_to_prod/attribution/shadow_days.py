"""A day of live against model from the desk's records: positions, marks and charges, then the pairing.

A market that can't be paired is a row with the reason and without numbers, never a zero. Positions follow from the
desk's own statement where it delivers one, otherwise from its fills since its first recorded day.

Belongs here: finding what `shadow.paired_days` needs, market by market. Doesn't: the pairing itself (``shadow``),
where the tables lie.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.funding import FundingTime, PositionChange, funding_due
from research_to_prod.attribution.pnl_contracts import SHADOW
from research_to_prod.attribution.quote_match import match_quotes
from research_to_prod.attribution.shadow import Market, MarketDay, ModelCharges, PairedDay, paired_days
from research_to_prod.attribution.signal_divergence import SignalTime, signal_divergences
from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.values import day_bounds

MARK_AGE = timedelta(minutes=5)
"""A day's last quote may be this old: the desk records quotes around its trading, which may have been hours before."""

LARGEST_ROUNDING = 1e-4
"""Weight by which live may miss the model for want of a smaller lot; a basis point of capital."""

_ZERO = Decimal(0)
_FREE = ModelCharges(_ZERO, _ZERO)
_UNIT = Decimal("1e-18")


class Place(NamedTuple):
    """One market on one venue as one strategy trades it."""

    strategy: str
    venue: str
    symbol: str


@dataclass(frozen=True)
class Model:
    """What the candidate of a strategy promised, as far as a day is held against it.

    Parameters
    ----------
    markets
        Venue and symbol of each market that it was approved for.
    capital
        What a weight of 1 holds, in quote currency.
    expected
        P&L of a day by the deflated backtest, in quote currency; None without a backtest.
    signals
        By market and time of a bar's close, the target weight that the model gives when run again; none where it
        could not be run.
    """

    markets: frozenset[tuple[str, str]]
    capital: Decimal
    charges: ModelCharges
    expected: Decimal | None
    signals: Mapping[SignalTime, float]
    step: timedelta


@dataclass(frozen=True)
class Opening:
    """What a market began the day with; the mid is None where none is known."""

    position: Decimal
    mid: Decimal | None
    known: bool


@dataclass(frozen=True)
class DeskDay:
    """The desk's records of one UTC day.

    Parameters
    ----------
    quotes
        ``QUOTES`` rows in pieces.
    positions
        The desk's statement of its positions (``strategy, venue, symbol, held_at, position, mark_price``), where it
        delivers one.
    before
        ``SHADOW`` rows of the day before; None on the first recorded day.
    """

    day: str
    decisions: pa.Table
    orders: pa.Table
    fills: pa.Table
    quotes: Iterable[pa.Table]
    positions: pa.Table | None
    before: pa.Table | None

    def openings(self) -> dict[Place, Opening | None]:
        """Return what each market that is held or traded began with; None where its position is not known."""
        start, _ = day_bounds(self.day)
        earlier = {_place(row): row for row in (() if self.before is None else self.before.to_pylist())}
        stated = {
            _place(row): row
            for row in (() if self.positions is None else self.positions.to_pylist())
            if row["held_at"] == start
        }
        found: dict[Place, Opening | None] = {}
        for place in self.places() | {each for each, row in (earlier | stated).items() if _holds(row)}:
            last, own = earlier.get(place), stated.get(place)
            mid = last["closing_mid"] if last else None
            if own is not None:
                found[place] = Opening(own["position"], mid or own["mark_price"], known=True)
            elif last is None:
                # On the first recorded day nobody says what was held before it; later a new market begins at none.
                found[place] = Opening(_ZERO, None, known=self.before is not None)
            else:
                held = last["closing_position"]
                found[place] = None if held is None else Opening(held, mid, known=last["position_known"])
        return found

    def places(self) -> set[Place]:
        """Return the markets that the day's records name."""
        return {
            _place(row)
            for table in (self.decisions, self.orders, self.fills)
            for row in table.select(["strategy", "venue", "symbol"]).to_pylist()
        }

    def closing_mids(self, places: Sequence[Place]) -> dict[Place, Decimal]:
        """Return the last mid of the day of each market that has one."""
        events = pa.table({
            "venue": pa.array([each.venue for each in places], pa.string()),
            "symbol": pa.array([each.symbol for each in places], pa.string()),
            "at": pa.array([day_bounds(self.day)[1]] * len(places), TIMESTAMP),
        })  # fmt: skip
        mids = match_quotes(events, {"at": "quoted_at"}, self.quotes, MARK_AGE)["at"].mid.tolist()
        return {place: Decimal(repr(mid)) for place, mid in zip(places, mids, strict=True) if not math.isnan(mid)}

    def of(self, place: Place) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Return the decisions, orders and fills of one market."""

        def own(table: pa.Table) -> pa.Table:
            chosen = pc.equal(table["strategy"], place.strategy)
            for name in ("venue", "symbol"):
                chosen = pc.and_(chosen, pc.equal(table[name], getattr(place, name)))
            return table.filter(chosen)

        return own(self.decisions), own(self.orders), own(self.fills)

    def holding(self, place: Place, opening: Decimal, fills: pa.Table) -> Callable[[datetime], Decimal]:
        """Return what tells how much of a market was held just before a moment of the day.

        It is the desk's last statement, and the market's ``fills`` since; ``opening`` before the first one. A fill that
        the records lack is missed until the next statement and no longer: from the fills alone, every later decision of
        its day seemed to be another than the model's.
        """
        start = day_bounds(self.day)[0]
        stated = () if self.positions is None else self.positions.to_pylist()
        own = ((row["held_at"], row["position"]) for row in stated if _place(row) == place and row["held_at"] >= start)
        statements = [(start, opening), *sorted(own)]
        changes = sorted((row["filled_at"], position_change(row)) for row in fills.to_pylist())
        times = [at for at, _ in changes]
        sums = [_ZERO, *accumulate(change for _, change in changes)]

        def held(at: datetime) -> Decimal:
            since, position = statements[bisect_right(statements, at, key=lambda each: each[0]) - 1]
            return position + sums[bisect_left(times, at)] - sums[bisect_left(times, since)]

        return held


def shadow_of_day(
    desk: DeskDay, models: Mapping[str, Model], funding: Mapping[tuple[str, str], Sequence[FundingTime] | None]
) -> pa.Table:
    """Return the ``SHADOW`` rows of a day: each market that a strategy holds or trades, paired or with the reason.

    Parameters
    ----------
    models
        By strategy; one without has live P&L only.
    funding
        By venue and symbol of each perpetual, the funding times of the day; None where they are not proven complete.
    """
    openings = desk.openings()
    places = sorted(openings)
    closing = desk.closing_mids(places)
    rows = [_row(desk, place, openings[place], closing.get(place), models, funding) for place in places]
    return pa.Table.from_pylist(rows, schema=SHADOW.arrow)


def _row(
    desk: DeskDay, place: Place, opening: Opening | None, closing_mid: Decimal | None,
    models: Mapping[str, Model], funding: Mapping[tuple[str, str], Sequence[FundingTime] | None],
) -> dict[str, Any]:  # fmt: skip
    decisions, orders, fills = desk.of(place)
    model = models.get(place.strategy)
    row: dict[str, Any] = {"day": desk.day, **place._asdict(), "position_known": False, "orders": orders.num_rows}
    row |= {"signals": 0, "diverging": [], "model_quantities": []}
    try:
        day = _day(place, opening, closing_mid, fills, funding)
        paired = _paired(place, decisions, orders, fills, day, model.charges if model else _FREE)
    except ValueError as error:
        return row | {"excluded_reason": str(error)}
    known = opening is not None and opening.known
    row |= {"position_known": known, "opening_position": day.position, "funding": _stored(day.funding)}
    row |= {"opening_mid": day.opening_mid, "closing_mid": day.closing_mid}
    row |= {"closing_position": paired.closing_position, "live": _stored(paired.live)}
    if model is None:
        return row | {"excluded_reason": f"no candidate {place.strategy} is materialized: its model is not known"}
    if (place.venue, place.symbol) not in model.markets:
        traded = ", ".join(sorted(symbol for _, symbol in model.markets))
        return row | {"excluded_reason": f"candidate {place.strategy} is for {traded}, not for this market"}
    row |= {"capital": model.capital, "cost_rate": model.charges.cost_rate, "fee_rate": model.charges.fee_rate}
    row |= {"shadow": _stored(paired.shadow)}
    row |= {"selection": None if paired.selection is None else _stored(paired.selection)}
    if model.expected is not None:
        row["expected"] = _stored(model.expected / len(model.markets))
    if known:
        row |= _signals(desk, place, day.position, decisions, fills, model)
    return row


def _day(
    place: Place, opening: Opening | None, closing_mid: Decimal | None, fills: pa.Table,
    funding: Mapping[tuple[str, str], Sequence[FundingTime] | None],
) -> MarketDay:  # fmt: skip
    if opening is None:
        raise ValueError("what it held at the day's start is not known: the day before could not be paired")
    if closing_mid is None:
        raise ValueError(f"no quote within {MARK_AGE.seconds // 60} minutes before the day's end")
    if opening.mid is None and opening.position:
        raise ValueError("no mid at the day's start")
    # Nothing held: the mark of the day's start moves nothing.
    opening_mid = closing_mid if opening.mid is None else opening.mid
    return MarketDay(opening.position, opening_mid, closing_mid, _funding(place, opening.position, fills, funding))


def _paired(
    place: Place, decisions: pa.Table, orders: pa.Table, fills: pa.Table, day: MarketDay, charges: ModelCharges
) -> PairedDay:
    market = Market(place.strategy, place.symbol)
    return paired_days(decisions, orders, fills, {market: day}, {place.strategy: charges})[0]


def _signals(
    desk: DeskDay, place: Place, opening: Decimal, decisions: pa.Table, fills: pa.Table, model: Model
) -> dict[str, Any]:  # fmt: skip
    """Hold each decision against the model's target at the last close before it, in shares of the capital."""
    holding = desk.holding(place, opening, fills)
    live, asked = {}, {}
    for row in decisions.to_pylist():
        at = _floor(row["decided_at"], model.step)
        signal = SignalTime(place.strategy, place.symbol, at)
        held = holding(row["decided_at"])
        mid = (row["reference_bid"] + row["reference_ask"]) / 2
        if signal in model.signals:
            live[signal] = float((held + row["side"] * row["target_quantity"]) * mid / model.capital)
            asked[signal] = (row["decision_id"], held, mid)
    known = {each: weight for each, weight in model.signals.items() if each in live}
    found = signal_divergences(live, known, LARGEST_ROUNDING)
    instead = [(*asked[each.signal], each.rerun or 0.0) for each in found]
    return {
        "signals": len(live),
        "diverging": [decision for decision, *_ in instead],
        "model_quantities": [weight * float(model.capital / mid) - float(held) for _, held, mid, weight in instead],
    }


def _funding(
    place: Place, position: Decimal, fills: pa.Table, funding: Mapping[tuple[str, str], Sequence[FundingTime] | None]
) -> Decimal:
    if ":" not in place.symbol:
        return _ZERO
    times = funding.get((place.venue, place.symbol))
    if times is None:
        raise ValueError("the funding of the day is not proven complete; materialize funding_rates of the month again")
    changes = [PositionChange(place.symbol, row["filled_at"], position_change(row)) for row in fills.to_pylist()]
    return sum((each.amount for each in funding_due({place.symbol: position}, changes, times)), _ZERO)


def _holds(row: Mapping[str, Any]) -> bool:
    """Tell whether a row of positions, or the end of a row of the day before, holds something or isn't known."""
    return bool(row["position"] if "position" in row else row["closing_position"] != 0)


def position_change(fill: Mapping[str, Any]) -> Decimal:
    """Return by how much a fill changed the position; a fee in base currency leaves it."""
    signed: Decimal = fill["side"] * fill["quantity"]
    return signed - fill["fee"] if fill["fee_currency"] == fill["symbol"].partition("/")[0] else signed


def _place(row: Mapping[str, Any]) -> Place:
    return Place(row["strategy"], row["venue"], row["symbol"])


def _floor(at: datetime, step: timedelta) -> datetime:
    return at - (at - day_bounds(f"{at:%Y-%m-%d}")[0]) % step


def _stored(money: Decimal) -> Decimal:
    return money.quantize(_UNIT)
