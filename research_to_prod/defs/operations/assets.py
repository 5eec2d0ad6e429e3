"""Where the desk's records and the venue's disagree."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import table_preview
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake


@dg.asset(
    partitions_def=DAYS,
    group_name="operations",
    owners=["team:operations"],
    kinds={"python"},
    code_version="1",
    metadata=described("breaks"),
)
def breaks(
    context: dg.AssetExecutionContext,
    fills: pa.Table,
    venue_fills: pa.Table,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """One disagreement between the desk's fills and the venue's, with its class, its money and its evidence.

    Three answers: present, absent with proof, unknown. A fill is called missing at the venue only where the fetch is
    certified complete.
    """
    from research_to_prod.operations.contracts import BREAKS
    from research_to_prod.operations.reconciliation import reconcile_fills

    day = context.partition_key
    proofs = lake.read("fetch_certificates", f"venue_fills-{day}").rows.to_pylist()
    parts = [BREAKS.empty()]
    for venue in sorted(set(fills["venue"].to_pylist()) | {proof["venue"] for proof in proofs}):
        mine = [proof for proof in proofs if proof["venue"] == venue]
        complete = {proof["scope"]: bool(proof["complete"]) for proof in mine}
        # The venue's clock when its first fetch began: nothing younger is known to be in all answers.
        known_to = min((proof["venue_clock_before"] for proof in mine if proof["venue_clock_before"]), default=clock())
        ours, theirs = (rows.filter(pc.equal(rows["venue"], venue)) for rows in (fills, venue_fills))
        parts.append(reconcile_fills(ours, theirs, complete, known_to, venue=venue, day=day))
    rows = pa.concat_tables(parts)
    return dg.MaterializeResult(
        value=rows,
        metadata={
            "breaks": rows.num_rows,
            "internal_fills": fills.num_rows,
            "venue_fills": venue_fills.num_rows,
            "money_at_stake": float(sum(each or 0 for each in rows["money"].to_pylist())),
            "preview": table_preview(rows),
        },
    )
