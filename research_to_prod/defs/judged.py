"""How a judgement becomes a check's result: severity, numbers, the worst rows, a picture.

A picture by matplotlib costs 50 ms, and three years are 36 months of several markets: it is drawn of what failed. What
passed is shown as small lines made of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.publishing import image, image_link, markdown_table, table_preview

if TYPE_CHECKING:
    from research_to_prod.market_data.ingest import MarketFailure
    from research_to_prod.market_data.judgement import Judgement

FETCHED = "every_market_was_fetched"


def fetched_check(asset: str, partitions: dg.PartitionsDefinition) -> dg.AssetCheckSpec:
    """Return the check that names the markets that could not be fetched."""
    return dg.AssetCheckSpec(
        FETCHED,
        asset=asset,
        partitions_def=partitions,
        description=(
            "Every market was fetched completely. If it fails, the other markets go on, and a market without a "
            "certificate is unknown to every gate. The failed ones are listed with file, row and remedy."
        ),
    )


def judge_fetch(asset: str, failures: Sequence[MarketFailure]) -> dg.AssetCheckResult:
    """Name the markets that failed, and why."""
    rows = pa.Table.from_pylist(
        [{"venue": one.venue, "symbol": one.symbol, "timeframe": one.timeframe, "error": one.error} for one in failures]
    )
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=FETCHED,
        passed=not failures,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"failed_markets": len(failures)} | ({"failures": markdown_table(rows)} if failures else {}),
    )


def check_result(
    asset: str,
    name: str,
    judgement: Judgement,
    picture: dg.MarkdownMetadataValue | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """Return the check's result; what blocks has severity ERROR."""
    metadata: dict[str, Any] = {**judgement.numbers, "worst_rows": table_preview(judgement.worst)}
    if picture is not None:
        metadata["picture"] = picture
    return dg.AssetCheckResult(
        asset_key=asset, check_name=name, passed=judgement.passed, severity=severity, metadata=metadata
    )


def picture(
    rows: pa.Table,
    judgement: Judgement,
    value: str,
    at: str = "ts",
    *,
    regular: bool = False,
) -> dg.MarkdownMetadataValue | None:
    """Return the market of the worst row with its bad rows marked, or a small line of each market that passed.

    Parameters
    ----------
    rows
        The judged rows, with ``venue``, ``symbol`` and the columns ``value`` and ``at``.
    regular
        Whether the rows of a market come at regular times, so that a longer pause is a gap.
    """
    from research_to_prod.reports.figures import marked_series, sparkline_svg

    key = [name for name in ("venue", "symbol", "timeframe") if name in rows.column_names]
    if judgement.passed:
        lines = []
        for market in _markets(rows, key):
            own = _of(rows, market).sort_by(at)
            ts = _times(own, at)
            line = sparkline_svg(ts, own[value].to_numpy(), _usual_step(ts) if regular else None)
            lines.append(f"{' '.join(market.values())} {image_link(line, value)}")
        return dg.MetadataValue.md("\n\n".join(lines)) if lines else None
    if not judgement.worst.num_rows:
        return None
    market = {name: judgement.worst[name][0].as_py() for name in key}
    own = _of(rows, market).sort_by(at)
    marked = pc.is_in(own[at], value_set=_of(judgement.worst, market)[at].combine_chunks())
    values = own[value].to_numpy().astype(np.float64)
    ts, label = _times(own, at), f"{market['symbol']} {value}"
    step = _usual_step(ts) if regular else None
    return image(marked_series(ts, values, marked.to_numpy(zero_copy_only=False), label, step), label)


def _markets(rows: pa.Table, key: Sequence[str]) -> list[dict[str, str]]:
    markets: list[dict[str, str]] = rows.select(key).group_by(key).aggregate([]).to_pylist()
    return sorted(markets, key=lambda each: tuple(each.values()))


def _of(rows: pa.Table, market: dict[str, str]) -> pa.Table:
    for name, given in market.items():
        rows = rows.filter(pc.equal(rows[name], given))
    return rows


def _usual_step(ts: np.ndarray) -> np.timedelta64 | None:
    return np.median(np.diff(ts)) if len(ts) > 2 else None


def _times(rows: pa.Table, at: str) -> np.ndarray:
    times: np.ndarray = rows[at].to_numpy().astype("datetime64[us]")
    return times
