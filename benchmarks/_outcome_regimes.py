"""A year of a desk under each regime: who is promoted, when, at what size, and when it is taken back.

Belongs here: the regimes; what the gates and the rollback decide is asked of the shipped code. Doesn't: drawing, and
statistics over desks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks import false_promotions as study
from benchmarks._outcome_draws import LIVE, Drawn
from research_to_prod.gates.evaluation import evaluate
from research_to_prod.gates.evidence import BookStrategy, Evidence, PairedEvidence, Studies
from research_to_prod.gates.families import Implementation
from research_to_prod.gates.implementation import implementation_gates
from research_to_prod.gates.policy import Policy, load_policy
from research_to_prod.gates.risk import risk_gates
from research_to_prod.promotion.rollback.baseline import BaselineError, baseline_of, held_to_edge
from research_to_prod.promotion.rollback.design import Design, design
from research_to_prod.promotion.rollback.history import judge_days
from research_to_prod.promotion.rollback.policy import load_rollback_policy
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR, max_drawdown
from research_to_prod.values import Stage, StrategyType, Verdict

SLOTS = 4
"""Strategies that a desk runs at once, as the rollback's policy has it; each gets an equal part of the capital."""
MEETING = 7
"""Days from candidate to live under a rule: the next weekly meeting."""
STOP = 1.5
"""Without detectors, a strategy is stopped when its live drawdown exceeds so many times that of its backtest."""
LARGEST_DRAWDOWN, SHARPES = 0.20, (1.5, 2.0)
"""The two thresholds of the rule; the Sharpe ratio is annual and in sample."""
CANARY_SIZE = 0.1
DECISIONS_A_DAY = 24
"""A strategy on hourly bars decides each hour, mostly to keep what it holds."""
CONFIDENCE = 1.645
"""Normal quantile of a one-sided 95 % bound."""
TYPE = StrategyType.SWING
INFORMAL, GATES = "informal", "gates"
_DAYS = pd.date_range("2026-01-01", periods=LIVE, freq="D")


def by_rule(sharpe: float) -> str:
    return f"rule, Sharpe {sharpe:g}"


REGIMES = (INFORMAL, *(by_rule(each) for each in SHARPES), GATES)


@dataclass(frozen=True)
class Rules:
    """The shipped policies of each step, and the numbers that rollback follows."""

    to_paper: Policy
    to_canary: Policy
    to_live: Policy
    rollback: Design

    @classmethod
    def shipped(cls) -> Rules:
        folder = study.PACKAGE / "desk" / "policies"
        steps = (load_policy(folder / f"{name}.yaml") for name in _STEPS)
        return cls(*steps, design(load_rollback_policy(folder / "rollback.yaml"), TYPE))


_STEPS = ("research_to_paper", "paper_to_canary", "canary_to_live")


@dataclass(frozen=True)
class Rollback:
    """One reduction: the day that decided it, whether the edge was alive then, and by what."""

    day: int
    false: bool
    layer: str


@dataclass(frozen=True, eq=False)
class Course:
    """What became of one candidate under one regime.

    Parameters
    ----------
    size
        (LIVE,) share of its full size that it traded with on each day.
    lead
        Days until it traded at full size; None: it never did.
    """

    kind: str
    size: Floats
    lead: int | None
    rollbacks: tuple[Rollback, ...]
    alive: np.ndarray
    promoted: bool = True

    @property
    def detection(self) -> int | None:
        """Days from the first on which it traded without an edge to the first reduction after it; None: not found."""
        dead = np.flatnonzero(~self.alive & (self.size > 0))
        if not len(dead):
            return None
        return next((each.day - int(dead[0]) + 1 for each in self.rollbacks if each.day >= dead[0]), None)

    @property
    def unsound(self) -> bool:
        """Whether it traded on days without an edge."""
        return bool((~self.alive & (self.size > 0)).any())


@dataclass(frozen=True, eq=False)
class Year:
    """A desk's live year under one regime: daily returns on its capital, and the candidates' courses."""

    returns: Floats
    courses: tuple[Course, ...]

    @cached_property
    def sharpe(self) -> float:
        """Annual; 0 for a desk that traded nothing."""
        deviation = float(self.returns.std(ddof=1))
        return float(self.returns.mean()) / deviation * float(np.sqrt(DAYS_A_YEAR)) if deviation else 0.0

    @cached_property
    def drawdown(self) -> float:
        return max_drawdown(np.cumprod(1 + self.returns), 1.0)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A candidate with what research says of it, and what each regime would make of it."""

    drawn: Drawn
    evidence: Evidence
    rules: Rules

    @cached_property
    def sharpe(self) -> float:
        """Annual, in sample."""
        best = self.evidence.daily_returns
        return float(best.mean() / best.std(ddof=1) * np.sqrt(DAYS_A_YEAR))

    @property
    def drawdown(self) -> float:
        return self.evidence.max_drawdown or 0.0

    @cached_property
    def passes(self) -> bool:
        """Whether the gates of research pass it."""
        return evaluate(self.rules.to_paper, self.evidence).verdict is Verdict.PASS

    @cached_property
    def at_once(self) -> Course:
        return stopped(self, lead=0)

    @cached_property
    def after_meeting(self) -> Course:
        return stopped(self, lead=MEETING)

    @cached_property
    def by_stages(self) -> Course:
        return staged(self)


def proposals(candidates: Sequence[Drawn], studies: Sequence[Studies], rules: Rules) -> list[Proposal]:
    found = []
    for number, (each, figures) in enumerate(zip(candidates, studies, strict=True)):
        evidence = study.evidence_of(each.research, each.kind.sharpe or 3.0, figures)
        found.append(Proposal(each, replace(evidence, candidate=str(number)), rules))
    return found


def years(proposed: Sequence[Proposal]) -> dict[str, Year]:
    """Return the year of one desk under each regime."""
    ranked = sorted(proposed, key=lambda each: -each.sharpe)
    found = {INFORMAL: _year(ranked, ranked[:SLOTS], lambda each: each.at_once)}
    for sharpe in SHARPES:
        meeting = [each for each in ranked if each.sharpe >= sharpe and each.drawdown <= LARGEST_DRAWDOWN]
        found[by_rule(sharpe)] = _year(ranked, meeting[:SLOTS], lambda each: each.after_meeting)
    found[GATES] = _year(ranked, admitted(ranked), lambda each: each.by_stages)
    return found


def _year(ranked: Sequence[Proposal], promoted: Sequence[Proposal], run: Callable[[Proposal], Course]) -> Year:
    returns, courses = np.zeros(LIVE), []
    for each in ranked:
        if each not in promoted:
            nothing = np.zeros(LIVE)
            courses.append(Course(each.drawn.kind.what, nothing, None, (), each.drawn.alive, promoted=False))
            continue
        courses.append(course := run(each))
        returns += course.size * each.drawn.live / SLOTS
    return Year(returns, tuple(courses))


def stopped(proposal: Proposal, lead: int) -> Course:
    """Trade at full size from day ``lead`` on, until the drawdown stop."""
    drawn, size = proposal.drawn, np.zeros(LIVE)
    equity = np.cumprod(1 + drawn.live[lead:])
    fall = 1 - equity / np.maximum.accumulate(np.maximum(equity, 1.0))
    beyond = np.flatnonzero(fall > STOP * proposal.drawdown)
    last = lead + int(beyond[0]) if len(beyond) else LIVE - 1
    size[lead : last + 1] = 1.0
    rollbacks = (Rollback(last, bool(drawn.alive[last]), "drawdown stop"),) if len(beyond) else ()
    return Course(drawn.kind.what, size, lead, rollbacks, drawn.alive)


def admitted(ranked: Sequence[Proposal]) -> list[Proposal]:
    """Return who passes the gates of research, and adds to those before it; best first, as far as there are slots."""
    passing: list[Proposal] = []
    for each in ranked:
        if len(passing) == SLOTS or not each.passes:
            continue
        policy = each.rules.to_canary
        risk = policy.for_type(TYPE).risk
        beside = replace(each.evidence, book=tuple(_in_book(other.evidence) for other in passing))
        gates = [] if risk is None else risk_gates(risk, policy.allocation, beside)
        if all(gate.verdict is Verdict.PASS for gate in gates if gate.gating):
            passing.append(each)
    return passing


def _in_book(evidence: Evidence) -> BookStrategy:
    return BookStrategy(
        candidate=evidence.candidate,
        strategy_type=TYPE,
        venue=evidence.venue,
        capital=study.CAPITAL,
        days=evidence.days,
        daily_returns=evidence.daily_returns,
        exposure={"DRAWN": float(np.abs(study.HOLDINGS.weights).max()) * study.CAPITAL},
    )


def staged(proposal: Proposal) -> Course:
    """Trade from paper through the canary to live, and back by the shipped detectors; nothing is promoted twice."""
    drawn, rules = proposal.drawn, proposal.rules
    size, rollbacks = np.zeros(LIVE), list[Rollback]()
    idle = Course(drawn.kind.what, size, None, (), drawn.alive)
    # On paper fills are the model's: it pays what was assumed.
    begins = _proven(rules.to_canary, proposal, drawn.tracking)
    if begins is None or not _watchable(proposal, rules.rollback):
        return idle
    on_canary = _proven(rules.to_live, proposal, (drawn.tracking - drawn.worse)[begins:])
    ends = LIVE if on_canary is None else begins + on_canary
    residuals = drawn.tracking - np.where(np.arange(LIVE) < begins, 0.0, drawn.worse)
    stage, day, until = Stage.CANARY, begins, ends
    lead = None
    while stage in _SIZES and day < LIVE:
        fired = _first_trigger(proposal, rules.rollback, stage, residuals, day, until)
        last = until - 1 if fired is None else fired.day
        size[day : last + 1] = _SIZES[stage]
        if stage is Stage.LIVE and lead is None:
            lead = day
        day = last + 1
        if fired is None:
            stage, until = Stage.LIVE, LIVE
            continue
        rollbacks.append(Rollback(fired.day, bool(drawn.alive[fired.day]), fired.layer))
        stage, until = fired.to_stage, LIVE
    return replace(idle, lead=lead, rollbacks=tuple(rollbacks))


def _watchable(proposal: Proposal, rules: Design) -> bool:
    """Return whether there is an edge that could be missed: nothing trades that nothing can take back."""
    try:
        held_to_edge(proposal.evidence.daily_returns, rules.standardisation)
    except BaselineError:
        return False
    return True


_SIZES = {Stage.CANARY: CANARY_SIZE, Stage.LIVE: 1.0}


@dataclass(frozen=True)
class _Fired:
    day: int
    layer: str
    to_stage: Stage


def _first_trigger(
    proposal: Proposal, rules: Design, stage: Stage, residuals: Floats, begin: int, until: int
) -> _Fired | None:
    """Watch the days [begin, until) at one stage; the residuals before are the implementation's reference."""
    baseline = baseline_of(proposal.evidence.daily_returns, residuals[:begin], rules.standardisation)
    name, days = proposal.evidence.candidate, _DAYS[begin:until]
    watch = Watch(name, "0" * 64, stage, rules, baseline)
    live = pd.DataFrame({name: proposal.drawn.live[begin:until]}, days)
    shadow = pd.DataFrame({name: (proposal.drawn.live - residuals)[begin:until]}, days)
    triggers = judge_days([watch], live, shadow).triggers
    if not triggers:
        return None
    first = triggers[0]
    return _Fired(begin + int(days.get_loc(pd.Timestamp(first.at))), str(first.layer), first.to_stage)


def _proven(policy: Policy, proposal: Proposal, residuals: Floats) -> int | None:
    """Return after how many days the gates on implementation pass first; None: not within the year.

    Parameters
    ----------
    residuals
        (n,) daily live less shadow returns of the stage.
    """
    rules = policy.for_type(TYPE).implementation
    if rules is None:
        raise ValueError(f"{policy.id} has no gates on implementation")
    for days in range(int(rules.paired_days.value), len(residuals) + 1):
        if _implementation_passes(rules, proposal, residuals[:days]):
            return days
    return None


def _implementation_passes(rules: Implementation, proposal: Proposal, residuals: Floats) -> bool:
    days = len(residuals)
    behind = -residuals.mean() + CONFIDENCE * residuals.std(ddof=1) / np.sqrt(days)
    decisions = DECISIONS_A_DAY * days
    paired = PairedEvidence(
        days=days,
        decisions=decisions,
        compared_decisions=decisions,
        equal_decisions=decisions,
        bars=decisions,
        agreeing_bars=decisions,
        slippage_ratio=float(1 + behind / proposal.drawn.cost),
    )
    gates = implementation_gates(rules, replace(proposal.evidence, paired=paired))
    return all(gate.verdict is Verdict.PASS for gate in gates if gate.gating)
