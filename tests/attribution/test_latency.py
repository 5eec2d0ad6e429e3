"""What waiting cost: split at sending, by how long it took, nothing made up where a quote or a time is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.attribution.contracts import LATENCY_COSTS, SLIPPAGE
from research_to_prod.attribution.latency import costs_by_bucket, latency_of_orders, worst_latency_residual
from research_to_prod.attribution.parent_orders import slippage_of_orders
from research_to_prod.execution.contracts import DECISIONS, FILLS, ORDER_EVENTS, ORDERS, QUOTES
from research_to_prod.market_data.contracts import TRADES

DAY = "2026-01-02"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
BTC, COIN = "BTC/USDT", "BTC/USD:BTC"


def at(milliseconds: float) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def table(schema: Any, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema.arrow)


def quote(milliseconds: float, mid: float, symbol: str = BTC) -> dict[str, Any]:
    time = {"quoted_at": at(milliseconds), "received_at": at(milliseconds), "sequence": 1}
    return {"venue": "v", "symbol": symbol, "bid": mid - 1, "ask": mid + 1, "bid_size": 1.0, "ask_size": 1.0} | time


def records(side: int = 1, symbol: str = BTC, **times: datetime | None) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return a decision at 0 ms, its order of 3 (sent at 40 ms, live at 240 ms), and two fills of 1 at 300 ms."""
    place = {"strategy": "momentum", "venue": "v", "symbol": symbol, "side": side}
    decision = {"decision_id": "d", "decided_at": at(0), "target_quantity": Decimal(3), "sent": True}
    decision |= {"reference_bid": Decimal(99), "reference_ask": Decimal(101)}
    order = {"order_id": "o", "decision_id": "d", "quantity": Decimal(3), "style": "sweep", "end_reason": "cancelled"}
    order |= {"sent_at": at(40), "acknowledged_at": at(240), "ended_at": at(400)} | times
    fill = {"order_id": "o", "quantity": Decimal(1), "price": Decimal(107), "liquidity": "taker", "fee": Decimal(0)}
    fill |= {"fee_currency": "USDT", "filled_at": at(300), "received_at": at(300)}
    fills = [place | fill | {"fill_id": each} for each in ("1", "2")]
    return table(DECISIONS, [place | decision]), table(ORDERS, [place | order]), table(FILLS, fills)


QUOTES_OF_THE_WAY = [quote(-100, 100), quote(30, 102), quote(200, 105), quote(290, 106), quote(390, 108)]


def latency(
    quotes: list[dict[str, Any]] = QUOTES_OF_THE_WAY, events: list[dict[str, Any]] | None = None, **changes: Any
) -> dict[str, Any]:
    decisions, orders, fills = records(**changes)
    pieces = [table(QUOTES, quotes)]
    slippage = slippage_of_orders(DAY, decisions, orders, fills, pieces, TRADES.empty())
    rows = latency_of_orders(slippage, decisions, orders, table(ORDER_EVENTS, events or []), pieces)
    assert rows.schema == LATENCY_COSTS.arrow
    assert worst_latency_residual(rows) <= 1e-12
    return rows.to_pylist()[0]


def test_delay_is_what_the_price_moved_before_sending_and_on_the_way_on_the_whole_order() -> None:
    row = latency()
    assert (row["decision_to_sent_ms"], row["sent_to_live_ms"], row["decision_to_live_ms"]) == (40, 200, 240)
    assert (row["before_sending"], row["on_the_way"], row["delay"]) == (3 * 2, 3 * 3, 3 * 5)
    sold = latency(side=-1)
    assert (sold["before_sending"], sold["on_the_way"], sold["delay"]) == (-6, -9, -15)


def test_an_inverse_contract_is_split_in_coins_and_valued_at_the_decision() -> None:
    quotes = [each | {"symbol": COIN} for each in QUOTES_OF_THE_WAY]
    row = latency(quotes, symbol=COIN)
    assert row["before_sending"] == pytest.approx(3 * 100 * (1 / 100 - 1 / 102))
    assert row["on_the_way"] == pytest.approx(3 * 100 * (1 / 102 - 1 / 105))


def test_without_a_quote_at_sending_the_delay_stands_unsplit() -> None:
    # Nothing within two seconds before sending, three seconds after the decision; then a quote for the arrival.
    quotes = [quote(-100, 100), quote(3_050, 105), quote(3_290, 106), quote(3_390, 108)]
    decisions, orders, fills = records(sent_at=at(3_000), acknowledged_at=at(3_240), ended_at=at(3_400))
    fills = fills.set_column(
        fills.column_names.index("filled_at"), "filled_at", pa.array([at(3_300)] * 2, fills["filled_at"].type)
    )
    pieces = [table(QUOTES, quotes)]
    slippage = slippage_of_orders(DAY, decisions, orders, fills, pieces, TRADES.empty())
    row = latency_of_orders(slippage, decisions, orders, ORDER_EVENTS.empty(), pieces).to_pylist()[0]
    assert (row["delay"], row["before_sending"], row["on_the_way"]) == (15, None, None)
    assert (row["unsplit_reason"], row["excluded_reason"]) == ("at sending: quote too old", None)


def test_an_order_without_costs_has_none_here_for_the_same_reason() -> None:
    row = latency([])
    assert row["delay"] is None
    assert "no quote before it" in row["excluded_reason"]
    assert row["decision_to_live_ms"] == 240
    never = latency(acknowledged_at=None)
    assert (never["decision_to_live_ms"], never["delay"]) == (None, None)
    assert "time not recorded" in never["excluded_reason"]


def test_times_out_of_order_are_a_fault_of_the_record_and_no_gain() -> None:
    row = latency(sent_at=at(-5))
    assert (row["delay"], row["excluded_reason"]) == (None, "times out of order")


def test_the_way_back_is_the_median_of_the_children_and_unknown_without_events() -> None:
    place = {"strategy": "momentum", "venue": "v", "symbol": BTC, "side": 1, "order_id": "o", "quantity": Decimal(1)}
    events = [
        place
        | {"event_id": str(n), "child_id": str(n), "event": event}
        | {"occurred_at": at(200), "received_at": at(200 + back)}
        for n, (event, back) in enumerate((("new", 10), ("new", 50), ("new", 20), ("fill", 900)))
    ]
    row = latency(events=events)
    assert (row["venue_to_us_ms"], row["child_orders"]) == (20, 3)
    alone = latency()
    assert (alone["venue_to_us_ms"], alone["child_orders"]) == (None, None)


@given(
    st.lists(
        st.tuples(st.floats(1, 20_000), st.floats(-50, 50), st.floats(10, 1e6), st.sampled_from(["a", "b"])),
        min_size=1,
        max_size=40,
    )
)
def test_the_buckets_hold_each_order_once_and_add_up(drawn: list[tuple[float, float, float, str]]) -> None:
    rows = [
        {"order_id": str(n), "strategy": strategy, "venue": "v", "symbol": BTC, "ended_at": NOON}
        | {"decision_to_live_ms": took, "decision_to_sent_ms": took / 2, "order_value": value}
        | {"delay": delay, "before_sending": delay / 4, "on_the_way": 3 * delay / 4}
        for n, (took, delay, value, strategy) in enumerate(drawn)
    ]
    rows.append(
        {"order_id": "x", "strategy": "a", "venue": "v", "symbol": BTC, "ended_at": NOON, "excluded_reason": "?"}
    )
    found = costs_by_bucket(table(LATENCY_COSTS, rows)).to_pylist()
    assert sum(line["orders"] for line in found) == len(drawn)
    assert sum(line["delay"] for line in found) == pytest.approx(sum(each[1] for each in drawn), abs=1e-6)
    for line in found:
        assert line["from_ms"] <= line["median_ms"] <= line["slowest_ms"]
        assert line["to_ms"] is None or line["slowest_ms"] < line["to_ms"]
        own = [each for each in drawn if each[3] == line["strategy"]]
        own = [each for each in own if line["from_ms"] <= each[0] and (line["to_ms"] or np.inf) > each[0]]
        assert line["mean_bps"] == pytest.approx(1e4 * sum(e[1] for e in own) / sum(e[2] for e in own), abs=1e-6)
        assert (line["low_bps"] is None) == (len(own) < 8)


def test_no_orders_have_no_buckets() -> None:
    assert costs_by_bucket(LATENCY_COSTS.empty()).num_rows == 0
    assert latency_of_orders(
        SLIPPAGE.empty(), DECISIONS.empty(), ORDERS.empty(), ORDER_EVENTS.empty(), []
    ).num_rows == 0  # fmt: skip
