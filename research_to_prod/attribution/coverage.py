"""How much of what was traded the costs and markouts speak for.

Belongs here: counts of what was left out and why, and whether too much was. Doesn't: leaving it out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LARGEST_EXCLUDED_SHARE = 0.05
"""Share of left-out rows above which sums and means no longer speak for the day."""


@dataclass(frozen=True)
class Coverage:
    """Whether enough was measured, and the counts by reason."""

    enough: bool
    numbers: dict[str, int | float]


def coverage(rows: pa.Table) -> Coverage:
    """Return how many of the rows have an ``excluded_reason``; no rows at all leave nothing out."""
    reasons = Counter(reason for reason in rows["excluded_reason"].to_pylist() if reason is not None)
    share = sum(reasons.values()) / rows.num_rows if rows.num_rows else 0.0
    numbers: dict[str, int | float] = {"rows": rows.num_rows, "excluded_share": share}
    return Coverage(share <= LARGEST_EXCLUDED_SHARE, numbers | dict(sorted(reasons.items())))


def coverage_of_costs(slippage: pa.Table, fills: pa.Table, orders: pa.Table) -> Coverage:
    """Return the coverage of a day's ``SLIPPAGE``; a fill of the day without an order has a cost that nobody counts."""
    found = coverage(slippage)
    known = pc.is_in(fills["order_id"], value_set=orders["order_id"].combine_chunks())
    stray = fills.num_rows - (pc.sum(known).as_py() or 0)
    return Coverage(found.enough and stray == 0, found.numbers | {"fills_without_an_order": stray})


def worst_markout_residual(markouts: pa.Table) -> float:
    """Return the largest |net markout - capture + adverse selection| / (1 + |net markout|); 0 without rows."""
    counted = markouts.filter(markouts["excluded_reason"].is_null())
    capture, adverse, net = (
        counted[name].to_numpy() for name in ("spread_capture", "adverse_selection", "net_markout")
    )
    return float(np.max(np.abs(net - capture + adverse) / (1 + np.abs(net)), initial=0.0))
