"""Whether the nights did their work."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from research_to_prod.execution.contracts import REQUIRED_KINDS
from research_to_prod.settings import Settings


def reported_days(instance: dg.DagsterInstance) -> set[str]:
    """Return the days whose report was materialized."""
    return set(instance.get_materialized_partitions(dg.AssetKey("desk_report")))


@dg.asset_check(
    asset="desk_report",
    description=(
        "Every day since the desk's first that ended six hours ago has its report. One that was delivered and has none "
        "is an error: its night failed or never ran. One that was not delivered is a warning. If it fails, the days "
        "are named: materialize them with the job nightly, or have the desk deliver them."
    ),
)
def every_day_has_a_report(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.AssetCheckResult:
    """Compare the days that were delivered with those that were made; ticks of the schedule prove nothing."""
    from research_to_prod.execution.inbox import delivered_days
    from research_to_prod.reports.nightly import late_days

    late = late_days(reported_days(context.instance), delivered_days(settings.inbox, REQUIRED_KINDS), clock())
    return dg.AssetCheckResult(
        passed=not (late.not_made or late.not_delivered),
        severity=dg.AssetCheckSeverity.ERROR if late.not_made else dg.AssetCheckSeverity.WARN,
        metadata={"not_made": list(late.not_made), "not_delivered": list(late.not_delivered)},
    )
