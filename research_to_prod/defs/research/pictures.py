"""What the UI shows of a backtest: numbers that Dagster plots over time, and the equity curve."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.publishing import image
from research_to_prod.research.candidate import Candidate


def backtest_metadata(candidate: Candidate, rows: pa.Table) -> dict[str, Any]:
    """Return the headline numbers and the picture of a backtest's base scenario."""
    from research_to_prod.reports.figures import equity_and_underwater
    from research_to_prod.research.metrics import (
        annualised_sharpe_ratio,
        daily_returns,
        max_drawdown,
        sharpe_ratio,
    )

    base = rows.filter(pc.equal(rows["scenario"], "base"))
    ts, equity = base["ts"].to_numpy().astype("datetime64[us]"), base["equity"].to_numpy()
    capital = float(candidate.capital)
    days, returns = daily_returns(ts, equity, capital)
    costs = {name: float(pc.sum(base[name]).as_py()) for name in ("fees", "spread_cost", "impact_cost", "funding")}
    return {
        "sharpe": annualised_sharpe_ratio(sharpe_ratio(returns)),
        "max_drawdown": max_drawdown(equity, capital),
        "net_return": float(equity[-1] / capital - 1),
        "turnover_per_year": float(pc.sum(base["turnover"]).as_py()) / len(days) * 365,
        **costs,
        "equity": image(equity_and_underwater(ts, equity), "equity and drawdown"),
    }
