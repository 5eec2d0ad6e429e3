"""Trials of the reconciliation against the sandbox's own journal of what went wrong.

Belongs here: one trial and its score. Doesn't: the page (``reconciliation``).
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Inject up to `MOST_FAULTS` faults of different kinds, none among them in every fifth trial, and reconcile."""
    sound, journal = sound_day(market, day), Journal()
    random = np.random.default_rng([seed, 1])
    records = Records(sound.desk, sound.venue, random, journal)
    wanted = 0 if seed % 5 == 4 else 1 + int(random.integers(MOST_FAULTS))
    kinds = random.permutation(np.array(RecordFault))
    # Every kind has its turn first in some trial, so that none is left to chance.
    turn = list(RecordFault)[seed % len(RecordFault)]
    done = 0
    for kind in (turn, *map(RecordFault, kinds)):
        if done < wanted and records.inject(kind):
            done += 1
    injected = frozenset(
        (EXPECTED[RecordFault(each.kind)].value, str(each.rows[0]), str(each.rows[1])) for each in journal.records
    )
    return Trial(journal.records, injected, _found(records, sound, sound.certificates, day))


def fetch_trial(seed: int, market: int, day: str) -> Trial:
    """Let the reading of one list go wrong on a day on which nothing else did.

    Returns
    -------
    Trial
        ``injected`` is empty: such a fault is no break. What is found but ``source_incomplete`` is false.
    """
    sound, journal = sound_day(market, day), Journal()
    random = np.random.default_rng([seed, 2])
    records = Records(sound.desk, sound.venue, random, journal)
    fault = list(FetchFault)[seed % 2]
    lists = [(name, scope) for name, rows in sound.certificates.items() for scope in rows["scope"].to_pylist()]
    proofs = dict(sound.certificates)
    for place in random.permutation(len(lists)).tolist():
        name, scope = lists[place]
        if records.cut(name, scope, fault):
            if fault is FetchFault.CUT_SHORT:
                proofs[name] = _doubted(proofs[name], scope)
            break
    found = _found(records, sound, proofs, day)
    unknown = {each for each in found if each[0] == BreakClass.SOURCE_INCOMPLETE}
    return Trial(journal.records, frozenset(), frozenset(found - unknown))


def _found(records: Records, sound: DayTables, proofs: Mapping[str, pa.Table], day: str) -> frozenset[Named]:
    tables = replace(
        sound,
        desk={name: records.table(name) for name in ("fills", "order_events", "positions", "ledger_entries")},
        venue={name: records.table(name) for name in sound.venue},
        certificates=proofs,
    )
    done = reconcile_day(tables, BREAKS.empty(), day, POLICY, day_bounds(day)[1])
    return frozenset((row["class"], row["symbol"], row["record_id"] or "") for row in done.breaks.to_pylist())


def _doubted(proofs: pa.Table, scope: str) -> pa.Table:
    complete = pc.and_(proofs["complete"], pc.not_equal(proofs["scope"], scope))
    return proofs.set_column(proofs.schema.get_field_index("complete"), "complete", complete)
