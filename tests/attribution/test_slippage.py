"""The implementation shortfall identity, against published numbers and on generated orders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.attribution.benchmarks import relative_performance
from research_to_prod.attribution.slippage import (
    COMPONENTS,
    RESIDUAL_TOLERANCE,
    implementation_shortfall,
    kissell_glantz_split,
    market_adjusted,
)

CASES_FOLDER = Path(os.environ.get("R2P_REFERENCE_CASES") or Path(__file__).parents[3] / "shared" / "reference_cases")
IS_CASES = [
    "kissell_complete",
    "kissell_perold",
    "cfa_impulse_robotics",
    "schweser_megawidgets",
    "gaodun_40",
    "stalla_cms",
    "bloombergprep_negative_is",
]


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    path = CASES_FOLDER / "attribution.json"
    if not path.exists():
        pytest.skip(f"no reference cases at {path} (set R2P_REFERENCE_CASES)")
    return {case["name"]: case for case in json.loads(path.read_text(encoding="utf-8"))}


def order(**values: Any) -> dict[str, Any]:
    return {"order_id": "a", "side": 1, "decision_mid": 10.0, "arrival_mid": 10.0, "end_mid": 11.0} | values


def fill(quantity: float, price: float, mid: float, touch: float, fee: float = 0.0) -> dict[str, Any]:
    return {"order_id": "a", "quantity": quantity, "price": price, "mid": mid, "touch": touch, "fee": fee}


FILL_TYPES = pa.schema(
    [("order_id", pa.string()), *[(n, pa.float64()) for n in ("quantity", "price", "mid", "touch", "fee")]]
)


def split(an_order: dict[str, Any], fills: list[dict[str, Any]]) -> dict[str, Any]:
    return implementation_shortfall(
        pa.Table.from_pylist([an_order]), pa.Table.from_pylist(fills, schema=FILL_TYPES)
    ).to_pylist()[0]


def approx(value: float, absolute: float = 1e-6) -> Any:
    return pytest.approx(value, abs=absolute)


def test_johnson_example_6_1_is_split_to_the_dollar() -> None:
    # Johnson (2010), Algorithmic Trading & DMA, example 6-1: decision 90, arrival 90.65, close 93, 45,000 of 50,000.
    fills = [fill(10_000, 91.15, 91.0, 91.1), fill(20_000, 92.5, 92.2, 92.4), fill(15_000, 93.8, 93.4, 93.45)]
    result = split(order(quantity=50_000, decision_mid=90, arrival_mid=90.65, end_mid=93), fills)
    assert result["delay_filled"] + result["delay_unfilled"] == approx(32_500)
    assert result["spread"] == approx(5_750)
    assert result["impact"] == approx(7_750)
    assert result["timing"] == approx(19_750 + 56_000)  # the book's price trend and timing risk
    assert result["opportunity"] == approx(11_750)
    assert result["total"] == approx(133_500)
    assert result["total_bps_of_order_value"] == approx(297, 0.5)
    assert result["order_value"] == 4_500_000
    assert result["fills"] == 3


def test_kissell_partly_filled_costs_2000_and_1000_and_80() -> None:
    result = split(order(quantity=5_000, arrival_mid=10.25), [fill(4_000, 10.5, 10.25, 10.3, 80)])
    # Wagner's layout of the same 3,080: delay 1,250 = 1,000 filled + 250 unfilled, trading 1,000, opportunity 750.
    assert result["delay_filled"] == approx(1_000)
    assert result["delay_unfilled"] == approx(250)
    assert result["timing"] + result["spread"] + result["impact"] == approx(1_000)
    assert result["opportunity"] == approx(750)
    assert result["fees"] == 80
    assert result["total"] == approx(3_080)


def test_kissell_fully_filled_costs_2600() -> None:
    assert split(order(quantity=5_000), [fill(5_000, 10.5, 10.0, 10.0, 100)])["total"] == approx(2_600)


@pytest.mark.parametrize("name", IS_CASES)
def test_a_published_case_is_reproduced(cases: dict[str, Any], name: str) -> None:
    case = cases[name]
    given_, expected, tolerance = case["inputs"], case["expected"], case["tolerance"]
    quantity = sum(each["qty"] for each in given_["fills"])
    # These cases publish no quotes, so all of the trading cost stands in impact.
    fills = [
        fill(each["qty"], each["px"], given_["arrival"], given_["arrival"], given_["fees"] * each["qty"] / quantity)
        for each in given_["fills"]
    ]
    result = split(
        order(
            side=given_["side"],
            quantity=given_["qty"],
            decision_mid=given_["decision"],
            arrival_mid=given_["arrival"],
            end_mid=given_["end"],
        ),
        fills,
    )
    trading = result["timing"] + result["spread"] + result["impact"]
    ours = {
        "is_total": result["total"],
        "is_pct": result["total_bps_of_order_value"] / 100,
        "delay_filled": result["delay_filled"],
        "trading": trading,
        "fees": result["fees"],
        "execution_cost": result["delay_filled"] + trading,
        "opportunity_from_decision": result["delay_unfilled"] + result["opportunity"],
    }
    checked = ours.keys() & expected.keys()
    assert checked
    for key in checked:
        assert ours[key] == approx(expected[key], tolerance), key


@pytest.mark.parametrize("name", ["pysystemtrade_V2X_sell", "pysystemtrade_KR3_buy"])
def test_pysystemtrade_splits_are_ours_with_the_other_sign(cases: dict[str, Any], name: str) -> None:
    given_, expected = cases[name]["inputs"], cases[name]["expected"]
    result = split(
        order(side=given_["side"], quantity=1, decision_mid=given_["reference"], arrival_mid=given_["mid"]),
        [fill(1, given_["fill"], given_["mid"], given_["side_price"])],
    )
    assert -result["delay_filled"] == approx(expected["delay"], 1e-9)
    assert -result["spread"] == approx(expected["bid_ask"], 1e-9)
    assert -result["impact"] == approx(expected["execution"], 1e-9)


def test_the_effective_spread_is_twice_spread_and_impact(cases: dict[str, Any]) -> None:
    case = cases["effective_spread_gaodun"]
    side = case["inputs"]["side"]
    for (bid, ask, price), key in zip(case["inputs"]["rows"], ("e1", "e2", "e3"), strict=True):
        mid, touch = (bid + ask) / 2, ask if side > 0 else bid
        result = split(order(side=side, quantity=1), [fill(1, price, mid, touch)])
        assert 2 * (result["spread"] + result["impact"]) == approx(case["expected"][key], 5e-5)


def test_johnson_benchmarks_are_totals_against_that_benchmark(cases: dict[str, Any]) -> None:
    case = cases["johnson_6_1_benchmarks"]
    for name, price in case["inputs"]["benchmarks"].items():
        fills = [fill(quantity, paid, paid, paid) for quantity, paid in case["inputs"]["avg_px_fills"]]
        total = split(order(quantity=45_000, decision_mid=price, arrival_mid=price), fills)["total"]
        ours = -1e4 * total / case["inputs"]["normaliser"]
        assert ours == approx(case["expected"][f"vs_{name}"], case["tolerance"][f"vs_{name}"])


def test_the_market_adjusted_shortfall_takes_out_the_market(cases: dict[str, Any]) -> None:
    given_ = cases["market_adjusted_is"]["inputs"]
    ours = market_adjusted(given_["is_pct"], given_["side"], given_["beta"], given_["market_ret_pct"])
    assert ours == approx(cases["market_adjusted_is"]["expected"]["adj_is_pct"], 1e-9)
    # A seller in a rising market was helped: the market's part is added back.
    assert market_adjusted(0.15, -1, 1.3, 0.5) == approx(0.8)


def test_johnsons_impact_splits_into_temporary_and_permanent(cases: dict[str, Any]) -> None:
    given_, expected = (cases["johnson_kissell_glantz_temp_perm"][part] for part in ("inputs", "expected"))
    temporary, permanent = kissell_glantz_split(given_["impact_usd"], given_["exec_qty"], given_["adv"])
    assert temporary == approx(expected["temporary"], 1)
    assert permanent == approx(expected["permanent"], 1)
    assert permanent / 0.05 == approx(expected["inst_impact"], 1)
    assert temporary + permanent == approx(given_["impact_usd"])


prices = st.floats(0.01, 100_000)
moves = st.floats(0.9, 1.1)


@st.composite
def generated(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    decision = draw(prices)
    quantity = draw(st.floats(0.001, 1_000_000)) / decision
    shares = draw(st.lists(st.floats(0.01, 0.24), max_size=4))
    an_order = order(
        side=draw(st.sampled_from([1, -1])),
        quantity=quantity,
        decision_mid=decision,
        arrival_mid=decision * draw(moves),
        end_mid=decision * draw(moves),
    )
    fills = [
        fill(quantity * share, *(decision * draw(moves) for _ in range(3)), fee=draw(st.floats(-10, 100)))
        for share in shares
    ]
    return an_order, fills


@given(generated())
@settings(max_examples=150, deadline=None)
def test_the_components_add_up_to_the_total(case: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    result = split(*case)
    assert result["excluded_reason"] is None
    assert abs(result["residual"]) <= RESIDUAL_TOLERANCE * (1 + abs(result["total"]))
    assert sum(result[name] for name in COMPONENTS) == pytest.approx(result["total"], rel=1e-9, abs=1e-6)


@given(generated(), st.one_of(st.none(), st.just(float("nan")), prices))
@settings(max_examples=50, deadline=None)
def test_the_end_mid_of_a_filled_order_has_no_effect(
    case: tuple[dict[str, Any], list[dict[str, Any]]], end_mid: float | None
) -> None:
    an_order, fills = case
    fills.append(fill(an_order["quantity"], 10.0, 10.0, 10.0))
    an_order["quantity"] = sum(each["quantity"] for each in fills)
    an_order["end_mid"] = float(an_order["end_mid"])
    usual = split(an_order, fills)
    changed = implementation_shortfall(
        pa.Table.from_pylist(
            [an_order | {"end_mid": end_mid}],
            schema=pa.schema(
                [("order_id", pa.string()), ("side", pa.int64())]
                + [(name, pa.float64()) for name in ("quantity", "decision_mid", "arrival_mid", "end_mid")]
            ),
        ),
        pa.Table.from_pylist(fills, schema=FILL_TYPES),
    ).to_pylist()[0]
    assert changed == usual
    assert usual["opportunity"] == usual["delay_unfilled"] == 0
    assert usual["excluded_reason"] is None


@given(generated())
@settings(max_examples=50, deadline=None)
def test_an_order_without_fills_is_all_delay_and_opportunity(
    case: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    an_order, _ = case
    result = split(an_order, [])
    paper = an_order["side"] * an_order["quantity"] * (an_order["end_mid"] - an_order["decision_mid"])
    assert result["total"] == pytest.approx(paper)
    assert result["delay_unfilled"] + result["opportunity"] == pytest.approx(paper, rel=1e-9, abs=1e-9)
    assert [result[name] for name in ("delay_filled", "timing", "spread", "impact", "fees")] == [0] * 5
    assert result["total_bps_of_executed_value"] is None


@pytest.mark.slow
def test_a_million_orders_keep_the_residual_bound() -> None:
    random = np.random.default_rng(11)
    n, m = 1_000_000, 2_000_000
    decision = 10 ** random.uniform(-4, 5, n)
    inverse = random.random(n) < 0.2
    quantity = random.lognormal(9, 2, n) / np.where(inverse, 1.0, decision)
    at = random.integers(0, n, m)
    share = random.uniform(0.01, 0.06, m)
    filled = np.bincount(at, weights=share, minlength=n)
    assert filled.max() < 1
    move = lambda size: np.exp(random.normal(0, 0.01, size))  # noqa: E731
    side = random.choice([1, -1], n)
    orders = pa.table(
        {"order_id": np.arange(n), "side": side, "quantity": quantity, "inverse": inverse, "decision_mid": decision}
        | {"arrival_mid": decision * move(n), "end_mid": decision * move(n)}
    )
    mid = decision[at] * move(m)
    fills = pa.table(
        {"order_id": at, "quantity": quantity[at] * share, "price": mid * move(m), "mid": mid}
        | {"touch": mid * move(m), "fee": random.normal(0, 1, m)}
    )
    result = implementation_shortfall(orders, fills)
    total, residual = result["total"].to_numpy(), result["residual"].to_numpy()
    assert result["excluded_reason"].null_count == n
    assert (np.abs(residual) <= RESIDUAL_TOLERANCE * (1 + np.abs(total))).all()
    # The same total from pandas group-bys and the profit of each contract: the identity alone can't see a wrong total.
    earned = lambda row, price: np.where(  # noqa: E731
        inverse[row], decision[row] * (1 / decision[row] - 1 / price), price - decision[row]
    )
    paid = pd.Series(side[at] * fills["quantity"].to_numpy() * earned(at, fills["price"].to_numpy())).groupby(at).sum()
    expected = side * quantity * (1 - filled) * earned(np.arange(n), orders["end_mid"].to_numpy())
    expected += paid.reindex(range(n)).fillna(0).to_numpy()
    expected += pd.Series(fills["fee"].to_numpy()).groupby(at).sum().reindex(range(n)).fillna(0).to_numpy()
    np.testing.assert_allclose(total, expected, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("side", [1, -1])
def test_an_inverse_contract_is_an_identity_in_coins_valued_at_the_decision(side: int) -> None:
    fills = [fill(300, 102, 101, 101.5, 0.2), fill(100, 99, 99.5, 99.4)]
    result = split(
        order(side=side, quantity=1000, inverse=True, decision_mid=100.0, arrival_mid=100.5, end_mid=104.0), fills
    )
    coins = side * (300 * (1 / 100 - 1 / 102) + 100 * (1 / 100 - 1 / 99) + 600 * (1 / 100 - 1 / 104))
    assert result["total"] == approx(100 * coins + 0.2)
    assert result["timing"] == approx(side * 100 * (300 * (1 / 100.5 - 1 / 101) + 100 * (1 / 100.5 - 1 / 99.5)))
    assert abs(result["residual"]) <= RESIDUAL_TOLERANCE
    assert (result["order_value"], result["executed_value"]) == (1000, 400)


def test_an_inverse_contract_has_no_cost_at_a_price_that_is_not_positive() -> None:
    result = split(order(quantity=10, inverse=True), [fill(10, 0.0, 10, 10)])
    assert (result["excluded_reason"], result["total"]) == ("fill price missing", None)


def test_the_relative_performance_of_johnsons_order_is_average(cases: dict[str, Any]) -> None:
    case = cases["johnson_rpm_volume"]
    prices, volumes = (
        np.array([*map(float, part)]) for part in zip(*case["inputs"]["price_volume"].items(), strict=True)
    )
    ours = relative_performance(prices, volumes, case["inputs"]["side"], case["inputs"]["avg_px"])
    assert ours == approx(case["expected"]["rpm_volume"], 1e-9)


@pytest.mark.parametrize(
    ("order_changes", "fill_changes", "reason"),
    [
        ({"decision_mid": float("nan")}, {}, "decision mid missing"),
        ({"arrival_mid": float("nan")}, {}, "arrival mid missing"),
        ({"end_mid": float("nan")}, {}, "end mid missing"),
        ({}, {"mid": float("nan")}, "mid missing at a fill"),
        ({}, {"touch": float("nan")}, "touch missing at a fill"),
        ({}, {"fee": float("nan")}, "fee missing in quote currency"),
        ({}, {"price": float("inf")}, "fill price missing"),
        ({}, {"quantity": 11.0}, "filled more than ordered"),
        ({"decision_mid": float("nan"), "arrival_mid": float("nan")}, {}, "decision mid missing; arrival mid missing"),
    ],
)
def test_an_order_that_cannot_be_measured_has_null_costs_and_a_reason(
    order_changes: dict[str, Any], fill_changes: dict[str, Any], reason: str
) -> None:
    result = split(order(quantity=10) | order_changes, [fill(5.0, 10, 10, 10) | fill_changes])
    assert result["excluded_reason"] == reason
    assert [result[name] for name in (*COMPONENTS, "total", "residual")] == [None] * (len(COMPONENTS) + 2)


def test_one_unmeasurable_order_leaves_the_others_alone() -> None:
    orders = pa.Table.from_pylist(
        [
            order(order_id="b", quantity=1.0),
            order(quantity=1.0, arrival_mid=float("nan")),
            order(order_id="c", quantity=1.0),
        ]
    )
    result = implementation_shortfall(orders, pa.Table.from_pylist([], schema=FILL_TYPES))
    assert result["order_id"].to_pylist() == ["b", "a", "c"]
    assert result["total"].to_pylist() == [1.0, None, 1.0]


def test_no_orders_give_no_rows() -> None:
    none = pa.table(
        {name: pa.array([], pa.float64()) for name in ("side", "quantity", "decision_mid", "arrival_mid", "end_mid")}
    )
    none = none.add_column(0, "order_id", pa.array([], pa.string()))
    assert implementation_shortfall(none, pa.Table.from_pylist([], schema=FILL_TYPES)).num_rows == 0


def test_a_maker_at_the_bid_shows_the_spread_it_earned() -> None:
    result = split(order(quantity=1, decision_mid=100, arrival_mid=100), [fill(1, 99.9, 100, 100.1)])
    assert (result["spread"], result["impact"]) == (approx(0.1), approx(-0.2))
    assert result["total"] == approx(-0.1)


@pytest.mark.parametrize(
    ("orders", "fills", "complaint"),
    [
        ([order(quantity=1), order(quantity=1)], [], "repeat"),
        ([order(quantity=1, side=2)], [], "side"),
        ([order(quantity=0)], [], "quantity is not a positive"),
        ([order(quantity=1)], [fill(-1, 1, 1, 1)], "fill's quantity"),
        ([order(quantity=1)], [fill(1, 1, 1, 1) | {"order_id": "zz"}], "zz"),
    ],
)
def test_rows_that_make_no_sense_are_refused(
    orders: list[dict[str, Any]], fills: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        implementation_shortfall(pa.Table.from_pylist(orders), pa.Table.from_pylist(fills, schema=FILL_TYPES))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="orders lack the columns end_mid"):
        implementation_shortfall(
            pa.Table.from_pylist([order(quantity=1)]).drop(["end_mid"]), pa.Table.from_pylist([], schema=FILL_TYPES)
        )
