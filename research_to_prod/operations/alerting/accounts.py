"""One venue's account at one moment: its records, the desk's, what their comparison found, and what all that proves.

Belongs here: the inputs of the measures of records, and what of them was seen completely. Doesn't: measuring
(``record_measures``, ``funding_measures``, ``margin_measures``), comparing (``reconciliation``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.operations.contracts import BreakClass, BreakStatus, BreakVerdict
from research_to_prod.operations.daily import SOURCES

Row = Mapping[str, Any]
Place = tuple[str, str]
"""Venue and unified symbol."""

_STATED = frozenset({BreakClass.POSITION_SIGN, BreakClass.POSITION_QUANTITY, BreakClass.BALANCE_DRIFT})
"""Breaks of what is stated at the end of a day, and not of what happened."""


@dataclass(frozen=True)
class Accounts:
    """What is known of the accounts on one day; what was not made, read or delivered is None or left out.

    Parameters
    ----------
    since
        The day's start.
    told_to
        Up to when the desk has told its side; of what came later nothing was compared.
    forced_since
        What the venue closed before is told already.
    breaks
        BREAKS as the last comparison left them.
    venue, certificates
        The tables of VENUE_RECORDS, and FETCH_CERTIFICATES of them, by their names.
    recorded
        Names of the desk's tables that the comparison had.
    fills, positions
        FILLS and POSITIONS of the desk.
    funding_rates
        FUNDING_RATES of any days.
    capital
        Of the book, in ``currency``.
    deviations
        By market, the deviation of the return of one hour that is usual at the moment, as a fraction.
    prices
        By market, the last price and its time.
    """

    since: datetime
    told_to: datetime
    forced_since: datetime
    breaks: pa.Table | None
    venue: Mapping[str, pa.Table]
    certificates: Mapping[str, pa.Table]
    recorded: frozenset[str]
    fills: pa.Table | None
    positions: pa.Table | None
    capital: float
    currency: str
    funding_rates: pa.Table | None = None
    deviations: Mapping[Place, float] = field(default_factory=dict)
    prices: Mapping[Place, tuple[float, datetime]] = field(default_factory=dict)

    @property
    def venues(self) -> list[str]:
        """The venues of which anything was asked."""
        return sorted({name for rows in self.certificates.values() for name in pc.unique(rows["venue"]).to_pylist()})


@dataclass(frozen=True)
class Account:
    """One venue's account at one moment."""

    venue: str
    known: Accounts
    moment: datetime
    _read: dict[str, list[Row]] = field(default_factory=dict, compare=False)

    def rows(self, table: str) -> list[Row]:
        """Return the venue's own rows of one of its tables.

        One that was stored before a column was declared has no such column until it is upgraded.
        """
        if table not in self._read:
            self._read[table] = self._own(self.known.venue.get(table))
        return self._read[table]

    def desk_fills(self) -> list[Row]:
        """Return the desk's fills here."""
        return self._own(self.known.fills)

    def desk_positions(self) -> list[Row]:
        """Return what the desk stated to hold here."""
        return self._own(self.known.positions)

    def rates(self) -> list[Row]:
        """Return the funding rates here."""
        return self._own(self.known.funding_rates)

    def proofs(self, table: str) -> list[Row]:
        """Return the certificates of one of the venue's tables."""
        return self._own(self.known.certificates.get(table))

    def saw(self, *tables: str) -> bool:
        """Return whether all of the tables were read completely, and no other record says that they are cut."""
        doubted = {row["record_id"] for row in self._open(BreakClass.SOURCE_INCOMPLETE)}
        proofs = [self.proofs(table) for table in tables]
        whole = all(rows and all(row["complete"] for row in rows) for rows in proofs)
        return whole and not any(SOURCES[table] in doubted for table in tables)

    def found(self, *classes: BreakClass) -> list[Row]:
        """Return the breaks that are proven, open, and not of later than the moment."""
        return [
            row
            for row in self._open(*classes)
            if row["verdict"] == BreakVerdict.CONFIRMED and row["opened_at"] <= self.moment
        ]

    def excludes(self, *classes: BreakClass) -> bool:
        """Return whether the comparison was made and leaves no doubt of these classes at the moment.

        What a statement shows later does leave one: nobody knows since when it was so.
        """
        doubts = (
            row["class"] in _STATED if row["opened_at"] > self.moment else row["verdict"] != BreakVerdict.CONFIRMED
            for row in self._open(*classes)
        )
        return self.known.breaks is not None and not any(doubts)

    def observe(
        self, metric: str, value: float | None, evidence: str = "breaks", at: datetime | None = None
    ) -> Observation:
        """Return a measurement of the account."""
        return Observation(metric, Subject(self.venue), value, at or self.moment, None, None, evidence)

    def _open(self, *classes: BreakClass) -> list[Row]:
        return [
            row for row in self._own(self.known.breaks) if row["class"] in classes and row["status"] == BreakStatus.OPEN
        ]

    def _own(self, rows: pa.Table | None) -> list[Row]:
        return [] if rows is None else list(rows.filter(pc.equal(rows["venue"], self.venue)).to_pylist())
