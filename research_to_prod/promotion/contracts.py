"""What the tables of promotion hold.

Belongs here: declared tables and their enumerations, without what signs and verifies. Doesn't: how they are computed.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP, Column, PartitionBy, Schema

_TEXT = pa.string()


class Metric(StrEnum):
    """What is measured."""

    LEAD_TIME = "lead_time"
    PROMOTIONS = "promotions"
    REFUSALS = "refusals"
    REFUSED_BY = "refused_by"
    ROLLBACK_RATE = "rollback_rate"
    ROLLED_BACK = "rolled_back"
    TIME_TO_DETECT = "time_to_detect"
    TIME_TO_ROLL_BACK = "time_to_roll_back"
    FALSE_ROLLBACKS = "false_rollbacks"


class Window(StrEnum):
    """Which records are counted."""

    WEEK = "week"
    TO_DATE = "to_date"


PROMOTION_METRICS = Schema(
    description="One figure about promotion, over one week or over everything until its end.",
    columns=(
        Column("week", _TEXT, "the UTC Monday on which the week begins, YYYY-MM-DD"),
        Column("window", _TEXT, "one of Window: the week, or all records until its end"),
        Column("metric", _TEXT, "one of Metric"),
        Column("item", _TEXT, "what of it: a stage, a gate, who rolled back; all"),
        Column("value", pa.float64(), "the figure; null when it is not known", "see unit", nullable=True),
        Column("unit", _TEXT, "unit of the figure"),
        Column("n", pa.int64(), "how many observations it rests on", "count"),
        Column("what", _TEXT, "what the figure is; when it is not known, why"),
    ),
    key=("week", "window", "metric", "item"),
    partition_by=PartitionBy("week"),
)


def _chart(name: str, description: str, unit: str) -> Column:
    return Column(name, pa.float64(), description, unit, nullable=True)


ROLLBACK = Schema(
    description="One version that trades, as the rollback's detectors see it after one day, and what they did.",
    columns=(
        Column("day", _TEXT, "UTC day, YYYY-MM-DD"),
        Column("candidate", _TEXT, "the candidate"),
        Column("candidate_sha256", _TEXT, "its version"),
        Column("stage", _TEXT, "where it traded at the day's end"),
        Column("arrived_at", TIMESTAMP, "since when; whole days after it count"),
        Column("unwatched", _TEXT, "why nothing is watched; null when it is", nullable=True),
        Column("live_days", pa.int64(), "clean days behind the edge's detectors", "days"),
        Column("paired_days", pa.int64(), "clean days behind the implementation's", "days"),
        Column("exposures", pa.int64(), "clean readings of the day's exposure", "count"),
        Column("unknown", _TEXT, "what the day's readings did not tell; empty when nothing"),
        _chart("behind", "chart of live below its shadow", "standard deviations"),
        _chart("ahead", "chart of live above its shadow", "standard deviations"),
        _chart("decay", "chart of the edge", "standard deviations"),
        _chart("canary", "log likelihood ratio of a lost edge", "nats"),
        _chart("evidence", "ln(1 + R) of the e-SR process", "nats"),
        Column("fired", _TEXT, "the layers that have fired; empty when none"),
        Column("reasons", _TEXT, "what they said; empty when nothing"),
        Column("decision_id", _TEXT, "the rollback's record in the ledger", nullable=True),
        Column("refused", _TEXT, "why a rollback that was asked for is not recorded", nullable=True),
        Column("rules_sha256", _TEXT, "digest of everything that the state follows from", nullable=True),
        Column("state", _TEXT, "the detectors' state, canonical JSON", nullable=True),
    ),
    key=("candidate", "candidate_sha256"),
    partition_by=PartitionBy("day"),
)
