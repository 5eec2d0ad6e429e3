"""What the lake holds of one market and what the desk did in it, as the `Case` that the rules look at.

What nobody recorded stays None, so that the rule that needs it says so. Two inputs have no table: books (depth), and
liquidations with open interest. The spread of quotes has no baseline: the profile's is estimated from bars. Statements
of positions are not taken: the venue's are of the whole account, and with either's a fill that the desk's records lack,
which is a break of reconciliation, would be a liquidation.

Belongs here: rows to samples. Doesn't: reading tables, rules, and what is made of their answers
(``failure_mode_days``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.failure_mode_rules.case import (
    DAY,
    Case,
    FeeSchedule,
    Fills,
    MarketBars,
    Orders,
    Samples,
    Window,
)
from research_to_prod.attribution.shadow_days import Place
from research_to_prod.execution.contracts import DECISIONS, FILLS, ORDERS
from research_to_prod.market_data.series import Floats, Integers, micros
from research_to_prod.values import day_bounds, timeframe_length

TRADES_OF_DAYS = 30
"""Days of orders, and of markouts of maker fills, that the rules look at that tell by many trades."""

_MARKOUT_SECONDS = 5
_NO_PAYMENTS = Samples(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True, eq=False)
class MarketTables:
    """Rows of one market by table, of the days that its inputs look back on; None where nothing was recorded.

    Parameters
    ----------
    candles, other_candles
        ``CANDLES`` of the market, and of its spot or perpetual.
    funding
        ``FUNDING_RATES`` of half a year; None of a spot market.
    quotes
        Times of its quotes of the day, in microseconds.
    """

    candles: pa.Table | None = None
    other_candles: pa.Table | None = None
    profile: pa.Table | None = None
    funding: pa.Table | None = None
    findings: pa.Table | None = None
    fee_schedules: pa.Table | None = None
    quotes: Integers | None = None
    quotes_elsewhere: Mapping[str, Integers] | None = None


@dataclass(frozen=True, eq=False)
class DeskTables:
    """The desk's records of one strategy's market.

    Parameters
    ----------
    shadow
        ``SHADOW`` rows of the strategy, of all its days so far and all its markets.
    decisions, orders, slippage, markouts
        Of the last `TRADES_OF_DAYS` days.
    fills
        Of the day, with ``bid`` and ``ask`` just before each.
    """

    shadow: pa.Table
    decisions: pa.Table = field(default_factory=DECISIONS.empty)
    orders: pa.Table = field(default_factory=ORDERS.empty)
    slippage: pa.Table | None = None
    markouts: pa.Table | None = None
    fills: pa.Table = field(default_factory=FILLS.empty)


def case_of_day(day: str, place: Place, market: MarketTables, desk: DeskTables) -> Case:
    """Return what is known of a market on a UTC day; series that look back begin before it."""
    start, end = (micros(each) for each in day_bounds(day))
    held = next((row for row in desk.shadow.to_pylist() if _is(row, place, day)), None)
    return Case(
        start,
        end,
        bars=_bars(market, start, end),
        profile=market.profile if market.profile is not None and market.profile.num_rows else None,
        funding=_samples(market.funding, "ts", "rate") if ":" in place.symbol else _NO_PAYMENTS,
        basis=_basis(place, market),
        updates=market.quotes if market.quotes_elsewhere else None,
        updates_elsewhere=market.quotes_elsewhere or None,
        halts=_halts(market.findings),
        orders=_orders(desk, held),
        fills=_fills(desk.fills, held, start),
        fee_schedule=_fee_schedule(market.fee_schedules),
        carry_share=_carry_share(held),
        markouts=_markouts(desk.markouts),
        edge=_edge(desk.shadow),
    )


def _is(row: Mapping[str, Any], place: Place, day: str) -> bool:
    return row["day"] == day and (row["strategy"], row["venue"], row["symbol"]) == place


def _bars(market: MarketTables, start: int, end: int) -> MarketBars | None:
    """Return the bars of the day, of the profile's timeframe; None without one."""
    if market.candles is None or market.profile is None or not market.profile.num_rows:
        return None
    timeframe = market.profile["timeframe"][0].as_py()
    rows = market.candles.filter(pc.equal(market.candles["timeframe"], timeframe)).sort_by("ts")
    at = _times(rows, "ts")
    rows = rows.filter(pa.array((at >= start) & (at < end)))
    return MarketBars(rows, timeframe_length(timeframe)) if rows.num_rows else None


def _basis(place: Place, market: MarketTables) -> Samples | None:
    """Return perpetual over spot, less 1, at the closes that both have."""
    if market.candles is None or market.other_candles is None:
        return None
    pair = (market.candles, market.other_candles)
    perpetual, spot = (_closes(each) for each in (pair if ":" in place.symbol else reversed(pair)))
    at, first, second = np.intersect1d(perpetual.at, spot.at, return_indices=True)
    return Samples(at, perpetual.value[first] / spot.value[second] - 1) if len(at) else None


def _closes(candles: pa.Table) -> Samples:
    """Return the closes of the finest timeframe, when they were known."""
    lengths = {each: timeframe_length(each) for each in candles["timeframe"].unique().to_pylist()}
    finest = min(lengths, key=lambda each: lengths[each])
    rows = candles.filter(pc.equal(candles["timeframe"], finest)).sort_by("ts")
    return Samples(_times(rows, "ts") + lengths[finest] // timedelta(microseconds=1), rows["close"].to_numpy())


def _halts(findings: pa.Table | None) -> tuple[Window, ...] | None:
    if findings is None:
        return None
    return tuple(
        Window(row["first_at"], row["last_at"] + timeframe_length(row["timeframe"]))
        for row in findings.to_pylist()
        if row["rule"] == "venue_outage"
    )


def _orders(desk: DeskTables, held: Mapping[str, Any] | None) -> Orders:
    """Return the orders; what they cost beyond the model is spread and impact, the components without market noise."""
    charged = None if held is None else held["cost_rate"]
    excess: dict[str, float] = {}
    if desk.slippage is not None and charged is not None:
        for row in desk.slippage.to_pylist():
            if row["excluded_reason"] is None and row["executed_value"]:
                paid = (row["spread"] + row["impact"]) / row["executed_value"]
                excess[row["order_id"]] = 1e4 * (paid - float(charged))
    wanted = dict(zip(*(desk.decisions[each].to_pylist() for each in ("decision_id", "target_quantity")), strict=True))
    rows = desk.orders.sort_by([("sent_at", "ascending"), ("order_id", "ascending")])
    names = rows["order_id"].to_pylist()
    return Orders(
        at=_times(rows, "sent_at"),
        client_id=np.array(names, dtype=object),
        quantity=_numbers(rows["quantity"].to_pylist()),
        wanted=_numbers([wanted.get(each) for each in rows["decision_id"].to_pylist()]),
        rejected=np.array([each == "rejected" for each in rows["end_reason"].to_pylist()], bool),
        excess_cost=np.array([excess.get(each, np.nan) for each in names], np.float64),
    )


def _fills(fills: pa.Table, held: Mapping[str, Any] | None, start: int) -> Fills | None:
    """Return the day's fills after one that made the position of its beginning; None where that is not known.

    Neither where a fee was taken in a currency of no known price.
    """
    rows = fills.sort_by([("filled_at", "ascending"), ("fill_id", "ascending")]).to_pylist()
    opening = None if held is None else held["opening_position"]
    if opening is None or (opening and held is not None and held["opening_mid"] is None):
        return None
    before: list[dict[str, Any]] = []
    if opening and held is not None:
        unknown = {"fee": Decimal(0), "fee_currency": "", "liquidity": "taker", "forced": None}
        quoted = {"bid": float("nan"), "ask": float("nan"), "price": held["opening_mid"]}
        side = 1 if opening > 0 else -1
        before = [{"at": start - 1, "side": side, "quantity": abs(opening), **quoted, **unknown}]
    rows = [*before, *({**row, "at": micros(row["filled_at"])} for row in rows)]
    fees = [_fee(row) for row in rows]
    if None in fees:
        return None
    return Fills(
        at=np.array([row["at"] for row in rows], np.int64),
        side=np.array([row["side"] for row in rows], np.int64),
        quantity=_numbers([row["quantity"] for row in rows]),
        price=_numbers([row["price"] for row in rows]),
        bid=_numbers([row["bid"] for row in rows]),
        ask=_numbers([row["ask"] for row in rows]),
        fee=_numbers(fees),
        maker=np.array([row["liquidity"] == "maker" for row in rows], bool),
        forced=np.array([row["forced"] is not None for row in rows], bool),
    )


def _fee(row: Mapping[str, Any]) -> float | None:
    """Return the fee in basis points of the fill's value; None in a third currency."""
    if not row["fee"]:
        return 0.0
    base, _, quote = row["symbol"].partition(":")[0].partition("/")
    value = {base: row["quantity"], quote: row["quantity"] * row["price"]}.get(row["fee_currency"])
    return float(10_000 * row["fee"] / value) if value else None


def _fee_schedule(rows: pa.Table | None) -> FeeSchedule | None:
    if rows is None or not rows.num_rows:
        return None
    last = rows.sort_by("stated_at").slice(rows.num_rows - 1).to_pylist()[0]
    return FeeSchedule(1e4 * float(last["maker_rate"]), 1e4 * float(last["taker_rate"]))


def _carry_share(held: Mapping[str, Any] | None) -> float | None:
    """Return the share of the day's loss that funding was; none on a day that earned."""
    if held is None or held["live"] is None or held["funding"] is None:
        return None
    return max(0.0, float(held["funding"] / held["live"])) if held["live"] < 0 else 0.0


def _markouts(rows: pa.Table | None) -> Samples | None:
    """Return what the maker fills were worth five seconds later, net of fees, in basis points."""
    if rows is None:
        return None
    chosen = pc.and_(pc.equal(rows["liquidity"], "maker"), pc.equal(rows["horizon_seconds"], _MARKOUT_SECONDS))
    own = rows.filter(pc.and_(chosen, rows["net_after_fee"].is_valid())).sort_by("filled_at")
    return Samples(_times(own, "filled_at"), 1e4 * own["net_after_fee"].to_numpy() / own["value"].to_numpy())


def _edge(shadow: pa.Table) -> Samples | None:
    """Return by day the strategy's shadow P&L less what is expected, in standard deviations; None of too few days."""
    by_day: dict[str, list[Decimal | None]] = {}
    for row in shadow.to_pylist():
        both = row["shadow"] is not None and row["expected"] is not None
        by_day.setdefault(row["day"], []).append(row["shadow"] - row["expected"] if both else None)
    known = {
        day: float(sum(each for each in markets if each is not None))
        for day, markets in sorted(by_day.items())
        if None not in markets
    }
    excess = np.array(list(known.values()), np.float64)
    deviation = float(np.std(excess, ddof=1)) if len(excess) > 1 else 0.0
    if not deviation > 0:
        return None
    return Samples(np.array([micros(day_bounds(day)[1]) - 1 for day in known], np.int64), excess / deviation)


def _samples(rows: pa.Table | None, at: str, value: str) -> Samples | None:
    if rows is None or not rows.num_rows:
        return None
    ordered = rows.sort_by(at)
    return Samples(_times(ordered, at), ordered[value].to_numpy())


def _times(rows: pa.Table, name: str) -> Integers:
    return np.asarray(rows[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy())


def _numbers(values: Sequence[Decimal | float | None]) -> Floats:
    return np.array([np.nan if each is None else float(each) for each in values], np.float64)


def since(day: str, days: int) -> int:
    """Return the start of the window of ``days`` days that ends with a day, in microseconds."""
    return micros(day_bounds(day)[1]) - days * DAY
