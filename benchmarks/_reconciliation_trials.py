"""Trials of the reconciliation against the sandbox's own journal of what went wrong.

Belongs here: one trial and its score. Doesn't: the page (``reconciliation``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import research_to_prod
from research_to_prod.operations.contracts import BREAKS, BreakClass
from research_to_prod.operations.daily import DayTables, reconcile_day
from research_to_prod.operations.reconciliation_policy import load_reconciliation_policy
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan, Injection, Journal
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.sandbox.record_faults import FetchFault, RecordFault, Records
from research_to_prod.sandbox.venue_tables import certificates, venue_tables
from research_to_prod.values import day_bounds

POLICY = load_reconciliation_policy(
    Path(research_to_prod.__file__).parent / "desk" / "policies" / "reconciliation.yaml"
)
MOST_FAULTS = 4

EXPECTED: Mapping[RecordFault, BreakClass] = {
    RecordFault.LOST_FILL: BreakClass.MISSING_FILL_INTERNAL,
    RecordFault.INVENTED_FILL: BreakClass.MISSING_FILL_VENUE,
    RecordFault.TWO_VERSIONS: BreakClass.DUPLICATE_FILL,
    RecordFault.WRONG_QUANTITY: BreakClass.QUANTITY_MISMATCH,
    RecordFault.WRONG_PRICE: BreakClass.PRICE_MISMATCH,
    RecordFault.WRONG_SIDE: BreakClass.SIDE_MISMATCH,
    RecordFault.WRONG_FEE: BreakClass.FEE_MISMATCH,
    RecordFault.WRONG_FEE_ASSET: BreakClass.FEE_ASSET,
    RecordFault.WRONG_CLOCK: BreakClass.CLOCK,
    RecordFault.FORGOTTEN_ORDER: BreakClass.UNKNOWN_ORDER,
    RecordFault.GHOST_ORDER: BreakClass.ORPHAN_INTENT,
    RecordFault.UNENDED_ORDER: BreakClass.STATE_MISMATCH,
    RecordFault.LIQUIDATION: BreakClass.EXTERNAL_ACTIVITY,
    RecordFault.LOST_FUNDING: BreakClass.FUNDING_MISSING,
    RecordFault.WRONG_FUNDING: BreakClass.FUNDING_MISMATCH,
    RecordFault.UNBOOKED_TRANSFER: BreakClass.TRANSFER_UNMATCHED,
    RecordFault.WRONG_POSITION: BreakClass.POSITION_QUANTITY,
    RecordFault.FLIPPED_POSITION: BreakClass.POSITION_SIGN,
    RecordFault.SILENT_DEBIT: BreakClass.BALANCE_DRIFT,
    RecordFault.DUST: BreakClass.DUST,
}
"""The class that each fault must be found as, written down before the first trial."""

Named = tuple[str, str, str]


@dataclass(frozen=True)
class Trial:
    """What was injected and what was found, as (class, symbol, record).

    Parameters
    ----------
    injections
        The journal.
    """

    injections: tuple[Injection, ...]
    injected: frozenset[Named]
    found: frozenset[Named]

    @property
    def missed(self) -> frozenset[Named]:
        """What was injected and not found."""
        return self.injected - self.found

    @property
    def false(self) -> frozenset[Named]:
        """What was found and not injected."""
        return self.found - self.injected


@cache
def sound_day(market: int, day: str) -> DayTables:
    """Return a day on which nothing went wrong; each market seed is another history."""
    desk = SandboxDesk(SandboxMarket(market), faults=FaultPlan())
    return DayTables(desk.deliveries(day), venue_tables(desk, day), certificates(desk, day))


def record_trial(seed: int, market: int, day: str) -> Trial:
    """Inject up to `MOST_FAULTS` faults of different kinds, none in every fifth trial, and reconcile."""
    sound, records, journal, random = _begin(seed, market, day, 1)
    wanted = 0 if seed % 5 == 4 else 1 + int(random.integers(MOST_FAULTS))
    # Every kind has its turn first in some trial, so that none is left to chance.
    turn = list(RecordFault)[seed % len(RecordFault)]
    _inject(records, (turn, *map(RecordFault, random.permutation(np.array(RecordFault)))), wanted)
    return Trial(journal.records, _named(journal), _found(records, sound, sound.certificates, day))


def fetch_trial(seed: int, market: int, day: str) -> Trial:
    """Let the reading of one list go wrong on a day on which nothing else did.

    Returns
    -------
    Trial
        ``injected`` is empty: such a fault is no break. What is found but ``source_incomplete`` is false.
    """
    sound, records, journal, random = _begin(seed, market, day, 2)
    proofs = _cut(records, sound, list(FetchFault)[seed % 2], random)
    return Trial(journal.records, frozenset(), _found(records, sound, proofs, day))


def mixed_trial(seed: int, market: int, day: str) -> Trial:
    """Inject two faults, and let the reading of one list go wrong as well: not all can be found, none invented."""
    sound, records, journal, random = _begin(seed, market, day, 3)
    _inject(records, map(RecordFault, random.permutation(np.array(RecordFault))), 2)
    injected = _named(journal)
    proofs = _cut(records, sound, list(FetchFault)[seed % 2], random)
    return Trial(journal.records, injected, _found(records, sound, proofs, day))


def _begin(seed: int, market: int, day: str, kind: int) -> tuple[DayTables, Records, Journal, np.random.Generator]:
    sound, journal, random = sound_day(market, day), Journal(), np.random.default_rng([seed, kind])
    return sound, Records(sound.desk, sound.venue, random, journal), journal, random


def _inject(records: Records, kinds: Iterable[RecordFault], wanted: int) -> None:
    done = 0
    for kind in kinds:
        if done < wanted and records.inject(kind):
            done += 1


def _named(journal: Journal) -> frozenset[Named]:
    return frozenset(map(expected, journal.records))


def expected(injection: Injection) -> Named:
    """Return what a record fault must be found as."""
    return EXPECTED[RecordFault(injection.kind)].value, str(injection.rows[0]), str(injection.rows[1])


def _cut(records: Records, sound: DayTables, fault: FetchFault, random: np.random.Generator) -> Mapping[str, pa.Table]:
    """Cut the first list, in random order, that has rows; return the certificates as they then are."""
    lists = [(name, scope) for name, rows in sound.certificates.items() for scope in rows["scope"].to_pylist()]
    for place in random.permutation(len(lists)).tolist():
        name, scope = lists[place]
        if records.cut(name, scope, fault):
            certified = fault is FetchFault.EMPTY
            return sound.certificates if certified else _doubted(sound.certificates, name, scope)
    raise AssertionError("a day without any record")


def _found(records: Records, sound: DayTables, proofs: Mapping[str, pa.Table], day: str) -> frozenset[Named]:
    tables = replace(
        sound,
        desk={name: records.table(name) for name in ("fills", "order_events", "positions", "ledger_entries")},
        venue={name: records.table(name) for name in sound.venue},
        certificates=proofs,
    )
    done = reconcile_day(tables, BREAKS.empty(), day, POLICY, day_bounds(day)[1])
    rows = (row for row in done.breaks.to_pylist() if row["class"] != BreakClass.SOURCE_INCOMPLETE)
    return frozenset((row["class"], row["symbol"], row["record_id"] or "") for row in rows)


def _doubted(proofs: Mapping[str, pa.Table], name: str, scope: str) -> Mapping[str, pa.Table]:
    rows = proofs[name]
    complete = pc.and_(rows["complete"], pc.not_equal(rows["scope"], scope))
    return {**proofs, name: rows.set_column(rows.schema.get_field_index("complete"), "complete", complete)}
