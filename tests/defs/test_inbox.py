"""The desk's inbox in the graph: what must be delivered, what may be absent, and what a delivery says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from research_to_prod.defs.execution.assets import fee_schedules, fills, ledger_entries, shadow_pnl
from research_to_prod.defs.resources import build_resources
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.lake import Lake

DAY = "2026-01-05"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster")) as instance:
        yield instance


def run(folder: Path, instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    resources = build_resources({"R2P_DATA": str(folder)})
    return dg.materialize(list(assets), instance=instance, resources=resources, partition_key=DAY, raise_on_error=False)


def test_a_day_without_fills_fails_and_one_without_fee_schedules_says_which_questions_stay_open(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    result = run(tmp_path, instance, fills, fee_schedules, shadow_pnl)
    assert [event.step_key for event in result.get_step_failure_events()] == ["fills"]
    assert not any(Lake(tmp_path / "lake").has(table, DAY) for table in ("fills", "fee_schedules", "shadow_pnl"))
    (told,) = result.asset_materializations_for_node("fee_schedules")
    assert told.metadata["delivered"].value is False
    assert told.metadata["open_questions"].value == ["Fee tier, maker share, funding: what changed?"]


def test_what_was_delivered_once_is_not_taken_back_by_deleting_its_file(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    path = InboxWriter(tmp_path / "inbox").write("fee_schedules", DAY, [])
    assert run(tmp_path, instance, fee_schedules).success
    path.unlink()
    assert not run(tmp_path, instance, fee_schedules).success


def test_what_the_desk_delivers_is_in_the_lake_and_a_correction_says_what_it_replaced(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    entry = {"venue": "v", "account": "spot", "entry_id": "1", "booked_at": datetime(2026, 1, 5, tzinfo=UTC)}
    entry |= {"entry_type": "deposit", "currency": "USDT"}
    writer = InboxWriter(tmp_path / "inbox")
    writer.write("ledger_entries", DAY, [entry | {"amount": Decimal(100)}])
    writer.write("ledger_entries", DAY, [entry | {"amount": Decimal(1000)}], revision=1)
    result = run(tmp_path, instance, ledger_entries)
    assert result.success
    (row,) = Lake(tmp_path / "lake").read("ledger_entries", DAY).rows.to_pylist()
    assert row["amount"] == 1000
    (refused,) = Lake(tmp_path / "lake").read("inbox_quarantine", f"ledger_entries-{DAY}").rows.to_pylist()
    assert (refused["file"], refused["reason"]) == (f"{DAY}.parquet", "superseded by revision 1")
    (materialized,) = result.asset_materializations_for_node("ledger_entries")
    assert materialized.metadata["superseded_rows"].value == 1
