"""What the table of evaluations holds."""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP, Column, PartitionBy, Schema

_TEXT, _NUMBER = pa.string(), pa.float64()

ALERT_EVALUATIONS = Schema(
    description="One condition of one rule, judged on one subject at one moment, with all that it followed from.",
    columns=(
        Column("day", _TEXT, "UTC day of the moment, YYYY-MM-DD"),
        Column("as_of", TIMESTAMP, "moment of the evaluation"),
        Column("rule", _TEXT, "id of the rule, as in desk/alerts"),
        Column("condition", pa.int64(), "number of the rule's condition, from 0", "order"),
        Column("subject", _TEXT, "venue, account, instrument, strategy and key that it is about; the desk"),
        Column("venue", _TEXT, "venue of the subject; empty for all"),
        Column("sight", _TEXT, "broken, between, calm, too_few, off, no_data or blind"),
        Column("phase", _TEXT, "calm, pending or firing, after this evaluation"),
        Column("severity", _TEXT, "P1 to P4; null unless it fires", nullable=True),
        Column("metric", _TEXT, "the metric that decided"),
        Column("value", _NUMBER, "what was measured; null where nothing was", "as the metric's", nullable=True),
        Column("threshold", _NUMBER, "the level at this hour; null where none can be told", "as value", nullable=True),
        Column("regime", _TEXT, "strictest regime of the markets concerned"),
        Column("exposed", _TEXT, "X0 flat, X1 exposed, X2 hard to leave"),
        Column("at_stake", _NUMBER, "absolute exposure; null where it can't be told", "quote currency", nullable=True),
        Column("blind_seconds", _NUMBER, "longest tolerable blindness; null where unknown", "s", nullable=True),
        Column("unwind_hours", _NUMBER, "time to sell; null where unknown", "h", nullable=True),
        Column("inhibited_by", _TEXT, "firing rule of which this is a consequence", nullable=True),
        Column("muted_by", _TEXT, "kind of event during which it is not told", nullable=True),
        Column("events", pa.list_(_TEXT), "kinds of calendar events that held"),
        Column("profile_versions", pa.list_(_TEXT), "content hashes of the liquidity profiles used"),
        Column("policy_sha256", _TEXT, "digest of the rules"),
        Column(
            "inputs", _TEXT, "canonical JSON of everything that it followed from: judged again, the row is the same"
        ),
    ),
    key=("as_of", "rule", "condition", "subject"),
    partition_by=PartitionBy("day"),
)
