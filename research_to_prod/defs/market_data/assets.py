"""Market data: bars as sent, repairs, bars that can be believed, what was refused, funding, quality, public trades."""

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import dagster as dg

from research_to_prod.defs.judged import judge_fetch
from research_to_prod.defs.market_data.checks import (
    CANDLES_CHECKS,
    FUNDING_CHECKS,
    QUALITY_CHECKS,
    RAW_CHECKS,
    TRADES_CHECKS,
    judge_candles,
    judge_funding,
    judge_quality,
    judge_trades,
)
from research_to_prod.defs.partitions import DAYS, MONTHS, UNIVERSE_FILE
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.resources import Venues
from research_to_prod.defs.tables import about, described
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
    check_specs=RAW_CHECKS,
)
def raw_candles(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Bars exactly as the venues sent them, defects and all.

    - **A row** is one bar of one answer, with fetch id and page; duplicates and broken rows are kept here.
    - **It is for** knowing what was sent: candles are made from it, and what they left out is found here.
    - **It breaks** when no market can be fetched. A market whose fetch cannot prove that it saw everything stays as it
      was, and a check names it.

    Each fetch leaves a completeness certificate in the table ``fetch_certificates``. The running month is topped up
    from its last certified bar.
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
    yield publish(lake, "raw_candles", month, fetched.rows, certificates=certificates)
    yield judge_fetch("raw_candles", fetched.failures)


def _validated(name: str, description: str, deps: Sequence[str]) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=deps,
        description=description,
        metadata=described(name),
        kinds={"pandera"},
        group_name="market_data",
        owners=["team:data"],
        code_version="2",
    )


@dg.multi_asset(
    specs=[
        _validated(
            "repairs",
            about(
                "Every declared repair that touches the month. Nothing is repaired without a file in desk/repairs.",
                row="one repair: author, reason, the whole file and its hash, and how many bars it touched.",
                use="seeing who changed what in the data; taking the file away and materializing again gives the "
                "unrepaired month.",
                breaks="when a file of desk/repairs is wrong, names a market that the universe does not have, or "
                "contradicts another; the error lists all of them.",
            ),
            ["raw_candles"],
        ),
        _validated(
            "candles",
            about(
                "Validated bars: on the grid, ordered, unique by venue, symbol, timeframe and time.",
                row="one bar, stamped by its open in UTC; one that a repair filled from another market carries the "
                "repair's id.",
                use="everything downstream: backtests, liquidity, models and alerts read no other bars.",
                breaks="when raw_candles or the declared repairs can't be read. A row that breaks the contract of bars "
                "breaks nothing: it is in candle_quarantine, never here.",
            ),
            ["raw_candles", "repairs"],
        ),
        _validated(
            "candle_quarantine",
            about(
                "Every raw row that did not become a candle: nothing is lost.",
                row="one row as it was sent, whole, with the rules that it broke; one that a repair masked carries its "
                "id.",
                use="asking the venue, or declaring a repair. Conflicting duplicates are all here, because nobody can "
                "say which one is true.",
                breaks="with candles, which are made in the same step; raw rows that are in neither fail a check.",
            ),
            ["raw_candles", "repairs"],
        ),
    ],
    check_specs=CANDLES_CHECKS,
    partitions_def=MONTHS,
)
def validated_candles(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Apply the declared repairs, and judge each raw row by the contract of bars."""
    from research_to_prod.market_data.repairs import apply_repairs, load_repairs

    month = context.partition_key
    declared = load_repairs(settings.desk / "repairs", Universe.load(settings.desk / UNIVERSE_FILE).markets)
    raw = lake.read("raw_candles", month)
    done = apply_repairs(raw.rows, declared, month)
    shown = table_preview(done.log.select(["id", "kind", "author", "reason", "symbol", "start", "end", "bars"]))
    yield publish(lake, "repairs", month, done.log, read=[raw], preview=shown)
    repairs = lake.read("repairs", month)
    yield publish(lake, "candles", month, done.accepted, read=[raw, repairs])
    yield publish(
        lake, "candle_quarantine", month, done.rejected, read=[raw, repairs], preview=table_preview(done.rejected)
    )
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
    """What holders of perpetuals paid each other, payment by payment.

    - **A row** is one funding payment of one perpetual: what a long pays, as a fraction of notional.
    - **It is for** booking funding by its time against the position then held, in backtests and after the trade.
    - **It breaks** when no market can be fetched. A market with two different rates for one time stays as it was, and a
      check names it; a payment that is missing fails another.
    """
    from research_to_prod.defs.market_data.sources import existing_month, open_sources
    from research_to_prod.market_data.ingest import fetch_funding

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    month = context.partition_key
    existing = existing_month(lake, "funding_rates", month)
    fetched = fetch_funding(universe.markets, month, open_sources(universe, settings, venues), clock(), existing)
    certificates = keep_certificates(lake, "funding_rates", month, fetched.certificates)
    yield publish(lake, "funding_rates", month, fetched.rows, certificates=certificates)
    yield from judge_funding(lake, month, fetched.certificates, fetched.failures)


@dg.asset(
    partitions_def=DAYS,
    group_name="market_data",
    owners=["team:data"],
    kinds={"ccxt"},
    code_version="1",
    metadata=described("trades"),
    check_specs=TRADES_CHECKS,
)
def trades(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Public trades of one day, for the markets that ask for them in the universe.

    - **A row** is one trade: price, amount, aggressor. A venue's repetition of an id is dropped, while trades without
      an id are all kept, because two may well be alike.
    - **It is for** saying what the market did around our own orders, on the venue's clock: VWAP, share of volume,
      closes.
    - **It breaks** when no market can be fetched; a day that certificates do not cover whole fails a check.
    """
    from research_to_prod.defs.market_data.sources import existing_month, open_sources, trades_due
    from research_to_prod.market_data.ingest import fetch_trades

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    day, now = context.partition_key, clock()
    existing = existing_month(lake, "trades", day)
    fetched = fetch_trades(universe.markets, day, open_sources(universe, settings, venues), now, existing)
    certificates = keep_certificates(lake, "trades", day, fetched.certificates)
    yield publish(lake, "trades", day, fetched.rows, certificates=certificates)
    yield from judge_trades(lake, day, trades_due(universe, day, fetched), fetched.certificates, fetched.failures)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "market_quality",
            deps=["candles", "candle_quarantine"],
            description=about(
                "How far one month of one market can be believed.",
                row="one market: completeness, named gaps, duplicates, stale runs, outliers. A gap is named by its "
                "first missing bar and its length; a bar that no certificate covers is unknown, never absent.",
                use="the data-quality gate, which adds these rows up over a candidate's window.",
                breaks="when candles of the month are not made, or the policy of data quality can't be read.",
            ),
            metadata=described("market_quality"),
            kinds={"numpy"},
            group_name="market_data",
            owners=["team:data"],
            code_version="2",
        ),
        dg.AssetSpec(
            "market_findings",
            deps=["raw_candles", "repairs", "candles", "candle_quarantine"],
            description=about(
                "Reasons to doubt one month of one market. A month without findings has no rows.",
                row="one finding: what, where, how sure, what it costs to use the data anyway, and what settles it.",
                use="the data-quality gate, which refuses a candidate whose markets have an error-level finding that "
                "no declared repair settles, and for whoever writes that repair.",
                breaks="with market_quality, which is made in the same step.",
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
    from research_to_prod.defs.market_data.findings_shown import days_shown, shown
    from research_to_prod.defs.market_data.sources import certificates_of, fetched_until
    from research_to_prod.market_data.examination import examine
    from research_to_prod.market_data.findings import findings_table, resolve
    from research_to_prod.market_data.quality import profile
    from research_to_prod.market_data.quality_policy import load_quality_policy
    from research_to_prod.market_data.repairs import repairs_from
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
    days = days_shown(series, certificates)
    yield publish(lake, "market_quality", month, quality, read=read, **days, missing_bars=missing, profile=table)

    repairs = lake.read("repairs", month)
    found = examine(series, raw.rows, quarantine.rows, month, as_of, certificates, policy)
    findings = resolve(found, repairs_from(repairs.rows))
    rows = findings_table(findings, month)
    yield publish(lake, "market_findings", month, rows, read=[raw, repairs, *read], **shown(findings, series))
    yield from judge_quality(lake, month)


def keep_certificates(lake: Lake, table: str, partition: str, certificates: Sequence[Certificate]) -> dg.MetadataValue:
    """Store the certificates of a fetch and return them for the UI."""
    from research_to_prod.market_data.certificates import certificates_table
    from research_to_prod.market_data.contracts import FETCH_CERTIFICATES

    key = f"{table}-{partition}"
    rows = certificates_table(certificates, key)
    lake.write(CERTIFICATES, key, rows, FETCH_CERTIFICATES)
    return table_preview(rows.select(["venue", "endpoint", "scope", "pages", "rows", "terminal", "fetch_id"]))
