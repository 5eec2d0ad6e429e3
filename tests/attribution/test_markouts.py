"""What happened after fills: prices at each horizon, means with clustered errors, and what makers are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.attribution.contracts import MARKOUTS
from research_to_prod.attribution.coverage import coverage, worst_markout_residual
from research_to_prod.attribution.markouts import (
    HORIZONS,
    clustered_mean,
    maker_toxicity,
    markout_curve,
    markouts_of_fills,
)
from research_to_prod.execution.contracts import FILLS, QUOTES

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
MARKET = {"venue": "sandbox", "symbol": "BTC/USDT"}
SECONDS = [horizon // timedelta(seconds=1) for horizon in HORIZONS]


def quote(seconds: float, mid: float, **changes: Any) -> dict[str, Any]:
    at = NOON + timedelta(seconds=seconds)
    base = {"quoted_at": at, "received_at": at, "sequence": 1, "bid_size": 1.0, "ask_size": 1.0}
    return MARKET | base | {"bid": mid - 0.5, "ask": mid + 0.5} | changes


def fill(**changes: Any) -> dict[str, Any]:
    base = {"fill_id": "1", "order_id": "o1", "venue_order_id": "v1", "strategy": "momentum", "side": 1}
    base |= {"quantity": Decimal(2), "price": Decimal("99.5"), "liquidity": "maker", "fee": Decimal("-0.1")}
    return MARKET | base | {"fee_currency": "USDT", "filled_at": NOON, "received_at": NOON} | changes


# 100 before the fill, then a unit more at each horizon.
MIDS = [quote(-0.1, 100), *(quote(seconds, 101 + n) for n, seconds in enumerate(SECONDS))]


def markouts(fills: list[dict[str, Any]], quotes: list[dict[str, Any]] = MIDS, day: str = "2026-01-02") -> pa.Table:
    rows = markouts_of_fills(
        day, pa.Table.from_pylist(fills, schema=FILLS.arrow), [pa.Table.from_pylist(quotes, schema=QUOTES.arrow)]
    )
    return MARKOUTS.conform(rows, day)


def test_a_maker_earns_the_spread_loses_to_the_informed_and_gets_its_rebate() -> None:
    rows = markouts([fill(side=-1, price=Decimal("100.5"))]).to_pylist()
    assert [row["horizon_seconds"] for row in rows] == SECONDS
    assert [row["mid_after"] for row in rows] == [101, 102, 103, 104, 105, 106]
    assert {row["spread_capture"] for row in rows} == {1.0}
    assert [row["adverse_selection"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row["net_markout"] for row in rows] == [-1, -3, -5, -7, -9, -11]
    assert rows[0]["net_after_fee"] == pytest.approx(-0.9)
    assert {row["excluded_reason"] for row in rows} == {None}


def test_the_fills_own_quote_is_not_its_mid_but_the_quote_at_the_horizon_is_the_horizons() -> None:
    rows = markouts([fill()], [*MIDS, quote(0, 500)]).to_pylist()
    assert rows[0]["mid"] == 100
    assert rows[0]["mid_after"] == 101


def test_a_horizon_without_a_quote_is_excluded_with_its_reason_and_the_others_stand() -> None:
    rows = markouts([fill()], MIDS[:-1]).to_pylist()
    assert [row["excluded_reason"] for row in rows] == [None] * 5 + ["at the horizon: quote too old"]
    assert rows[-1]["net_markout"] is None
    assert rows[-1]["value"] == 199
    without = markouts([fill()], MIDS[1:])
    assert set(without["excluded_reason"].to_pylist()) == {"at the fill: no quote before it"}
    assert coverage(without).numbers["at the fill: no quote before it"] == 6
    assert not coverage(without).enough


def test_a_fee_in_a_third_currency_is_unknown_not_free() -> None:
    rows = markouts([fill(fee_currency="BNB")])
    assert set(rows["excluded_reason"].to_pylist()) == {"fee missing in quote currency"}
    assert rows["net_after_fee"].null_count == 6


def test_a_fill_belongs_to_the_day_in_which_its_last_horizon_ended() -> None:
    late = fill(filled_at=datetime(2026, 1, 2, 23, 45, tzinfo=UTC))
    assert markouts([late]).num_rows == 0
    assert markouts([late], day="2026-01-03").num_rows == 6


def test_an_inverse_contract_is_marked_in_coins_valued_at_the_fill() -> None:
    other = {"symbol": "BTC/USD:BTC"}
    rows = markouts(
        [fill(**other, quantity=Decimal(1000), price=Decimal(100), fee_currency="BTC")], [each | other for each in MIDS]
    ).to_pylist()
    assert rows[0]["net_markout"] == pytest.approx(1000 * (1 / 100 - 1 / 101) * 100)
    assert rows[0]["value"] == 1000


@given(st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(9000, 11000)), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_capture_less_adverse_selection_is_the_net(trades: list[tuple[int, int]]) -> None:
    fills = [fill(fill_id=str(n), side=s, price=Decimal(p) / 100) for n, (s, p) in enumerate(trades)]
    rows = markouts(fills)
    assert worst_markout_residual(rows) <= 1e-12
    broken = rows.set_column(rows.column_names.index("net_markout"), "net_markout", pa.array([1e9] * rows.num_rows))
    assert worst_markout_residual(broken) > 0.5


def test_the_clustered_error_is_statsmodels() -> None:
    import statsmodels.api as sm

    random = np.random.default_rng(3)
    clusters = random.integers(0, 40, 500)
    values = random.normal(1, 2, 500) + random.normal(0, 3, 40)[clusters]
    weights = random.uniform(0.5, 3, 500)
    ours = clustered_mean(values, weights, clusters)
    fitted = sm.WLS(values, np.ones(500), weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    low, high = fitted.conf_int()[0]
    assert (ours.mean, ours.standard_error) == (pytest.approx(fitted.params[0]), pytest.approx(fitted.bse[0]))
    assert (ours.low, ours.high, ours.n, ours.clusters) == (pytest.approx(low), pytest.approx(high), 500, 40)


def test_slices_of_one_parent_are_one_observation() -> None:
    values = np.random.default_rng(4).normal(size=12)
    repeated = clustered_mean(np.repeat(values, 20), np.ones(240), np.repeat(np.arange(12), 20))
    once = clustered_mean(values, np.ones(12), np.arange(12))
    assert repeated.standard_error == pytest.approx(once.standard_error)
    assert repeated.low == pytest.approx(once.low)


def test_clustered_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    clusters = np.repeat(np.arange(30), 10)
    held = naive = 0
    for _ in range(400):
        values = random.normal(0, 1, 300) + random.normal(0, 1, 30)[clusters]
        found = clustered_mean(values, np.ones(300), clusters)
        held += found.low <= 0 <= found.high
        naive += abs(values.mean()) <= 1.96 * values.std() / np.sqrt(300)
    # 400 draws at 95 %: three standard errors of the count are 13.
    assert abs(held - 380) <= 13
    assert naive < 300


def many(orders: int, each: int, move: float, noise: float = 0.0) -> pa.Table:
    random = np.random.default_rng(6)
    fills, quotes = [], []
    for n in range(orders):
        start = 7200.0 * (n - orders / 2) / orders
        after = 100.0 + move + noise * random.normal()
        for k in range(each):
            at = NOON + timedelta(seconds=start, microseconds=k)
            fills.append(fill(fill_id=f"{n}-{k}", order_id=f"o{n}", filled_at=at, fee=Decimal(0)))
        quotes += [quote(start - 0.1, 100), *(quote(start + seconds, after) for seconds in SECONDS)]
    return markouts(fills, quotes)


def test_the_curve_counts_fills_parents_and_exclusions() -> None:
    rows = pa.concat_tables([many(10, 6, 0.0), markouts([fill(fill_id="x")], MIDS[1:])])
    (at_five,) = [row for row in markout_curve(rows).to_pylist() if row["horizon_seconds"] == 5]
    assert (at_five["fills"], at_five["parents"], at_five["excluded"]) == (60, 10, 1)
    assert at_five["mean_bps"] == pytest.approx(1e4 * 0.5 / 99.5)
    assert (at_five["low_bps"], at_five["high_bps"]) == (pytest.approx(at_five["mean_bps"]),) * 2


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (many(12, 5, -2.0, 0.3), "toxic"),
        (many(12, 5, 2.0, 0.3), "benign"),
        (many(12, 5, -0.5, 1.0), "inconclusive"),
        (many(12, 4, -2.0, 0.3), "inconclusive"),
        (many(7, 20, -2.0, 0.3), "inconclusive"),
    ],
)
def test_makers_are_told_only_what_the_interval_bears(rows: pa.Table, verdict: str) -> None:
    assert maker_toxicity(rows)["verdict"].to_pylist() == [verdict]


def test_without_fills_there_are_no_rows_and_no_verdicts() -> None:
    assert markouts([]).num_rows == 0
    assert markout_curve(MARKOUTS.empty()).num_rows == 0
    assert maker_toxicity(MARKOUTS.empty()).num_rows == 0
    assert coverage(MARKOUTS.empty()).enough
