"""The identity that makes attribution worth reading."""

import dagster as dg

from research_to_prod.defs.partitions import DAYS
from research_to_prod.lake import Lake


@dg.asset_check(
    asset="slippage",
    partitions_def=DAYS,
    blocking=True,
    description="For every order the components add up to the total within 1e-9 of it.",
)
def components_add_up(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Compare components and independently computed total, from the stored rows."""
    rows = lake.read("slippage", context.partition_key).rows
    counted = rows.filter(rows["excluded_reason"].is_null())
    pairs = zip(counted["residual"].to_pylist(), counted["total"].to_pylist(), strict=True)
    worst = max((abs(residual) / (1 + abs(total)) for residual, total in pairs), default=0.0)
    return dg.AssetCheckResult(
        passed=worst <= 1e-9, metadata={"orders": counted.num_rows, "worst_relative_residual": worst}
    )
