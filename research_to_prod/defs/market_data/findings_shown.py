"""What the UI shows of a month: its days by market, its findings by urgency, and the month of the worst market."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.series import Series, uncovered

if TYPE_CHECKING:
    from research_to_prod.market_data.certificates import Certificate

_ROWS = 40  # of the most urgent findings; the event log keeps the list for ever
_NAMED = 8  # findings in the picture
_MARKETS = 40  # in the picture of days, those with most bars missing first


def shown(findings: Sequence[Finding], markets: Sequence[Series]) -> dict[str, Any]:
    """Return the metadata of ``findings``, most urgent first; a picture only where somebody should look."""
    levels = Counter(each.level for each in findings)
    metadata: dict[str, Any] = {"errors": levels[Level.ERROR], "warnings": levels[Level.WARNING]}
    if findings:
        metadata["findings"] = dg.MetadataValue.md("\n".join(map(_line, findings[:_ROWS])))
    urgent = [each for each in findings if each.level is not Level.INFO]
    if urgent:
        metadata["worst"] = _picture(urgent, markets)
    return metadata


def days_shown(markets: Sequence[Series], certificates: Sequence[Certificate]) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the days of the month by market: whole, with bars missing, or not known; as text, three years are 36."""
    from research_to_prod.defs.publishing import drawing
    from research_to_prod.reports.grid_figure import State, grid

    cells: dict[tuple[str, str], str] = {}
    for market in sorted(markets, key=lambda each: (-int(each.missing.sum()), each.key))[:_MARKETS]:
        day = (
            (market.first + np.arange(market.expected) * market.length).astype("datetime64[us]").astype("datetime64[D]")
        )
        missing, unknown = set(day[market.missing]), set(day[uncovered(market, certificates)])
        for each in np.unique(day):
            state = "not known" if each in unknown else "bars missing" if each in missing else "whole"
            cells[market.name, str(each)[-2:]] = state
    states = {"whole": State("#cfe5e2"), "bars missing": State("#e08a74", "!"), "not known": State("#e9d8a6", "?")}
    return {"days": drawing(grid(cells, states), "days of the month by market")} if cells else {}


def _line(finding: Finding) -> str:
    """Return the finding as one item of a list: sentences in the narrow columns of a table can't be read."""
    market = f"{finding.venue} {finding.symbol} {finding.timeframe}"
    settled = f" Settled by repair {finding.resolved_by}." if finding.resolved_by else ""
    return (
        f"- **{finding.level}** {market} `{finding.rule}`: {finding.what}{settled} "
        f"*Cost:* {finding.cost} *Remedy:* {finding.remedy} (confidence {finding.confidence:g})"
    )


def _picture(urgent: Sequence[Finding], markets: Sequence[Series]) -> dg.MarkdownMetadataValue:
    """Return the month of the market with the most errors, then the most warnings."""
    from research_to_prod.defs.publishing import image
    from research_to_prod.reports.figures import month_with_findings

    def weight(market: Series) -> tuple[int, int]:
        own = [each.level for each in urgent if (each.venue, each.symbol, each.timeframe) == market.key]
        return own.count(Level.ERROR), own.count(Level.WARNING)

    worst = max(markets, key=weight)
    own = [each for each in urgent if (each.venue, each.symbol, each.timeframe) == worst.key][:_NAMED]
    ts = (worst.first + np.arange(worst.expected) * worst.length).astype("datetime64[us]")
    spans = [(_naive(each.first_at), _naive(each.last_at), each.rule, each.level is Level.ERROR) for each in own]
    title = f"{worst.name}, {urgent[0].month}: what was found"
    return image(month_with_findings(ts, worst.closes, spans, title), title)


def _naive(at: datetime) -> np.datetime64:
    return np.datetime64(at.replace(tzinfo=None), "us")
