"""What each parent order cost, and why; what the market did after each fill."""

import dagster as dg

from research_to_prod.defs.attribution.records import TWO_DAYS, read_records
from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake


@dg.asset(
    deps=[
        dg.AssetDep(name, partition_mapping=TWO_DAYS) for name in ("decisions", "orders", "fills", "quotes", "trades")
    ],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="2",
    metadata=described("slippage"),
)
def slippage(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult:
    """The implementation shortfall of each parent order by component: delay, timing, spread, impact, fees, opportunity.

    Cost is positive, in quote currency; the components add up to Perold's total to 1e-9. A row is an order that ended
    on the day, so orders worked over midnight are whole. An order whose quotes are missing or too old is excluded with
    a reason, never counted as free. Beside the costs stand VWAP, TWAP, close, participation-weighted price and our own
    share of the volume, where public trades were recorded.
    """
    from research_to_prod.attribution.parent_orders import slippage_of_orders

    day = context.partition_key
    records = read_records(lake, day, "decisions", "orders", "fills", "trades")
    decisions, orders, fills, trades = records.tables
    rows = slippage_of_orders(day, decisions, orders, fills, records.quotes, trades)
    counted = rows.filter(rows["excluded_reason"].is_null())
    return publish(
        lake,
        "slippage",
        day,
        rows,
        read=records.read,
        orders=rows.num_rows,
        excluded=rows.num_rows - counted.num_rows,
        with_a_vwap=rows.num_rows - rows["interval_vwap"].null_count,
        total_cost=float(sum(counted["total"].to_pylist())),
    )


@dg.asset(
    deps=[dg.AssetDep(name, partition_mapping=TWO_DAYS) for name in ("orders", "fills", "quotes")],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("markouts"),
)
def markouts(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult:
    """What the market did 1 s to 30 min after each fill: spread captured, adverse selection, what is left after fees.

    A row is a fill and a horizon. A fill belongs to the day in which its half hour ended, so that each day is whole
    when it is made. The tables show means in basis points, weighted by the root of value, with 95 % intervals that
    count the fills of one parent order as one observation. Beside them: how likely a resting order was filled in time.
    """
    from research_to_prod.attribution.fill_probability import kaplan_meier, resting_orders
    from research_to_prod.attribution.markouts import maker_toxicity, markout_curve, markouts_of_fills

    day = context.partition_key
    records = read_records(lake, day, "orders", "fills")
    orders, fills = records.tables
    rows = markouts_of_fills(day, fills, records.quotes)
    return publish(
        lake,
        "markouts",
        day,
        rows,
        read=records.read,
        markout_curve=table_preview(markout_curve(rows)),
        maker_toxicity=table_preview(maker_toxicity(rows)),
        fill_probability=table_preview(kaplan_meier(*resting_orders(orders, fills)).table),
    )
