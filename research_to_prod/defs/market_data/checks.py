"""Blocking checks of the market data that a promotion cites; each judges one month."""

from collections.abc import Iterator

import dagster as dg

from research_to_prod.defs.partitions import MONTHS
from research_to_prod.lake import Lake


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "matches_contract",
            asset="candles",
            blocking=True,
            partitions_def=MONTHS,
            description="Every stored bar satisfies the contract of bars, read back from the lake.",
        ),
        dg.AssetCheckSpec(
            "accounts_for_every_row",
            asset="candles",
            additional_deps=["raw_candles", "candle_quarantine"],
            blocking=True,
            partitions_def=MONTHS,
            description="Raw rows = accepted bars + quarantined rows: nothing was lost between venue and lake.",
        ),
    ],
    can_subset=True,
)
def candles_checks(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """Judge the stored bars, not the rows that were about to be stored. One step for both: a step costs 0.2 s."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    if "matches_contract" in wanted:
        yield _matches_contract(lake, context.partition_key)
    if "accounts_for_every_row" in wanted:
        names = ("raw_candles", "candles", "candle_quarantine")
        raw, accepted, rejected = (lake.version(name, context.partition_key).rows for name in names)
        yield dg.AssetCheckResult(
            asset_key="candles",
            check_name="accounts_for_every_row",
            passed=raw == accepted + rejected,
            metadata={"raw": raw, "accepted": accepted, "quarantined": rejected},
        )


def _matches_contract(lake: Lake, month: str) -> dg.AssetCheckResult:
    from pandera.errors import SchemaErrors

    from research_to_prod.market_data.bar_contract import BarContract

    candles = lake.read("candles", month)
    broken = []
    try:
        BarContract.validate(candles.pandas, lazy=True)
    except SchemaErrors as error:
        broken = error.failure_cases[["check", "failure_case", "index"]].astype(str).to_dict("records")
    cases = [dg.TableRecord(case) for case in broken[:20]]
    return dg.AssetCheckResult(
        asset_key="candles",
        check_name="matches_contract",
        passed=not broken,
        metadata={
            "rows": candles.rows.num_rows,
            "failure_cases": len(broken),
            "first": dg.MetadataValue.table(cases) if cases else "none",
        },
    )


@dg.asset_check(
    asset="funding_rates",
    partitions_def=MONTHS,
    blocking=True,
    description="Every rate is a finite number within 3 % of notional an interval, the widest cap that venues publish.",
)
def is_plausible(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Refuse rates that no venue charges: percent taken for fractions, NaN."""
    rates = lake.read("funding_rates", context.partition_key).rows.column("rate").to_pylist()
    widest = max((abs(rate) for rate in rates), default=0.0)
    finite = all(abs(rate) < float("inf") for rate in rates)
    return dg.AssetCheckResult(passed=finite and widest <= 0.03, metadata={"rates": len(rates), "widest": widest})


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "accounts_for_every_bar",
            asset="market_quality",
            additional_deps=["candles"],
            blocking=True,
            partitions_def=MONTHS,
            description="For each market expected = valid + missing bars, and no more are valid than the lake holds.",
        ),
        dg.AssetCheckSpec(
            "is_complete",
            asset="market_quality",
            partitions_def=MONTHS,
            description="Every market is at least 99.9 % complete. A warning only: gates judge a candidate's markets.",
        ),
    ],
    can_subset=True,
)
def market_quality_checks(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """Add up the profile, and name the markets with missing bars."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    rows = lake.read("market_quality", context.partition_key).rows.to_pylist()
    if "accounts_for_every_bar" in wanted:
        stored = lake.version("candles", context.partition_key).rows
        wrong = [row["symbol"] for row in rows if row["expected_bars"] != row["valid_bars"] + row["missing_bars"]]
        counted = sum(row["valid_bars"] for row in rows)
        yield dg.AssetCheckResult(
            asset_key="market_quality",
            check_name="accounts_for_every_bar",
            passed=not wrong and counted <= stored,
            metadata={"bars_counted": counted, "bars_stored": stored, "inconsistent": ", ".join(wrong) or "none"},
        )
    if "is_complete" in wanted:
        expected = [row for row in rows if row["completeness"] is not None]
        thin = {row["symbol"]: row["gaps"] for row in expected if row["completeness"] < 0.999}
        yield dg.AssetCheckResult(
            asset_key="market_quality",
            check_name="is_complete",
            passed=not thin,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"gaps": dg.MetadataValue.json(thin)},
        )
