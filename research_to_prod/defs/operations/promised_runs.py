"""The runs that schedules asked for, from the event log, and by when each had to be done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from research_to_prod.operations.alerting.burn_measures import Promised

LOOK_BACK = timedelta(hours=6)
"""The longest window of an objective."""

_SCHEDULE, _ASKED_FOR, _NAMED = "dagster/schedule_name", ".dagster/scheduled_execution_time", "dagster/run_key"
DUE_IN: Mapping[str, timedelta] = {
    "reconciliation_schedule": timedelta(minutes=5),
    "running_day_schedule": timedelta(minutes=5),
    "posture_schedule": timedelta(minutes=15),
}
"""From a schedule's tick on, its run is late: where the next tick comes sooner than `OTHERWISE`, at that."""
OTHERWISE = timedelta(minutes=40)
"""The night's run is asked for at 02:20, and its tables are due at three (``watching.DUE_AFTER``)."""


def promised_runs(instance: dg.DagsterInstance, moment: datetime) -> tuple[Promised, ...] | None:
    """Return the runs of schedules that could be settled in the hours before ``moment``; None if no log tells of then.

    A run that was tried again is one, and done when the first of them succeeded. A tick that asked for nothing is none.
    """
    if not instance.get_run_records(dg.RunsFilter(created_before=moment), limit=1):
        return None
    asked: dict[tuple[str, ...], list[dg.RunRecord]] = {}
    since = dg.RunsFilter(created_after=moment - LOOK_BACK - OTHERWISE, created_before=moment)
    for record in instance.get_run_records(since):
        tags = record.dagster_run.tags
        if _SCHEDULE in tags and _ASKED_FOR in tags:
            key = (tags[_SCHEDULE], tags[_ASKED_FOR], tags.get(_NAMED, ""))
            asked.setdefault(key, []).append(record)
    found = []
    for (schedule, at, _), records in sorted(asked.items()):
        ends = [
            datetime.fromtimestamp(each.end_time, UTC)
            for each in records
            if each.dagster_run.status is dg.DagsterRunStatus.SUCCESS and each.end_time is not None
        ]
        due = datetime.fromisoformat(at) + DUE_IN.get(schedule, OTHERWISE)
        found.append(Promised(due, min(ends, default=None)))
    return tuple(found)
