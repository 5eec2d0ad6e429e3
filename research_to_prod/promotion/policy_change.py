"""A version of a policy in force: what promotions must be under, from a record that people approved.

Without such a record whatever file lies in the desk's folder decides. With one, a file that was edited since promotes
nobody until its version is put in force, by as many people as it asks for, and no fewer than were needed before.

Belongs here: which version is in force, and putting one in force. Doesn't: what a policy says (`gates.policy`), who
waits for whom (`waiting`), and the rules that hold without this module (`verifier`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.gates.policy import Policy
from research_to_prod.promotion.approvals import PolicyTexts, replaces
from research_to_prod.promotion.keys import Keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Change, ChangeRecord, Record, RecordType
from research_to_prod.promotion.record import Policy as Named
from research_to_prod.promotion.waiting import ApprovalFolder, answered


class PolicyChangeError(ValueError):
    """A version of a policy can't be put in force; the message says what to do."""


@dataclass(frozen=True)
class Waiting:
    """What is missing until a version is in force, and what to do about it."""

    obstacles: tuple[str, ...]
    remedy: str


def in_force(changes: Iterable[ChangeRecord], policy_id: str) -> ChangeRecord | None:
    """Return the record that put a policy's version in force; None where none was ever."""
    found = None
    for each in changes:
        if each.type is RecordType.POLICY_CHANGE and each.policy is not None and each.policy.id == policy_id:
            found = each
    return found


def not_in_force(changes: Iterable[ChangeRecord], policy: Policy) -> str | None:
    """Return why nothing may be promoted under this version; None where it may."""
    now = in_force(changes, policy.id)
    if now is None or now.policy is None or now.policy.sha256 == policy.sha256:
        return None
    return (
        f"version {policy.sha256[:12]} of {policy.id} is not in force, {now.policy.sha256[:12]} is since record "
        f"{now.seq}: put this one in force (`r2p policy adopt {policy.id}`), or bring back the file of that one"
    )


def put_in_force(
    ledger: Ledger, folder: ApprovalFolder, keys: Keys, policy: Policy, *, by: str, reason: str, now: datetime
) -> ChangeRecord | Waiting:
    """Record a version of a policy as the one in force, once enough people approve; else ask them.

    Called again with the same version, person and reason it is what was asked; with others it is asked anew.

    Parameters
    ----------
    keys
        The public keys, approvers' among them.
    by
        Who proposes it, and whose own approval does not count.

    Raises
    ------
    PolicyChangeError
        If this version is in force already.
    LedgerError
        If the ledger does not verify, or refuses the record.
    """
    entries = ledger.verify().entries()
    current = in_force((each for each in entries if isinstance(each, ChangeRecord)), policy.id)
    before = None if current is None or current.policy is None else current.policy.sha256
    if current is not None and before == policy.sha256:
        raise PolicyChangeError(
            f"version {before[:12]} of {policy.id} is in force since record {current.seq} of "
            f"{current.recorded_at:%Y-%m-%d %H:%M}Z: there is nothing to change"
        )
    change = Change(
        type=RecordType.POLICY_CHANGE,
        decision_id=f"policy_change:{policy.id}:{len(entries)}:{policy.sha256[:16]}",
        recorded_at=now,
        author=by,
        reasons=(reason, replaces(before)),
        policy=Named(id=policy.id, sha256=policy.sha256),
    )
    people = max(policy.approval.people, _people_before(ledger, entries, policy))
    envelopes: tuple[bytes, ...] = ()
    if people:
        rule = policy.approval.model_copy(update={"people": people})
        texts = PolicyTexts(
            after=policy.canonical_bytes().decode(),
            before=None if before is None else ledger.blobs.read(before).decode(),
        )
        given = answered(change, folder, keys, rule, now, texts)
        if given.decision is None:
            return Waiting(given.obstacles, given.remedy)
        change, envelopes = given.decision, given.envelopes
    return ledger.record_change(change, (policy.canonical_bytes(), *envelopes))


def _people_before(ledger: Ledger, entries: Sequence[Record | ChangeRecord], policy: Policy) -> int:
    """Return how many people the last record that let somebody, or could, to the same stage took."""
    for each in reversed(entries):
        if each.policy is None or each.type not in {RecordType.PROMOTE, RecordType.POLICY_CHANGE}:
            continue
        # As the verifier reads it: a version of long ago may lack what a policy must have today.
        before = json.loads(ledger.blobs.read(each.policy.sha256))
        if (each.to_stage if isinstance(each, Record) else before["to_stage"]) == policy.to_stage:
            return int(before["approval"]["people"])
    return 0
