"""The waterfall adds up exactly, each bar is its own cause, and what is left is a break in the records."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.attribution.waterfall import Cause, Trade, Waterfall, Window, add, waterfall

D = Decimal
NOTHING = Window(expected=D(0), carried=D(0), model_carry=D(0), carry=D(0), other=D(0), ledger=D(0))
MODEL = Trade(
    model_quantity=D(2), live_quantity=D(2), target_quantity=D(2), filled_quantity=D(2), filled_value=D(200),
    decision_mid=D(100), arrival_mid=D(100), end_mid=D(110), model_cost_rate=D(0), model_fee_rate=D(0), fees=D(0),
    quoted_values=(D(200), D(200)),
)  # fmt: skip


def amounts(found: Waterfall) -> dict[Cause, Decimal]:
    return {bar.cause: bar.amount for bar in found.bars if bar.amount}


def money(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=18, allow_nan=False)


@st.composite
def trades(draw: st.DrawFn) -> Trade:
    price, side = money(1, 100_000), draw(st.sampled_from([1, -1]))
    target = side * draw(money(1, 1000))
    filled = target * draw(st.sampled_from([D(0), D("0.37"), D(1)]))
    return Trade(
        draw(money(-1000, 1000)), draw(money(-1000, 1000)), target, filled, filled * draw(price),
        draw(price), draw(price), draw(price), draw(money(0, 1)), draw(money(0, 1)), draw(money(-100, 100)),
        draw(st.none() | st.tuples(money(-10**8, 10**8), money(-10**8, 10**8))),
    )  # fmt: skip


windows = st.builds(Window, *[money(-(10**6), 10**6)] * 6)


@given(st.lists(trades(), max_size=5), windows)
def test_the_bars_lead_from_expected_to_live_without_a_rest(made: list[Trade], window: Window):
    found = waterfall(made, window)
    total, live = found.expected, window.carried + window.carry + window.other
    for bar in found.bars:
        total += bar.amount
    for trade in made:
        live += trade.filled_quantity * trade.end_mid - trade.filled_value - trade.fees
    # The context of this test rounds to 28 digits; the waterfall doesn't.
    assert total == pytest.approx(found.explained, rel=D("1e-20"))
    assert found.explained == pytest.approx(live, rel=D("1e-20"), abs=D("1e-12"))
    assert [bar.cause for bar in found.bars] == list(Cause)


@given(st.lists(trades(), min_size=1, max_size=4), windows, windows)
def test_parts_of_a_book_add_up_to_the_book(made: list[Trade], one: Window, other: Window):
    together = add([waterfall(made, one), waterfall(made[:1], other)])
    whole = Window(*(getattr(one, name) + getattr(other, name) for name in vars(one)))
    assert together == waterfall([*made, made[0]], whole)


@pytest.mark.parametrize(
    ("change", "cause", "amount"),
    [
        ({"model_quantity": D(3)}, Cause.SIGNAL, D(-10)),
        ({"live_quantity": D(3), "model_quantity": D(3)}, Cause.SIZING, D(-10)),
        ({"filled_quantity": D(1), "filled_value": D(100), "quoted_values": (D(100), D(100))}, Cause.MISSED, D(-10)),
        ({"fees": D("0.3")}, Cause.FEES, D("-0.3")),
        ({"filled_value": D("200.4")}, Cause.IMPACT, D("-0.4")),
        ({"filled_value": D("200.4"), "quoted_values": (D(200), D("200.4"))}, Cause.SPREAD, D("-0.4")),
        ({"filled_value": D(201), "quoted_values": (D(201), D(201))}, Cause.TIMING, D(-1)),
        ({"filled_value": D(201), "quoted_values": None}, Cause.IMPACT, D(-1)),
        (
            {"arrival_mid": D(101), "filled_value": D(202), "quoted_values": (D(202), D(202))},
            Cause.DELAY,
            D(-2),
        ),
    ],
)
def test_one_thing_gone_wrong_is_one_bar(change: dict[str, Any], cause: Cause, amount: Decimal):
    trade = replace(MODEL, **change)
    expected = trade.model_quantity * D(10)
    assert amounts(waterfall([trade], replace(NOTHING, expected=expected))) == {cause: amount}


def test_costs_as_modelled_cancel_the_credit_of_the_model():
    charged = replace(MODEL, model_cost_rate=D("0.001"), model_fee_rate=D("0.0005"))
    paid = replace(charged, filled_value=D("200.2"), quoted_values=(D(200), D("200.2")), fees=D("0.1"))
    found = amounts(waterfall([paid], replace(NOTHING, expected=D("19.7"))))
    assert found == {Cause.MODELLED_COST: D("0.2"), Cause.SPREAD: D("-0.2")}


def test_funding_and_other_entries_have_their_bars():
    window = replace(NOTHING, model_carry=D(-1), carry=D(-3), other=D("-0.5"), ledger=D("-3.5"), expected=D(-1))
    found = waterfall([], window)
    assert amounts(found) == {Cause.CARRY: D(-2), Cause.OTHER: D("-0.5")}
    assert not found.is_data_break()


def test_what_the_ledger_has_beyond_it_is_a_break_and_never_a_bar():
    found = waterfall([MODEL], replace(NOTHING, expected=D(20), ledger=D("19.99")))
    assert amounts(found) == {}
    assert found.residual == D("-0.01")
    assert found.is_data_break()
    assert not found.is_data_break(tolerance=D("0.01"))


def test_a_published_short_earns_what_was_published():
    # freqtrade issue 11699: short 0.187 from 3553.0 to 3577.47 at a fee of 0.05 %, without funding.
    def trade(quantity: str, price: str) -> Trade:
        value = D(quantity) * D(price)
        return replace(
            MODEL, filled_quantity=D(quantity), target_quantity=D(quantity), filled_value=value, quoted_values=None,
            fees=abs(value) * D("0.0005"), end_mid=D("3577.47"),
        )  # fmt: skip

    short, cover = trade("-0.187", "3553.0"), trade("0.187", "3577.47")
    assert waterfall([short, cover], NOTHING).explained == D("-5.242588945")


def test_everything_that_is_wrong_is_said_at_once():
    bad = replace(MODEL, filled_quantity=D(-2), arrival_mid=D(0))
    with pytest.raises(ValueError, match=r"ledger of the window is NaN; trade 0: arrival_mid is 0.*trade 0: -2 filled"):
        waterfall([bad], replace(NOTHING, ledger=D("nan")))
    with pytest.raises(ValueError, match="quoted value is NaN"):
        waterfall([replace(MODEL, quoted_values=(D("nan"), D(1)))], NOTHING)
    with pytest.raises(ValueError, match="no waterfall"):
        add([])
