"""The desk's own records of a day, and the venue's."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.execution.checks import QUOTES_CHECKS, judge_quotes
from research_to_prod.defs.partitions import DAYS, UNIVERSE_FILE
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.resources import Venues
from research_to_prod.defs.tables import described
from research_to_prod.execution.contracts import INBOX_KINDS, REQUIRED_KINDS, VENUE_RECORDS
from research_to_prod.lake import Lake
from research_to_prod.market_data.universe import Universe
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.execution.account_reading import Reading

QUARANTINE = "inbox_quarantine"
ACCOUNT_READ = "the_account_was_read_completely"
_MEANING = {
    "decisions": "One decision of a strategy, also unsent ones and why. Without it there is no delay cost.",
    "orders": "One parent order: what was to be traded, when it was sent, acknowledged and ended.",
    "fills": "One execution as the desk recorded it, with the venue's trade id, both clocks, fee and liquidity.",
    "quotes": "One best bid and ask around the desk's trading, on the venue's clock and on ours.",
    "order_events": "One step of a child order: live, filled, cancelled, refused. Without it there is no latency.",
    "positions": "What the desk's systems believed each strategy to hold, to be compared with the venue.",
    "ledger_entries": "One movement of money in the desk's accounts: what every result must add up to.",
    "shadow_pnl": "What the model would have held and earned, where the desk computes its own model's side.",
    "fee_schedules": "The fees that the venue asked for each market: what tells a rate from a mix.",
}


def _delivered(kind: str) -> dg.AssetsDefinition:
    required = kind in REQUIRED_KINDS
    absent = "a missing file is an error" if required else "a missing file leaves questions open"

    @dg.asset(
        name=kind,
        partitions_def=DAYS,
        group_name="execution",
        owners=["team:trading"],
        kinds={"parquet"},
        code_version="1",
        metadata=described(kind),
        check_specs=QUOTES_CHECKS if kind == "quotes" else (),
        description=(
            f"{_MEANING[kind]} Read from the desk's inbox, where {absent} and an empty day is a file without rows; "
            "rows that do not fit are quarantined with a reason."
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
    "venue_fills": "One execution as the venue recorded it, fetched by trade id.",
    "venue_orders": "One order as the venue recorded it, whoever sent it, fetched by order id.",
    "venue_balances": "What a wallet held at the day's beginning and at its end, by the venue's own statement.",
    "venue_positions": "What was held of a contract at the day's beginning and at its end, by the venue's statement.",
    "venue_income": "What moved the wallets besides trades: funding, realized profit, deposits, withdrawals.",
    "venue_fees": "The fee rates of the account in each market, as the venue stated them at the reading.",
}


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            name,
            description=(
                f"{meaning} Read with the account's keys for every market that the desk follows, ever traded or holds, "
                "exact decimals, each fetch with its completeness certificate: only with it may a record be called "
                "missing."
            ),
            metadata=described(name),
            kinds={"ccxt"},
            group_name="execution",
            owners=["team:trading"],
            code_version="2",
        )
        for name, meaning in _VENUE_MEANING.items()
    ],
    partitions_def=DAYS,
    check_specs=[
        dg.AssetCheckSpec(
            ACCOUNT_READ,
            asset="venue_fills",
            partitions_def=DAYS,
            description=(
                "Everything was read, and fills were the same before and after the rest. It blocks nothing: what was "
                "not read is unknown to the reconciliation, never absent."
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
    """Return what each venue's account says of a day, or of its part that is over."""
    from research_to_prod.execution.account_reading import known_symbols, read_account

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    traded = lake.sql("SELECT DISTINCT venue, symbol FROM fills") if "fills" in lake.tables() else None
    readings = []
    for name, symbols in known_symbols(universe, traded).items():
        client = venues.client(universe.venue(name))
        readings.append(read_account(client, symbols, day, client.clock()))
    return readings


def _was_complete(lake: Lake, table: str, day: str) -> bool:
    """Tell whether the last reading of a table was complete."""
    proofs = lake.read("fetch_certificates", f"{table}-{day}").rows["complete"].to_pylist()
    return bool(proofs) and all(proofs)
