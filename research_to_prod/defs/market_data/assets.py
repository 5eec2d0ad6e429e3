"""Market data: bars as sent, bars that can be believed, what was refused, funding, and the quality of each month."""

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import dagster as dg

from research_to_prod.defs.market_data.checks import (
    CANDLES_CHECKS,
    FUNDING_CHECKS,
    QUALITY_CHECKS,
    judge_candles,
    judge_funding,
    judge_quality,
)
from research_to_prod.defs.partitions import MONTHS, UNIVERSE_FILE
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.resources import Venues
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.market_data.certificates import Certificate
from research_to_prod.market_data.universe import Universe
from research_to_prod.settings import Settings

CERTIFICATES = "fetch_certificates"
QUALITY_POLICY_FILE = "market_quality.yaml"


@dg.asset(
    partitions_def=MONTHS,
    group_name="market_data",
    owners=["team:data"],
    kinds={"ccxt"},
    code_version="1",
    metadata=described("raw_candles"),
)
def raw_candles(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """Bars exactly as the venues sent them, defects and all, with fetch id and page.

    One row is one bar of one answer; duplicates and broken rows are kept here. Each fetch leaves a completeness
    certificate in the table ``fetch_certificates``. The running month is topped up from its last certified bar. A
    fetch that cannot prove that it saw everything fails, and the month stays as it was.
    """
    from research_to_prod.defs.market_data.sources import existing_month, open_sources
    from research_to_prod.market_data.ingest import fetch_month
    from research_to_prod.market_data.progress import show_progress

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    month = context.partition_key
    with show_progress(f"candles {month}", context.log, sys.stderr) as progress:
        fetched = fetch_month(
            universe.markets,
            month,
            open_sources(universe, settings, venues),
            clock(),
            existing_month(lake, "raw_candles", month),
            progress,
        )
    certificates = keep_certificates(lake, "raw_candles", month, fetched.certificates)
    return publish(lake, "raw_candles", month, fetched.rows, certificates=certificates)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "candles",
            deps=[raw_candles],
            description=(
                "Validated bars: stamped by their open in UTC, on the grid, ordered, unique by venue, symbol, "
                "timeframe and time. Everything downstream reads these. Rows that break the contract of bars are in "
                "candle_quarantine, never here."
            ),
            metadata=described("candles"),
            kinds={"pandera"},
            group_name="market_data",
            owners=["team:data"],
            code_version="1",
        ),
        dg.AssetSpec(
            "candle_quarantine",
            deps=[raw_candles],
            description=(
                "Every raw row that did not become a candle, whole, with the rules that it broke: nothing is lost. "
                "Conflicting duplicates are all here, because nobody can say which one is true."
            ),
            metadata=described("candle_quarantine"),
            kinds={"pandera"},
            group_name="market_data",
            owners=["team:data"],
            code_version="1",
        ),
    ],
    check_specs=CANDLES_CHECKS,
    partitions_def=MONTHS,
)
def validated_candles(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Judge each raw row by the contract of bars."""
    from research_to_prod.market_data.quarantine import split

    month = context.partition_key
    raw = lake.read("raw_candles", month)
    judged = split(raw.rows)
    yield publish(lake, "candles", month, judged.accepted, read=[raw])
    yield publish(lake, "candle_quarantine", month, judged.rejected, read=[raw], preview=table_preview(judged.rejected))
    yield from judge_candles(lake, month)


@dg.asset(
    partitions_def=MONTHS,
    group_name="market_data",
    owners=["team:data"],
    kinds={"ccxt"},
    code_version="1",
    metadata=described("funding_rates"),
    check_specs=FUNDING_CHECKS,
)
def funding_rates(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """One funding payment of one perpetual: what a long pays, as a fraction of notional.

    Booked by its time against the position then held. Two different rates for one time fail the month.
    """
    from research_to_prod.defs.market_data.sources import open_sources
    from research_to_prod.market_data.ingest import fetch_funding

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    month = context.partition_key
    fetched = fetch_funding(universe.markets, month, open_sources(universe, settings, venues), clock())
    certificates = keep_certificates(lake, "funding_rates", month, fetched.certificates)
    yield publish(lake, "funding_rates", month, fetched.rows, certificates=certificates)
    yield from judge_funding(lake, month)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "market_quality",
            deps=["candles", "candle_quarantine"],
            description=(
                "How far one month of one market can be believed: completeness, named gaps, duplicates, stale runs, "
                "outliers. The data-quality gate adds these rows up over a candidate's window. A gap is named by its "
                "first missing bar and its length; a bar that no certificate covers is unknown, never absent."
            ),
            metadata=described("market_quality"),
            kinds={"numpy"},
            group_name="market_data",
            owners=["team:data"],
            code_version="2",
        ),
        dg.AssetSpec(
            "market_findings",
            deps=["raw_candles", "candles", "candle_quarantine"],
            description=(
                "Reasons to doubt one month of one market: what, where, how sure, and what it costs to use the data "
                "anyway. The data-quality gate refuses a candidate whose markets have an error-level finding that no "
                "declared repair settles. A month without findings has no rows."
            ),
            metadata=described("market_findings"),
            kinds={"numpy"},
            group_name="market_data",
            owners=["team:data"],
            code_version="1",
        ),
    ],
    check_specs=QUALITY_CHECKS,
    partitions_def=MONTHS,
)
def examined_markets(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Measure each market's month, and hold it against the rules of data quality."""
    from research_to_prod.defs.market_data.findings_shown import shown
    from research_to_prod.defs.market_data.sources import certificates_of, fetched_until
    from research_to_prod.market_data.examination import examine
    from research_to_prod.market_data.findings import findings_table
    from research_to_prod.market_data.quality import profile
    from research_to_prod.market_data.quality_policy import load_quality_policy
    from research_to_prod.market_data.series import read_series

    month, markets = context.partition_key, Universe.load(settings.desk / UNIVERSE_FILE).markets
    policy = load_quality_policy(settings.desk / "policies" / QUALITY_POLICY_FILE)
    raw, candles, quarantine = (lake.read(name, month) for name in ("raw_candles", "candles", "candle_quarantine"))
    certificates = certificates_of(lake, "raw_candles", month)
    as_of = fetched_until(certificates, clock())
    series = read_series(candles.rows, markets, month, as_of)

    quality = profile(series, quarantine.rows, month, certificates, policy)
    columns = ["symbol", "timeframe", "completeness", "missing_bars", "gap_runs", "longest_gap_bars", "gaps"]
    missing = sum(quality.column("missing_bars").to_pylist())
    table = table_preview(quality.select(columns))
    read = [candles, quarantine]
    yield publish(lake, "market_quality", month, quality, read=read, missing_bars=missing, profile=table)

    findings = examine(series, raw.rows, quarantine.rows, month, as_of, certificates, policy)
    rows = findings_table(findings, month)
    yield publish(lake, "market_findings", month, rows, read=[raw, *read], **shown(findings, series))
    yield from judge_quality(lake, month)


def keep_certificates(lake: Lake, table: str, partition: str, certificates: Sequence[Certificate]) -> dg.MetadataValue:
    """Store the certificates of a fetch and return them for the UI."""
    from research_to_prod.market_data.certificates import certificates_table
    from research_to_prod.market_data.contracts import FETCH_CERTIFICATES

    key = f"{table}-{partition}"
    rows = certificates_table(certificates, key)
    lake.write(CERTIFICATES, key, rows, FETCH_CERTIFICATES)
    return table_preview(rows.select(["venue", "endpoint", "scope", "pages", "rows", "terminal", "fetch_id"]))
