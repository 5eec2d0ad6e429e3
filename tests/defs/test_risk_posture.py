"""The risk posture in the graph: the newest of everything, what was read, and no failure for want of any."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from research_to_prod.defs.operations.risk_posture import risk_posture
from research_to_prod.defs.resources import build_resources
from research_to_prod.execution.contracts import INBOX_KINDS, VENUE_RECORDS
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import read_versions
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES, FUNDING_RATES, LIQUIDITY_PROFILE
from tests.operations.alerting.test_day_measures import rows
from tests.reports.posture_book import ETH, LONG, NOON, profile, wallet

TODAY, YESTERDAY = "2026-01-06", "2026-01-05"


def materialize(data: Path, now: datetime = NOON) -> tuple[dg.ExecuteInProcessResult, dict[str, Any]]:
    result = dg.materialize([risk_posture], resources=build_resources({"R2P_DATA": str(data)}, clock=lambda: now))
    return result, json.loads((data / "reports" / "risk-posture.json").read_text())


def certify(lake: Lake, day: str, *, complete: bool) -> None:
    """Certificates of an account's reading of ``day``; one of its balances may not be complete."""
    for name in ("venue_fills", "venue_positions", "venue_balances"):
        partition = f"{name}-{day}"
        row = {
            "asset_partition": partition, "fetch_id": partition, "venue": "sandbox",
            "interval_end": datetime.fromisoformat(f"{day}T11:55:00+00:00"),
            "complete": complete or name != "venue_balances",
        }  # fmt: skip
        lake.write("fetch_certificates", partition, rows(FETCH_CERTIFICATES, row), FETCH_CERTIFICATES)
        lake.write(name, day, VENUE_RECORDS[name].empty(), VENUE_RECORDS[name])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long perpetual at a venue whose account was read completely yesterday, and today not."""
    data = tmp_path_factory.mktemp("data")
    lake = Lake(data / "lake")
    lake.write("positions", TODAY, rows(INBOX_KINDS["positions"], LONG), INBOX_KINDS["positions"])
    certify(lake, YESTERDAY, complete=True)
    certify(lake, TODAY, complete=False)
    for day, money in ((YESTERDAY, "100000"), (TODAY, "1")):
        held = rows(VENUE_RECORDS["venue_balances"], wallet("USDT", money) | {"day": day})
        lake.write("venue_balances", day, held, VENUE_RECORDS["venue_balances"])
    week = profile().set_column(3, "week", [["2026-01-05"] * 336])
    lake.write("liquidity_profile", "2026-01-05", week.cast(LIQUIDITY_PROFILE.arrow), LIQUIDITY_PROFILE)
    market = {"venue": ETH[0], "symbol": ETH[1]}
    paid = [market | {"ts": NOON - timedelta(hours=each), "rate": 0.0001} for each in (12, 4, -4)]
    lake.write("funding_rates", "2026-01", rows(FUNDING_RATES, *paid), FUNDING_RATES)
    return data


def test_nothing_in_the_lake_is_a_posture_of_which_nothing_is_known(tmp_path: Path) -> None:
    result, posture = materialize(tmp_path)
    assert result.success
    assert posture["status"] == "unknown"
    assert posture["blind"][0] == {
        "name": "the book", "at_stake": None, "blind_seconds": None, "reduce_first": False, "unseen_seconds": None,
        "over": None, "because": "no positions were ever stated; its account was never read completely",
        "proven_at": None,
    }  # fmt: skip


def test_an_account_is_proven_by_its_last_complete_reading_and_valued_from_it(data: Path) -> None:
    _, posture = materialize(data)
    assert {each["proven_at"] for each in posture["exposures"]} == {"2026-01-05T11:55:00Z"}
    (line,) = posture["liquidations"]
    assert line["equity"] == 100_000
    assert posture["blind"][0]["unseen_seconds"] == timedelta(days=1, minutes=5).total_seconds()


def test_what_is_paid_later_is_not_known_yet(data: Path) -> None:
    _, posture = materialize(data)
    (line,) = posture["funding"]
    assert (line["due_at"], line["received"]) == ("2026-01-06T16:00:00Z", -20.0)


def test_it_says_what_it_read_and_keeps_each_posture_as_a_version(data: Path) -> None:
    result, _ = materialize(data)
    materialize(data, NOON + timedelta(minutes=15))
    (event,) = result.get_asset_materialization_events()
    read = {(each.table, each.partition) for each in read_versions(event.materialization.metadata)}
    assert {("positions", TODAY), ("venue_balances", YESTERDAY), ("liquidity_profile", "2026-01-05")} <= read
    versions = Lake(data / "lake").history("risk_posture", None)
    assert len(versions) >= 2
    assert {path.suffix for path in (data / "reports").iterdir()} == {".html", ".json", ".parquet"}
