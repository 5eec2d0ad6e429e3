"""Pictures of operations for the metadata of their assets; of a day on which there is nothing to draw, none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.publishing import drawing
from research_to_prod.operations.contracts import Age, Severity
from research_to_prod.reports.svg import BLUE, RED

if TYPE_CHECKING:
    from research_to_prod.reports.risk_posture import ExposureLine

_CUT = 1.5
_MOST = 40

Pictures = dict[str, Any]
"""Metadata that ``publish`` takes."""

_SEVERITIES = {
    str(severity): colour
    for severity, colour in zip(Severity, ("#b5533c", "#d9a441", "#6d7fb3", "#a9adb3"), strict=True)
}


def breaks_picture(rows: pa.Table) -> Pictures:
    """Return how many breaks are open by age, the severities stacked."""
    from research_to_prod.reports.cost_figure import stacked

    still = rows.filter(pc.equal(rows["status"], "open"))
    counts = Counter(zip(still["age"].to_pylist(), still["severity"].to_pylist(), strict=True))
    if not counts:
        return {}
    bars: dict[str, Mapping[str, float]] = {
        f"open {age}": {each: counts[age, each] for each in _SEVERITIES} for age in reversed(Age)
    }
    return {"open_by_age": drawing(stacked(bars, _SEVERITIES, "open breaks", 560), "open breaks by age and severity")}


def limits_picture(exposures: Sequence[ExposureLine]) -> Pictures:
    """Return how much of each limit is used, the fullest first; what is far beyond its limit is cut off, and named."""
    from research_to_prod.reports.cost_figure import stacked

    used = {}
    for each in exposures:
        # Nothing may be held, and something is.
        barred = each.limit == 0 and bool(each.limited)
        if each.limit_use is not None or barred:
            use = _CUT if barred else each.limit_use or 0.0
            # The figure first: a long name is cut off.
            name = f"{'not allowed' if barred else f'{use:,.0%}'}: {each.by} {each.name}"
            within = 0.0 if barred else min(use, 1.0)
            used[name] = {"within": within, "beyond": min(use, _CUT) - within}
    if not used:
        return {}
    fullest = sorted(used, key=lambda name: (-sum(used[name].values()), name))[:_MOST]
    caption = f"share of the limit, cut off at {_CUT:g}"
    bars = {name: used[name] for name in fullest}
    return {"limits": drawing(stacked(bars, {"within": BLUE, "beyond": RED}, caption, 960), "limits in use")}


def evaluations_picture(rows: pa.Table, by: str) -> Pictures:
    """Return the worst that each rule said in each minute or hour of the day, the rules with the worst first.

    Parameters
    ----------
    rows
        ``ALERT_EVALUATIONS`` rows of one day.
    by
        ``minute`` or ``hour``: what makes a column.
    """
    from research_to_prod.reports.grid_figure import State, grid

    states = {
        "P1": State("#d9705a", "1"),
        "P2": State("#e8b765", "2"),
        "P3": State("#aab6d8", "3"),
        "P4": State("#c9ccd1", "4"),
        "blind": State("#c7aed3", "b"),
        "about to": State("#f3e3b5", "…"),
        "not seen": State("#e4e4e4", "?"),
        "calm": State("#cfe5e2"),
    }
    order = list(states)
    at = pc.floor_temporal(rows["as_of"], unit=by)
    said = pa.table({"at": at, **{name: rows[name] for name in ("rule", "sight", "phase", "severity")}})
    worst: dict[tuple[str, str], int] = {}
    # Grouped first: the alerter keeps a row a turn of every condition that fires.
    for row in said.group_by(said.column_names).aggregate([]).sort_by("at").to_pylist():
        key, state = (row["rule"], f"{row['at']:%H:%M}"), order.index(_state(row))
        worst[key] = min(state, worst.get(key, state))
    if not worst:
        return {}
    columns = list(dict.fromkeys(column for _, column in worst))
    rank = {rule: min(state for (name, _), state in worst.items() if name == rule) for rule, _ in worst}
    cells = {
        key: order[worst[key]] for key in sorted(worst, key=lambda key: (rank[key[0]], key[0], columns.index(key[1])))
    }
    return {"rules": drawing(grid(cells, states), "what each rule said over the day")}


def _state(row: dict[str, str | None]) -> str:
    if row["severity"] is not None:
        return row["severity"]
    if row["sight"] == "blind":
        return "blind"
    if row["phase"] == "pending":
        return "about to"
    return "not seen" if row["sight"] == "no_data" else "calm"
