"""The nightly desk report: one value, and its two renderings, an HTML page and JSON, with the same numbers.

Belongs here: what the report says (frozen values) and how it is written out. Doesn't: computing it from tables
(compile_desk_report), drawing (figures).
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from research_to_prod.values import Verdict

_TEMPLATES = Path(__file__).parent / "templates"


class Status(StrEnum):
    """The headline's three answers."""

    CLEAR = "clear"
    ACT = "act"
    UNKNOWN = "unknown"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CostLine(_Value):
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


class OrderLine(_Value):
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


class BreakLine(_Value):
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


class Reconciliation(_Value):
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


class CandidateLine(_Value):
    """A candidate's way through the gates."""

    candidate: str
    strategy: str
    verdict: Verdict
    stage: str
    gates_passed: int
    gates: int
    reasons: tuple[str, ...]


class Exclusion(_Value):
    """Rows that do not count in this report, and why."""

    what: str
    reason: str
    n: int
    of: int


class MarkoutLine(_Value):
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


class FindingLine(_Value):
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


class VerdictLine(_Value):
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


class Step(_Value):
    """One step of a waterfall: what it adds; None where it is not known."""

    cause: str
    money: Decimal | None


class WaterfallLine(_Value):
    """From what was expected of a strategy's day to its live P&L, and what the venue's records say beyond it."""

    strategy: str
    steps: tuple[Step, ...]
    """Expected, then each cause that is not zero everywhere, in the order of the waterfall."""
    live_money: Decimal
    residual_money: Decimal | None


class ModelCost(_Value):
    """What a strategy's model charged itself for the day's fills, and what they cost; cost positive."""

    strategy: str
    orders: int
    charged_money: Decimal
    paid_money: Decimal
    """Price cost from arrival to fill: timing, spread and impact."""
    fees_beyond_money: Decimal
    missed_money: Decimal
    """What the unfilled would have earned: the waterfall's missed trades, as a loss positive."""


class LossPart(_Value):
    """What one component of the waterfall lost in an episode; a gain is negative."""

    component: str
    money: Decimal
    share: float


class EpisodeLine(_Value):
    """One drawdown; times are days' ends, because P&L is by the day."""

    peak_at: datetime
    trough_at: datetime
    recovered_at: datetime | None
    days: float
    money: Decimal
    parts: tuple[LossPart, ...]


class DrawdownLine(_Value):
    """The drawdowns of a strategy's record, and whether they were to be expected."""

    strategy: str
    standing: str
    reason: str
    deepest_money: Decimal | None
    episodes: tuple[EpisodeLine, ...]


class Question(_Value):
    """One of the desk's standing questions."""

    number: int
    text: str
    answered: bool
    where: str
    missing: tuple[str, ...]


class Action(_Value):
    """Something to do today, ranked."""

    what: str
    why: str
    owner: str
    money: Decimal | None
    n: int


class DeskReport(_Value):
    """Everything that the page says about one UTC day."""

    day: str
    prepared_at: datetime
    currency: str
    status: Status
    headline: str
    verdicts: tuple[VerdictLine, ...]
    waterfalls: tuple[WaterfallLine, ...]
    model_costs: tuple[ModelCost, ...]
    drawdowns: tuple[DrawdownLine, ...]
    costs: CostLine
    by_strategy: tuple[CostLine, ...]
    dearest: tuple[OrderLine, ...]
    cheapest: tuple[OrderLine, ...]
    markouts: tuple[MarkoutLine, ...]
    reconciliation: Reconciliation
    candidates: tuple[CandidateLine, ...]
    exclusions: tuple[Exclusion, ...]
    questions: tuple[Question, ...]
    actions: tuple[Action, ...]
    max_quote_age_seconds: float


def render_json(report: DeskReport) -> bytes:
    """Return the report as JSON (UTF-8, sorted keys): floats as their shortest form, exact money as decimal text."""
    return json.dumps(report.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False).encode()


def render_html(report: DeskReport) -> bytes:
    """Return the report as one self-contained HTML page: no script, no external address, under 500 kB.

    Every number of the report stands in a ``<data value="...">`` element with the very text that the JSON has,
    beside its rounded form.
    """
    import jinja2

    from research_to_prod.reports.figures import cost_stack
    from research_to_prod.reports.waterfall_figure import waterfall_bars

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": _money,
        "whole": _whole,
        "bps": _bps,
        "count": _count,
        "share": _share,
        "price": _price,
    }
    lines = {line.name: line.components for line in report.by_strategy}
    falls = report.waterfalls
    page = environment.get_template("desk_report.html.j2").render(
        report=report,
        style=(_TEMPLATES / "desk_report.css").read_text("utf-8"),
        wide_stack=cost_stack(lines, report.currency, width=9.6).decode() if lines else "",
        narrow_stack=cost_stack(lines, report.currency, width=4.0).decode() if lines else "",
        wide_waterfall=waterfall_bars(falls, report.currency, width=9.6).decode() if falls else "",
        narrow_waterfall=waterfall_bars(falls, report.currency, width=4.0).decode() if falls else "",
    )
    return page.encode()


def _data(value: float | Decimal | None, shown: str) -> str:
    """Return the ``<data>`` element of a number; both texts consist of digits and punctuation that need no escape."""
    import markupsafe

    if value is None:
        return markupsafe.Markup('<span class="none">unknown</span>')
    exact = str(value) if isinstance(value, Decimal) else json.dumps(value)
    return markupsafe.Markup('<data value="{}">{}</data>').format(exact, shown)


def _money(value: float | Decimal | None) -> str:
    return _data(value, "" if value is None else _rounded(float(value), 2))


def _whole(value: float) -> str:
    return _data(value, _rounded(value, 0))


def _bps(value: float | None) -> str:
    return _data(value, "" if value is None else _rounded(value, 1))


def _count(value: int) -> str:
    return _data(value, f"{value:,}")


def _share(value: float) -> str:
    return _data(value, f"{value:.0%}".replace("-", "−"))


def _price(value: float) -> str:
    return _data(value, f"{value:,.6g}")


def _rounded(value: float, digits: int) -> str:
    """Round for reading, with a real minus sign and no negative zero."""
    if not math.isfinite(value):
        raise ValueError("a report's number is not finite")
    rounded = round(value, digits)
    return f"{rounded + 0.0:,.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"
