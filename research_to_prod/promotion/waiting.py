"""Decisions that wait for people: what is asked lies in a folder until the envelopes that answer it are there.

``pending/<candidate>.<stage>.json`` is what is asked, ``pending/<policy>.policy.json`` for a policy's change; approvers
take it to their machines and bring back ``<candidate>.<stage>.<key>.dsse.json``, which go beside ``pending/``. Nothing
in this folder is believed: a request counts while it asks for exactly what would be decided now, an envelope by its
signature.

Belongs here: that folder, and a promotion that becomes a refusal until it is approved. Doesn't: what makes an approval
good (`approvals`), and recording (ledger, ``policy_change``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.promotion.approvals import (
    ApprovalError,
    Asked,
    PolicyTexts,
    approval_obstacles,
    ask,
    judge,
    plain_name,
    read_asked,
)
from research_to_prod.promotion.files import replace_file
from research_to_prod.promotion.keys import KeyRole, Keys
from research_to_prod.promotion.record import Change, ChangeRecord, Draft, Record, RecordType
from research_to_prod.values import Stage, sha256_hex

logger = logging.getLogger(__name__)
POLICY = "policy"
"""In place of the stage, in the names of the files of a policy's change."""


Decision = TypeVar("Decision", Draft, Change)


@dataclass(frozen=True)
class Answered(Generic[Decision]):
    """The decision with the approvals of enough people, and their envelopes; or what is missing, and what to do."""

    decision: Decision | None
    envelopes: tuple[bytes, ...]
    obstacles: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Pending:
    """One decision that waits: what is asked, who has approved, and who else may."""

    asked: Asked
    path: Path
    approved: tuple[str, ...]
    waiting_for: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def what(self) -> str:
        """Of whom it is, and where to."""
        name, to = _place(self.asked.decision)
        return f"version {self.asked.request.policy.sha256[:12]} of {name}" if to == POLICY else f"{name} to {to}"


class ApprovalFolder:
    """The requests and the envelopes in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str, to: str) -> Path:
        """Return where the request for a candidate's way to a stage lies, or for a policy's change (`POLICY`)."""
        return self._folder / "pending" / f"{name}.{to}.json"

    def asked(self, name: str, to: str) -> Asked | None:
        """Return what is asked, as `path` names it; None when nothing readable is."""
        path = self.path(name, to)
        try:
            return read_asked(path.read_bytes())
        except FileNotFoundError:
            return None
        except ApprovalError as error:
            logger.warning("%s is asked again: %s", path, error)
            return None

    def put(self, asked: Asked) -> Path:
        """Publish a request, in place of the one before it; return where it lies."""
        path = self.path(*_place(asked.decision))
        replace_file(path, asked.canonical_bytes())
        return path

    def envelopes(self, asked: Asked) -> list[bytes]:
        """Return the envelopes that came back for what is asked, in the order of their names."""
        return [path.read_bytes() for path in sorted(self._folder.glob(_envelope(asked, "*")))]

    def pending(self, records: Sequence[Record | ChangeRecord], keys: Keys, now: datetime) -> list[Pending]:
        """Return the requests that are open at ``now`` and not yet recorded, with who may answer them."""
        recorded = {record.decision_id for record in records}
        found = []
        for path in sorted(self._folder.glob("pending/*.json")):
            name, to = path.stem.rsplit(".", 1)
            asked = self.asked(name, to) if to in {*Stage, POLICY} else None
            if asked is None or asked.request.decision_id in recorded or now >= asked.request.expires_at:
                continue
            judged = judge(asked.request, self.envelopes(asked), keys, now)
            approved = tuple(each.person for each in judged.approvals)
            done = {plain_name(person) for person in (*approved, asked.request.author)}
            others = tuple(sorted(person for person in _approvers(keys, now) if plain_name(person) not in done))
            found.append(Pending(asked, path, approved, others, judged.refused))
        return found


def envelope_name(asked: Asked, keys: Keys) -> str:
    """Return the name of the file in which the holder of a private key answers."""
    return _envelope(asked, keys.signer_id[:12])


def with_approvals(
    draft: Draft, folder: ApprovalFolder, keys: Keys, rule: ApprovalRule, now: datetime
) -> tuple[Draft, tuple[bytes, ...]]:
    """Return a promotion with its approvals and their envelopes, or the refusal that says what is missing.

    The first time, and whenever what is decided has changed since it was asked, the request is written and the
    promotion refused. Once enough people have approved, the decision that they signed is the one returned.

    Parameters
    ----------
    draft
        What would be decided now.
    folder
        Where requests and envelopes lie.
    keys
        The public keys, approvers' among them.
    rule
        How many people; with none, or for a refusal, ``draft`` is returned as it is.
    now
        When it is decided.
    """
    if draft.type is not RecordType.PROMOTE or rule.people == 0:
        return draft, ()
    given = answered(draft, folder, keys, rule, now)
    if given.decision is not None:
        return given.decision, given.envelopes
    reasons = (*given.obstacles, f"{given.remedy}, then promote again")
    return _changed(draft, {"type": RecordType.REJECT, "reasons": reasons}), ()


def answered(
    decision: Decision,
    folder: ApprovalFolder,
    keys: Keys,
    rule: ApprovalRule,
    now: datetime,
    policies: PolicyTexts | None = None,
) -> Answered[Decision]:
    """Return what people answered to ``decision``, and ask them if they were not, or not exactly this.

    Parameters
    ----------
    policies
        Of a policy's change, for those who approve to read.
    """
    asked = folder.asked(*_place(decision))
    same = None if asked is None else _as_asked(decision, asked)
    if asked is None or same is None or not _by_rule(asked, rule) or now >= asked.request.expires_at:
        # The refusal of this run is a decision of its own, so what is asked needs another name than this run's.
        asked = ask(_changed(decision, {"decision_id": f"{decision.decision_id}:asked"}), rule, now, policies)
        folder.put(asked)
        same = None
    envelopes = folder.envelopes(asked)
    obstacles = approval_obstacles(asked.request, envelopes, keys, rule, decision.author, now)
    if same is not None and not obstacles:
        approvals = judge(asked.request, envelopes, keys, now).approvals
        named = {each.envelope_sha256 for each in approvals}
        signed = tuple(data for data in dict.fromkeys(envelopes) if sha256_hex(data) in named)
        return Answered(_changed(same, {"approvals": approvals}), signed)
    path, until = folder.path(*_place(decision)), asked.request.expires_at
    return Answered(None, (), tuple(obstacles), f"run `r2p approve {path} --key FILE` until {until:%Y-%m-%d %H:%M}Z")


def _place(decision: Draft | Change) -> tuple[str, str]:
    """Return of whom and to where a decision is, as the files about it are named."""
    if isinstance(decision, Draft):
        return decision.candidate, decision.to_stage
    if decision.policy is None:
        raise ValueError(f"{decision.decision_id} is of no policy: nobody approves the end of a key")
    return decision.policy.id, POLICY


def _envelope(asked: Asked, key: str) -> str:
    return ".".join((*_place(asked.decision), key, "dsse.json"))


def _as_asked(decision: Decision, asked: Asked) -> Decision | None:
    """Return ``decision`` under the name that was asked for, when it still is what was asked; else None."""
    same = _changed(decision, {"decision_id": asked.decision.decision_id})
    return same if same.decision_digest() == asked.request.decision_sha256 else None


def _by_rule(asked: Asked, rule: ApprovalRule) -> bool:
    request = asked.request
    return (request.people, request.expires_at - request.requested_at) == (rule.people, rule.valid_for)


def _changed(decision: Decision, changes: Mapping[str, object]) -> Decision:
    return type(decision).model_validate({**dict(decision), **changes})


def _approvers(keys: Keys, now: datetime) -> set[str]:
    return {
        key.person
        for key in keys.public.values()
        if key.role is KeyRole.APPROVER
        and key.person is not None
        and key.valid_from <= now
        and (key.valid_to is None or now < key.valid_to)
    }
