"""Liquidity by hour of the week, one partition a week: made before the week begins, from what was known then."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.partitions import UNIVERSE_FILE, WEEKS
from research_to_prod.defs.publishing import image, publish
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.market_data.universe import Universe
from research_to_prod.settings import Settings

# The eight weeks before the week, as the months that they lie in: offsets count weeks here.
_EIGHT_WEEKS_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-8, end_offset=-1)


@dg.asset(
    deps=[dg.AssetDep("candles", partition_mapping=_EIGHT_WEEKS_BEFORE)],
    partitions_def=WEEKS,
    group_name="liquidity",
    owners=["team:data"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("liquidity_profile"),
    check_specs=[
        dg.AssetCheckSpec(
            "uses_past_only",
            asset="liquidity_profile",
            blocking=True,
            partitions_def=WEEKS,
            description=(
                "Made again from bars that had ended when the week began, it is the same, bit for bit. If it fails, "
                "thresholds know what nobody could: a defect of the program, before which no alert may rest on it."
            ),
        )
    ],
)
def liquidity_profile(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """What volume, volatility, spread and depth usually are at each hour of the week, and how much they vary.

    - **A row** is one market at one hour of the week, measured over the eight whole weeks before the week.
    - **It is for** thresholds that follow the hour: alerts, risk posture and failure modes ask what is usual now.
    - **It breaks** when the months that the eight weeks lie in are not made, and when anything newer than the week's
      beginning has gone in.

    Spread and depth are proxies from bars and say so. Where an hour of the week has too few observations, as with
    hourly bars, the hour of the day stands in.
    """
    from research_to_prod.market_data.liquidity import months_of, profile_week

    universe = Universe.load(settings.desk / UNIVERSE_FILE)
    week = context.partition_key
    candles = lake.read("candles", months_of(week))
    rows = profile_week(candles.rows, universe.markets, week)
    yield publish(
        lake,
        "liquidity_profile",
        week,
        rows,
        read=[candles],
        **{f"hours_{regime}": count for regime, count in sorted(Counter(rows["regime"].to_pylist()).items())},
        observed_to=str(pc.min(rows["observed_to"]).as_py()),
        volume=image(_picture(rows), "usual volume by hour of the week"),
    )
    yield _judge(lake, week, candles.rows, universe)


def _judge(lake: Lake, week: str, candles: pa.Table, universe: Universe) -> dg.AssetCheckResult:
    """Make the profile again without any bar that ended after the week began, and compare."""
    from research_to_prod.lake.content import content_hash
    from research_to_prod.market_data.liquidity import known_before, profile_week

    stored = lake.version("liquidity_profile", week)
    again = content_hash(profile_week(known_before(candles, week), universe.markets, week))
    return dg.AssetCheckResult(
        asset_key="liquidity_profile",
        check_name="uses_past_only",
        passed=again == stored.content_sha256,
        metadata={"stored": stored.content_sha256, "from_the_past_alone": again},
    )


def _picture(rows: pa.Table) -> bytes:
    from research_to_prod.reports.figures import hours_of_the_week

    frame = rows.to_pandas().sort_values("how")
    names = frame["venue"] + " " + frame["symbol"]
    values = {str(name): each["volume_med"].to_numpy(dtype=float) for name, each in frame.groupby(names)}
    return hours_of_the_week(values, "usual volume (median of its logarithm)")
