"""What the tables of operations hold.

Belongs here: declared tables and their enumerations. Doesn't: how they are computed.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

from research_to_prod.lake.schema import DECIMAL, TIMESTAMP, Column, PartitionBy, Schema

_TEXT = pa.string()


class BreakClass(StrEnum):
    """How the desk's records and the venue's differ."""

    MISSING_FILL_INTERNAL = "missing_fill_internal"
    MISSING_FILL_VENUE = "missing_fill_venue"
    DUPLICATE_FILL = "duplicate_fill"
    QUANTITY_MISMATCH = "quantity_mismatch"
    PRICE_MISMATCH = "price_mismatch"
    SIDE_MISMATCH = "side_mismatch"
    FEE_MISMATCH = "fee_mismatch"
    SOURCE_INCOMPLETE = "source_incomplete"


class BreakVerdict(StrEnum):
    """Whether the evidence proves the difference, or only fails to exclude it."""

    CONFIRMED = "confirmed"
    UNKNOWN = "unknown"


BREAKS = Schema(
    description="One difference between the desk's records and the venue's, or one thing that could not be compared.",
    columns=(
        Column("day", _TEXT, "UTC day of the records compared, YYYY-MM-DD"),
        Column("break_id", _TEXT, "digest of class, venue, symbol, fill and day: the same break at every look"),
        Column("class", _TEXT, "one of BreakClass"),
        Column("venue", _TEXT, "venue name as in the universe file"),
        Column("symbol", _TEXT, "ccxt unified symbol"),
        Column("fill_id", _TEXT, "the venue's trade id; null when the break is about a whole source", nullable=True),
        Column("internal_value", _TEXT, "what our records say", nullable=True),
        Column("venue_value", _TEXT, "what the venue's records say", nullable=True),
        Column(
            "money", DECIMAL, "money at stake, positive; null when it cannot be told", "quote currency", nullable=True
        ),
        Column("opened_at", TIMESTAMP, "time of the fill; for a source, when it was looked at"),
        Column("evidence", _TEXT, "what was compared and what was found"),
        Column("verdict", _TEXT, "one of BreakVerdict"),
    ),
    key=("break_id",),
    partition_by=PartitionBy("day"),
)

KILL_DRILL = Schema(
    description="One step of a drill of the kill switch on the venue's peer.",
    columns=(
        Column("day", _TEXT, "the day whose nightly run held the drill, YYYY-MM-DD"),
        Column("venue", _TEXT, "the venue, or its peer, that was drilled"),
        Column("drilled_at", TIMESTAMP, "when the drill ended, our clock"),
        Column("number", pa.int64(), "place of the step in the drill", "order"),
        Column("step", _TEXT, "what was done"),
        Column("symbol", _TEXT, "the market; all"),
        Column("passed", pa.bool_(), "whether it worked"),
        Column("milliseconds", pa.float64(), "how long it took, our clock", "ms"),
        Column("detail", _TEXT, "what went wrong; as it should be"),
    ),
    key=("number",),
    partition_by=PartitionBy("day"),
)

CONTROL_STATE = Schema(
    description="Where one mitigation ladder stands: on everything, on a venue or on a candidate.",
    columns=(
        Column("scope", _TEXT, "all, venue or candidate"),
        Column("name", _TEXT, "the venue or candidate; empty for all"),
        Column(
            "level", pa.int64(), "0 observe, 1 block entries, 2 reduce only, 3 cancel risk, 4 flatten, 5 kill", "level"
        ),
        Column("mode", _TEXT, "what the production manifest is told: none, reduce_only or halt"),
        Column("since", TIMESTAMP, "when it came to its level; null where it never left 0", nullable=True),
        Column("by", _TEXT, "who brought it there: rule:ladder, or people; empty where nobody did"),
        Column("because", _TEXT, "why"),
        Column("as_of", TIMESTAMP, "when the journal was read, our clock"),
    ),
    key=("scope", "name"),
)
