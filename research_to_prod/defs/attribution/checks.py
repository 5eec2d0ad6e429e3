"""The identity that makes attribution worth reading, and how much of the day it speaks for."""

import dagster as dg

from research_to_prod.defs.attribution.records import read_records
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


@dg.asset_check(
    asset="slippage",
    additional_deps=["fills"],
    partitions_def=DAYS,
    description=(
        "At most one order in twenty lacks a quote or a record that its cost rests on, and every fill of the day "
        "belongs to a recorded order. Not blocking: the desk report says so on such a day."
    ),
)
def costs_cover_the_orders(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Count what was left out, by reason."""
    from research_to_prod.attribution.coverage import coverage_of_costs

    day = context.partition_key
    orders = read_records(lake, day, "orders").tables[0]
    covered = coverage_of_costs(lake.read("slippage", day).rows, lake.read("fills", day).rows, orders)
    return dg.AssetCheckResult(passed=covered.enough, metadata=covered.numbers)


@dg.asset_check(
    asset="markouts",
    partitions_def=DAYS,
    blocking=True,
    description="For every fill and horizon, capture less adverse selection is the net markout within 1e-9 of it.",
)
def markouts_add_up(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Compare the parts and the independently computed net, from the stored rows."""
    from research_to_prod.attribution.coverage import worst_markout_residual

    rows = lake.read("markouts", context.partition_key).rows
    worst = worst_markout_residual(rows)
    return dg.AssetCheckResult(passed=worst <= 1e-9, metadata={"rows": rows.num_rows, "worst_relative_residual": worst})


@dg.asset_check(
    asset="markouts",
    partitions_def=DAYS,
    description="At most one markout in twenty lacks a quote at the fill or at the horizon. Not blocking.",
)
def markouts_cover_the_fills(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Count what was left out, by reason."""
    from research_to_prod.attribution.coverage import coverage

    covered = coverage(lake.read("markouts", context.partition_key).rows)
    return dg.AssetCheckResult(passed=covered.enough, metadata=covered.numbers)
