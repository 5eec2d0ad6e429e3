"""The kill switch, drilled every night on the sandbox."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

MARKETS = ("BTC/USDT", "ETH/USDT:USDT")
"""One of each host of the peer; the peer's account holds the perpetual."""


@dg.asset(
    partitions_def=DAYS,
    group_name="controls",
    owners=["team:operations"],
    kinds={"ccxt"},
    code_version="1",
    metadata=described("kill_drill"),
)
def kill_drill(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """The kill switch, drilled on a sandbox of its own, through ccxt. No venue of the desk is touched.

    - **A row** is one step, with whether it worked and how long it took: orders that rest are cancelled and none is
      left; an order that would increase a position is refused and one that reduces is taken; silence cancels at the
      venue; a manifest under a halt lets nothing trade.
    - **It is for** the way to money, which asks for a drill of the last day, and for whoever would have to pull it.
    - **It breaks** when the sandbox does not start or the ledger does not verify; a step that did not work is a row,
      and fails a check.
    """
    from research_to_prod.defs.gates.judgement import verified_ledger
    from research_to_prod.defs.resources import open_drill_venue
    from research_to_prod.operations.kill_drill import drill, drill_table

    day = context.partition_key
    ledger = verified_ledger(settings)
    with open_drill_venue() as orders:
        steps = drill(orders, MARKETS, () if ledger is None else ledger.records(), clock)
    rows = drill_table(day, orders.name, steps, clock())
    times = {each.step: each.milliseconds for each in steps}
    return publish(
        lake,
        "kill_drill",
        day,
        rows,
        steps=len(steps),
        failed=[f"{each.step} {each.symbol}: {each.detail}" for each in steps if not each.passed] or "none",
        ms_to_cancel_everything=times["everything_is_cancelled"],
        preview=table_preview(rows.drop_columns(["day", "venue", "drilled_at"])),
    )


@dg.asset_check(
    asset=kill_drill,
    blocking=True,
    partitions_def=DAYS,
    description=(
        "Every step of the drill worked. If it fails, the kill switch is a belief: nothing goes to money before a "
        "drill that works, and what is there is held back by hand."
    ),
)
def kills_everything(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Read the drill back; require each of its steps, and that there were some."""
    rows = lake.read("kill_drill", context.partition_key).rows.to_pylist()
    failed = [f"{each['step']} {each['symbol']}: {each['detail']}" for each in rows if not each["passed"]]
    return dg.AssetCheckResult(
        passed=bool(rows) and not failed, metadata={"steps": len(rows), "failed": failed or "none"}
    )
