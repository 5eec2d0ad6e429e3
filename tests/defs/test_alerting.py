"""A day judged in the graph: what the lake shows is found, what it lacks is told, and every row can be made again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from research_to_prod.defs.operations.alerting import alert_evaluations, incidents, live_evaluations
from research_to_prod.defs.operations.day_sources import DaySources
from research_to_prod.defs.resources import build_resources
from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import read_versions
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.settings import Settings
from tests.operations.alerting.test_day_measures import BTC, START, at, rows
from tests.operations.alerting.test_kept import written

DAY = "2026-01-06"


def materialize(data: Path, clock: datetime) -> dg.ExecuteInProcessResult:
    resources = build_resources({"R2P_DATA": str(data)}, clock=lambda: clock)
    return dg.materialize([alert_evaluations, incidents], partition_key=DAY, resources=resources)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long position, one fill that the desk has lost, and nothing else in the lake."""
    data = tmp_path_factory.mktemp("data")
    lake = Lake(data / "lake")
    held = BTC | {"held_at": at(1), "position": Decimal(2), "mark_price": Decimal(50_000)}
    lost = {
        "class": "missing_fill_internal", "venue": "sandbox", "opened_at": at(8), "verdict": "confirmed",
        "status": "open",
    }  # fmt: skip
    proof = {"venue": "sandbox", "interval_end": START + timedelta(days=1), "complete": True}
    lake.write("positions", DAY, rows(INBOX_KINDS["positions"], held), INBOX_KINDS["positions"])
    lake.write("breaks", DAY, rows(BREAKS, lost | {"day": DAY}), BREAKS)
    partition = f"venue_fills-{DAY}"
    lake.write("fetch_certificates", partition, rows(FETCH_CERTIFICATES, proof | {"asset_partition": partition}),
               FETCH_CERTIFICATES)  # fmt: skip
    return data


@pytest.fixture(scope="module")
def result(data: Path) -> dg.ExecuteInProcessResult:
    return materialize(data, datetime(2026, 11, 29, tzinfo=UTC))


def test_the_lost_fill_is_an_incident_with_its_runbook_s_steps(result: dg.ExecuteInProcessResult, data: Path) -> None:
    found = {row["rule"]: row for row in Lake(data / "lake").read("incidents", DAY).rows.to_pylist()}
    lost = found["missing_fill"]
    assert (lost["severity"], lost["status"], lost["part_of"]) == ("P1", "detected", None)
    assert lost["text"].startswith("P1 A fill is missing, or there twice: sandbox, fill_breaks 1 fills")
    assert f"`r2p run nightly {DAY}` replaces the day whole." in lost["steps"][0]


def test_what_the_lake_lacks_is_told_once_for_the_venue_and_once_for_the_desk(
    result: dg.ExecuteInProcessResult, data: Path
) -> None:
    told = [row for row in Lake(data / "lake").read("incidents", DAY).rows.to_pylist() if row["part_of"] is None]
    assert sorted(row["venue"] for row in told if "Not seen" in row["text"]) == ["", "sandbox"]


def test_every_rule_is_judged_and_every_row_can_be_made_again(result: dg.ExecuteInProcessResult, data: Path) -> None:
    judged = Lake(data / "lake").read("alert_evaluations", DAY).rows.to_pylist()
    assert len({row["rule"] for row in judged}) == 30
    assert {row["as_of"] for row in judged} == {at(23), at(24)}
    checks = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    assert checks == {"replays_to_the_byte": True, "rules_have_runbooks": True}


def test_it_says_what_it_read(result: dg.ExecuteInProcessResult) -> None:
    first, _ = result.get_asset_materialization_events()
    read = {(each.table, each.partition) for each in read_versions(first.materialization.metadata)}
    assert read == {("positions", DAY), ("breaks", DAY), ("fetch_certificates", f"venue_fills-{DAY}")}


def test_the_four_weeks_that_fills_are_held_against_are_among_what_it_read(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    lake = Lake(settings.lake)
    for day in ("2025-12-01", "2025-12-09", "2026-01-05", DAY, "2026-01-07"):
        sent = BTC | {"sent_at": datetime.fromisoformat(f"{day}T05:00Z"), "side": 1}
        lake.write("orders", day, rows(INBOX_KINDS["orders"], sent), INBOX_KINDS["orders"])
    read = [(each.table, each.partition) for found in DaySources(lake, settings, DAY).read for each in found.versions]
    assert sorted(read) == [("orders", each) for each in ("2025-12-09", "2026-01-05", DAY)]


def test_runbooks_that_nobody_has_drilled_for_a_quarter_are_a_warning(data: Path) -> None:
    late = materialize(data, datetime(2027, 3, 1, tzinfo=UTC))
    (check,) = [each for each in late.get_asset_check_evaluations() if each.check_name == "rules_have_runbooks"]
    assert late.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_what_the_alerter_kept_of_a_day_is_stored_and_its_file_goes_when_the_day_is_over(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    written(settings.operations)
    kept = settings.operations / "evaluations-2026-01-05.lines"

    def stored(clock: datetime) -> dg.ExecuteInProcessResult:
        resources = build_resources({"R2P_DATA": str(tmp_path)}, clock=lambda: clock)
        return dg.materialize([live_evaluations], partition_key="2026-01-05", resources=resources)

    assert stored(datetime(2026, 1, 5, 13, tzinfo=UTC)).success
    assert kept.exists()
    result = stored(datetime(2026, 1, 6, 2, tzinfo=UTC))
    assert not kept.exists()
    rows = Lake(settings.lake).read("live_evaluations", "2026-01-05").rows
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.metadata["judged again"].value) == (True, rows.num_rows)
    assert stored(datetime(2026, 1, 7, 2, tzinfo=UTC)).success
    assert Lake(settings.lake).read("live_evaluations", "2026-01-05").rows == rows
