"""Checks of the market data that a promotion cites; each judges one month, read back from the lake.

They run in the step of their asset: a step of its own costs 0.2 s, and three years are 36 months. So a month cannot be
materialized without them either.
"""

import dagster as dg
import pandas as pd

from research_to_prod.defs.partitions import MONTHS
from research_to_prod.lake import Lake
from research_to_prod.market_data.bar_proof import count_violations


def _blocking(asset: str, name: str, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, blocking=True, partitions_def=MONTHS, description=description)


CANDLES_CHECKS = (
    _blocking("candles", "matches_contract", "Every stored bar satisfies the contract of bars."),
    _blocking(
        "candles",
        "accounts_for_every_row",
        "Raw rows = accepted bars + quarantined rows: nothing was lost between venue and lake.",
    ),
)
FUNDING_CHECKS = (
    _blocking(
        "funding_rates",
        "is_plausible",
        "Every rate is a finite number within 3 % of notional an interval, the widest cap that venues publish.",
    ),
)
QUALITY_CHECKS = (
    _blocking(
        "market_quality",
        "accounts_for_every_bar",
        "For each market expected = valid + missing bars, and no more are valid than the lake holds.",
    ),
    dg.AssetCheckSpec(
        "is_complete",
        asset="market_quality",
        partitions_def=MONTHS,
        description="Every market is at least 99.9 % complete. A warning only: the gates judge a candidate's markets.",
    ),
)


def judge_candles(lake: Lake, month: str) -> list[dg.AssetCheckResult]:
    """Prove that the stored bars satisfy the contract, or name those that don't; add up raw and quarantined rows."""
    candles = lake.read("candles", month)
    proven = count_violations(candles.rows).none
    broken = [] if proven else _broken_rows(candles.pandas)
    cases = [dg.TableRecord({str(name): text for name, text in case.items()}) for case in broken[:20]]
    raw, rejected = (lake.version(name, month).rows for name in ("raw_candles", "candle_quarantine"))
    accepted = candles.rows.num_rows
    return [
        dg.AssetCheckResult(
            asset_key="candles",
            check_name="matches_contract",
            passed=proven,
            metadata={
                "rows": accepted,
                "failure_cases": len(broken),
                "first": dg.MetadataValue.table(cases) if cases else "none",
            },
        ),
        dg.AssetCheckResult(
            asset_key="candles",
            check_name="accounts_for_every_row",
            passed=raw == accepted + rejected,
            metadata={"raw": raw, "accepted": accepted, "quarantined": rejected},
        ),
    ]


def _broken_rows(bars: pd.DataFrame) -> list[dict[str, str]]:
    from pandera.errors import SchemaErrors

    from research_to_prod.market_data.bar_contract import BarContract

    try:
        BarContract.validate(bars, lazy=True)
    except SchemaErrors as error:
        return error.failure_cases[["check", "failure_case", "index"]].astype(str).to_dict("records")
    return []


def judge_funding(lake: Lake, month: str) -> list[dg.AssetCheckResult]:
    """Refuse rates that no venue charges: percent taken for fractions, NaN, infinity."""
    rates = lake.read("funding_rates", month).rows.column("rate").to_pylist()
    within = [abs(rate) <= 0.03 for rate in rates]  # a comparison with NaN is false
    return [
        dg.AssetCheckResult(
            asset_key="funding_rates",
            check_name="is_plausible",
            passed=all(within),
            metadata={"rates": len(rates), "refused": within.count(False)},
        )
    ]


def judge_quality(lake: Lake, month: str) -> list[dg.AssetCheckResult]:
    """Add up the profile, and name the markets with missing bars."""
    rows = lake.read("market_quality", month).rows.to_pylist()
    stored = lake.version("candles", month).rows
    wrong = [row["symbol"] for row in rows if row["expected_bars"] != row["valid_bars"] + row["missing_bars"]]
    counted = sum(row["valid_bars"] for row in rows)
    expected = [row for row in rows if row["completeness"] is not None]
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
    ]
