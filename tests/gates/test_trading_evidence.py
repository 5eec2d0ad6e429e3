"""The desk's daily tables as evidence: whole days, nothing left out, what never answered is infinite."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import research_to_prod
from research_to_prod.attribution.contracts import SLIPPAGE
from research_to_prod.execution.contracts import DECISIONS, ORDER_EVENTS, ORDERS
from research_to_prod.gates.trading_evidence import (
    Trading,
    evidence_days,
    latency_evidence,
    paired_evidence,
    ratio_bound,
)
from research_to_prod.research.bars import Bars
from research_to_prod.research.candidate import load_candidates
from research_to_prod.values import StrategyType

DESK = Path(research_to_prod.__file__).parent / "desk"
CANDIDATE = next(each for each in load_candidates(DESK / "candidates") if each.name == "btc_momentum")
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")


def table(schema: Any, *rows: dict[str, Any]) -> pa.Table:
    """Return rows of a declared table, with something in every column that a test doesn't speak of."""
    blank = {field.name: _something(field) for field in schema.arrow}
    return pa.Table.from_pylist([blank | row for row in rows], schema=schema.arrow)


def _something(field: pa.Field) -> object:
    if field.nullable:
        return None
    kinds = {"string": "x", "bool": True, "int64": 1, "double": 1.0}
    return START if pa.types.is_timestamp(field.type) else kinds.get(str(field.type), Decimal(1))


def decision(name: str, hours: float, **changes: Any) -> dict[str, Any]:
    return {"decision_id": name, "strategy": "btc_momentum", "decided_at": START + timedelta(hours=hours)} | changes


def order(name: str, hours: float, milliseconds: float | None, **changes: Any) -> dict[str, Any]:
    sent = START + timedelta(hours=hours)
    answered = None if milliseconds is None else sent + timedelta(milliseconds=milliseconds)
    known = {"order_id": f"o-{name}", "decision_id": name, "sent_at": sent, "acknowledged_at": answered}
    return known | {"end_reason": "filled"} | changes


def cost(name: str, hours: float, total: float | None, **changes: Any) -> dict[str, Any]:
    at = START + timedelta(hours=hours)
    known = {"order_id": f"o-{name}", "strategy": "btc_momentum", "sent_at": at, "ended_at": at}
    return known | {"total": total, "order_value": 10_000.0} | changes


def trading(decisions: list[Any] = [], orders: list[Any] = [], costs: list[Any] = []) -> Trading:  # noqa: B006
    return Trading(table(DECISIONS, *decisions), table(ORDERS, *orders), table(SLIPPAGE, *costs), DAYS)


def bars(step: str = "1h", busiest: int = 14) -> Bars:
    ts = np.datetime64("2025-12-01", "us") + np.arange(96) * (
        np.timedelta64(1, "h") if step == "1h" else np.timedelta64(1, "D")
    )
    volume = np.where(ts.astype("datetime64[h]").astype(int) % 24 == busiest, 50.0, 10.0)[:, None]
    price = np.full((96, 1), 100.0)
    return Bars(ts, ("BTC/USDT",), price, price, price, price, volume, np.zeros((96, 1)))


def signal_to_ack(found: Trading) -> list[float]:
    return sorted(latency_evidence(CANDIDATE, found, bars(), 0.05).measures["signal_to_ack"].milliseconds.tolist())


def test_what_was_never_acknowledged_rejected_or_never_sent_is_infinite() -> None:
    decisions = [decision(name, 1) for name in "abcd"]
    orders = [order("a", 1, 250.5), order("b", 1, None), order("c", 1, 10, end_reason="rejected")]
    assert signal_to_ack(trading(decisions, orders)) == [250.5, math.inf, math.inf, math.inf]


def test_only_what_the_candidate_sent_counts_and_the_last_hour_waits_for_the_next_day() -> None:
    decisions = [
        decision("a", 1), decision("b", 1, strategy="eth_momentum_3x"), decision("c", 1, sent=False),
        decision("d", 71.5), decision("e", 70.9),
    ]  # fmt: skip
    orders = [order(name, 1, 100) for name in "abc"] + [order("e", 70.9, 200)]
    assert signal_to_ack(trading(decisions, orders)) == [100.0, 200.0]


def test_an_answer_before_its_decision_stays_negative_for_the_gate_to_see() -> None:
    assert signal_to_ack(trading([decision("a", 1)], [order("a", 1, -5)])) == [-5.0]


def test_the_busiest_hour_is_that_of_the_largest_traded_value_and_longer_bars_do_not_tell() -> None:
    assert latency_evidence(CANDIDATE, trading(), bars(), 0.05).busiest_hour == 14
    assert latency_evidence(CANDIDATE, trading(), bars("1d"), 0.05).busiest_hour is None
    silent = replace(bars(), volume=np.zeros((96, 1)))
    assert latency_evidence(CANDIDATE, trading(), silent, 0.05).busiest_hour is None


def test_slippage_is_held_against_the_cost_that_the_backtest_charged() -> None:
    # 11 bp of 10,000 are 11 a trade; orders of 22 and 11 on three equal days cost 1.5 times that, without an error.
    costs = [cost(f"{day}{n}", 24 * day + 1, total) for day in range(3) for n, total in enumerate((22.0, 11.0))]
    orders = [order(f"{day}{n}", 24 * day + 1, 1) for day in range(3) for n in range(2)]
    found = paired_evidence(CANDIDATE, trading(orders=orders, costs=costs), 0.05)
    assert (found.days, found.decisions) == (3, 6)
    assert found.slippage_ratio == pytest.approx(1.5)
    assert (found.equal_decisions, found.agreeing_bars) == (None, None)


@pytest.mark.parametrize("excluded", [1, 2])
def test_slippage_is_not_known_where_too_many_orders_have_no_cost(excluded: int) -> None:
    costs = [cost(str(n), n, 11.0) for n in range(40)]
    costs[:excluded] = [each | {"total": None, "excluded_reason": "no quote"} for each in costs[:excluded]]
    found = paired_evidence(CANDIDATE, trading(orders=[order(str(n), n, 1) for n in range(40)], costs=costs), 0.04)
    assert found.decisions == 40 - excluded
    assert (found.slippage_ratio is None) is (excluded == 2)


def test_a_market_maker_s_slippage_has_no_model_to_be_held_against() -> None:
    maker = CANDIDATE.model_copy(update={"type": StrategyType.MARKET_MAKING})
    costs = [cost(str(n), 24 * n, 11.0) for n in range(3)]
    assert paired_evidence(maker, trading(costs=costs), 0.05).slippage_ratio is None


def test_the_bound_is_the_ratio_plus_student_s_quantile_of_the_error_between_days() -> None:
    days = np.repeat(np.datetime64("2026-01-01", "D") + np.arange(4), 2)
    realised = np.array([3.0, 1.0, 2.0, 2.0, 5.0, 1.0, 1.0, 1.0])
    # Equal models: the ratio is the mean of the days' sums, and the bound that of an ordinary t interval.
    sums = realised.reshape(4, 2).sum(axis=1) / 2
    expected = sums.mean() + stats.t.ppf(0.95, 3) * sums.std(ddof=1) / math.sqrt(4)
    assert ratio_bound(realised, np.ones(8), days) == pytest.approx(expected)


@pytest.mark.parametrize(("days", "modelled"), [(1, 1.0), (3, 0.0), (3, -1.0), (0, 1.0)])
def test_one_day_or_a_model_that_costs_nothing_bounds_nothing(days: int, modelled: float) -> None:
    on = np.datetime64("2026-01-01", "D") + np.arange(days)
    assert ratio_bound(np.ones(days), np.full(days, modelled), on) is None


def test_evidence_is_of_whole_days_up_to_the_last_that_every_table_has() -> None:
    longer = (*DAYS, "2026-01-04")
    assert evidence_days(START, [longer, longer, DAYS]) == DAYS
    assert evidence_days(START + timedelta(seconds=1), [DAYS] * 3) == DAYS[1:]
    assert evidence_days(START + timedelta(days=9), [DAYS] * 3) == ()
    assert evidence_days(START, [DAYS, DAYS, ()]) == ()


def test_a_day_that_was_left_out_makes_all_of_it_unknown() -> None:
    assert evidence_days(START, [DAYS, DAYS, (DAYS[0], DAYS[2])]) is None


def event(child: str, kind: str, hours: float, milliseconds: float = 0, **changes: Any) -> dict[str, Any]:
    at = START + timedelta(hours=hours, milliseconds=milliseconds)
    known = {"event_id": f"{child}-{kind}-{milliseconds}", "child_id": child, "strategy": "btc_momentum"}
    return known | {"event": kind, "received_at": at} | changes


def cancels(*events: dict[str, Any]) -> list[float] | None:
    found = replace(trading(), order_events=table(ORDER_EVENTS, *events))
    measures = latency_evidence(CANDIDATE, found, bars(), 0.05).measures
    return measures["cancel_to_ack"].milliseconds.tolist() if "cancel_to_ack" in measures else None


def test_a_cancel_lasts_until_the_last_that_was_heard_of_its_order() -> None:
    answered = [event("a", "cancel_sent", 1), event("a", "cancelled", 1, 40)]
    crossed = [event("b", "cancel_sent", 1), event("b", "fill", 1, 20), event("b", "fill", 1, 70)]
    expired = [event("c", "cancel_sent", 1), event("c", "expired", 1, 15)]
    assert cancels(*answered, *crossed, *expired) == [40.0, 70.0, 15.0]


def test_a_cancel_after_which_nothing_was_heard_is_infinite_whatever_was_heard_before() -> None:
    early = [event("a", "new", 1), event("a", "fill", 1, 10), event("a", "cancel_sent", 1, 20)]
    assert cancels(*early, event("b", "cancel_sent", 1), event("b", "rejected", 1, 5)) == [math.inf, math.inf]


def test_cancels_of_the_last_hour_and_of_other_strategies_are_left_out() -> None:
    late = [event("a", "cancel_sent", 71.5), event("a", "cancelled", 71.5, 40)]
    foreign = [event("b", kind, 1, strategy="eth_momentum_3x") for kind in ("cancel_sent", "cancelled")]
    assert cancels(*late, *foreign) == []


@pytest.mark.parametrize(("unasked", "known"), [(1, True), (2, False)])
def test_cancels_without_our_request_on_record_leave_the_measure_unknown_when_they_are_many(
    unasked: int, known: bool
) -> None:
    asked = [event(str(n), kind, 1, n) for n in range(20) for kind in ("cancel_sent", "cancelled")]
    alone = [event(f"u{n}", "cancelled", 1, n) for n in range(unasked)]
    assert (cancels(*asked, *alone) is not None) is known


def test_without_a_day_of_events_cancels_are_not_known() -> None:
    assert "cancel_to_ack" not in latency_evidence(CANDIDATE, trading(), bars(), 0.05).measures


PAIR = CANDIDATE.model_copy(update={"universe": ("BTC/USDT", "BTC/USDT:USDT")})


def leg(name: str, hours: float, milliseconds: float | None, symbol: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return decision(name, hours, symbol=symbol), order(name, hours, milliseconds)


def skews(*legs: tuple[dict[str, Any], dict[str, Any]]) -> list[float]:
    found = trading([each for each, _ in legs], [each for _, each in legs])
    return latency_evidence(PAIR, found, bars(), 0.05).measures["leg_skew"].milliseconds.tolist()


def test_legs_are_orders_in_different_markets_on_one_bar_and_their_skew_runs_between_their_answers() -> None:
    spot, future = PAIR.universe
    first = (leg("a", 1.01, 10, spot), leg("b", 1.01, 250, future))
    lost = (leg("c", 2.01, 10, spot), leg("d", 2.01, None, future))
    alone = (leg("e", 3.01, 10, spot), leg("f", 3.02, 40, spot), leg("g", 4.01, 10, future))
    assert skews(*first, *lost, *alone) == [240.0, math.inf]


def test_a_strategy_of_one_market_has_no_legs() -> None:
    assert "leg_skew" not in latency_evidence(CANDIDATE, trading(), bars(), 0.05).measures
