"""A run that was declared over while its process went on writes nothing more."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from research_to_prod.defs.fence import FencedError, refuse_finished
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake

TABLE = "repairs"
EMPTY = pa.schema([(column.name, column.type) for column in TABLES[TABLE].columns]).empty_table()


def run_that(declares: dg.DagsterRunStatus, data: Path) -> tuple[dg.ExecuteInProcessResult, Lake]:
    """Run an asset that is declared over, as the monitor does it, after its process slept and before it writes."""

    @dg.asset
    def sleeper(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        lake.write(TABLE, "2026-01", EMPTY, TABLES[TABLE])
        if declares is dg.DagsterRunStatus.FAILURE:
            context.instance.report_run_failed(context.run, "it ran too long")
        lake.write(TABLE, "2026-02", EMPTY, TABLES[TABLE])

    with dg.instance_for_test() as instance:
        resources = build_resources({"R2P_DATA": str(data)}, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        return dg.materialize([sleeper], instance=instance, resources=resources, raise_on_error=False), Lake(
            data / "lake"
        )


def test_a_run_in_its_time_writes(tmp_path: Path) -> None:
    made, lake = run_that(dg.DagsterRunStatus.STARTED, tmp_path)
    assert made.success
    assert lake.partitions(TABLE) == ("2026-01", "2026-02")


def test_a_run_that_was_declared_over_while_it_slept_commits_nothing_more(tmp_path: Path) -> None:
    made, lake = run_that(dg.DagsterRunStatus.FAILURE, tmp_path)
    assert not made.success
    assert lake.partitions(TABLE) == ("2026-01",)
    (failed,) = made.get_step_failure_events()
    assert "was declared failure while its process goes on: it writes nothing more" in str(failed.event_specific_data)


def test_a_run_that_the_instance_does_not_know_writes_nothing() -> None:
    with dg.instance_for_test() as instance, pytest.raises(FencedError, match="run gone is unknown"):
        refuse_finished(instance, "gone")
