"""Pictures of attribution for the metadata of its assets."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from research_to_prod.attribution.drawdown_days import ALL, RECORD, underwater
from research_to_prod.attribution.drawdowns import Curve
from research_to_prod.defs.publishing import image


def underwater_picture(rows: pa.Table, curves: Mapping[str, Curve]) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the underwater curve of the strategy with the deepest drawdown, its episodes marked; none without one."""
    from research_to_prod.reports.figures import underwater_and_windows

    whole = [row for row in rows.to_pylist() if row["episode"] != RECORD and row["dimension"] == ALL]
    if not whole:
        return {}
    deepest = max(whole, key=lambda row: row["loss"])["strategy"]
    spans = [(row["peak_at"], row["trough_at"]) for row in whole if row["strategy"] == deepest]
    curve = curves[deepest]
    content = underwater_and_windows(curve.at.astype("datetime64[us]"), underwater(curve), {"peak to trough": spans})
    return {"underwater": image(content, f"underwater, {deepest}")}
