"""The table of refused deliveries: every row of the inbox that did not become a record, and why.

Belongs here: the schema, and joining the refusals of one delivery. Doesn't: refusing (``inbox``).
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.execution.inbox import Delivery
from research_to_prod.lake.schema import Column, PartitionBy, Schema

INBOX_QUARANTINE = Schema(
    description="One refused row of a delivery, whole, with the reason.",
    columns=(
        Column("delivery", pa.string(), "kind and day of the delivery, such as fills-2026-01-05; the partition"),
        Column("kind", pa.string(), "kind of the inbox, such as fills"),
        Column("file", pa.string(), "name of the delivered file"),
        Column("row", pa.int64(), "row of the file, from 1", "order"),
        Column("reason", pa.string(), "everything that is wrong with it"),
        Column("content", pa.string(), "the row as delivered, as JSON"),
    ),
    key=("delivery", "file", "row"),
    partition_by=PartitionBy("delivery"),
)


def quarantine_rows(delivery: Delivery, kind: str, day: str) -> pa.Table:
    """Return the refused rows of one delivery as ``INBOX_QUARANTINE``."""
    refused = delivery.quarantined
    count = refused.num_rows
    return pa.table(
        {
            "delivery": pa.array([f"{kind}-{day}"] * count, pa.string()),
            "kind": pa.array([kind] * count, pa.string()),
            **{name: refused[name] for name in ("file", "row", "reason", "content")},
        }
    )
