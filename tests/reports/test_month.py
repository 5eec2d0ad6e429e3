"""What the report says of the days up to its own: each line from the rows that answer its question, nothing made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from research_to_prod.reports.compile_month import compile_month, days_up_to
from tests.reports.month_tables import month_tables

DAY, BEFORE = "2026-01-02", "2026-01-01"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
D = Decimal
PLACE = {"strategy": "momentum", "venue": "v", "symbol": "BTC/USDT"}


def at(seconds: float, day: int = 0) -> datetime:
    return NOON + timedelta(days=day, seconds=seconds)


def fill(number: int, liquidity: str = "taker", day: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a fill of 2 at 50, 5 bps to a taker and 2 to a maker."""
    fee = {"fee": D("0.05") if liquidity == "taker" else D("0.02"), "fee_currency": "USDT"}
    row = PLACE | {"fill_id": str(number), "order_id": "o", "side": 1, "quantity": D(2), "price": D(50)} | fee
    return row | {"liquidity": liquidity, "filled_at": at(0, day), "received_at": at(0.1, day)} | changes


def shadow(day: str = DAY, **changes: Any) -> dict[str, Any]:
    return PLACE | {"day": day, "opening_position": D(10), "closing_position": D(12), "closing_mid": D(50),
                    "capital": D(1000), "funding": D(0)} | changes  # fmt: skip


def decision(seconds: float, quantity: str, **changes: Any) -> dict[str, Any]:
    row = PLACE | {"decision_id": str(seconds), "decided_at": at(seconds), "side": 1, "target_quantity": D(quantity)}
    return row | {"sent": True} | changes


def test_the_days_looked_back_on_end_with_the_report_s_own() -> None:
    days = days_up_to("2026-03-01")
    assert (len(days), days[0], days[-2:]) == (30, "2026-01-31", ["2026-02-28", "2026-03-01"])


def test_a_month_of_nothing_answers_nothing_and_breaks_nothing() -> None:
    month = compile_month(month_tables(DAY))
    assert (month.days, month.first_day, month.resting_orders) == (1, DAY, 0)
    assert [line.orders for line in month.hours] == [0] * 168
    rest = month.model_dump(exclude={"days", "first_day", "hours", "resting_orders", "latency_excluded"})
    assert set(map(len, rest.values())) == {0}


def test_a_change_of_fees_is_split_into_rate_mix_and_volume_against_the_mean_day_before() -> None:
    before = [fill(1, day=-1), fill(2, "maker", day=-1)]
    today = [fill(3), fill(4), fill(5, "maker", fee=D("0.01"))]
    (line,) = compile_month(month_tables(DAY, BEFORE, fills=before + today)).fee_changes
    assert (line.today_money, line.days_before, line.reason) == (D("0.11"), 1, None)
    # 100 more at 3.5 bps; two thirds instead of half from takers at 3 bps more; a maker's bp saved.
    assert line.volume_money == D("0.035")
    assert line.mix_money == D("0.015")
    assert line.rate_money == D("-0.01")


def test_fees_without_a_day_or_a_liquidity_before_are_not_split_and_say_why() -> None:
    (first,) = compile_month(month_tables(DAY, fills=[fill(1)])).fee_changes
    assert (first.rate_money, first.reason) == (None, "there is no day before")
    (new,) = compile_month(month_tables(DAY, BEFORE, fills=[fill(1), fill(2, "maker", day=-1)])).fee_changes
    assert new.reason is not None
    assert "no modelled rate for taker" in new.reason


def test_funding_is_that_of_perpetuals_and_unknown_where_one_market_is() -> None:
    swap = {"symbol": "BTC/USDT:USDT"}
    rows = [shadow(funding=D(3), **swap), shadow(BEFORE, funding=D(5), **swap), shadow(funding=D(9))]
    rows.append(shadow(strategy="carry", funding=None, **swap))
    carry, momentum = compile_month(month_tables(DAY, BEFORE, shadow=rows)).funding
    assert (momentum.today_money, momentum.before_money, momentum.days_before) == (3, 5, 1)
    assert (carry.today_money, carry.before_money) == (None, None)


def test_the_target_is_what_the_last_decision_would_hold_sent_or_not() -> None:
    decisions = [decision(0, "1"), decision(60, "3", sent=False)]
    fills = [fill(1, filled_at=at(30))]
    (line,) = compile_month(month_tables(DAY, decisions=decisions, fills=fills, shadow=[shadow()])).exposures
    # 10 at the start, 2 filled, 3 wanted more and not sent.
    assert (line.target_weight, line.held_weight, line.drift_money) == (0.75, 0.6, -150)
    assert (line.stated, line.difference_money) == (None, None)


def test_a_stated_position_is_held_against_the_fills_until_that_instant() -> None:
    fills = [fill(1, filled_at=at(30)), fill(2, filled_at=at(90))]
    stated = [PLACE | {"held_at": at(60), "position": D("12.5")}, PLACE | {"held_at": at(-60), "position": D(10)}]
    (line,) = compile_month(month_tables(DAY, fills=fills, shadow=[shadow()], positions=stated)).exposures
    assert (line.stated_at, line.stated, line.by_fills, line.difference_money) == (at(60), D("12.5"), 12, 25)
    assert line.target_weight is None


def test_a_position_that_is_not_known_has_no_weight_and_no_difference() -> None:
    unknown = shadow(opening_position=None, closing_position=None, closing_mid=None)
    stated = [PLACE | {"held_at": at(60), "position": D(12)}]
    (line,) = compile_month(
        month_tables(DAY, decisions=[decision(0, "1")], shadow=[unknown], positions=stated)
    ).exposures
    assert (line.held_weight, line.target_weight, line.drift_money, line.by_fills) == (None, None, None, None)


def test_missed_counts_what_was_not_sent_and_not_filled_and_sums_selection_over_its_days() -> None:
    decisions = [decision(0, "1"), decision(1, "1", sent=False)]
    order = PLACE | {"quantity": 4.0, "filled_quantity": 3.0, "order_value": 400.0, "opportunity": 1.5}
    costs = [order | {"order_id": "o"}, order | {"order_id": "x", "excluded_reason": "no quote", "opportunity": None}]
    rows = [shadow(selection=D(2)), shadow(BEFORE, selection=D(-5)), shadow("2025-12-31", selection=None)]
    (line,) = compile_month(
        month_tables(DAY, "2025-12-31", BEFORE, decisions=decisions, slippage=costs, shadow=rows)
    ).missed
    assert (line.decisions, line.unsent, line.orders, line.filled_share, line.opportunity) == (2, 1, 1, 0.75, 1.5)
    assert (line.selection_money, line.selection_days, line.selection_low) == (-3, 2, None)


def test_the_chance_of_a_fill_is_that_of_children_where_events_are_delivered() -> None:
    def event(child: str, name: str, seconds: float, *, post_only: bool = True) -> dict[str, Any]:
        row = PLACE | {"event_id": f"{child}{name}{seconds}", "child_id": child, "order_id": "o", "event": name}
        return row | {"received_at": at(seconds), "post_only": post_only}

    events = [event("a", "new", 0), event("a", "fill", 5), event("a", "fill", 9), event("b", "new", 0)]
    events += [event("b", "cancelled", 20), event("c", "new", 0, post_only=False), event("c", "fill", 1)]
    events += [event("lost", "new", 0)]
    month = compile_month(month_tables(DAY, order_events=events))
    assert month.resting_orders == 2
    assert [(line.seconds, line.probability, line.at_risk) for line in month.fill_chances[:3]] == [
        (1, 0.0, 2), (10, 0.5, 1), (60, 0.5, 0),
    ]  # fmt: skip
    orders = [PLACE | {"order_id": "o", "style": "maker", "acknowledged_at": at(0), "ended_at": at(30)}]
    without = compile_month(month_tables(DAY, orders=orders, fills=[fill(1, received_at=at(3))]))
    assert (without.resting_orders, without.fill_chances[1].probability) == (1, 1.0)


def test_drift_is_adverse_selection_seen_from_the_strategy() -> None:
    rows = [
        PLACE | {"order_id": str(n), "fill_id": str(n), "horizon_seconds": seconds, "liquidity": "taker", "side": 1}
        | {"value": 100.0, "adverse_selection": -0.01, "net_after_fee": 0.0}
        for n in range(8) for seconds in (1, 60, 1800)
    ]  # fmt: skip
    lines = compile_month(month_tables(DAY, markouts=rows)).drift
    assert [line.horizon_seconds for line in lines] == [1, 60]
    assert lines[0].mean_bps == pytest.approx(1.0)
    assert (lines[0].low_bps, lines[0].high_bps) == (pytest.approx(1.0), pytest.approx(1.0))
