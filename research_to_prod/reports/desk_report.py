"""The nightly desk report as one value.

Belongs here: what the report says of its day (frozen values). Doesn't: what it says of the days before (month_lines),
computing it from tables (compile_desk_report), writing it out (rendering).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from research_to_prod.reports.curves import SequenceLine, UnderwaterLine
from research_to_prod.reports.failure_mode_lines import FailureModeLines
from research_to_prod.reports.month_lines import Month, Replay, Value
from research_to_prod.values import Verdict


class Status(StrEnum):
    """The headline's three answers."""

    CLEAR = "clear"
    ACT = "act"
    UNKNOWN = "unknown"


class CostLine(Value):
    """What a strategy (or the whole desk) paid; money in the report's currency, cost positive."""

    name: str
    orders: int
    fills: int
    order_value: float
    executed_value: float
    components: dict[str, float]
    total: float
    total_bps: float | None
    bps_standard_error: float | None
    """Of the value-weighted mean over orders; None below the number of orders at which it means something."""


class OrderLine(Value):
    """One parent order, for the lists of the dearest and the cheapest."""

    order_id: str
    strategy: str
    symbol: str
    side: int
    sent_at: datetime
    order_value: float
    filled_share: float
    fills: int
    total: float
    total_bps: float
    main_component: str
    main_component_cost: float


class BreakLine(Value):
    """One reconciliation break."""

    kind: str
    symbol: str
    record_id: str | None
    internal_value: str | None
    venue_value: str | None
    money: Decimal | None
    opened_at: datetime
    verdict: str
    evidence: str


class Reconciliation(Value):
    """How the desk's records compare with the venue's."""

    status: Status
    internal_fills: int
    venue_fills: int
    confirmed: int
    unknown: int
    money_at_stake: Decimal
    """Sum over breaks whose money can be told."""
    breaks_without_money: int
    breaks: tuple[BreakLine, ...]


class CandidateLine(Value):
    """A candidate's way through the gates."""

    candidate: str
    strategy: str
    verdict: Verdict
    stage: str
    gates_passed: int
    gates: int
    reasons: tuple[str, ...]


class Exclusion(Value):
    """Rows that do not count in this report, and why."""

    what: str
    reason: str
    n: int
    of: int


class MarkoutLine(Value):
    """What the market did some time after the fills of one liquidity; gain positive, after fees, mean of the fills."""

    liquidity: str
    horizon_seconds: int
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None
    """Of the 95 % interval clustered by parent order; None below the number of parents at which it means something."""
    fills: int
    parents: int
    excluded: int


class FindingLine(Value):
    """The answer to one question about a strategy; an effect is positive when worse."""

    question: str
    answer: str
    days: int
    effect: float | None
    lower: float | None
    upper: float | None
    """Bounds that hold at every look."""
    unit: str
    days_to_decide: int | None
    orders_to_decide: int | None


class VerdictLine(Value):
    """What became of one strategy, and what it earned today."""

    strategy: str
    verdict: str
    orders: int
    """Parent orders of the record."""
    days_to_decide: int | None
    orders_to_decide: int | None
    reason: str
    expected_money: Decimal | None
    shadow_money: Decimal | None
    live_money: Decimal | None
    """What the deflated backtest expected of the day, what the model would have earned, and what the fills did."""
    signals: int
    diverging: int
    """Decisions of the day held against the model run again, and those that it takes otherwise."""
    findings: tuple[FindingLine, ...]


class Wait(Value):
    """Strategies whose questions can't be looked at yet, for the same want."""

    strategies: tuple[str, ...]
    questions: tuple[str, ...]
    days: int | None
    """Of record until they can; None where days alone don't help."""
    reason: str
    """What else is missing; empty where it is days."""


class Step(Value):
    """One step of a waterfall: what it adds; None where it is not known."""

    cause: str
    money: Decimal | None


class WaterfallLine(Value):
    """From what was expected of a strategy's day to its live P&L, and what the venue's records say beyond it."""

    strategy: str
    steps: tuple[Step, ...]
    """Expected, then each cause that is not zero everywhere, in the order of the waterfall."""
    live_money: Decimal
    residual_money: Decimal | None


class ModelCost(Value):
    """What a strategy's model charged itself for the day's fills, and what they cost; cost positive."""

    strategy: str
    orders: int
    charged_money: Decimal
    paid_money: Decimal
    """Price cost from arrival to fill: timing, spread and impact."""
    fees_beyond_money: Decimal
    missed_money: Decimal
    """What the unfilled would have earned: the waterfall's missed trades, as a loss positive."""


class LossPart(Value):
    """What one component of the waterfall lost in an episode; a gain is negative."""

    component: str
    money: Decimal
    share: float


class EpisodeLine(Value):
    """One drawdown; times are days' ends, because P&L is by the day."""

    peak_at: datetime
    trough_at: datetime
    recovered_at: datetime | None
    days: float
    money: Decimal
    parts: tuple[LossPart, ...]


class DrawdownLine(Value):
    """The drawdowns of a strategy's record, and whether they were to be expected."""

    strategy: str
    standing: str
    reason: str
    deepest_money: Decimal | None
    episodes: tuple[EpisodeLine, ...]


class Question(Value):
    """One of the desk's standing questions."""

    number: int
    text: str
    answered: bool
    where: str
    missing: tuple[str, ...]


class Action(Value):
    """Something to do today, ranked."""

    what: str
    why: str
    owner: str
    money: Decimal | None
    """At stake; None where it can't be told."""
    confidence: str
    """On what it rests."""
    n: int


class DeskReport(Value):
    """Everything that the page says about one UTC day."""

    day: str
    prepared_at: datetime
    currency: str
    status: Status
    headline: str
    earned_money: Decimal | None
    """P&L of the day's fills over all strategies, after fees and funding; None where one is not known."""
    verdicts: tuple[VerdictLine, ...]
    waits: tuple[Wait, ...]
    sequences: tuple[SequenceLine, ...]
    waterfalls: tuple[WaterfallLine, ...]
    model_costs: tuple[ModelCost, ...]
    drawdowns: tuple[DrawdownLine, ...]
    underwater: tuple[UnderwaterLine, ...]
    failure_modes: FailureModeLines
    costs: CostLine
    by_strategy: tuple[CostLine, ...]
    by_venue: tuple[CostLine, ...]
    """By strategy and venue."""
    dearest: tuple[OrderLine, ...]
    cheapest: tuple[OrderLine, ...]
    replays: tuple[Replay, ...]
    """Of the dearest and the cheapest."""
    month: Month
    markouts: tuple[MarkoutLine, ...]
    reconciliation: Reconciliation
    candidates: tuple[CandidateLine, ...]
    exclusions: tuple[Exclusion, ...]
    questions: tuple[Question, ...]
    actions: tuple[Action, ...]
    max_quote_age_seconds: float
