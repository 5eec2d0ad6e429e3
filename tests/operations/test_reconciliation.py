"""The desk's records against the venue's: exact, symmetric, and silent about what it cannot know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from research_to_prod.operations.conservation import Held
from research_to_prod.operations.contracts import Account, BreakClass, BreakVerdict
from research_to_prod.operations.findings import Finding
from research_to_prod.operations.records import MoneyKind, Movement, OrderState, Side, Source
from tests.operations.worlds import (
    COMPLETE,
    FAULTS,
    NEXT,
    NOON,
    PERPETUAL,
    SPOT,
    World,
    commission,
    fill,
    lost_at,
    pick,
    world,
    worlds,
)

AS_OF = NEXT + timedelta(hours=2)


@given(worlds())
@settings(max_examples=40)
def test_records_that_agree_have_no_breaks(sound: World) -> None:
    assert sound.findings() == ()


def test_every_class_is_injected() -> None:
    assert set(FAULTS) == set(BreakClass)


@pytest.mark.parametrize("kind", BreakClass)
@given(worlds(minimum=1), st.data())
@settings(max_examples=12)
def test_one_fault_gives_exactly_its_class(kind: BreakClass, sound: World, data: st.DataObject) -> None:
    if kind is BreakClass.POSITION_SIGN:
        assert sound.held.closing is not None
        assume(sound.held.closing.amount(Account.CONTRACTS, PERPETUAL) != 0)
    found = FAULTS[kind](sound, data.draw).findings()
    assert [each.kind for each in found] == [kind]
    expected = BreakVerdict.UNKNOWN if kind is BreakClass.SOURCE_INCOMPLETE else BreakVerdict.CONFIRMED
    assert found[0].verdict is expected


MIRROR = {
    BreakClass.MISSING_FILL_INTERNAL: BreakClass.MISSING_FILL_VENUE,
    BreakClass.MISSING_FILL_VENUE: BreakClass.MISSING_FILL_INTERNAL,
    BreakClass.UNKNOWN_ORDER: BreakClass.ORPHAN_INTENT,
    BreakClass.ORPHAN_INTENT: BreakClass.UNKNOWN_ORDER,
}
SPOILED = [
    kind
    for kind in BreakClass
    if kind
    not in {
        # What the venue states of balances and what it does of itself have no counterpart on the desk's side.
        BreakClass.SOURCE_INCOMPLETE,
        BreakClass.EXTERNAL_ACTIVITY,
        BreakClass.POSITION_QUANTITY,
        BreakClass.POSITION_SIGN,
        BreakClass.BALANCE_DRIFT,
        BreakClass.DUST,
    }
]


FILL_FAULTS = SPOILED[: SPOILED.index(BreakClass.UNKNOWN_ORDER)]


def spoiled(data: st.DataObject, sound: World, kinds: Sequence[BreakClass] = SPOILED) -> World:
    for kind in data.draw(st.lists(st.sampled_from(kinds), max_size=3, unique=True)):
        sound = FAULTS[kind](sound, data.draw)
    return replace(sound, held=Held())


@given(worlds(minimum=1), st.data())
@settings(max_examples=40)
def test_exchanging_the_sides_exchanges_the_labels(sound: World, data: st.DataObject) -> None:
    # The venue's orders and payments bear witness to its fills; of the desk's nobody asks that.
    if data.draw(st.booleans()):
        sound = replace(sound, desk=Side(sound.desk.fills), venue=Side(sound.venue.fills))
        there = spoiled(data, sound, FILL_FAULTS)
    else:
        there = spoiled(data, sound, [kind for kind in SPOILED if kind not in FILL_FAULTS])
    back = replace(there, desk=there.venue, venue=there.desk)

    def facts(each: Finding, *, mirrored: bool) -> str:
        kind = MIRROR.get(each.kind, each.kind) if mirrored else each.kind
        values = (each.venue, each.internal) if mirrored else (each.internal, each.venue)
        # A payment is cited by the venue's id of it where both have one.
        return str((kind, each.symbol, values, each.money, each.order_id))

    assert sorted(facts(each, mirrored=False) for each in there.findings()) == sorted(
        facts(each, mirrored=True) for each in back.findings()
    )


@given(worlds(minimum=1), st.data())
@settings(max_examples=40)
def test_more_evidence_may_clear_what_is_missing_and_never_invents_it(sound: World, data: st.DataObject) -> None:
    before = spoiled(data, sound)
    side = data.draw(st.sampled_from(["desk", "venue"]))
    one, other = getattr(before, side), before.venue if side == "desk" else before.desk
    come = frozenset(each for each in other.fills if data.draw(st.booleans()))
    known = {(each.symbol, each.fill_id) for each in one.fills}
    come = frozenset(each for each in come if (each.symbol, each.fill_id) not in known)
    after = replace(before, **{side: replace(one, fills=one.fills | come)})

    def missing(each: World) -> set[tuple[BreakClass, str, str | None]]:
        kinds = {BreakClass.MISSING_FILL_INTERNAL, BreakClass.MISSING_FILL_VENUE}
        return {(found.kind, found.symbol, found.record_id) for found in each.findings() if found.kind in kinds}

    assert missing(after) <= missing(before)


@given(worlds(minimum=1), st.data())
@settings(max_examples=40)
def test_what_is_confirmed_stays_so_when_more_is_certified(sound: World, data: st.DataObject) -> None:
    certain = spoiled(data, sound)
    unseen = frozenset(data.draw(st.sets(st.sampled_from(sorted(COMPLETE)))))
    unsure = replace(certain, complete={key: key not in unseen for key in COMPLETE})

    def confirmed(each: World) -> set[str]:
        return {str((f.kind, f.symbol, f.record_id)) for f in each.findings() if f.verdict is BreakVerdict.CONFIRMED}

    assert confirmed(unsure) <= confirmed(certain)
    told = {(f.record_id, f.symbol) for f in unsure.findings() if f.kind is BreakClass.SOURCE_INCOMPLETE}
    assert told == {(source.value, scope) for source, scope in unseen}
    # Of a symbol that was not read to the end nothing is called missing at the venue.
    blind = {scope for source, scope in unseen if source is Source.FILLS}
    assert not [f for f in unsure.findings() if f.kind is BreakClass.MISSING_FILL_VENUE and f.symbol in blind]


@given(worlds(minimum=1), st.data())
@settings(max_examples=25)
def test_two_faults_are_two_breaks(sound: World, data: st.DataObject) -> None:
    first, second = data.draw(st.lists(st.sampled_from(sorted(FAULTS)), min_size=2, max_size=2, unique=True))
    hides = {BreakClass.SOURCE_INCOMPLETE, BreakClass.DUST, BreakClass.BALANCE_DRIFT, BreakClass.STATE_MISMATCH}
    assume(not {first, second} & (hides | {BreakClass.POSITION_SIGN, BreakClass.POSITION_QUANTITY}))
    found = FAULTS[second](FAULTS[first](sound, data.draw), data.draw).findings()
    # Two faults of one record are one difference, and not always either of theirs.
    assume(len({(each.symbol, each.record_id) for each in found}) > 1)
    assert {each.kind for each in found} == {first, second}


def test_the_money_known_to_be_at_stake_behind_an_incomplete_source_is_stated() -> None:
    sound = world([fill("1"), fill("2")])
    blind = dict(COMPLETE) | {(Source.FILLS, SPOT): False}
    (row,) = replace(sound, venue=Side(), held=Held(), complete=blind).findings()
    assert (row.money, row.internal) == (Decimal(100), "2 fills not seen at the venue")
    (row,) = World(Side(), Side(), Held(), blind).findings()
    assert row.money is None


def test_a_symbol_without_a_certificate_counts_as_incomplete() -> None:
    sound = World(Side(frozenset({fill()})), Side(), Held(), {})
    assert sound.classes() == ["source_incomplete"]


@pytest.mark.parametrize(("age", "expected"), [(59, []), (60, [BreakClass.MISSING_FILL_VENUE])])
def test_a_fill_is_judged_once_both_sides_must_have_heard_of_it(age: int, expected: list[BreakClass]) -> None:
    sound = World(Side(frozenset({fill(at=AS_OF - timedelta(seconds=age))})), Side(), Held())
    assert [each.kind for each in sound.findings(AS_OF)] == expected


def test_a_position_that_a_fill_in_flight_explains_is_no_break() -> None:
    fresh = fill(symbol=PERPETUAL, at=NEXT - timedelta(seconds=5))
    sound = world([fresh])
    assert sound.held.believed is not None
    late = {symbol: held - fresh.quantity for symbol, held in sound.held.believed.items()}
    unheard = replace(sound, desk=Side(), held=replace(sound.held, believed=late))
    assert unheard.findings(NEXT) == ()
    assert {each.kind for each in unheard.findings(AS_OF)} == {BreakClass.MISSING_FILL_INTERNAL}


def test_a_position_that_the_fills_do_not_explain_is_a_break_beside_a_missing_fill() -> None:
    sound = world([fill(symbol=PERPETUAL)])
    lost = replace(sound, desk=Side(), held=replace(sound.held, believed={PERPETUAL: Decimal(4)}))
    assert lost.classes() == ["missing_fill_internal", "position_quantity"]


def test_money_is_exact_beyond_pythons_usual_28_digits() -> None:
    quantity, price = Decimal("12345678901234567.123456789012345678"), Decimal("1.000000000000000001")
    (row,) = World(Side(frozenset({fill(quantity=quantity, price=price)})), Side(), Held()).findings()
    assert str(row.money).startswith("12345678901234567.135802467913580245")


def test_money_of_each_mismatch_is_what_it_moves() -> None:
    ours = fill(fee=Decimal("0.10"))
    theirs = fill(quantity=Decimal("0.6"), price=Decimal(101), side=-1, fee=Decimal("0.2"))
    money = {f.kind: f.money for f in World(Side(frozenset({ours})), Side(frozenset({theirs})), Held()).findings()}
    assert money == {
        BreakClass.QUANTITY_MISMATCH: Decimal("10.1"),
        BreakClass.PRICE_MISMATCH: Decimal("0.6"),
        BreakClass.SIDE_MISMATCH: Decimal("110.6"),
        BreakClass.FEE_MISMATCH: Decimal("0.1"),
    }


@pytest.mark.parametrize(("currency", "money"), [("BTC", Decimal(10)), ("BNB", None)])
def test_a_fee_in_another_currency_has_money_only_where_the_fill_prices_it(
    currency: str, money: Decimal | None
) -> None:
    ours, theirs = (fill(fee=Decimal(fee), fee_currency=currency) for fee in ("0.1", "0.2"))
    (row,) = World(Side(frozenset({ours})), Side(frozenset({theirs})), Held()).findings()
    assert (row.kind, row.money, row.internal) == (BreakClass.FEE_MISMATCH, money, f"0.1 {currency}")


def test_fills_of_an_order_that_nobody_sent_are_that_order_and_no_breaks_of_their_own() -> None:
    sound = world([fill("1"), fill("2")])
    (row,) = replace(sound, desk=Side(orders=frozenset(), money=frozenset())).findings()
    assert (row.kind, row.order_id, row.money) == (BreakClass.UNKNOWN_ORDER, "v1", Decimal(100))
    assert row.evidence.endswith("2 fills")


def test_an_order_of_which_we_never_heard_again_is_ours_and_its_fate_is_a_break() -> None:
    sound = world([], idle=1)
    (order,) = sound.venue.orders or ()
    unanswered = replace(order, order_id="", state=OrderState.OPEN, whole=False)
    known = replace(sound, desk=replace(sound.desk, orders=frozenset({unanswered})))
    (row,) = known.findings()
    assert (row.kind, row.record_id) == (BreakClass.STATE_MISMATCH, order.order_id)
    # At a venue that does not have it nothing came of it, which is what we know.
    assert replace(known, venue=replace(known.venue, orders=frozenset())).findings() == ()


def test_an_order_whose_fills_do_not_add_up_is_a_break() -> None:
    sound = world([fill("1")])
    (order,) = sound.venue.orders or ()
    more = frozenset({replace(order, filled=Decimal(1), quantity=Decimal(1))})
    torn = World(replace(sound.desk, orders=more), replace(sound.venue, orders=more), sound.held)
    (row,) = torn.findings()
    assert (row.kind, row.venue) == (BreakClass.STATE_MISMATCH, "buy 1, filled 1, filled")
    assert row.evidence == "its fills at the venue add up to 0.5"


def test_an_order_that_goes_on_after_the_day_is_not_judged_by_its_end() -> None:
    sound = world([], idle=1)
    (order,) = sound.venue.orders or ()
    later = replace(order, state=OrderState.FILLED, last_at=NEXT + timedelta(minutes=1))
    assert replace(sound, venue=replace(sound.venue, orders=frozenset({later}))).findings() == ()


def test_orders_and_payments_that_one_side_does_not_record_are_not_compared() -> None:
    sound = world([fill()], [], idle=1)
    assert replace(sound, desk=Side(sound.desk.fills)).findings() == ()


def test_a_payment_is_matched_by_its_time_where_the_book_has_ids_of_its_own() -> None:
    paid = Movement(Account.FUTURES, MoneyKind.FUNDING, "887", "USDT", Decimal("-3.1"), PERPETUAL, NOON)
    booked = replace(paid, record_id="J-1", at=NOON + timedelta(milliseconds=40))
    sound = world([], [paid])
    assert replace(sound, desk=replace(sound.desk, money=frozenset({booked}))).findings() == ()


@given(worlds(), st.data())
@settings(max_examples=20)
def test_a_balance_that_moved_near_its_statement_is_unknown_where_a_record_explains_it(
    sound: World, data: st.DataObject
) -> None:
    """The last payment before the closing may have missed the statement."""
    amount = data.draw(st.decimals("5", "9", places=2))
    at = NEXT - timedelta(seconds=3)
    paid = Movement(Account.FUTURES, MoneyKind.TRANSFER, "late", "USDT", amount, None, at)
    money = frozenset({*(sound.venue.money or ()), paid})
    both = World(replace(sound.desk, money=money), replace(sound.venue, money=money), sound.held)
    (row,) = both.findings()
    assert (row.kind, row.verdict, row.resolution) == (BreakClass.BALANCE_DRIFT, BreakVerdict.UNKNOWN, None)
    assert sound.held.closing is not None
    key = (Account.FUTURES, "USDT")
    seen = replace(
        sound.held.closing, amounts=dict(sound.held.closing.amounts) | {key: sound.held.closing.amount(*key) + amount}
    )
    assert replace(both, held=replace(both.held, closing=seen)).findings() == ()


@pytest.mark.parametrize("witness", ["orders", "balances", "nobody"])
@given(worlds(minimum=1), st.data())
@settings(max_examples=15)
def test_a_fill_that_the_venue_has_elsewhere_is_not_missing_there_but_its_list_is_cut(
    witness: str, sound: World, data: st.DataObject
) -> None:
    """Or the list is empty: a venue in trouble says so for as long as it is in trouble."""
    if witness == "nobody":
        # The fees of contracts are among the payments.
        sound = replace(sound, desk=replace(sound.desk, money=None), venue=replace(sound.venue, money=None))
    if witness != "orders":
        sound = replace(sound, desk=replace(sound.desk, orders=None), venue=replace(sound.venue, orders=None))
    if witness != "balances":
        sound = replace(sound, held=Held())
    if data.draw(st.booleans()):
        cut = lost_at("venue")(sound, data.draw)
    else:
        symbol = pick(data.draw, {each.symbol for each in sound.venue.fills})
        kept = frozenset(each for each in sound.venue.fills if each.symbol != symbol)
        cut = replace(sound, venue=replace(sound.venue, fills=kept))
    expected = BreakClass.MISSING_FILL_VENUE if witness == "nobody" else BreakClass.SOURCE_INCOMPLETE
    found = cut.findings()
    assert {each.kind for each in found} == {expected}
    assert witness == "nobody" or len(found) == 1


@given(worlds(minimum=1), st.data())
@settings(max_examples=15)
def test_an_empty_list_of_payments_is_cut_where_the_statements_have_them(sound: World, data: st.DataObject) -> None:
    account = data.draw(st.sampled_from(sorted({each.account for each in sound.venue.money or ()})))
    kept = frozenset(each for each in sound.venue.money or () if each.account != account)
    cut = replace(sound, venue=replace(sound.venue, money=kept))
    (row,) = cut.findings()
    assert (row.kind, row.record_id, row.symbol) == (BreakClass.SOURCE_INCOMPLETE, "money", account)
    alone = {each.kind for each in replace(cut, held=Held()).findings()}
    if any(each.kind is MoneyKind.COMMISSION for each in (sound.venue.money or frozenset()) - kept):
        # The fees of fills tell of it too.
        assert alone == {BreakClass.SOURCE_INCOMPLETE}
    else:
        # Without statements nobody can tell it from payments that were never made.
        assert alone <= {BreakClass.FUNDING_MISSING, BreakClass.TRANSFER_UNMATCHED}


def test_an_empty_list_of_orders_is_cut_where_fills_name_them() -> None:
    sound = world([fill()], idle=2)
    (row,) = replace(sound, venue=replace(sound.venue, orders=frozenset())).findings()
    assert (row.kind, row.record_id, row.symbol) == (BreakClass.SOURCE_INCOMPLETE, "orders", SPOT)


@given(worlds(minimum=1), st.data())
@settings(max_examples=20)
def test_a_balance_that_no_record_of_either_side_explains_is_a_break(sound: World, data: st.DataObject) -> None:
    lost = pick(data.draw, sound.venue.fills)
    both = Side(sound.desk.fills - {lost}, None, (sound.desk.money or frozenset()) - {commission(lost)})
    kinds = {each.kind for each in World(both, both, sound.held).findings()}
    assert kinds & {BreakClass.BALANCE_DRIFT, BreakClass.DUST, BreakClass.POSITION_QUANTITY, BreakClass.POSITION_SIGN}


def test_a_wallet_that_is_gone_from_a_statement_is_unknown_and_not_lost() -> None:
    sound = world([fill("1"), fill("2", symbol=PERPETUAL)])
    assert sound.held.closing is not None
    for account, source in ((Account.SPOT, "balances"), (Account.CONTRACTS, "positions")):
        kept = {key: amount for key, amount in sound.held.closing.amounts.items() if key[0] is not account}
        held = replace(sound.held, closing=replace(sound.held.closing, amounts=kept))
        (row,) = replace(sound, held=held).findings()
        assert (row.kind, row.record_id) == (BreakClass.SOURCE_INCOMPLETE, source)


def test_a_contract_that_the_venue_closed_by_its_own_fills_is_a_break_where_we_believe_to_hold_it() -> None:
    closed = fill(symbol=PERPETUAL, side=-1, quantity=Decimal(5))
    sound = world([closed])
    assert sound.held.closing is not None
    assert sound.held.closing.amount(Account.CONTRACTS, PERPETUAL) == 0
    wrong = replace(sound, held=replace(sound.held, believed={PERPETUAL: Decimal(5)}))
    (row,) = wrong.findings()
    assert (row.kind, row.verdict) == (BreakClass.POSITION_QUANTITY, BreakVerdict.CONFIRMED)
