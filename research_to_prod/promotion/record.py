"""What one promotion decision says: the values that the ledger signs.

A `Case` is what is known before the decision, a `Draft` is the decided case, a `Record` is what of it goes into the
log, with its place there: what the decision rests on is long, so a record names it by hash (`Evidence`, a blob). A
`Change` is of keys or policies and moves no candidate. Every model refuses unknown fields, so a record never says more
than its readers understand; new fields arrive as optional ones, and an absent field is left out of the canonical bytes,
so old records keep their bytes and their place in the tree. Numbers that matter are text in shortest form: JSON floats
differ between implementations.

Belongs here: the models and their canonical bytes. Doesn't: files, signatures, clocks, and the rules: `verifier` has
them all, for whoever verifies without this package.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from research_to_prod.promotion import verifier
from research_to_prod.values import Stage, StrategyType, Verdict, sha256_hex

GENESIS = verifier.GENESIS


def to_utc_millis(instant: datetime) -> datetime:
    """Return ``instant`` in UTC, floored to the millisecond, which is the resolution of the log."""
    if instant.utcoffset() is None:
        raise ValueError(f"{instant} has no time zone; give an aware time")
    instant = instant.astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def number_text(value: float | None) -> str | None:
    """Return the shortest text that reads back as the same number; None for what could not be measured.

    Raises
    ------
    ValueError
        On NaN and infinity: what was not measured is None, never a number.
    """
    if value is None:
        return None
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number; what could not be measured is None")
    return str(value) if isinstance(value, int) else repr(float(value))


def _shortest(text: str) -> str:
    try:
        number = int(text) if text.removeprefix("-").isdecimal() else float(text)
        shortest = number_text(number)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a finite number") from error
    if shortest != text:
        raise ValueError(f"{text!r} is not in shortest form, {shortest!r} is")
    return text


def _plain_decimal(amount: object) -> object:
    try:
        number = Decimal(amount) if isinstance(amount, str | Decimal) else None
    except InvalidOperation:
        return amount
    return f"{number.normalize():f}" if number is not None and number.is_finite() else amount


Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# RFC 8785 refuses integers that a double cannot hold exactly.
Count = Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]
NumberText = Annotated[str, AfterValidator(_shortest)]
DecimalText = Annotated[str, BeforeValidator(_plain_decimal), Field(pattern=r"^(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$")]
UtcMillis = Annotated[datetime, AfterValidator(to_utc_millis), PlainSerializer(verifier.time_text, when_used="json")]


def describe(error: ValidationError) -> str:
    """Return everything that a validation found wrong, in one line."""
    return "; ".join(
        f"{'.'.join(str(step) for step in problem['loc']) or 'it'}: {problem['msg']}" for problem in error.errors()
    )


class RecordType(StrEnum):
    """What a record does: to its candidate, or to the keys and policies that decide on candidates.

    A rollback is a demotion by a rule. An override is a person's: what a rule asked for is set aside for a time, and
    nothing moves; no override promotes.
    """

    PROMOTE = "promote"
    REJECT = "reject"
    DEMOTE = "demote"
    ROLLBACK = "rollback"
    OVERRIDE = "override"
    KEY_CHANGE = "key_change"
    POLICY_CHANGE = "policy_change"


class CanonicalModel(BaseModel):
    """A frozen value that refuses unknown fields and has one sequence of bytes."""

    # Revalidated, so that a value altered by model_copy() or model_construct() does not slip into what is signed.
    model_config = ConfigDict(frozen=True, extra="forbid", revalidate_instances="always")

    def canonical_bytes(self) -> bytes:
        """Return the RFC 8785 form; fields that are None are left out.

        These models have no floats and only ASCII names. There json's C encoder gives the very bytes of RFC 8785
        (a property test holds it to `values.canonical_json`), and a log of 10,000 records is verified in seconds
        instead of minutes.
        """
        return verifier.canonical(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def from_canonical_bytes(cls, data: bytes) -> Self:
        """Read back what `canonical_bytes` wrote, and nothing else.

        Raises
        ------
        ValueError
            When ``data`` is not of this form, or is another spelling of it (spaces, repeated names, explicit nulls).
        """
        try:
            value = cls.model_validate_json(data)
        except ValidationError as error:
            raise ValueError(describe(error)) from error
        if value.canonical_bytes() != data:
            raise ValueError("not in canonical form (RFC 8785, absent fields left out)")
        return value


class Policy(CanonicalModel):
    """The policy under which was decided."""

    id: Text
    version: Text | None = None
    sha256: Sha256


class CodeIdentity(CanonicalModel):
    """The code that decided: hash of the package's sources, of the lock file, the release, and where it was committed.

    ``commit`` and ``dirty`` are absent where there is no repository.
    """

    package_sha256: Sha256
    lockfile_sha256: Sha256
    version: Text
    commit: Text | None = None
    dirty: bool | None = None


class Input(CanonicalModel):
    """One partition of the upstream closure, exactly as it was read."""

    asset: Text
    partition: Text | None = None
    lake_version: Count
    content_sha256: Sha256
    rows: Count
    run_id: Text
    storage_id: Count


class Check(CanonicalModel):
    """One evaluation of an asset check, by its place in the event log."""

    asset: Text
    check: Text
    partition: Text | None = None
    passed: bool
    run_id: Text
    storage_id: Count


class Gate(CanonicalModel):
    """One gate's answer; ``gating`` is false for a figure that is reported and does not decide."""

    gate: Text
    family: Text
    gating: bool = True
    verdict: Verdict
    value: NumberText | None = None
    threshold: NumberText | None = None
    margin: NumberText | None = None
    samples: Count
    reason: str


class Evidence(CanonicalModel):
    """What a decision rests on: the blob that a record names by its hash."""

    inputs: tuple[Input, ...]
    checks: tuple[Check, ...]
    gates: tuple[Gate, ...]


class Dagster(CanonicalModel):
    """The run that decided."""

    run_id: Text
    instance_id: Text | None = None


class Instrument(CanonicalModel):
    """One market of a venue, by its unified symbol."""

    venue: Text
    symbol: Text


class Limits(CanonicalModel):
    """What a promoted strategy may touch and with how much (pre-set limits, RTS 6 Articles 8 and 15).

    Amounts are in ``currency``; the venues are those of the instruments; messages are orders, amendments and
    cancellations together.
    """

    instruments: tuple[Instrument, ...]
    capital: DecimalText | None = None
    currency: Text | None = None
    max_order_value: DecimalText | None = None
    max_position_value: DecimalText | None = None
    max_messages_per_second: Count | None = None


class Approval(CanonicalModel):
    """One person's approval: the key, whose it is, and the signed envelope by its hash."""

    key_id: Text
    person: Text
    envelope_sha256: Sha256
    signed_at: UtcMillis


class Trigger(CanonicalModel):
    """The rule that asked for a rollback, and the numbers on which it did.

    ``began_at`` is since when by the rule's own estimate, absent where it has none: detection took from there to
    ``observed_at``.
    """

    rule: Text
    value: NumberText
    threshold: NumberText
    samples: Count
    observed_at: UtcMillis
    began_at: UtcMillis | None = None


class _Entry(CanonicalModel):
    """What every record says, whatever its type."""

    decision_id: Text
    recorded_at: UtcMillis
    author: Text


class _Decision(_Entry):
    """What is said of a candidate in every form of a decision.

    ``algo_id`` is what its orders carry (RTS 6, RTS 24); ``supersedes`` is the decision that this one replaces or sets
    aside; ``expires_at`` is when it ends of itself.
    """

    candidate: Text
    candidate_sha256: Sha256
    algo_id: Text | None = None
    strategy: Text
    strategy_type: StrategyType
    from_stage: Stage
    to_stage: Stage
    policy: Policy
    code: CodeIdentity
    parameters_sha256: Sha256
    n_trials: Count | None = None
    trial_ledger_head: Text | None = None
    limits: Limits | None = None
    validator: Text | None = None
    supersedes: Text | None = None
    expires_at: UtcMillis | None = None
    trigger: Trigger | None = None
    dagster: Dagster


class _Decided(CanonicalModel):
    """What deciding adds."""

    reasons: tuple[Text, ...]
    approvals: tuple[Approval, ...] | None = None

    def decided(self) -> dict[str, Any]:
        """Return what was decided as a JSON value, as a record has it, without its place in the log."""
        return self.model_dump(mode="json", exclude_none=True, exclude=set(Place.model_fields))

    def decision_digest(self) -> str:
        """Return the SHA-256 of what people approve: `decided` without approvals, time and run."""
        return verifier.decision_digest(self.decided())


class Place(CanonicalModel):
    """Where a record stands: the leaf number ``seq`` of a log, after the record whose SHA-256 is ``prev``.

    ``log_id`` names the log by its first record, so that a record of another log, signed with the same key, is no
    record of this one.
    """

    v: Literal[2] = 2
    log_id: Sha256
    seq: Count
    prev: Sha256

    @property
    def sha256(self) -> str:
        """The SHA-256 of the canonical bytes: what the next record's ``prev`` must say."""
        return sha256_hex(self.canonical_bytes())


class Case(_Decision):
    """Everything that is known about a candidate before it is decided."""

    inputs: tuple[Input, ...]
    checks: tuple[Check, ...]


DecisionType = Literal[
    RecordType.PROMOTE, RecordType.REJECT, RecordType.DEMOTE, RecordType.ROLLBACK, RecordType.OVERRIDE
]


class Draft(Case, _Decided):
    """A decided case, not yet in the log."""

    type: DecisionType
    gates: tuple[Gate, ...]
    gate_report_sha256: Sha256 | None = None

    @property
    def evidence(self) -> Evidence:
        """What the decision rests on, as the blob that its record names."""
        return Evidence(inputs=self.inputs, checks=self.checks, gates=self.gates)

    def decided(self) -> dict[str, Any]:
        """Return what was decided as a JSON value, as a record has it, without its place in the log."""
        short = self.model_dump(mode="json", exclude_none=True, exclude=set(Evidence.model_fields))
        return short | {"evidence_sha256": sha256_hex(self.evidence.canonical_bytes())}

    def placed(self, log_id: str, seq: int, prev: str) -> Record:
        """Return the record of this decision at a place in a log."""
        return Record.model_validate(self.decided() | {"log_id": log_id, "seq": seq, "prev": prev})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = list(verifier.own_problems(self.decided()))
        if self.type is RecordType.PROMOTE:
            obstacles = verifier.promotion_obstacles(self.decided(), self.evidence.model_dump(mode="json"))
            problems += [f"a promotion that its own contents refuse: {each}" for each in obstacles]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Record(_Decision, _Decided, Place):
    """A decision on a candidate at its place in the log: the leaf that is hashed, chained and signed for."""

    type: DecisionType
    evidence_sha256: Sha256
    gate_report_sha256: Sha256 | None = None


class KeyEntry(CanonicalModel):
    """A public key as ``keys.json`` has it."""

    algorithm: Literal["ed25519"] = "ed25519"
    public_key: Text
    role: Literal["log", "approver", "witness"]
    person: Text | None = None
    valid_from: UtcMillis
    valid_to: UtcMillis | None = None


class Change(_Entry, _Decided):
    """A change of a key (``key_change``) or of the policy in force (``policy_change``).

    A log can end a key that its readers trust, and never make one trusted. Once a policy's change is recorded, later
    promotions under its id must be under that version.
    """

    type: Literal[RecordType.KEY_CHANGE, RecordType.POLICY_CHANGE]
    key_id: Sha256 | None = None
    key: KeyEntry | None = None
    policy: Policy | None = None


class ChangeRecord(Change, Place):
    """A change at its place in the log."""
