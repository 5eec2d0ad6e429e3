"""Which table holds what: the schema of each asset that stores rows in the lake, by asset name; and who lags behind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import dagster as dg

from research_to_prod.attribution.contracts import LATENCY_COSTS, MARKOUTS, SLIPPAGE
from research_to_prod.attribution.pnl_contracts import DRAWDOWNS, EDGE_VERDICTS, FAILURE_MODES, PNL_WATERFALL, SHADOW
from research_to_prod.execution.contracts import INBOX_KINDS, VENUE_RECORDS
from research_to_prod.gates.contracts import GATE_REPORT, READINESS
from research_to_prod.lake import Lake, Schema, SchemaError
from research_to_prod.market_data.contracts import (
    CANDLE_QUARANTINE,
    CANDLES,
    FETCH_CERTIFICATES,
    FUNDING_RATES,
    LIQUIDITY_PROFILE,
    MARKET_FINDINGS,
    MARKET_QUALITY,
    RAW_CANDLES,
    REPAIRS,
    TRADES,
)
from research_to_prod.operations.alerting.contracts import ALERT_EVALUATIONS
from research_to_prod.operations.contracts import BREAKS, CONTROL_STATE, KILL_DRILL, POSTINGS
from research_to_prod.operations.incidents.contracts import INCIDENTS
from research_to_prod.promotion.contracts import PROMOTION_METRICS, ROLLBACK
from research_to_prod.reports.contracts import RISK_POSTURE
from research_to_prod.research.candidate_table import CANDIDATE
from research_to_prod.research.contracts import BACKTEST, TRIALS, VALIDATION

TABLES: Mapping[str, Schema] = MappingProxyType(
    {
        "raw_candles": RAW_CANDLES,
        "repairs": REPAIRS,
        "candles": CANDLES,
        "candle_quarantine": CANDLE_QUARANTINE,
        "funding_rates": FUNDING_RATES,
        "market_quality": MARKET_QUALITY,
        "market_findings": MARKET_FINDINGS,
        "liquidity_profile": LIQUIDITY_PROFILE,
        "trades": TRADES,
        "candidate": CANDIDATE,
        "trials": TRIALS,
        "backtest": BACKTEST,
        "validation": VALIDATION,
        "readiness": READINESS,
        "gate_report": GATE_REPORT,
        "promotion_metrics": PROMOTION_METRICS,
        "rollback": ROLLBACK,
        **INBOX_KINDS,
        **VENUE_RECORDS,
        "slippage": SLIPPAGE,
        "latency_costs": LATENCY_COSTS,
        "markouts": MARKOUTS,
        "shadow": SHADOW,
        "pnl_waterfall": PNL_WATERFALL,
        "edge_verdicts": EDGE_VERDICTS,
        "drawdowns": DRAWDOWNS,
        "failure_modes": FAILURE_MODES,
        "breaks": BREAKS,
        "running_breaks": BREAKS,
        "postings": POSTINGS,
        "alert_evaluations": ALERT_EVALUATIONS,
        "live_evaluations": ALERT_EVALUATIONS,
        "incidents": INCIDENTS,
        "kill_drill": KILL_DRILL,
        "control_state": CONTROL_STATE,
        "risk_posture": RISK_POSTURE,
    }
)


def stored_tables() -> Mapping[str, Schema]:
    """Return the schema of every table of the lake: of the assets, and what assets keep beside their own rows."""
    from research_to_prod.execution.quarantine_table import INBOX_QUARANTINE

    return {**TABLES, "fetch_certificates": FETCH_CERTIFICATES, "inbox_quarantine": INBOX_QUARANTINE}


def tables_to_upgrade(lake: Lake) -> dict[str, list[str]]:
    """Return, by table, the columns that the lake has not, or not as this release declares them.

    Raises
    ------
    SchemaError
        Naming every table that is not stored as declared and can't be upgraded.
    """
    found, refused = {}, []
    for table in sorted(stored_tables().keys() & set(lake.tables())):
        try:
            found[table] = lake.outdated_columns(table, stored_tables()[table])
        except SchemaError as error:
            refused.append(str(error))
    if refused:
        raise SchemaError("\n".join(refused))
    return {table: columns for table, columns in found.items() if columns}


def about(summary: str, *, row: str, use: str, breaks: str) -> str:
    """Return the description of an asset that has no function of its own, in the form of the others' docstrings.

    Parameters
    ----------
    row, use, breaks
        What ends the sentences "A row is", "It is for" and "It breaks".
    """
    return f"{summary}\n\n- **A row** is {row}\n- **It is for** {use}\n- **It breaks** {breaks}"


def described(table: str) -> dict[str, dg.TableSchema]:
    """Return the asset metadata that shows the table's columns, units and meaning in the UI."""
    columns = [
        dg.TableColumn(
            name=column.name,
            # A timestamp's type names its zone itself.
            type=str(column.type)
            + (f" [{column.unit}]" if column.unit and column.unit not in str(column.type) else ""),
            description=column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in TABLES[table].columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}
