"""The running day's child orders, from their events, and what they measure by the finished day's functions.

Belongs here: what the events of an order amount to. Doesn't: the measures (``day_measures``, ``burn_measures``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.operations.alerting.burn_measures import outcome_burn
from research_to_prod.operations.alerting.day_measures import order_answers_of
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.settings import Objective

_OURS = frozenset({"sent", "cancel_sent"})
_ENDS = frozenset({"cancelled", "expired", "rejected"})
CHILDREN = pa.schema(
    [
        ("venue", pa.string()),
        ("strategy", pa.string()),
        ("sent_at", TIMESTAMP),
        ("acknowledged_at", TIMESTAMP),
        ("ended_at", TIMESTAMP),
        ("end_reason", pa.string()),
    ]
)
"""What the measures of orders need; times are our clock, null for what has not happened."""


def children_of(events: pa.Table) -> pa.Table:
    """Return the child orders that ``events`` (ORDER_EVENTS) say were sent, as `CHILDREN`.

    One is acknowledged by the venue's first word on it, and ended by its last fill or by a word that says so.
    """
    columns = ["child_id", "venue", "strategy", "event", "received_at", "quantity"]
    ordered = events.select(columns).sort_by([("received_at", "ascending")]).to_pylist()
    children: dict[tuple[str, str], dict[str, Any]] = {}
    for row in ordered:
        if row["event"] == "sent":
            child = {"venue": row["venue"], "strategy": row["strategy"], "sent_at": row["received_at"]}
            ends = {"acknowledged_at": None, "ended_at": None, "end_reason": None}
            children.setdefault((row["venue"], row["child_id"]), child | ends | {"size": row["quantity"], "filled": 0})
    for row in ordered:
        known = children.get((row["venue"], row["child_id"]))
        if known is None or row["event"] in _OURS:
            continue
        if known["acknowledged_at"] is None:
            known["acknowledged_at"] = row["received_at"]
        if row["event"] == "replaced":
            known["size"] = row["quantity"]
        if row["event"] == "fill":
            known["filled"] += row["quantity"]
        done = row["event"] == "fill" and known["filled"] >= known["size"]
        if known["ended_at"] is None and (done or row["event"] in _ENDS):
            known |= {"ended_at": row["received_at"], "end_reason": "filled" if done else row["event"]}
    rows = [{name: child[name] for name in CHILDREN.names} for child in children.values()]
    return pa.Table.from_pylist(rows, schema=CHILDREN)


def observe_running(events: pa.Table, objectives: Sequence[Objective], told: datetime) -> list[Observation]:
    """Return what a running day's events say at ``told``, up to when the desk has told them."""
    children = children_of(events)
    return [*order_answers_of(children, told), *outcome_burn(children, objectives, told)]
