"""The step that examines a month: it knows how far the fetches reached, and what it shows stays small."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from research_to_prod.defs.market_data.assets import keep_certificates
from research_to_prod.defs.market_data.findings_shown import shown
from research_to_prod.defs.market_data.sources import certificates_of, fetched_until
from research_to_prod.lake import Lake
from research_to_prod.market_data.certificates import Certificate, issue
from research_to_prod.market_data.contracts import CANDLES
from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec

START = datetime(2024, 2, 1, tzinfo=UTC)
MARKET = MarketSpec.model_validate({"venue": "v", "symbol": "A/Q", "timeframe": "1h", "since": START})
NOON = START + timedelta(hours=12)


def seen(until: datetime) -> Certificate:
    return issue(
        venue="v", endpoint="e", scope="A/Q 1h", interval=(START, until), bodies=[], rows=0, terminal="empty_interval"
    )


def found(level: Level, hour: int = 0) -> Finding:
    at = START + timedelta(hours=hour)
    return Finding(
        "v", "A/Q", "1h", "2024-02", "wick", level, "", at, at, 1, 1.0, 0.7, "log price", 0.5, "what", "cost", "remedy"
    )


def test_a_bar_that_ended_after_the_fetch_is_not_owed_yet() -> None:
    assert fetched_until([seen(NOON), seen(NOON - timedelta(hours=3))], NOON + timedelta(minutes=1)) == NOON
    assert fetched_until([seen(NOON)], START) == START
    assert fetched_until([], NOON) == NOON


def test_certificates_are_found_where_the_fetch_left_them_and_are_none_elsewhere(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert certificates_of(lake, "raw_candles", "2024-02") == ()
    keep_certificates(lake, "raw_candles", "2024-02", [seen(NOON)])
    assert certificates_of(lake, "raw_candles", "2024-02") == (seen(NOON),)
    assert certificates_of(lake, "raw_candles", "2024-03") == ()


def test_a_month_without_anything_to_look_at_costs_no_picture() -> None:
    series = read_series(CANDLES.empty(), [MARKET], "2024-02", NOON)
    assert shown([], series) == {"errors": 0, "warnings": 0}
    assert set(shown([found(Level.INFO)], series)) == {"errors", "warnings", "findings"}


def test_what_is_shown_of_a_month_full_of_findings_stays_small() -> None:
    series = read_series(CANDLES.empty(), [MARKET, MARKET.model_copy(update={"venue": "w"})], "2024-02", NOON)
    many = [found(Level.ERROR, hour) for hour in range(500)]
    metadata = shown([*many, replace(found(Level.WARNING), venue="w")], series)
    assert (metadata["errors"], metadata["warnings"]) == (500, 1)
    assert metadata["findings"].value.count("\n- ") == 39, "forty findings, the first without a line before it"
    assert "v A/Q 1h" in metadata["worst"].value
    assert len(metadata["worst"].value) < 100_000
