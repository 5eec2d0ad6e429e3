"""What one promotion decision says: the values that the ledger signs.

A `Case` is what is known before the decision, a `Draft` is the decided case, a `Record` is the draft with its place
in the log. Every model refuses unknown fields, so a record never says more than its readers understand; new fields
arrive as optional ones, and an absent field is left out of the canonical bytes, so old records keep their bytes and
their signatures. Numbers that matter are text in shortest form: JSON floats differ between implementations.

Belongs here: the models, their canonical bytes and the rules that a single record must meet. Doesn't: files,
signatures, clocks, and rules between records (`ledger`, `stages`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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

from research_to_prod.values import Stage, StrategyType, Verdict, digest, sha256_hex

GENESIS = "0" * 64
"""What the first record of a log names as its predecessor."""


def to_utc_millis(instant: datetime) -> datetime:
    """Return ``instant`` in UTC, floored to the millisecond, which is the resolution of the log."""
    if instant.utcoffset() is None:
        raise ValueError(f"{instant} has no time zone; give an aware time")
    instant = instant.astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _utc_text(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
        number = int(text) if text.lstrip("-").isdecimal() else float(text)
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
    return format(number.normalize(), "f") if number is not None and number.is_finite() else amount


Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# RFC 8785 refuses integers that a double cannot hold exactly.
Count = Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]
NumberText = Annotated[str, AfterValidator(_shortest)]
DecimalText = Annotated[str, BeforeValidator(_plain_decimal), Field(pattern=r"^(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$")]
UtcMillis = Annotated[datetime, AfterValidator(to_utc_millis), PlainSerializer(_utc_text, when_used="json")]


def describe(error: ValidationError) -> str:
    """Return everything that a validation found wrong, in one line."""
    return "; ".join(
        f"{'.'.join(str(step) for step in problem['loc']) or 'it'}: {problem['msg']}" for problem in error.errors()
    )


class RecordType(StrEnum):
    """What a record does to its candidate; later kinds (overrides, key changes) are added here."""

    PROMOTE = "promote"
    REJECT = "reject"
    DEMOTE = "demote"
    ROLLBACK = "rollback"


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
        value = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

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
    """The code that decided: hash of the package's sources, of the lock file, and the release."""

    package_sha256: Sha256
    lockfile_sha256: Sha256
    version: Text


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


class Case(CanonicalModel):
    """Everything that is known about a candidate before it is decided."""

    decision_id: Text
    recorded_at: UtcMillis
    candidate: Text
    candidate_sha256: Sha256
    strategy: Text
    strategy_type: StrategyType
    from_stage: Stage
    to_stage: Stage
    policy: Policy
    code: CodeIdentity
    parameters_sha256: Sha256
    inputs: tuple[Input, ...]
    checks: tuple[Check, ...]
    n_trials: Count | None = None
    trial_ledger_head: Text | None = None
    author: Text
    limits: Limits | None = None
    dagster: Dagster


class Draft(Case):
    """A decided case, not yet in the log."""

    type: RecordType
    gates: tuple[Gate, ...]
    reasons: tuple[Text, ...]
    gate_report_sha256: Sha256 | None = None
    approvals: tuple[Approval, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type is not RecordType.PROMOTE:
            if not self.reasons:
                raise ValueError(f"a {self.type} without reasons; say why")
            return self
        obstacles = [*self.reasons, *promotion_obstacles(self, self.gates, self.gate_report_sha256)]
        if obstacles:
            raise ValueError("a promotion that its own contents refuse: " + "; ".join(obstacles))
        return self

    def decided(self) -> dict[str, Any]:
        """Return what was decided as a JSON value, without the place in the log that a record adds."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"v", "log_id", "seq", "prev"})

    def decision_digest(self) -> str:
        """Return the SHA-256 of what people approve: the decision, without who approved it and when it was recorded.

        A decision waits for its approvals, so the run and the moment that record it are not those that asked, and the
        trial ledger has grown with others' trials; the number of this strategy's own is in the digest.
        """
        apart = {"approvals", "recorded_at", "dagster", "trial_ledger_head"}
        return digest({name: value for name, value in self.decided().items() if name not in apart})


class Record(Draft):
    """A draft at its place in the log: the leaf that is hashed, chained and signed.

    ``prev`` is the SHA-256 of the canonical bytes of the record before it; ``log_id`` names the log by its first
    record, so that a record of another log, signed with the same key, is no record of this one.
    """

    v: Literal[1] = 1
    log_id: Sha256
    seq: Count
    prev: Sha256

    @property
    def sha256(self) -> str:
        """The SHA-256 of the canonical bytes: what the next record's ``prev`` must say."""
        return sha256_hex(self.canonical_bytes())


def promotion_obstacles(case: Case, gates: Sequence[Gate], gate_report_sha256: str | None) -> list[str]:
    """Return everything in a case and its gates that forbids a promotion; empty when nothing does."""
    required = {
        "inputs": case.inputs,
        "checks": case.checks,
        "gating gates": [gate for gate in gates if gate.gating],
    }
    obstacles = [f"no {name} are recorded" for name, found in required.items() if not found]
    named = {
        "gate report": gate_report_sha256,
        "number of trials": case.n_trials,
        "trial ledger head": case.trial_ledger_head,
    }
    obstacles += [f"the {name} is missing" for name, found in named.items() if found is None]
    obstacles += [
        f"check {check.check} of {check.asset}{f'[{check.partition}]' if check.partition else ''} failed"
        for check in case.checks
        if not check.passed
    ]
    obstacles += [
        f"gate {gate.gate}: {gate.verdict}: {gate.reason}"
        for gate in gates
        if gate.gating and gate.verdict is not Verdict.PASS
    ]
    return obstacles
