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
    FEE_ASSET = "fee_asset"
    CLOCK = "clock"
    UNKNOWN_ORDER = "unknown_order"
    ORPHAN_INTENT = "orphan_intent"
    STATE_MISMATCH = "state_mismatch"
    EXTERNAL_ACTIVITY = "external_activity"
    FUNDING_MISSING = "funding_missing"
    FUNDING_MISMATCH = "funding_mismatch"
    TRANSFER_UNMATCHED = "transfer_unmatched"
    POSITION_SIGN = "position_sign"
    POSITION_QUANTITY = "position_quantity"
    BALANCE_DRIFT = "balance_drift"
    DUST = "dust"
    SOURCE_INCOMPLETE = "source_incomplete"


class BreakVerdict(StrEnum):
    """Whether the evidence proves the difference, or only fails to exclude it."""

    CONFIRMED = "confirmed"
    UNKNOWN = "unknown"


class BreakStatus(StrEnum):
    """Whether anybody still has to act."""

    OPEN = "open"
    RESOLVED = "resolved"


class Resolution(StrEnum):
    """Why a break is no longer open; nothing else closes one."""

    EVIDENCE = "evidence"
    """A later look, whose source was complete, no longer finds it: a late record came, or one was corrected."""
    DUST = "dust"
    """Worth less than the dust limit; booked to suspense."""
    ROUNDING = "rounding"
    """A fee or payment off by rounding; booked to suspense."""


class Severity(StrEnum):
    """How soon a person is needed: at once, within the hour, in the next shift, never."""

    P1 = "p1"
    P2 = "p2"
    P3 = "p3"
    P4 = "p4"


class Age(StrEnum):
    """How long a break was open when it was looked at."""

    MINUTES = "<5m"
    HOUR = "<1h"
    DAY = "<1d"
    OLDER = ">1d"


class Book(StrEnum):
    """Whose records a posting was made from."""

    DESK = "desk"
    VENUE = "venue"


class Account(StrEnum):
    """The accounts of the ledger: the desk's wallets and contracts, and who stands against them."""

    SPOT = "spot"
    FUTURES = "futures"
    CONTRACTS = "contracts"
    MARKET = "market"
    FEES = "fees"
    FUNDING = "funding"
    TREASURY = "treasury"
    OTHER = "other"
    SUSPENSE = "suspense"


OWN_ACCOUNTS = frozenset({Account.SPOT, Account.FUTURES, Account.CONTRACTS})
"""The accounts whose balances the venue states."""


BREAKS = Schema(
    description="One difference between the desk's records and the venue's, or one thing that could not be compared.",
    columns=(
        Column("day", _TEXT, "UTC day of the look, YYYY-MM-DD"),
        Column("break_id", _TEXT, "digest of class, venue, market and record: the same break at every look"),
        Column("class", _TEXT, "one of BreakClass"),
        Column("venue", _TEXT, "venue name as in the universe file"),
        Column("symbol", _TEXT, "ccxt unified symbol; the asset of a balance or a transfer"),
        Column("account", _TEXT, "the wallet, where money or a position differs", nullable=True),
        Column(
            "record_id",
            _TEXT,
            "the venue's id of the fill, order, payment or transfer; what was asked for, of a source; "
            "null for balances and positions",
            nullable=True,
        ),
        Column("internal_value", _TEXT, "what our records say", nullable=True),
        Column("venue_value", _TEXT, "what the venue's records say", nullable=True),
        Column(
            "money", DECIMAL, "money at stake, positive; null when it cannot be told", "quote currency", nullable=True
        ),
        Column("opened_at", TIMESTAMP, "time of the record; of a snapshot; for a source, when it was looked at"),
        Column("evidence", _TEXT, "what was compared and what was found"),
        Column("evidence_ids", pa.list_(_TEXT), "fetches and records that the evidence rests on"),
        Column("verdict", _TEXT, "one of BreakVerdict"),
        Column("severity", _TEXT, "p1 at once, p2 within the hour, p3 next shift, p4 recorded only"),
        Column("owner", _TEXT, "who must act"),
        Column("status", _TEXT, "open or resolved"),
        Column("age", _TEXT, "<5m, <1h, <1d or >1d since it opened, at the last look"),
        Column("first_seen_at", TIMESTAMP, "the look that found it"),
        Column("last_seen_at", TIMESTAMP, "the last look that still found it"),
        Column("resolved_at", TIMESTAMP, "the look that resolved it", nullable=True),
        Column("resolution", _TEXT, "one of Resolution", nullable=True),
    ),
    key=("break_id",),
    partition_by=PartitionBy("day"),
)

POSTINGS = Schema(
    description="One leg of an event in the double-entry ledger; the legs of an event add up to nothing in each asset.",
    columns=(
        Column("day", _TEXT, "UTC day of the event, YYYY-MM-DD"),
        Column("venue", _TEXT, "venue name as in the universe file"),
        Column("book", _TEXT, "desk or venue: whose records the event is from"),
        Column("event_id", _TEXT, "fill, payment or transfer; for a correcting entry, the break that it answers"),
        Column("line", pa.int64(), "number of the leg within its event", "order"),
        Column("kind", _TEXT, "trade, fee, realized_pnl, funding, transfer, other, adjustment"),
        Column("booked_at", TIMESTAMP, "when it happened, the venue's clock"),
        Column("account", _TEXT, "one of Account"),
        Column("asset", _TEXT, "a currency, or the unified symbol of a contract"),
        Column("amount", DECIMAL, "into the account; negative out of it", "asset"),
    ),
    key=("venue", "book", "event_id", "line"),
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
        Column("because", _TEXT, "why it stands there: the rule and its reading, or what people said"),
        Column("as_of", TIMESTAMP, "when the journal was read, our clock"),
    ),
    key=("scope", "name"),
)
