"""The register of breaks: how bad, whose, since when, and whether still.

Belongs here: what becomes of a finding at this look and at later ones, and the correcting entries that the policy
allows without a person. Doesn't: finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.operations.contracts import (
    BREAKS,
    Account,
    Age,
    BreakClass,
    BreakStatus,
    BreakVerdict,
    Resolution,
    Severity,
)
from research_to_prod.operations.findings import Finding, Proof
from research_to_prod.operations.ledger import SMALLEST, Posting, balances, post_adjustment
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy, exact
from research_to_prod.operations.records import Source
from research_to_prod.values import digest

OWNER = "operations"

SEVERITIES = {
    BreakClass.UNKNOWN_ORDER: Severity.P1,
    BreakClass.POSITION_SIGN: Severity.P1,
    BreakClass.SIDE_MISMATCH: Severity.P1,
    BreakClass.EXTERNAL_ACTIVITY: Severity.P1,
    BreakClass.MISSING_FILL_INTERNAL: Severity.P2,
    BreakClass.MISSING_FILL_VENUE: Severity.P2,
    BreakClass.DUPLICATE_FILL: Severity.P2,
    BreakClass.QUANTITY_MISMATCH: Severity.P2,
    BreakClass.PRICE_MISMATCH: Severity.P2,
    BreakClass.ORPHAN_INTENT: Severity.P2,
    BreakClass.POSITION_QUANTITY: Severity.P2,
    BreakClass.TRANSFER_UNMATCHED: Severity.P2,
    BreakClass.SOURCE_INCOMPLETE: Severity.P2,
    BreakClass.STATE_MISMATCH: Severity.P3,
    BreakClass.FEE_MISMATCH: Severity.P3,
    BreakClass.FEE_ASSET: Severity.P3,
    BreakClass.FUNDING_MISSING: Severity.P3,
    BreakClass.FUNDING_MISMATCH: Severity.P3,
    BreakClass.BALANCE_DRIFT: Severity.P3,
    BreakClass.CLOCK: Severity.P3,
    BreakClass.DUST: Severity.P4,
}

STANDING = frozenset({BreakClass.POSITION_SIGN, BreakClass.POSITION_QUANTITY})
"""Breaks of what is held and not of what happened: the same break on every day until it is gone."""

_SOURCES = {
    **dict.fromkeys(
        (
            BreakClass.MISSING_FILL_INTERNAL,
            BreakClass.MISSING_FILL_VENUE,
            BreakClass.DUPLICATE_FILL,
            BreakClass.QUANTITY_MISMATCH,
            BreakClass.PRICE_MISMATCH,
            BreakClass.SIDE_MISMATCH,
            BreakClass.FEE_MISMATCH,
            BreakClass.FEE_ASSET,
            BreakClass.CLOCK,
        ),
        Source.FILLS,
    ),
    **dict.fromkeys((BreakClass.UNKNOWN_ORDER, BreakClass.ORPHAN_INTENT, BreakClass.STATE_MISMATCH), Source.ORDERS),
    **dict.fromkeys(
        (BreakClass.FUNDING_MISSING, BreakClass.FUNDING_MISMATCH, BreakClass.TRANSFER_UNMATCHED), Source.MONEY
    ),
    **dict.fromkeys((BreakClass.BALANCE_DRIFT, BreakClass.DUST), Source.BALANCES),
    **dict.fromkeys(STANDING, Source.POSITIONS),
}


def severity(finding: Finding, policy: ReconciliationPolicy) -> Severity:
    """Return how soon a person is needed: by class and sign, and at once from a certain size on."""
    if finding.resolution is not None:
        return Severity.P4
    large = finding.money is not None and finding.money >= exact(policy.escalate_money)
    return Severity.P1 if large else SEVERITIES[finding.kind]


def age_of(opened: datetime, now: datetime) -> Age:
    """Return the bucket of an age."""
    age = now - opened
    if age < timedelta(minutes=5):
        return Age.MINUTES
    if age < timedelta(hours=1):
        return Age.HOUR
    return Age.DAY if age < timedelta(days=1) else Age.OLDER


def break_id(finding: Finding, venue: str, day: str) -> str:
    """Return the id that a break keeps at every look; one of what is held keeps it from day to day."""
    when = "" if finding.kind in STANDING else day
    return digest([finding.kind, venue, finding.symbol, finding.account or "", finding.record_id or "", when])


def update_register(
    before: pa.Table,
    found: Sequence[Finding],
    proof: Proof,
    policy: ReconciliationPolicy,
    *,
    venue: str,
    day: str,
    looked_at: datetime,
) -> pa.Table:
    """Return the venue's ``BREAKS`` of a day after a look.

    Parameters
    ----------
    before
        ``BREAKS`` rows of the venue as the last look at this day left them, and the standing ones of the day before.

    Returns
    -------
    pa.Table
        Sorted by ``break_id``. A break that was known keeps its id and its first sight. One that is no longer found is
        resolved by evidence only where its source was complete at this look; from what could not be seen nothing is
        concluded, and it stays as it was.
    """
    known = {row["break_id"]: row for row in before.to_pylist()}
    rows = {}
    for finding in found:
        row = _row(finding, policy, venue, day, looked_at)
        old = known.get(row["break_id"])
        if old is not None:
            row |= {"first_seen_at": old["first_seen_at"]}
            row |= {"opened_at": old["opened_at"]} if finding.kind in STANDING else {}
        rows[row["break_id"]] = row | {"age": age_of(row["opened_at"], looked_at).value}
    for name, old in known.items():
        if name not in rows:
            rows[name] = _later(old, proof, looked_at) | {"day": day}
    return BREAKS.conform(pa.Table.from_pylist(list(rows.values()), schema=BREAKS.arrow), day)


def carried(rows: pa.Table) -> pa.Table:
    """Return the breaks of a day that are still there on the next: open ones of what is held."""
    standing = pc.is_in(rows["class"], value_set=pa.array(sorted(STANDING)))
    return rows.filter(pc.and_(standing, pc.equal(rows["status"], BreakStatus.OPEN.value)))


def corrections(found: Iterable[Finding], venue: str, day: str) -> tuple[Posting, ...]:
    """Return the correcting entries of what resolves itself: dust and rounding, confirmed, and nothing else."""
    return tuple(
        leg
        for finding in found
        if finding.resolution is not None and finding.verdict is BreakVerdict.CONFIRMED
        for (account, asset), amount in sorted((finding.correction or {}).items())
        for leg in post_adjustment(break_id(finding, venue, day), finding.at, account, asset, amount)
    )


def suspense(postings: Iterable[Posting]) -> dict[str, Decimal]:
    """Return what waits in suspense, by asset."""
    return {asset: total for (account, asset), total in balances(postings).items() if account is Account.SUSPENSE}


def overdue(rows: pa.Table, policy: ReconciliationPolicy, now: datetime) -> list[dict[str, Any]]:
    """Return the open breaks that somebody should have dealt with by ``now``, the oldest first.

    Parameters
    ----------
    rows
        ``BREAKS`` of any days; of a break on several days the last one counts.
    """
    last: dict[str, dict[str, Any]] = {}
    for row in sorted(rows.to_pylist(), key=lambda each: (each["day"], each["last_seen_at"])):
        last[row["break_id"]] = row
    late = []
    for row in last.values():
        limit = policy.due_within(Severity(row["severity"]))
        if row["status"] == BreakStatus.OPEN and limit is not None and now - row["first_seen_at"] > limit:
            late.append(row)
    return sorted(late, key=lambda row: (row["first_seen_at"], row["break_id"]))


def _row(finding: Finding, policy: ReconciliationPolicy, venue: str, day: str, looked_at: datetime) -> dict[str, Any]:
    with localcontext(prec=100):
        money = None if finding.money is None else finding.money.quantize(SMALLEST)
    resolved = finding.resolution is not None
    return {
        "day": day,
        "break_id": break_id(finding, venue, day),
        "class": finding.kind.value,
        "venue": venue,
        "symbol": finding.symbol,
        "account": None if finding.account is None else finding.account.value,
        "record_id": finding.record_id,
        "internal_value": finding.internal,
        "venue_value": finding.venue,
        "money": money,
        "opened_at": finding.at,
        "evidence": finding.evidence,
        "evidence_ids": list(dict.fromkeys(finding.evidence_ids)),
        "verdict": finding.verdict.value,
        "severity": severity(finding, policy).value,
        "owner": OWNER,
        "status": (BreakStatus.RESOLVED if resolved else BreakStatus.OPEN).value,
        "first_seen_at": looked_at,
        "last_seen_at": looked_at,
        "resolved_at": looked_at if resolved else None,
        "resolution": finding.resolution.value if finding.resolution is not None else None,
    }


def _later(row: dict[str, Any], proof: Proof, looked_at: datetime) -> dict[str, Any]:
    """Return a known break that this look did not find."""
    aged = row | {"age": age_of(row["opened_at"], looked_at).value}
    if row["status"] == BreakStatus.RESOLVED or not _cleared(row, proof):
        return row if row["status"] == BreakStatus.RESOLVED else aged
    return aged | {
        "status": BreakStatus.RESOLVED.value,
        "resolved_at": looked_at,
        "resolution": Resolution.EVIDENCE.value,
    }


def _cleared(row: dict[str, Any], proof: Proof) -> bool:
    kind = BreakClass(row["class"])
    if kind is BreakClass.SOURCE_INCOMPLETE:
        return proof.saw(Source(row["record_id"]), row["symbol"])
    if kind is BreakClass.EXTERNAL_ACTIVITY:
        source = Source.ORDERS if row["account"] is None else Source.MONEY
    else:
        source = _SOURCES[kind]
    if source in {Source.FILLS, Source.ORDERS}:
        return proof.saw(source, row["symbol"])
    scope = Account.FUTURES.value if source is Source.POSITIONS else row["account"]
    return proof.saw(source, scope)
