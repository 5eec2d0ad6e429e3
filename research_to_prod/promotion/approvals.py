"""Approvals: people sign, on their own machines, exactly what is about to be decided.

A request states a decision by its digest, with its transition, its policy, its author and when it expires; the decision
is a promotion, or puts a version of a policy in force. An approval is a DSSE envelope around the request and the moment
of signing, by one person's key. It counts for that decision and no other: the request names ``decision_id``, and the
ledger takes each of those once.

Belongs here: requests, envelopes, and what is wrong with them. Doesn't: files and who waits for whom (`waiting`),
the number of people (the policy's `ApprovalRule`), and recording (ledger). `securesystemslib` reads and writes the
envelopes; that a key may sign, and did, is answered by `keys`, as for every other signature here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.promotion.keys import KeyRole, Keys, Signature
from research_to_prod.promotion.record import (
    Approval,
    CanonicalModel,
    Change,
    Count,
    Draft,
    Policy,
    RecordType,
    Sha256,
    Text,
    UtcMillis,
    describe,
    to_utc_millis,
)
from research_to_prod.values import Stage, sha256_hex

_FILE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
STATEMENT_TYPE = "application/vnd.research-to-prod.approval+json"


class ApprovalError(ValueError):
    """A request or an envelope that is not what it should be; the message says what to do."""


class ApprovalRequest(CanonicalModel):
    """What is asked: one decision by its digest, under one policy, until it expires.

    A promotion's says whose, from where and to where; a policy's change is of no candidate.
    """

    v: Literal[1] = 1
    decision_id: Text
    decision_sha256: Sha256
    candidate: Text | None = None
    candidate_sha256: Sha256 | None = None
    from_stage: Stage | None = None
    to_stage: Stage | None = None
    policy: Policy
    author: Text
    people: Count
    requested_at: UtcMillis
    expires_at: UtcMillis


class PolicyTexts(CanonicalModel):
    """A policy that is to be in force and the one that is, as canonical JSON; None where none is yet."""

    after: str
    before: str | None = None


class Asked(CanonicalModel):
    """A request and the decision that it is about, so that people read what they sign.

    Of a policy's change it has the policies too: the decision names them by their hashes only.
    """

    request: ApprovalRequest
    decision: Draft | Change
    policies: PolicyTexts | None = None

    @model_validator(mode="after")
    def _about_each_other(self) -> Self:
        if self.decision.type not in {RecordType.PROMOTE, RecordType.POLICY_CHANGE}:
            raise ValueError("only promotions and changes of policies are approved")
        wrong = [name for name in _SHARED if getattr(self.request, name) != getattr(self.decision, name, None)]
        if isinstance(self.decision, Change):
            wrong += self._policies_not_named(self.decision)
        if self.request.decision_sha256 != self.decision.decision_digest():
            wrong.append("decision_sha256")
        if wrong:
            raise ValueError(f"the request and the decision in it differ in {', '.join(wrong)}")
        return self

    def _policies_not_named(self, change: Change) -> list[str]:
        after, before = (None, None) if self.policies is None else (self.policies.after, self.policies.before)
        named = change.policy is not None and after is not None and sha256_hex(after.encode()) == change.policy.sha256
        replaced = replaces(None if before is None else sha256_hex(before.encode())) in change.reasons
        return [*([] if named else ["policies.after"]), *([] if replaced else ["policies.before"])]


_SHARED = ("decision_id", "candidate", "candidate_sha256", "from_stage", "to_stage", "policy", "author")


def replaces(sha256: str | None) -> str:
    """Return the reason of a policy's change that says which version it replaces, so that its digest covers that."""
    return "no version was in force before" if sha256 is None else f"in place of version {sha256}"


class Statement(ApprovalRequest):
    """What a person signs: the request, and when."""

    signed_at: UtcMillis


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _DsseSignature(_Strict):
    keyid: str
    sig: str


class _Dsse(_Strict):
    payload: str
    payloadType: str  # noqa: N815 - the name in the standard
    signatures: Annotated[tuple[_DsseSignature, ...], Field(min_length=1, max_length=1)]


@dataclass(frozen=True)
class Judged:
    """The approvals that count, one a person, and why the others don't."""

    approvals: tuple[Approval, ...]
    refused: tuple[str, ...]


def rule_for(rule: ApprovalRule, *, fallen: bool) -> ApprovalRule:
    """Return the rule that applies: whatever a policy asks for, what was moved down goes up in somebody's name only."""
    return rule.model_copy(update={"people": max(1, rule.people)}) if fallen else rule


def read_asked(data: bytes) -> Asked:
    """Read a request with its decision.

    Raises
    ------
    ApprovalError
        When it is malformed, or the decision in it is not the one whose digest is asked about.
    """
    try:
        asked = Asked.from_canonical_bytes(data)
    except ValueError as error:
        raise ApprovalError(f"this is no request for approval: {error}") from error
    # The answer is written under this name: `../.ssh/x` would leave the folder of the approver.
    name = asked.request.candidate or asked.request.policy.id
    if not _FILE_NAME.fullmatch(name):
        raise ApprovalError(f"this is no request for approval: {name!r} is no name of a candidate or a policy")
    return asked


def ask(decision: Draft | Change, rule: ApprovalRule, now: datetime, policies: PolicyTexts | None = None) -> Asked:
    """Return the request for the approval of ``decision`` as of ``now``; of a policy's change with both versions."""
    request = ApprovalRequest.model_validate(
        {name: getattr(decision, name, None) for name in _SHARED}
        | {"decision_sha256": decision.decision_digest(), "people": rule.people}
        | {"requested_at": now, "expires_at": now + rule.valid_for}
    )
    return Asked(request=request, decision=decision, policies=policies)


def approve(asked: Asked, keys: Keys, now: datetime) -> bytes:
    """Return the envelope in which the holder of ``keys`` approves what is asked.

    Raises
    ------
    ApprovalError
        When the request has expired, or is of a later time than ``now``.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import Signature as DsseSignature

    if problems := _untimely(asked.request, to_utc_millis(now)):
        raise ApprovalError(problems[0])
    payload = Statement(**dict(asked.request), signed_at=now).canonical_bytes()
    signature = keys.sign(STATEMENT_TYPE, payload)
    signed = DsseSignature(signature.key_id, base64.b64decode(signature.signature).hex())
    envelope = Envelope(payload, STATEMENT_TYPE, {signature.key_id: signed})
    return json.dumps(envelope.to_dict(), indent=2).encode() + b"\n"


def approval_obstacles(
    request: ApprovalRequest,
    envelopes: Sequence[bytes],
    keys: Keys,
    rule: ApprovalRule,
    author: str,
    now: datetime,
) -> list[str]:
    """Return why the decision is not approved; empty when enough people, none of them its author, approve it now.

    Parameters
    ----------
    request
        What was asked.
    envelopes
        The envelopes that came back, as bytes.
    keys
        The public keys, of which those of approvers count.
    rule
        How many people, and for how long a request may be answered.
    author
        Who made the candidate.
    now
        When the decision is to be recorded.
    """
    now = to_utc_millis(now)
    problems = _untimely(request, now)
    if request.people < rule.people:
        problems.append(f"the request asks for {request.people} people, the policy for {rule.people}: ask again")
    if request.expires_at - request.requested_at > rule.valid_for:
        problems.append(f"the request is open for longer than the policy's {rule.valid_for}: ask again")
    if author != request.author:
        problems.append(f"the request names {request.author} as the author, who is {author}")
    if rule.people and author.startswith("team:"):
        problems.append(f"the author is {author}, from whom nobody can be told apart: name a person (user:NAME)")
    judged = judge(request, envelopes, keys, now)
    missing = rule.people - len(judged.approvals)
    if missing > 0:
        have = f" ({', '.join(each.person for each in judged.approvals)} approved)" if judged.approvals else ""
        problems.append(f"waiting for approval of {missing} more of {rule.people} people who are not {author}{have}")
        problems += judged.refused
    return problems


def plain_name(person: str) -> str:
    """Return by what one person is told from another, however spelled: a candidate's owner is written ``user:ann``."""
    return person.removeprefix("user:").strip().casefold()


def judge(request: ApprovalRequest, envelopes: Sequence[bytes], keys: Keys, now: datetime) -> Judged:
    """Return the approvals of a request that count at ``now``, by person, and what is wrong with the others."""
    now = to_utc_millis(now)
    approvals: dict[str, Approval] = {}
    refused = []
    for data in envelopes:
        name = f"envelope {sha256_hex(data)[:12]}"
        try:
            signature, payload = _open(data)
            statement = Statement.from_canonical_bytes(payload)
        except ValueError as error:
            refused.append(f"{name} is not an approval: {error}")
            continue
        problems = _other_decision(statement, request)
        problems += keys.problems([signature], STATEMENT_TYPE, payload, statement.signed_at, KeyRole.APPROVER)
        key = keys.public.get(signature.key_id)
        person = None if key is None else key.person
        if key is not None and key.valid_to is not None and now >= key.valid_to:
            problems.append(f"key {signature.key_id} is valid until {key.valid_to}, not at {now}")
        if person is not None and plain_name(person) == plain_name(request.author):
            problems.append(f"{person} is the author, and nobody approves their own work")
        if statement.signed_at > now:
            problems.append(f"it is signed at {statement.signed_at}, which is after {now}: was the clock set back?")
        if not request.requested_at <= statement.signed_at < request.expires_at:
            problems.append(
                f"it is signed at {statement.signed_at}, the request is open from {request.requested_at} "
                f"until {request.expires_at}"
            )
        if problems or person is None:
            refused += [f"{name} does not count: {problem}" for problem in problems]
        else:
            approvals.setdefault(
                plain_name(person),
                Approval(
                    key_id=signature.key_id,
                    person=person,
                    envelope_sha256=sha256_hex(data),
                    signed_at=statement.signed_at,
                ),
            )
    return Judged(tuple(approvals[name] for name in sorted(approvals)), tuple(dict.fromkeys(refused)))


def _untimely(request: ApprovalRequest, now: datetime) -> list[str]:
    if now < request.requested_at:
        return [f"the request is of {request.requested_at}, which is after {now}: was the clock set back?"]
    if now >= request.expires_at:
        return [f"the request expired at {request.expires_at}: decide again, which asks again"]
    return []


def _other_decision(signed: Statement, asked: ApprovalRequest) -> list[str]:
    differ = [name for name in ApprovalRequest.model_fields if getattr(signed, name) != getattr(asked, name)]
    return [f"it approves another request, with another {', '.join(differ)}"] if differ else []


def _open(data: bytes) -> tuple[Signature, bytes]:
    """Return the one signature and the payload of an envelope; they are read, not yet believed."""
    from securesystemslib.dsse import Envelope

    try:
        envelope = Envelope.from_dict(_Dsse.model_validate_json(data).model_dump())
    except ValidationError as error:
        raise ApprovalError(describe(error)) from error
    if envelope.payload_type != STATEMENT_TYPE:
        raise ApprovalError(f"its type is {envelope.payload_type}")
    (signature,) = envelope.signatures.values()
    text = base64.b64encode(bytes.fromhex(signature.signature)).decode()
    return Signature(key_id=signature.keyid, signature=text), envelope.payload
