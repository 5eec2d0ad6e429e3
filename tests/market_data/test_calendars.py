"""What holds at a moment follows from the files, their dates of effect and the clocks of their time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import research_to_prod
from research_to_prod.market_data.calendars import CalendarError, EventKind, events_at, load_calendars

FOLDER = Path(research_to_prod.__file__).parent / "desk" / "calendars"
CALENDARS = load_calendars(FOLDER)
FAR = ZoneInfo("Pacific/Auckland")
SPOT, PERPETUAL = "BTC/USDT", "BTC/USDT:USDT"


def moments(days: int) -> st.SearchStrategy[datetime]:
    """Minutes from 2025 on."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    return st.integers(0, days * 1440 - 1).map(lambda minute: start + timedelta(minutes=minute))


def labels(when: str, symbol: str = SPOT) -> set[str]:
    return {event.label for event in events_at(CALENDARS, datetime.fromisoformat(when), symbol)}


def test_the_committed_calendars_cover_every_kind() -> None:
    assert {calendar.kind for calendar in CALENDARS} == set(EventKind)


@pytest.mark.parametrize(
    ("when", "held"),
    [
        ("2026-01-02T23:59:59Z", False),
        ("2026-01-03T00:00:00Z", True),
        ("2026-01-04T23:59:59Z", True),
        ("2026-01-05T00:00:00Z", False),
    ],
)
def test_a_weekend_is_saturday_and_sunday_in_utc(when: str, *, held: bool) -> None:
    assert ("weekend" in labels(when)) is held


@pytest.mark.parametrize(
    ("when", "holiday"),
    [
        ("2025-07-04T12:00Z", "US bank holiday"),
        ("2025-07-05T03:00Z", "US bank holiday"),  # still the fourth in New York
        ("2025-12-26T12:00Z", "UK bank holiday"),
        ("2026-04-06T12:00Z", "EU bank holiday"),
        ("2025-12-31T15:30Z", "JP bank holiday"),  # the first of January in Tokyo
        ("2027-10-01T05:00Z", "HK bank holiday"),
    ],
)
def test_a_bank_holiday_is_a_day_of_its_own_time_zone(when: str, holiday: str) -> None:
    assert holiday in labels(when)


def test_an_ordinary_day_has_no_bank_holiday() -> None:
    assert not any("bank" in label for label in labels("2026-03-11T12:00Z"))


def test_funding_is_tagged_two_minutes_around_and_on_perpetuals_only() -> None:
    for when, held in {
        "07:57": False,
        "07:58": True,
        "08:01": True,
        "08:02": False,
        "23:58": True,
        "00:01": True,
    }.items():
        assert ("funding" in labels(f"2026-01-07T{when}Z", PERPETUAL)) is held, when
    assert labels("2026-01-07T08:00Z", SPOT) == set()


def test_a_symbol_may_be_funded_more_often(tmp_path: Path) -> None:
    (tmp_path / "funding.yaml").write_text(
        (FOLDER / "funding.yaml").read_text().replace("symbols: {}", 'symbols: {"DOGE/USDT:USDT": 4}')
    )
    calendars = load_calendars(tmp_path)
    at = datetime(2026, 1, 7, 4, 1, tzinfo=UTC)
    assert len(events_at(calendars, at, "DOGE/USDT:USDT")) == 1
    assert events_at(calendars, at, PERPETUAL) == ()


def test_the_weekly_close_of_cme_follows_chicago_through_the_change_of_its_clocks() -> None:
    closed = "CME closed for the weekend"
    assert closed in labels("2026-01-09T22:00Z")  # 16:00 in winter
    assert closed not in labels("2026-01-09T21:59Z")
    assert closed in labels("2025-07-11T21:00Z")  # 16:00 in summer
    # The clocks went forward on 8 March 2026: it closed at 22:00 UTC and opened at 22:00 UTC, 17:00 in Chicago.
    assert closed in labels("2026-03-08T21:59Z")
    assert closed not in labels("2026-03-08T22:00Z")


def test_what_is_no_longer_in_effect_is_no_longer_said() -> None:
    old, new = "2026-05-23T12:00Z", "2026-05-30T12:00Z"
    assert {label for label in labels(old) if "CME" in label} == {"CME closed for the weekend"}
    (after,) = [each for each in events_at(CALENDARS, datetime.fromisoformat(new), SPOT) if each.calendar == "cme"]
    assert "maintenance" in after.label
    assert not after.verified


def test_options_expire_on_friday_at_eight() -> None:
    assert "options expiry" in labels("2026-01-09T08:00Z")
    assert "options expiry" not in labels("2026-01-08T08:00Z")


def write(folder: Path, **changes: Any) -> None:
    rule = {"rule": "weekly", "label": "x", "zone": "UTC", "weekdays": ["friday"], "at": "08:00", "lasts": "PT1H"}
    content = {
        "name": "own",
        "kind": "expiry",
        "source": "made for this test",
        "events": [rule | {"verified": True} | changes],
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"weekdays": ["freitag"]}, "weekdays"),
        ({"at": 960}, "put quotes around it"),
        ({"lasts": 3600}, "put quotes around it"),
        ({"lasts": "PT0S"}, "greater than 0"),
        ({"lasts": "P8D"}, "less than or equal to 7 days"),
        ({"valid_from": "2026-02-01", "valid_to": "2026-02-01"}, "valid_to is not after valid_from"),
        ({"rule": "yearly"}, "does not match any of the expected tags"),
        ({"mute": True}, "Extra inputs"),
    ],
)
def test_an_error_names_file_and_field(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    write(tmp_path, **changes)
    with pytest.raises(CalendarError, match=r"own.yaml: events.0") as caught:
        load_calendars(tmp_path)
    assert problem in str(caught.value)


def test_every_wrong_file_is_listed(tmp_path: Path) -> None:
    write(tmp_path, at=1, lasts=2)
    (tmp_path / "second.yaml").write_text("[")
    (tmp_path / "third.yaml").write_text((FOLDER / "weekend.yaml").read_text())
    with pytest.raises(CalendarError) as caught:
        load_calendars(tmp_path)
    for part in ("own.yaml: events.0.weekly.at", "lasts", "second.yaml", "third.yaml: name"):
        assert part in str(caught.value)


@given(moments(3 * 365), st.sampled_from([SPOT, PERPETUAL]))
def test_an_event_holds_at_its_moment_in_one_order_and_whatever_the_zone(when: datetime, symbol: str) -> None:
    found = events_at(CALENDARS, when, symbol)
    assert all(event.start <= when < event.end for event in found)
    assert found == events_at(tuple(reversed(CALENDARS)), when.astimezone(FAR), symbol)
    assert ("weekend" in {event.label for event in found}) == (when.weekday() >= 5)


@given(moments(500))
def test_every_occurrence_found_from_inside_is_found_from_its_start(when: datetime) -> None:
    for event in events_at(CALENDARS, when, PERPETUAL):
        assert event in events_at(CALENDARS, event.start, PERPETUAL)
        assert event not in events_at(CALENDARS, event.end, PERPETUAL)
        assert event in events_at(CALENDARS, event.end - timedelta(microseconds=1), PERPETUAL)
