"""A break has an id, an age and somebody whose it is; it ends by evidence, never by what could not be seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.operations.contracts import BREAKS, Account, Age, BreakClass, Severity
from research_to_prod.operations.ledger import balances, unbalanced
from research_to_prod.operations.records import Source
from research_to_prod.operations.register import (
    age_of,
    carried,
    corrections,
    overdue,
    suspense,
    update_register,
)
from tests.operations.worlds import (
    COMPLETE,
    DAY,
    FAULTS,
    NEXT,
    NOON,
    PERPETUAL,
    POLICY,
    SPOT,
    World,
    fill,
    world,
    worlds,
)

LOOK = NEXT + timedelta(hours=2)
LATER = LOOK + timedelta(hours=1)


def look(sound: World, before: pa.Table | None = None, at: object = LOOK, day: str = DAY) -> pa.Table:
    return update_register(
        BREAKS.empty() if before is None else before,
        sound.findings(),
        sound.proof(),
        POLICY,
        venue="v",
        day=day,
        looked_at=at,  # type: ignore[arg-type]
    )


def lost_fill() -> tuple[World, World]:
    sound = world([fill("1"), fill("2")])
    first, *_ = sorted(sound.desk.fills, key=str)
    return sound, replace(sound, desk=replace(sound.desk, fills=sound.desk.fills - {first}))


def test_a_break_keeps_its_id_and_its_first_sight_at_every_look() -> None:
    _, lost = lost_fill()
    (first,) = look(lost).to_pylist()
    (again,) = look(lost, look(lost), LATER).to_pylist()
    assert again == first | {"last_seen_at": LATER}
    assert (first["class"], first["status"], first["owner"], first["severity"]) == (
        "missing_fill_internal",
        "open",
        "operations",
        "p2",
    )


def test_a_late_record_closes_its_break() -> None:
    sound, lost = lost_fill()
    (row,) = look(sound, look(lost), LATER).to_pylist()
    assert (row["status"], row["resolution"], row["resolved_at"]) == ("resolved", "evidence", LATER)
    # And it opens again, as the same break, when the record is gone again.
    (reopened,) = look(lost, look(sound, look(lost), LATER), LATER + timedelta(hours=1)).to_pylist()
    assert (reopened["break_id"], reopened["status"], reopened["first_seen_at"]) == (row["break_id"], "open", LOOK)
    assert reopened["resolved_at"] is None


def test_what_could_not_be_seen_closes_nothing() -> None:
    sound, lost = lost_fill()
    blind = replace(sound, complete=dict(COMPLETE) | {(Source.FILLS, SPOT): False})
    rows = {row["class"]: row for row in look(blind, look(lost), LATER).to_pylist()}
    assert rows["missing_fill_internal"]["status"] == "open"
    assert rows["source_incomplete"]["verdict"] == "unknown"
    # The source was read completely at the next look: both end.
    after = look(sound, look(blind, look(lost), LATER), LATER + timedelta(hours=1))
    assert set(after["status"].to_pylist()) == {"resolved"}


def test_a_wrong_position_is_one_break_from_day_to_day() -> None:
    sound = world([fill(symbol=PERPETUAL)])
    wrong = FAULTS[BreakClass.POSITION_QUANTITY](sound, lambda _: None)
    monday = look(wrong)
    tuesday = look(wrong, carried(monday), LATER, day="2026-01-03")
    assert tuesday["break_id"] == monday["break_id"]
    assert tuesday["first_seen_at"].to_pylist() == [LOOK]
    (ended,) = look(sound, carried(monday), LATER, day="2026-01-03").to_pylist()
    assert (ended["status"], ended["resolution"]) == ("resolved", "evidence")
    _, lost = lost_fill()
    assert carried(look(lost)).num_rows == 0


@pytest.mark.parametrize(
    ("age", "bucket"),
    [(0, Age.MINUTES), (299, Age.MINUTES), (300, Age.HOUR), (3600, Age.DAY), (86_399, Age.DAY), (86_400, Age.OLDER)],
)
def test_ages_fall_into_four_buckets(age: int, bucket: Age) -> None:
    assert age_of(NOON, NOON + timedelta(seconds=age)) is bucket


def test_only_dust_and_rounding_resolve_themselves_and_only_against_suspense() -> None:
    sound = world([fill(fee=Decimal("0.05"))])
    dust = FAULTS[BreakClass.DUST](sound, lambda _: None)
    (given_fill,) = sound.desk.fills
    off = replace(given_fill, fee=Decimal("0.050000001"))
    rounded = replace(dust, desk=replace(sound.desk, fills=frozenset({off})))
    rows = {row["class"]: row for row in look(rounded).to_pylist()}
    assert {name: (row["status"], row["resolution"], row["severity"]) for name, row in rows.items()} == {
        "dust": ("resolved", "dust", "p4"),
        "fee_mismatch": ("resolved", "rounding", "p4"),
    }
    legs = corrections(rounded.findings(), "v", DAY)
    assert unbalanced(legs) == {}
    # The desk's book now has the half dollar that nobody recorded, and the fee as the venue charged it.
    assert balances(legs)[Account.SPOT, "USDT"] == Decimal("0.5") + Decimal("0.000000001")
    assert suspense(legs) == {"USDT": -Decimal("0.500000001")}
    assert {leg.event_id for leg in legs} == {row["break_id"] for row in rows.values()}


@given(worlds(minimum=1), st.data())
@settings(max_examples=40)
def test_nothing_but_dust_and_rounding_is_ever_written(sound: World, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(set(FAULTS) - {BreakClass.DUST})))
    spoilt = FAULTS[kind](sound, data.draw)
    if data.draw(st.booleans()):
        spoilt = replace(spoilt, complete={})
    assert corrections(spoilt.findings(), "v", DAY) == ()
    assert set(look(spoilt)["status"].to_pylist()) <= {"open"}


def test_size_and_sign_decide_how_soon_a_person_is_needed() -> None:
    small, large = (world([fill(quantity=Decimal(size))]) for size in ("1", "200"))
    for sound, expected in ((small, Severity.P2), (large, Severity.P1)):
        lost = replace(sound, desk=replace(sound.desk, fills=frozenset()))
        assert look(lost)["severity"].to_pylist() == [expected.value]
    flipped = FAULTS[BreakClass.POSITION_SIGN](world([fill(symbol=PERPETUAL)]), lambda _: None)
    assert look(flipped)["severity"].to_pylist() == ["p1"]


def test_what_is_open_for_too_long_is_overdue_and_what_was_closed_later_is_not() -> None:
    sound, lost = lost_fill()
    rows = look(lost)
    assert overdue(rows, POLICY, LOOK + timedelta(hours=1)) == []
    (late,) = overdue(rows, POLICY, LOOK + timedelta(hours=1, seconds=1))
    assert late["class"] == "missing_fill_internal"
    assert overdue(look(sound, rows, LATER), POLICY, LATER + timedelta(days=9)) == []
    wrong = FAULTS[BreakClass.POSITION_QUANTITY](world([fill(symbol=PERPETUAL)]), lambda _: None)
    monday = look(wrong)
    tuesday = look(world([fill(symbol=PERPETUAL)]), carried(monday), LATER, day="2026-01-03")
    assert overdue(pa.concat_tables([tuesday, monday]), POLICY, LATER + timedelta(days=9)) == []
