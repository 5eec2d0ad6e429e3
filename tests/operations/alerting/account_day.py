"""A day of the sandbox's account as the measures of records get it: sound, or with one fault on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._reconciliation_trials import POLICY, sound_day
from research_to_prod.execution.contracts import VENUE_FEES
from research_to_prod.market_data.contracts import FUNDING_RATES
from research_to_prod.operations.alerting.accounts import Accounts
from research_to_prod.operations.alerting.record_measures import observe_records
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.operations.daily import DayTables, reconcile_day
from research_to_prod.sandbox._underlying import instant, micros
from research_to_prod.sandbox.faults import Journal
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.record_faults import RecordFault, Records
from research_to_prod.values import day_bounds
from tests.operations.alerting.test_day_measures import rows

# No trade of a contract within the last hour, so that what the desk believes to hold can be wrong by itself.
MARKET, DAY = 8, "2026-01-03"
START, END = day_bounds(DAY)
LOOKS = (END - timedelta(hours=1), END)
LOT = Decimal("0.001")
HOUR_DEVIATION = 0.005
_DESK = ("fills", "order_events", "positions", "ledger_entries")


@cache
def market() -> SandboxMarket:
    return SandboxMarket(MARKET)


@cache
def funding_rates() -> pa.Table:
    found: list[dict[str, Any]] = []
    for symbol, instrument in market().instruments.items():
        if instrument.perpetual:
            paid = market().funding(symbol, START, END)
            for at, rate, mark in zip(paid.ts.tolist(), paid.rate.tolist(), paid.mark_price.tolist(), strict=True):
                own = {"venue": "sandbox", "symbol": symbol, "ts": instant(at), "rate": rate, "mark_price": mark}
                found.append(own)
    return rows(FUNDING_RATES, *found)


@cache
def terms() -> pa.Table:
    """The sandbox's: one tier of 0.4 %."""
    tier = {"margin_floors": [Decimal(0)], "margin_rates": [Decimal("0.004")], "margin_deductions": [Decimal(0)]}
    of_all = {"venue": "sandbox", "day": DAY, "lot": LOT} | tier
    return rows(VENUE_FEES, *(of_all | {"symbol": symbol} for symbol in market().instruments))


def account(fault: RecordFault | None = None, **changes: Any) -> Accounts:
    """The day after its comparison, with or without one fault."""
    return replace(_account(fault), **changes)


@cache
def _account(fault: RecordFault | None) -> Accounts:
    sound = sound_day(MARKET, DAY)
    records = Records(sound.desk, sound.venue, np.random.default_rng(0), Journal())
    assert fault is None or records.inject(fault)
    desk, venue = ({name: records.table(name) for name in names} for names in (_DESK, sound.venue))
    tables = DayTables(desk, venue, sound.certificates)
    breaks = reconcile_day(tables, BREAKS.empty(), DAY, POLICY, END + timedelta(hours=2)).breaks
    return Accounts(
        since=START,
        told_to=END,
        forced_since=START,
        breaks=breaks,
        venue={**venue, "venue_fees": terms()},
        certificates=sound.certificates,
        recorded=frozenset(desk),
        fills=desk["fills"],
        positions=desk["positions"],
        capital=2e6,
        currency="USDT",
        funding_rates=funding_rates(),
        deviations={("sandbox", symbol): HOUR_DEVIATION for symbol in market().instruments},
    )


def at(known: Accounts, moment: datetime) -> Accounts:
    """The same with the prices of the moment."""
    mids = {symbol: float(market().mid(symbol, np.array([micros(moment)]))[0]) for symbol in market().instruments}
    return replace(known, prices={("sandbox", symbol): (mid, moment) for symbol, mid in mids.items()})


def values(known: Accounts, moment: datetime = END) -> dict[str, float | None]:
    return {each.metric: each.value for each in observe_records(at(known, moment), moment)}


def doubted(known: Accounts, table: str) -> Accounts:
    """The same, had one fetch of a table come back incomplete."""
    proofs: Mapping[str, pa.Table] = known.certificates
    complete = pa.array([False] + [True] * (proofs[table].num_rows - 1))
    index = proofs[table].schema.get_field_index("complete")
    return replace(known, certificates={**proofs, table: proofs[table].set_column(index, "complete", complete)})
