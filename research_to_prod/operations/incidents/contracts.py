"""What the table of incidents holds."""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP, Column, PartitionBy, Schema

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()

INCIDENTS = Schema(
    description="One incident that follows from a day's evaluations, with what its page says.",
    columns=(
        Column("day", _TEXT, "UTC day of the evaluations, YYYY-MM-DD"),
        Column("incident_id", _TEXT, "beginning of the fingerprint, and when it was opened"),
        Column("fingerprint", _TEXT, "SHA-256 of environment, rule and subject: the same incident at every look"),
        Column("rule", _TEXT, "id of the rule, as in desk/alerts"),
        Column("subject", _TEXT, "what it is about"),
        Column("venue", _TEXT, "venue of the subject; empty for all"),
        Column("severity", _TEXT, "P1 to P4, the highest that it had"),
        Column("status", _TEXT, "detected, merged, mitigated, resolved ... as the evaluations leave it"),
        Column("part_of", _TEXT, "incident that tells it; null when it is told for itself", nullable=True),
        Column("opened_at", TIMESTAMP, "moment of the evaluation that opened it"),
        Column("occurrences", _COUNT, "firings in all", "count"),
        Column("text", _TEXT, "what its page says in one line; null when another incident tells it", nullable=True),
        Column("context", pa.list_(_TEXT), "exposure, blind time, time to unwind, regime and events, in words"),
        Column("steps", pa.list_(_TEXT), "first steps of its runbook with the numbers filled in"),
        Column("runbook", _TEXT, "file of its runbook; null when another incident tells it", nullable=True),
    ),
    key=("opened_at", "incident_id"),
    partition_by=PartitionBy("day"),
)
