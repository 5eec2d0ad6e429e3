"""Reconciliation at a glance."""

import dagster as dg

from research_to_prod.defs.partitions import DAYS
from research_to_prod.lake import Lake


@dg.asset_check(
    asset="breaks",
    partitions_def=DAYS,
    description="The desk's fills and the venue's agree. A break needs a person, so this warns and blocks nothing.",
)
def records_agree(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Count the breaks by class."""
    rows = lake.read("breaks", context.partition_key).rows
    classes = rows["class"].to_pylist()
    return dg.AssetCheckResult(
        passed=not classes,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={each: classes.count(each) for each in sorted(set(classes))},
    )
