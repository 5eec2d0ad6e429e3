"""The gates on luck: whether the edge can be told from the best of many worthless searches.

Two textbook gates punish a genuine plateau, which many trials share: the dispersion across such trials is not luck, and
the rank of their winner out of sample is a coin toss. So the deflated Sharpe ratio takes its deviation under the null,
and the probability of overfitting stands beside that of a loss out of sample: either refutes overfitting.

Belongs here: the family statistics. Doesn't: formulas (``statistics``), studies (``research``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from research_to_prod.gates import statistics
from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.families import Family, Statistics
from research_to_prod.gates.gate import Gate, judge
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import (
    DAYS_A_YEAR,
    annualised_sharpe_ratio,
    sharpe_ratio,
    skewness_and_kurtosis,
)
from research_to_prod.values import Verdict


@dataclass(frozen=True)
class Moments:
    """Daily Sharpe ratio and what its precision depends on."""

    sharpe: float
    skewness: float
    kurtosis: float
    days: int

    @property
    def error(self) -> float:
        """Standard error of the Sharpe ratio."""
        return statistics.sharpe_standard_error(self.sharpe, self.days, self.skewness, self.kurtosis)

    def exceeds(self, benchmark: float) -> float:
        """Probability that the true Sharpe ratio lies above ``benchmark``."""
        return statistics.probabilistic_sharpe_ratio(self.sharpe, benchmark, self.days, self.skewness, self.kurtosis)

    def track_record(self, benchmark: float, confidence: float) -> float:
        """Days that it takes to tell so with ``confidence``."""
        return statistics.minimum_track_record_length(self.sharpe, benchmark, self.skewness, self.kurtosis, confidence)


def statistics_gates(rules: Statistics, evidence: Evidence) -> list[Gate]:
    """Return the gates of the family."""
    moments, problem = moments_of(evidence.daily_returns)
    days = len(evidence.daily_returns)
    record = moments.track_record(0.0, rules.track_record_confidence.value) if moments else math.nan
    minimum_days = judge(
        "minimum_days",
        Family.STATISTICS,
        float(days),
        ">=",
        rules.minimum_days.value,
        samples=days,
        what="number of daily returns",
        remedy="use a longer window",
        short=Verdict.INCONCLUSIVE,
    )
    if moments and math.isinf(record):
        problem = f"no track record suffices: the annual Sharpe ratio is {annual(moments.sharpe)}"
    track_record = judge(
        "minimum_track_record",
        Family.STATISTICS,
        float(days) if moments else None,
        ">=",
        record if math.isfinite(record) else None,
        samples=days,
        what="number of daily returns, against the minimum track record length,",
        problem=problem,
        remedy="a longer window, or a better strategy",
        short=Verdict.INCONCLUSIVE,
        minimum_track_record=record,
    )
    psr = judge(
        "probabilistic_sharpe_ratio",
        Family.STATISTICS,
        moments.exceeds(0.0) if moments else None,
        ">=",
        rules.reported_probabilistic_sharpe_ratio.value,
        samples=days,
        problem=moments_of(evidence.daily_returns)[1],
        what=f"probability that the Sharpe ratio (annual {annual(moments.sharpe)}) is positive" if moments else "",
        gating=False,
    )
    return [
        minimum_days,
        track_record,
        psr,
        *_deflated(rules, evidence),
        _overfitting(rules, evidence),
        _selection(rules, evidence),
        _backtest_length(rules, evidence),
    ]


def _deflated(rules: Statistics, evidence: Evidence) -> list[Gate]:
    """Return the deflated Sharpe gate, and the reported form with the dispersion across trials."""
    moments, problem = moments_of(evidence.daily_returns)
    n, threshold = evidence.n_trials, rules.deflated_sharpe_ratio.value
    if n is None:
        problem = problem or "the candidate's own trial is not in the trial ledger"
    elif n < 2 or n < len(evidence.trial_sharpes):
        seen = len(evidence.trial_sharpes)
        problem = problem or f"the trial count {n} can't be used: under 2, or under the {seen} Sharpe ratios beside it"
    remedy = "fewer trials next time and a longer window; trials already made stay in the ledger"
    under_null = statistics.null_sharpe_deviation(evidence.daily_returns)
    sharpes = np.sort(evidence.trial_sharpes)
    across = float(np.std(sharpes, ddof=1)) if len(sharpes) >= 2 else math.nan
    value = power = record = other = math.nan
    if moments and n is not None and not problem:
        bar = statistics.expected_maximum_sharpe_ratio(under_null, n)
        value, other = moments.exceeds(bar), moments.exceeds(statistics.expected_maximum_sharpe_ratio(across, n))
        power = _power(moments, bar, rules.reference_sharpe.value, threshold)
        record = moments.track_record(bar, threshold)
    what = f"probability that the Sharpe ratio is positive after {n} trials"
    gate = judge(
        "deflated_sharpe_ratio",
        Family.STATISTICS,
        value,
        ">=",
        threshold,
        samples=evidence.n_trials or 0,
        problem=problem,
        what=f"{what} (sampling deviation under the null {under_null:.6g} a day)",
        remedy="run the candidate's trials" if n is None else remedy,
        power=power,
        minimum_track_record=record,
    )
    if gate.verdict is Verdict.FAIL and not power >= rules.minimum_power.value:
        reason = (
            f"{gate.reason}; but an annual Sharpe ratio of {rules.reference_sharpe.value:g} would pass with a "
            f"probability of only {power:.3g}"
        )
        gate = replace(gate, verdict=Verdict.INCONCLUSIVE, reason=reason)
    reported = judge(
        "deflated_sharpe_ratio_across_trials",
        Family.STATISTICS,
        other,
        ">=",
        rules.reported_deflated_sharpe_ratio_across_trials.value,
        samples=len(sharpes),
        problem=problem,
        what=f"{what} (deviation across trials {across:.6g} a day)",
        gating=False,
    )
    return [gate, reported]


def _power(moments: Moments, bar: float, annual_sharpe: float, threshold: float) -> float:
    """Return the probability that a true Sharpe ratio of ``annual_sharpe`` passes on such a sample."""
    sharpe = annual_sharpe / math.sqrt(DAYS_A_YEAR)
    error = replace(moments, sharpe=sharpe).error
    return float(ndtr((sharpe - bar) / error - ndtri(threshold)))


def _overfitting(rules: Statistics, evidence: Evidence) -> Gate:
    """PASS when either probability is low, FAIL when both can be told and neither is.

    With few trials the rank of the winner is too coarse to say anything; whether it loses money out of sample is not.
    """
    study = evidence.studies
    pbo, loss = study.value("overfitting", "pbo"), study.value("overfitting", "loss_probability")
    trials, blocks = study.value("overfitting", "n_trials") or 0, study.value("overfitting", "n_blocks") or 0
    ranked = pbo is not None and trials >= rules.overfitting_trials.value
    found = [(loss, rules.loss_probability.value, "probability that the in-sample winner loses out of sample")]
    if ranked:
        found.append((pbo, rules.overfitting_probability.value, "probability of backtest overfitting"))
    problem = ""
    if blocks < rules.overfitting_blocks.value:
        problem = "the study of overfitting is missing, or has too few blocks of time"
    elif loss is None:
        problem = "the probability of a loss out of sample is not known"
    elif not all(0 <= each <= 1 for each, *_ in found if each is not None):
        problem = "a probability of the study of overfitting lies outside 0 to 1"
    value, threshold, what = min(found, key=lambda each: math.inf if each[0] is None else each[0] / each[1])
    other = "" if pbo is None or loss is None else f" (of {trials:.6g} trials; overfitting {pbo:.3g}, loss {loss:.3g})"
    gate = judge(
        "overfitting",
        Family.STATISTICS,
        value,
        "<=",
        threshold,
        samples=int(trials),
        what=what + other,
        problem=problem,
        remedy="a search with fewer free choices, or a longer window; trials already made stay in the ledger",
    )
    if gate.verdict is Verdict.FAIL and not ranked:
        reason = f"{gate.reason}; {trials:.6g} trials that traded are too few to rank the winner"
        gate = replace(gate, verdict=Verdict.INCONCLUSIVE, reason=reason)
    return gate


def _selection(rules: Statistics, evidence: Evidence) -> Gate:
    value = evidence.studies.value("selection", "spa_consistent")
    return judge(
        "superior_predictive_ability",
        Family.STATISTICS,
        value,
        "<=",
        rules.selection_p_value.value,
        samples=int(evidence.studies.value("selection", "resamples") or 0),
        what="p-value of the best trial after the whole search (Hansen's consistent test)",
        problem="" if value is not None and 0 <= value <= 1 else "the test of the whole search is missing",
        remedy="materialize validation; fewer trials next time, or a longer window",
    )


def _backtest_length(rules: Statistics, evidence: Evidence) -> Gate:
    """Report the years against those in which the best of as many worthless trials reaches the reference."""
    n, days = evidence.n_trials, len(evidence.daily_returns)
    known = n is not None and n >= 2
    needed = statistics.minimum_backtest_length(n, rules.reference_sharpe.value) if n is not None and n >= 2 else None
    return judge(
        "minimum_backtest_length",
        Family.STATISTICS,
        days / DAYS_A_YEAR,
        ">=",
        needed,
        samples=days,
        what=f"years of the window, for {n} trials and an annual Sharpe ratio of {rules.reference_sharpe.value:g},",
        problem="" if known else "the number of trials is not known",
        gating=False,
    )


def moments_of(returns: Floats) -> tuple[Moments | None, str]:
    """Return the moments of daily returns, or the reason why there are none."""
    if len(returns) < 3:
        return None, f"{len(returns)} daily returns are too few"
    if not np.isfinite(returns).all():
        return None, "a daily return is not a number"
    sharpe = sharpe_ratio(returns)
    if math.isnan(sharpe):
        return None, "the daily returns don't vary: it never traded"
    return Moments(sharpe, *skewness_and_kurtosis(returns), len(returns)), ""


def annual(daily_sharpe: float) -> str:
    """Return a daily Sharpe ratio as the annual one in words."""
    return f"{annualised_sharpe_ratio(daily_sharpe):.2f}"
