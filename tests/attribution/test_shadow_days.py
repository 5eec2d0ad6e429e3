"""What live held when it decided: the desk's last statement, and its fills since."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.attribution.shadow_days import DeskDay, Place
from research_to_prod.execution.contracts import DECISIONS, FILLS, ORDERS, POSITIONS

DAY, START = "2026-01-08", datetime(2026, 1, 8, tzinfo=UTC)
PLACE = Place("momentum", "sandbox", "BTC/USDT")
D = Decimal


def fill(number: int, hours: float, quantity: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {each.name: None for each in FILLS.columns}
    row |= {**PLACE._asdict(), "fill_id": str(number), "order_id": "o", "side": 1, "quantity": D(quantity)}
    row |= {"price": D(100), "liquidity": "taker", "fee": D(0), "fee_currency": "USDT"}
    return row | {"filled_at": START + timedelta(hours=hours)} | changes


def stated(hours: float, position: str) -> dict[str, Any]:
    at = START + timedelta(hours=hours)
    return {**PLACE._asdict(), "held_at": at, "position": D(position), "entry_price": None, "mark_price": None}


def held(fills: list[dict[str, Any]], positions: list[dict[str, Any]] | None, hours: float) -> Decimal:
    table = None if positions is None else pa.Table.from_pylist(positions, schema=POSITIONS.arrow)
    rows = pa.Table.from_pylist(fills, schema=FILLS.arrow)
    desk = DeskDay(DAY, DECISIONS.empty(), ORDERS.empty(), rows, (), table, None)
    return desk.holding(PLACE, D(10), rows)(START + timedelta(hours=hours))


@pytest.mark.parametrize(("hours", "position"), [(0, "10"), (1, "10"), (1.5, "12"), (3, "12"), (3.5, "15")])
def test_without_statements_it_is_what_the_fills_before_made_of_the_opening(hours: float, position: str):
    fills = [fill(2, 3, "3"), fill(1, 1, "2")]
    assert held(fills, None, hours) == held(fills, [], hours) == D(position)


def test_a_fee_in_the_coin_is_not_held():
    assert held([fill(1, 1, "2", fee=D("0.002"), fee_currency="BTC")], None, 2) == D("11.998")


def test_a_fill_that_the_records_lack_is_missed_until_the_next_statement_and_no_longer():
    """Of three fills the second was lost; the desk's positions, stated each hour, know it."""
    known = [fill(1, 0.5, "1"), fill(3, 2.5, "4")]
    statements = [stated(hour, position) for hour, position in enumerate(["10", "11", "13", "17"])]
    assert held(known, statements, 1.9) == D(11), "13 in truth"
    assert held(known, statements, 2.2) == D(13)
    assert held(known, statements, 2.9) == D(17)
    assert held(known, statements, 3.5) == D(17)


def test_what_is_stated_of_another_market_or_before_the_day_is_not_this_ones():
    others = [stated(1, "99") | {"symbol": "ETH/USDT"}, stated(1, "99") | {"strategy": "carry"}, stated(-1, "99")]
    assert held([], others, 2) == D(10)
