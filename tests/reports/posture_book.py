"""One book for the tests of the risk posture: a long perpetual and a short spot position at one venue."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from research_to_prod.execution.contracts import POSITIONS, VENUE_BALANCES
from research_to_prod.gates.capital import load_allocation
from research_to_prod.market_data.contracts import LIQUIDITY_METRICS, LIQUIDITY_PROFILE
from research_to_prod.operations.alerting.day_context import context_of_day
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.operations.control_journal import Ladders
from research_to_prod.operations.incidents.store import Incidents
from research_to_prod.promotion.manifest import Entry, Manifest
from research_to_prod.promotion.record import Limits
from research_to_prod.reports.compile_standing import compile_standing
from research_to_prod.reports.posture_inputs import Known
from research_to_prod.settings import Settings
from tests.operations.alerting.book import POLICY
from tests.operations.alerting.test_day_measures import rows

NOON = datetime(2026, 1, 6, 12, tzinfo=UTC)
PROVEN = NOON - timedelta(minutes=5)
ETH, BTC = ("sandbox", "ETH/USDT:USDT"), ("sandbox", "BTC/USDT")
ALLOCATION = load_allocation(Settings().desk / "capital" / "allocation.yaml")


def position(
    place: tuple[str, str], strategy: str, units: str, mark: str | None = "2000", **more: Any
) -> dict[str, Any]:
    price = None if mark is None else Decimal(mark)
    row = {"venue": place[0], "symbol": place[1], "strategy": strategy, "held_at": PROVEN, "position": Decimal(units)}
    return row | {"entry_price": price, "mark_price": price} | more


LONG = position(ETH, "carry", "100")
SHORT = position(BTC, "momentum", "-1", "50000")


def profile(volatility: float = 0.005, **without: None) -> pa.Table:
    """Half a percent an hour, two basis points of spread, five million deep, fifty million an hour."""
    usual = {"volatility": volatility, "spread": 2.0, "depth": 5e6, "volume": 5e7}
    medians = {f"{name}_med": math.log(usual[name]) for name in LIQUIDITY_METRICS} | without
    given = [
        {"venue": venue, "symbol": symbol, "timeframe": "1h", "how": how, "regime": "normal", "observed_to": PROVEN}
        | medians
        for venue, symbol in (ETH, BTC)
        for how in range(168)
    ]
    return rows(LIQUIDITY_PROFILE, *given)


def wallet(asset: str, amount: str, account: str = "futures") -> dict[str, Any]:
    row = {"venue": "sandbox", "account": account, "asset": asset, "moment": "closing", "amount": Decimal(amount)}
    return row | {"day": "2026-01-06"}


def manifest(**limits: str) -> Manifest:
    """What lets each named strategy hold so much."""
    entries = tuple(
        Entry.model_construct(candidate=name, limits=Limits(instruments=(), max_position_value=limit))
        for name, limit in limits.items()
    )
    return Manifest.model_construct(as_of=PROVEN, entries=entries)


def book(*positions: dict[str, Any], now: datetime = NOON, hours: pa.Table | None = None, **changes: Any) -> Known:
    """All that is known of a desk that sees everything, with ``changes``."""
    stated = rows(POSITIONS, *(positions or (LONG, SHORT)))
    hours = profile() if hours is None else hours
    known = Known(
        context=context_of_day(now, now, stated, None, hours, "profile", (), ALLOCATION.book_capital.value),
        positions=stated,
        profile=hours,
        profile_to=PROVEN,
        balances=rows(VENUE_BALANCES, wallet("USDT", "100000")),
        account_proven={"sandbox": PROVEN},
        payments={ETH: [(NOON - timedelta(hours=12), 0.0001), (NOON - timedelta(hours=4), 0.0002)]},
        funding_to={ETH: PROVEN},
        maintenance={ETH: 0.01},
        manifest=manifest(carry="500000", momentum="500000"),
        allocation=ALLOCATION,
        settings=POLICY.settings,
        standing=compile_standing(BREAKS.empty(), PROVEN, Incidents(), PROVEN, Ladders({}), now),
    )
    return replace(known, **changes)
