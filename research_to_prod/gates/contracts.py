"""The tables that the gates hand on.

Belongs here: their declaration. Doesn't: how verdicts come about.
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP, Column, PartitionBy, Schema

GATE_REPORT = Schema(
    description="One gate of one policy applied to one candidate.",
    columns=(
        Column("candidate", pa.string(), "the candidate"),
        Column("gate", pa.string(), "name of the gate"),
        Column("family", pa.string(), "what it is about: one of gates.families.Family"),
        Column("gating", pa.bool_(), "whether promotion needs it to pass; false: reported beside the gates"),
        Column("verdict", pa.string(), "pass, fail or inconclusive"),
        Column("value", pa.float64(), "what was measured; null where it could not be", "the gate's", nullable=True),
        Column("threshold", pa.float64(), "what the policy asks for", "as value", nullable=True),
        Column("margin", pa.float64(), "distance to the threshold; positive is good", "as value", nullable=True),
        Column("comparison", pa.string(), "how value must stand to threshold: >=, > or <="),
        Column("samples", pa.int64(), "observations behind the value", "count"),
        Column("power", pa.float64(), "chance that the policy's reference edge would pass", "fraction", nullable=True),
        Column("minimum_track_record", pa.float64(), "days that the verdict needs", "days", nullable=True),
        Column("reason", pa.string(), "the verdict in words"),
        Column("remedy", pa.string(), "what would change it; empty for a pass"),
        Column("policy_id", pa.string(), "the policy"),
        Column("policy_sha256", pa.string(), "SHA-256 of the policy's canonical form"),
    ),
    key=("candidate", "gate"),
    partition_by=PartitionBy("candidate"),
)

READINESS = Schema(
    description="One thing that stands ready for a candidate, as somebody saw it: the last kill drill, or a runbook.",
    columns=(
        Column("candidate", pa.string(), "the candidate"),
        Column("as_of", TIMESTAMP, "when somebody looked, our clock"),
        Column("evidence", pa.string(), "kill_drill or runbook"),
        Column("name", pa.string(), "the runbook's file; kill_drill"),
        Column(
            "done_at", TIMESTAMP, "when the drill ended; null of runbooks, and where none is on record", nullable=True
        ),
        Column("worked", pa.bool_(), "whether every step of the drill worked; true of a runbook, which was read whole"),
        Column("owner", pa.string(), "who answers for the runbook", nullable=True),
        Column("reviewed_on", pa.string(), "day of the runbook's last review, YYYY-MM-DD", nullable=True),
        Column("sha256", pa.string(), "digest of the runbook's bytes", nullable=True),
    ),
    key=("candidate", "evidence", "name"),
    partition_by=PartitionBy("candidate"),
)
