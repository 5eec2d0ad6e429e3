"""From a day's tables to the desk report's value.

Belongs here: sums, rankings and the words of the headline. Doesn't: storage, rendering, and the analytics themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from research_to_prod.attribution.coverage import LARGEST_EXCLUDED_SHARE
from research_to_prod.attribution.markouts import markout_curve
from research_to_prod.attribution.quote_match import MAX_QUOTE_AGE
from research_to_prod.attribution.slippage import COMPONENTS
from research_to_prod.attribution.verdict import EdgeVerdict
from research_to_prod.operations.contracts import BreakClass, BreakStatus, BreakVerdict
from research_to_prod.reports.compile_live_against_model import (
    CHANGED,
    drawdown_lines,
    model_costs,
    verdict_lines,
    waterfall_lines,
)
from research_to_prod.reports.desk_report import (
    Action,
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
from research_to_prod.reports.questions import desk_questions
from research_to_prod.values import Verdict

# Below this many orders a standard error of a mean of heavy-tailed costs says nothing.
_ORDERS_FOR_ERROR = 8
_LISTED_ORDERS = 5
_BPS = 1e4

_REMEDIES = {
    BreakClass.MISSING_FILL_INTERNAL: "Book the venue's fills that our records lack",
    BreakClass.MISSING_FILL_VENUE: "Find out why the venue does not know our fills",
    BreakClass.DUPLICATE_FILL: "Remove fills that are recorded twice",
    BreakClass.QUANTITY_MISMATCH: "Correct fill quantities that differ from the venue's",
    BreakClass.PRICE_MISMATCH: "Correct fill prices that differ from the venue's",
    BreakClass.SIDE_MISMATCH: "Correct the side of fills: our position is wrong by twice their size",
    BreakClass.FEE_MISMATCH: "Check the fee tier: fees differ from the venue's",
    BreakClass.FEE_ASSET: "Check in which currency fees are charged",
    BreakClass.CLOCK: "Take the venue's time of a fill, not a clock of ours",
    BreakClass.UNKNOWN_ORDER: "Find out who sent orders that nothing of ours sent; rotate the key if nobody did",
    BreakClass.ORPHAN_INTENT: "Find out what became of our orders that the venue does not know; never resend them",
    BreakClass.STATE_MISMATCH: "Correct how our orders ended",
    BreakClass.EXTERNAL_ACTIVITY: "Book what the venue did by itself, and hedge what it closed",
    BreakClass.FUNDING_MISSING: "Find out why one side has a funding payment and the other has not",
    BreakClass.FUNDING_MISMATCH: "Check position and rate at the funding time: payments differ",
    BreakClass.TRANSFER_UNMATCHED: "Find out who moved money that only one side has on record",
    BreakClass.POSITION_SIGN: "Stop trading the contract: we believe to be on the other side of it",
    BreakClass.POSITION_QUANTITY: "Reduce only in the contract until its position is explained",
    BreakClass.BALANCE_DRIFT: "Stop withdrawals until the balance is explained",
    BreakClass.DUST: "Nothing: dust went to suspense",
    BreakClass.SOURCE_INCOMPLETE: "Fetch the venue's records again until the fetch is certified complete",
}


def compile_desk_report(
    day: str,
    slippage: pa.Table,
    breaks: pa.Table,
    *,
    markouts: pa.Table,
    shadow: pa.Table,
    waterfall: pa.Table,
    verdicts: pa.Table,
    drawdowns: pa.Table,
    internal_fills: int,
    venue_fills: int,
    candidates: Sequence[CandidateLine],
    exclusions: Sequence[Exclusion],
    present: Collection[str],
    prepared_at: datetime,
    currency: str = "USDT",
    max_quote_age: timedelta = MAX_QUOTE_AGE,
) -> DeskReport:
    """Return the report of one UTC day.

    Parameters
    ----------
    slippage, breaks
        The day's ``SLIPPAGE`` and ``BREAKS`` rows. Orders quoted in another currency than ``currency`` are excluded,
        with that reason: sums over currencies mean nothing.
    markouts
        The day's ``MARKOUTS`` rows.
    shadow, waterfall, verdicts, drawdowns
        The day's ``SHADOW``, ``PNL_WATERFALL``, ``EDGE_VERDICTS`` and ``DRAWDOWNS`` rows.
    internal_fills, venue_fills
        How many fills were compared on either side.
    candidates
        The candidates' latest gate verdicts.
    exclusions
        What earlier steps left out (quarantined rows and their like); excluded orders are added here.
    present
        Names of the lake's tables that hold this day; decides which of the desk's questions are open.
    prepared_at
        When the report is made; an input, because a report of the same inputs must be the same bytes.
    """
    orders = slippage.to_pandas()
    quote = orders["symbol"].str.extract(r"/([^:]+)", expand=False)
    foreign = quote.ne(currency) & orders["excluded_reason"].isna()
    orders.loc[foreign, "excluded_reason"] = "quoted in another currency than " + currency
    counted = orders[orders["excluded_reason"].isna()]
    left_out = orders["excluded_reason"].dropna().value_counts().sort_index()
    excluded = [Exclusion(what="orders", reason=str(why), n=int(n), of=len(orders)) for why, n in left_out.items()]

    costs = _cost_line("all strategies", counted)
    by_strategy = [_cost_line(str(name), rows) for name, rows in counted.groupby("strategy", sort=True)]
    ranked = [_order_line(row) for row in counted.sort_values(["total", "order_id"]).to_dict("records")]
    reconciliation = _reconciliation(breaks, internal_fills, venue_fills)
    judged = verdict_lines(verdicts, shadow)
    actions = _actions(reconciliation, excluded, len(orders), candidates, judged)
    changed = [line for line in judged if line.verdict in CHANGED]
    status = _status(reconciliation, orders, counted, changed)
    return DeskReport(
        day=day,
        prepared_at=prepared_at,
        currency=currency,
        status=status,
        headline=_headline(status, reconciliation, len(orders) - len(counted), len(orders), changed),
        verdicts=judged,
        waterfalls=waterfall_lines(waterfall),
        model_costs=model_costs(waterfall, shadow),
        drawdowns=drawdown_lines(drawdowns),
        costs=costs,
        by_strategy=tuple(sorted(by_strategy, key=lambda line: (-line.total, line.name))),
        dearest=tuple(line for line in reversed(ranked[-_LISTED_ORDERS:]) if line.total > 0),
        cheapest=tuple(line for line in ranked[:_LISTED_ORDERS] if line.total <= 0),
        markouts=_markouts(markouts),
        reconciliation=reconciliation,
        candidates=tuple(candidates),
        exclusions=(*excluded, *exclusions),
        questions=desk_questions(present),
        actions=actions,
        max_quote_age_seconds=max_quote_age.total_seconds(),
    )


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


def _actions(
    reconciliation: Reconciliation, excluded: list[Exclusion], orders: int, candidates: Sequence[CandidateLine],
    verdicts: Sequence[VerdictLine],
) -> tuple[Action, ...]:  # fmt: skip
    """Return what to do: proven breaks by money, unproven sources, verdicts, data, candidates short of evidence."""
    found: list[Action] = []
    for kind in BreakClass:
        lines = [line for line in reconciliation.breaks if line.kind == kind]
        if lines:
            known = [line.money for line in lines if line.money is not None]
            why = f"{kind.value.replace('_', ' ')} on {', '.join(sorted({line.symbol for line in lines}))}"
            money = sum(known, Decimal(0)) if known else None
            found.append(Action(what=_REMEDIES[kind], why=why, owner="operations", money=money, n=len(lines)))
    last = _REMEDIES[BreakClass.SOURCE_INCOMPLETE]
    found.sort(key=lambda action: (action.what == last, -(action.money or Decimal(0))))
    found += [
        Action(what=CHANGED[EdgeVerdict(line.verdict)], why=line.reason, owner="trading", money=None, n=line.orders)
        for line in verdicts
        if line.verdict in CHANGED
    ]
    if without := [line.strategy for line in verdicts if line.shadow_money is None]:
        what = "Give these strategies a model for what they trade: nobody can tell whether they do as approved"
        found.append(Action(what=what, why=", ".join(without), owner="research", money=None, n=len(without)))
    if strange := [line for line in verdicts if line.diverging]:
        what, n = "Find out why live decided otherwise than its model", sum(line.diverging for line in strange)
        why = ", ".join(line.strategy for line in strange)
        found.append(Action(what=what, why=why, owner="trading", money=None, n=n))
    missing = sum(each.n for each in excluded)
    if missing > LARGEST_EXCLUDED_SHARE * orders:
        why = "; ".join(f"{each.n} {each.reason}" for each in excluded)
        what = "Repair the recording of quotes and acknowledgements"
        found.append(Action(what=what, why=why, owner="data", money=None, n=missing))
    short = [line.candidate for line in candidates if line.verdict is Verdict.INCONCLUSIVE]
    if short:
        what = "Give the gates the evidence that they lack"
        found.append(Action(what=what, why=", ".join(short), owner="research", money=None, n=len(short)))
    return tuple(found)
