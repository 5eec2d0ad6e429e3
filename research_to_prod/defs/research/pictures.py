"""What the UI shows of a backtest and of its validation: numbers that Dagster plots over time, and pictures."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.publishing import image, markdown_table
from research_to_prod.research.candidate import Candidate, canonical_parameters

if TYPE_CHECKING:
    from research_to_prod.gates.validation_statistics import Significance
    from research_to_prod.research.trials import Experiment
    from research_to_prod.research.validation.study import Validation


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


def validation_metadata(
    experiment: Experiment, trials: pa.Table, made: Validation, significance: Significance
) -> dict[str, Any]:
    """Return the headline numbers, the summary and the pictures of a candidate's validation."""
    from research_to_prod.gates.validation_statistics import deflated_sharpe
    from research_to_prod.reports.validation_figures import out_of_sample, stress_curves, sweep_surface
    from research_to_prod.research.validation import capacity, stress
    from research_to_prod.research.validation.measures import WHOLE

    summary = [each for each in (*made.measures, *significance.measures) if each.item == WHOLE]
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
    logits = None if significance.overfitting is None else significance.overfitting.logits
    crossed = made.cross_validation
    inside, outside = (None, None) if crossed is None else (crossed.is_sharpes, crossed.oos_sharpes)
    shown = {
        "out_of_sample": image(out_of_sample(logits, inside, outside), "overfitting, and in against out of sample"),
        "stress": image(curves, "what latency and size leave of the edge"),
    }
    if surface := _surface(experiment, trials):
        shown["sweep"] = image(sweep_surface(*surface), "the search around the candidate's parameters")
    columns = ("study", "metric", "value", "reason")
    table = pa.table({name: pa.array([getattr(each, name) for each in summary]) for name in columns})
    return {
        "trials_ever": n_trials,
        **({} if math.isnan(deflated) else {"dsr": deflated}),
        **numbers,
        **shown,
        "summary": markdown_table(table),
    }


def _surface(
    experiment: Experiment, trials: pa.Table
) -> tuple[dict[tuple[Any, Any], float], tuple[str, str], tuple[Any, Any]] | None:
    """Return the search over its two widest parameters, the others at the candidate's own; None if nothing was varied.

    The best over the others instead of a cut would flatter every cell by a search of its own.
    """
    space = experiment.candidate.search_space
    varied = sorted((name for name in space if len(space[name]) > 1), key=lambda name: (-len(space[name]), name))
    if not varied:
        return None
    own = json.loads(canonical_parameters(experiment.own))
    first, second = (*varied, "")[:2]
    cells = {}
    for text, sharpe in zip(trials["parameters"].to_pylist(), trials["sharpe_annual"].to_pylist(), strict=True):
        tried = json.loads(text)
        if all(tried[name] == own[name] for name in varied[2:]):
            cells[tried[first], tried.get(second, "")] = math.nan if sharpe is None else sharpe
    ordered = {
        (one, other): cells.get((one, other), math.nan)
        for one in space[first]
        for other in (space[second] if second else ("",))
    }
    return ordered, (first, second), (own[first], own.get(second, ""))
