"""Fees against the schedule that stood at the fill, and by strategy a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.attribution.fee_use import fee_uses, fees_against_schedule
from research_to_prod.execution.contracts import FEE_SCHEDULES, FILLS

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
D = Decimal


def fill(number: int, fee: str, hours: float = 0, **changes: Any) -> dict[str, Any]:
    """Return a taker's fill of 2 at 50: a value of 100."""
    row = {"fill_id": str(number), "strategy": "momentum", "venue": "v", "symbol": "BTC/USDT", "side": 1}
    row |= {"quantity": D(2), "price": D(50), "liquidity": "taker", "fee": D(fee), "fee_currency": "USDT"}
    return row | {"filled_at": NOON + timedelta(hours=hours)} | changes


def schedule(hours: float, maker: str, taker: str, symbol: str = "BTC/USDT") -> dict[str, Any]:
    row = {"venue": "v", "symbol": symbol, "stated_at": NOON + timedelta(hours=hours)}
    return row | {"maker_rate": D(maker), "taker_rate": D(taker)}


def compared(fills: list[dict[str, Any]], schedules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return fees_against_schedule(
        pa.Table.from_pylist(fills, schema=FILLS.arrow), pa.Table.from_pylist(schedules, schema=FEE_SCHEDULES.arrow)
    ).to_pylist()


def test_each_fill_is_held_against_the_schedule_that_stood_then() -> None:
    rates = [schedule(1, "0.0001", "0.0004"), schedule(-1, "0.0002", "0.0005")]
    fills = [fill(1, "0.05"), fill(2, "0.05", hours=2), fill(3, "-0.02", liquidity="maker"), fill(4, "0.04", hours=1)]
    maker, taker = compared(fills, rates)
    # 0.05 each; asked were 0.05, 0.04 and, at the very instant of the statement, 0.04.
    assert (taker["fills"], taker["scheduled"]) == (3, 3)
    assert taker["beyond"] == pytest.approx(0.01)
    assert (taker["paid_bps"], taker["scheduled_bps"]) == (pytest.approx(14 / 3), pytest.approx(13 / 3))
    assert maker["beyond"] == pytest.approx(-0.04)
    assert maker["paid_bps"] == pytest.approx(-2)


def test_without_a_schedule_then_nothing_is_said_to_be_beyond_it() -> None:
    (line,) = compared([fill(1, "0.05")], [schedule(1, "0", "0.0004"), schedule(-1, "0", "0.0004", "ETH/USDT")])
    assert (line["fills"], line["scheduled"], line["scheduled_bps"], line["beyond"]) == (1, 0, None, None)
    assert compared([], []) == []


def test_a_fee_in_a_third_currency_and_an_unknown_liquidity_are_not_compared() -> None:
    taker, unknown = compared(
        [fill(1, "0.1", fee_currency="BNB"), fill(2, "0.05", liquidity="unknown")], [schedule(-1, "0", "0.0005")]
    )
    assert (taker["fills"], taker["unpriced"], taker["paid_bps"]) == (0, 1, None)
    assert (unknown["fills"], unknown["scheduled"]) == (1, 0)


def test_uses_are_exact_and_a_day_in_the_mean() -> None:
    fills = [fill(1, "0.05"), fill(2, "0.07"), fill(3, "-0.01", liquidity="maker"), fill(4, "9", fee_currency="BNB")]
    uses = fee_uses(pa.Table.from_pylist(fills, schema=FILLS.arrow), 2)["momentum"]
    assert (uses["taker"].notional, uses["taker"].fees) == (D(100), D("0.06"))
    assert (uses["maker"].notional, uses["maker"].fees) == (D(50), D("-0.005"))
    assert fee_uses(FILLS.empty(), 1) == {}
