"""The desk's own records of a day, and the venue's."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.execution.checks import QUOTES_CHECKS, judge_quotes
from research_to_prod.defs.partitions import DAYS, UNIVERSE_FILE
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.resources import Venues
from research_to_prod.defs.tables import described
from research_to_prod.execution.contracts import INBOX_KINDS, REQUIRED_KINDS
from research_to_prod.lake import Lake
from research_to_prod.market_data.universe import Universe
from research_to_prod.settings import Settings

QUARANTINE = "inbox_quarantine"
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


@dg.asset(
    partitions_def=DAYS,
    group_name="execution",
    owners=["team:trading"],
    kinds={"ccxt"},
    code_version="1",
    metadata=described("venue_fills"),
)
def venue_fills(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
) -> dg.MaterializeResult:
    """One execution as the venue recorded it, for every market of the universe on that day.

    Fetched with the account's keys by trade id, exact decimals, one completeness certificate a market: only with it
    may a fill be called missing.
    """
    from research_to_prod.defs.market_data.assets import keep_certificates
    from research_to_prod.execution.contracts import VENUE_FILLS
    from research_to_prod.execution.venue_records import venue_fills_table
    from research_to_prod.values import day_bounds

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    start, end = day_bounds(context.partition_key)
    parts, certificates = [VENUE_FILLS.empty()], []
    # A venue that is known by vendor files alone has no account to ask: what it would say stays unknown.
    asked = {each.name for each in universe.venues}
    for name, symbol in sorted({(each.venue, each.symbol) for each in universe.markets if each.venue in asked}):
        fetched = venues.client(universe.venue(name)).my_trades(symbol, start, end)
        parts.append(venue_fills_table(fetched.rows, name, fetched.certificate.fetch_id))
        certificates.append(fetched.certificate)
    shown = keep_certificates(lake, "venue_fills", context.partition_key, tuple(certificates))
    return publish(lake, "venue_fills", context.partition_key, pa.concat_tables(parts), certificates=shown)
