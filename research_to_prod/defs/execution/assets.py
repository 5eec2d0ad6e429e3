"""The desk's own records of a day, and the venue's."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.execution.checks import QUOTES_CHECKS, judge_quotes
from research_to_prod.defs.partitions import DAYS, UNIVERSE_FILE
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.resources import Venues
from research_to_prod.defs.tables import about, described
from research_to_prod.execution.contracts import INBOX_KINDS, REQUIRED_KINDS, VENUE_RECORDS
from research_to_prod.lake import Lake
from research_to_prod.market_data.universe import Universe
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.execution.account_reading import Reading

QUARANTINE = "inbox_quarantine"
ACCOUNT_READ = "the_account_was_read_completely"
_MEANING = {
    "decisions": (
        "What the strategies decided.",
        "one decision of a strategy to trade or not to trade; also one that was not sent, and why.",
        "the price and the time against which an order is measured: without it there is no delay cost.",
    ),
    "orders": (
        "What the desk set out to trade.",
        "one parent order: what was to be traded, when it was sent, acknowledged and ended.",
        "the cost of each order as a whole, whatever it was split into.",
    ),
    "fills": (
        "What the desk recorded as executed.",
        "one execution, with the venue's trade id, both clocks, fee and liquidity.",
        "costs, live P&L, and the comparison with the venue's own record of the same trade.",
    ),
    "quotes": (
        "Best bids and asks around the desk's trading: the yardstick of every cost.",
        "one best bid and ask, on the venue's clock and on ours.",
        "the mid that a decision, an arrival and a fill are held against.",
    ),
    "order_events": (
        "What happened to the child orders.",
        "one step of a child order: sent, live, filled, cancelled, refused.",
        "latency, the queue, and orders that the venue refused: without it there is no latency.",
    ),
    "positions": (
        "What the desk's systems believed each strategy to hold.",
        "one strategy in one market at one instant; a flat market is a row of zero.",
        "the comparison with what the venue says is held, and for exposure.",
    ),
    "ledger_entries": (
        "Movements of money in the desk's accounts.",
        "one movement, with its reason and what caused it.",
        "the double-entry ledger: what every result must add up to.",
    ),
    "shadow_pnl": (
        "The model's side, where the desk computes it itself.",
        "what the model would have held and earned in one period.",
        "comparing the desk's own model with the one that is run again here.",
    ),
    "fee_schedules": (
        "The fees that the venue asked.",
        "the maker's and the taker's rate of one market at one instant.",
        "telling a dearer rate from a worse mix of makers and takers.",
    ),
}
"""Kind -> what it is, what a row is, what it is for."""


def _delivered(kind: str) -> dg.AssetsDefinition:
    required = kind in REQUIRED_KINDS
    summary, row, use = _MEANING[kind]
    absent = (
        "when the day's file is missing or can't be read; an empty day is a file without rows."
        if required
        else "when the day's file can't be read. A missing one leaves questions open, which the desk report names."
    )

    @dg.asset(
        name=kind,
        partitions_def=DAYS,
        group_name="execution",
        owners=["team:trading"],
        kinds={"parquet"},
        code_version="1",
        metadata=described(kind),
        check_specs=QUOTES_CHECKS if kind == "quotes" else (),
        description=about(
            f"{summary} Read from the desk's inbox.",
            row=row,
            use=use,
            breaks=f"{absent} A row that does not fit is quarantined with a reason.",
        ),
    )
    def read(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        from research_to_prod.execution.inbox import MissingDeliveryError, read_inbox
        from research_to_prod.execution.quarantine_table import INBOX_QUARANTINE, quarantine_rows
        from research_to_prod.reports.questions import unanswered

        day = context.partition_key
        try:
            delivery = read_inbox(settings.inbox, kind, day)
        except MissingDeliveryError as error:
            # What was delivered once is not taken back by deleting its file.
            if required or lake.has(kind, day):
                raise
            # Materialized all the same: Dagster would skip whatever depends on it, the report included.
            context.log.warning(str(error))
            questions = [each.question for each in unanswered(()) if each.missing_input == kind]
            yield dg.MaterializeResult(asset_key=kind, metadata={"delivered": False, "open_questions": questions})
            return
        lake.write(QUARANTINE, f"{kind}-{day}", quarantine_rows(delivery, kind, day), INBOX_QUARANTINE)
        yield publish(
            lake,
            kind,
            day,
            delivery.rows,
            files=dg.MetadataValue.json([{"name": each.name, "sha256": each.sha256} for each in delivery.files]),
            quarantined_rows=delivery.quarantined.num_rows,
            repeated_rows=delivery.repeated_rows,
            superseded_rows=delivery.superseded_rows,
            quarantined=table_preview(delivery.quarantined),
        )
        if kind == "quotes":
            yield judge_quotes(lake, day)

    return read


decisions, orders, fills, quotes, order_events, positions, ledger_entries, shadow_pnl, fee_schedules = (
    _delivered(kind) for kind in INBOX_KINDS
)


_VENUE_MEANING = {
    "venue_fills": (
        "What the venue says was executed.",
        "one execution, fetched by trade id.",
        "proving the desk's own fills: one that only one side knows is a break.",
    ),
    "venue_orders": (
        "What the venue says was ordered, whoever sent it.",
        "one order, fetched by order id.",
        "finding orders that nobody here knows of.",
    ),
    "venue_balances": (
        "What the venue says the wallets held.",
        "one asset of a wallet at the day's beginning or at its end; what has no row is zero.",
        "closing the books: opening, movements and closing must agree.",
    ),
    "venue_positions": (
        "What the venue says was held of contracts.",
        "one contract at the day's beginning or at its end; a flat market has no row.",
        "the comparison with what the desk believed to hold.",
    ),
    "venue_income": (
        "What moved the wallets besides trades.",
        "one movement: funding, realized profit, deposit, withdrawal.",
        "finding payments that the desk's books lack, and withdrawals that nobody ordered.",
    ),
    "venue_fees": (
        "The fee rates of the account.",
        "one market's maker and taker rate, as the venue stated them at the reading.",
        "telling a fee that was charged wrongly from one that the desk assumed wrongly.",
    ),
}
"""Table -> what it is, what a row is, what it is for."""


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            name,
            description=about(
                f"{summary} Read with the account's keys, for every market that the desk follows, ever traded or "
                "holds, in exact decimals.",
                row=row,
                use=use,
                breaks="when the account's fills can't be read. What else the venue does not answer is unknown: each "
                "fetch has its completeness certificate, and only with it may a record be called missing.",
            ),
            metadata=described(name),
            kinds={"ccxt"},
            group_name="execution",
            owners=["team:trading"],
            code_version="2",
        )
        for name, (summary, row, use) in _VENUE_MEANING.items()
    ],
    partitions_def=DAYS,
    check_specs=[
        dg.AssetCheckSpec(
            ACCOUNT_READ,
            asset="venue_fills",
            partitions_def=DAYS,
            description=(
                "Everything was read, and fills were the same before and after the rest. If it fails, what was not "
                "read is unknown to the reconciliation, never absent; materialize the day's records again. It blocks "
                "nothing."
            ),
        )
    ],
)
def venue_records(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Read each account: fills, orders, payments, holdings, and the fills again.

    What was read completely once is not replaced by a reading that is not.
    """
    from research_to_prod.defs.market_data.assets import keep_certificates

    day = context.partition_key
    readings = read_accounts(lake, settings, venues, day)
    problems = [problem for reading in readings for problem in reading.problems]
    for table in _VENUE_MEANING:
        certificates = [each for reading in readings for each in reading.certificates[table]]
        whole = all(each.complete for each in certificates)
        if not whole and lake.has(table, day) and _was_complete(lake, table, day):
            yield dg.MaterializeResult(asset_key=table, metadata={"kept": "this reading was not complete"})
            continue
        rows = pa.concat_tables([VENUE_RECORDS[table].empty(), *(reading.tables[table] for reading in readings)])
        shown = keep_certificates(lake, table, day, certificates)
        yield publish(lake, table, day, rows, certificates=shown)
    yield dg.AssetCheckResult(
        asset_key="venue_fills",
        check_name=ACCOUNT_READ,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"problems": problems},
    )


def read_accounts(lake: Lake, settings: Settings, venues: Venues, day: str) -> "list[Reading]":
    """Return what each venue's account says of a day, or of its part that is over.

    What the requests came back as is written down for the alerter, also of a reading that failed.
    """
    from research_to_prod.execution.account_reading import known_symbols, read_account
    from research_to_prod.operations.traffic_log import TrafficLog, reading_of

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    traded = lake.sql("SELECT DISTINCT venue, symbol FROM fills") if "fills" in lake.tables() else None
    readings = []
    for name, symbols in known_symbols(universe, traded).items():
        client, reading = venues.client(universe.venue(name)), None
        try:
            reading = read_account(client, symbols, day, client.clock())
            readings.append(reading)
        finally:
            TrafficLog(settings.operations).add(reading_of(client.heard, reading))
    return readings


def _was_complete(lake: Lake, table: str, day: str) -> bool:
    """Tell whether the last reading of a table was complete."""
    proofs = lake.read("fetch_certificates", f"{table}-{day}").rows["complete"].to_pylist()
    return bool(proofs) and all(proofs)
