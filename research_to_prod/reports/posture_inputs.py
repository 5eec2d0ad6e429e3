"""What the risk posture follows from, and how its parts are added up.

Belongs here: the inputs as one value, and sums that stay unknown where a part is. Doesn't: reading them from tables
(``defs.operations.risk_posture``), what is said of them (``compile_risk_posture``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.operations.alerting.settings import Settings
from research_to_prod.operations.alerting.situation import Context, Holding
from research_to_prod.promotion.manifest import Manifest
from research_to_prod.reports.compile_standing import Standing, earliest

Place = tuple[str, str]


@dataclass(frozen=True)
class Known:
    """All that the posture follows from; None for what was not found.

    Parameters
    ----------
    context
        What is held, what the profile expects of this hour, what was declared.
    positions
        POSITIONS of the newest day.
    profile, profile_to
        LIQUIDITY_PROFILE of the newest week, and up to when it has seen every market.
    balances
        VENUE_BALANCES of the last day on which each venue's account was read completely; the closing ones count.
    account_proven
        By venue, up to when fills, positions and balances were last read completely.
    payments
        By market, times and rates of the funding payments up to now, in order.
    funding_to
        By market, up to when its payments were read completely.
    maintenance
        By market, the equity that the venue demands of a position, as the candidates' terms have it.
    """

    context: Context
    positions: pa.Table | None
    profile: pa.Table | None
    profile_to: datetime | None
    balances: pa.Table | None
    account_proven: Mapping[str, datetime]
    payments: Mapping[Place, Sequence[tuple[datetime, float]]]
    funding_to: Mapping[Place, datetime]
    maintenance: Mapping[Place, float]
    manifest: Manifest | None
    allocation: CapitalAllocation
    settings: Settings
    standing: Standing


def latest(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the newest statement of each market and strategy."""
    newest: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda each: each["held_at"]):
        newest[row["venue"], row["symbol"], row["strategy"]] = row
    return list(newest.values())


def nets_of(holdings: Iterable[Holding]) -> dict[Place, float | None]:
    """Return the net value by market, all strategies together."""
    nets: dict[Place, float | None] = {}
    for each in holdings:
        place = (each.venue, each.instrument)
        nets[place] = total([nets.get(place, 0.0), each.net])
    return dict(sorted(nets.items()))


def places_of(holdings: Iterable[Holding]) -> list[Place]:
    """Return the markets, sorted."""
    return sorted({(each.venue, each.instrument) for each in holdings})


def venues_of(known: Known) -> list[str]:
    """Return the venues where something is held or was read, sorted."""
    return sorted({each.venue for each in known.context.holdings} | known.account_proven.keys())


def proven_of(venues: Iterable[str], known: Known) -> datetime | None:
    """Return up to when all of ``venues`` were read completely; None where one never was."""
    return earliest([known.account_proven.get(each) for each in venues])


def base_of(symbol: str) -> str:
    """Return the base asset of a unified symbol."""
    return symbol.partition("/")[0]


def coin_of(symbol: str) -> str:
    """Return the coin in which a market is quoted."""
    return symbol.partition(":")[0].rpartition("/")[2]


def total(values: Iterable[float | None]) -> float | None:
    """Return the sum; None if one is not known."""
    given = list(values)
    known = [each for each in given if each is not None]
    return math.fsum(known) if len(known) == len(given) else None
