"""The families of gates: which thresholds each of them needs.

Belongs here: one model a family; the policy file has a section for each. Doesn't: which transition asks for which
family (``policy``), arithmetic (a module a family, such as ``risk``).
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen
from research_to_prod.gates.thresholds import (
    Count,
    Positive,
    Probability,
    Sampled,
    SampledShare,
    Share,
    Significance,
    Stressed,
    StressedBound,
    Threshold,
)
from research_to_prod.values import StrategyType


class Family(StrEnum):
    """What a gate is about; one blocking check each."""

    DATA_QUALITY = "data_quality"
    STATISTICS = "statistics"
    ROBUSTNESS = "robustness"
    IMPLEMENTATION = "implementation"
    LATENCY = "latency"
    RISK = "risk"
    READINESS = "readiness"


class DataQuality(Frozen):
    """Whether the history can be believed."""

    completeness: Share
    """Least share of expected bars that are valid, of every market of the universe over the window."""
    unresolved_findings: Count
    """Most error-level findings on the markets of the universe over the window that no declared repair settles."""


class Statistics(Frozen):
    """Whether the edge can be told from luck."""

    minimum_days: Positive
    """Days of daily returns below which nothing is concluded."""
    track_record_confidence: Probability
    """The track record must be long enough for the Sharpe ratio to be positive at this confidence."""
    deflated_sharpe_ratio: Probability
    """Least probability that the Sharpe ratio is positive after all trials in the ledger."""
    reference_sharpe: Positive
    """Annual Sharpe ratio of an edge that the deflated Sharpe gate should recognise; its power is stated for that."""
    minimum_power: Share
    """Power below which a failure says more about the sample than about the strategy."""
    overfitting_probability: Significance
    """Most probability of backtest overfitting; either this or the next must hold."""
    loss_probability: Significance
    """Most probability that the in-sample winner loses out of sample."""
    overfitting_trials: Count
    """Trials that traded below which the rank of the winner is too coarse for a probability of overfitting."""
    overfitting_blocks: Count
    """Blocks of time below which there are too few splits for either probability."""
    selection_p_value: Significance
    """Most p-value of the consistent test of superior predictive ability over all trials."""
    reported_probabilistic_sharpe_ratio: Probability
    """Reported beside the gates."""
    reported_deflated_sharpe_ratio_across_trials: Probability
    """Reported beside the gates: the form with the dispersion observed across trials."""


class Robustness(Frozen):
    """Whether the edge survives what is worse than assumed."""

    stressed_mean_return: Stressed
    stressed_sharpe_lower_bound: StressedBound
    walk_forward_efficiency: SampledShare
    """Least out-of-sample mean over in-sample mean, of the anchored folds."""
    walk_forward_positive_folds: SampledShare
    """Least share of folds with a gain, of the anchored folds."""
    cross_validated_sharpe_quantile: Sampled
    """The 5 % quantile of the annual Sharpe ratios of the combinatorial paths lies above this."""
    cross_validated_positive_paths: SampledShare
    neighbourhood_median_ratio: SampledShare
    """Least median Sharpe ratio of the neighbouring parameters over the candidate's own."""
    neighbourhood_minimum_sharpe: Sampled
    """The annual Sharpe ratio of the worst neighbour lies above this."""
    capacity_retained: Share
    """Least share of the edge without impact that is left at the capital asked for."""
    bootstrap_sharpe_lower_bound: Threshold
    """The lower 95 % bound of the annual Sharpe ratio lies above this."""
    edge_kept_at: Positive
    """Milliseconds from the bar's close that must leave at least 80 % of the net edge."""
    gain_from_delay: Count
    """Delays that may significantly improve the Sharpe ratio: a signal that improves with age looked ahead."""


class Implementation(Frozen):
    """Whether the desk's trading does what the model does, on paired observations."""

    paired_days: Count
    paired_decisions: Count
    signal_parity: Share
    """Least share of decisions equal to the shadow's."""
    feed_agreement: Share
    """Least share of the live feed's bars within one tick of the vendor's."""
    slippage_ratio: Positive
    """Most upper confidence bound of realised slippage over modelled slippage."""


class Quantiles(Frozen):
    """The budgets of one measure of latency, in milliseconds; a quantile that is left out has none."""

    p50: float | None = Field(default=None, gt=0)
    p95: float | None = Field(default=None, gt=0)
    p99: float | None = Field(default=None, gt=0)
    p99_9: float | None = Field(default=None, gt=0)
    why: str = Field(min_length=30)

    @property
    def budgets(self) -> dict[float, float]:
        """Milliseconds by quantile."""
        named = {0.5: self.p50, 0.95: self.p95, 0.99: self.p99, 0.999: self.p99_9}
        return {quantile: budget for quantile, budget in named.items() if budget is not None}

    @model_validator(mode="after")
    def _rises(self) -> Self:
        budgets = list(self.budgets.values())
        if not budgets or budgets != sorted(budgets):
            raise ValueError("at least one quantile needs a budget, and a higher quantile's is not smaller")
        return self


class TypeLatency(Frozen):
    """The latency budgets of one type of strategy."""

    minimum_samples: Count
    signal_to_ack: Quantiles
    """From the decision to the venue's acknowledgement."""
    cancel_to_ack: Quantiles
    feed_age: Quantiles
    """Age of a market data message when it arrives."""
    leg_skew: Quantiles | None = None
    """Between the acknowledgements of the legs of one decision, where a strategy has legs."""


class Latency(Frozen):
    """Whether the measured latency fits the strategy."""

    confidence: Probability
    minimum_days: Count
    """Days with samples within the market's busiest hour."""
    budgets: dict[StrategyType, TypeLatency]

    @model_validator(mode="after")
    def _every_type_has_budgets(self) -> Self:
        if missing := sorted(set(StrategyType) - set(self.budgets)):
            raise ValueError(f"budgets: {', '.join(missing)} is missing")
        return self


class Event(Frozen):
    """A dated stress, replayed on the candidate's own backtest where its window covers it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{2,40}$")
    first: date
    last: date
    why: str = Field(min_length=30)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"first {self.first} lies after last {self.last}")
        return self


class FundingShock(Share):
    """A rate of funding a day, paid by every perpetual position, for some days."""

    days: int = Field(ge=1)


class Risk(Frozen):
    """How the limits of the capital allocation are applied; the limits themselves are in its file."""

    drawdown_confidence: Probability
    """The drawdown of a bootstrapped year stays within the limit with this probability."""
    component_shortfall: Positive
    """Most expected shortfall within the book, as a multiple of the type's risk budget."""
    participation: Share
    """Largest position as a share of a median day's volume."""
    exit_participation: Share
    """Share of the volume that an exit may take."""
    days_to_exit: Positive
    liquidation_distance: Positive
    """Least loss that leads to liquidation, as a multiple of the daily expected shortfall at 99 %."""
    book_confidence: Probability
    """The correlation with the live book is taken at its upper bound of this confidence."""
    market_shock: Share
    """Move of every market at once, down and up, on the positions as held."""
    funding_shock: FundingShock
    halt_hours: Count
    """Hours in which no position can be changed."""
    events: tuple[Event, ...]


class Readiness(Frozen):
    """Whether people and systems are ready for it."""

    missing_limits: Count
    """Most pre-set limits that are missing."""
    runbooks: Count
    """Runbooks that exist for it."""
    kill_drill_age: Positive
    """Hours since the kill switch was last drilled, and worked."""
