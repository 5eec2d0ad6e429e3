"""The gates on robustness: whether the edge survives what is worse than assumed, and later than the sample.

Belongs here: the family robustness, on the figures of the validation studies. Doesn't: the studies (``research``).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from research_to_prod.gates.evidence import Evidence, Studies
from research_to_prod.gates.families import Family, Robustness
from research_to_prod.gates.gate import Gate, judge
from research_to_prod.gates.significance import moments_of
from research_to_prod.gates.thresholds import SampledShare, StressedBound
from research_to_prod.research.metrics import annualised_sharpe_ratio
from research_to_prod.values import Verdict

_WALKS = ("walk_forward_anchored", "walk_forward_rolling")
_AGAIN = "materialize validation; then a simpler strategy, or one whose edge is less recent"


def robustness_gates(rules: Robustness, evidence: Evidence) -> list[Gate]:
    """Return the gates of the family."""
    studies = evidence.studies
    return [
        *_costs(rules, evidence),
        *_walks(rules, studies),
        *_paths(rules, studies),
        *_neighbourhood(rules, studies),
        *_delay(rules, studies),
        _capacity(rules, evidence),
        _figure(
            "bootstrap_sharpe_lower_bound",
            studies.value("bootstrap", "sharpe_lower_95"),
            ">",
            rules.bootstrap_sharpe_lower_bound.value,
            samples=int(studies.value("bootstrap", "resamples") or 0),
            what="lower 95 % bound of the annual Sharpe ratio over resampled blocks of days",
            remedy="a longer window, or a better strategy",
        ),
    ]


def _costs(rules: Robustness, evidence: Evidence) -> list[Gate]:
    mean, bound = rules.stressed_mean_return, rules.stressed_sharpe_lower_bound
    gates = []
    for rule, name in ((mean, "stressed_mean_return"), (bound, "stressed_sharpe_lower_bound")):
        returns = evidence.stressed_returns.get(rule.cost_multiplier)
        moments, problem = moments_of(returns) if returns is not None else (None, "it was not backtested")
        value = math.nan
        what = f"mean daily net return at {rule.cost_multiplier:g} x costs"
        if moments and returns is not None:
            value = float(np.mean(returns))
            if isinstance(rule, StressedBound):
                value = annualised_sharpe_ratio(moments.sharpe - ndtri(rule.confidence) * moments.error)
                what = (
                    f"lower {rule.confidence:.0%} bound of the annual Sharpe ratio at {rule.cost_multiplier:g} x costs"
                )
        gates.append(
            _figure(
                name,
                value,
                ">",
                rule.value,
                samples=0 if returns is None else len(returns),
                what=what,
                problem=f"{rule.cost_multiplier:g} x costs: {problem}" if problem else "",
                remedy="trade less, or where it costs less",
            )
        )
    return gates


def _walks(rules: Robustness, studies: Studies) -> list[Gate]:
    """Judge the anchored walk, which trains on all of the past as the desk does; the rolling one is reported.

    The rolling walk trains on so little that the best of 500 trials looks far better in it than it is: asked of both
    walks, an efficiency of 0.5 refused two of three planted Sharpe ratios of 3 (docs/false_promotions.md).
    """
    anchored, rolling = _WALKS
    return [
        _efficiency("walk_forward_efficiency", anchored, rules.walk_forward_efficiency, studies),
        _positive_folds("walk_forward_positive_folds", anchored, rules.walk_forward_positive_folds, studies),
        replace(
            _efficiency("rolling_walk_forward_efficiency", rolling, rules.walk_forward_efficiency, studies),
            gating=False,
        ),
        replace(
            _positive_folds("rolling_walk_forward_positive_folds", rolling, rules.walk_forward_positive_folds, studies),
            gating=False,
        ),
    ]


def _efficiency(name: str, walk: str, rule: SampledShare, studies: Studies) -> Gate:
    """Judge one walk. Without a gain in sample the ratio means nothing: of two losses it is positive."""
    means = list(studies.items(walk, "is_mean").values())
    known = [each for each in means if each is not None]
    gain = math.fsum(known)
    if means and len(known) == len(means) and gain <= 0:
        losing = f"the parameters chosen in sample lose money there ({gain:.3g} over all folds)"
        return judge(name, Family.ROBUSTNESS, 0.0, ">=", rule.value, samples=len(known), what=losing, remedy=_AGAIN)
    return _figure(
        name,
        studies.value(walk, "efficiency"),
        ">=",
        rule.value,
        samples=len(known),
        what="out-of-sample over in-sample mean of the walk forward",
        minimum_samples=rule.minimum_samples,
    )


def _positive_folds(name: str, walk: str, rule: SampledShare, studies: Studies) -> Gate:
    return _figure(
        name,
        studies.value(walk, "positive_share"),
        ">=",
        rule.value,
        samples=int(studies.value(walk, "folds") or 0),
        what="share of walk-forward folds with a gain",
        minimum_samples=rule.minimum_samples,
        counted=True,
    )


def _paths(rules: Robustness, studies: Studies) -> list[Gate]:
    quantile, share = rules.cross_validated_sharpe_quantile, rules.cross_validated_positive_paths
    paths = int(studies.value("cpcv", "paths") or 0)
    return [
        _figure(
            "cross_validated_sharpe_quantile",
            studies.value("cpcv", "quantile_05"),
            ">",
            quantile.value,
            samples=paths,
            what="5 % quantile of the annual Sharpe ratios of the combinatorial paths",
            minimum_samples=quantile.minimum_samples,
        ),
        _figure(
            "cross_validated_positive_paths",
            studies.value("cpcv", "positive_share"),
            ">=",
            share.value,
            samples=paths,
            what="share of combinatorial paths with a positive Sharpe ratio",
            minimum_samples=share.minimum_samples,
            counted=True,
        ),
    ]


def _neighbourhood(rules: Robustness, studies: Studies) -> list[Gate]:
    median, minimum = rules.neighbourhood_median_ratio, rules.neighbourhood_minimum_sharpe
    count = int(studies.value("neighbourhood", "neighbours") or 0)
    base = studies.value("neighbourhood", "base_sharpe")
    # A ratio to a base that is not positive would praise neighbours for losing as much.
    ratio = studies.value("neighbourhood", "median_ratio") if base is not None and base > 0 else None
    return [
        _figure(
            "neighbourhood_median_ratio",
            ratio,
            ">=",
            median.value,
            samples=count,
            what="median Sharpe ratio of the neighbouring parameters over the candidate's own",
            problem="" if ratio is not None else "the neighbourhood is missing, or its centre has no positive Sharpe",
            minimum_samples=median.minimum_samples,
            remedy="parameters from the middle of a plateau instead of a peak",
        ),
        _figure(
            "neighbourhood_minimum_sharpe",
            studies.value("neighbourhood", "minimum_sharpe"),
            ">",
            minimum.value,
            samples=count,
            what="annual Sharpe ratio of the worst neighbouring parameters",
            minimum_samples=minimum.minimum_samples,
            remedy="parameters from the middle of a plateau instead of a peak",
        ),
    ]


def _delay(rules: Robustness, studies: Studies) -> list[Gate]:
    kept, gain = studies.value("latency_stress", "l_star_ms"), studies.value("latency_stress", "improves_with_latency")
    tested = len(studies.items("latency_stress", "sharpe"))
    return [
        # Bars can't tell delays shorter than themselves: an edge gone after one bar is not known to be too fast.
        _figure(
            "edge_kept_at_latency",
            kept,
            ">=",
            rules.edge_kept_at.value,
            samples=tested,
            what="milliseconds of delay that leave at least 80 % of the net edge (L*)",
            short=Verdict.INCONCLUSIVE,
            remedy="a backtest on finer bars, or a slower strategy",
        ),
        _figure(
            "gain_from_delay",
            gain,
            "<=",
            rules.gain_from_delay.value,
            samples=tested,
            what="whether a longer delay significantly improves the Sharpe ratio (1), as look-ahead does,",
            remedy="find what the signal knows too early",
            counted=True,
        ),
    ]


def _capacity(rules: Robustness, evidence: Evidence) -> Gate:
    asked = "an unknown amount" if evidence.capital is None else f"{evidence.capital:,.0f}"
    return _figure(
        "capacity_retained",
        evidence.studies.value("capacity", "retained_at_capital"),
        ">=",
        rules.capacity_retained.value,
        samples=len(evidence.studies.items("capacity", "mean")),
        what=f"share of the impact-free edge left at the capital asked for ({asked})",
        remedy="ask for less capital, or trade more liquid markets",
    )


def _figure(
    gate: str,
    value: float | None,
    comparison: str,
    threshold: float,
    *,
    samples: int,
    what: str,
    problem: str = "",
    remedy: str = _AGAIN,
    short: Verdict = Verdict.FAIL,
    minimum_samples: int = 1,
    counted: bool = False,
) -> Gate:
    return judge(
        gate,
        Family.ROBUSTNESS,
        value,
        comparison,
        threshold,
        samples=samples,
        what=what,
        problem=problem or ("" if value is not None else f"{what}: the study is missing"),
        remedy=remedy,
        short=short,
        minimum_samples=minimum_samples,
        counted=counted,
    )
