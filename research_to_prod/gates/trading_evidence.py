"""What a candidate's trading at paper or canary shows, from the desk's own daily tables.

Evidence is of whole UTC days without a gap: a day that was left out could be the day that decides. What the tables do
not say stays unknown.

Belongs here: those tables as evidence. Doesn't: since when they count (``promotion.stages``), reading them, the feed
(``feed_evidence``), running the model again (``attribution.signal_divergence``).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.gates.evidence import LatencyEvidence, LatencySamples, PairedEvidence
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.candidate import Candidate
from research_to_prod.values import StrategyType, day_bounds, timeframe_length

TABLES = ("decisions", "orders", "slippage")
"""What is read: of each, every day of `evidence_days`."""
CONFIDENCE = 0.95
"""Of the one-sided upper bound of slippage; that of the latency gates."""
_SETTLING = timedelta(hours=1)


@dataclass(frozen=True)
class Trading:
    """Rows of the desk's tables, of any strategies, over whole days in order.

    Parameters
    ----------
    decisions, orders, slippage
        Rows of ``execution.contracts.DECISIONS`` and ``ORDERS`` and of ``attribution.contracts.SLIPPAGE``.
    days
        The days ``YYYY-MM-DD`` that they are of.
    order_events
        Rows of ``execution.contracts.ORDER_EVENTS``; None where a day of them was not delivered.
    """

    decisions: pa.Table
    orders: pa.Table
    slippage: pa.Table
    days: tuple[str, ...]
    order_events: pa.Table | None = None

    @property
    def start(self) -> datetime:
        """The first instant."""
        return day_bounds(self.days[0])[0]

    @property
    def end(self) -> datetime:
        """The first instant after the last day."""
        return day_bounds(self.days[-1])[1]


def evidence_days(since: datetime, recorded: Collection[Collection[str]]) -> tuple[str, ...] | None:
    """Return the whole days from ``since`` to the last one that every table has; None where one has a gap before that.

    Parameters
    ----------
    since
        From when trading counts; a day that it lies within is not whole.
    recorded
        For each table the days ``YYYY-MM-DD`` that it has.
    """
    first = since.astimezone(UTC).date() + timedelta(days=since.astimezone(UTC).time() != time.min)
    if not all(recorded):
        return ()
    last = date.fromisoformat(min(max(days) for days in recorded))
    days = tuple((first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1))
    return days if all(set(days) <= set(each) for each in recorded) else None


def latency_evidence(candidate: Candidate, trading: Trading, bars: Bars, largest_unasked: float) -> LatencyEvidence:
    """Return the times from decision to acknowledgement and from cancel to its answer, and the market's busiest hour.

    No acknowledgement, a rejection and a decision whose order never appears are infinite. Decisions of the last hour
    are left to the next day's tables, in which their orders may be.

    Parameters
    ----------
    bars
        Of the candidate's universe; the busiest hour is that of the largest traded value. Bars longer than an hour
        don't tell.
    largest_unasked
        Share of cancelled child orders without our request on record above which cancels are not known.
    """
    decisions = trading.decisions
    chosen = pc.and_(pc.equal(decisions["strategy"], candidate.name), decisions["sent"])
    chosen = pc.and_(chosen, pc.less(decisions["decided_at"], _instant(trading.end - _SETTLING)))
    sent = decisions.filter(chosen).select(["decision_id", "decided_at", "symbol"])
    answers = trading.orders.select(["decision_id", "acknowledged_at", "end_reason"])
    joined = sent.join(answers, "decision_id", join_type="left outer", use_threads=False)
    decided, acknowledged = (
        joined[name].to_numpy().astype("datetime64[us]") for name in ("decided_at", "acknowledged_at")
    )
    failed = pc.fill_null(pc.equal(joined["end_reason"], "rejected"), fill_value=True).to_numpy()
    milliseconds = (acknowledged - decided) / np.timedelta64(1, "ms")
    milliseconds[failed | np.isnat(acknowledged)] = math.inf
    measures = {"signal_to_ack": LatencySamples(decided, milliseconds)}
    if len(candidate.universe) > 1:
        measures["leg_skew"] = _leg_skew(candidate, decided, acknowledged, failed, joined["symbol"].to_numpy())
    cancels = _cancel_to_ack(candidate, trading, largest_unasked)
    if cancels is not None:
        measures["cancel_to_ack"] = cancels
    return LatencyEvidence(measures, _busiest_hour(bars))


def paired_evidence(candidate: Candidate, trading: Trading, largest_excluded: float) -> PairedEvidence:
    """Return the days traded beside the model, the decisions whose cost was measured, and slippage against the model's.

    Parameters
    ----------
    largest_excluded
        Share of orders without a measured cost above which slippage is not known.
    """
    rows = trading.slippage
    rows = rows.filter(
        pc.and_(pc.equal(rows["strategy"], candidate.name), pc.greater_equal(rows["sent_at"], _instant(trading.start)))
    )
    measured = rows.filter(pc.is_null(rows["excluded_reason"]))
    pairs = measured.select(["order_id"]).join(
        trading.orders.select(["order_id", "decision_id"]), "order_id", join_type="inner", use_threads=False
    )
    covered = rows.num_rows - measured.num_rows <= largest_excluded * rows.num_rows
    return PairedEvidence(
        days=len(trading.days),
        decisions=len(pc.unique(pairs["decision_id"])),
        slippage_ratio=_slippage_ratio(candidate, measured) if covered else None,
    )


def ratio_bound(realised: Floats, modelled: Floats, days: npt.NDArray[np.datetime64]) -> float | None:
    """Return the upper confidence bound of the ratio of two sums, observations of one day being no independent ones.

    The linearised ratio estimator (Cochran, Sampling Techniques, 3rd ed., 6.3) over the sums of days, with Student's
    quantile of one less than the number of days. None for less than two days, or a model that costs nothing.

    Parameters
    ----------
    realised, modelled
        (n,) costs of the same orders, in one currency.
    days
        (n,) the day of each.
    """
    from scipy.special import stdtrit

    named, where = np.unique(days, return_inverse=True)
    above, below = (np.bincount(where, each, len(named)) for each in (realised, modelled))
    n, total = len(named), float(below.sum())
    if n < 2 or not total > 0:
        return None
    ratio = float(above.sum()) / total
    error = math.sqrt(n / (n - 1) * float(np.sum((above - ratio * below) ** 2))) / total
    return ratio + float(stdtrit(n - 1, CONFIDENCE)) * error


def _leg_skew(
    candidate: Candidate,
    decided: npt.NDArray[np.datetime64],
    acknowledged: npt.NDArray[np.datetime64],
    failed: npt.NDArray[np.bool_],
    symbols: npt.NDArray[np.object_],
) -> LatencySamples:
    """Return the time between the first and the last acknowledgement of the legs that rest on one bar.

    Legs are orders in different markets whose decisions follow one close; with a leg unanswered, infinite.
    """
    bar = decided.astype(np.int64) // (timeframe_length(candidate.timeframe) // timedelta(microseconds=1))
    at, skews = [], []
    for each in np.unique(bar):
        legs = bar == each
        if len(set(symbols[legs])) < 2:
            continue
        answered = acknowledged[legs]
        lost = bool((failed[legs] | np.isnat(answered)).any())
        at.append(decided[legs].min())
        skews.append(math.inf if lost else float((answered.max() - answered.min()) / np.timedelta64(1, "ms")))
    return LatencySamples(np.array(at, "datetime64[us]"), np.array(skews, dtype=np.float64))


def _cancel_to_ack(candidate: Candidate, trading: Trading, largest_unasked: float) -> LatencySamples | None:
    """Return the time from each cancel to the last that was heard of its child order: the end, or a fill that crossed.

    A cancel after which nothing was heard is infinite. None where events are missing, or too many children were
    cancelled without a request of ours on record: what was not asked has no time.
    """
    if trading.order_events is None:
        return None
    rows = trading.order_events.filter(pc.equal(trading.order_events["strategy"], candidate.name))

    def by_child(kinds: list[str], which: str) -> pa.Table:
        found = rows.filter(pc.is_in(rows["event"], value_set=pa.array(kinds)))
        return found.group_by("child_id", use_threads=False).aggregate([("received_at", which)])

    asked, cancelled = by_child(["cancel_sent"], "min"), by_child(["cancelled"], "max")
    unasked = cancelled.join(asked, "child_id", join_type="left anti", use_threads=False).num_rows
    if unasked > largest_unasked * max(cancelled.num_rows, asked.num_rows):
        return None
    asked = asked.filter(pc.less(asked["received_at_min"], _instant(trading.end - _SETTLING)))
    heard = by_child(["cancelled", "expired", "fill"], "max")
    joined = asked.join(heard, "child_id", join_type="left outer", use_threads=False).sort_by("child_id")
    sent, answered = (joined[f"received_at_{which}"].to_numpy().astype("datetime64[us]") for which in ("min", "max"))
    milliseconds = (answered - sent) / np.timedelta64(1, "ms")
    # What was heard before the cancel was sent is no answer to it.
    milliseconds[np.isnat(answered) | (answered < sent)] = math.inf
    return LatencySamples(sent, milliseconds)


def _slippage_ratio(candidate: Candidate, measured: pa.Table) -> float | None:
    # A market maker's model charges no crossing of the spread that its orders could be held against.
    if candidate.type is StrategyType.MARKET_MAKING:
        return None
    # The model's impact needs a bar's volume; without it the model costs less, and the ratio is the stricter one.
    rate = candidate.costs.taker_fee + candidate.costs.half_spread
    rows = measured.sort_by("order_id")
    realised, value = (rows[name].to_numpy().astype(np.float64) for name in ("total", "order_value"))
    if not (np.isfinite(realised) & np.isfinite(value)).all():
        return None
    return ratio_bound(realised, rate * value, rows["ended_at"].to_numpy().astype("datetime64[D]"))


def _busiest_hour(bars: Bars) -> int | None:
    if len(bars) < 2 or bars.ts[1] - bars.ts[0] > np.timedelta64(1, "h"):
        return None
    hours = bars.ts.astype("datetime64[h]").astype(np.int64) % 24
    traded = np.bincount(hours, np.nansum(bars.volume * bars.close, axis=1), 24)
    return int(np.argmax(traded)) if traded.max() > 0 else None


def _instant(at: datetime) -> pa.Scalar:
    return pa.scalar(at, pa.timestamp("us", tz="UTC"))
