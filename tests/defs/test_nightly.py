"""The night as a whole: its schedule, a process killed in its middle, and the check that a day has its report."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from research_to_prod.defs.automation import NIGHTLY_TAG, nightly_schedule
from research_to_prod.defs.reports.checks import every_day_has_a_report
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.runner import open_instance
from research_to_prod.settings import Settings
from tests.defs.nights import DAYS, TICK, Desk

NOON = TICK.replace(hour=12)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "killed")


@pytest.mark.slow
def test_a_night_killed_half_way_is_made_whole_by_the_next_tick_with_the_same_bytes(desk: Desk, tmp_path: Path) -> None:
    whole = Desk(tmp_path / "whole")
    whole.night(DAYS[0])
    killed = desk.start(DAYS[0])
    deadline = time.monotonic() + 240
    while (
        not (Path(desk.settings.lake) / "slippage").exists() and time.monotonic() < deadline and killed.poll() is None
    ):
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    errors = killed.communicate()[1]
    assert killed.returncode == -signal.SIGKILL, errors.decode()[-3000:]
    with open_instance(desk.settings) as instance:
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.STARTED
    assert not desk.settings.reports.exists(), "the kill came too late to prove anything"
    assert desk.due() == list(DAYS)
    desk.night(DAYS[0])
    assert desk.contents() == whole.contents()
    assert desk.files() == whole.files()
    report = {f"desk-report-{DAYS[0]}.{kind}" for kind in ("html", "json", "parquet")}
    assert set(desk.files()) == {"index.html", *report}
    assert desk.due() == [DAYS[1]]
    found = checked(desk.settings)
    assert (found.passed, found.metadata["not_made"].value) == (False, [DAYS[1]])


def test_a_day_whose_run_waits_in_the_queue_is_not_asked_for_again(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    with open_instance(settings) as instance:
        waits = {"dagster/partition": DAYS[1], NIGHTLY_TAG: "true"}
        job = dg.GraphDefinition(name="nightly", node_defs=[]).to_job()
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "all"), "nightly")
        instance.create_run_for_job(job, tags=waits, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=origin)
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=TICK, resources={"settings": settings}
        )
        assert isinstance(nightly_schedule(context), dg.SkipReason)


def checked(settings: Settings) -> dg.AssetCheckEvaluation:
    """Run what the hourly schedule runs, at noon after the tick."""
    with open_instance(settings) as instance:
        made = dg.materialize(
            [every_day_has_a_report],
            instance=instance,
            selection=dg.AssetSelection.checks(every_day_has_a_report),
            resources=build_resources({"R2P_DATA": str(settings.data)}, clock=lambda: NOON),
        )
    (found,) = made.get_asset_check_evaluations()
    return found


def test_a_day_that_was_not_delivered_is_a_warning_and_one_that_was_not_made_an_error(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    for kind in ("decisions", "orders", "fills", "quotes"):
        (settings.inbox / kind).mkdir(parents=True)
        (settings.inbox / kind / "2026-01-01.csv").touch()
    found = checked(settings)
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert found.metadata["not_made"].value == ["2026-01-01"]
    assert found.metadata["not_delivered"].value == ["2026-01-02"]
    (settings.inbox / "quotes" / "2026-01-01.csv").unlink()
    assert checked(settings).severity is dg.AssetCheckSeverity.WARN


def test_nights_run_one_at_a_time_and_a_run_whose_process_died_is_done_again(tmp_path: Path) -> None:
    with open_instance(Settings(data=tmp_path / "data")) as instance:
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert {"key": NIGHTLY_TAG, "limit": 1} in limits.tag_concurrency_limits
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        configured = yaml.safe_load((Settings(data=tmp_path / "data").dagster_home / "dagster.yaml").read_text())
        assert configured["run_monitoring"]["enabled"]
