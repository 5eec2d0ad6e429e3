"""The desk's risk at this moment, as an asset and a page."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from research_to_prod.defs.operations.pictures import limits_picture
from research_to_prod.defs.publishing import publish, report_link
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

NAME = "risk-posture"


@dg.asset(
    deps=[
        "production_manifest",
        "control_state",
        *(
            dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
            for name in (
                *("positions", "orders", "venue_fills", "venue_positions", "venue_balances", "breaks"),
                *("funding_rates", "liquidity_profile"),
            )
        ),
    ],
    group_name="operations",
    owners=["team:operations"],
    kinds={"python", "html"},
    code_version="1",
    metadata=described("risk_posture"),
)
def risk_posture(
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """What is held, what it could lose in the next hours, and what is not seen, from the newest of everything.

    - **A row** is one number or text of the posture: exposure and limit use, expected shortfall at this hour's
      volatility, time to unwind at this hour's volume, distance to liquidation, funding due, what is open.
    - **It is for** whoever is on call, and is the first thing to look at in an incident: one HTML page and the same
      numbers as JSON and Parquet, in ``data/reports/``.
    - **It breaks** when the capital allocation can't be read. Whatever else is missing is a line that says so: every
      line tells up to when its inputs were last proven complete.
    """
    from research_to_prod.defs.operations.posture_sources import PostureSources
    from research_to_prod.promotion.files import replace_file
    from research_to_prod.reports.compile_risk_posture import compile_risk_posture
    from research_to_prod.reports.index import publish_index
    from research_to_prod.reports.rendering import numbers_of, render_json, render_parquet, render_posture

    now = clock()
    sources = PostureSources(lake, settings, now)
    posture = compile_risk_posture(sources.known(), now)
    page, numbers, table = (settings.reports / f"{NAME}.{kind}" for kind in ("html", "json", "parquet"))
    replace_file(page, render_posture(posture))
    replace_file(numbers, render_json(posture))
    replace_file(table, render_parquet(posture))
    publish_index(settings.reports)
    book = posture.blind[0]
    return publish(
        lake,
        "risk_posture",
        None,
        numbers_of(posture),
        read=sources.read,
        page=dg.MetadataValue.path(page),
        open=report_link(page.name),
        headline=posture.headline,
        status=posture.status.value,
        **limits_picture(posture.exposures),
        **{
            name: value
            for name, value in (
                ("at_stake", book.at_stake),
                ("blind_seconds", book.blind_seconds),
                ("shortfall_of_a_day", posture.shortfalls[-1].money),
            )
            if value is not None
        },
    )
