"""What each parent order cost, and why; what the market did after each fill."""

import dagster as dg

from research_to_prod.defs.attribution.records import TWO_DAYS, read_records
from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import publish
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
