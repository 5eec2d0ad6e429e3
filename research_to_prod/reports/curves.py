"""Curves of the desk report: each question's evidence from evening to evening, and each record's depth by day.

Belongs here: the values, and finding them in stored rows. Doesn't: drawing (``curve_figures``), computing either.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.drawdown_days import DAY, RECORD
from research_to_prod.reports.figures import extremes
from research_to_prod.reports.month_lines import Value

LOOKS = 60
"""Evenings that a sequence shows, evenly spread: a picture tells no more apart, and reading each takes 3 ms."""

_BINS = 120


class SequenceLine(Value):
    """One question about one strategy on several evenings; an effect is positive when worse."""

    strategy: str
    question: str
    unit: str
    ruled_out: float
    """The effect that an answer of NO excludes."""
    days: tuple[str, ...]
    effects: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    """Bounds that hold at every look."""


class UnderwaterLine(Value):
    """How far below its high a strategy's record was at the end of each day; of many days the extremes."""

    strategy: str
    days: tuple[str, ...]
    below_money: tuple[Decimal, ...]


def looks_among(evenings: list[str]) -> list[str]:
    """Return `LOOKS` of the evenings in their order, the first and the last among them; all, if they are no more."""
    if len(evenings) <= LOOKS:
        return evenings
    return [evenings[at] for at in np.linspace(0, len(evenings) - 1, LOOKS).round().astype(int)]


def sequence_lines(verdicts: pa.Table, ruled_out: Mapping[str, float]) -> tuple[SequenceLine, ...]:
    """Return a line for each strategy and question that was looked at on two evenings or more.

    Parameters
    ----------
    verdicts
        ``EDGE_VERDICTS`` rows of several evenings, in any order.
    ruled_out
        By question the effect that an answer of NO excludes.
    """
    seen = verdicts.filter(pc.is_valid(verdicts["effect"])).sort_by([("strategy", "ascending"), ("day", "ascending")])
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in seen.select(["strategy", "question", "day", "unit", "effect", "lower", "upper"]).to_pylist():
        groups.setdefault((row["strategy"], row["question"]), []).append(row)
    lines = []
    for strategy, question in sorted(groups, key=lambda each: (each[0], list(ruled_out).index(each[1]))):
        rows = groups[strategy, question]
        if len(rows) > 1:
            said = {"strategy": strategy, "question": question, "unit": rows[-1]["unit"]}
            columns = {"days": "day", "effects": "effect", "lower": "lower", "upper": "upper"}
            series = {name: tuple(row[column] for row in rows) for name, column in columns.items()}
            lines.append(SequenceLine.model_validate(said | {"ruled_out": ruled_out[question]} | series))
    return tuple(lines)


def underwater_lines(drawdowns: pa.Table) -> tuple[UnderwaterLine, ...]:
    """Return a line for each strategy whose record of two days or more was below its high at the end of one.

    Parameters
    ----------
    drawdowns
        ``DRAWDOWNS`` rows of one evening.
    """
    of_days = pc.and_(pc.equal(drawdowns["episode"], RECORD), pc.equal(drawdowns["dimension"], DAY))
    found: dict[str, dict[str, Decimal]] = {}
    for row in drawdowns.filter(of_days).select(["strategy", "value", "loss"]).to_pylist():
        found.setdefault(row["strategy"], {})[row["value"]] = row["loss"]
    lines = []
    for strategy, below in sorted(found.items()):
        days = sorted(below)
        keep = [days[at] for at in extremes(np.array([float(below[day]) for day in days]), _BINS)]
        if len(days) > 1 and any(below.values()):
            lines.append(
                UnderwaterLine(strategy=strategy, days=tuple(keep), below_money=tuple(below[day] for day in keep))
            )
    return tuple(lines)
