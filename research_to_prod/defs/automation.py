"""The jobs that people and the schedule run, in the order in which data flows."""

from __future__ import annotations

import dagster as dg

from research_to_prod.defs.reports.checks import every_day_has_a_report, reported_days
from research_to_prod.execution.contracts import REQUIRED_KINDS
from research_to_prod.execution.inbox import delivered_days
from research_to_prod.reports.nightly import due_days
from research_to_prod.settings import Settings

NIGHTLY_TAG = "r2p/nightly"

market_data = dg.define_asset_job(
    "market_data",
    selection=dg.AssetSelection.groups("market_data") - dg.AssetSelection.assets("trades"),
    description="One month of market data: fetch, validate, profile.",
)
liquidity = dg.define_asset_job(
    "liquidity",
    selection=dg.AssetSelection.assets("liquidity_profile"),
    description="The liquidity profile of one week, from the eight weeks before it.",
)
research = dg.define_asset_job(
    "research",
    selection=dg.AssetSelection.groups("research", "gates"),
    description="One candidate: its trials, its backtest, its validation, its gates.",
)
promote = dg.define_asset_job(
    "promote",
    selection=dg.AssetSelection.assets("promotion"),
    description="One candidate's promotion; succeeds only on proof.",
)
production = dg.define_asset_job(
    "production",
    selection=dg.AssetSelection.assets("control_state", "production_manifest"),
    description="What is held back, and what may trade now.",
)
promotion_review = dg.define_asset_job(
    "promotion_review",
    selection=dg.AssetSelection.assets("promotion_metrics"),
    description="One week of promotion: lead times, refusals, rollbacks.",
)
nightly = dg.define_asset_job(
    "nightly",
    selection=(
        dg.AssetSelection.groups("execution", "attribution", "operations")
        | dg.AssetSelection.assets("trades", "desk_report", "rollback")
    )
    - dg.AssetSelection.assets("risk_posture", "running_breaks"),
    description="One day after the trade: records, public trades, costs, live against model, rollback, breaks, report.",
)
drill = dg.define_asset_job(
    "drill",
    selection=dg.AssetSelection.assets("kill_drill"),
    description="One drill of the kill switch, on a sandbox of its own.",
)
posture = dg.define_asset_job(
    "posture",
    selection=dg.AssetSelection.assets("risk_posture"),
    description="The desk's risk at this moment, from the newest of everything.",
)
publish_warehouse = dg.define_asset_job(
    "publish_warehouse",
    selection=dg.AssetSelection.assets("warehouse"),
    description="All current tables for SQL and BI users.",
)

freshness = dg.define_asset_job(
    "freshness",
    selection=dg.AssetSelection.checks(every_day_has_a_report),
    description="Whether every day has its report: what a night that never ran can't say itself.",
)


# 02:20 UTC: after the day is over and its late records are in, away from midnight and from funding at 00 and 08.
@dg.schedule(job=nightly, cron_schedule="20 2 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def nightly_schedule(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Ask for each day that wants a report: yesterday, and earlier ones whose run was missed, killed or failed."""
    # A killed run stays STARTED for as long as the monitor bears it; only what still waits is not asked for again.
    queued = dg.RunsFilter(job_name=nightly.name, statuses=[dg.DagsterRunStatus.QUEUED])
    waiting = {run.tags["dagster/partition"] for run in context.instance.get_runs(queued)}
    days = due_days(
        reported_days(context.instance) | waiting,
        delivered_days(settings.inbox, REQUIRED_KINDS),
        context.scheduled_execution_time,
    )
    if not days:
        return dg.SkipReason("every delivered day has its report, or a run that waits")
    # One at a time (dagster.yaml), in this order: a day begins with what the day before ended with.
    return [dg.RunRequest(run_key=day, partition_key=day, tags={NIGHTLY_TAG: "true"}) for day in days]


# Hourly, at a minute of its own.
freshness_schedule = dg.ScheduleDefinition(
    job=freshness, cron_schedule="50 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)
# Monday 00:30 UTC, for the week that has just begun: its window ended half an hour ago.
liquidity_schedule = dg.build_schedule_from_partitioned_job(
    liquidity,
    hour_of_day=0,
    minute_of_hour=30,
    day_of_week=1,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
# Monday 00:40 UTC, for the week that is over.
promotion_review_schedule = dg.build_schedule_from_partitioned_job(
    promotion_review, hour_of_day=0, minute_of_hour=40, day_of_week=1, default_status=dg.DefaultScheduleStatus.RUNNING
)
# 02:05 UTC every day: the way to money asks for a drill of the last 24 hours, and the next one is through by then.
drill_schedule = dg.build_schedule_from_partitioned_job(
    drill, hour_of_day=2, minute_of_hour=5, default_status=dg.DefaultScheduleStatus.RUNNING
)
# 02:40 UTC every day: a manifest ends after 26 hours, and what the night took back is in it already.
production_schedule = dg.ScheduleDefinition(
    name="production_schedule",
    job=production,
    cron_schedule="40 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
# Every quarter of an hour, off the minutes of funding, of the other schedules and of everybody else's cron.
posture_schedule = dg.ScheduleDefinition(
    job=posture, cron_schedule="7,22,37,52 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)
