"""Costs beyond the model's charge: what is held against it, by strategy and by hour of the week."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.attribution.contracts import SLIPPAGE
from research_to_prod.attribution.model_costs import beyond_by_hour, calibration, orders_with_charges
from research_to_prod.attribution.pnl_contracts import SHADOW
from research_to_prod.execution.contracts import ORDERS

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
PLACE = {"strategy": "momentum", "venue": "v", "symbol": "BTC/USDT"}
SHADOW_ROW = PLACE | {"day": "2026-01-05", "cost_rate": Decimal("0.0002"), "fee_rate": Decimal("0.0005")}


def cost(number: int, beyond: float = 0.0, hours: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Return an order of 10,000 that the model charges 7 (7 bps), so much beyond it in spread, and 40 of timing."""
    sent = MONDAY + timedelta(hours=hours)
    row = PLACE | {"order_id": str(number), "sent_at": sent, "ended_at": sent, "executed_value": 10_000.0}
    row |= {"spread": 1.5 + beyond, "impact": 0.5, "fees": 5.0, "timing": 40.0}
    return row | changes


def priced(rows: list[dict[str, Any]], shadow: list[dict[str, Any]] | None = None) -> pa.Table:
    orders = [{"order_id": row["order_id"], "style": "sweep"} for row in rows]
    return orders_with_charges(
        pa.Table.from_pylist(rows, schema=SLIPPAGE.arrow),
        pa.Table.from_pylist([SHADOW_ROW] if shadow is None else shadow, schema=SHADOW.arrow),
        pa.Table.from_pylist(orders, schema=ORDERS.arrow),
    )


def test_spread_impact_and_fees_are_held_against_the_charge_and_timing_is_not() -> None:
    (row,) = priced([cost(1, beyond=3.0)]).to_pylist()
    assert (row["charged"], row["paid"], row["style"]) == (pytest.approx(7), 10, "sweep")
    (line,) = calibration(priced([cost(1, beyond=3.0)])).to_pylist()
    assert line["charged_bps"] == pytest.approx(7)
    assert (line["paid_bps"], line["beyond_bps"], line["timing_bps"]) == (10, pytest.approx(3), 40)
    assert (line["low_bps"], line["z"]) == (None, None)


def test_an_order_that_is_excluded_or_unfilled_is_no_free_trade() -> None:
    rows = [cost(1, excluded_reason="no quote", spread=None), cost(2, executed_value=0.0), cost(3)]
    assert priced(rows)["order_id"].to_pylist() == ["3"]


def test_a_day_without_a_model_has_no_charge_and_is_counted() -> None:
    tomorrow = cost(2, hours=25)
    (line,) = calibration(priced([cost(1), tomorrow])).to_pylist()
    assert (line["orders"], line["without"]) == (1, 1)
    (none,) = calibration(priced([cost(1)], [])).to_pylist()
    assert (none["orders"], none["without"], none["charged_bps"], none["beyond"]) == (0, 1, None, None)


def test_the_interval_holds_the_truth_as_often_as_it_says_when_the_orders_of_an_hour_share_its_market() -> None:
    random, covered, rounds = np.random.default_rng(5), 0, 150
    for _ in range(rounds):
        shocks = random.normal(2.0, 3.0, 20)
        rows = [
            cost(40 * h + n, float(shocks[h] + random.normal(0, 1)), h + n / 60) for h in range(20) for n in range(5)
        ]
        (line,) = calibration(priced(rows)).to_pylist()
        covered += line["low_bps"] <= 2.0 <= line["high_bps"]
    # Binomial 99.9 % around 95 % of 150; with orders as independent it would be some 60 %.
    assert 0.89 <= covered / rounds <= 0.995


def test_hours_are_those_of_the_week_in_utc_and_an_empty_one_is_unknown() -> None:
    found = beyond_by_hour(
        priced([cost(1, 2.0, hours=0), cost(2, 4.0, hours=0.5), cost(3, -1.0, hours=23)])
    ).to_pylist()
    assert len(found) == 168
    assert (found[0]["orders"], found[0]["beyond"], found[0]["beyond_bps"]) == (2, pytest.approx(6), pytest.approx(3))
    assert found[23]["beyond_bps"] == pytest.approx(-1)
    assert (found[1]["orders"], found[1]["beyond_bps"]) == (0, None)
    sunday = cost(4, 1.0, hours=-1)
    shadow = [SHADOW_ROW | {"day": "2026-01-04"}]
    assert beyond_by_hour(priced([sunday], shadow))["orders"].to_pylist()[167] == 1


def test_an_interval_of_an_hour_needs_eight_orders() -> None:
    rows = [cost(n, float(n), hours=0) for n in range(8)]
    assert beyond_by_hour(priced(rows))["low_bps"].to_pylist()[0] is not None
    assert beyond_by_hour(priced(rows[:7]))["low_bps"].to_pylist()[0] is None


def test_no_orders_are_no_lines_and_a_week_of_unknown_hours() -> None:
    assert calibration(priced([])).num_rows == 0
    assert beyond_by_hour(priced([]))["beyond_bps"].null_count == 168
