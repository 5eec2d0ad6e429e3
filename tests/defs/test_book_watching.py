"""The book of the running day, from the inbox to the page: what the desk states is measured once, against its limit."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.defs.operations.book_sources import book_at, market_at, read_candidates, versions_behind
from research_to_prod.defs.operations.book_watching import running_book
from research_to_prod.defs.operations.watching import alerter
from research_to_prod.execution.contracts import FILLS, INBOX_KINDS, POSITIONS, QUOTES
from research_to_prod.execution.inbox import InboxError
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.lake import Lake
from research_to_prod.market_data.contracts import LIQUIDITY_PROFILE
from research_to_prod.operations.alerting.allotted import Allotted
from research_to_prod.promotion.keys import open_keys
from research_to_prod.research.candidate import load_candidate
from research_to_prod.research.candidate_table import CANDIDATE, candidate_to_table
from research_to_prod.research.strategy import load_strategy
from research_to_prod.settings import Settings
from tests.defs.test_watching import MINUTE, Desk
from tests.operations.alerting.test_book_measures import filled, stated
from tests.operations.alerting.test_day_measures import BTC, END, START, at, rows
from tests.operations.alerting.test_market_measures import quote
from tests.promotion.conftest import EPOCH, DeskLedger, _draft
from tests.reports.posture_book import NOON, profile

DAY = "2026-01-06"
NAME = "btc_momentum"  # of which the shipped allocation lets a live one hold three times its 250,000


class Inbox(Desk):
    def deliver(self, kind: str, *given: dict[str, Any], day: str = DAY) -> None:
        named = [row | {"strategy": NAME} for row in given]
        table = rows(INBOX_KINDS[kind], *named)
        InboxWriter(self.settings.inbox).write(kind, day, table)

    def state(self, *units: str, mark: str = "50000") -> None:
        """One statement a minute up to now."""
        given = [
            stated(0, each, mark, held_at=self.now - number * MINUTE) for number, each in enumerate(reversed(units))
        ]
        self.deliver("positions", *given)

    def readings(self) -> list[dict[str, Any]]:
        files = sorted(self.settings.operations.glob("readings-*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Inbox:
    """A desk whose lake has the candidate, and no positions."""
    shipped = Settings().desk
    candidate = load_candidate(shipped / "candidates" / f"{NAME}.yaml", shipped / "strategies")
    row = candidate_to_table(candidate, load_strategy(shipped / "strategies", candidate.strategy))
    Lake(tmp_path / "lake").write("candidate", NAME, row, CANDIDATE)
    return Inbox(tmp_path)


def test_each_delivery_is_measured_once_at_the_time_that_it_speaks_of(desk: Inbox) -> None:
    assert "no fills or no positions" in str(desk.tick(running_book).skip_reason)
    desk.deliver("fills")
    desk.state(*["3"] * 61)
    desk.now += timedelta(seconds=20)
    desk.tick(running_book)
    found = {each["metric"]: (each["value"], each["at"]) for each in desk.readings()}
    assert {each["metric"]: each["usual"] for each in desk.readings() if each.get("usual") is not None} == {
        "loss_1h": 0
    }
    assert found == {
        "loss_1h": (0, "2026-01-06T12:00:00Z"),
        "limit_use": (pytest.approx(0.2), "2026-01-06T12:00:00Z"),
        "loss_share_1h": (0, "2026-01-06T12:00:00Z"),
        "loss_share_5m": (0, "2026-01-06T12:00:00Z"),
        "loss_share_day": (None, "2026-01-06T12:00:00Z"),  # no mark of the day's start
    }
    assert "nothing new" in str(desk.tick(running_book).skip_reason)
    assert len(desk.readings()) == 5


def test_after_midnight_the_last_hour_is_also_yesterday_s(desk: Inbox) -> None:
    desk.now = END + timedelta(minutes=10)
    desk.deliver("fills", filled(at(23.9), "1", "50000", liquidity="taker"))
    desk.deliver("positions", stated(23 + 1 / 6, "2"))
    desk.deliver("fills", day="2026-01-07")
    desk.deliver("positions", stated(0, "3", "49000", held_at=desk.now), day="2026-01-07")
    desk.tick(running_book)
    (hour,) = [each["value"] for each in desk.readings() if each["metric"] == "loss_share_1h"]
    assert hour == pytest.approx(3 * 1000 / 7500)


def test_a_file_that_can_t_be_read_is_an_error_and_no_reading(desk: Inbox) -> None:
    desk.deliver("fills")
    (desk.settings.inbox / "positions").mkdir()
    (desk.settings.inbox / "positions" / f"{DAY}.parquet").write_bytes(b"cut off")
    with pytest.raises(InboxError):
        desk.tick(running_book)
    assert desk.readings() == []


def test_a_position_beyond_its_limit_is_a_page_within_the_minute_and_one_within_it_is_none(desk: Inbox) -> None:
    week = profile().set_column(3, "week", [["2026-01-05"] * 336])
    lake = Lake(desk.settings.lake)
    lake.write("liquidity_profile", "2026-01-05", week.cast(LIQUIDITY_PROFILE.arrow), LIQUIDITY_PROFILE)
    desk.deliver("fills")
    told = []
    for units in ("14", "16"):
        desk.now += MINUTE
        desk.state(units)
        desk.tick(running_book)
        desk.tick(alerter)
        told.append("More at stake than this hour allows: btc_momentum" in pages(desk))
    assert told == [False, True]


def pages(desk: Desk) -> str:
    path = desk.settings.operations / "pages.jsonl"
    return path.read_text() if path.exists() else ""


class TestAllotted:
    """What a strategy may hold, as ledger and files say it at one moment."""

    def of(self, desk: Desk, moment: datetime, *names: str) -> list[Allotted]:
        positions = rows(POSITIONS, *(BTC | {"strategy": name} for name in names))
        candidates = read_candidates(Lake(desk.settings.lake), positions, None)
        book = book_at(desk.settings, positions, FILLS.empty(), candidates, START, moment)
        return [book.allotted[name] for name in names]

    def promote(self, data: Path, number: int, most: str) -> None:
        limits = {"instruments": [{"venue": "sandbox", "symbol": "BTC/USDT"}], "max_position_value": most}
        ledger = DeskLedger(data / "ledger", open_keys(data / "keys", EPOCH))
        ledger.append(_draft(number, candidate=NAME, limits=limits))

    def test_before_the_first_record_it_is_the_most_that_a_promotion_could_grant(self, desk: Inbox) -> None:
        assert self.of(desk, NOON, NAME, "nobody") == [Allotted(750_000.0, 7_500.0), Allotted(None, None)]

    def test_it_is_what_the_ledger_grants_at_the_moment_and_nothing_to_others(self, desk: Inbox) -> None:
        self.promote(desk.data, 60, "1000")
        later = EPOCH + timedelta(minutes=2)
        assert self.of(desk, later, NAME, "nobody") == [Allotted(1_000.0, 7_500.0), Allotted(0.0, None)]
        assert self.of(desk, EPOCH, NAME) == [Allotted(750_000.0, 7_500.0)]

    def test_of_a_ledger_that_does_not_verify_no_limit_is_known(self, desk: Inbox) -> None:
        self.promote(desk.data, 60, "1000")
        path = desk.settings.ledger / "records.jsonl"
        path.write_bytes(path.read_bytes().replace(b"1000", b"9000"))
        assert self.of(desk, NOON, NAME) == [Allotted(None, 7_500.0)]


def test_the_lake_s_views_of_a_day_say_what_its_venues_quoted(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    assert market_at(lake, DAY, END).mids is None
    quotes = rows(QUOTES, *(quote(venue, "USDT/USD", END - MINUTE, 0.99) for venue in "abc"))
    lake.write("quotes", DAY, quotes, QUOTES)
    found = market_at(lake, DAY, END)
    assert found.mids is not None
    assert found.minutes is not None
    assert (found.mids.num_rows, found.minutes.num_rows, found.bases) == (3, 3, None)
    assert [(each.table, each.partition) for each in versions_behind(lake, DAY).versions] == [("quotes", DAY)]
