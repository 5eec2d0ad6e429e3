"""What the tables of promotion hold.

Belongs here: declared tables and their enumerations, without what signs and verifies. Doesn't: how they are computed.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

from research_to_prod.lake.schema import Column, PartitionBy, Schema

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
        Column("n", pa.int64(), "how many observations it rests on"),
        Column("what", _TEXT, "what the figure is; when it is not known, why"),
    ),
    key=("week", "window", "metric", "item"),
    partition_by=PartitionBy("week"),
)
