"""The day that still runs, compared in the graph: unpartitioned, because its partition exists when it is over."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.execution.assets import read_accounts
from research_to_prod.defs.operations.assets import POLICY_FILE, VENUE_TABLES
from research_to_prod.defs.operations.pictures import breaks_picture
from research_to_prod.defs.operations.posture_sources import PostureSources
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.resources import Venues
from research_to_prod.defs.tables import described
from research_to_prod.execution.contracts import VENUE_RECORDS
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds

if TYPE_CHECKING:
    from research_to_prod.operations.alerting.evaluation import Observation
    from research_to_prod.operations.daily import DayTables

COMPARED = ("fills", "order_events", "ledger_entries", "positions")
NEEDED = ("fills", "positions")
"""Without which nothing says how far the desk has told its day."""
FORCED_FOR = timedelta(hours=1)
"""How long the venue's closing of a position is told: so many looks may fail. All day long would be no news."""


@dg.asset(
    group_name="operations",
    owners=["team:operations"],
    kinds={"python"},
    code_version="1",
    metadata=described("running_breaks"),
)
def running_breaks(
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """The running day as far as the desk has delivered it, against the venue's records, read now.

    - **A row** is one difference, or one thing that could not be compared. Nothing younger than the desk's newest
      statement of positions is judged.
    - **It is for** finding a lost fill within minutes: what it finds is measured for the alerter, and the day's own
      reconciliation goes on with the same breaks when it is over.
    - **It breaks** when the desk has delivered no fills or no positions of the day. What the venue does not answer is
      unknown, never missing.
    """
    from research_to_prod.market_data.certificates import certificates_table
    from research_to_prod.operations.daily import DayTables
    from research_to_prod.operations.readings import Measured, Readings
    from research_to_prod.operations.reconciliation_policy import load_reconciliation_policy
    from research_to_prod.operations.running_day import compare_running

    day = f"{clock():%Y-%m-%d}"
    desk = _delivered(settings, day)
    accounts = read_accounts(lake, settings, venues, day)
    venue = {name: pa.concat_tables([each.tables[name] for each in accounts]) for name in VENUE_RECORDS}
    proofs = {
        name: certificates_table([proof for each in accounts for proof in each.certificates[name]], f"{name}-{day}")
        for name in VENUE_TABLES
    }
    policy = load_reconciliation_policy(settings.desk / "policies" / POLICY_FILE)
    now = clock()
    tables = DayTables(desk, {name: venue[name] for name in VENUE_TABLES}, proofs)
    rows = compare_running(tables, _before(lake, day), day, policy, now)
    found = _observed(lake, settings, day, tables, venue, rows, now)
    Readings(settings.operations).add(map(Measured.of, found), now)
    return publish(
        lake,
        "running_breaks",
        day,
        rows,
        not_read=[problem for each in accounts for problem in each.problems],
        **breaks_picture(rows),
        preview=table_preview(rows.drop_columns(["evidence_ids"])),
    )


def _delivered(settings: Settings, day: str) -> dict[str, pa.Table]:
    """Return what the desk has delivered of the day, by its kind."""
    from research_to_prod.execution.inbox import MissingDeliveryError, read_inbox

    desk: dict[str, pa.Table] = {}
    for kind in COMPARED:
        try:
            desk[kind] = read_inbox(settings.inbox, kind, day).rows
        except MissingDeliveryError as error:
            if kind in NEEDED:
                raise dg.Failure(str(error), allow_retries=False) from error
    return desk


def _before(lake: Lake, day: str) -> pa.Table:
    """Return the breaks that go on: those of yesterday that are carried over, and those of the last look."""
    from research_to_prod.operations.contracts import BREAKS
    from research_to_prod.operations.register import carried

    yesterday = f"{datetime.fromisoformat(day) - timedelta(days=1):%Y-%m-%d}"
    before = [BREAKS.empty()]
    if lake.has("breaks", yesterday):
        before.append(carried(lake.read("breaks", yesterday).rows))
    if lake.has("running_breaks", day):
        before.append(lake.read("running_breaks", day).rows)
    return pa.concat_tables(before)


def _observed(
    lake: Lake,
    settings: Settings,
    day: str,
    compared: "DayTables",
    venue: Mapping[str, pa.Table],
    breaks: pa.Table,
    now: datetime,
) -> "list[Observation]":
    """Return what the comparison, the account and the desk's orders say to the alerter's rules."""
    from research_to_prod.gates.capital import load_allocation
    from research_to_prod.operations.alerting.accounts import Accounts
    from research_to_prod.operations.alerting.record_measures import observe_records
    from research_to_prod.operations.alerting.rules import load_objectives
    from research_to_prod.operations.alerting.running_orders import observe_running
    from research_to_prod.operations.running_day import told_to

    desk, start = compared.desk, day_bounds(day)[0]
    told = told_to(desk["positions"])
    allocation = load_allocation(settings.desk / "capital" / "allocation.yaml")
    known = Accounts(
        since=start,
        told_to=told or start,
        forced_since=now - FORCED_FOR,
        breaks=breaks,
        venue=venue,
        certificates=compared.certificates,
        recorded=frozenset(desk),
        fills=desk["fills"],
        positions=desk["positions"],
        capital=allocation.book_capital.value,
        currency=allocation.currency,
        deviations=PostureSources(lake, settings, now).context().hour_deviations,
    )
    found = [*observe_records(known, now)]
    if told is not None and "order_events" in desk:
        found += observe_running(desk["order_events"], load_objectives(settings.desk / "alerts"), min(told, now))
    return found
