"""`r2p status` tells every part of how things stand, and one that can't be read hides no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.defs.status import Part, stand
from research_to_prod.promotion.controls import Control, Mode, Scope
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.manifest import production_manifest, write_manifest
from research_to_prod.settings import Settings
from tests.operations.alerting.book import BTC, reading
from tests.operations.incidents.firings import Play

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTS = ["candidates", "approvals", "production", "controls", "incidents", "reports", "runs"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


def told(settings: Settings, now: datetime = NOW) -> dict[str, Part]:
    return {each.what: each for each in stand(settings, now)}


def test_of_a_new_installation_nothing_may_trade_and_everything_can_be_read(settings: Settings) -> None:
    parts = told(settings)
    assert list(parts) == PARTS
    assert all(each.readable for each in parts.values())
    assert parts["production"].told == "nothing may trade: there is no manifest"
    assert parts["runs"].told == "0 under way; no daemon: nothing runs by itself"


def test_looking_makes_no_key(settings: Settings) -> None:
    told(settings)
    assert not settings.keys.exists()


def test_an_open_incident_says_on_what_since_when_and_who_has_it(settings: Settings) -> None:
    Play(settings.operations).see(reading("market_data_age", 100, BTC))
    (line,) = told(settings)["incidents"].details
    assert line.endswith(" P2 md_stale on sandbox BTC/USDT:USDT since 2026-01-05 12:00Z, detected, taken by nobody")


def test_the_page_over_all_reports_is_named_before_the_newest(settings: Settings) -> None:
    settings.reports.mkdir(parents=True)
    for name in ("index.html", "desk-report-2026-02-27.html", "desk-report-2026-02-26.html"):
        (settings.reports / name).write_text("")
    reports = told(settings)["reports"]
    assert reports.told == "2 desk reports; the newest is of 2 days ago"
    assert [Path(each).name for each in reports.details] == ["index.html", "desk-report-2026-02-27.html"]


def test_a_manifest_that_has_ended_lets_nothing_trade(settings: Settings) -> None:
    keys = open_keys(settings.keys, NOW)
    halt = Control(scope=Scope.ALL, mode=Mode.HALT, since=NOW, by="user:ann", reason="a test")
    write_manifest(settings.production / "manifest.json", production_manifest([], NOW, [halt]), keys)
    assert told(settings)["production"].told.startswith("0 may trade until 2026-03-02")
    later = told(settings, NOW + timedelta(days=9))["production"].told
    assert later.startswith("nothing may trade: the manifest ended at 2026-03-02")


def test_a_manifest_that_nobody_signed_is_told_and_hides_no_other_part(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_keys(settings.keys, NOW)
    settings.production.mkdir()
    (settings.production / "manifest.json").write_text("{}")
    parts = told(settings)
    assert [each.what for each in parts.values() if not each.readable] == ["production"]
    monkeypatch.setenv("R2P_DATA", str(settings.data))
    made = CliRunner().invoke(app, ["status", "--json"])
    assert made.exit_code == 1
    assert [json.loads(line)["what"] for line in made.stdout.splitlines()] == PARTS
