"""Margin: by the venue's own word of now, and else by what its records and the desk's amount to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.execution.contracts import INBOX_KINDS, VENUE_BALANCES, VENUE_FEES, VENUE_POSITIONS
from research_to_prod.market_data.contracts import CANDLES, FETCH_CERTIFICATES
from research_to_prod.operations.alerting.accounts import Accounts
from research_to_prod.operations.alerting.margin_measures import FARTHEST, last_prices, with_margin_use
from research_to_prod.operations.alerting.record_measures import observe_records
from research_to_prod.operations.alerting.settings import Exposed
from research_to_prod.operations.alerting.situation import Subject, situation_of
from research_to_prod.sandbox.account import Account
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan
from research_to_prod.sandbox.record_faults import RecordFault
from tests.operations.alerting.account_day import (
    DAY,
    END,
    HOUR_DEVIATION,
    LOOKS,
    START,
    account,
    at,
    doubted,
    market,
    terms,
    values,
)
from tests.operations.alerting.book import ACCOUNT, BTC, POLICY, VENUE, context, held, reading
from tests.operations.alerting.test_day_measures import rows

ETH = {"venue": "sandbox", "symbol": "ETH/USDT:USDT", "day": DAY, "moment": "closing", "snapshot_at": END}
USDT = {"venue": "sandbox", "account": "futures", "asset": "USDT", "day": DAY, "moment": "closing", "snapshot_at": END}


def told(known: Accounts, moment: Any = END) -> tuple[float | None, float | None]:
    found = values(known, moment)
    return found["margin_ratio"], found["liquidation_distance"]


# The desk states its positions on the hour and trades within the half hour after it.
@pytest.mark.parametrize("moment", [*LOOKS, *(START + timedelta(hours=hour, minutes=50) for hour in (4, 12, 20))])
def test_the_margin_of_a_past_moment_is_what_the_venue_then_said(moment: Any) -> None:
    then = Account(SandboxDesk(market(), faults=FaultPlan())).futures_account({}, moment)
    ratio, _ = told(account(), moment)
    assert ratio == pytest.approx(float(then["totalMaintMargin"]) / float(then["totalMarginBalance"]), rel=1e-8)


def poorer(known: Accounts, by: Decimal) -> Accounts:
    """The same with less money in the futures wallet all day."""
    balances = [
        row | {"amount": row["amount"] - (by if row["account"] == "futures" else 0)}
        for row in known.venue["venue_balances"].to_pylist()
    ]
    return replace(known, venue={**known.venue, "venue_balances": rows(VENUE_BALANCES, *balances)})


def test_the_distance_of_a_past_moment_is_the_move_of_all_contracts_at_which_equity_meets_maintenance() -> None:
    then = Account(SandboxDesk(market(), faults=FaultPlan())).futures_account({}, END - timedelta(microseconds=1))
    gross = sum(abs(float(each["notional"])) for each in then["positions"])
    spare = Decimal(then["totalMarginBalance"]) - Decimal(round(0.05 * gross))
    ratio, distance = told(poorer(account(), spare))
    assert ratio == pytest.approx(0.004 / 0.05, rel=1e-3)
    assert distance == pytest.approx((0.05 - 0.004) / 1.004 / HOUR_DEVIATION, rel=1e-3)


def test_a_past_margin_rests_on_prices_terms_and_a_statement_of_the_desk() -> None:
    known = account()
    assert told(replace(known, venue={**known.venue, "venue_fees": terms().slice(0, 0)})) == (None, None)
    assert told(replace(known, deviations={}))[1] is None
    assert {each.value for each in observe_records(known, END) if each.metric == "margin_ratio"} == {None}
    for missing in (replace(known, positions=None), doubted(known, "venue_fills"), doubted(known, "venue_balances")):
        assert "margin_ratio" not in values(missing)


def test_a_past_margin_rests_on_nothing_that_is_old_or_was_left_out() -> None:
    known = at(account(), END)
    assert known.positions is not None
    stated = known.positions.to_pylist()
    bare = [row | {"entry_price": None} for row in stated]
    assert told(replace(known, positions=rows(INBOX_KINDS["positions"], *bare))) == (None, None)
    stale = {place: (price, when - timedelta(minutes=61)) for place, (price, when) in known.prices.items()}
    found = {each.metric: each.value for each in observe_records(replace(known, prices=stale), END)}
    assert (found["margin_ratio"], found["liquidation_distance"]) == (None, None)


def test_a_statement_however_old_is_carried_on_by_the_venue_s_fills() -> None:
    known = account()
    assert known.positions is not None
    early = [row for row in known.positions.to_pylist() if row["held_at"] <= START + timedelta(hours=3)]
    assert told(replace(known, positions=rows(INBOX_KINDS["positions"], *early))) == (
        pytest.approx(told(known)[0], rel=1e-8),
        FARTHEST,
    )


def test_contracts_that_the_desk_never_stated_or_at_different_instants_leave_the_margin_unknown() -> None:
    known = account()
    assert known.positions is not None
    stated = known.positions.to_pylist()
    untold = [row for row in stated if row["symbol"] != "ETH/USDT:USDT"]
    eth = next(row for row in stated if row["symbol"] == "ETH/USDT:USDT")
    apart = [*stated, eth | {"strategy": "another"}]
    for positions in (untold, apart):
        assert told(replace(known, positions=rows(INBOX_KINDS["positions"], *positions))) == (None, None)


def test_a_larger_position_is_in_a_higher_tier() -> None:
    tiers = {
        "margin_floors": [Decimal(0), Decimal(10_000), Decimal(10**9)],
        "margin_rates": [Decimal("0.004"), Decimal("0.02"), Decimal("0.5")],
        "margin_deductions": [Decimal(0), Decimal(160), Decimal(480_000_160)],
    }
    then = Account(SandboxDesk(market(), faults=FaultPlan())).futures_account({}, END - timedelta(microseconds=1))
    values_held = [abs(float(each["notional"])) for each in then["positions"]]
    assert min(values_held) > 10_000
    needed = sum(0.02 * each - 160 for each in values_held)
    fees = rows(VENUE_FEES, *(row | tiers for row in terms().to_pylist()))
    ratio, _ = told(account(venue={**account().venue, "venue_fees": fees}))
    assert ratio == pytest.approx(needed / float(then["totalMarginBalance"]), rel=1e-6)


def test_a_book_without_contracts_uses_no_margin_and_needs_no_price() -> None:
    known = account()
    venue = known.venue | {"venue_fills": known.venue["venue_fills"].slice(0, 0)}
    for symbol in ("BTC/USDT", "XRP/USDT:USDT"):
        flat = rows(INBOX_KINDS["positions"], {"venue": "sandbox", "symbol": symbol, "held_at": END})
        assert told(replace(known, positions=flat, venue=venue)) == (0, FARTHEST)


def test_other_coins_in_the_futures_wallet_are_not_counted_as_money() -> None:
    known = account()
    coin = known.venue["venue_balances"].to_pylist()[0] | {"account": "futures", "asset": "BNB", "moment": "opening"}
    balances = rows(VENUE_BALANCES, *known.venue["venue_balances"].to_pylist(), coin | {"amount": Decimal(10**6)})
    assert told(replace(known, venue={**known.venue, "venue_balances": balances})) == told(known)


def stated(position: str = "2", liquidation: str = "900", balance: str = "500", **changes: Any) -> Accounts:
    """The venue's word at the end of the day: at a mark of 1,000, with 400 to be maintained."""
    known = account()
    held = ETH | {
        "position": Decimal(position), "mark_price": Decimal(1000), "liquidation_price": Decimal(liquidation),
    }  # fmt: skip
    money = USDT | {"amount": Decimal(1), "margin_balance": Decimal(balance), "maintenance_margin": Decimal(400)}
    # The day's opening statement has neither.
    venue = {
        "venue_positions": rows(VENUE_POSITIONS, held, ETH | {"position": Decimal(1)} | {"moment": "opening"}),
        "venue_balances": rows(VENUE_BALANCES, money, USDT | {"amount": Decimal(1)} | {"moment": "opening"}),
    }
    return replace(known, venue={**known.venue, **venue}, **changes)


def test_tables_from_before_margin_was_read_are_read_as_those_that_do_not_say() -> None:
    later = {
        "venue_balances": ["margin_balance", "maintenance_margin"],
        "venue_positions": ["mark_price", "liquidation_price"],
        "venue_fees": ["lot", "margin_floors", "margin_rates", "margin_deductions"],
    }
    known = account(RecordFault.WRONG_POSITION)
    old = {name: rows.drop_columns(later.get(name, [])) for name, rows in known.venue.items()}
    found = values(replace(known, venue=old))
    assert (found["margin_ratio"], found["position_break_lots"]) == (None, None)
    assert found["position_break_share"]


def test_the_venue_s_own_word_goes_before_what_follows_from_records() -> None:
    assert told(stated()) == (0.8, pytest.approx(0.1 / HOUR_DEVIATION))


def test_it_is_of_when_the_venue_said_it_and_not_of_later() -> None:
    known, before = stated(), END - timedelta(minutes=30)
    proofs = [row | {"interval_end": before} for row in known.certificates["venue_positions"].to_pylist()]
    read = {**known.certificates, "venue_positions": rows(FETCH_CERTIFICATES, *proofs)}
    (found,) = [
        each
        for each in observe_records(at(replace(known, certificates=read), END), END)
        if each.metric == "margin_ratio"
    ]
    assert (found.value, found.at) == (0.8, before)
    assert told(known, END - timedelta(hours=1))[0] != 0.8


@pytest.mark.parametrize(
    ("position", "liquidation", "moves"),
    [
        ("2", "900", 0.1),
        ("2", "1000", 0.0),
        ("2", "1100", 0.0),
        ("2", "0", 1.0),
        ("-2", "1100", 0.1),
        ("-2", "900", 0.0),
        ("-2", "0", 1.0),
    ],
)
def test_the_distance_is_the_adverse_move_to_the_liquidation_price(
    position: str, liquidation: str, moves: float
) -> None:
    assert told(stated(position, liquidation))[1] == pytest.approx(moves / HOUR_DEVIATION)


def test_a_distance_without_this_hour_s_deviation_is_unknown_and_the_ratio_known() -> None:
    assert told(stated(deviations={})) == (0.8, None)


def test_contracts_without_a_wallet_or_a_word_of_an_hour_ago_are_not_the_venue_s_word_of_now() -> None:
    known = stated()
    bare = {**known.venue, "venue_balances": known.venue["venue_balances"].slice(1)}
    assert told(replace(known, venue=bare))[0] not in {0.0, 0.8}
    proofs = [
        row | {"interval_end": END - timedelta(minutes=61)} for row in known.certificates["venue_positions"].to_pylist()
    ]
    read = {**known.certificates, "venue_positions": rows(FETCH_CERTIFICATES, *proofs)}
    assert told(replace(known, certificates=read))[0] != 0.8


@pytest.mark.parametrize("balance", ["0", "-10"])
def test_where_nothing_is_left_all_of_the_margin_is_in_use(balance: str) -> None:
    assert told(stated(balance=balance))[0] == 1


def test_the_last_price_is_that_of_the_last_bar_that_had_ended() -> None:
    bar = {"venue": "sandbox", "symbol": "BTC/USDT", "timeframe": "1h"}
    closes = [bar | {"ts": START + timedelta(hours=hour), "close": float(hour)} for hour in range(4)]
    fine = bar | {"timeframe": "15m", "ts": START + timedelta(hours=2), "close": 2.15}
    candles: pa.Table = rows(CANDLES, *closes, fine)
    assert last_prices(candles, START + timedelta(hours=3)) == {
        ("sandbox", "BTC/USDT"): (2.0, START + timedelta(hours=3))
    }
    assert last_prices(candles, START + timedelta(minutes=150))["sandbox", "BTC/USDT"][0] == 2.15
    assert last_prices(None, END) == {}


def test_a_measured_margin_makes_the_account_s_contracts_more_at_stake_and_nothing_else() -> None:
    book = context(held(), held(instrument="BTC/USDT"), held(venue="kraken", instrument="BTC/USD:USD"))
    said = [
        reading("margin_ratio", 0.6, VENUE),
        reading("margin_ratio", 0.2, ACCOUNT),
        reading("margin_ratio", None, Subject("kraken")),
        reading("limit_use", 0.9, Subject("kraken")),
    ]
    used = with_margin_use(book, said)
    assert [each.margin_use for each in used.holdings] == [0.6, None, None]
    assert situation_of(BTC, used, POLICY.settings).exposed is Exposed.X2
    assert situation_of(BTC, book, POLICY.settings).exposed is Exposed.X1
    assert with_margin_use(used, []) == book
