"""Blocking checks of the market data that a promotion cites; each judges one month."""

import dagster as dg

from research_to_prod.defs.partitions import MONTHS
from research_to_prod.lake import Lake


@dg.asset_check(
    asset="candles",
    partitions_def=MONTHS,
    blocking=True,
    description="Every stored bar satisfies the contract of bars, read back from the lake.",
)
def matches_contract(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Judge the stored bars against the contract, not the rows that were about to be stored."""
    from pandera.errors import SchemaErrors

    from research_to_prod.market_data.bar_contract import BarContract

    candles = lake.read("candles", context.partition_key)
    try:
        BarContract.validate(candles.pandas, lazy=True)
    except SchemaErrors as broken:
        cases = broken.failure_cases
        return dg.AssetCheckResult(
            passed=False,
            metadata={
                "failure_cases": len(cases),
                "first": dg.MetadataValue.md(cases[["check", "failure_case", "index"]].head(20).to_string(index=False)),
            },
        )
    return dg.AssetCheckResult(passed=True, metadata={"rows": candles.rows.num_rows})


@dg.asset_check(
    asset="candles",
    additional_deps=["raw_candles", "candle_quarantine"],
    partitions_def=MONTHS,
    blocking=True,
    description="Raw rows = accepted bars + quarantined rows: nothing was lost between the venue and the lake.",
)
def accounts_for_every_row(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Compare the three row counts."""
    names = ("raw_candles", "candles", "candle_quarantine")
    raw, accepted, rejected = (lake.version(name, context.partition_key).rows for name in names)
    return dg.AssetCheckResult(
        passed=raw == accepted + rejected, metadata={"raw": raw, "accepted": accepted, "quarantined": rejected}
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


@dg.asset_check(
    asset="market_quality",
    additional_deps=["candles"],
    partitions_def=MONTHS,
    blocking=True,
    description="For each market expected bars = valid bars + missing bars, and the valid bars are those in the lake.",
)
def accounts_for_every_bar(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Add up the profile and compare it with the bars."""
    profile = lake.read("market_quality", context.partition_key).rows.to_pylist()
    stored = lake.version("candles", context.partition_key).rows
    wrong = [row["symbol"] for row in profile if row["expected_bars"] != row["valid_bars"] + row["missing_bars"]]
    counted = sum(row["valid_bars"] for row in profile)
    return dg.AssetCheckResult(
        passed=not wrong and counted == stored,
        metadata={"bars_counted": counted, "bars_stored": stored, "inconsistent": ", ".join(wrong) or "none"},
    )


@dg.asset_check(
    asset="market_quality",
    partitions_def=MONTHS,
    description="Every market's completeness is at least 99.9 %. A warning only: the gates judge a candidate's markets.",
)
def is_complete(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Name the markets with missing bars."""
    profile = lake.read("market_quality", context.partition_key).rows.to_pylist()
    thin = {row["symbol"]: row["gaps"] for row in profile if row["completeness"] is not None and row["completeness"] < 0.999}
    return dg.AssetCheckResult(
        passed=not thin, severity=dg.AssetCheckSeverity.WARN, metadata={"gaps": dg.MetadataValue.json(thin)}
    )
