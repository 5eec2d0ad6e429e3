"""What the UI shows of a search, a backtest and its validation: numbers that Dagster plots over time, and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.publishing import image, markdown_table
from research_to_prod.research.candidate import Candidate, canonical_parameters

if TYPE_CHECKING:
    from research_to_prod.research.strategy import StrategyParameters
    from research_to_prod.research.trials import Experiment
    from research_to_prod.research.validation.measures import Measure
    from research_to_prod.research.validation.study import Validation


def backtest_shown(candidate: Candidate, rows: pa.Table, trials_ever: int | None) -> dict[str, Any]:
    """Return the headline numbers and the picture of a backtest's base scenario.

    Parameters
    ----------
    trials_ever
        Distinct trials of its strategy on its universe, which deflate its Sharpe ratio; None if they are not known.
    """
    from research_to_prod.gates.validation_statistics import deflated_sharpe
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
    deflated = deflated_sharpe(returns, trials_ever or 0)
    return {
        "trials_ever": "unknown" if trials_ever is None else trials_ever,
        "sharpe": annualised_sharpe_ratio(sharpe_ratio(returns)),
        **({} if math.isnan(deflated) else {"dsr": deflated}),
        "max_drawdown": max_drawdown(equity, capital),
        "net_return": float(equity[-1] / capital - 1),
        "turnover_per_year": float(pc.sum(base["turnover"]).as_py()) / len(days) * 365,
        **costs,
        "equity": image(equity_and_underwater(ts, equity), "equity and drawdown"),
    }


HEADLINES = {
    ("walk_forward_anchored", "oos_sharpe"): "oos_sharpe",
    ("walk_forward_anchored", "efficiency"): "wf_efficiency",
    ("cpcv", "quantile_05"): "cpcv_sharpe_quantile_05",
    ("overfitting", "pbo"): "pbo",
    ("overfitting", "loss_probability"): "loss_probability",
    ("selection", "spa_consistent"): "spa",
    ("neighbourhood", "median_ratio"): "neighbourhood_median_ratio",
    ("latency_stress", "l_star_ms"): "l_star_ms",
    ("latency_stress", "improves_with_latency"): "improves_with_latency",
    ("capacity", "capacity"): "capacity",
    ("capacity", "retained_at_capital"): "retained_at_capital",
    ("bootstrap", "sharpe_lower_95"): "sharpe_lower_95",
}
"""What Dagster plots over time, by study and metric."""


def validation_shown(experiment: Experiment, made: Validation, measures: Sequence[Measure]) -> dict[str, Any]:
    """Return the headline numbers, the summary and the stress curves of a candidate's validation."""
    from research_to_prod.gates.validation_statistics import deflated_sharpe
    from research_to_prod.reports.validation_figures import stress_curves
    from research_to_prod.research.validation import capacity, stress
    from research_to_prod.research.validation.measures import WHOLE

    summary = [each for each in measures if each.item == WHOLE]
    numbers = {
        HEADLINES[each.study, each.metric]: each.value
        for each in summary
        if (each.study, each.metric) in HEADLINES and each.value is not None
    }
    candidate = experiment.candidate
    n_trials = experiment.ledger.count(candidate.strategy, candidate.universe)
    deflated = deflated_sharpe(made.own, n_trials)
    sized = {} if made.capacity is None else {each: made.capacity.retained(each) for each in capacity.MULTIPLES}
    curves = stress_curves(
        made.latency.delays, made.latency.retained, [*sized], [*sized.values()], (stress.KEPT, capacity.KEPT)
    )
    columns = ("study", "metric", "value", "reason")
    table = pa.table({name: pa.array([getattr(each, name) for each in summary]) for name in columns})
    return {
        "trials_ever": n_trials,
        **({} if math.isnan(deflated) else {"dsr": deflated}),
        **numbers,
        "stress": image(curves, "what latency and size leave of the edge"),
        "summary": markdown_table(table),
    }


def search_shown(candidate: Candidate, own: StrategyParameters, trials: pa.Table) -> dict[str, Any]:
    """Return the picture of a search; none if nothing was varied."""
    from research_to_prod.reports.validation_figures import sweep_surface

    surface = searched(candidate, own, trials)
    return {} if surface is None else {"sweep": image(sweep_surface(*surface), "the search around its parameters")}


def searched(
    candidate: Candidate, own: StrategyParameters, trials: pa.Table
) -> tuple[dict[tuple[Any, Any], float], tuple[str, str], tuple[Any, Any]] | None:
    """Return the search over its two widest parameters, the others at the candidate's own; None if nothing was varied.

    The best over the others instead of a cut would flatter every cell by a search of its own.
    """
    space = candidate.search_space
    varied = sorted((name for name in space if len(space[name]) > 1), key=lambda name: (-len(space[name]), name))
    if not varied:
        return None
    values = json.loads(canonical_parameters(own))
    first, second = (*varied, "")[:2]
    cells = {}
    for text, sharpe in zip(trials["parameters"].to_pylist(), trials["sharpe_annual"].to_pylist(), strict=True):
        tried = json.loads(text)
        if all(tried[name] == values[name] for name in varied[2:]):
            cells[tried[first], tried.get(second, "")] = math.nan if sharpe is None else sharpe
    ordered = {
        (one, other): cells.get((one, other), math.nan)
        for one in space[first]
        for other in (space[second] if second else ("",))
    }
    return ordered, (first, second), (values[first], values.get(second, ""))
