"""The verdicts of an evening: from the stored days of shadow to records, and from verdicts to rows.

Belongs here: days in the lake to `StrategyRecord`, verdicts to a table. Doesn't: judging (``verdict``), the arithmetic
of one record (``verdict_record``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from research_to_prod.attribution.pnl_contracts import EDGE_VERDICTS
from research_to_prod.attribution.shadow import Market, PairedDay
from research_to_prod.attribution.verdict import QUESTIONS, UNITS, Answer, StrategyRecord, judge
from research_to_prod.attribution.verdict_policy import AttributionPolicy
from research_to_prod.attribution.verdict_record import strategy_record

_UNKNOWN = Decimal("NaN")
_ASSUMED = (
    "What it held before its first recorded day is not known and taken as none: both sides lack its P&L, which the "
    "edge was expected to have."
)


def verdicts_of_day(shadow: pa.Table, day: str, policy: AttributionPolicy) -> pa.Table:
    """Return the ``EDGE_VERDICTS`` rows of an evening: three questions to each strategy of the book.

    Parameters
    ----------
    shadow
        ``SHADOW`` rows of all days up to ``day``. A strategy's record runs from its first row to ``day``; a day that
        could not be paired, or was never made, is a day that is not known, and keeps the record from being judged.
    """
    by_strategy: dict[str, list[dict[str, Any]]] = {}
    for row in shadow.to_pylist():
        by_strategy.setdefault(row["strategy"], []).append(row)
    records = {name: _record(name, rows, day) for name, rows in sorted(by_strategy.items())}
    rows: list[dict[str, Any]] = []
    for verdict in judge(list(records.values()), policy):
        record, reason = records[verdict.strategy], verdict.reason
        if not verdict.findings:
            why = {row["excluded_reason"] for row in by_strategy[verdict.strategy]} - {None}
            reason = "; ".join([reason, *sorted(why)])
        elif not all(row["position_known"] for row in by_strategy[verdict.strategy]):
            reason += f" {_ASSUMED}"
        findings = {each.question: asdict(each) for each in verdict.findings}
        head: dict[str, Any] = {
            "day": day,
            "strategy": verdict.strategy,
            "verdict": verdict.verdict.value,
            "orders": record.orders,
        }
        head |= {"verdict_days": verdict.days_to_decide, "verdict_orders": verdict.orders_to_decide}
        head |= {"reason": reason, "policy_sha256": verdict.policy_sha256}
        unread = {"answer": Answer.UNKNOWN, "days": len(record.shadow)}
        for question in QUESTIONS:
            found = {name: _number(value) for name, value in findings.get(question, unread).items()}
            rows.append(head | found | {"question": question, "unit": UNITS[question]})
    return pa.Table.from_pylist(rows, schema=EDGE_VERDICTS.arrow)


def _record(strategy: str, rows: Sequence[Mapping[str, Any]], day: str) -> StrategyRecord:
    by_day: dict[str, list[PairedDay]] = {}
    for row in rows:
        paired = PairedDay(
            market=Market(strategy, row["symbol"]),
            shadow=_UNKNOWN if row["shadow"] is None else row["shadow"],
            live=_UNKNOWN if row["live"] is None else row["live"],
            selection=row["selection"],
            closing_position=_UNKNOWN,
            orders=row["orders"],
        )
        by_day.setdefault(row["day"], []).append(paired)
    nothing = PairedDay(Market(strategy, ""), _UNKNOWN, _UNKNOWN, None, _UNKNOWN, 0)
    first, last = date.fromisoformat(min(by_day)), date.fromisoformat(day)
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    latest = [row for row in rows if row["day"] == max(by_day)]
    capital = next((row["capital"] for row in latest if row["capital"] is not None), None)
    known = capital is not None and all(row["expected"] is not None for row in latest)
    expected = float(10_000 * sum(row["expected"] for row in latest) / capital) if known else math.nan
    # Without a capital there is no shadow either, and the record is refused for that.
    return strategy_record(
        strategy, [by_day.get(each, [nothing]) for each in days], Decimal(1) if capital is None else capital, expected
    )


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
