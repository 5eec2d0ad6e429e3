"""Fees by rate, mix and volume; funding by timestamp, whatever the trades around it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.attribution.fees import FeeChange, FeeUse, fee_change
from research_to_prod.attribution.funding import (
    FundingTime,
    PositionChange,
    funding_due,
)
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.ledger import Holder, LegKind
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.values import day_bounds

D = Decimal
PERP = "BTC/USDT:USDT"
EIGHT = datetime(2026, 1, 1, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def use(notional: str, rate: str) -> FeeUse:
    return FeeUse(D(notional), D(notional) * D(rate))


MODEL = {"maker": use("600", "0.0002"), "taker": use("400", "0.0004")}


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (MODEL, FeeChange(D(0), D(0), D(0), D(0))),
        ({"maker": use("600", "0.0002"), "taker": use("400", "0.0005")}, FeeChange(D("0.04"), D(0), D(0), D("0.04"))),
        ({"maker": use("400", "0.0002"), "taker": use("600", "0.0004")}, FeeChange(D(0), D("0.04"), D(0), D("0.04"))),
        ({"maker": use("1200", "0.0002"), "taker": use("800", "0.0004")}, FeeChange(D(0), D(0), D("0.28"), D("0.28"))),
        ({"maker": use("600", "-0.0001"), "taker": MODEL["taker"]}, FeeChange(D("-0.18"), D(0), D(0), D("-0.18"))),
        ({}, FeeChange(D(0), D(0), D("-0.28"), D("-0.28"))),
    ],
)  # fmt: skip
def test_one_change_is_one_cause(actual: dict[str, FeeUse], expected: FeeChange):
    assert fee_change(MODEL, actual) == expected


uses = st.builds(FeeUse, st.decimals("0.01", 10**9, places=8), st.decimals(-(10**5), 10**5, places=8))


@given(*[st.fixed_dictionaries({"maker": uses, "taker": uses})] * 2)
def test_rate_mix_and_volume_are_the_whole_change(model: dict[str, FeeUse], actual: dict[str, FeeUse]):
    found = fee_change(model, actual)
    # The parts have up to 33 digits; Python's default context would round their sum to 28.
    with localcontext(prec=60):
        assert found.rate + found.mix + found.volume == found.total
    assert found.total == sum(each.fees for each in actual.values()) - sum(each.fees for each in model.values())


def test_a_rate_that_the_model_does_not_know_is_refused():
    with pytest.raises(ValueError, match="actual fees on a notional of 0; no modelled rate for taker"):
        fee_change({"maker": MODEL["maker"]}, {"maker": FeeUse(D(0), D(1)), "taker": MODEL["taker"]})


def test_funding_is_due_on_the_position_held_just_before_and_partial_exits_do_not_double_it():
    bought = PositionChange(PERP, EIGHT - SECOND, D(3))
    changes = [PositionChange(PERP, EIGHT, D(-1)), PositionChange(PERP, EIGHT + SECOND, D(-1)), bought]
    (paid,) = funding_due({}, changes, [FundingTime(PERP, EIGHT, D("0.0001"), D(50_000))])
    assert (paid.position, paid.amount) == (D(3), D("-15"))
    assert funding_due({PERP: D(-3)}, [bought], [FundingTime(PERP, EIGHT, D("0.0001"), D(50_000))]) == ()


def test_funding_that_a_retry_loses_is_due_all_the_same():
    # freqtrade issue 13517: a profit of 95.61796836 with funding, of 103.73685617 without.
    (due,) = funding_due({PERP: D("8.11888781")}, [], [FundingTime(PERP, EIGHT, D(1), D(1))])
    assert D("103.73685617") + due.amount == D("95.61796836")


def test_what_cannot_be_computed_is_refused_with_every_reason():
    times = [
        FundingTime("BTC/USD:BTC", EIGHT, D(1), D(1)),
        FundingTime(PERP, EIGHT.replace(tzinfo=None), D("nan"), D(1)),
    ]
    with pytest.raises(ValueError, match=r"not a linear perpetual.*rate NaN.*no time zone"):
        funding_due({}, [], times)


def test_funding_of_the_sandbox_is_what_its_ledger_booked():
    desk = SandboxDesk(SandboxMarket(11))
    opening: dict[str, Decimal] = {}
    payments = 0
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        simulated, (start, end) = desk.simulate_day(day), day_bounds(day)
        changes = [PositionChange(each.symbol, each.filled_at, each.side * each.quantity) for each in simulated.fills]
        times = [
            FundingTime(symbol, start + timedelta(microseconds=int(at) - int(start.timestamp()) * 10**6),
                        D(f"{rate:.8f}"), D(f"{mark:.8f}"))
            for symbol in desk.symbols if ":" in symbol
            for paid in [desk.market.funding(symbol, start, end)]
            for at, rate, mark in zip(paid.ts.tolist(), paid.rate.tolist(), paid.mark_price.tolist(), strict=True)
        ]  # fmt: skip
        booked = {
            (leg.event.split()[1], leg.at): leg.amount
            for leg in simulated.legs
            if leg.kind is LegKind.FUNDING_FEE and leg.holder is Holder.FUTURES
        }
        due = funding_due(opening, changes, times)
        payments += len(booked)
        amounts = {(each.symbol, each.at): each.amount for each in due}
        assert amounts.keys() == booked.keys()
        assert all(abs(amounts[key] - booked[key]) <= D("1e-8") for key in booked)
        for change in changes:
            opening[change.symbol] = opening.get(change.symbol, D(0)) + change.quantity
    assert payments > 5
