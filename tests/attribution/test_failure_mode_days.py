"""The failure modes of an evening: what the records say of a market, and days put together to drawdowns."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.attribution.failure_mode_days import Evening, diagnose_day, modes_of_day
from research_to_prod.attribution.failure_mode_inputs import DeskTables, MarketTables, case_of_day
from research_to_prod.attribution.failure_mode_policy import load_failure_mode_policy
from research_to_prod.attribution.failure_modes import MODES, Answer, Diagnosis
from research_to_prod.attribution.pnl_contracts import DRAWDOWNS, FAILURE_MODES, SHADOW
from research_to_prod.attribution.shadow_days import Place
from research_to_prod.execution.contracts import DECISIONS, FEE_SCHEDULES, FILLS, ORDERS
from research_to_prod.market_data.contracts import CANDLES, FUNDING_RATES, MARKET_FINDINGS
from research_to_prod.market_data.series import micros
from tests.attribution import failure_mode_cases as cases

POLICY = load_failure_mode_policy(Path(research_to_prod.__file__).parent / "desk" / "policies" / "failure_modes.yaml")
START, DAY = cases.MONDAY, f"{cases.MONDAY:%Y-%m-%d}"
PLACE = Place("momentum", "binance", "BTC/USDT:USDT")
D = Decimal


def days_on(n: int) -> str:
    return f"{START + timedelta(days=n):%Y-%m-%d}"


def shadow(day: str = DAY, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {each.name: None for each in SHADOW.columns}
    row |= {"day": day, **PLACE._asdict(), "position_known": True, "orders": 1, "signals": 0}
    row |= {"diverging": [], "model_quantities": [], "opening_position": D(0), "cost_rate": D("0.0001")}
    return row | {"live": D(-100), "funding": D(-10), "shadow": D(-90), "expected": D(10)} | changes


def table(schema: Any, *rows: dict[str, Any]) -> pa.Table:
    blank = {each.name: None for each in schema.columns}
    return pa.Table.from_pylist([blank | row for row in rows], schema=pa.schema(list(schema.arrow), metadata=None))


def desk(**changes: Any) -> DeskTables:
    return DeskTables(**{"shadow": table(SHADOW, shadow()), "fills": fills()} | changes)


def fills(*rows: dict[str, Any]) -> pa.Table:
    base = {**PLACE._asdict(), "order_id": "o", "side": 1, "quantity": D(2), "price": D(100), "liquidity": "taker"}
    base |= {"fee": D("0.1"), "fee_currency": "USDT"}
    made = [base | {"fill_id": str(n), "filled_at": START + timedelta(hours=1 + n)} | row for n, row in enumerate(rows)]
    quotes = {"bid": pa.array([99.0] * len(made)), "ask": pa.array([100.0] * len(made))}
    found = table(FILLS, *made)
    for name, values in quotes.items():
        found = found.append_column(name, values.cast(pa.float64()))
    return found


def candles(symbol: str, close: float, days: int = 9) -> pa.Table:
    first = START - timedelta(days=days - 1)
    row = {"venue": "binance", "symbol": symbol, "timeframe": "1h", "volume": 1.0}
    row |= dict.fromkeys(("open", "high", "low", "close"), close)
    return table(CANDLES, *(row | {"ts": first + timedelta(hours=n)} for n in range(days * 24)))


def test_what_nobody_recorded_is_none_and_its_rules_say_so():
    case = case_of_day(DAY, PLACE, MarketTables(), desk())
    recorded = {"start", "end", "orders", "fills", "carry_share"}
    assert {name for name, value in vars(case).items() if value is not None} == recorded
    found = {each.mode: each for each in diagnose_day(case, POLICY, DAY)}
    assert list(found) == [mode.name for mode in MODES]
    assert found["liquidity_vacuum"].reason == "liquidity_vacuum needs spread, depth, profile"
    assert "funding_extreme needs funding" in found["funding_squeeze"].reason
    assert {each.answer for each in found.values()} <= {Answer.UNKNOWN, Answer.ABSENT}


def test_a_position_held_over_midnight_is_a_fill_before_the_day():
    held = table(SHADOW, shadow(opening_position=D(-3), opening_mid=D(101)))
    case = case_of_day(DAY, PLACE, MarketTables(), desk(shadow=held, fills=fills({}, {})))
    assert case.fills is not None
    assert (case.fills.side * case.fills.quantity).tolist() == [-3, 2, 2]
    assert case.fills.at[0] == case.start - 1
    assert case.fills.fee.tolist() == pytest.approx([0, 5, 5]), "0.1 on 200 is 5 bp"
    unknown = table(SHADOW, shadow(opening_position=None))
    assert case_of_day(DAY, PLACE, MarketTables(), desk(shadow=unknown)).fills is None


@pytest.mark.parametrize(("fee", "currency", "bp"), [("0.002", "BTC", 10.0), ("0.1", "USDT", 5.0), ("1", "BNB", None)])
def test_a_fee_counts_in_basis_points_and_in_a_third_currency_not_at_all(fee: str, currency: str, bp: float | None):
    case = case_of_day(DAY, PLACE, MarketTables(), desk(fills=fills({"fee": D(fee), "fee_currency": currency})))
    assert (None if case.fills is None else case.fills.fee.tolist()) == (None if bp is None else [pytest.approx(bp)])


@pytest.mark.parametrize(
    ("live", "funding", "share"), [(-100, -25, 0.25), (-100, 5, 0.0), (50, -25, 0.0), (None, -25, None)]
)
def test_carry_is_the_share_of_the_days_loss_that_funding_was(live: int | None, funding: int, share: float | None):
    row = shadow(live=None if live is None else D(live), funding=D(funding))
    assert case_of_day(DAY, PLACE, MarketTables(), desk(shadow=table(SHADOW, row))).carry_share == share


def test_an_order_costs_beyond_the_model_what_spread_and_impact_are_above_its_charge():
    order = {**PLACE._asdict(), "order_id": "o", "decision_id": "d", "side": 1, "quantity": D(4), "style": "taker"}
    order |= {"limit_price": D(0), "sent_at": START + timedelta(hours=2), "ended_at": START + timedelta(hours=2)}
    orders = table(ORDERS, order | {"end_reason": "rejected"})
    decided = table(DECISIONS, {**PLACE._asdict(), "decision_id": "d", "decided_at": START, "side": 1, "sent": True,
        "target_quantity": D(2), "reference_bid": D(99), "reference_ask": D(100)})  # fmt: skip
    paid = {"order_id": ["o"], "excluded_reason": pa.array([None], pa.string()), "executed_value": [400.0]}
    slippage = pa.table(paid | {"spread": [0.02], "impact": [0.06], "timing": [9.0]})
    case = case_of_day(DAY, PLACE, MarketTables(), desk(orders=orders, decisions=decided, slippage=slippage))
    assert case.orders is not None
    assert case.orders.excess_cost.tolist() == pytest.approx([1.0]), "2 bp paid, 1 charged"
    assert case.orders.rejected.tolist() == [True]
    found = {each.mode: each for each in diagnose_day(case, POLICY, DAY)}
    assert found["fat_finger"].evidence["times_decided"] == 2
    assert found["fat_finger"].reason == "off_target needs positions, targets"


def test_basis_funding_halts_and_fees_are_those_of_the_market():
    paid = [{"venue": "binance", "symbol": PLACE.symbol, "ts": START - timedelta(hours=8 * n), "rate": 0.0001 * n,
             "interval_hours": 8.0, "mark_price": 1.0} for n in range(3)]  # fmt: skip
    columns = {each.name for each in FUNDING_RATES.columns}
    down = {"venue": "binance", "symbol": PLACE.symbol, "timeframe": "1h", "month": DAY[:7], "rule": "venue_outage",
            "level": "warning", "against": "", "first_at": START + timedelta(hours=3), "rows": 2, "value": 2.0,
            "last_at": START + timedelta(hours=4), "threshold": 1.0, "unit": "h", "confidence": 1.0, "what": "",
            "cost": "", "remedy": ""}  # fmt: skip
    market = MarketTables(
        candles=candles(PLACE.symbol, 101.0),
        other_candles=candles("BTC/USDT", 100.0),
        profile=cases.profile(),
        funding=table(FUNDING_RATES, *({k: v for k, v in row.items() if k in columns} for row in paid)),
        findings=table(MARKET_FINDINGS, down, down | {"rule": "market_gap", "first_at": START}),
        fee_schedules=table(FEE_SCHEDULES, {"venue": "binance", "symbol": PLACE.symbol, "stated_at": START,
            "maker_rate": D("-0.00005"), "taker_rate": D("0.0005")}),
    )  # fmt: skip
    case = case_of_day(DAY, PLACE, market, desk())
    assert case.basis is not None
    assert case.basis.value == pytest.approx(np.full(9 * 24, 0.01))
    assert case.funding is not None
    assert case.funding.value.tolist() == pytest.approx([0.0002, 0.0001, 0.0])
    assert case.fee_schedule is not None
    assert (case.fee_schedule.maker, case.fee_schedule.taker) == pytest.approx((-0.5, 5.0))
    (halt,) = case.halts or ()
    assert (micros(halt.start), micros(halt.end)) == (case.start + 3 * cases.HOUR, case.start + 5 * cases.HOUR)
    assert diagnose_day(case, POLICY, DAY)[6].answer is Answer.PRESENT
    own = desk(shadow=table(SHADOW, shadow(symbol="BTC/USDT")))
    swapped = replace(market, candles=market.other_candles, other_candles=market.candles)
    spot = case_of_day(DAY, PLACE._replace(symbol="BTC/USDT"), swapped, own)
    assert spot.basis is not None
    assert spot.basis.value == pytest.approx(case.basis.value)
    assert {each.mode: each.answer for each in diagnose_day(spot, POLICY, DAY)}["funding_squeeze"] is Answer.ABSENT


# Days put together ------------------------------------------------------------------------------------------------


def diagnosis(mode: str, answer: Answer) -> Diagnosis:
    window = (cases.case().window,) if answer is Answer.PRESENT else ()
    reason = "needs depth" if answer is Answer.UNKNOWN else ""
    return Diagnosis(mode, answer, window, 1.0, {"n": 1.0, "worst": np.inf}, reason)


def evenings(answers: list[Answer | None], live: list[int], trough: int) -> pa.Table:
    """Return the rows of the last of several evenings, of which one without an answer was never made."""
    before = FAILURE_MODES.empty()
    drawdown = {"strategy": "momentum", "episode": 1, "dimension": "all", "value": "all", "peak_at": START}
    drawdown |= {"trough_at": START + timedelta(days=trough + 1, microseconds=-1), "share": 1.0}
    drawdown |= {"loss": D(-sum(live[: trough + 1])), "seconds": 1.0}
    for n, answer in enumerate(answers):
        if answer is None:
            continue
        rows = [shadow(days_on(day), live=D(live[day])) for day in range(n + 1)]
        found = {PLACE: [diagnosis(mode.name, answer) for mode in MODES]}
        evening = Evening(
            days_on(n), found, before, table(SHADOW, *rows), table(DRAWDOWNS, {**drawdown, "day": days_on(n)})
        )
        made = modes_of_day(evening, POLICY)
        before = pa.concat_tables([before, made])
    return made


P, A, U = Answer.PRESENT, Answer.ABSENT, Answer.UNKNOWN


@pytest.mark.parametrize(
    ("answers", "whole", "days"),
    [
        ([A, P, A], "present", (1, 0)),
        ([A, A, A], "absent", (0, 0)),
        ([A, U, A], "unknown", (0, 1)),
        ([P, None, A], "present", (1, 1)),
        ([A, None, A], "unknown", (0, 1)),
    ],
)
def test_a_drawdown_has_the_modes_of_the_days_on_which_it_fell(
    answers: list[Answer | None], whole: str, days: tuple[int, int]
) -> None:
    made = evenings([*answers, U], [-10, -20, -30, 5], trough=2)
    row = next(row for row in made.to_pylist() if row["episode"] == 1 and row["mode"] == "volatility_shock")
    assert (row["answer"], row["days"]) == (whole, 3)
    assert (row["days_present"], row["days_unknown"]) == days
    if whole == "unknown":
        assert "needs depth" in row["reason"] or "never looked at" in row["reason"]
    assert row["loss_share"] == {(A, P, A): pytest.approx(1 / 3), (P, None, A): pytest.approx(1 / 6)}.get(
        tuple(answers)
    )


def test_losses_on_the_days_with_a_mode_are_held_against_all_shifts_of_them():
    made = evenings([A, A, P, P, A, A, A, A, A, A], [1, 1, -50, -40, 1, 1, 1, 1, 1, 1], trough=3)
    row = next(row for row in made.to_pylist() if row["mode"] == "fat_finger" and row["episode"] == 0
               and row["symbol"] == "all")  # fmt: skip
    # The drawdown began on the first day: what was gained on its way counts against its loss.
    assert row["loss_share"] == pytest.approx(90 / 88)
    assert (row["time_share"], row["shifts"], row["p_value"]) == (0.2, 10, 0.1)


def test_where_nothing_was_present_nothing_gathers():
    made = evenings([A, U], [-10, -5], trough=1)
    row = next(row for row in made.to_pylist() if row["mode"] == "crowding" and row["symbol"] == "all")
    assert (row["p_value"], row["loss_share"], row["answer"]) == (None, None, "unknown")


def test_every_market_has_every_mode_and_what_was_measured():
    made = evenings([P], [-1], trough=0).to_pylist()
    market = [row for row in made if row["symbol"] != "all"]
    assert [row["mode"] for row in market] == [mode.name for mode in MODES]
    assert market[0]["evidence"] == '{"n": 1.0}', "infinity is no JSON"
    assert {row["policy_sha256"] for row in made} == {made[0]["policy_sha256"]}
    assert len(made) == 3 * len(MODES)
