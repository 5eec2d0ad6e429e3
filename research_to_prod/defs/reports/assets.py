"""The desk report and the published warehouse."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from research_to_prod.defs.attribution.records import read_records
from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import report_link
from research_to_prod.defs.reports.month import MONTH, MONTH_TABLES, read_month
from research_to_prod.execution.contracts import INBOX_KINDS, REQUIRED_KINDS
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import inputs_metadata
from research_to_prod.settings import Settings

_OF_THE_DAY = ("pnl_waterfall", "drawdowns", "failure_modes", "breaks")


@dg.asset(
    deps=[
        dg.AssetDep("gate_report", partition_mapping=dg.AllPartitionMapping()),
        "production_manifest",
        *(dg.AssetDep(name, partition_mapping=MONTH) for name in (*MONTH_TABLES, "quotes")),
        *(*_OF_THE_DAY, "venue_fills"),
        # The evenings before show how the evidence came about.
        dg.AssetDep("edge_verdicts", partition_mapping=dg.AllPartitionMapping()),
        # What the desk may or may not deliver: which questions stay open is told once all of it was looked for.
        *sorted(INBOX_KINDS.keys() - REQUIRED_KINDS - MONTH_TABLES.keys()),
    ],
    partitions_def=DAYS,
    group_name="reports",
    owners=["team:trading"],
    kinds={"html"},
    code_version="4",
)
def desk_report(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """The day for the desk head: is the edge alive, where did the money go, do the books agree, what to do today.

    - **A materialization** is one self-contained HTML page and the same numbers as JSON and Parquet, in
      ``data/reports/``.
    - **It is for** the meeting of the morning. Where one day says too little, the recorded days among the thirty up to
      it are looked at.
    - **It breaks** when the costs, verdicts or breaks of the day are not made. What the desk did not deliver is a
      question that the page leaves open.
    """
    from research_to_prod.attribution.verdict_policy import load_attribution_policy
    from research_to_prod.defs.reports.standing import candidate_lines, delivery_exclusions
    from research_to_prod.promotion.files import replace_file
    from research_to_prod.reports.compile_desk_report import DayTables, compile_desk_report
    from research_to_prod.reports.curves import looks_among
    from research_to_prod.reports.index import publish_index
    from research_to_prod.reports.rendering import render_html, render_json, render_parquet

    day, now = context.partition_key, clock()
    month, read = read_month(lake, day)
    own = {name: lake.read(name, day) for name in _OF_THE_DAY}
    slippage, shadow, fills, venue_fills = (
        lake.read(name, day) for name in ("slippage", "shadow", "fills", "venue_fills")
    )
    evenings = sorted({each for each in lake.versions("edge_verdicts") if each and each < day} | {day})
    verdicts = lake.read("edge_verdicts", looks_among(evenings))
    tables = DayTables(
        day=day,
        slippage=slippage.rows,
        breaks=own["breaks"].rows,
        shadow=shadow.rows,
        waterfall=own["pnl_waterfall"].rows,
        verdicts=verdicts.rows,
        drawdowns=own["drawdowns"].rows,
        failure_modes=own["failure_modes"].rows,
        internal_fills=fills.rows.num_rows,
        venue_fills=venue_fills.rows.num_rows,
        quotes=read_records(lake, day).quotes,
        present=[table for table in lake.tables() if lake.has(table, day)],
    )
    report = compile_desk_report(
        tables,
        month,
        candidates=candidate_lines(lake, settings),
        exclusions=delivery_exclusions(lake, day),
        policy=load_attribution_policy(settings.desk / "policies" / "attribution.yaml"),
        prepared_at=now,
    )
    page, numbers, table = (settings.reports / f"desk-report-{day}.{kind}" for kind in ("html", "json", "parquet"))
    replace_file(page, render_html(report))
    replace_file(numbers, render_json(report))
    replace_file(table, render_parquet(report))
    publish_index(settings.reports)
    read_today = (each for snapshot in (*own.values(), verdicts, venue_fills) for each in snapshot.versions)
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(page),
            "open": report_link(page.name),
            "headline": report.headline,
            "total_cost": report.costs.total,
            "unreconciled_money": float(report.reconciliation.money_at_stake),
            "recorded_days": report.month.days,
            **inputs_metadata((*read_today, *(each for snapshot in read for each in snapshot.versions))),
        }
    )


@dg.asset(
    deps=[
        dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
        for name in (
            "candles",
            "market_quality",
            "gate_report",
            "slippage",
            "latency_costs",
            "markouts",
            "shadow",
            "pnl_waterfall",
            "edge_verdicts",
            "drawdowns",
            "failure_modes",
            "breaks",
        )
    ],
    group_name="reports",
    owners=["team:data"],
    kinds={"duckdb"},
    code_version="1",
)
def warehouse(lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    """All current tables in one DuckDB file, ``data/warehouse.duckdb``, for SQL and BI users.

    - **A materialization** is the whole file, built aside and renamed into place: whoever holds the old one open keeps
      reading it.
    - **It is for** questions that no asset asks. Nothing here reads it back.
    - **It breaks** when the disk is full or the folder can't be written; the old file stays.
    """
    from research_to_prod.lake.warehouse import publish_warehouse

    counts = publish_warehouse(lake, settings.warehouse)
    rows = [dg.TableRecord({"table": table, "rows": count}) for table, count in counts.items()]
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(settings.warehouse),
            "dagster/row_count": sum(counts.values()),
            "tables": dg.MetadataValue.table(rows),
        }
    )
