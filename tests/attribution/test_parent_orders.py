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
from research_to_prod.market_data.contracts import TRADES

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
            (parts.get("trades", []), TRADES),
        )
    ]
    *records, recorded, trades = tables
    # The order ends on the day after it was sent, and that is the day whose cost it is.
    rows = slippage_of_orders("2026-01-03", *records, [recorded], trades)
    return SLIPPAGE.conform(rows, "2026-01-03").to_pylist()


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


def test_an_inverse_contract_costs_what_its_coins_are_worth() -> None:
    other = {"symbol": "BTC/USD:BTC"}
    quotes = [each | other for each in MIDS]
    contracts = {"quantity": Decimal(200), "price": Decimal(125), "fee": Decimal("0.01"), "fee_currency": "BTC"}
    (row,) = slippage(
        quotes,
        decisions=[decision(**other)],
        orders=[order(**other, quantity=Decimal(200))],
        fills=[fill(**other, **contracts)],
    )
    # 200 dollars bought at 125 are 1.6 coins; at the decision they would have been 2. A coin was worth 100 then.
    assert row["total"] == pytest.approx((2 - 1.6) * 100 + 0.01 * 125)
    assert row["total"] == pytest.approx(sum(row[name] for name in COMPONENTS))
    assert (row["order_value"], row["executed_value"], row["average_price"]) == (200, 200, 125)
    assert row["against_decision"] == pytest.approx(40)


def trade(seconds: float, price: float, amount: float, number: int = 1, **changes: Any) -> dict[str, Any]:
    base = {"trade_id": str(number), "ts": at(seconds), "price": price, "amount": amount, "side": 1}
    return MARKET | base | {"fetch_id": "f", "page": 0, "row": number} | changes


TAPE = [
    trade(s, p, a, n) for n, (s, p, a) in enumerate([(0, 90, 5), (3, 104, 1), (5, 106, 4), (13, 108, 50), (60, 120, 1)])
]


def test_the_tape_gives_the_benchmarks() -> None:
    (row,) = slippage(trades=TAPE)
    # From arrival at 2.5 s to the end at 12.5 s: 1 at 104 and 4 at 106; 0.5 s at 90, 2 s at 104, 7.5 s at 106.
    assert (row["interval_volume"], row["own_share_of_volume"]) == (5, pytest.approx(0.2))
    assert row["interval_vwap"] == pytest.approx(105.6)
    assert row["interval_twap"] == pytest.approx((0.5 * 90 + 2 * 104 + 7.5 * 106) / 10)
    assert row["close_price"] == 120
    # Ten times the filled quantity of 1: 1 at 104, 4 at 106, 5 at 108.
    assert row["pwp"] == pytest.approx(106.8)
    # Paid 105: only the 4 at 106 were dearer.
    assert row["worse_volume_share"] == pytest.approx(0.8)
    assert row["against_interval_vwap"] == pytest.approx(105 - 105.6)
    assert (row["against_decision"], row["against_arrival"], row["against_close_price"]) == (5, 3, -15)


def test_temporary_and_permanent_sum_to_the_cost_against_arrival_at_every_horizon() -> None:
    after = [quote(12.5 + seconds - 0.5, mid) for seconds, mid in ((60, 103), (300, 101), (1800, 107))]
    (row,) = slippage([*MIDS, *after])
    # One bought at 105, arrival 102: at 103 two came back and one stayed.
    assert [row[f"temporary_{s}s"] for s in (60, 300, 1800)] == pytest.approx([2, 4, -2])
    assert [row[f"permanent_{s}s"] for s in (60, 300, 1800)] == pytest.approx([1, -1, 5])
    (row,) = slippage([*MIDS, *after[:1]])
    assert (row["temporary_60s"], row["temporary_300s"], row["permanent_1800s"]) == (pytest.approx(2), None, None)
    assert row["excluded_reason"] is None


def test_a_vwap_that_is_mostly_our_own_is_withheld() -> None:
    (row,) = slippage(trades=[trade(1, 103, 9, 3), trade(3, 104, 1), trade(5, 106, 2, 2)])
    assert row["own_share_of_volume"] == pytest.approx(1 / 3)
    assert (row["interval_vwap"], row["against_interval_vwap"], row["pwp"]) == (None, None, None)
    assert row["interval_twap"] is not None


def test_without_a_tape_costs_stand_and_benchmarks_are_unknown() -> None:
    (row,) = slippage(trades=[trade(3, 104, 1, symbol="ETH/USDT"), trade(4, 1, 1, 2) | {"price": None}])
    assert row["total"] == pytest.approx(15.1)
    names = ("interval_vwap", "interval_twap", "close_price", "pwp", "own_share_of_volume", "worse_volume_share")
    assert [row[name] for name in names] == [None] * len(names)
    assert row["average_price"] == 105


def test_an_order_that_ends_on_another_day_is_not_of_this_one() -> None:
    assert slippage(orders=[order(ended_at=at(9))]) == []


def test_a_day_without_orders_has_no_rows() -> None:
    assert slippage(decisions=[], orders=[], fills=[]) == []
