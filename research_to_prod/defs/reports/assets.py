"""The desk report and the published warehouse."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.partitions import DAYS
from research_to_prod.execution.contracts import INBOX_KINDS, REQUIRED_KINDS
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings


@dg.asset(
    deps=[
        dg.AssetDep("gate_report", partition_mapping=dg.AllPartitionMapping()),
        "production_manifest",
        # What the desk may or may not deliver: which questions stay open is told once all of it was looked for.
        *sorted(INBOX_KINDS.keys() - REQUIRED_KINDS),
    ],
    partitions_def=DAYS,
    group_name="reports",
    owners=["team:trading"],
    kinds={"html"},
    code_version="3",
)
def desk_report(
    context: dg.AssetExecutionContext,
    slippage: pa.Table,
    markouts: pa.Table,
    shadow: pa.Table,
    pnl_waterfall: pa.Table,
    edge_verdicts: pa.Table,
    drawdowns: pa.Table,
    failure_modes: pa.Table,
    breaks: pa.Table,
    fills: pa.Table,
    venue_fills: pa.Table,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """The day for the desk head: is the edge alive, where did the money go, do the books agree, what to do today.

    One self-contained HTML page and the same numbers as JSON, in ``data/reports/``.
    """
    from research_to_prod.defs.reports.standing import candidate_lines, delivery_exclusions
    from research_to_prod.promotion.files import replace_file
    from research_to_prod.reports.compile_desk_report import compile_desk_report
    from research_to_prod.reports.desk_report import render_html, render_json

    day, now = context.partition_key, clock()
    report = compile_desk_report(
        day,
        slippage,
        breaks,
        markouts=markouts,
        shadow=shadow,
        waterfall=pnl_waterfall,
        verdicts=edge_verdicts,
        drawdowns=drawdowns,
        failure_modes=failure_modes,
        internal_fills=fills.num_rows,
        venue_fills=venue_fills.num_rows,
        candidates=candidate_lines(lake, settings, now),
        exclusions=delivery_exclusions(lake, day),
        present=[table for table in lake.tables() if lake.has(table, day)],
        prepared_at=now,
    )
    page, numbers = (settings.reports / f"desk-report-{day}.{kind}" for kind in ("html", "json"))
    replace_file(page, render_html(report))
    replace_file(numbers, render_json(report))
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(page),
            "open": dg.MetadataValue.url(page.resolve().as_uri()),
            "headline": report.headline,
            "total_cost": report.costs.total,
            "unreconciled_money": float(report.reconciliation.money_at_stake),
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

    Built aside and renamed into place: whoever holds the old file open keeps reading it. Nothing here reads it back.
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
