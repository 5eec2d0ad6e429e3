"""Verdicts, waterfalls, the model's costs and drawdowns of a day as the desk report shows them.

Belongs here: rows of markets added up to strategies. Doesn't: the analytics, and the rest of the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, localcontext
from typing import Any

import pyarrow as pa

from research_to_prod.attribution.drawdown_days import ALL, RECORD
from research_to_prod.attribution.verdict import EdgeVerdict
from research_to_prod.attribution.waterfall import Cause
from research_to_prod.attribution.waterfall_days import EXPECTED, RESIDUAL
from research_to_prod.reports.desk_report import (
    DrawdownLine,
    EpisodeLine,
    FindingLine,
    LossPart,
    ModelCost,
    Step,
    VerdictLine,
    Wait,
    WaterfallLine,
)

CHANGED = {
    EdgeVerdict.EDGE: "Take capital from a strategy whose edge is gone",
    EdgeVerdict.BOTH: "Take capital from a strategy whose edge is gone and whose execution got worse",
    EdgeVerdict.EXECUTION: "Find what trading costs more than the model says",
    EdgeVerdict.SELECTION: "Fill more of the good orders: the fills are the losers",
}
"""Verdict -> what to do about it."""

_LISTED_EPISODES = 3
_SECONDS_A_DAY = 86_400
# Sums of 18 decimals of many markets: nothing may be rounded.
_EXACT = Context(prec=60)


def verdict_lines(verdicts: pa.Table, shadow: pa.Table) -> tuple[VerdictLine, ...]:
    """Return a line for each strategy that was judged, those that changed first."""
    money, said = _grouped(shadow.to_pylist()), _grouped(verdicts.to_pylist())
    lines = []
    for strategy, rows in said.items():
        markets, head = money.get(strategy, []), rows[0]
        order = {"edge": 0, "execution": 1, "selection": 2}
        findings = [
            FindingLine.model_validate({name: row[name] for name in FindingLine.model_fields})
            for row in sorted(rows, key=lambda row: order[row["question"]])
        ]
        lines.append(
            VerdictLine(
                strategy=strategy,
                verdict=head["verdict"],
                orders=head["orders"],
                days_to_decide=head["verdict_days"],
                orders_to_decide=head["verdict_orders"],
                reason=head["reason"],
                expected_money=summed(row["expected"] for row in markets),
                shadow_money=summed(row["shadow"] for row in markets),
                live_money=summed(row["live"] for row in markets),
                signals=sum(row["signals"] for row in markets),
                diverging=sum(len(row["diverging"]) for row in markets),
                findings=tuple(findings),
            )
        )
    return tuple(sorted(lines, key=lambda line: (line.verdict not in CHANGED, line.strategy)))


def waiting(verdicts: Iterable[VerdictLine]) -> tuple[Wait, ...]:
    """Return which strategies wait for what before a question can be looked at at all, one line a want.

    A line that says unknown for each strategy and question hides those that say something.
    """
    groups: dict[tuple[tuple[str, ...], int | None, str], list[str]] = {}
    for line in verdicts:
        unseen: dict[int | None, list[str]] = {}
        for finding in line.findings:
            if finding.effect is None:
                unseen.setdefault(finding.days_to_decide, []).append(finding.question)
        for days, questions in unseen.items():
            reason = line.reason if days is None else ""
            groups.setdefault((tuple(questions), days, reason), []).append(line.strategy)
    return tuple(
        Wait(strategies=tuple(strategies), questions=questions, days=days, reason=reason)
        for (questions, days, reason), strategies in groups.items()
    )


def waterfall_lines(waterfall: pa.Table) -> tuple[WaterfallLine, ...]:
    """Return the waterfall of each strategy all of whose markets have one; causes that are zero everywhere left out."""
    whole = _whole(waterfall)
    moved = {
        cause for steps in whole.values() for cause, amount in steps.items() if amount or cause == EXPECTED
    } - {RESIDUAL}  # fmt: skip
    lines = []
    for strategy, steps in whole.items():
        shown = [Step(cause=cause, money=steps[cause]) for cause in (EXPECTED, *Cause) if cause in moved]
        live = summed(amount for cause, amount in steps.items() if cause != RESIDUAL)
        lines.append(
            WaterfallLine(
                strategy=strategy, steps=tuple(shown), live_money=live or Decimal(0), residual_money=steps[RESIDUAL]
            )
        )
    return tuple(lines)


def model_costs(waterfall: pa.Table, shadow: pa.Table) -> tuple[ModelCost, ...]:
    """Return by strategy what the model charged for the day's fills, and what they cost."""
    orders = {name: sum(row["orders"] for row in rows) for name, rows in _grouped(shadow.to_pylist()).items()}
    lines = []
    with localcontext(_EXACT):
        for strategy, steps in _whole(waterfall).items():
            of = {cause: steps[cause] or Decimal(0) for cause in Cause}
            lines.append(
                ModelCost(
                    strategy=strategy,
                    orders=orders.get(strategy, 0),
                    charged_money=of[Cause.MODELLED_COST],
                    paid_money=-(of[Cause.TIMING] + of[Cause.SPREAD] + of[Cause.IMPACT]),
                    fees_beyond_money=-of[Cause.FEES],
                    missed_money=-of[Cause.MISSED],
                )
            )
    return tuple(lines)


def drawdown_lines(drawdowns: pa.Table) -> tuple[DrawdownLine, ...]:
    """Return each strategy's record with its deepest episodes, each by the waterfall's components."""
    lines = []
    for strategy, rows in _grouped(drawdowns.to_pylist()).items():
        record = next(row for row in rows if row["episode"] == RECORD and row["dimension"] == ALL)
        whole = [row for row in rows if row["episode"] != RECORD and row["dimension"] == ALL]
        episodes = [
            EpisodeLine(
                **{name: row[name] for name in ("peak_at", "trough_at", "recovered_at")},
                days=row["seconds"] / _SECONDS_A_DAY,
                money=row["loss"],
                parts=tuple(
                    LossPart(component=part["value"], money=part["loss"], share=part["share"])
                    for part in sorted(rows, key=lambda part: -(part["loss"] or 0))
                    if part["episode"] == row["episode"] and part["dimension"] == "component" and part["loss"]
                ),
            )
            for row in sorted(whole, key=lambda row: row["episode"])[:_LISTED_EPISODES]
        ]
        lines.append(
            DrawdownLine(
                strategy=strategy,
                standing=record["standing"],
                reason=record["reason"],
                deepest_money=record["loss"],
                episodes=tuple(episodes),
            )
        )
    return tuple(lines)


def _whole(waterfall: pa.Table) -> dict[str, dict[str, Decimal | None]]:
    """Return by strategy and cause the amounts of its markets together; none of a strategy with a market left out."""
    found = {}
    for strategy, rows in _grouped(waterfall.to_pylist()).items():
        if any(row["excluded_reason"] is not None for row in rows):
            continue
        causes = dict.fromkeys(row["cause"] for row in rows)
        found[strategy] = {cause: summed(row["amount"] for row in rows if row["cause"] == cause) for cause in causes}
    return found


def _grouped(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["strategy"], []).append(row)
    return groups


def summed(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum; None where one is not known, or there is none."""
    given = list(amounts)
    with localcontext(_EXACT):
        known = [each for each in given if each is not None]
        return sum(known, Decimal(0)) if given and len(known) == len(given) else None
