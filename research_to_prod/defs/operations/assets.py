"""Where the desk's records and the venue's disagree, and the ledger that both are posted to."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.operations.pictures import breaks_picture
from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.tables import about, described
from research_to_prod.execution.contracts import VENUE_RECORDS
from research_to_prod.lake import Lake
from research_to_prod.lake.lake import Snapshot
from research_to_prod.settings import Settings

POLICY_FILE = "reconciliation.yaml"
# Rates say what is asked, not what happened.
VENUE_TABLES = tuple(name for name in VENUE_RECORDS if name != "venue_fees")
_DESK_TABLES = ("fills", "order_events", "ledger_entries", "positions")


def _spec(name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=[*_DESK_TABLES, *VENUE_TABLES],
        description=description,
        metadata=described(name),
        kinds={"python"},
        group_name="operations",
        owners=["team:operations"],
        code_version="2",
    )


@dg.multi_asset(
    specs=[
        _spec(
            "breaks",
            about(
                "The register of disagreements between the desk's records and the venue's.",
                row="one difference in fills, orders, payments, positions or balances, or one thing that could not be "
                "compared: its class, its money, its age, its owner and its evidence. It keeps its id at every look, "
                "and ends when the evidence clears it.",
                use="whoever has to ask the venue, or correct a book. Three answers: present, absent with proof, "
                "unknown; nothing is called missing where the fetch is not certified complete.",
                breaks="when the desk's fills or the venue's are not made; what else was not delivered is not "
                "compared, and said so.",
            ),
        ),
        _spec(
            "postings",
            about(
                "The double-entry ledger of the day, the desk's book and the venue's.",
                row="one leg of a fill, fee, payment or transfer; the legs of an event add up to nothing in each "
                "asset. Correcting entries of dust and rounding stand against suspense.",
                use="telling what an account must hold, and that no money appears or vanishes on the way.",
                breaks="with breaks, which are made in the same step; an event that does not add up fails a check.",
            ),
        ),
    ],
    partitions_def=DAYS,
)
def reconciliation(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> Iterator[dg.MaterializeResult]:
    """Compare everything, and post it."""
    from research_to_prod.operations.contracts import BREAKS
    from research_to_prod.operations.daily import DayTables, reconcile_day
    from research_to_prod.operations.reconciliation_policy import load_reconciliation_policy
    from research_to_prod.operations.register import carried

    day = context.partition_key
    desk = {name: lake.read(name, day) for name in _DESK_TABLES if name == "fills" or lake.has(name, day)}
    venue = {name: lake.read(name, day) for name in VENUE_TABLES if name == "venue_fills" or lake.has(name, day)}
    proofs = {name: lake.read("fetch_certificates", f"{name}-{day}") for name in venue}
    tables = DayTables(*({name: each.rows for name, each in found.items()} for found in (desk, venue, proofs)))
    before = [BREAKS.empty()]
    day_before = f"{datetime.fromisoformat(day) - timedelta(days=1):%Y-%m-%d}"
    if lake.has("breaks", day_before):
        before.append(carried(lake.read("breaks", day_before).rows))
    # Breaks that were seen while the day ran keep their first sight.
    last_look = next((name for name in ("breaks", "running_breaks") if lake.has(name, day)), None)
    if last_look is not None:
        before.append(lake.read(last_look, day).rows)
    policy = load_reconciliation_policy(settings.desk / "policies" / POLICY_FILE)
    done = reconcile_day(tables, pa.concat_tables(before), day, policy, clock())
    read: tuple[Snapshot, ...] = (*desk.values(), *venue.values(), *proofs.values())
    open_rows = [row for row in done.breaks.to_pylist() if row["status"] == "open"]
    yield publish(
        lake,
        "breaks",
        day,
        done.breaks,
        read=read,
        breaks=len(open_rows),
        resolved=done.breaks.num_rows - len(open_rows),
        internal_fills=tables.desk["fills"].num_rows,
        venue_fills=tables.venue["venue_fills"].num_rows,
        money_at_stake=float(sum(row["money"] or 0 for row in open_rows)),
        not_compared=tables.not_compared,
        **breaks_picture(done.breaks),
        preview=table_preview(done.breaks.drop_columns(["evidence_ids"])),
    )
    yield publish(lake, "postings", day, done.postings, read=read, preview=table_preview(done.postings))
