"""A day's watch of everything that trades: from the desk's tables and the ledger to readings, states and triggers.

A state is derived from all of a watch's days anew, so that a repeated night gives the same triggers, and the ledger
records them once. What can't be watched says why, and is never taken for quiet.

Belongs here: which versions are watched since when, their readings from tables, and the rows of `ROLLBACK`. Doesn't:
the detectors (``stepping``), recording what they ask for (``taking_back``), reading the lake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.promotion.record import Record
from research_to_prod.promotion.rollback.baseline import BaselineError, baseline_of
from research_to_prod.promotion.rollback.design import design
from research_to_prod.promotion.rollback.policy import RollbackPolicy
from research_to_prod.promotion.rollback.readings import DayResult, Exposure
from research_to_prod.promotion.rollback.stepping import Outcome, replay
from research_to_prod.promotion.rollback.trigger import Trigger
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.promotion.stages import TRADING, standing
from research_to_prod.research.bars import Floats
from research_to_prod.values import Stage, day_bounds

Rows = list[dict[str, Any]]
_HOUR = timedelta(hours=1)
_REQUESTS = ("sent", "new", "replaced", "cancel_sent")
"""Events that are a request of ours; a child order that was sent and then live is one."""


@dataclass(frozen=True)
class DeskTables:
    """The desk's rows of any strategies.

    Parameters
    ----------
    shadow
        ``SHADOW`` rows of every recorded day until the one that is judged.
    days
        Those days.
    positions, fills, order_events
        Of the day that is judged; None where they were not delivered.
    """

    shadow: pa.Table
    days: tuple[str, ...]
    positions: pa.Table | None
    fills: pa.Table | None
    order_events: pa.Table | None


@dataclass(frozen=True)
class Reference:
    """What a version was promoted on: the digest of its candidate, and the daily net returns of its backtest."""

    candidate_sha256: str
    returns: Floats


@dataclass(frozen=True)
class Watched:
    """One version that trades, and what its watch says after the day; or why there is none."""

    record: Record
    arrived_at: datetime
    day: str
    watch: Watch | None = None
    outcome: Outcome | None = None
    today: tuple[str, ...] = ()
    unwatched: str = ""

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """What fired, on whatever day of the watch."""
        return () if self.outcome is None else self.outcome.triggers


def watch_day(
    day: str,
    records: Sequence[Record],
    desk: DeskTables,
    references: Mapping[str, Reference],
    policy: RollbackPolicy,
) -> tuple[Watched, ...]:
    """Return what stood at canary, live or on paper at the day's end, each with its watch after the day.

    Parameters
    ----------
    records
        The verified ledger's; what came after the day's end is not looked at.
    references
        By candidate; a candidate without one can't be watched.
    """
    end = day_bounds(day)[1]
    past = [record for record in records if record.recorded_at < end]
    state = standing(past)
    trading = [each for each in state.deciding() if each.to_stage in TRADING]
    names = Counter(each.candidate for each in trading)
    found = []
    for record in sorted(trading, key=lambda each: (each.candidate, each.candidate_sha256)):
        arrived = state.arrived(record.candidate, record.candidate_sha256) or record.recorded_at
        plain = Watched(record, arrived, day)
        reference = references.get(record.candidate)
        problem = ""
        if state.reduce_only(record.candidate, record.candidate_sha256):
            problem = "a rule took it back: it only reduces until a person lets it up"
        elif names[record.candidate] > 1:
            problem = (
                "another version of it trades too, and the tables name strategies: whose days these are is not known"
            )
        elif reference is None or reference.candidate_sha256 != record.candidate_sha256:
            problem = "the lake holds no backtest of this version: what it promised is not known"
        elif record.limits is None or record.limits.capital is None:
            problem = "its record names no capital: no return on it is known"
        if problem or reference is None:
            found.append(_unwatched(plain, problem))
        else:
            found.append(_watched(plain, past, desk, reference, policy))
    return tuple(found)


def rollback_table(
    day: str, watched: Iterable[Watched], decisions: Mapping[str, str], refused: Mapping[str, str]
) -> pa.Table:
    """Return the rows of `ROLLBACK`.

    Parameters
    ----------
    decisions, refused
        By version: the record that carries a rollback out, or why there is none.
    """
    from research_to_prod.promotion.contracts import ROLLBACK

    rows: Rows = []
    for each in watched:
        state = None if each.outcome is None else each.outcome.state
        on_paper, canary = each.record.to_stage is Stage.PAPER, each.record.to_stage is Stage.CANARY
        version = each.record.candidate_sha256
        rows.append(
            {
                "day": day,
                "candidate": each.record.candidate,
                "candidate_sha256": version,
                "stage": each.record.to_stage.value,
                "arrived_at": each.arrived_at,
                "unwatched": each.unwatched or None,
                "live_days": 0 if state is None else state.live_days,
                "paired_days": 0 if state is None else state.paired_days,
                "exposures": 0 if state is None else state.exposures,
                "unknown": "; ".join(each.today),
                "behind": None if state is None else state.behind,
                "ahead": None if state is None else state.ahead,
                "decay": None if state is None or on_paper or canary else state.decay,
                "canary": state.canary if state is not None and canary else None,
                "evidence": None if state is None or on_paper else state.evidence,
                "fired": "; ".join(trigger.layer for trigger in each.triggers),
                "reasons": "; ".join(trigger.reason for trigger in each.triggers),
                "decision_id": decisions.get(version),
                "refused": refused.get(version),
                "rules_sha256": None if each.watch is None else each.watch.rules_sha256,
                "state": None if state is None else state.canonical_bytes().decode(),
            }
        )
    return ROLLBACK.conform(pa.Table.from_pylist(rows, schema=ROLLBACK.arrow), day)


def _unwatched(plain: Watched, why: str) -> Watched:
    return Watched(plain.record, plain.arrived_at, plain.day, unwatched=why)


def _watched(
    plain: Watched, past: Sequence[Record], desk: DeskTables, reference: Reference, policy: RollbackPolicy
) -> Watched:
    record, day = plain.record, plain.day
    own = _by_day(desk.shadow, record.candidate)
    first = plain.arrived_at.date() + timedelta(days=plain.arrived_at > day_bounds(f"{plain.arrived_at:%Y-%m-%d}")[0])
    before = [each for each in desk.days if date.fromisoformat(each) < first]
    since = [each for each in desk.days if date.fromisoformat(each) >= first]
    capital = _capital(past, record)
    residuals = [_residual(_result(record.candidate, each, own.get(each, []), capital(each))) for each in before]
    rules = policy.for_type(record.strategy_type).standardisation
    try:
        baseline = baseline_of(reference.returns, np.array(residuals, dtype=np.float64), rules)
    except BaselineError as error:
        return _unwatched(plain, str(error))
    watch = Watch(
        record.candidate, record.candidate_sha256, record.to_stage, design(policy, record.strategy_type), baseline
    )
    results = [_result(record.candidate, each, own.get(each, []), capital(each)) for each in since]
    # Limits hold from the moment of arrival; only results are of whole days.
    approved = Decimal(record.limits.capital) if record.limits and record.limits.capital else capital(day)
    seen = [each for each in exposures(record.candidate, approved, desk, day) if each.at >= plain.arrived_at]
    outcome = replay(watch, [*seen, *results])
    today = tuple(each for each in outcome.inconclusive if day in each)
    if not since or since[-1] != day:
        today = (*today, f"live and shadow of {day}: not recorded")
    return Watched(record, plain.arrived_at, day, watch, outcome, today)


def _capital(past: Sequence[Record], version: Record) -> Any:
    """Return the capital approved by day: that of the version's last record before the day began."""
    own = [
        (each.recorded_at, Decimal(each.limits.capital))
        for each in past
        if each.candidate_sha256 == version.candidate_sha256
        and each.to_stage in TRADING
        and each.type not in {"reject", "override"}
        and each.limits is not None
        and each.limits.capital is not None
    ]

    def on(day: str) -> Decimal:
        start = day_bounds(day)[0]
        return next((capital for at, capital in reversed(own) if at <= start), own[0][1])

    return on


def _by_day(shadow: pa.Table, strategy: str) -> dict[str, Rows]:
    columns = ["day", "position_known", "live", "shadow"]
    found: dict[str, Rows] = {}
    for row in shadow.filter(pc.equal(shadow["strategy"], strategy)).select(columns).to_pylist():
        found.setdefault(row["day"], []).append(row)
    return found


def _result(candidate: str, day: str, rows: Rows, capital: Decimal) -> DayResult:
    """Return a day's returns; a market that is not known leaves the day unknown, no market at all earned nothing."""
    known = all(row["position_known"] for row in rows)

    def returned(side: str) -> float | None:
        if not known or any(row[side] is None for row in rows):
            return None
        return float(sum((row[side] for row in rows), Decimal(0)) / capital)

    return DayResult(candidate, date.fromisoformat(day), day_bounds(day)[1], returned("live"), returned("shadow"))


def _residual(result: DayResult) -> float:
    return float("nan") if result.live is None or result.shadow is None else result.live - result.shadow


def exposures(candidate: str, capital: Decimal, desk: DeskTables, day: str) -> list[Exposure]:
    """Return what a strategy held and did at each instant of a day at which the desk stated its positions.

    Loss is since midnight, from positions at their marks and the cash of fills, without funding; equity is the capital
    less it. An inverse contract is not valued, and leaves what is valued unknown.
    """
    if desk.positions is None:
        return []
    stated: dict[datetime, Rows] = {}
    for row in desk.positions.filter(pc.equal(desk.positions["strategy"], candidate)).to_pylist():
        stated.setdefault(row["held_at"], []).append(row)
    start = day_bounds(day)[0]
    fills = None if desk.fills is None else _own(desk.fills, candidate)
    requests = None if desk.order_events is None else _requests(_own(desk.order_events, candidate))
    opening = _value(stated[start]) if start in stated else None
    found = []
    for at in sorted(stated):
        gross, value = _gross(stated[at]), _value(stated[at])
        cash = (
            None if fills is None else sum((_cash(row) for row in fills if start <= row["filled_at"] <= at), Decimal(0))
        )
        known = None not in (value, opening, cash)
        loss = (opening - value - cash) / capital if known else None  # type: ignore[operator]
        position = None if gross is None else gross / capital
        equity = None if loss is None else 1 - loss
        found.append(
            Exposure(
                candidate=candidate,
                at=at,
                observed_at=at,
                position=None if position is None else float(position),
                orders_a_minute=None if requests is None else _busiest_minute(requests, at),
                leverage=None if position is None or equity is None or equity <= 0 else float(position / equity),
                loss=None if loss is None else float(loss),
            )
        )
    return found


def _own(table: pa.Table, strategy: str) -> Rows:
    rows: Rows = table.filter(pc.equal(table["strategy"], strategy)).to_pylist()
    return rows


def _inverse(symbol: str) -> bool:
    pair, _, settled = symbol.partition(":")
    return bool(settled) and settled.partition("-")[0] == pair.partition("/")[0]


def _value(rows: Rows) -> Decimal | None:
    if any(row["position"] and (row["mark_price"] is None or _inverse(row["symbol"])) for row in rows):
        return None
    return sum((row["position"] * row["mark_price"] for row in rows if row["position"]), Decimal(0))


def _gross(rows: Rows) -> Decimal | None:
    if _value(rows) is None:
        return None
    return sum((abs(row["position"]) * row["mark_price"] for row in rows if row["position"]), Decimal(0))


def _cash(fill: dict[str, Any]) -> Decimal:
    """Return the money that a fill brought; a fee in the coin has left the position and not the cash."""
    base, _, _ = fill["symbol"].partition("/")
    fee = Decimal(0) if fill["fee_currency"] == base else fill["fee"]
    value: Decimal = -fill["side"] * fill["quantity"] * fill["price"] - fee
    return value


def _requests(events: Rows) -> list[datetime]:
    """Return when the desk asked the venue for something; an order that was sent and then live was asked for once."""
    first: dict[str, datetime] = {}
    others = []
    for row in events:
        if row["event"] in {"sent", "new"}:
            at = first.setdefault(row["child_id"], row["received_at"])
            first[row["child_id"]] = min(at, row["received_at"])
        elif row["event"] in _REQUESTS:
            others.append(row["received_at"])
    return [*first.values(), *others]


def _busiest_minute(requests: list[datetime], until: datetime) -> float:
    """Return the most requests of any clock minute of the hour before an instant."""
    minutes = Counter(each.replace(second=0, microsecond=0) for each in requests if until - _HOUR < each <= until)
    return float(max(minutes.values(), default=0))
