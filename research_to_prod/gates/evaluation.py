"""Evaluation: evidence held against a policy, gate by gate. A pure function: the same bytes in, the same bytes out.

Values are rounded to 12 significant digits before they are compared, because processors and library builds differ
in the last bits; a margin below 1e-9 is INCONCLUSIVE, because there such a difference could have decided.

Belongs here: the gates and the report. Doesn't: formulas (``statistics``), thresholds (``policy``), gathering.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
from scipy.special import ndtr, ndtri

from research_to_prod.gates import statistics
from research_to_prod.gates.contracts import GATE_REPORT
from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.policy import Policy, Robustness, Statistics
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import (
    DAYS_A_YEAR,
    annualised_sharpe_ratio,
    sharpe_ratio,
    skewness_and_kurtosis,
)
from research_to_prod.values import Verdict, canonical_json

_SMALLEST_MARGIN = 1e-9


@dataclass(frozen=True)
class Gate:
    """One gate's answer; fields as in ``contracts.GATE_REPORT``."""

    gate: str
    family: str
    gating: bool
    verdict: Verdict
    value: float | None
    threshold: float | None
    margin: float | None
    comparison: str
    samples: int
    power: float | None
    minimum_track_record: float | None
    reason: str
    remedy: str


@dataclass(frozen=True)
class GateReport:
    """All gates of one policy on one candidate, sorted by family and name."""

    candidate: str
    policy_id: str
    policy_sha256: str
    gates: tuple[Gate, ...]

    @property
    def verdict(self) -> Verdict:
        """PASS only if every gating gate is; FAIL if any is; otherwise INCONCLUSIVE."""
        verdicts = {gate.verdict for gate in self.gates if gate.gating}
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE

    def to_table(self) -> pa.Table:
        """Return the rows of ``contracts.GATE_REPORT``."""
        shared = {"candidate": self.candidate, "policy_id": self.policy_id, "policy_sha256": self.policy_sha256}
        rows = [{**shared, **asdict(gate), "verdict": gate.verdict.value} for gate in self.gates]
        return GATE_REPORT.conform(pa.Table.from_pylist(rows, schema=GATE_REPORT.arrow), self.candidate)

    def canonical_bytes(self) -> bytes:
        """Return the report as canonical JSON, numbers as shortest decimal text: what is hashed and signed."""
        gates = [
            {name: repr(value) if isinstance(value, float) else value for name, value in asdict(gate).items()}
            for gate in self.gates
        ]
        return canonical_json(
            {
                "candidate": self.candidate,
                "policy_id": self.policy_id,
                "policy_sha256": self.policy_sha256,
                "verdict": self.verdict,
                "gates": gates,
            }
        )


@dataclass(frozen=True)
class _Moments:
    """Daily Sharpe ratio and what its precision depends on."""

    sharpe: float
    skewness: float
    kurtosis: float
    days: int

    @property
    def error(self) -> float:
        return statistics.sharpe_standard_error(self.sharpe, self.days, self.skewness, self.kurtosis)

    def exceeds(self, benchmark: float) -> float:
        return statistics.probabilistic_sharpe_ratio(self.sharpe, benchmark, self.days, self.skewness, self.kurtosis)

    def track_record(self, benchmark: float, confidence: float) -> float:
        return statistics.minimum_track_record_length(self.sharpe, benchmark, self.skewness, self.kurtosis, confidence)


def evaluate(policy: Policy, evidence: Evidence) -> GateReport:
    """Hold ``evidence`` against ``policy``, with the overrides for its strategy type.

    What is missing, not a number, or too little is INCONCLUSIVE, never a default.
    """
    rules = policy.for_type(evidence.strategy_type)
    gates = [
        _completeness(rules.data_quality.completeness.value, evidence),
        _unresolved(rules.data_quality.unresolved_findings.value, evidence),
        *_statistics(rules.statistics, evidence),
        *_robustness(rules.robustness, evidence),
        _drawdown(rules.risk.maximum_drawdown.value, evidence),
    ]
    ordered = tuple(sorted(gates, key=lambda gate: (gate.family, gate.gate)))
    return GateReport(evidence.candidate, policy.id, policy.sha256, ordered)


def _completeness(threshold: float, evidence: Evidence) -> Gate:
    bars = evidence.completeness
    unknown = sorted(symbol for symbol, pair in bars.items() if pair is None or not 0 <= pair[1] <= pair[0] > 0)
    shares = {symbol: pair[1] / pair[0] for symbol, pair in bars.items() if pair is not None and symbol not in unknown}
    problem = ""
    if not bars:
        problem = "no market's data quality is known"
    elif unknown:
        problem = f"data quality of {', '.join(unknown)} is not known for the whole window"
    worst = min(sorted(shares), key=lambda symbol: shares[symbol], default="")
    value = None if problem else shares[worst]
    return _judge(
        "completeness",
        "data_quality",
        value,
        ">=",
        threshold,
        samples=sum(pair[0] for pair in bars.values() if pair is not None),
        what=f"share of expected bars valid, or filled by a declared repair, in {worst}, the least complete market,",
        problem=problem,
        remedy="materialize market_quality for every month of the window; backfill the gaps, or choose another window",
    )


def _unresolved(threshold: float, evidence: Evidence) -> Gate:
    found = evidence.unresolved
    unknown = sorted(symbol for symbol, findings in found.items() if findings is None)
    problem = ""
    if not found:
        problem = "no market was examined"
    elif unknown:
        problem = f"{', '.join(unknown)} was not examined for the whole window"
    named = [f"{symbol} {each}" for symbol in sorted(found) for each in found[symbol] or ()]
    shown = f" ({'; '.join(named[:3])}{' and others' if len(named) > 3 else ''})" if named else ""
    return _judge(
        "unresolved_findings",
        "data_quality",
        None if problem else float(len(named)),
        "<=",
        threshold,
        samples=len(found),
        what=f"number of error-level findings that no declared repair settles{shown}",
        problem=problem,
        remedy="repair or declare what was found, as market_findings says for each, or choose another window",
        counted=True,
    )


def _statistics(rules: Statistics, evidence: Evidence) -> list[Gate]:
    moments, problem = _moments(evidence.daily_returns)
    days = len(evidence.daily_returns)
    record = moments.track_record(0.0, rules.track_record_confidence.value) if moments else math.nan
    minimum_days = _judge(
        "minimum_days",
        "statistics",
        float(days),
        ">=",
        rules.minimum_days.value,
        samples=days,
        what="number of daily returns",
        remedy="use a longer window",
        short=Verdict.INCONCLUSIVE,
    )
    if moments and math.isinf(record):
        problem = f"no track record suffices: the annual Sharpe ratio is {_annual(moments.sharpe)}"
    track_record = _judge(
        "minimum_track_record",
        "statistics",
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
    psr = _judge(
        "probabilistic_sharpe_ratio",
        "statistics",
        moments.exceeds(0.0) if moments else None,
        ">=",
        rules.reported_probabilistic_sharpe_ratio.value,
        samples=days,
        problem=_moments(evidence.daily_returns)[1],
        what=f"probability that the Sharpe ratio (annual {_annual(moments.sharpe)}) is positive" if moments else "",
        gating=False,
    )
    return [minimum_days, track_record, psr, *_deflated(rules, evidence)]


def _deflated(rules: Statistics, evidence: Evidence) -> list[Gate]:
    """Return the deflated Sharpe gate, and the reported form with the dispersion across trials."""
    moments, problem = _moments(evidence.daily_returns)
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
    gate = _judge(
        "deflated_sharpe_ratio",
        "statistics",
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
    reported = _judge(
        "deflated_sharpe_ratio_across_trials",
        "statistics",
        other,
        ">=",
        rules.reported_deflated_sharpe_ratio_across_trials.value,
        samples=len(sharpes),
        problem=problem,
        what=f"{what} (deviation across trials {across:.6g} a day)",
        gating=False,
    )
    return [gate, reported]


def _power(moments: _Moments, bar: float, annual_sharpe: float, threshold: float) -> float:
    """Return the probability that a true Sharpe ratio of ``annual_sharpe`` passes on such a sample."""
    sharpe = annual_sharpe / math.sqrt(DAYS_A_YEAR)
    error = replace(moments, sharpe=sharpe).error
    return float(ndtr((sharpe - bar) / error - ndtri(threshold)))


def _robustness(rules: Robustness, evidence: Evidence) -> list[Gate]:
    mean, bound = rules.stressed_mean_return, rules.stressed_sharpe_lower_bound
    series = {rule.cost_multiplier: evidence.stressed_returns.get(rule.cost_multiplier) for rule in (mean, bound)}
    gates = []
    for rule, name in ((mean, "stressed_mean_return"), (bound, "stressed_sharpe_lower_bound")):
        returns = series[rule.cost_multiplier]
        moments, problem = _moments(returns) if returns is not None else (None, "it was not backtested")
        value = math.nan
        what = f"mean daily net return at {rule.cost_multiplier:g} x costs"
        if moments and returns is not None:
            value = float(np.mean(returns))
            if rule is bound:
                value = annualised_sharpe_ratio(moments.sharpe - ndtri(bound.confidence) * moments.error)
                what = (
                    f"lower {bound.confidence:.0%} bound of the annual Sharpe ratio at {rule.cost_multiplier:g} x costs"
                )
        gates.append(
            _judge(
                name,
                "robustness",
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


def _drawdown(threshold: float, evidence: Evidence) -> Gate:
    known = evidence.max_drawdown is not None and evidence.max_drawdown >= 0
    return _judge(
        "maximum_drawdown",
        "risk",
        evidence.max_drawdown,
        "<=",
        threshold,
        samples=len(evidence.daily_returns),
        what="largest fall of equity from a peak",
        problem="" if known else "it was not backtested over the whole window",
        remedy="less leverage, or a strategy that loses less in a row",
    )


def _moments(returns: Floats) -> tuple[_Moments | None, str]:
    """Return the moments of daily returns, or the reason why there are none."""
    if len(returns) < 3:
        return None, f"{len(returns)} daily returns are too few"
    if not np.isfinite(returns).all():
        return None, "a daily return is not a number"
    sharpe = sharpe_ratio(returns)
    if math.isnan(sharpe):
        return None, "the daily returns don't vary: it never traded"
    return _Moments(sharpe, *skewness_and_kurtosis(returns), len(returns)), ""


def _judge(
    gate: str,
    family: str,
    value: float | None,
    comparison: str,
    threshold: float | None,
    *,
    samples: int,
    what: str,
    problem: str = "",
    remedy: str = "",
    gating: bool = True,
    short: Verdict = Verdict.FAIL,
    power: float | None = None,
    minimum_track_record: float | None = None,
    counted: bool = False,
) -> Gate:
    """Compare ``value`` with ``threshold``; ``short`` is the verdict when it falls short.

    A ``counted`` value is exact on every machine, so that one equal to the threshold meets it.

    A ``problem`` makes the answer INCONCLUSIVE whatever the value, as does a value that is not a finite number.
    """
    value, threshold = _rounded(value), _rounded(threshold)
    margin, verdict = None, Verdict.INCONCLUSIVE
    if value is None or threshold is None:
        reason = problem or f"{what} could not be computed"
    else:
        margin = _round(threshold - value if comparison == "<=" else value - threshold)
        if abs(margin) < _SMALLEST_MARGIN and not counted:
            reason = f"{what} is {value:.6g}, too close to the threshold {threshold:.6g} to tell"
        else:
            verdict = Verdict.PASS if margin > 0 or (counted and margin == 0) else short
            reason = f"{what} is {value:.6g}; required {comparison} {threshold:.6g}"
    if problem:
        verdict, reason = Verdict.INCONCLUSIVE, problem
    return Gate(
        gate=gate,
        family=family,
        gating=gating,
        verdict=verdict,
        value=value,
        threshold=threshold,
        margin=margin,
        comparison=comparison,
        samples=samples,
        power=_rounded(power),
        minimum_track_record=_rounded(minimum_track_record),
        reason=reason,
        remedy="" if verdict is Verdict.PASS else remedy,
    )


def _rounded(value: float | None) -> float | None:
    return _round(value) if value is not None and math.isfinite(value) else None


def _round(value: float) -> float:
    """Round to 12 significant digits; minus zero becomes zero."""
    return float(f"{value:.11e}") + 0.0


def _annual(daily_sharpe: float) -> str:
    return f"{annualised_sharpe_ratio(daily_sharpe):.2f}"
