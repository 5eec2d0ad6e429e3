"""Checks of market data; each judges one month or day, read back from the lake.

They run in the step of their asset: a step of its own costs 0.2 s, and three years are 36 months. So a month cannot be
materialized without them either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from research_to_prod.defs.judged import check_result, fetched_check, judge_fetch, picture
from research_to_prod.defs.partitions import DAYS, MONTHS
from research_to_prod.lake import Lake
from research_to_prod.market_data.findings import Level, findings_from
from research_to_prod.values import day_bounds

if TYPE_CHECKING:
    from research_to_prod.market_data.certificates import Certificate
    from research_to_prod.market_data.ingest import MarketFailure


def _blocking(
    asset: str, name: str, description: str, partitions: dg.PartitionsDefinition = MONTHS
) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, blocking=True, partitions_def=partitions, description=description)


RAW_CHECKS = (fetched_check("raw_candles", MONTHS),)
CANDLES_CHECKS = (
    _blocking(
        "candles",
        "matches_contract",
        "Every stored bar satisfies the contract of bars. If it fails, the program has let a bad bar through: the "
        "worst rows are shown, and nothing may rest on the month until it is mended.",
    ),
    _blocking(
        "candles",
        "accounts_for_every_row",
        "Raw rows + filled bars = accepted bars + quarantined rows: nothing was lost between venue and lake. If it "
        "fails, the rows that are in neither are shown.",
    ),
)
FUNDING_CHECKS = (
    _blocking(
        "funding_rates",
        "is_plausible",
        "Every rate is a finite number within 3 % of notional an interval, the widest cap that venues publish. If it "
        "fails, ask the venue, and fetch the month again.",
    ),
    _blocking(
        "funding_rates",
        "is_regular",
        "Payments come on the hour, and none is missing: neither between two others nor at the ends of the month. If "
        "it fails, a backtest would hold these perpetuals for free: fetch the month again.",
    ),
    fetched_check("funding_rates", MONTHS),
)
TRADES_CHECKS = (
    _blocking(
        "trades",
        "is_plausible",
        "Prices and amounts are positive and finite, the aggressor is known, ids are unique and grow with time, and "
        "every trade lies on the day and within the certified fetch that brought it. If it fails, no order of the day "
        "can be held against the tape: fetch the day again.",
        DAYS,
    ),
    _blocking(
        "trades",
        "is_certified",
        "Complete certificates cover the whole day of every market that asks. If it fails, volumes are too small, and "
        "our shares of them too large: fetch the day again.",
        DAYS,
    ),
    fetched_check("trades", DAYS),
)
QUALITY_CHECKS = (
    _blocking(
        "market_quality",
        "accounts_for_every_bar",
        "For each market expected = valid + missing bars, and no more are valid than the lake holds. If it fails, the "
        "profile itself is wrong, and no gate may rest on it.",
    ),
    dg.AssetCheckSpec(
        "is_complete",
        asset="market_quality",
        partitions_def=MONTHS,
        description=(
            "Every market is at least 99.9 % complete. If it fails, the gaps are named. A warning only: the gates "
            "judge a candidate's markets."
        ),
    ),
    dg.AssetCheckSpec(
        "no_unresolved_errors",
        asset="market_findings",
        partitions_def=MONTHS,
        description=(
            "No error-level finding without a declared repair. If it fails, ask the venue, or declare one in "
            "desk/repairs. A warning only: the gates judge a candidate's markets."
        ),
    ),
)


def judge_candles(lake: Lake, month: str) -> list[dg.AssetCheckResult]:
    """Validate the stored bars with the contract, and add up raw, accepted and quarantined rows."""
    from research_to_prod.market_data.judgement import Judgement, judge_bars, judge_bookkeeping

    candles = lake.read("candles", month).rows
    contract = judge_bars(candles)
    raw, rejected = (lake.version(name, month).rows for name in ("raw_candles", "candle_quarantine"))
    filled = candles.num_rows - candles["repair"].null_count
    numbers = {"raw": raw, "filled": filled, "accepted": candles.num_rows, "quarantined": rejected}
    books, sent = Judgement(raw + filled == candles.num_rows + rejected, candles.slice(0, 0), numbers), candles
    if not books.passed:
        sent = lake.read("raw_candles", month).rows
        books = judge_bookkeeping(sent, candles, lake.read("candle_quarantine", month).rows)
    return [
        check_result("candles", "matches_contract", contract, picture(candles, contract, "close", regular=True)),
        check_result(
            "candles",
            "accounts_for_every_row",
            books,
            None if books.passed else picture(sent, books, "close", regular=True),
        ),
    ]


def judge_funding(
    lake: Lake, month: str, certificates: Sequence[Certificate], failures: Sequence[MarketFailure]
) -> list[dg.AssetCheckResult]:
    """Refuse rates that no venue charges, and months in which a payment is missing."""
    from research_to_prod.market_data.judgement import judge_funding_times, judge_rates

    rates = lake.read("funding_rates", month).rows
    plausible, regular = judge_rates(rates), judge_funding_times(rates, certificates)
    return [
        check_result("funding_rates", "is_plausible", plausible, picture(rates, plausible, "rate", regular=True)),
        check_result(
            "funding_rates",
            "is_regular",
            regular,
            None if regular.passed else picture(rates, regular, "rate", regular=True),
        ),
        judge_fetch("funding_rates", failures),
    ]


def judge_trades(
    lake: Lake,
    day: str,
    expected: Mapping[tuple[str, str], tuple[datetime, datetime]],
    certificates: Sequence[Certificate],
    failures: Sequence[MarketFailure],
) -> list[dg.AssetCheckResult]:
    """Judge each trade, and whether the day of each market that did not fail is covered."""
    from research_to_prod.market_data import judgement

    trades = lake.read("trades", day).rows
    plausible = judgement.judge_trades(trades, day_bounds(day), certificates)
    covered = judgement.judge_coverage(expected, certificates)
    return [
        check_result("trades", "is_plausible", plausible, picture(trades, plausible, "price")),
        check_result("trades", "is_certified", covered),
        judge_fetch("trades", failures),
    ]


def judge_quality(lake: Lake, month: str) -> list[dg.AssetCheckResult]:
    """Add up the profile, name the markets with missing bars, and those with findings that nobody has settled."""
    rows = lake.read("market_quality", month).rows.to_pylist()
    stored = lake.version("candles", month).rows
    wrong = [row["symbol"] for row in rows if row["expected_bars"] != row["valid_bars"] + row["missing_bars"]]
    counted = sum(row["valid_bars"] for row in rows)
    expected = [row for row in rows if row["completeness"] is not None]
    errors = [each for each in findings_from(lake.read("market_findings", month).rows) if each.level is Level.ERROR]
    unresolved = [
        f"{each.venue} {each.symbol} {each.timeframe}: {each.rule} at {each.first_at:%Y-%m-%dT%H:%MZ}"
        for each in errors
        if each.resolved_by is None
    ]
    thin = {row["symbol"]: row["gaps"] for row in expected if row["completeness"] < 0.999}
    return [
        dg.AssetCheckResult(
            asset_key="market_quality",
            check_name="accounts_for_every_bar",
            passed=not wrong and counted <= stored,
            metadata={"bars_counted": counted, "bars_stored": stored, "inconsistent": ", ".join(wrong) or "none"},
        ),
        dg.AssetCheckResult(
            asset_key="market_quality",
            check_name="is_complete",
            passed=not thin,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"gaps": dg.MetadataValue.json(thin)},
        ),
        dg.AssetCheckResult(
            asset_key="market_findings",
            check_name="no_unresolved_errors",
            passed=not unresolved,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"errors": len(errors), "unresolved": dg.MetadataValue.json(unresolved)},
        ),
    ]
