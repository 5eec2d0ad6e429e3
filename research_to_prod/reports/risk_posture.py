"""The desk's risk at one moment as one value: what is held, what it could lose, and what is not seen.

Belongs here: frozen values. ``because`` says why a number is not there; ``proven_at`` is when the inputs behind a line
were last known to be complete, None for never. Doesn't: computing them (``compile_risk_posture``), writing them out
(``rendering``).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from research_to_prod.reports.desk_report import Status
from research_to_prod.reports.month_lines import Value


class By(StrEnum):
    """What exposure is added up by."""

    STRATEGY = "strategy"
    ASSET = "asset"
    VENUE = "venue"
    STABLECOIN = "stablecoin"


class Finding(Value):
    """One thing that keeps the posture from being clear."""

    status: Status
    what: str


class SourceLine(Value):
    """One input: when it was last proven complete, and by what."""

    name: str
    proven_at: datetime | None
    age_seconds: float | None
    proof: str


class ExposureLine(Value):
    """What is held by one key, in the book's currency; ``limit_use`` is of ``limited``.

    For a venue and a stablecoin ``limited`` is what the wallets hold there, which is lost if it fails; for a strategy
    and an asset it is ``gross``.
    """

    by: By
    name: str
    gross: float | None
    net: float | None
    limited: float | None
    limit: float | None
    limit_use: float | None
    because: str
    proven_at: datetime | None


class ShortfallLine(Value):
    """Expected shortfall over whole hours from this one on; the limit is that of a day."""

    hours: int
    money: float | None
    share_of_capital: float | None
    limit: float | None
    because: str
    proven_at: datetime | None


class MarketLine(Value):
    """One market that is held, at this hour of the week."""

    venue: str
    symbol: str
    regime: str
    net: float | None
    hour_volatility: float | None
    hour_volume: float | None
    unwind_hours: float | None
    working_orders: int
    because: str
    proven_at: datetime | None


class LiquidationLine(Value):
    """How far one venue's contracts are from liquidation; ``distance`` is a fraction of price, 0 is there already."""

    venue: str
    equity: float | None
    contracts: float | None
    distance: float | None
    hourly_deviations: float | None
    because: str
    proven_at: datetime | None


class FundingLine(Value):
    """The next funding payment of one market, received positive, at the rate that was last paid."""

    venue: str
    symbol: str
    due_at: datetime | None
    rate: float | None
    received: float | None
    because: str
    proven_at: datetime | None


class BlindLine(Value):
    """How long one part of the desk has not been seen, and how long that can be afforded; ``over``: longer."""

    name: str
    at_stake: float | None
    blind_seconds: float | None
    reduce_first: bool
    unseen_seconds: float | None
    over: bool | None
    because: str
    proven_at: datetime | None


class BreakAgeLine(Value):
    """Open breaks of one age; money is that of those whose money can be told."""

    age: str
    confirmed: int
    unknown: int
    money: float
    without_money: int
    proven_at: datetime | None


class IncidentLine(Value):
    """Open incidents of one severity that are told for themselves; ``untaken``: nobody is on them."""

    severity: str
    open: int
    untaken: int
    oldest_at: datetime
    proven_at: datetime | None


class ControlLine(Value):
    """One ladder that holds something back."""

    scope: str
    name: str
    level: int
    mode: str
    since: datetime | None
    by: str
    because: str
    proven_at: datetime | None


class RiskPosture(Value):
    """The page."""

    as_of: datetime
    currency: str
    capital: float
    shortfall_level: float
    status: Status
    headline: str
    findings: tuple[Finding, ...]
    exposures: tuple[ExposureLine, ...]
    shortfalls: tuple[ShortfallLine, ...]
    markets: tuple[MarketLine, ...]
    liquidations: tuple[LiquidationLine, ...]
    funding: tuple[FundingLine, ...]
    blind: tuple[BlindLine, ...]
    breaks: tuple[BreakAgeLine, ...]
    breaks_because: str
    incidents: tuple[IncidentLine, ...]
    incidents_because: str
    controls: tuple[ControlLine, ...]
    controls_because: str
    sources: tuple[SourceLine, ...]
