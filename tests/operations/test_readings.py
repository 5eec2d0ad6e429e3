"""Live readings: taken once, the newest of each thing, and nothing passed over in silence."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.operations.append_only import AppendOnly
from research_to_prod.operations.readings import Cursor, Measured, Readings

NOON = datetime(2026, 1, 6, 12, tzinfo=UTC)
METRICS = {"market_data_age", "venue_not_ok"}


def stale(value: float, at: datetime = NOON, venue: str = "sandbox") -> Measured:
    return Measured(metric="market_data_age", venue=venue, value=value, at=at)


def written(folder: Path, *lines: bytes) -> Readings:
    with AppendOnly(folder / "readings-2026-01-06.jsonl").turn() as turn:
        turn.append(lines)
    return Readings(folder)


def test_what_was_taken_is_not_taken_again(tmp_path: Path) -> None:
    readings = Readings(tmp_path)
    readings.add([stale(1)], NOON)
    first = readings.since(None, METRICS, NOON)
    assert [each.value for each in first.observations] == [1]
    readings.add([stale(2, venue="other")], NOON)
    second = readings.since(first.cursor, METRICS, NOON)
    assert [(each.value, each.subject.venue) for each in second.observations] == [(2, "other")]
    assert readings.since(second.cursor, METRICS, NOON).observations == ()


def test_of_one_thing_the_newest_measurement_counts_whatever_the_order(tmp_path: Path) -> None:
    readings = Readings(tmp_path)
    readings.add([stale(3, NOON - timedelta(seconds=5)), stale(9, NOON - timedelta(seconds=30))], NOON)
    assert [each.value for each in readings.since(None, METRICS, NOON).observations] == [3]


def test_the_next_day_has_a_file_of_its_own_and_the_rest_of_the_old_one_is_taken_first(tmp_path: Path) -> None:
    readings, midnight = Readings(tmp_path), datetime(2026, 1, 7, tzinfo=UTC)
    readings.add([stale(1)], NOON)
    cursor = readings.since(None, METRICS, NOON).cursor
    readings.add([stale(2, NOON, "late")], NOON)
    readings.add([stale(3, midnight, "new")], midnight)
    taken = readings.since(cursor, METRICS, midnight)
    assert sorted(each.subject.venue for each in taken.observations) == ["late", "new"]
    assert taken.cursor.day == date(2026, 1, 7)


def test_an_alerter_that_was_down_for_days_goes_on_with_yesterday(tmp_path: Path) -> None:
    readings, later = Readings(tmp_path), NOON + timedelta(days=3)
    readings.add([stale(1)], NOON)
    assert readings.since(Cursor(NOON.date()), METRICS, later).observations == ()


@given(st.lists(st.integers(0, 3), max_size=8))
def test_a_cursor_never_goes_back(steps: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        readings, now, cursor = Readings(Path(folder)), NOON, Cursor(NOON.date())
        for step in steps:
            now += timedelta(hours=9 * step)
            readings.add([stale(1, now)] * step, now)
            after = readings.since(cursor, METRICS, now).cursor
            assert after >= cursor
            cursor = after


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"not json", "Invalid JSON"),
        (b'{"metric": "market_data_age", "value": 1}', "at: Field required"),
        (b'{"metric": "market_data_age", "value": NaN, "at": "2026-01-06T12:00:00Z"}', "value"),
        (b'{"metric": "market_data_age", "value": 1, "at": "2026-01-06T12:00:00"}', "timezone"),
        (b'{"metric": "market_data_age", "symbol": "BTC", "value": 1, "at": "2026-01-06T12:00:00Z"}', "symbol"),
        (b'{"metric": "no_such_metric", "value": 1, "at": "2026-01-06T12:00:00Z"}', "in no file of rules"),
        (b'{"metric": "market_data_age", "value": 1, "at": "2026-01-06T12:00:01Z"}', "ahead of our clock"),
    ],
)
def test_a_line_that_is_no_measurement_is_named_and_the_others_count(tmp_path: Path, line: bytes, why: str) -> None:
    readings = written(tmp_path, line, stale(7).model_dump_json().encode())
    taken = readings.since(None, METRICS, NOON)
    assert [each.value for each in taken.observations] == [7]
    (refused,) = taken.refused
    assert "2026-01-06 line 1" in refused
    assert why in refused


def test_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "readings-2026-01-06.jsonl"
    line = stale(7).model_dump_json().encode() + b"\n"
    path.write_bytes(line[:20])
    taken = Readings(tmp_path).since(None, METRICS, NOON)
    assert (taken.observations, taken.refused) == ((), ())
    path.write_bytes(line)
    assert [each.value for each in Readings(tmp_path).since(taken.cursor, METRICS, NOON).observations] == [7]


def test_a_file_that_was_cut_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only ever grows"):
        written(tmp_path, b"x").since(Cursor(NOON.date(), 100), METRICS, NOON)
