"""Promotion's own figures, one partition a week that is over: what they say of the process, not of any candidate."""

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.partitions import PAST_WEEKS
from research_to_prod.defs.promotion.assets import promotion
from research_to_prod.defs.publishing import image, markdown_table, publish
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.promotion.contracts import Metric, Window
from research_to_prod.settings import Settings

_PLOTTED = {
    ("lead_time", "paper"): "lead_time_to_paper_days",
    ("lead_time", "canary"): "lead_time_to_canary_days",
    ("lead_time", "live"): "lead_time_to_live_days",
    ("promotions", "all"): "promotions_a_week",
    ("refusals", "all"): "refused_share",
    ("rollback_rate", "all"): "rollbacks_a_strategy_year",
    ("time_to_detect", "all"): "time_to_detect_s",
    ("time_to_roll_back", "all"): "time_to_roll_back_s",
    ("false_rollbacks", "all"): "false_rollback_share",
}
"""What Dagster plots over time, of everything to date."""


@dg.asset(
    deps=[dg.AssetDep(promotion, partition_mapping=dg.AllPartitionMapping())],
    partitions_def=PAST_WEEKS,
    group_name="promotion",
    owners=["team:risk"],
    kinds={"python"},
    code_version="1",
    metadata=described("promotion_metrics"),
)
def promotion_metrics(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Whether promotion works, from the verified ledger alone.

    - **A row** is one figure of the week, or of everything to its end, with the number of observations it rests on:
      lead time from a candidate's first record to each stage, promotions a week, what refused, rollbacks a strategy
      year, time from a rule's reading to the record, and false rollbacks.
    - **It is for** the review of the process: gates that refuse everything or nothing, rollbacks that come late.
    - **It breaks** when the ledger does not verify. What the records can't tell is null and says why; a past week never
      changes.
    """
    from research_to_prod.defs.gates.judgement import verified_ledger
    from research_to_prod.promotion.metrics import metrics_table

    week = context.partition_time_window.start
    ledger = verified_ledger(settings)
    if ledger is None:
        rows = metrics_table((), lambda _: (), week)
    else:
        rows = metrics_table(ledger.records(), lambda record: ledger.evidence(record).gates, week)
    to_date = [row for row in rows.to_pylist() if row["window"] == Window.TO_DATE]
    known = {(row["metric"], row["item"]): row["value"] for row in to_date if row["value"] is not None}
    refused = {row["item"]: row["value"] for row in to_date if row["metric"] == Metric.REFUSED_BY}
    return publish(
        lake,
        "promotion_metrics",
        context.partition_key,
        rows,
        **{name: known[figure] for figure, name in _PLOTTED.items() if figure in known},
        figures=markdown_table(pa.Table.from_pylist(to_date, schema=rows.schema).drop_columns(["week", "window"])),
        refused_by=image(_picture(refused), "what refused so far") if refused else "nothing was refused",
    )


def _picture(refused: dict[str, float]) -> bytes:
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    from research_to_prod.reports.figures import STYLE, new_figure, png

    ranked = sorted(refused.items(), key=lambda each: (each[1], each[0]))[-15:]
    with mpl.rc_context(STYLE):
        figure = new_figure(7, 0.8 + 0.25 * len(ranked))
        axes = figure.add_subplot()
        axes.barh([gate for gate, _ in ranked], [times for _, times in ranked], color="#b5533c")
        axes.set_xlabel("refusals in which it did not pass")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return png(figure)
