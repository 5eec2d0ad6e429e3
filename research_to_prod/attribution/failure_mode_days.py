"""The failure modes of an evening: of each market on the day, of each drawdown so far, and of the whole record.

Each day is diagnosed once, on its own evening; a drawdown has the modes of the days on which it fell. So a night costs
a day, however long the record. Losses are known by the day, and so is how they gather (`failure_modes.enrichment`).

Belongs here: answers to rows, and rows of days to those of drawdowns. Doesn't: the inputs (``failure_mode_inputs``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.drawdown_days import ALL, RECORD
from research_to_prod.attribution.failure_mode_inputs import TRADES_OF_DAYS, since
from research_to_prod.attribution.failure_mode_policy import FailureModePolicy
from research_to_prod.attribution.failure_mode_rules.case import Case
from research_to_prod.attribution.failure_modes import MODES, Answer, Diagnosis, diagnose, enrichment
from research_to_prod.attribution.pnl_contracts import FAILURE_MODES
from research_to_prod.attribution.shadow_days import Place
from research_to_prod.values import day_bounds, digest

BY_MANY_TRADES = frozenset({"thin_hours", "maker_toxicity"})
"""Modes that a day has too few trades for: they are looked for in the last `TRADES_OF_DAYS` days."""

BY_RECORD = frozenset({"crowding"})
"""Modes that are a property of the whole record."""

_DAILY = ["strategy", "mode", "day", "answer", "first_at", "last_at", "reason"]
_SEED = 20260101  # of the shifts of records too long to try all of them


def diagnose_day(case: Case, policy: FailureModePolicy, first_day: str) -> tuple[Diagnosis, ...]:
    """Return the answer to each mode on a day: most from the day, those that need more from the days before it too.

    Parameters
    ----------
    case
        Of the day, its series reaching back as far as they are known.
    first_day
        Of the strategy's record.
    """
    many = replace(case, start=since(f"{case.window.start:%Y-%m-%d}", TRADES_OF_DAYS))
    record = replace(case, start=min(case.start, since(first_day, 1)))
    found: list[Diagnosis] = []
    for mode in MODES:
        window = many if mode.name in BY_MANY_TRADES else record if mode.name in BY_RECORD else case
        found += diagnose(window, policy, [mode])
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Evening:
    """What the modes of an evening are made of.

    Parameters
    ----------
    found
        The answers of the day by market.
    before
        ``FAILURE_MODES`` rows of the days before; a day that was never made is one on which nothing can be excluded.
    shadow, drawdowns
        ``SHADOW`` rows of all days up to this one, and ``DRAWDOWNS`` rows of this one.
    """

    day: str
    found: Mapping[Place, Sequence[Diagnosis]]
    before: pa.Table
    shadow: pa.Table
    drawdowns: pa.Table


def modes_of_day(evening: Evening, policy: FailureModePolicy) -> pa.Table:
    """Return the ``FAILURE_MODES`` rows of an evening."""
    sha256 = digest(policy.model_dump(mode="json"))
    rows = [_market(evening.day, place, each) for place, found in evening.found.items() for each in found]
    seen = evening.before.filter(pc.not_equal(evening.before["symbol"], ALL)).select(_DAILY).to_pylist() + rows
    for strategy, own in _by_strategy(evening.shadow.to_pylist()).items():
        answers = _by_mode_and_day([row for row in seen if row["strategy"] == strategy])
        losses = _daily_losses(own, evening.day)
        episodes = [
            row
            for row in evening.drawdowns.to_pylist()
            if row["strategy"] == strategy and row["episode"] != RECORD and row["dimension"] == ALL
        ]
        for mode in MODES:
            head = {"day": evening.day, "strategy": strategy, "venue": ALL, "symbol": ALL, "mode": mode.name}
            by_day = answers.get(mode.name, {})
            falling: set[str] = set()
            for episode in episodes:
                days = [each for each in losses if _falls(episode, each)]
                falling.update(days)
                shares = _share_of_loss(losses, days, by_day, episode["loss"])
                rows.append(head | {"episode": episode["episode"]} | _together(days, by_day) | shares)
            gathered = _gathered(losses, falling, by_day)
            rows.append(head | {"episode": RECORD} | _together(list(losses), by_day) | gathered)
    return pa.Table.from_pylist([row | {"policy_sha256": sha256} for row in rows], schema=FAILURE_MODES.arrow)


def _market(day: str, place: Place, found: Diagnosis) -> dict[str, Any]:
    windows = found.windows
    numbers = {name: value for name, value in sorted(found.evidence.items()) if np.isfinite(value)}
    return {
        "day": day,
        **place._asdict(),
        "episode": RECORD,
        "mode": found.mode,
        "answer": found.answer.value,
        "days": 1,
        "days_present": int(found.answer is Answer.PRESENT),
        "days_unknown": int(found.answer is Answer.UNKNOWN),
        "first_at": windows[0].start if windows else None,
        "last_at": windows[-1].end if windows else None,
        "severity": found.severity if found.severity is not None and np.isfinite(found.severity) else None,
        "evidence": json.dumps(numbers) if numbers else None,
        "reason": found.reason,
    }


def _by_strategy(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["strategy"], []).append(row)
    return dict(sorted(groups.items()))


def _by_mode_and_day(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        groups.setdefault(row["mode"], {}).setdefault(row["day"], []).append(row)
    return groups


def _daily_losses(shadow: Sequence[Mapping[str, Any]], last: str) -> dict[str, Decimal | None]:
    """Return what each day of a strategy's record lost, a gain negative, in order; None where it is not known."""
    first = date.fromisoformat(min(row["day"] for row in shadow))
    days = [(first + timedelta(days=n)).isoformat() for n in range((date.fromisoformat(last) - first).days + 1)]
    losses: dict[str, Decimal | None] = dict.fromkeys(days)
    by_day: dict[str, list[Decimal | None]] = {}
    for row in shadow:
        by_day.setdefault(row["day"], []).append(row["live"])
    for day, earned in by_day.items():
        known = [each for each in earned if each is not None]
        losses[day] = -sum(known, Decimal(0)) if len(known) == len(earned) else None
    return losses


def _falls(episode: Mapping[str, Any], day: str) -> bool:
    """Tell whether a day's P&L, which is booked in its last microsecond, belongs to the fall of a drawdown."""
    booked = day_bounds(day)[1] - timedelta(microseconds=1)
    return bool(episode["peak_at"] < booked <= episode["trough_at"])


def _together(days: Sequence[str], by_day: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return one answer for some days: present on any of them, absent when absent on all."""
    present = [row for day in days for row in by_day.get(day, ()) if row["answer"] == Answer.PRESENT]
    on = {row["day"] for row in present}
    unknown = {
        day
        for day in days
        if day not in on and (day not in by_day or any(row["answer"] == Answer.UNKNOWN for row in by_day[day]))
    }
    answer = Answer.PRESENT if on else Answer.UNKNOWN if unknown or not days else Answer.ABSENT
    reasons = {row["reason"] for day in unknown for row in by_day.get(day, ()) if row["reason"]}
    if missing := sum(day not in by_day for day in unknown):
        reasons.add(f"{missing} of {len(days)} days were never looked at")
    firsts: list[datetime] = [row["first_at"] for row in present]
    lasts: list[datetime] = [row["last_at"] for row in present]
    return {
        "answer": answer.value,
        "days": len(days),
        "days_present": len(on),
        "days_unknown": len(unknown),
        "first_at": min(firsts, default=None),
        "last_at": max(lasts, default=None),
        "reason": "; ".join(sorted(reasons)) if answer is Answer.UNKNOWN else "",
    }


def _share_of_loss(
    losses: Mapping[str, Decimal | None], days: Sequence[str], by_day: Mapping[str, Sequence[Mapping[str, Any]]],
    whole: Decimal,
) -> dict[str, Any]:  # fmt: skip
    lost = [losses[day] for day in days if _shows(by_day, day)]
    known = [each for each in lost if each is not None]
    return {"loss_share": float(sum(known, Decimal(0)) / whole) if known and whole else None}


def _gathered(
    losses: Mapping[str, Decimal | None], falling: set[str], by_day: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Return how the losses of all drawdowns gather on the days with a mode; nothing where it was on none of them."""
    flagged = np.array([_shows(by_day, day) for day in losses], bool)
    lost = np.array([float(losses[day] or 0) if day in falling else 0.0 for day in losses])
    if not flagged.any() or not lost.sum() > 0 or any(each is None for each in losses.values()):
        return {}
    found = enrichment(lost, flagged, seed=_SEED)
    shares = {"loss_share": found.loss_share, "time_share": found.time_share}
    return shares | {"p_value": found.p_value, "shifts": found.shifts}


def _shows(by_day: Mapping[str, Sequence[Mapping[str, Any]]], day: str) -> bool:
    return any(row["answer"] == Answer.PRESENT for row in by_day.get(day, ()))
