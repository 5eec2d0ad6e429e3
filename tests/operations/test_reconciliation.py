"""The desk's fills against the venue's: exact, symmetric, and silent about what it cannot know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.execution.contracts import FILLS, VENUE_FILLS
from research_to_prod.operations.contracts import BREAKS, BreakClass
from research_to_prod.operations.reconciliation import reconcile_fills

DAY = "2026-01-02"
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
AS_OF = MIDNIGHT + timedelta(days=1, hours=1)
SYMBOLS = ["BTC/USDT", "ETH/USDT:USDT"]
Row = dict[str, Any]


def make(fill_id: str = "1", **changes: Any) -> Row:
    """Return a fill with the columns of both sides."""
    return {
        "fill_id": fill_id,
        "trade_id": fill_id,
        "order_id": "o1",
        "venue_order_id": "v1",
        "strategy": "momentum",
        "venue": "sandbox",
        "symbol": "BTC/USDT",
        "side": 1,
        "quantity": Decimal("0.5"),
        "price": Decimal(100),
        "liquidity": "taker",
        "fee": Decimal("0.05"),
        "fee_currency": "USDT",
        "filled_at": MIDNIGHT + timedelta(hours=3),
        "traded_at": MIDNIGHT + timedelta(hours=3),
        "received_at": MIDNIGHT + timedelta(hours=3, milliseconds=40),
        "fetch_id": "fetch-1",
        **changes,
    }


def table(rows: list[Row], side: Any) -> pa.Table:
    names = side.arrow.names
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows], schema=side.arrow)


def reconcile(ours: list[Row], theirs: list[Row], complete: bool = True, **changes: Any) -> pa.Table:
    certificates = dict.fromkeys(SYMBOLS, complete)
    arguments = {"venue": "sandbox", "day": DAY, "as_of": AS_OF, "certificates_complete": certificates} | changes
    return reconcile_fills(table(ours, FILLS), table(theirs, VENUE_FILLS), **arguments)


def classes(breaks: pa.Table) -> list[str]:
    return sorted(breaks["class"].to_pylist())


amounts = st.decimals("0.00000001", "1000000", places=8)
times = st.integers(0, 86_399).map(lambda seconds: MIDNIGHT + timedelta(seconds=seconds))


@st.composite
def fills(draw: st.DrawFn, minimum: int = 0) -> list[Row]:
    keys = draw(
        st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 30)), min_size=minimum, max_size=8, unique=True)
    )
    rows = []
    for symbol, number in keys:
        at = draw(times)
        rows.append(
            make(
                str(number),
                symbol=symbol,
                side=draw(st.sampled_from([1, -1])),
                quantity=draw(amounts),
                price=draw(amounts),
                fee=draw(st.decimals("-10", "10", places=8)),
                fee_currency=draw(st.sampled_from(["USDT", "BNB", "BTC"])),
                filled_at=at,
                traded_at=at,
            )
        )
    return rows


@given(fills())
@settings(max_examples=40, deadline=None)
def test_records_that_agree_have_no_breaks(rows: list[Row]) -> None:
    assert reconcile(rows, rows).num_rows == 0


FAULTS: dict[BreakClass, Callable[[Row], Row]] = {
    BreakClass.QUANTITY_MISMATCH: lambda row: row | {"quantity": row["quantity"] + Decimal("1e-18")},
    BreakClass.PRICE_MISMATCH: lambda row: row | {"price": row["price"] + Decimal("1e-18")},
    BreakClass.SIDE_MISMATCH: lambda row: row | {"side": -row["side"]},
    BreakClass.FEE_MISMATCH: lambda row: row | {"fee": row["fee"] - Decimal("1e-18")},
}


@given(fills(minimum=1), st.data(), st.sampled_from(list(BreakClass)))
@settings(max_examples=64, deadline=None)
def test_one_fault_gives_exactly_its_class(rows: list[Row], data: st.DataObject, kind: BreakClass) -> None:
    index = data.draw(st.integers(0, len(rows) - 1))
    victim = rows[index]
    others = rows[:index] + rows[index + 1 :]
    complete = dict.fromkeys(SYMBOLS, True)
    if kind is BreakClass.MISSING_FILL_INTERNAL:
        found = reconcile(others, rows)
    elif kind is BreakClass.MISSING_FILL_VENUE:
        found = reconcile(rows, others)
    elif kind is BreakClass.SOURCE_INCOMPLETE:
        found = reconcile(rows, others, certificates_complete=complete | {victim["symbol"]: False})
    elif kind is BreakClass.DUPLICATE_FILL:
        twin = victim | data.draw(st.sampled_from([{"order_id": "o2"}, {"quantity": victim["quantity"] * 2}]))
        found = reconcile([*rows, twin], rows)
    else:
        found = reconcile(rows, [*others, FAULTS[kind](victim)])
    assert classes(found) == [kind.value]
    assert found["symbol"].to_pylist() == [victim["symbol"]]
    if kind is not BreakClass.SOURCE_INCOMPLETE:
        assert found["fill_id"].to_pylist() == [victim["fill_id"]]
        assert found["verdict"].to_pylist() == ["confirmed"]


MIRROR = {
    "missing_fill_internal": "missing_fill_venue",
    "missing_fill_venue": "missing_fill_internal",
    "internal_value": "venue_value",
    "venue_value": "internal_value",
}


def mutated(draw: Callable[..., Any], rows: list[Row]) -> list[Row]:
    """Return a copy of the rows with some dropped and some changed."""
    kept = []
    for row in rows:
        fault = draw(st.sampled_from([None, None, "drop", *FAULTS.values()]))
        if fault != "drop":
            kept.append(row if fault is None else fault(row))
    return kept


@given(fills(), st.data())
@settings(max_examples=30, deadline=None)
def test_exchanging_the_sides_exchanges_the_labels(rows: list[Row], data: st.DataObject) -> None:
    other = mutated(data.draw, rows)
    there, back = reconcile(rows, other).to_pylist(), reconcile(other, rows).to_pylist()

    def facts(row: Row, *, mirrored: bool) -> tuple[Any, ...]:
        kind = MIRROR.get(row["class"], row["class"]) if mirrored else row["class"]
        first, second = ("venue_value", "internal_value") if mirrored else ("internal_value", "venue_value")
        return (kind, row["symbol"], row["fill_id"], row[first], row[second], row["money"], row["opened_at"])

    assert sorted(map(str, (facts(row, mirrored=False) for row in there))) == sorted(
        map(str, (facts(row, mirrored=True) for row in back))
    )


@given(fills(), st.data())
@settings(max_examples=30, deadline=None)
def test_order_and_repetition_of_the_delivery_do_not_matter(rows: list[Row], data: st.DataObject) -> None:
    other = mutated(data.draw, rows)
    usual = reconcile(rows, other)
    again = data.draw(st.permutations(rows + rows[:3]))
    theirs = data.draw(st.permutations(other + [row | {"fetch_id": "fetch-2"} for row in other[:3]]))
    assert reconcile(list(again), list(theirs)) == usual


@given(fills(), st.data())
@settings(max_examples=30, deadline=None)
def test_a_fill_is_never_called_missing_at_a_venue_that_was_not_read_to_the_end(
    rows: list[Row], data: st.DataObject
) -> None:
    other = mutated(data.draw, rows)
    certain, unsure = reconcile(rows, other), reconcile(rows, other, complete=False)
    assert "missing_fill_venue" not in unsure["class"].to_pylist()
    sources = [row for row in unsure.to_pylist() if row["class"] == "source_incomplete"]
    assert sorted(row["symbol"] for row in sources) == sorted(SYMBOLS)
    assert {row["verdict"] for row in sources} == {"unknown"}
    # All else that is proven by what both sides do show stays proven.
    keep = [row for row in certain.to_pylist() if row["class"] != "missing_fill_venue"]
    assert [row for row in unsure.to_pylist() if row["class"] != "source_incomplete"] == keep


def test_the_money_known_to_be_at_stake_behind_an_incomplete_source_is_stated() -> None:
    (row,) = reconcile([make("1"), make("2")], [], certificates_complete={"BTC/USDT": False}).to_pylist()
    assert row["money"] == Decimal(100)
    assert row["internal_value"] == "2 fills not seen at the venue"
    (row,) = reconcile([], [], certificates_complete={"BTC/USDT": False}).to_pylist()
    assert row["money"] is None


def test_a_symbol_without_a_certificate_counts_as_incomplete() -> None:
    breaks = reconcile([make()], [], certificates_complete={})
    assert classes(breaks) == ["source_incomplete"]
    assert breaks == BREAKS.conform(breaks, DAY)


@pytest.mark.parametrize(("age", "expected"), [(59, []), (60, ["missing_fill_venue"])])
def test_a_fill_is_judged_once_both_sides_must_have_heard_of_it(age: int, expected: list[str]) -> None:
    ours = make(filled_at=AS_OF - timedelta(seconds=age))
    assert classes(reconcile([ours], [])) == expected
    assert classes(reconcile([ours], [], in_flight=timedelta(minutes=2))) == []


def test_money_is_exact_beyond_pythons_usual_28_digits() -> None:
    quantity, price = Decimal("12345678901234567.123456789012345678"), Decimal("1.000000000000000001")
    (row,) = reconcile([make(quantity=quantity, price=price)], []).to_pylist()
    assert row["money"] == Decimal("12345678901234567.135802467913580245")


def test_money_of_each_mismatch_is_what_it_moves() -> None:
    ours = make(fee=Decimal("0.10"))
    theirs = make(quantity=Decimal("0.6"), price=Decimal(101), side=-1, fee=Decimal("0.2"))
    money = {row["class"]: row["money"] for row in reconcile([ours], [theirs]).to_pylist()}
    assert money == {
        "quantity_mismatch": Decimal("10.1"),
        "price_mismatch": Decimal("0.6"),
        "side_mismatch": Decimal("110.6"),
        "fee_mismatch": Decimal("0.1"),
    }


@pytest.mark.parametrize(("currency", "money"), [("BTC", Decimal(10)), ("BNB", None)])
def test_a_fee_in_another_currency_has_money_only_where_the_fill_prices_it(
    currency: str, money: Decimal | None
) -> None:
    ours, theirs = make(fee=Decimal("0.1"), fee_currency=currency), make(fee=Decimal("0.2"), fee_currency=currency)
    (row,) = reconcile([ours], [theirs]).to_pylist()
    assert (row["class"], row["money"], row["internal_value"]) == ("fee_mismatch", money, f"0.1 {currency}")


def test_a_break_keeps_its_id_at_every_look() -> None:
    first = reconcile([make()], []).to_pylist()[0]
    later = reconcile([make(), make("2")], [make("2")], as_of=AS_OF + timedelta(hours=5)).to_pylist()[0]
    assert first == later


def test_fills_of_another_venue_are_refused() -> None:
    with pytest.raises(ValueError, match="fills of elsewhere"):
        reconcile([make(venue="elsewhere")], [])
