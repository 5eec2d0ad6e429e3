"""Promotion's weekly figures in the graph: from the verified ledger, with a picture, for weeks that are over."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from research_to_prod.definitions import defs
from research_to_prod.defs.promotion.metrics import promotion_metrics
from research_to_prod.defs.resources import build_resources
from research_to_prod.lake import Lake
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Draft
from research_to_prod.values import canonical_json, sha256_hex

WEEK = "2026-01-05"
DAY = datetime(2026, 1, 7, tzinfo=UTC)
NAMED = canonical_json("what a decision names by hash")
SHA256 = sha256_hex(NAMED)


def refusal(number: int) -> Draft:
    gate = {"gate": "deflated_sharpe", "family": "statistics", "verdict": "fail", "samples": 10, "reason": "too small"}
    fields: dict[str, Any] = {
        "decision_id": f"decision-{number}",
        "recorded_at": DAY + timedelta(days=number),
        "candidate": "c",
        "candidate_sha256": SHA256,
        "strategy": "momentum",
        "strategy_type": "swing",
        "from_stage": "research",
        "to_stage": "paper",
        "policy": {"id": "research_to_paper", "sha256": SHA256},
        "code": {"package_sha256": SHA256, "lockfile_sha256": SHA256, "version": "0.1.0"},
        "parameters_sha256": SHA256,
        "inputs": [],
        "checks": [],
        "author": "ann",
        "dagster": {"run_id": "run"},
        "type": "reject",
        "gates": [gate],
        "reasons": ["gate deflated_sharpe: too small"],
    }
    return Draft.model_validate(fields)


def materialize(folder: Path, week: str = WEEK) -> dg.ExecuteInProcessResult:
    resources = build_resources({"R2P_DATA": str(folder)})
    return dg.materialize([promotion_metrics], partition_key=week, resources=resources, raise_on_error=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger", open_keys(tmp_path / "keys", DAY))
    for number in (0, 6):
        ledger.append(refusal(number), [NAMED])
    return ledger


@pytest.mark.usefixtures("ledger")
def test_a_week_is_counted_from_the_ledger_and_what_refused_is_drawn(tmp_path: Path) -> None:
    result = materialize(tmp_path)
    assert result.success
    rows = Lake(tmp_path / "lake").read("promotion_metrics", WEEK).rows.to_pylist()
    refused = {row["window"]: row["n"] for row in rows if row["metric"] == "refusals"}
    assert refused == {"week": 1, "to_date": 1}
    (event,) = result.get_asset_materialization_events()
    (picture,) = re.findall(r"base64,([^)]+)\)", str(event.materialization.metadata["refused_by"].value))
    assert 2_000 < len(base64.b64decode(picture)) < 100_000
    assert event.materialization.metadata["refused_share"].value == 1.0


@pytest.mark.usefixtures("ledger")
def test_what_was_recorded_later_enters_the_later_week_only(tmp_path: Path) -> None:
    assert materialize(tmp_path, "2026-01-12").success
    rows = Lake(tmp_path / "lake").read("promotion_metrics", "2026-01-12").rows.to_pylist()
    assert {row["window"]: row["n"] for row in rows if row["metric"] == "refusals"} == {"week": 1, "to_date": 2}


def test_a_desk_without_a_ledger_has_weeks_in_which_nothing_happened(tmp_path: Path) -> None:
    assert materialize(tmp_path).success
    rows = Lake(tmp_path / "lake").read("promotion_metrics", WEEK).rows.to_pylist()
    assert {row["n"] for row in rows} == {0}


def test_a_ledger_that_does_not_verify_gives_no_figures(tmp_path: Path, ledger: Ledger) -> None:
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b"too small", b"too large"))
    result = materialize(tmp_path)
    assert not result.success
    assert not Lake(tmp_path / "lake").has("promotion_metrics", WEEK)


def test_a_week_is_counted_on_the_monday_after_it() -> None:
    schedule = defs.resolve_schedule_def("promotion_review_schedule")
    at = datetime(2026, 1, 12, 0, 40, tzinfo=UTC)
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
    requests = schedule.evaluate_tick(context).run_requests
    assert [each.partition_key for each in requests or []] == [WEEK]
    assert schedule.cron_schedule == "40 0 * * 1"
