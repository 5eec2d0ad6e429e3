"""The gates on measured latency: confidence bounds of quantiles against budgets, whatever the distribution.

An upper bound of the quantile within the budget passes, a lower bound beyond it fails, and in between nobody knows. The
budget of signal to acknowledgement is the smaller of the table and L*, the delay at which the edge itself has gone.

Belongs here: the family latency. Doesn't: measuring (execution), the ranks (``statistics.coverage``).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from research_to_prod.gates.evidence import Evidence, LatencySamples
from research_to_prod.gates.families import Family, Latency, Quantiles
from research_to_prod.gates.gate import Gate, judge
from research_to_prod.gates.statistics import quantile_upper_bound
from research_to_prod.research.bars import Floats
from research_to_prod.values import Verdict


def latency_gates(rules: Latency, evidence: Evidence) -> list[Gate]:
    """Return a gate for every budgeted quantile of the strategy's type, and that of the days sampled."""
    budgets = rules.budgets[evidence.strategy_type]
    measures = {"signal_to_ack": budgets.signal_to_ack, "cancel_to_ack": budgets.cancel_to_ack,
                "feed_age": budgets.feed_age, "leg_skew": budgets.leg_skew}  # fmt: skip
    gates = [_busiest_hours(rules, evidence)]
    for measure, quantiles in measures.items():
        # A strategy of one market has no legs.
        if quantiles is not None and (measure != "leg_skew" or len(evidence.completeness) > 1):
            gates += _measure(measure, quantiles, int(budgets.minimum_samples.value), rules, evidence)
    return gates


def _busiest_hours(rules: Latency, evidence: Evidence) -> Gate:
    """Count the days on which the market's busiest hour was sampled: quiet hours flatter every venue."""
    samples, hour = evidence.latency.measures.get("signal_to_ack"), evidence.latency.busiest_hour
    days, problem = 0, "the market's busiest hour is not known" if hour is None else ""
    if samples is None:
        problem = "no latency from signal to acknowledgement was measured"
    elif hour is not None:
        hours = samples.at.astype("datetime64[h]")
        days = len(np.unique(hours[hours.astype(np.int64) % 24 == hour].astype("datetime64[D]")))
    return judge(
        "latency_busiest_hours",
        Family.LATENCY,
        float(days),
        ">=",
        rules.minimum_days.value,
        samples=0 if samples is None else len(samples.at),
        what="number of days sampled in the market's busiest hour",
        problem=problem,
        remedy="measure on more days, around the clock",
        short=Verdict.INCONCLUSIVE,
        counted=True,
    )


def _measure(measure: str, quantiles: Quantiles, minimum: int, rules: Latency, evidence: Evidence) -> list[Gate]:
    samples = evidence.latency.measures.get(measure)
    gates = []
    for quantile, table in quantiles.budgets.items():
        budget, problem = table, "" if samples is not None else f"{measure} was not measured"
        if measure == "signal_to_ack":
            kept = evidence.studies.value("latency_stress", "l_star_ms")
            if kept is None or kept <= 0:
                problem = problem or "L*, the delay that leaves the edge whole, is not known"
            else:
                budget = min(table, kept)
        gate = _quantile(f"{measure}_p{100 * quantile:g}", samples, quantile, budget, minimum, rules, problem)
        gates.append(gate)
    return gates


def _quantile(
    name: str,
    samples: LatencySamples | None,
    quantile: float,
    budget: float,
    minimum: int,
    rules: Latency,
    problem: str,
) -> Gate:
    confidence = rules.confidence.value
    values = np.empty(0)
    if samples is not None:
        if np.isnan(samples.milliseconds).any() or (samples.milliseconds < 0).any():
            problem = problem or "a latency is negative or not a number"
        values = np.sort(_thinned(samples, budget))
    n = len(values)
    lower = upper = math.nan
    if n and not problem:
        rank, mirrored = (
            quantile_upper_bound(n, quantile, confidence),
            quantile_upper_bound(n, 1 - quantile, confidence),
        )
        upper = math.inf if rank is None else float(values[rank - 1])
        lower = -math.inf if mirrored is None else float(values[n - mirrored])
        if rank is None:
            problem = f"{n} independent samples can't bound the {100 * quantile:g} % quantile with {confidence:.0%}"
    if n < minimum:
        problem = problem or f"{n} independent samples; at least {minimum} are required"
    what = f"upper {confidence:.0%} bound of the {100 * quantile:g} % quantile in milliseconds"
    if not problem and lower > budget:
        # Both bounds may be infinite, where timeouts reach into the quantile: that is no missing number.
        what = f"lower {confidence:.0%} bound of the {100 * quantile:g} % quantile in milliseconds"
        shown = judge(
            name,
            Family.LATENCY,
            lower,
            "<=",
            budget,
            samples=n,
            what=what,
            remedy="a nearer or faster way to the venue",
        )
        reason = f"{what} is {lower:.6g}; required <= {budget:.6g}"
        return replace(shown, verdict=Verdict.FAIL, reason=reason)
    if not problem and math.isinf(upper):
        problem = f"{what} is infinite: timeouts reach into it"
    return judge(
        name,
        Family.LATENCY,
        upper,
        "<=",
        budget,
        samples=n,
        what=what,
        problem=problem,
        remedy="more samples, or a nearer or faster way to the venue",
        short=Verdict.INCONCLUSIVE,
    )


def _thinned(samples: LatencySamples, budget: float) -> Floats:
    """Return one sample a dependence length, in order of time: bursts of slow answers are one observation, not many.

    The length is that of a Markov chain whose states are within and beyond the budget, ``(1 + r) / (1 - r)`` at the
    autocorrelation ``r`` of one lag; samples without significant ``r`` are taken as independent.
    """
    values = samples.milliseconds[np.lexsort((samples.milliseconds, samples.at))]
    beyond = (values > budget).astype(np.float64)
    centred = beyond - beyond.mean() if len(beyond) else beyond
    variance = float(np.sum(centred**2))
    if len(values) < 3 or variance == 0:
        return values
    r = float(np.sum(centred[1:] * centred[:-1])) / variance
    if r <= 2 / math.sqrt(len(values)):
        return values
    return values[:: math.ceil((1 + r) / (1 - r))]
