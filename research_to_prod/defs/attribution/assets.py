"""What each parent order cost, and why."""

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.tables import described


@dg.asset(
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("slippage"),
)
def slippage(decisions: pa.Table, orders: pa.Table, fills: pa.Table, quotes: pa.Table) -> dg.MaterializeResult:
    """The implementation shortfall of each parent order by component: delay, timing, spread, impact, fees, opportunity.

    Cost is positive, in quote currency; the components add up to Perold's total to 1e-9. An order whose quotes are
    missing or too old is excluded with a reason, never counted as free.
    """
    from research_to_prod.attribution.parent_orders import slippage_of_orders

    rows = slippage_of_orders(decisions, orders, fills, quotes)
    counted = rows.filter(rows["excluded_reason"].is_null())
    return dg.MaterializeResult(
        value=rows,
        metadata={
            "orders": rows.num_rows,
            "excluded": rows.num_rows - counted.num_rows,
            "total_cost": float(sum(counted["total"].to_pylist())),
        },
    )
