"""Does promotion work? What the ledger alone says of it: lead times, frequency, refusals, rollbacks and false ones.

Every figure comes with the number it rests on, and one that the records can't give is None and says why. Only records
from before the end of the window are looked at, so that the figures of a past week never change.

Belongs here: counting over records. Doesn't: reading the ledger, and whether edges were real:
``benchmarks.outcomes`` studies that where the truth is known.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from research_to_prod.promotion.contracts import PROMOTION_METRICS, Metric, Window
from research_to_prod.promotion.record import Gate, Record, RecordType
from research_to_prod.promotion.stages import TRADING, Standing
from research_to_prod.values import Stage, Verdict

DAY, WEEK, YEAR = timedelta(days=1), timedelta(weeks=1), timedelta(days=365)
MONEY = (Stage.CANARY, Stage.LIVE)
"""The stages at which a strategy trades the desk's money."""
NO_GATE = "no gate"
"""What refused when every gate passed, or none was evaluated: the proof, or people."""
GatesOf = Callable[[Record], Sequence[Gate]]


@dataclass(frozen=True)
class Figure:
    """One figure: what of which metric, its value and unit, the observations behind it, and what it is."""

    metric: Metric
    item: str
    value: float | None
    unit: str
    n: int
    what: str


def metrics_table(records: Sequence[Record], gates_of: GatesOf, week: datetime) -> pa.Table:
    """Return the rows of `PROMOTION_METRICS` for the week that begins at ``week``.

    Parameters
    ----------
    records
        All decisions on candidates, in the ledger's order.
    gates_of
        Returns the gates that a decision rests on.
    """
    first = records[0].recorded_at if records else None
    partition = f"{week:%Y-%m-%d}"
    rows = [
        {"week": partition, "window": window, **asdict(figure)}
        for window, begin in ((Window.WEEK, week), (Window.TO_DATE, first))
        for figure in promotion_metrics(records, gates_of, begin or week, week + WEEK)
    ]
    return PROMOTION_METRICS.conform(pa.Table.from_pylist(rows, schema=PROMOTION_METRICS.arrow), partition)


def promotion_metrics(
    records: Sequence[Record], gates_of: GatesOf, begin: datetime, end: datetime
) -> tuple[Figure, ...]:
    """Return all figures over what was recorded in [begin, end); kinds of records that move nothing are passed over.

    Parameters
    ----------
    records
        All decisions on candidates, in the ledger's order; those from ``end`` on are not looked at.
    gates_of
        Returns the gates that a decision rests on.
    """
    past = [record for record in records if record.recorded_at < end]
    recent = [record for record in past if record.recorded_at >= begin]
    back = [record for record in recent if is_rollback(record)]
    return (
        *_lead_times(past, begin),
        *_promotions(recent, end - begin),
        *_refusals(recent, gates_of),
        *_rollback_rate(past, back, begin, end),
        *_delays(back),
        _false_rollbacks(past, back),
    )


def is_rollback(record: Record) -> bool:
    """Return whether a record takes a strategy that sends orders down, whoever asked for it.

    The end of a halt isn't one: nothing traded. A refusal and an override move nothing.
    """
    if record.type is RecordType.REJECT or record.from_stage not in TRADING:
        return False
    return record.to_stage in {Stage.DEMOTED, Stage.HALTED, *TRADING[: TRADING.index(record.from_stage)]}


def _arrives(record: Record) -> bool:
    """Return whether a record brings its candidate to a stage, and does not only reaffirm it there."""
    return record.type is RecordType.PROMOTE and record.from_stage is not record.to_stage


def _lead_times(past: Sequence[Record], begin: datetime) -> list[Figure]:
    """Return the median time from a candidate's first record, of whatever version, to its first arrival at a stage."""
    seen: dict[str, datetime] = {}
    arrived: set[tuple[str, Stage]] = set()
    found: dict[Stage, list[float]] = {stage: [] for stage in TRADING}
    for record in past:
        first = seen.setdefault(record.candidate, record.recorded_at)
        if not _arrives(record) or (record.candidate, record.to_stage) in arrived:
            continue
        arrived.add((record.candidate, record.to_stage))
        if record.recorded_at >= begin:
            found[record.to_stage].append((record.recorded_at - first) / DAY)
    what = "median from a candidate's first record to its first arrival; research before that is not recorded"
    return [
        _figure(Metric.LEAD_TIME, stage, _median(days), "days", len(days), what, "no candidate arrived there")
        for stage, days in found.items()
    ]


def _promotions(recent: Sequence[Record], length: timedelta) -> list[Figure]:
    arrivals = Counter(record.to_stage for record in recent if _arrives(record))
    weeks = length / WEEK
    return [
        _figure(
            Metric.PROMOTIONS, item, number / weeks if weeks > 0 else None, "a week", number,
            "promotions to another stage", "nothing was recorded",
        )
        for item, number in [("all", arrivals.total()), *((stage, arrivals[stage]) for stage in TRADING)]
    ]  # fmt: skip


def _refusals(recent: Sequence[Record], gates_of: GatesOf) -> list[Figure]:
    refused = [record for record in recent if record.type is RecordType.REJECT]
    decided = len(refused) + sum(record.type is RecordType.PROMOTE for record in recent)
    by_gate = Counter(name for record in refused for name in _refused_by(gates_of(record)))
    share = _figure(
        Metric.REFUSALS, "all", len(refused) / decided if decided else None, "share of decisions", decided,
        "refusals among promotions and refusals", "nothing was decided",
    )  # fmt: skip
    what = "refusals in which this gate did not pass; several can refuse one"
    return [
        share,
        *(
            Figure(Metric.REFUSED_BY, gate, float(times), "refusals", len(refused), what)
            for gate, times in sorted(by_gate.items())
        ),
    ]


def _refused_by(gates: Iterable[Gate]) -> list[str]:
    return sorted({gate.gate for gate in gates if gate.gating and gate.verdict is not Verdict.PASS}) or [NO_GATE]


def _rollback_rate(past: Sequence[Record], back: Sequence[Record], begin: datetime, end: datetime) -> list[Figure]:
    """Return rollbacks from money by year of a strategy at canary or live, and the share of versions that met one."""
    years, versions = _at_money(past, begin, end)
    from_money = [record for record in back if record.from_stage in MONEY]
    by = Counter("by rule" if record.type is RecordType.ROLLBACK else "by people" for record in from_money)
    taken = {_version(record) for record in from_money}
    never = "no strategy traded money"
    return [
        *(
            _figure(
                Metric.ROLLBACK_RATE, item, number / years if years else None, "a strategy year", number,
                f"moves down from canary or live, over {years:.3g} years of strategies there", never,
            )
            for item, number in (("all", by.total()), ("by people", by["by people"]), ("by rule", by["by rule"]))
        ),
        _figure(
            Metric.ROLLED_BACK, "all", len(taken) / len(versions) if versions else None, "share of versions",
            len(versions), "versions moved down from canary or live, among those that were there", never,
        ),
    ]  # fmt: skip


def _at_money(past: Sequence[Record], begin: datetime, end: datetime) -> tuple[float, set[tuple[str, str]]]:
    """Return how many years strategies spent at canary or live in [begin, end), together, and which versions did."""
    standing, at, spent = Standing(), begin, timedelta()
    versions: set[tuple[str, str]] = set()
    for until, record in [*((record.recorded_at, record) for record in past), (end, None)]:
        if until > at:
            there = {_version(each) for each in standing.deciding() if each.to_stage in MONEY}
            spent += (until - at) * len(there)
            versions |= there
            at = until
        if record is not None:
            standing.advance(record)
    return spent / YEAR, versions


def _delays(back: Sequence[Record]) -> list[Figure]:
    seconds = [
        (record.recorded_at - record.trigger.observed_at).total_seconds()
        for record in back
        if record.trigger is not None
    ]
    detected = [
        (record.trigger.observed_at - record.trigger.began_at).total_seconds()
        for record in back
        if record.trigger is not None and record.trigger.began_at is not None
    ]
    return [
        _figure(
            Metric.TIME_TO_DETECT, "all", _median(detected), "seconds", len(detected),
            "median from the change that a chart estimates, or the first reading beyond a limit, to the one that fired",
            "no rollback's rule says since when; the canary's test has no such estimate",
        ),
        _figure(
            Metric.TIME_TO_ROLL_BACK, "all", _median(seconds), "seconds", len(seconds),
            "median from the reading on which a rule fired to the record", "no rollback names a rule",
        ),
    ]  # fmt: skip


def _false_rollbacks(past: Sequence[Record], back: Sequence[Record]) -> Figure:
    false = sum(_is_false(record, past) for record in back)
    return _figure(
        Metric.FALSE_ROLLBACKS, "all", false / len(back) if back else None, "share of rollbacks", len(back),
        "moves down after which the same version came back to its stage, or that an override names: at least so many",
        "there was no rollback",
    )  # fmt: skip


def _is_false(rollback: Record, past: Sequence[Record]) -> bool:
    """Return whether the same file was later promoted to where it was, or a person set the rollback aside."""
    return any(
        _version(later) == _version(rollback)
        and (
            (later.type is RecordType.PROMOTE and later.to_stage is rollback.from_stage)
            or (later.type is RecordType.OVERRIDE and later.supersedes == rollback.decision_id)
        )
        for later in past
        if later.seq > rollback.seq
    )


def _version(record: Record) -> tuple[str, str]:
    return record.candidate, record.candidate_sha256


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _figure(metric: Metric, item: str, value: float | None, unit: str, n: int, what: str, unknown: str) -> Figure:
    return Figure(metric, str(item), value, unit, n, what if value is not None else f"not known: {unknown}")
