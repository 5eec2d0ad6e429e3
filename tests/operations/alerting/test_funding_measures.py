"""Funding: what the venue paid against what the rate makes due, and against the desk's books."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.execution.contracts import VENUE_FILLS, VENUE_INCOME, VENUE_POSITIONS
from research_to_prod.market_data.contracts import FUNDING_RATES
from research_to_prod.operations.alerting.accounts import Accounts
from research_to_prod.operations.contracts import BREAKS
from tests.operations.alerting.account_day import END, START, account, doubted, values
from tests.operations.alerting.test_day_measures import rows

ETH = {"venue": "sandbox", "symbol": "ETH/USDT:USDT"}
AS_DUE = -20.0  # two coins long at 1,000, of which one percent


def paid(*amounts: float | None) -> pa.Table:
    """Payments at 00:00, 08:00 and 16:00, stamped some milliseconds late; None where there was none."""
    given = [
        ETH | {"account": "futures", "income_type": "FUNDING_FEE", "asset": "USDT", "amount": Decimal(str(amount))}
        | {"booked_at": START + timedelta(hours=8 * number, milliseconds=7)}
        for number, amount in enumerate(amounts)
        if amount is not None
    ]  # fmt: skip
    return rows(VENUE_INCOME, *given)


def rates(mark: float | None = 1000.0, symbol: str = "ETH/USDT:USDT") -> pa.Table:
    due = [{"ts": START + timedelta(hours=8 * number), "rate": 0.01, "mark_price": mark} for number in range(3)]
    return rows(FUNDING_RATES, *(ETH | {"symbol": symbol} | each for each in due))


def day(*amounts: float | None, fills: pa.Table | None = None, **changes: Any) -> Accounts:
    """Two coins held all day, and these payments."""
    held = ETH | {"day": "2026-01-03", "moment": "opening", "position": Decimal(2)}
    venue = {
        "venue_income": paid(*amounts),
        "venue_positions": rows(VENUE_POSITIONS, held),
        "venue_fills": rows(VENUE_FILLS) if fills is None else fills,
    }
    known = account(breaks=rows(BREAKS), funding_rates=rates())
    return replace(known, venue={**known.venue, **venue}, **changes)


def told(known: Accounts, moment: datetime = END) -> tuple[float | None, float | None, float | None]:
    found = values(known, moment)
    relative, money = found["funding_mismatch"], found["funding_mismatch_value"]
    return relative, money, found["funding_mismatches_in_a_row"]


def test_payments_as_they_are_due_differ_by_nothing() -> None:
    assert told(day(AS_DUE, AS_DUE, AS_DUE)) == (0, 0, 0)


def test_a_cent_or_one_percent_is_rounding_and_more_than_both_a_difference() -> None:
    assert told(day(AS_DUE, -20.1, AS_DUE))[2] == 0
    relative, money, in_a_row = told(day(AS_DUE, -25.0, AS_DUE))
    assert (relative, money, in_a_row) == (pytest.approx(0.2), pytest.approx(5.0), 1)


def test_less_than_a_cent_is_rounding_however_much_of_the_payment_it_is() -> None:
    known = day(AS_DUE, AS_DUE, AS_DUE, breaks=rows(BREAKS, broken(8, "0.004 USDT", "0.012 USDT")))
    assert told(known)[2] == 0


def test_the_legs_of_a_hedged_position_are_paid_together() -> None:
    known = day(AS_DUE, AS_DUE, AS_DUE)
    legs = [
        row | {"amount": amount, "income_id": f"{row['income_id']} {amount}"}
        for row in known.venue["venue_income"].to_pylist()
        for amount in (Decimal(-50), Decimal(30))
    ]
    assert told(replace(known, venue={**known.venue, "venue_income": rows(VENUE_INCOME, *legs)})) == (0, 0, 0)


def test_rates_of_the_day_before_are_none_of_this_day() -> None:
    before = [row | {"ts": row["ts"] - timedelta(days=1)} for row in rates().to_pylist()]
    both = rows(FUNDING_RATES, *before, *rates().to_pylist())
    assert told(day(AS_DUE, AS_DUE, AS_DUE, funding_rates=both)) == (0, 0, 0)


def test_the_payment_that_differs_is_told_and_not_a_larger_one_that_is_rounded() -> None:
    known = day(-20.15, -20.1, AS_DUE, breaks=rows(BREAKS, broken(8, "0.2 USDT", "0.1 USDT")))
    assert told(known)[:2] == (pytest.approx(0.5), pytest.approx(0.1))


def test_a_payment_that_never_came_differs_by_all_of_it() -> None:
    assert told(day(AS_DUE, None, AS_DUE)) == (1, pytest.approx(20.0), 1)


def test_a_payment_that_was_not_read_is_not_one_that_never_came() -> None:
    assert told(doubted(day(AS_DUE, None, AS_DUE), "venue_income")) == (None, None, None)


def test_payments_differ_in_a_row_until_one_is_right() -> None:
    assert told(day(-25.0, -25.0, AS_DUE))[2] == 2
    assert told(day(-25.0, AS_DUE, -25.0))[2] == 1


def test_a_payment_is_judged_half_an_hour_after_its_time() -> None:
    known, due = day(AS_DUE, -25.0), START + timedelta(hours=8)
    assert told(known, due + timedelta(minutes=29))[2] == 0
    assert told(known, due + timedelta(minutes=31))[2] == 1


@pytest.mark.parametrize("seconds", [-20, 20])
def test_a_fill_within_a_minute_of_the_payment_counts_on_either_side_of_it(seconds: int) -> None:
    at = START + timedelta(hours=8, seconds=seconds)
    sold = rows(VENUE_FILLS, ETH | {"side": -1, "quantity": Decimal(1), "traded_at": at})
    for amount, differs in ((AS_DUE, 0), (-10.0, 0), (-15.0, 1)):
        assert told(day(AS_DUE, amount, -10.0, fills=sold))[2] == differs, amount


def test_a_fill_longer_before_changes_what_is_due() -> None:
    sold = rows(VENUE_FILLS, ETH | {"side": -1, "quantity": Decimal(2), "traded_at": START + timedelta(hours=7)})
    assert told(day(AS_DUE, fills=sold)) == (0, 0, 0)
    assert told(day(AS_DUE, AS_DUE, fills=sold))[2] == 1


def broken(hours: int, ours: str | None, theirs: str | None) -> dict[str, Any]:
    at = START + timedelta(hours=hours)
    return ETH | {
        "class": "funding_mismatch", "verdict": "confirmed", "status": "open", "opened_at": at,
        "internal_value": ours, "venue_value": theirs,
    }  # fmt: skip


def test_what_the_desk_booked_otherwise_differs_although_the_venue_is_right() -> None:
    assert told(day(AS_DUE, AS_DUE, AS_DUE, breaks=rows(BREAKS, broken(8, "-10 USDT", "-20 USDT")))) == (0.5, 10, 1)
    assert told(day(AS_DUE, AS_DUE, AS_DUE, breaks=rows(BREAKS, broken(8, None, "-20 USDT")))) == (1, 20, 1)


def test_a_payment_that_can_be_held_against_nothing_is_unknown() -> None:
    bare = day(AS_DUE, AS_DUE, AS_DUE, recorded=frozenset(), funding_rates=None)
    assert told(bare) == (None, None, None)
    assert told(replace(bare, funding_rates=rates(mark=None))) == (None, None, None)
    assert told(replace(bare, funding_rates=rates())) == (0, 0, 0)
    assert told(replace(bare, recorded=frozenset({"ledger_entries"}))) == (0, 0, 0)


def test_a_payment_that_the_desk_has_not_told_yet_was_not_compared() -> None:
    known = day(AS_DUE, AS_DUE, AS_DUE, funding_rates=None, told_to=START + timedelta(hours=15))
    assert told(known, START + timedelta(hours=12)) == (0, 0, 0)
    assert told(known) == (None, None, None)


def test_of_an_inverse_contract_nothing_is_due_in_money() -> None:
    known = day(recorded=frozenset(), funding_rates=rates(symbol="ETH/USD:ETH"))
    inverse = [row | {"symbol": "ETH/USD:ETH"} for row in known.venue["venue_positions"].to_pylist()]
    known = replace(known, venue={**known.venue, "venue_positions": rows(VENUE_POSITIONS, *inverse)})
    assert told(known) == (0, 0, 0)


@pytest.mark.parametrize("table", ["venue_positions", "venue_fills"])
def test_on_positions_that_were_not_read_completely_nothing_is_due(table: str) -> None:
    assert told(doubted(day(recorded=frozenset()), table)) == (0, 0, 0)
    assert told(doubted(day(AS_DUE, recorded=frozenset()), table)) == (None, None, None)
