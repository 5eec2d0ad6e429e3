"""Reconciliation at a glance."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from research_to_prod.defs.operations.assets import POLICY_FILE
from research_to_prod.defs.partitions import DAYS
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings


@dg.asset_check(
    asset="breaks",
    partitions_def=DAYS,
    description=(
        "The desk's records and the venue's agree. If it fails, somebody must look: each break has an owner, its money "
        "and its evidence. It warns and blocks nothing."
    ),
)
def records_agree(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Count the open breaks by class."""
    rows = lake.read("breaks", context.partition_key).rows.to_pylist()
    classes = [row["class"] for row in rows if row["status"] == "open"]
    return dg.AssetCheckResult(
        passed=not classes,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={each: classes.count(each) for each in sorted(set(classes))},
    )


@dg.asset_check(
    asset="breaks",
    partitions_def=DAYS,
    description=(
        "No break of any day is open for longer than its severity allows. If it fails, the oldest are named: settle "
        "them, because evidence grows old too. A warning."
    ),
)
def breaks_are_dealt_with_in_time(
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.AssetCheckResult:
    """Name the overdue breaks, the oldest first."""
    from research_to_prod.operations.reconciliation_policy import load_reconciliation_policy
    from research_to_prod.operations.register import overdue

    policy = load_reconciliation_policy(settings.desk / "policies" / POLICY_FILE)
    late = overdue(lake.read("breaks").rows, policy, clock())
    oldest = [f"{row['day']} {row['severity']} {row['class']} {row['symbol']}" for row in late[:10]]
    return dg.AssetCheckResult(
        passed=not late, severity=dg.AssetCheckSeverity.WARN, metadata={"overdue": len(late), "oldest": oldest}
    )


@dg.asset_check(
    asset="postings",
    partitions_def=DAYS,
    blocking=True,
    description=(
        "Every event of the ledger adds up to nothing in each asset: no money appears or vanishes in it. If it fails, "
        "the torn events are named, and no balance that follows from them is to be believed."
    ),
)
def every_event_adds_up(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Name the events that don't."""
    from research_to_prod.operations.ledger import postings_from, unbalanced

    torn = unbalanced(postings_from(lake.read("postings", context.partition_key).rows))
    return dg.AssetCheckResult(
        passed=not torn,
        metadata={"torn": [f"{book} {event} {asset}: {total}" for (book, event, asset), total in torn.items()][:10]},
    )


@dg.asset_check(
    asset="postings",
    partitions_def=DAYS,
    description=(
        "What waits in suspense, over all days, is still no more than dust. If it fails, rounding of one sign has "
        "added up to money: find where it comes from. A warning."
    ),
)
def suspense_is_small(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Value the suspense account at the day's prices."""
    from research_to_prod.operations.conservation import prices_of
    from research_to_prod.operations.daily import unexplained_suspense
    from research_to_prod.operations.reconciliation_policy import exact, load_reconciliation_policy
    from research_to_prod.operations.records import fills_of

    policy = load_reconciliation_policy(settings.desk / "policies" / POLICY_FILE)
    totals = lake.sql("SELECT asset, sum(amount) AS total FROM postings WHERE account = 'suspense' GROUP BY asset")
    waiting = {row["asset"]: row["total"] for row in totals.to_pylist()}
    fills = lake.read("venue_fills", context.partition_key).rows
    prices = prices_of(fills_of(fills, "trade_id", "traded_at"))
    large = unexplained_suspense(waiting, prices, exact(policy.suspense_money))
    return dg.AssetCheckResult(
        passed=not large,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={asset: f"{total:f}" for asset, total in waiting.items() if total},
    )
