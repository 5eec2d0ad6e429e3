"""The identities that make attribution worth reading, and how much of the day it speaks for."""

import dagster as dg

from research_to_prod.defs.attribution.records import read_records
from research_to_prod.defs.partitions import DAYS
from research_to_prod.lake import Lake


@dg.asset_check(
    asset="slippage",
    partitions_def=DAYS,
    blocking=True,
    description=(
        "For every order the components add up to the total within 1e-9 of it. If it fails, no cost of the day is to "
        "be believed: a defect of the program."
    ),
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
        "belongs to a recorded order. If it fails, the costs do not speak for the day, which the desk report says: "
        "look which record the desk did not deliver. Not blocking."
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
    asset="latency_costs",
    partitions_def=DAYS,
    blocking=True,
    description=(
        "For every order what was lost before sending and on the way is its delay within 1e-9 of it. If it fails, "
        "neither leg is to be believed: a defect of the program."
    ),
)
def latency_adds_up(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Compare the two legs and the delay of slippage, from the stored rows."""
    from research_to_prod.attribution.latency import worst_latency_residual

    rows = lake.read("latency_costs", context.partition_key).rows
    worst = worst_latency_residual(rows)
    return dg.AssetCheckResult(passed=worst <= 1e-9, metadata={"rows": rows.num_rows, "worst_relative_residual": worst})


@dg.asset_check(
    asset="markouts",
    partitions_def=DAYS,
    blocking=True,
    description=(
        "For every fill and horizon, capture less adverse selection is the net markout within 1e-9 of it. If it fails, "
        "no markout of the day is to be believed: a defect of the program."
    ),
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
    description=(
        "At most one markout in twenty lacks a quote at the fill or at the horizon. If it fails, the curve speaks for "
        "the fills with quotes only: have the desk record more around its trading. Not blocking."
    ),
)
def markouts_cover_the_fills(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Count what was left out, by reason."""
    from research_to_prod.attribution.coverage import coverage

    covered = coverage(lake.read("markouts", context.partition_key).rows)
    return dg.AssetCheckResult(passed=covered.enough, metadata=covered.numbers)


@dg.asset_check(
    asset="pnl_waterfall",
    additional_deps=["shadow"],
    partitions_def=DAYS,
    blocking=True,
    description=(
        "From expected to live each value is the one before it plus its amount, to the last digit, and live is what "
        "the fills earned by the shadow's own arithmetic. If it fails, no step of it is to be believed: a defect of "
        "the program."
    ),
)
def waterfall_telescopes(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Add the stored steps up."""
    from research_to_prod.attribution.waterfall_days import broken_steps

    day = context.partition_key
    rows = lake.read("pnl_waterfall", day).rows
    broken = broken_steps(rows, lake.read("shadow", day).rows)
    return dg.AssetCheckResult(passed=not broken, metadata={"rows": rows.num_rows, "broken": broken})


@dg.asset_check(
    asset="pnl_waterfall",
    partitions_def=DAYS,
    description=(
        "No market's residual against the venue's records is beyond rounding, and none is unknown. If it fails, the "
        "records disagree: breaks says which. Not blocking, because that is no fault of the waterfall."
    ),
)
def waterfall_ends_at_the_venue(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Count breaks, unknown residuals and markets without a waterfall."""
    from research_to_prod.attribution.waterfall_days import standing_of_residuals

    found = standing_of_residuals(lake.read("pnl_waterfall", context.partition_key).rows)
    return dg.AssetCheckResult(
        passed=found.breaks == found.unknown == 0, severity=dg.AssetCheckSeverity.WARN, metadata=found._asdict()
    )


@dg.asset_check(
    asset="shadow",
    partitions_def=DAYS,
    description=(
        "The model, run again on the stored bars, decides as live did. If it fails, live runs other code, parameters "
        "or data than the model, in the decisions that shadow names; with none compared it fails too. A warning."
    ),
)
def signals_are_the_models(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Count the decisions that the model takes otherwise; with none compared the answer is not known, and fails."""
    rows = lake.read("shadow", context.partition_key).rows
    compared = sum(rows["signals"].to_pylist())
    diverging = sum(map(len, rows["diverging"].to_pylist()))
    return dg.AssetCheckResult(
        passed=compared > 0 and diverging == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"compared": compared, "diverging": diverging},
    )


@dg.asset_check(
    asset="drawdowns",
    partitions_def=DAYS,
    blocking=True,
    description=(
        "By component, market, venue and regime the parts of each drawdown add up to its loss, exactly. If it fails, "
        "no share of a cause is to be believed: a defect of the program."
    ),
)
def drawdown_parts_add_up(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Add the stored parts up."""
    from research_to_prod.attribution.drawdown_days import broken_parts

    rows = lake.read("drawdowns", context.partition_key).rows
    broken = broken_parts(rows)
    return dg.AssetCheckResult(passed=not broken, metadata={"rows": rows.num_rows, "broken": broken})
