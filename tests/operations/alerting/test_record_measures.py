"""What records say: each fault is measured by the rule that is about it and by no other; what was not seen is not 0."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.execution.contracts import INBOX_KINDS, VENUE_INCOME, VENUE_ORDERS
from research_to_prod.operations.alerting.accounts import Accounts
from research_to_prod.operations.alerting.evaluation import Key, State, evaluate
from research_to_prod.operations.alerting.record_measures import observe_records
from research_to_prod.operations.alerting.rules import Per
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.sandbox.record_faults import RecordFault
from tests.operations.alerting.account_day import END, LOOKS, START, account, at, doubted, terms, values
from tests.operations.alerting.book import POLICY, VENUE, context, held
from tests.operations.alerting.test_day_measures import rows

RULES = {
    "unknown_order", "position_break", "balance_break", "missing_fill", "funding_mismatch", "margin", "forced_event",
    "unexpected_transfer",
}  # fmt: skip
ABOUT = {
    RecordFault.LOST_FILL: "missing_fill",
    RecordFault.INVENTED_FILL: "missing_fill",
    RecordFault.TWO_VERSIONS: "missing_fill",
    RecordFault.FORGOTTEN_ORDER: "unknown_order",
    RecordFault.LIQUIDATION: "forced_event",
    RecordFault.LOST_FUNDING: "funding_mismatch",
    RecordFault.WRONG_FUNDING: "funding_mismatch",
    RecordFault.UNBOOKED_TRANSFER: "unexpected_transfer",
    RecordFault.WRONG_POSITION: "position_break",
    RecordFault.FLIPPED_POSITION: "position_break",
    RecordFault.SILENT_DEBIT: "balance_break",
}
"""Of the other faults, which change no position and lose no fill, the register and its check tell."""


def judged(known: Accounts) -> tuple[set[str], set[str]]:
    """The rules that fire for what was seen, and for what was not, at either look at a day; a position is open."""
    states: dict[Key, State] = {}
    seen: set[str] = set()
    unseen: set[str] = set()
    watched = {Per.ACCOUNT: (VENUE,), Per.VENUE: (VENUE,)}
    now = context(held(account=""), watched=watched, watched_since=START)
    for moment in LOOKS:
        result = evaluate(POLICY, observe_records(at(known, moment), moment), now, states, moment)
        states = dict(result.states)
        own = [each for each in result.evaluations if each.case.rule in RULES and each.fires]
        seen |= {each.case.rule for each in own if each.known}
        unseen |= {each.case.rule for each in own if each.blind}
    return seen, unseen


def test_on_a_sound_day_all_is_seen_and_all_is_calm() -> None:
    assert judged(account()) == (set(), set())
    assert None not in values(account()).values()
    assert len(values(account())) == 14


@pytest.mark.parametrize("fault", RecordFault)
def test_a_fault_is_told_by_the_rule_that_is_about_it_and_by_no_other(fault: RecordFault) -> None:
    seen, unseen = judged(account(fault))
    assert seen == {ABOUT[fault]} if fault in ABOUT else seen == set()
    # A statement at the day's end does not say since when it was so: an hour before that is not known.
    stated = {RecordFault.WRONG_POSITION, RecordFault.FLIPPED_POSITION, RecordFault.SILENT_DEBIT}
    assert unseen == (seen if fault in stated else set())


@pytest.mark.parametrize(
    ("table", "metrics"),
    [
        ("venue_fills", {"fill_breaks", "balance_break_value", "balance_break_share", "margin"}),
        ("venue_orders", {"unknown_orders", "forced_events"}),
        ("venue_positions", {"position_break_lots", "position_break_share", "position_sign_flips"}),
        ("venue_balances", {"balance_break_value", "balance_break_share", "margin"}),
        (
            "venue_income",
            {
                "balance_break_value", "balance_break_share", "margin", "forced_events", "unexpected_movements",
                "funding_mismatch", "funding_mismatch_value", "funding_mismatches_in_a_row",
            },
        ),
    ],
)  # fmt: skip
def test_what_was_not_read_completely_is_unknown_and_the_rest_is_known(table: str, metrics: set[str]) -> None:
    found = values(doubted(account(), table))
    absent = {"margin"} if "margin_ratio" not in found else set()
    assert {metric for metric, value in found.items() if value is None} | absent == metrics


@pytest.mark.parametrize(
    ("fault", "table", "metric"),
    [
        (RecordFault.LOST_FILL, "venue_fills", "fill_breaks"),
        (RecordFault.FORGOTTEN_ORDER, "venue_orders", "unknown_orders"),
        (RecordFault.LIQUIDATION, "venue_income", "forced_events"),
        (RecordFault.UNBOOKED_TRANSFER, "venue_income", "unexpected_movements"),
        (RecordFault.LOST_FUNDING, "venue_income", "funding_mismatches_in_a_row"),
    ],
)
def test_what_was_found_counts_although_not_everything_was_read(fault: RecordFault, table: str, metric: str) -> None:
    assert values(doubted(account(fault), table))[metric] == 1


def test_a_list_that_another_record_shows_to_be_cut_is_not_complete_whatever_its_certificate_says() -> None:
    cut = {"class": "source_incomplete", "record_id": "orders", "symbol": "BTC/USDT", "status": "open"}
    breaks = rows(BREAKS, cut | {"venue": "sandbox", "verdict": "unknown", "opened_at": END})
    assert values(account(breaks=breaks))["unknown_orders"] is None
    assert values(account(breaks=breaks))["fill_breaks"] == 0


@pytest.mark.parametrize(
    ("missing", "metrics"),
    [("order_events", {"unknown_orders"}), ("ledger_entries", {"unexpected_movements"})],
)
def test_what_the_desk_does_not_record_cannot_be_compared(missing: str, metrics: set[str]) -> None:
    found = values(account(recorded=account().recorded - {missing}))
    assert {metric for metric, value in found.items() if value is None} == metrics


def test_without_a_comparison_no_break_is_excluded_but_what_needs_none_is_measured() -> None:
    found = values(account(breaks=None))
    assert {metric for metric, value in found.items() if value is not None} == {
        "forced_events", "margin_ratio", "liquidation_distance", "funding_mismatch", "funding_mismatch_value",
        "funding_mismatches_in_a_row",
    }  # fmt: skip


def broken(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "class": kind, "venue": "sandbox", "symbol": "ETH/USDT:USDT", "verdict": "confirmed", "status": "open",
        "opened_at": END - timedelta(seconds=1), "money": Decimal(3000),
    } | more  # fmt: skip


def of(*given: dict[str, Any], **more: Any) -> dict[str, float | None]:
    return values(account(breaks=rows(BREAKS, *given), **more))


def test_positions_are_apart_by_lots_by_money_and_by_sign() -> None:
    one = broken("position_quantity", internal_value="1.5", venue_value="1.25")
    other = broken("position_sign", symbol="SOL/USDT:USDT", internal_value="-0.01", venue_value="0.01")
    found = of(one, other)
    assert found["position_break_lots"] == 250
    assert found["position_break_share"] == pytest.approx(6000 / 2e6)
    assert found["position_sign_flips"] == 1


def test_a_difference_without_a_price_or_a_lot_has_no_size_and_is_there_all_the_same() -> None:
    flip = broken("position_sign", internal_value="-1", venue_value="1", money=None)
    found = of(flip, venue={**account().venue, "venue_fees": terms().slice(0, 0)})
    assert (found["position_break_lots"], found["position_break_share"]) == (None, None)
    assert found["position_sign_flips"] == 1


def test_an_asset_without_a_price_makes_a_drift_more_and_never_less() -> None:
    known, unknown = broken("balance_drift", symbol="BTC"), broken("balance_drift", symbol="OBSCURE", money=None)
    found = of(known, unknown)
    assert (found["balance_break_value"], found["balance_break_share"]) == (3000, None)
    found = of(unknown)
    assert (found["balance_break_value"], found["balance_break_share"]) == (None, None)


def test_a_drift_that_is_in_flight_leaves_the_wallet_unknown() -> None:
    assert of(broken("balance_drift", verdict="unknown"))["balance_break_value"] is None


def test_what_happened_later_was_not_so_before() -> None:
    known = account(breaks=rows(BREAKS, broken("missing_fill_internal", opened_at=START + timedelta(hours=10))))
    assert values(known, START + timedelta(hours=9))["fill_breaks"] == 0
    assert values(known, START + timedelta(hours=11))["fill_breaks"] == 1


def test_what_resolved_itself_is_no_break() -> None:
    assert of(broken("balance_drift", status="resolved"))["balance_break_value"] == 0


def order(name: str, number: str = "8") -> dict[str, Any]:
    return {
        "venue": "sandbox", "symbol": "ETH/USDT:USDT", "venue_order_id": number, "client_order_id": name,
        "filled": Decimal(1), "created_at": START + timedelta(hours=9),
    }  # fmt: skip


def test_an_order_that_a_person_gave_on_the_venue_s_pages_is_an_order_that_is_not_ours_and_no_forced_one() -> None:
    strange = broken("external_activity", record_id="8", opened_at=START + timedelta(hours=9))
    for name, told in (("web_1", (1, 0)), ("adl_autoclose", (0, 1)), ("autoclose-1", (0, 1))):
        venue = {**account().venue, "venue_orders": rows(VENUE_ORDERS, order(name))}
        found = of(strange, venue=venue)
        assert (found["unknown_orders"], found["forced_events"]) == told, name


def test_an_order_of_the_venue_s_that_closed_nothing_or_something_elsewhere_is_no_forced_event() -> None:
    for other in ({"filled": Decimal(0)}, {"venue": "kraken"}):
        venue = {**account().venue, "venue_orders": rows(VENUE_ORDERS, order("autoclose-1") | other)}
        assert values(account(venue=venue))["forced_events"] == 0


def test_a_closing_is_one_event_on_both_sides_and_the_insurance_fund_s_share_another() -> None:
    forced = {"venue": "sandbox", "symbol": "ETH/USDT:USDT", "forced": "liquidation", "venue_order_id": "8"}
    fills = rows(INBOX_KINDS["fills"], forced | {"filled_at": START + timedelta(hours=9)})
    insured = {"venue": "sandbox", "income_type": "INSURANCE_CLEAR", "booked_at": START + timedelta(hours=9)}
    orders, income = rows(VENUE_ORDERS, order("autoclose-1")), rows(VENUE_INCOME, insured)
    venue = {**account().venue, "venue_orders": orders}
    assert values(account(fills=fills))["forced_events"] == 1
    assert values(account(fills=fills, venue=venue))["forced_events"] == 1
    assert values(account(fills=fills, venue=venue | {"venue_income": income}))["forced_events"] == 2
    told = START + timedelta(hours=10)
    assert values(account(fills=fills, venue=venue, forced_since=told))["forced_events"] == 0
    assert values(account(fills=fills, venue=venue), START + timedelta(hours=8))["forced_events"] == 0


def test_that_there_is_no_break_is_as_old_as_the_desk_s_last_word_and_one_that_was_found_is_of_now() -> None:
    told = END - timedelta(hours=2)

    def times(known: Accounts) -> dict[str, datetime]:
        return {each.metric: each.at for each in observe_records(at(known, END), END)}

    calm = times(account(told_to=told))
    old = {metric for metric, when in calm.items() if when == told}
    assert old == {"fill_breaks", "unknown_orders", "unexpected_movements"}
    assert times(account(RecordFault.LOST_FILL, told_to=told))["fill_breaks"] == END


def test_a_transfer_that_only_the_desk_booked_moved_nothing() -> None:
    moved = {"account": "spot", "symbol": "USDT", "internal_value": "5 USDT", "venue_value": None}
    assert of(broken("transfer_unmatched", **moved))["unexpected_movements"] == 0
    moved |= {"venue_value": "-4321 USDT"}
    assert of(broken("transfer_unmatched", **moved))["unexpected_movements"] == 1


def test_a_venue_that_was_never_asked_has_no_measurement() -> None:
    assert list(observe_records(account(certificates={}), END)) == []


def test_each_account_is_measured_by_itself() -> None:
    known = account(RecordFault.LOST_FILL)
    other = known.certificates["venue_fills"]
    named = pa.Table.from_pylist([row | {"venue": "kraken"} for row in other.to_pylist()], schema=other.schema)
    both = replace(known, certificates={**known.certificates, "venue_fills": pa.concat_tables([other, named])})
    found = [each for each in observe_records(at(both, END), END) if each.metric == "fill_breaks"]
    assert [(str(each.subject), each.value) for each in found] == [("kraken", 0), ("sandbox", 1)]
