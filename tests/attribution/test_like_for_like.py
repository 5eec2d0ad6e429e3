"""Like for like: the adjusted means find what was planted, and say so where the records can't tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.attribution.like_for_like import like_for_like

START = datetime(2026, 1, 5, tzinfo=UTC)


def book(count: int, seed: int, dear_market: float = 0.0) -> pa.Table:
    """Return orders at 5 bps, 1 more on venue b, 2 more for sweeps; venue b gets more of the dear market's orders."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        dear = random.random() < 0.5
        venue = "b" if random.random() < (0.8 if dear else 0.2) else "a"
        style = str(random.choice(["sweep", "twap"]))
        value = float(10 ** random.uniform(2.5, 5.5))
        bps = 5 + (venue == "b") + 2 * (style == "sweep") + dear_market * dear + random.normal(0, 1)
        sent = START + timedelta(days=int(random.integers(20)), hours=int(random.integers(24)))
        rows.append({"order_id": f"{number:05d}", "venue": venue, "symbol": "D/USDT" if dear else "C/USDT",
                     "style": style, "sent_at": sent, "value": value, "paid": bps * value / 1e4})  # fmt: skip
    return pa.Table.from_pylist(rows)


def levels(rows: pa.Table, factor: str) -> dict[str, dict[str, Any]]:
    return {line["level"]: line for line in like_for_like(rows).to_pylist() if line["factor"] == factor}


def test_a_venue_that_gets_the_dear_orders_is_not_called_dear_for_them() -> None:
    rows = book(3_000, 1, dear_market=10.0)
    venues = levels(rows, "venue")
    raw = venues["b"]["raw_bps"] - venues["a"]["raw_bps"]
    adjusted = venues["b"]["adjusted_bps"] - venues["a"]["adjusted_bps"]
    assert raw > 5
    assert adjusted == pytest.approx(1.0, abs=0.2)
    styles = levels(rows, "style")
    assert styles["sweep"]["adjusted_bps"] - styles["twap"]["adjusted_bps"] == pytest.approx(2.0, abs=0.2)
    assert venues["a"]["low_bps"] < venues["a"]["adjusted_bps"] < venues["a"]["high_bps"]


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Both venues get the same orders, so that the truth of venue a is the mean of its own costs."""
    covered = 0
    for seed in range(60):
        line = levels(book(300, seed), "venue")["a"]
        covered += line["low_bps"] <= 6.0 <= line["high_bps"]
    # 5 bps and one half of 2; the share of sweeps itself varies from draw to draw. Binomial 99.9 % around 95 % of 60.
    assert covered >= 49


def test_a_venue_that_trades_a_market_of_its_own_cannot_be_told_from_it() -> None:
    rows = book(500, 2).to_pylist()
    for row in rows:
        row["venue"] = "a" if row["symbol"] == "C/USDT" else "b"
    venues = levels(pa.Table.from_pylist(rows), "venue")
    assert [venues[each]["adjusted_bps"] for each in "ab"] == [None, None]
    assert venues["a"]["raw_bps"] is not None
    assert levels(pa.Table.from_pylist(rows), "style")["twap"]["adjusted_bps"] is not None


def test_sizes_are_in_their_own_order_and_every_order_is_counted_once() -> None:
    sizes = levels(book(400, 3), "size")
    assert list(sizes) == ["below 1,000", "1,000 to 10,000", "10,000 to 100,000", "100,000 to 1,000,000"]
    assert sum(line["orders"] for line in sizes.values()) == 400


def test_few_days_give_no_interval_and_no_orders_no_lines() -> None:
    rows = book(50, 4).to_pylist()
    for row in rows:
        row["sent_at"] = START
    assert levels(pa.Table.from_pylist(rows), "venue")["a"]["low_bps"] is None
    assert like_for_like(book(1, 5).slice(1)).num_rows == 0


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = book(200, 6)
    turned = rows.take(list(range(199, -1, -1)))
    assert like_for_like(rows) == like_for_like(turned)
