"""The desk's records against the venue's: every comparison, in the order in which one explains the next.

Three rules come from desks that lost money without them. Only what is certified complete may prove that something does
not exist at the venue (LEAN zeroed a balance absent from one reply; hummingbot dropped orders after network errors and
kept an untracked short). Quantities match exactly or not at all (freqtrade adopts differences within 2 %). A fact too
fresh to have reached both sides is not judged yet.

Belongs here: the order of the comparisons, and what could not be compared. Doesn't: the comparisons themselves,
fetching, and correcting anything.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext

from research_to_prod.operations.conservation import Conserved, Held, compare_balances, compare_positions, prices_of
from research_to_prod.operations.contracts import Book, BreakClass, BreakVerdict
from research_to_prod.operations.contradictions import contradicted
from research_to_prod.operations.fill_matching import compare_fills
from research_to_prod.operations.findings import Finding, Proof
from research_to_prod.operations.ledger import post_side
from research_to_prod.operations.money_matching import compare_money
from research_to_prod.operations.order_matching import compare_states, strange_orders
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy
from research_to_prod.operations.records import FillRecord, Side, Source


def reconcile(desk: Side, venue: Side, held: Held, proof: Proof, policy: ReconciliationPolicy) -> tuple[Finding, ...]:
    """Compare two sides' records of one venue and day, and the venue's statements with its records.

    Returns
    -------
    tuple of Finding
        The same for any order or repetition in which the records came. One fault is one finding: fills of an unknown
        order belong to the order, an order with a disputed fill is not judged again, and a balance or position that a
        dispute explains isn't either. Where a source of the venue is not complete nothing is claimed to be missing
        there: one ``source_incomplete`` says so, with the value of our unmatched fills as the money known to be at
        stake. A list that the venue's own other records show to be cut is not complete, whatever its certificate says.
    """
    # 28 digits, Python's default, would round a product of two 38-digit decimals.
    with localcontext(prec=100):
        found, held_against = _compare(desk, venue, held, proof, policy)
        disputed = (each for one in held_against for each in one.desk_is_right)
        cut = contradicted(desk, venue, proof, found, disputed).union(*(one.vanished for one in held_against))
        if cut:
            doubted = replace(proof, complete={**proof.complete, **dict.fromkeys(cut, False)})
            found, _ = _compare(desk, venue, held, doubted, policy)
    return found


def _compare(
    desk: Side, venue: Side, held: Held, proof: Proof, policy: ReconciliationPolicy
) -> tuple[tuple[Finding, ...], tuple[Conserved, Conserved]]:
    """Return the findings, and what positions and balances say of the venue's lists."""
    strangers = strange_orders(desk, venue, proof, policy)
    strange = frozenset((each.symbol, each.order_id) for each in strangers if each.order_id is not None)
    fills = compare_fills(desk.fills, venue.fills, proof, policy, strange)
    states = compare_states(desk, venue, proof, fills.disputed)
    money = compare_money(desk, venue, proof, policy)
    disputes = (*strangers, *fills.findings, *money.findings)
    known = (*disputes, *fills.waiting, *money.waiting)
    postings, prices = post_side(Book.VENUE, venue), prices_of((*desk.fills, *venue.fills))
    positions = compare_positions(held, desk.fills, postings, known, proof, prices)
    drifts = compare_balances(held, postings, known, proof, policy, prices)
    unseen = [
        _incomplete(source, scope, fills.unproven.get(scope, []) if source is Source.FILLS else [], proof)
        for source, scope in sorted(
            {key for key, done in proof.complete.items() if not done}
            | {(Source.FILLS, scope) for scope in fills.unproven}
        )
    ]
    found = (*disputes, *states, *positions.findings, *drifts.findings, *unseen)
    return found, (positions, drifts)


def _incomplete(source: Source, scope: str, unmatched: list[FillRecord], proof: Proof) -> Finding:
    value = sum((fill.value for fill in unmatched), Decimal(0))
    said = f"; {len(unmatched)} of our fills are neither confirmed nor denied by it" if source is Source.FILLS else ""
    return Finding(
        BreakClass.SOURCE_INCOMPLETE,
        scope,
        source.value,
        f"{len(unmatched)} fills not seen at the venue" if unmatched else None,
        None,
        value if unmatched else None,
        proof.judged_to + proof.wait,
        f"the venue's {source} were not read completely, or its other records show that they are not whole{said}",
        BreakVerdict.UNKNOWN,
        evidence_ids=proof.cited(source, scope),
    )
