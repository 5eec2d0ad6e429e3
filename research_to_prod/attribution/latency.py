"""What the desk loses between a decision and its order being live.

Belongs here: times and costs of each order, and their table by how long it took. Doesn't: what happens after arrival
(slippage's timing), and whether latency is within a strategy's limits (``gates.latency``).

The delay of an order (see ``slippage``) is split at the moment of sending. With the mid ``Ps`` that stood then, on the
whole quantity ``X``::

    before_sending   s X (Ps - Pd)    the desk's own systems
    on_the_way       s X (P0 - Ps)    the way to the venue, the venue, and the way back

They add up to the delay, computed from other prices, to float rounding. All three instants are read on our clock. That
the price moved while an order was on its way is no proof that a faster one would have got the old price: what the
price does after a fill (markouts) says what another second would have cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.contracts import LATENCY_COSTS
from research_to_prod.attribution.markouts import clustered_mean
from research_to_prod.attribution.parent_orders import is_inverse
from research_to_prod.attribution.quote_match import MAX_QUOTE_AGE, Floats, match_quotes
from research_to_prod.attribution.slippage import linear_price

BUCKETS_MS = (50, 100, 250, 500, 1_000, 5_000)
"""Upper bounds of the classes of time from decision to live; the last class has none."""

_MEASURES = (
    "median_ms", "slowest_ms", "median_sent_ms", "before_sending", "on_the_way", "delay",
    "mean_bps", "low_bps", "high_bps",
)  # fmt: skip
_MS = 1e-3
_BPS = 1e4


def latency_of_orders(
    slippage: pa.Table,
    decisions: pa.Table,
    orders: pa.Table,
    events: pa.Table,
    quotes: Iterable[pa.Table],
    max_quote_age: timedelta = MAX_QUOTE_AGE,
) -> pa.Table:
    """Return one ``LATENCY_COSTS`` row per row of ``slippage``, in its order.

    Parameters
    ----------
    slippage
        ``SLIPPAGE`` rows of a day: an order that is excluded there is so here, for the same reason.
    decisions, orders, events
        Rows of those tables that hold these orders; ``ORDER_EVENTS`` may be empty, where nobody delivers it.
    quotes
        ``QUOTES`` rows in pieces.
    """
    ids = slippage["order_id"].combine_chunks()
    own = pc.take(orders, pc.index_in(ids, value_set=orders["order_id"].combine_chunks()))
    made = pc.index_in(own["decision_id"], value_set=decisions["decision_id"].combine_chunks())
    times = {"decided": pc.take(decisions["decided_at"], made), "sent": own["sent_at"], "live": own["acknowledged_at"]}
    legs = (("decided", "sent"), ("sent", "live"), ("decided", "live"))
    before, way, whole = (_between(times[earlier], times[later]) for earlier, later in legs)
    asked = pa.table({"venue": slippage["venue"], "symbol": slippage["symbol"], "sent_at": own["sent_at"]})
    match = match_quotes(asked, {"sent_at": "received_at"}, quotes, max_quote_age)["sent_at"]
    returned, children = _way_back(ids, events)

    inverse = is_inverse(slippage["symbol"]).to_numpy(zero_copy_only=False)
    decision, arrival = (linear_price(_floats(slippage, name), inverse) for name in ("decision_mid", "arrival_mid"))
    sent = linear_price(match.mid, inverse)
    # A contract that pays in coins is valued at the decision's mid, as its delay is.
    signed = _floats(slippage, "side") * _floats(slippage, "quantity")
    signed = signed * np.where(inverse, _floats(slippage, "decision_mid"), 1.0)
    disorder = pc.if_else(pa.array((before < 0) | (way < 0)), "times out of order", pa.scalar(None, pa.string()))
    reason = pc.coalesce(slippage["excluded_reason"].combine_chunks(), disorder)
    excluded = pc.is_valid(reason).to_numpy(zero_copy_only=False)
    costs = {
        "before_sending": signed * (sent - decision),
        "on_the_way": signed * (arrival - sent),
        "delay": _floats(slippage, "delay_filled") + _floats(slippage, "delay_unfilled"),
        "order_value": _floats(slippage, "order_value"),
    }
    unsplit = pc.if_else(pc.is_null(reason), pc.binary_join_element_wise("at sending", match.why(), ": "), None)
    named = ("decision_to_sent_ms", "sent_to_live_ms", "decision_to_live_ms", "venue_to_us_ms")
    found = dict(zip(named, (before, way, whole, returned), strict=True))
    columns = {name: pa.array(values, mask=np.isnan(values)) for name, values in found.items()}
    columns |= {name: pa.array(values, mask=excluded | np.isnan(values)) for name, values in costs.items()}
    columns |= {name: slippage[name] for name in ("order_id", "strategy", "venue", "symbol", "ended_at")}
    columns |= {"child_orders": children, "unsplit_reason": unsplit, "excluded_reason": reason}
    return pa.table({name: columns[name] for name in LATENCY_COSTS.arrow.names}).cast(LATENCY_COSTS.arrow)


def worst_latency_residual(rows: pa.Table) -> float:
    """Return the largest |before sending + on the way - delay| / (1 + |delay|) of what is split; 0 without rows."""
    counted = rows.filter(rows["before_sending"].is_valid())
    before, way, delay = (_floats(counted, name) for name in ("before_sending", "on_the_way", "delay"))
    return float(np.max(np.abs(before + way - delay) / (1 + np.abs(delay)), initial=0.0))


def costs_by_bucket(rows: pa.Table, by: Sequence[str] = ("strategy",)) -> pa.Table:
    """Return what delay cost by group and by how long the order took from decision to live.

    Parameters
    ----------
    rows
        ``LATENCY_COSTS``, of as many days as wanted; excluded rows are counted nowhere.
    by
        Columns that make the groups.

    Returns
    -------
    pa.Table
        A row per group and class that has orders: ``from_ms`` and ``to_ms`` (null for the last class), ``orders``,
        ``median_ms`` and ``slowest_ms`` (95th percentile) from decision to live, ``median_sent_ms`` to sending,
        the sums ``before_sending`` and ``on_the_way`` over the ``split`` orders whose quote at sending is known, the
        sum ``delay`` of all, and the value-weighted mean delay ``mean_bps`` with
        its 95 % interval ``low_bps``, ``high_bps``: each order is one observation, null below
        `markouts.FEWEST_PARENTS`.
    """
    counted = rows.filter(rows["excluded_reason"].is_null()).sort_by("order_id")
    total = _floats(counted, "decision_to_live_ms")
    bucket = np.searchsorted(np.array(BUCKETS_MS, np.float64), total, side="right")
    numbered = counted.append_column("bucket", pa.array(bucket)).append_column("row", pa.array(np.arange(len(total))))
    keys = [*by, "bucket"]
    # One thread, as in markouts: the order of the rows decides the last digit of a sum.
    groups = (
        numbered.group_by(keys, use_threads=False)
        .aggregate([("row", "list")])
        .sort_by([(name, "ascending") for name in keys])
    )
    lines = []
    for group in groups.to_pylist():
        own = counted.take(group.pop("row_list"))
        number = group.pop("bucket")
        value, delay, took = (_floats(own, name) for name in ("order_value", "delay", "decision_to_live_ms"))
        found = clustered_mean(_BPS * delay / value, value, np.arange(own.num_rows))
        lines.append(
            group
            | {
                "from_ms": (0, *BUCKETS_MS)[number],
                "to_ms": (*BUCKETS_MS, None)[number],
                "orders": own.num_rows,
                "split": own.num_rows - own["before_sending"].null_count,
                "median_ms": float(np.median(took)),
                "slowest_ms": float(np.quantile(took, 0.95)),
                "median_sent_ms": float(np.median(_floats(own, "decision_to_sent_ms"))),
            }
            | {name: float(np.nansum(_floats(own, name))) for name in ("before_sending", "on_the_way", "delay")}
            | {name: _known(getattr(found, name.removesuffix("_bps"))) for name in ("mean_bps", "low_bps", "high_bps")}
        )
    fields = [rows.schema.field(name) for name in by]
    fields += [(name, pa.int64()) for name in ("from_ms", "to_ms", "orders", "split")]
    fields += [(name, pa.float64()) for name in _MEASURES]
    return pa.Table.from_pylist(lines, schema=pa.schema(fields))


def _known(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _between(earlier: pa.ChunkedArray, later: pa.ChunkedArray) -> Floats:
    """Return milliseconds, NaN where one of the two is not recorded."""
    return pc.microseconds_between(earlier, later).cast(pa.float64()).to_numpy(zero_copy_only=False) * _MS


def _way_back(ids: pa.Array, events: pa.Table) -> tuple[Floats, pa.Array]:
    """Return by order the median milliseconds from live at the venue to known by us, and how many children there were.

    Two clocks: their offset is in it, so that it may be negative.
    """
    live = events.filter(pc.equal(events["event"], "new"))
    at = pc.index_in(live["order_id"], value_set=ids)
    live, at = live.filter(pc.is_valid(at)), at.drop_null().to_numpy().astype(np.int64)
    took = _between(live["occurred_at"], live["received_at"])
    order = np.argsort(at, kind="stable")
    took, edges = took[order], np.searchsorted(at[order], np.arange(len(ids) + 1))
    median = np.full(len(ids), np.nan)
    for number in np.flatnonzero(np.diff(edges)):
        own = took[edges[number] : edges[number + 1]]
        median[number] = np.median(own[np.isfinite(own)]) if np.isfinite(own).any() else np.nan
    return median, pa.array(np.diff(edges), mask=np.diff(edges) == 0)


def _floats(table: pa.Table, name: str) -> Floats:
    return table[name].cast(pa.float64()).to_numpy()
