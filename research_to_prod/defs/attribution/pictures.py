"""Pictures of attribution for the metadata of its assets; of a day on which there is nothing to draw, none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.publishing import drawing, image

if TYPE_CHECKING:
    from research_to_prod.attribution.drawdowns import Curve

Pictures = dict[str, dg.MarkdownMetadataValue]

_WIDTH = 760
_MOST = 40
"""Strategies or markets in a picture: the event log keeps each for ever, and hundreds are read in the tables."""
_MOST_WATERFALLS = 12


def costs_picture(rows: pa.Table, colours: Mapping[str, str], title: str) -> Pictures:
    """Return what the orders of each strategy cost in each currency, stacked by the columns that ``colours`` names."""
    from research_to_prod.reports.cost_figure import stacked

    totals: dict[str, dict[str, float]] = {}
    counted = rows.filter(rows["excluded_reason"].is_null()).select(["strategy", "symbol", *colours])
    for row in counted.to_pylist():
        # A sum over two currencies means nothing.
        name = f"{row['strategy']}, {row['symbol'].partition('/')[2].partition(':')[0]}"
        sums = totals.setdefault(name, dict.fromkeys(colours, 0.0))
        for part in colours:
            sums[part] += row[part] or 0.0
    if not totals:
        return {}
    caption = "quote currency, cost to the right, gain to the left"
    dearest = sorted(totals, key=lambda name: (-abs(sum(totals[name].values())), name))[:_MOST]
    return {"costs": drawing(stacked({name: totals[name] for name in dearest}, colours, caption, _WIDTH), title)}


def markouts_picture(curve: pa.Table) -> Pictures:
    """Return the curve of `markout_curve` drawn."""
    from research_to_prod.reports.desk_report import MarkoutLine
    from research_to_prod.reports.markout_figure import markouts_drawn

    lines = [MarkoutLine.model_validate(row) for row in curve.drop_columns(["standard_error_bps"]).to_pylist()]
    if all(each.mean_bps is None for each in lines):
        return {}
    return {"markouts": drawing(markouts_drawn(lines), "what the market did after fills")}


def waterfall_picture(rows: pa.Table) -> Pictures:
    """Return the waterfall of each strategy all of whose markets have one."""
    from research_to_prod.reports.compile_live_against_model import waterfall_lines
    from research_to_prod.reports.waterfall_figure import waterfall_bars

    lines = sorted(waterfall_lines(rows), key=lambda line: (line.live_money, line.strategy))[:_MOST_WATERFALLS]
    return {"waterfall": drawing(waterfall_bars(lines, "quote currency", _WIDTH), "expected to live")} if lines else {}


def modes_picture(rows: pa.Table) -> Pictures:
    """Return the answer to each failure mode in each market of the day, the modes that are present first."""
    from research_to_prod.reports.grid_figure import State, grid

    of_markets = rows.filter(pc.not_equal(rows["symbol"], "all"))
    answers = of_markets.select(["mode", "strategy", "symbol", "answer"]).to_pylist()
    present = {row["mode"] for row in answers if row["answer"] == "present"}
    answers.sort(key=lambda row: (row["mode"] not in present, row["mode"], row["strategy"], row["symbol"]))
    named = [(f"{row['strategy']} {row['symbol']}", row) for row in answers]
    shown = set(list(dict.fromkeys(market for market, _ in named))[:_MOST])
    cells = {(row["mode"], market): row["answer"] for market, row in named if market in shown}
    states = {"present": State("#e08a74", "!"), "unknown": State("#e9d8a6", "?"), "absent": State("#cfe5e2")}
    return {"modes": drawing(grid(cells, states), "failure modes by market")} if cells else {}


def verdicts_picture(rows: pa.Table) -> Pictures:
    """Return each estimated effect with its bounds."""
    from research_to_prod.reports.interval_figure import Interval, intervals

    known = rows.filter(pc.is_valid(rows["effect"])).sort_by([("question", "ascending"), ("strategy", "ascending")])
    panels: dict[str, list[Interval]] = {}
    for row in known.to_pylist():
        panel = panels.setdefault(f"{row['question']}: {row['unit']}, worse to the right", [])
        if len(panel) < _MOST:
            panel.append(Interval(f"{row['strategy']}: {row['answer']}", row["effect"], row["lower"], row["upper"]))
    return {"effects": drawing(intervals(panels, _WIDTH), "estimated worsening, with bounds")} if panels else {}


def underwater_picture(rows: pa.Table, curves: Mapping[str, Curve]) -> Pictures:
    """Return the underwater curve of the strategy with the deepest drawdown, its episodes marked; none without one."""
    from research_to_prod.attribution.drawdown_days import ALL, RECORD, underwater
    from research_to_prod.reports.figures import underwater_and_windows

    whole = [row for row in rows.to_pylist() if row["episode"] != RECORD and row["dimension"] == ALL]
    if not whole:
        return {}
    deepest = max(whole, key=lambda row: row["loss"])["strategy"]
    spans = [(row["peak_at"], row["trough_at"]) for row in whole if row["strategy"] == deepest]
    curve = curves[deepest]
    content = underwater_and_windows(curve.at.astype("datetime64[us]"), underwater(curve), {"peak to trough": spans})
    return {"underwater": image(content, f"underwater, {deepest}")}
