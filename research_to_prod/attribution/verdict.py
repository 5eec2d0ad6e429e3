"""Is the edge gone, or is execution eating it? One verdict a strategy, from paired daily series.

Live P&L answers neither: a drift of the cost by 2 bps a day at 6 bps of noise was seen in 7 % of simulated quarters on
live P&L, and in 94 % on live less shadow. So three questions are asked of three series, each positive when worse:

edge        expected less shadow P&L: what the model earns on the bars as they came, against its deflated backtest
execution   shadow less live P&L: what trading cost beyond the costs that the model charges itself
selection   what was not filled against what was, by shadow P&L: whether the fills are the losers

An answer is YES when the evidence survives the correction for all questions of the book and the estimate is worth
acting on, NO when the effect that must be excluded is, UNKNOWN otherwise; then it is said for how long.

Belongs here: the questions, the verdicts and their words. Doesn't: evidence of one series (``verdict_evidence``),
making the series (``shadow``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from research_to_prod.attribution.verdict_evidence import FIRST_START, Look, looks
from research_to_prod.attribution.verdict_policy import AttributionPolicy
from research_to_prod.gates.statistics import e_benjamini_hochberg
from research_to_prod.research.bars import Floats


class EdgeVerdict(StrEnum):
    """What became of a strategy; only NORMAL says that it does what it was approved for."""

    NORMAL = "NORMAL"
    EXECUTION = "EXECUTION"
    EDGE = "EDGE"
    BOTH = "BOTH"
    SELECTION = "SELECTION"
    INCONCLUSIVE = "INCONCLUSIVE"


class Answer(StrEnum):
    """Whether a strategy does worse in one respect."""

    YES = "YES"
    NO = "NO"
    UNKNOWN = "UNKNOWN"


QUESTIONS = ("edge", "execution", "selection")
UNITS = {"edge": "of the expected edge", "execution": "bps a day", "selection": "bps a day"}


@dataclass(frozen=True, eq=False)
class StrategyRecord:
    """A strategy's life so far, by day; P&L in bps of capital.

    Parameters
    ----------
    shadow
        (n,) what its model would have earned, net of the costs that the model charges itself.
    live
        (n,) what it earned.
    expected
        Mean daily P&L of the deflated backtest, above 0.
    selection
        (k,) by how much the unfilled did better than it would have at the filled's mean return, on the days that had
        both (`shadow.PairedDay`); none when all was filled.
    orders
        Parent orders over the n days.
    """

    strategy: str
    shadow: Floats
    live: Floats
    expected: float
    selection: Floats
    orders: int

    def series(self) -> dict[str, Floats]:
        """Return the series of each question, in its unit.

        Raises
        ------
        ValueError
            Listing what keeps the record from being judged.
        """
        shadow, live, selection = (np.asarray(each, np.float64) for each in (self.shadow, self.live, self.selection))
        problems = []
        if math.isnan(self.expected):
            problems.append("the expected edge is not known")
        elif not 0 < self.expected < math.inf:
            problems.append(f"the expected edge is {self.expected:g}, not a positive number of bps a day")
        if shadow.ndim != 1 or shadow.shape != live.shape or selection.ndim != 1:
            problems.append(f"{len(shadow)} days of shadow don't pair with {len(live)} of live")
        for name, values in (("shadow", shadow), ("live", live), ("selection", selection)):
            if missing := int((~np.isfinite(values)).sum()):
                problems.append(f"{missing} of {len(values)} days of {name} are not known")
        if problems:
            raise ValueError("; ".join(problems))
        return {"edge": 1 - shadow / self.expected, "execution": shadow - live, "selection": selection}


@dataclass(frozen=True)
class Finding:
    """The answer to one question, effect size first.

    Parameters
    ----------
    effect
        Estimated worsening over the record: a share of the expected edge, or bps a day. NaN where it can't be judged.
    lower, upper
        Bounds of the effect that hold at every look: the lower at the error that a YES of this question has in this
        book, the upper at that of a NO.
    days_to_decide, orders_to_decide
        Until an answer can be expected; below the burn-in, until this can be stated. None when there is an answer, and
        when nobody can tell.
    began, effect_since
        The start, counted in days from 0, that carries most of the evidence, and the effect since then; None unless
        YES. Starts are looked at every `AttributionPolicy.restart_days`, so it says about when.
    """

    question: str
    answer: Answer
    days: int
    effect: float
    lower: float
    upper: float
    days_to_decide: int | None
    orders_to_decide: int | None
    began: int | None
    effect_since: float | None


@dataclass(frozen=True)
class StrategyVerdict:
    """The verdict on one strategy, with what it follows from.

    Parameters
    ----------
    findings
        In the order of `QUESTIONS`; empty when the record can't be judged.
    days_to_decide
        Days until the verdict can be expected to say more; None when nothing is open, or nobody can tell.
    """

    strategy: str
    verdict: EdgeVerdict
    findings: tuple[Finding, ...]
    days_to_decide: int | None
    orders_to_decide: int | None
    reason: str
    policy_sha256: str


def judge(book: Sequence[StrategyRecord], policy: AttributionPolicy) -> tuple[StrategyVerdict, ...]:
    """Return the verdict on each strategy of the book, from all days of its record.

    The same records and policy give the same verdicts. A record that can't be judged is INCONCLUSIVE, with everything
    that is wrong with it.

    Raises
    ------
    ValueError
        If two records name the same strategy: its hypotheses would count twice.
    """
    names = [record.strategy for record in book]
    if len(set(names)) < len(names):
        raise ValueError(f"strategies appear twice: {sorted({name for name in names if names.count(name) > 1})}")
    readable: dict[str, dict[str, Floats]] = {}
    refused: dict[str, str] = {}
    for record in book:
        try:
            readable[record.strategy] = record.series()
        except ValueError as error:
            refused[record.strategy] = str(error)
    alphas = allowed_errors(policy, max(len(readable), 1))
    seen = {name: last_looks(series, policy, alphas) for name, series in readable.items()}
    answers = answer(list(seen.values()), policy)
    found = dict(zip(seen, answers, strict=True))
    sha256 = policy.sha256
    verdicts = []
    for record in book:
        name = record.strategy
        if name in refused:
            verdict = EdgeVerdict.INCONCLUSIVE
            verdicts.append(StrategyVerdict(name, verdict, (), None, None, refused[name], sha256))
            continue
        findings = tuple(
            _finding(each, found[name][each], seen[name][each], readable[name][each], record, policy, alphas)
            for each in QUESTIONS
        )
        verdicts.append(_verdict(name, findings, policy, sha256))
    return tuple(verdicts)


def allowed_errors(policy: AttributionPolicy, strategies: int) -> dict[str, float]:
    """Return by question the probability of a false YES of one strategy, in a book where nothing else is found."""
    return {
        each: policy.false_discovery_rate.value * question.weight.value / strategies
        for each, question in policy.questions.items()
    }


def last_looks(
    series: Mapping[str, Floats], policy: AttributionPolicy, alphas: Mapping[str, float]
) -> dict[str, Look | None]:
    """Return what today's look at each series sees; None where it is too short or doesn't vary."""
    return {name: found[-1] for name, found in all_looks(series, policy, alphas).items()}


def all_looks(
    series: Mapping[str, Floats], policy: AttributionPolicy, alphas: Mapping[str, float]
) -> dict[str, list[Look | None]]:
    """Return what each day's look at each series saw, the first entry before any day."""
    result: dict[str, list[Look | None]] = {}
    for name, question in policy.questions.items():
        restart, least = int(policy.restart_days.value), int(policy.burn_in_days.value)
        found = looks(series[name], question.decide_by_days.value, alphas[name], restart, least)
        sights: list[Look | None] = [None] * (len(series[name]) + 1 - len(found))
        sights += (each if each.deviation > 0 else None for each in found)
        result[name] = sights
    return result


def answer(book: Sequence[Mapping[str, Look | None]], policy: AttributionPolicy) -> list[dict[str, Answer]]:
    """Return the answers to the three questions for each strategy of the book, from one look at each series."""
    questions = policy.questions
    asked = [(row, name) for row in range(len(book)) for name in QUESTIONS]
    sights = [book[row][name] for row, name in asked]
    rejected = e_benjamini_hochberg(
        np.array([-math.inf if each is None else each.log_evidence for each in sights]),
        policy.false_discovery_rate.value,
        np.array([questions[name].weight.value for _, name in asked]),
    )
    enough = -math.log(policy.false_normal.value)
    answers: list[dict[str, Answer]] = [dict.fromkeys(QUESTIONS, Answer.UNKNOWN) for _ in book]
    for (row, name), look, worse in zip(asked, sights, rejected.tolist(), strict=True):
        if look is None:
            continue
        question = questions[name]
        if worse and look.effect_since >= question.acted_on.value:
            answers[row][name] = Answer.YES
        # What is excluded for the whole record may have come lately: then nobody knows.
        elif (
            look.largest_effect < question.ruled_out.value
            and look.log_evidence_against(question.ruled_out.value) >= enough
        ):
            answers[row][name] = Answer.NO
    return answers


def verdict_of(answers: Mapping[str, Answer]) -> EdgeVerdict:
    """Return the verdict that three answers make.

    Selection comes before execution: what the fills lose to what was missed is part of shadow less live, and its
    remedy is another one. An edge that is gone comes before both.
    """
    edge, execution, selection = (answers[name] for name in QUESTIONS)
    if edge is Answer.YES:
        return EdgeVerdict.BOTH if execution is Answer.YES else EdgeVerdict.EDGE
    if selection is Answer.YES:
        return EdgeVerdict.SELECTION
    if execution is Answer.YES:
        return EdgeVerdict.EXECUTION
    # An open question of selection doesn't matter: what it would cost is in the paired difference, which is in band.
    return EdgeVerdict.NORMAL if edge is execution is Answer.NO else EdgeVerdict.INCONCLUSIVE


def _finding(
    name: str, given: Answer, look: Look | None, series: Floats, record: StrategyRecord,
    policy: AttributionPolicy, alphas: Mapping[str, float],
) -> Finding:  # fmt: skip
    def orders_in(days: int) -> int | None:
        return math.ceil(days * record.orders / len(record.shadow)) if len(record.shadow) else None

    if look is None:
        missing = int(policy.burn_in_days.value) - len(series)
        days = missing if missing > 0 else None
        nan = math.nan
        return Finding(name, given, len(series), nan, nan, nan, days, orders_in(missing) if days else None, None, None)
    question, alpha_no = policy.questions[name], policy.false_normal.value
    # The record as a whole is one start among others.
    alpha_yes = alphas[name] * FIRST_START
    days = None
    if given is Answer.UNKNOWN:
        days = look.days_to_decide(question.ruled_out.value, alpha_yes, alpha_no, policy.power.value)
    worse = given is Answer.YES
    return Finding(
        question=name,
        answer=given,
        days=look.n,
        effect=look.mean,
        lower=look.mean - look.width(alpha_yes),
        upper=look.mean + look.width(alpha_no),
        days_to_decide=days,
        orders_to_decide=None if days is None else orders_in(days),
        began=look.n - look.since if worse else None,
        effect_since=look.effect_since if worse else None,
    )


def _verdict(name: str, findings: tuple[Finding, ...], policy: AttributionPolicy, sha256: str) -> StrategyVerdict:
    verdict = verdict_of({each.question: each.answer for each in findings})
    # Until the verdict says more: an open question of selection keeps nothing open (see verdict_of).
    open_ = [each for each in findings[:2] if each.answer is Answer.UNKNOWN]
    unseen = [each for each in open_ if each.days_to_decide is None]
    known = [each for each in open_ if each.days_to_decide is not None]
    longest = max(known, key=lambda each: each.days_to_decide or 0, default=None)
    days = longest.days_to_decide if longest and not unseen else None
    orders = longest.orders_to_decide if longest and not unseen else None
    sentences = [_sentence(each, policy) for each in findings if each.question != "selection" or each.days]
    return StrategyVerdict(name, verdict, findings, days, orders, " ".join(sentences), sha256)


def _sentence(finding: Finding, policy: AttributionPolicy) -> str:
    name, unit = finding.question, UNITS[finding.question]
    if math.isnan(finding.effect):
        if finding.days < policy.burn_in_days.value:
            return f"{name.capitalize()}: {finding.days} days; {policy.burn_in_days.value:g} are needed to judge."
        return f"{name.capitalize()}: its {finding.days} days don't vary, which no market does; look at the record."
    pattern = "{:.0%}" if name == "edge" else "{:.2f}"
    effect, lower, upper = (pattern.format(each) for each in (finding.effect, finding.lower, finding.upper))
    lost = f"{name.capitalize()}: {effect} {unit} lost ({lower} to {upper}) in {finding.days} days"
    if finding.answer is Answer.YES:
        since = "" if not finding.began else f"; {pattern.format(finding.effect_since)} since about day {finding.began}"
        return f"{lost}{since}."
    if finding.answer is Answer.NO:
        return f"{lost}: {pattern.format(policy.questions[name].ruled_out.value)} {unit} is excluded."
    return f"{lost}: open for about {finding.days_to_decide} days or {finding.orders_to_decide} orders more."
