"""The reconciliation of a day from the tables of the desk and of the venue.

Belongs here: which table is which side's record, what the certificates prove, and the day's ledger. Doesn't: comparing
(``reconciliation``), and where tables are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.conservation import Held
from research_to_prod.operations.contracts import BREAKS, POSTINGS, Book
from research_to_prod.operations.findings import Finding, Proof
from research_to_prod.operations.ledger import post_side, postings_table
from research_to_prod.operations.reconciliation import reconcile
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy
from research_to_prod.operations.records import (
    Side,
    Source,
    fills_of,
    money_of_desk,
    money_of_venue,
    orders_of_events,
    orders_of_venue,
    snapshot_of,
)
from research_to_prod.operations.register import corrections, update_register
from research_to_prod.values import day_bounds

SOURCES: Mapping[str, Source] = {
    "venue_fills": Source.FILLS,
    "venue_orders": Source.ORDERS,
    "venue_income": Source.MONEY,
    "venue_balances": Source.BALANCES,
    "venue_positions": Source.POSITIONS,
}
"""Table of the venue's records -> what it is a record of."""

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class DayTables:
    """One day's tables by name; what was never delivered or read is not among them.

    Parameters
    ----------
    desk
        ``fills``, and of ``order_events``, ``ledger_entries`` and ``positions`` what there is.
    venue
        The tables of `SOURCES`, as far as they were read.
    certificates
        FETCH_CERTIFICATES rows by the same names.
    """

    desk: Mapping[str, pa.Table]
    venue: Mapping[str, pa.Table]
    certificates: Mapping[str, pa.Table] = field(default_factory=dict)

    @property
    def venues(self) -> list[str]:
        """The venues that any fill or certificate names."""
        tables = (*self.desk.values(), *self.venue.values(), *self.certificates.values())
        return sorted({name for table in tables for name in pc.unique(table["venue"]).to_pylist()})

    @property
    def not_compared(self) -> list[str]:
        """What can't be compared, because one side does not record it."""
        needs = {"orders": "order_events", "payments and transfers": "ledger_entries", "beliefs": "positions"}
        return [f"{what}: no {name} delivered" for what, name in needs.items() if name not in self.desk]


@dataclass(frozen=True)
class Reconciled:
    """A day's breaks and ledger, ``BREAKS`` and ``POSTINGS``."""

    breaks: pa.Table
    postings: pa.Table


def reconcile_day(
    tables: DayTables,
    before: pa.Table,
    day: str,
    policy: ReconciliationPolicy,
    looked_at: datetime,
    regime: Regime = Regime.STRESSED,
    told_to: datetime | None = None,
) -> Reconciled:
    """Reconcile every venue of a day.

    Parameters
    ----------
    before
        ``BREAKS`` rows as the last look left them, and the standing ones of the day before.
    regime
        How liquid the markets are: decides how long both sides have to hear of a fact. A day that is over loses
        nothing by the longest wait.
    told_to
        Up to when the desk has delivered a day that still runs; nothing later is judged. None: all of it.
    """
    heard = looked_at if told_to is None else min(looked_at, told_to)
    breaks, postings = [BREAKS.empty()], [POSTINGS.empty()]
    for venue in tables.venues:
        own = DayTables(*(_of(each, venue) for each in (tables.desk, tables.venue, tables.certificates)))
        sides = sides_of(own)
        proof = proof_of(own.certificates, day, policy.wait(regime), heard)
        found = reconcile(*sides, held_of(own, proof), proof, policy)
        known = before.filter(pc.equal(before["venue"], venue))
        breaks.append(update_register(known, found, proof, policy, venue=venue, day=day, looked_at=looked_at))
        postings.append(_ledger(sides, found, venue, day))
    return Reconciled(pa.concat_tables(breaks), pa.concat_tables(postings))


def _of(tables: Mapping[str, pa.Table], venue: str) -> dict[str, pa.Table]:
    return {name: rows.filter(pc.equal(rows["venue"], venue)) for name, rows in tables.items()}


def _ledger(sides: tuple[Side, Side], found: Iterable[Finding], venue: str, day: str) -> pa.Table:
    desk, theirs = sides
    legs = (*post_side(Book.DESK, desk), *corrections(found, venue, day), *post_side(Book.VENUE, theirs))
    return postings_table(legs, venue, day)


def sides_of(tables: DayTables) -> tuple[Side, Side]:
    """Return the desk's and the venue's records; what one of them does not record is None on that side."""
    desk, venue = tables.desk, tables.venue
    events, entries = desk.get("order_events"), desk.get("ledger_entries")
    orders, income = venue.get("venue_orders"), venue.get("venue_income")
    return (
        Side(
            fills_of(desk["fills"], "fill_id", "filled_at"),
            None if events is None else orders_of_events(events),
            None if entries is None else money_of_desk(entries),
        ),
        Side(
            fills_of(venue["venue_fills"], "trade_id", "traded_at"),
            None if orders is None else orders_of_venue(orders),
            None if income is None else money_of_venue(income),
        ),
    )


def proof_of(certificates: Mapping[str, pa.Table], day: str, wait: timedelta, heard: datetime) -> Proof:
    """Return what the certificates of one venue prove of a day.

    A scope is complete when every fetch of it is. What is judged ends where the first of the fetches began, by the
    venue's clock, or at ``heard`` if that is earlier: nothing younger is known to be in all of them.
    """
    start, end = day_bounds(day)
    complete: dict[tuple[Source, str], bool] = {}
    fetches: dict[tuple[Source, str], str] = {}
    began = [heard]
    for table, rows in certificates.items():
        for row in rows.to_pylist():
            # A wallet's payments come from several endpoints.
            key = (SOURCES[table], row["scope"].partition(" ")[0])
            complete[key] = complete.get(key, True) and row["complete"]
            fetches.setdefault(key, row["fetch_id"])
            if row["venue_clock_before"] is not None:
                began.append(row["venue_clock_before"])
    return Proof(complete, fetches, min(began) - wait, wait, start, end)


def held_of(tables: DayTables, proof: Proof) -> Held:
    """Return what was held around the day; None for what was not stated completely."""
    balances, positions = tables.venue.get("venue_balances"), tables.venue.get("venue_positions")
    scopes = [(Source.BALANCES, "spot"), (Source.BALANCES, "futures"), (Source.POSITIONS, "futures")]
    if balances is None or positions is None or not any(proof.saw(*scope) for scope in scopes):
        return Held()
    stamps = [
        row["snapshot_at"] for row in (*balances.to_pylist(), *positions.to_pylist()) if row["moment"] == "closing"
    ]
    last = max(stamps, default=proof.day_end)
    # The statement of a day is stamped by its last second, and holds what happened in it.
    closing = proof.day_end if last >= proof.day_end - _SECOND else last
    believed = tables.desk.get("positions")
    return Held(
        snapshot_of(balances, positions, "opening", proof.day_start),
        snapshot_of(balances, positions, "closing", closing),
        None if believed is None else _believed(believed, tables.desk["fills"], closing),
    )


def _believed(rows: pa.Table, fills: pa.Table, at: datetime) -> dict[str, Decimal]:
    """Return what the desk's systems held of each contract at an instant: their last word, and their fills since."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows.to_pylist():
        key = (row["strategy"], row["symbol"])
        if ":" in row["symbol"] and row["held_at"] <= at and (key not in last or last[key]["held_at"] < row["held_at"]):
            last[key] = row
    held: dict[str, Decimal] = {}
    for (_, symbol), row in last.items():
        held[symbol] = held.get(symbol, Decimal(0)) + row["position"]
    versions: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for fill in fills.to_pylist():
        versions.setdefault((fill["symbol"], fill["fill_id"]), []).append(fill)
    # A fill of which there are two versions is in dispute and counts for nothing, as in the ledger.
    for fill in (each[0] for each in versions.values() if len(each) == 1):
        row = last.get((fill["strategy"], fill["symbol"]))
        if row is not None and row["held_at"] < fill["filled_at"] <= at:
            held[fill["symbol"]] += fill["side"] * fill["quantity"]
    return held


def unexplained_suspense(
    totals: Mapping[str, Decimal], prices: Mapping[str, Decimal], limit: Decimal
) -> dict[str, Decimal | None]:
    """Return what waits in suspense beyond the limit: asset -> worth in quote currency, None where none can be told."""
    worth = {asset: prices[asset] * abs(total) if asset in prices else None for asset, total in totals.items() if total}
    return {asset: money for asset, money in worth.items() if money is None or money > limit}
