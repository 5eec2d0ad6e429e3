"""Checks of the recorded quotes, the yardstick of every cost."""

import dagster as dg

from research_to_prod.defs.judged import check_result, picture
from research_to_prod.defs.partitions import DAYS
from research_to_prod.lake import Lake

QUOTES_CHECKS = (
    dg.AssetCheckSpec(
        "is_plausible",
        asset="quotes",
        blocking=True,
        partitions_def=DAYS,
        description=(
            "Prices are positive, sizes not negative, update numbers grow with the venue's clock, and at most one "
            "quote in a thousand of a market is locked or crossed. If it fails, no cost of the day is made: have the "
            "desk deliver the quotes again."
        ),
    ),
)


def judge_quotes(lake: Lake, day: str) -> dg.AssetCheckResult:
    """Judge each quote of the day."""
    from research_to_prod.execution.quote_judgement import judge_quotes

    quotes = lake.read("quotes", day).rows
    judgement = judge_quotes(quotes)
    return check_result("quotes", "is_plausible", judgement, picture(quotes, judgement, "bid", "quoted_at"))


@dg.asset_check(
    asset="quotes",
    additional_deps=["trades"],
    partitions_def=DAYS,
    description=(
        "Our clock is not behind the venue's, and the quotes' venue clock is that of the public trades, where both "
        "were recorded. If it fails, delays and markouts of the markets named are not to be believed. A warning only."
    ),
)
def clocks_agree(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Compare the clocks, market by market."""
    from research_to_prod.execution.quote_judgement import judge_clocks

    day = context.partition_key
    judgement = judge_clocks(lake.read("quotes", day).rows, lake.read("trades", day).rows)
    return check_result("quotes", "clocks_agree", judgement, severity=dg.AssetCheckSeverity.WARN)
