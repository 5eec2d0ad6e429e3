"""The numbers that detectors run with, solved from the policy: the same policy gives the same thresholds everywhere.

Belongs here: from budgets to thresholds. Doesn't: readings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from research_to_prod.gates.statistics import cusum_threshold
from research_to_prod.promotion.rollback.policy import RollbackPolicy, Standardisation
from research_to_prod.research.metrics import DAYS_A_YEAR
from research_to_prod.values import StrategyType


@dataclass(frozen=True)
class Chart:
    """One side of a CUSUM: its allowance, its limit, and its mean number of days between false alarms."""

    reference: float
    threshold: float
    run_length: float


@dataclass(frozen=True)
class Design:
    """What every detector compares with.

    Parameters
    ----------
    policy_sha256
        Of the whole policy, overrides included.
    strategies
        Most candidates that may be watched together: the budgets are divided among so many.
    canary_upper, canary_lower
        Limits of the log likelihood ratio: the edge is lost, the edge is there.
    audit_limit
        Of ``ln(1 + R)``; R reaches the days between false alarms falsely once in so many days, or more rarely.
    clean_reads
        Clean readings in a row beyond a limit, for whatever follows from equity.
    """

    policy_sha256: str
    strategies: int
    position: float
    orders_a_minute: float
    leverage: float
    loss: float
    oldest_reading_minutes: float
    clean_reads: int
    standardisation: Standardisation
    implementation: Chart
    edge: Chart
    canary_shift: float
    canary_upper: float
    canary_lower: float
    audit_shift: float
    audit_limit: float


def daily_shift(annual_sharpe: float) -> float:
    """Return the shift of daily returns, in their deviation, that loses an annual Sharpe ratio."""
    return annual_sharpe / math.sqrt(DAYS_A_YEAR)


def design(policy: RollbackPolicy, strategy_type: StrategyType) -> Design:
    """Return the numbers that a policy means for one strategy type.

    A budget of a false alarms a year in a book of m strategies leaves each of them 365 m / a days between false alarms;
    a chart with two sides halves them between its sides.

    Raises
    ------
    ValueError
        If a budget asks for a threshold beyond 100 deviations, or below 0.01.
    """
    own = policy.for_type(strategy_type)

    def run_length(false_alarms_a_year: float) -> float:
        return DAYS_A_YEAR * own.book.strategies.value / false_alarms_a_year

    def chart(shift: float, length: float) -> Chart:
        return Chart(shift / 2, cusum_threshold(shift / 2, length), length)

    alpha, beta = own.canary.wrongly_demoted.value, own.canary.wrongly_kept.value
    edge_shift = daily_shift(own.edge.lost_sharpe.value)
    return Design(
        policy_sha256=policy.sha256,
        strategies=int(own.book.strategies.value),
        position=own.limits.position.value,
        orders_a_minute=own.limits.orders_a_minute.value,
        leverage=own.limits.leverage.value,
        loss=own.limits.loss.value,
        oldest_reading_minutes=own.limits.oldest_reading.value,
        clean_reads=int(own.limits.clean_reads_of_equity.value),
        standardisation=own.standardisation,
        implementation=chart(
            own.implementation.shift.value, 2 * run_length(own.implementation.false_alarms_a_year.value)
        ),
        edge=chart(edge_shift, run_length(own.edge.false_alarms_a_year.value)),
        canary_shift=daily_shift(own.canary.lost_sharpe.value),
        canary_upper=math.log((1 - beta) / alpha),
        canary_lower=math.log(beta / (1 - alpha)),
        audit_shift=edge_shift,
        audit_limit=math.log1p(run_length(own.audit.false_alarms_a_year.value)),
    )
