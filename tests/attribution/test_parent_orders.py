"""Slippage from the desk's records: the right instant, clock, quote and currency for each price."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.attribution.contracts import SLIPPAGE
from research_to_prod.attribution.parent_orders import slippage_of_orders
from research_to_prod.attribution.slippage import COMPONENTS
from research_to_prod.execution.contracts import DECISIONS, FILLS, ORDERS, QUOTES

START = datetime(2026, 1, 2, 23, 59, 50, tzinfo=UTC)
MARKET = {"venue": "sandbox", "symbol": "BTC/USDT"}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def quote(seconds: float, mid: float, half: float = 0.5, **changes: Any) -> dict[str, Any]:
    base = {"quoted_at": at(seconds), "received_at": at(seconds + 0.2), "sequence": 1, "bid_size": 1.0, "ask_size": 1.0}
    return MARKET | base | {"bid": mid - half, "ask": mid + half} | changes


def decision(**changes: Any) -> dict[str, Any]:
    return (
        MARKET
        | {
            "decision_id": "d1",
            "strategy": "momentum",
            "decided_at": at(1),
            "side": 1,
            "target_quantity": Decimal(2),
            "reference_bid": Decimal("99.5"),
            "reference_ask": Decimal("100.5"),
            "sent": True,
            "reason": None,
        }
        | changes
    )


def order(**changes: Any) -> dict[str, Any]:
    return (
        MARKET
        | {
            "order_id": "o1",
            "decision_id": "d1",
            "strategy": "momentum",
            "side": 1,
            "quantity": Decimal(2),
            "style": "sweep",
            "limit_price": None,
            "sent_at": at(1.5),
            "acknowledged_at": at(2.5),
            "ended_at": at(12.5),
            "end_reason": "cancelled",
        }
        | changes
    )


def fill(**changes: Any) -> dict[str, Any]:
    return (
        MARKET
        | {
            "fill_id": "1",
            "order_id": "o1",
            "venue_order_id": "v1",
            "strategy": "momentum",
            "side": 1,
            "quantity": Decimal(1),
            "price": Decimal(105),
            "liquidity": "taker",
            "fee": Decimal("0.1"),
            "fee_currency": "USDT",
            "filled_at": at(4),
            "received_at": at(4.1),
        }
        | changes
    )


# The mids: 100 at the decision, 102 at the arrival, 104 before the fill, 110 at the end, after midnight.
MIDS = [quote(0.5, 100), quote(2, 102), quote(3.5, 104), quote(12, 110)]


def slippage(quotes: list[dict[str, Any]] = MIDS, **parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tables = [
        pa.Table.from_pylist(rows, schema=schema.arrow)
        for rows, schema in (
            (parts.get("decisions", [decision()]), DECISIONS),
            (parts.get("orders", [order()]), ORDERS),
            (parts.get("fills", [fill()]), FILLS),
            (quotes, QUOTES),
        )
    ]
    return SLIPPAGE.conform(slippage_of_orders(*tables), "2026-01-02").to_pylist()


def test_every_price_is_read_at_its_instant_over_midnight() -> None:
    (row,) = slippage()
    assert (row["decision_mid"], row["arrival_mid"], row["end_mid"]) == (100, 102, 110)
    # One of two filled at 105, when mid was 104 and the ask 104.5.
    expected = dict(zip(COMPONENTS, (2, 2, 2, 0.5, 0.5, 0.1, 8), strict=True))
    assert {name: row[name] for name in COMPONENTS} == pytest.approx(expected)
    assert row["total"] == pytest.approx(15.1)
    assert row["excluded_reason"] is None
    assert (row["fills"], row["filled_quantity"], row["quantity"]) == (1, 1, 2)


def test_the_quote_of_the_fills_own_instant_is_not_used() -> None:
    (row,) = slippage([*MIDS, quote(4, 999)])
    assert row["timing"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"orders": [order(acknowledged_at=None)]}, "arrival: time not recorded"),
        ({"decisions": []}, "decision: time not recorded"),
        ({"quotes": MIDS[1:]}, "decision: no quote before it"),
        ({"quotes": MIDS[:2] + MIDS[3:]}, "at a fill: quote too old"),
        ({"quotes": MIDS[:3]}, "end: quote too old"),
        ({"fills": [fill(fee_currency="BNB")]}, "fee missing in quote currency"),
    ],
)
def test_what_cannot_be_measured_says_why(parts: dict[str, Any], reason: str) -> None:
    if parts.get("quotes") == MIDS[:2] + MIDS[3:]:
        parts = {"quotes": [*MIDS[:2], MIDS[3]], "fills": [fill(filled_at=at(4.5))]}
    (row,) = slippage(**parts)
    assert row["excluded_reason"] == reason
    assert [row[name] for name in (*COMPONENTS, "total", "total_bps_of_order_value")] == [None] * 9


def test_a_fee_in_the_base_currency_is_valued_at_the_fill() -> None:
    (row,) = slippage(fills=[fill(fee=Decimal("0.001"), fee_currency="BTC")])
    assert row["fees"] == pytest.approx(0.105)


def test_a_fee_of_nothing_needs_no_currency() -> None:
    (row,) = slippage(fills=[fill(fee=Decimal(0), fee_currency="BNB")])
    assert row["fees"] == 0


def test_fills_of_other_orders_are_not_ours() -> None:
    (row,) = slippage(fills=[fill(), fill(fill_id="2", order_id="yesterday")])
    assert row["fills"] == 1


def test_an_inverse_contract_is_excluded_because_it_is_not_linear_in_price() -> None:
    other = {"symbol": "BTC/USD:BTC"}
    (row,) = slippage(
        [quote(0.5, 100, **other), quote(2, 102, **other), quote(12, 110, **other)],
        decisions=[decision(**other)],
        orders=[order(**other)],
        fills=[],
    )
    assert row["excluded_reason"] == "inverse contract"
    assert row["total"] is None
    assert row["decision_mid"] == 100


def test_a_day_without_orders_has_no_rows() -> None:
    assert slippage(decisions=[], orders=[], fills=[]) == []
