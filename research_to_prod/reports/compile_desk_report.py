"""From a day's tables to the desk report's value.

Belongs here: sums, rankings and the words of the headline. Doesn't: storage, rendering, and the analytics themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.coverage import LARGEST_EXCLUDED_SHARE
from research_to_prod.attribution.markouts import markout_curve
from research_to_prod.attribution.quote_match import MAX_QUOTE_AGE
from research_to_prod.attribution.slippage import COMPONENTS
from research_to_prod.attribution.verdict_policy import AttributionPolicy
from research_to_prod.operations.contracts import BreakStatus, BreakVerdict
from research_to_prod.reports.actions import ranked_actions
from research_to_prod.reports.compile_live_against_model import (
    CHANGED,
    drawdown_lines,
    model_costs,
    summed,
    verdict_lines,
    waiting,
    waterfall_lines,
)
from research_to_prod.reports.compile_month import MonthTables, compile_month
from research_to_prod.reports.curves import sequence_lines, underwater_lines
from research_to_prod.reports.desk_report import (
    BreakLine,
    CandidateLine,
    CostLine,
    DeskReport,
    Exclusion,
    MarkoutLine,
    OrderLine,
    Reconciliation,
    Status,
    VerdictLine,
)
from research_to_prod.reports.failure_mode_lines import failure_mode_lines
from research_to_prod.reports.questions import desk_questions
from research_to_prod.reports.replays import replays_of

# Below this many orders a standard error of a mean of heavy-tailed costs says nothing.
_ORDERS_FOR_ERROR = 8
_LISTED_ORDERS = 5
_BPS = 1e4


@dataclass(frozen=True)
class DayTables:
    """Rows of the day's tables of these names.

    Parameters
    ----------
    verdicts
        Of ``day`` and, for the sequences, of earlier evenings.
    venue_fills
        How many fills of the venue were compared.
    quotes
        Of the day and the day before in pieces, for the replays.
    present
        Names of the lake's tables that hold this day; decides which of the desk's questions are open.
    """

    day: str
    slippage: pa.Table
    breaks: pa.Table
    shadow: pa.Table
    waterfall: pa.Table
    verdicts: pa.Table
    drawdowns: pa.Table
    failure_modes: pa.Table
    internal_fills: int
    venue_fills: int
    quotes: Iterable[pa.Table]
    present: Collection[str]


def compile_desk_report(
    tables: DayTables,
    month: MonthTables,
    *,
    candidates: Sequence[CandidateLine],
    exclusions: Sequence[Exclusion],
    policy: AttributionPolicy,
    prepared_at: datetime,
    currency: str = "USDT",
    max_quote_age: timedelta = MAX_QUOTE_AGE,
) -> DeskReport:
    """Return the report of one UTC day.

    Parameters
    ----------
    tables
        Orders quoted in another currency than ``currency`` are excluded, with that reason: sums over currencies mean
        nothing.
    month
        The tables of the days up to this one, for what a single day can't answer: markouts among them.
    candidates
        The candidates' latest gate verdicts.
    exclusions
        What earlier steps left out (quarantined rows and their like); excluded orders are added here.
    policy
        What the verdicts are held against.
    prepared_at
        When the report is made; an input, because a report of the same inputs must be the same bytes.
    """
    orders = _marked(tables.slippage, currency)
    counted = orders[orders["excluded_reason"].isna()]
    excluded = _excluded(orders)
    dearest, cheapest = _ends(counted)
    reconciliation = _reconciliation(tables.breaks, tables.internal_fills, tables.venue_fills)
    today = tables.verdicts.filter(pc.equal(tables.verdicts["day"], tables.day))
    judged = verdict_lines(today, tables.shadow)
    falls, past = waterfall_lines(tables.waterfall), compile_month(month)
    changed = [line for line in judged if line.verdict in CHANGED]
    status = _status(reconciliation, orders, counted, changed)
    looked_at = [line.order_id for line in (*dearest, *cheapest)]
    return DeskReport(
        day=tables.day,
        prepared_at=prepared_at,
        currency=currency,
        status=status,
        headline=_headline(status, reconciliation, len(orders) - len(counted), len(orders), changed),
        earned_money=summed(line.live_money for line in judged),
        verdicts=judged,
        waits=waiting(judged),
        sequences=sequence_lines(
            tables.verdicts, {name: each.ruled_out.value for name, each in policy.questions.items()}
        ),
        waterfalls=falls,
        model_costs=model_costs(tables.waterfall, tables.shadow),
        drawdowns=drawdown_lines(tables.drawdowns),
        underwater=underwater_lines(tables.drawdowns),
        failure_modes=failure_mode_lines(tables.failure_modes),
        costs=_cost_line("all strategies", counted),
        by_strategy=_cost_lines(counted, ["strategy"]),
        by_venue=_cost_lines(counted, ["strategy", "venue"]),
        dearest=dearest,
        cheapest=cheapest,
        replays=replays_of(looked_at, month.decisions, month.orders, month.fills, tables.quotes),
        month=past,
        markouts=_markouts(month.markouts),
        reconciliation=reconciliation,
        candidates=tuple(candidates),
        exclusions=(*excluded, *exclusions, *_unmeasured(month)),
        questions=desk_questions(tables.present),
        actions=ranked_actions(reconciliation, judged, falls, past, excluded, len(orders), candidates),
        max_quote_age_seconds=max_quote_age.total_seconds(),
    )


def _marked(slippage: pa.Table, currency: str) -> pd.DataFrame:
    """Return the orders, those that are quoted in another currency excluded."""
    orders = slippage.to_pandas()
    quote = orders["symbol"].str.extract(r"/([^:]+)", expand=False)
    foreign = quote.ne(currency) & orders["excluded_reason"].isna()
    orders.loc[foreign, "excluded_reason"] = "quoted in another currency than " + currency
    return orders


def _excluded(orders: pd.DataFrame) -> list[Exclusion]:
    left_out = orders["excluded_reason"].dropna().value_counts().sort_index()
    return [Exclusion(what="orders", reason=str(why), n=int(n), of=len(orders)) for why, n in left_out.items()]


def _ends(counted: pd.DataFrame) -> tuple[tuple[OrderLine, ...], tuple[OrderLine, ...]]:
    """Return the orders that cost most, and those that gained most."""
    ranked = counted.sort_values(["total", "order_id"])
    dear, cheap = ranked[ranked["total"] > 0].tail(_LISTED_ORDERS)[::-1], ranked[ranked["total"] <= 0]
    dearest, cheapest = (
        tuple(_order_line(row) for row in each.to_dict("records")) for each in (dear, cheap.head(_LISTED_ORDERS))
    )
    return dearest, cheapest


def _cost_lines(counted: pd.DataFrame, by: list[str]) -> tuple[CostLine, ...]:
    lines = [_cost_line(" · ".join(map(str, name)), rows) for name, rows in counted.groupby(by, sort=True)]
    return tuple(sorted(lines, key=lambda line: (-line.total, line.name)))


def _cost_line(name: str, rows: pd.DataFrame) -> CostLine:
    value = rows["order_value"].to_numpy(float)
    total = rows["total"].to_numpy(float)
    bps = float(_BPS * total.sum() / value.sum()) if len(rows) else None
    error = None
    if len(rows) >= _ORDERS_FOR_ERROR:
        # Ratio estimator, linearised (Cochran 1977, 6.3): the error of sum(cost) / sum(value) over orders.
        spread = total - value * total.sum() / value.sum()
        error = float(_BPS * np.sqrt(len(rows) / (len(rows) - 1) * np.sum(spread**2)) / value.sum())
    return CostLine(
        name=name,
        orders=len(rows),
        fills=int(rows["fills"].sum()),
        order_value=float(value.sum()),
        executed_value=float(rows["executed_value"].to_numpy(float).sum()),
        components={each: float(rows[each].to_numpy(float).sum()) for each in COMPONENTS},
        total=float(total.sum()),
        total_bps=bps,
        bps_standard_error=error,
    )


def _markouts(markouts: pa.Table) -> tuple[MarkoutLine, ...]:
    lines = markout_curve(markouts).drop_columns(["standard_error_bps"]).to_pylist()
    return tuple(MarkoutLine.model_validate(line) for line in lines)


def _unmeasured(month: MonthTables) -> Iterator[Exclusion]:
    """Yield what of the month could not be measured, or can't be: counts of zero too, because they were looked for."""
    fills, latency = month.fills, month.latency_costs
    early = pc.less(fills["received_at"], fills["filled_at"])
    found = {
        ("markouts", "no usable quote at the fill or the horizon"): month.markouts["excluded_reason"],
        ("delays", "order excluded, or its times out of order"): latency["excluded_reason"],
        ("delays", "no quote at sending: not split"): latency["unsplit_reason"],
    }
    for (what, why), reasons in found.items():
        yield Exclusion(what=f"{what} of the month", reason=why, n=len(reasons) - reasons.null_count, of=len(reasons))
    why = "known to us before the venue says that they happened: one of the clocks is wrong"
    yield Exclusion(what="fills of the month", reason=why, n=pc.sum(early).as_py() or 0, of=fills.num_rows)


def _order_line(row: dict[Any, Any]) -> OrderLine:
    sign = 1 if row["total"] > 0 else -1
    main = max(COMPONENTS, key=lambda name: sign * row[name])
    return OrderLine(
        order_id=row["order_id"],
        strategy=row["strategy"],
        symbol=row["symbol"],
        side=row["side"],
        sent_at=row["sent_at"].to_pydatetime(),
        order_value=row["order_value"],
        filled_share=row["filled_quantity"] / row["quantity"],
        fills=row["fills"],
        total=row["total"],
        total_bps=row["total_bps_of_order_value"],
        main_component=main,
        main_component_cost=row[main],
    )


def _reconciliation(breaks: pa.Table, internal_fills: int, venue_fills: int) -> Reconciliation:
    lines = [
        BreakLine(
            kind=row["class"],
            **{name: row[name] for name in BreakLine.model_fields if name != "kind"},
        )
        for row in breaks.to_pylist()
        if row["status"] == BreakStatus.OPEN
    ]
    lines.sort(key=lambda line: (line.verdict, -(line.money or Decimal(0)), line.symbol, line.record_id or ""))
    confirmed = sum(line.verdict == BreakVerdict.CONFIRMED for line in lines)
    unknown = len(lines) - confirmed
    return Reconciliation(
        status=Status.ACT if confirmed else Status.UNKNOWN if unknown else Status.CLEAR,
        internal_fills=internal_fills,
        venue_fills=venue_fills,
        confirmed=confirmed,
        unknown=unknown,
        money_at_stake=sum((line.money for line in lines if line.money is not None), Decimal(0)),
        breaks_without_money=sum(line.money is None for line in lines),
        breaks=tuple(lines),
    )


def _status(
    reconciliation: Reconciliation, orders: pd.DataFrame, counted: pd.DataFrame, changed: Sequence[VerdictLine]
) -> Status:
    if changed:
        return Status.ACT
    if reconciliation.status is not Status.CLEAR:
        return reconciliation.status
    return Status.UNKNOWN if len(orders) - len(counted) > LARGEST_EXCLUDED_SHARE * len(orders) else Status.CLEAR


def _headline(
    status: Status, reconciliation: Reconciliation, excluded: int, orders: int, changed: Sequence[VerdictLine]
) -> str:
    if changed:
        said = ", ".join(f"{line.strategy} ({line.verdict})" for line in changed)
        return f"No longer what was approved: {said}."
    if reconciliation.confirmed:
        plural = "s" if reconciliation.confirmed > 1 else ""
        return f"{reconciliation.confirmed} confirmed break{plural} against the venue's records: act today."
    if reconciliation.unknown:
        return "The venue's records could not be read completely: agreement is unproven."
    if status is Status.UNKNOWN:
        return f"{excluded} of {orders} orders could not be measured: the cost below does not speak for the day."
    return "Our records agree with the venue's, and every cost is explained." if orders else "Nothing was traded."
