"""Where the desk's records and the venue's disagree."""

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
    context: dg.AssetExecutionContext, fills: pa.Table, venue_fills: pa.Table, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """One disagreement between the desk's fills and the venue's, with its class, its money and its evidence.

    Three answers: present, absent with proof, unknown. A fill is called missing at the venue only where the fetch is
    certified complete.
    """
    from research_to_prod.lake.schema import TIMESTAMP
    from research_to_prod.operations.contracts import BREAKS
    from research_to_prod.operations.reconciliation import reconcile_fills

    day = context.partition_key
    proofs = lake.read("fetch_certificates", f"venue_fills-{day}").rows.to_pylist()
    parts = [BREAKS.empty()]
    names = set(fills["venue"].to_pylist()) | {proof["venue"] for proof in proofs}
    for venue in sorted(names):
        complete = {proof["scope"]: bool(proof["complete"]) for proof in proofs if proof["venue"] == venue}
        seen: list[datetime] = [proof["venue_clock_before"] for proof in proofs if proof["venue"] == venue]
        ours, theirs = (rows.filter(pc.equal(rows["venue"], venue)) for rows in (fills, venue_fills))
        as_of = min(seen) if seen else pc.max(ours["filled_at"].cast(TIMESTAMP)).as_py()
        parts.append(reconcile_fills(ours, theirs, complete, as_of, venue=venue, day=day))
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
