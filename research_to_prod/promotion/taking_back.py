"""Taking a version back: the one way in which a rule's trigger or a person's word becomes a signed record.

Nobody is asked before something is taken away, so neither needs approvals; what needs a named person is giving it back.
A rollback is recorded once: the same triggers again find the record that stands. Whoever holds it for a false alarm
says so in a record, which gives nothing back.

Belongs here: the records, and appending them. Doesn't: what fires (``rollback``), what may trade then (``manifest``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.promotion import record as of
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.limits import limits_below
from research_to_prod.promotion.record import CodeIdentity, Draft, Gate, Record, RecordType, number_text
from research_to_prod.promotion.rollback.policy import RollbackPolicy
from research_to_prod.promotion.rollback.trigger import Trigger
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.promotion.stages import LEGAL, standing
from research_to_prod.values import Stage, Verdict, canonical_json, day_bounds

RULE = "rule:rollback"
"""The author of what no person decided."""

_STRICTNESS = (Stage.CANARY, Stage.PAPER, Stage.DEMOTED, Stage.HALTED)


class TakingBackError(ValueError):
    """There is nothing to take back so, or it is not clear what; the message says which and the remedy."""


@dataclass(frozen=True)
class Setting:
    """Under what is taken back: the policy and the allocation in force, the code that runs, and the moment.

    ``run_id`` names the run, or the command, that does it.
    """

    policy: RollbackPolicy
    allocation: CapitalAllocation
    code: CodeIdentity
    now: datetime
    run_id: str


def demote(
    ledger: Ledger, candidate: str, to_stage: Stage, *, reason: str, by: str, setting: Setting, version: str = ""
) -> Record:
    """Take a version of ``candidate`` down to ``to_stage`` in the name of a person, and return the signed record.

    Parameters
    ----------
    version
        The first characters of the version's SHA-256, where more than one could be meant.

    Raises
    ------
    TakingBackError
        If no version, or more than one, is where a demotion could lead it there from.
    LedgerError
        If the ledger does not verify, or refuses the record.
    """
    held = [each for each in standing(ledger.records()).deciding() if each.candidate == candidate]
    found = [
        each
        for each in held
        if (each.to_stage, to_stage) in LEGAL[RecordType.DEMOTE] and each.candidate_sha256.startswith(version)
    ]
    if len(found) != 1:
        stands = "; ".join(f"version {each.candidate_sha256[:12]} at {each.to_stage}" for each in held) or "at research"
        problem = "name the version that you mean" if found else f"nothing leads it down to {to_stage}"
        raise TakingBackError(f"{candidate}: {problem}; it stands: {stands}")
    return _append(ledger, found[0], RecordType.DEMOTE, to_stage, by, (reason,), setting)


def halt(ledger: Ledger, candidate: str, *, reason: str, by: str, setting: Setting) -> tuple[Record, ...]:
    """Halt every version of ``candidate`` that can be halted, in the name of a person.

    Raises
    ------
    TakingBackError
        If there is none.
    """
    found = [
        each
        for each in standing(ledger.records()).deciding()
        if each.candidate == candidate and (each.to_stage, Stage.HALTED) in LEGAL[RecordType.DEMOTE]
    ]
    if not found:
        raise TakingBackError(f"{candidate}: no version of it trades or could be halted")
    return tuple(_append(ledger, each, RecordType.DEMOTE, Stage.HALTED, by, (reason,), setting) for each in found)


def set_aside(
    ledger: Ledger, candidate: str, seq: int, *, reason: str, by: str, until: datetime, setting: Setting
) -> Record:
    """Record that a person holds a rollback for a false alarm; nothing moves, what was taken back stays so.

    It counts in `metrics` as a rollback that an override names. Up again leads a promotion only.

    Parameters
    ----------
    seq
        The rollback's record.
    until
        When the override ends of itself, later than now.

    Raises
    ------
    TakingBackError
        If that record is no rollback of ``candidate``, its version stands nowhere any more, or ``until`` is past.
    LedgerError
        If the ledger does not verify, or refuses the record.
    """
    if until <= setting.now:
        raise TakingBackError(f"{candidate}: it ends at {until}, which is not after now, {setting.now}")
    records = ledger.records()
    rollbacks = {each.seq: each for each in records if each.candidate == candidate and each.type is RecordType.ROLLBACK}
    if seq not in rollbacks:
        known = ", ".join(map(str, rollbacks)) or "none"
        raise TakingBackError(f"record {seq} is no rollback of {candidate}; its rollbacks are: {known}")
    version = rollbacks[seq].candidate_sha256
    held = [
        each for each in standing(records).deciding() if (each.candidate, each.candidate_sha256) == (candidate, version)
    ]
    if not held:
        raise TakingBackError(f"{candidate}: version {version[:12]} was replaced and stands nowhere")
    return _append(
        ledger, held[0], RecordType.OVERRIDE, held[0].to_stage, by, (reason,), setting,
        supersedes=rollbacks[seq].decision_id, expires_at=until,
    )  # fmt: skip


def roll_back(ledger: Ledger, watch: Watch, triggers: Sequence[Trigger], setting: Setting) -> Record:
    """Carry out the strictest of a watch's triggers, and return the signed record; once recorded it is found again.

    Parameters
    ----------
    watch
        Whose triggers they are: it names the version.
    triggers
        What fired, at least one; the reasons of all of them go into the record.

    Raises
    ------
    TakingBackError
        If a trigger is of another watch or later than now, or the version is not any more where it was watched.
    LedgerError
        If the ledger does not verify, or refuses the record.
    """
    if not triggers:
        raise TakingBackError(f"{watch.candidate}: nothing fired")
    if strangers := [each.reason for each in triggers if each.rules_sha256 != watch.rules_sha256]:
        raise TakingBackError(f"{watch.candidate}: these triggers are of another watch: {'; '.join(strangers)}")
    strictest = max(triggers, key=lambda each: _STRICTNESS.index(each.to_stage))
    trigger = _recorded(strictest)
    if trigger.observed_at > setting.now:
        late = f"a trigger of {strictest.at} is after {setting.now}: was the clock set back?"
        raise TakingBackError(f"{watch.candidate}: {late}")
    decision_id = f"rollback:{watch.candidate}:{strictest.layer}:{strictest.at}:{watch.rules_sha256[:12]}"
    records = ledger.records()
    if done := [each for each in records if each.decision_id == decision_id]:
        return done[0]
    held = [
        each
        for each in standing(records).deciding()
        if (each.candidate, each.candidate_sha256) == (watch.candidate, watch.candidate_sha256)
    ]
    if not held or held[0].to_stage is not watch.stage:
        stage = held[0].to_stage if held else Stage.RESEARCH
        raise TakingBackError(f"{watch.candidate} is at {stage}, it was watched at {watch.stage}: watch it anew")
    reasons = tuple(f"{each.layer}: {each.reason}" for each in triggers)
    return _append(
        ledger, held[0], RecordType.ROLLBACK, strictest.to_stage, RULE, reasons, setting,
        decision_id=decision_id, trigger=trigger, gates=tuple(gate for each in triggers for gate in _gates(each)),
    )  # fmt: skip


def _append(
    ledger: Ledger,
    held: Record,
    kind: RecordType,
    to_stage: Stage,
    author: str,
    reasons: tuple[str, ...],
    setting: Setting,
    *,
    decision_id: str = "",
    supersedes: str = "",
    expires_at: datetime | None = None,
    trigger: of.Trigger | None = None,
    gates: tuple[Gate, ...] = (),
) -> Record:
    policy = canonical_json(setting.policy.model_dump(mode="json"))
    draft = Draft.model_validate(
        {
            "decision_id": decision_id or f"{kind}:{held.sha256[:16]}:{setting.now.isoformat()}",
            "recorded_at": setting.now,
            "author": author,
            "candidate": held.candidate,
            "candidate_sha256": held.candidate_sha256,
            "algo_id": held.algo_id,
            "strategy": held.strategy,
            "strategy_type": held.strategy_type,
            "from_stage": held.to_stage,
            "to_stage": to_stage,
            "policy": of.Policy(id=setting.policy.id, sha256=setting.policy.sha256),
            "code": setting.code,
            "parameters_sha256": held.parameters_sha256,
            "limits": limits_below(held, setting.allocation, to_stage),
            "supersedes": supersedes or held.decision_id,
            "expires_at": expires_at,
            "trigger": trigger,
            "dagster": of.Dagster(run_id=setting.run_id),
            "type": kind,
            "reasons": reasons,
            "inputs": (),
            "checks": (),
            "gates": gates,
        }
    )
    return ledger.append(draft, [policy])


def _recorded(trigger: Trigger) -> of.Trigger:
    return of.Trigger(
        rule=f"{trigger.layer}: {trigger.measure}",
        value=str(number_text(trigger.statistic)),
        threshold=str(number_text(trigger.threshold)),
        samples=trigger.samples,
        observed_at=_observed_at(trigger.at),
        began_at=_began_at(trigger.began),
    )


def _observed_at(at: str) -> datetime:
    """Return the moment of a reading; a day is known when it is over."""
    return day_bounds(at)[1] if len(at) == len("2026-03-04") else datetime.fromisoformat(at)


def _began_at(began: str) -> datetime | None:
    """Return when what fired began; a day from its first moment on."""
    if not began:
        return None
    return day_bounds(began)[0] if len(began) == len("2026-03-04") else datetime.fromisoformat(began)


def _gates(trigger: Trigger) -> tuple[Gate, Gate]:
    """Return what fired, and the evidence that is written beside it and decides nothing, as the record's evidence."""
    beyond = trigger.log_evidence > trigger.log_evidence_limit
    return (
        Gate(
            gate=trigger.layer, family="rollback", verdict=Verdict.FAIL, value=number_text(trigger.statistic),
            threshold=number_text(trigger.threshold), samples=trigger.samples, reason=trigger.reason,
        ),
        Gate(
            gate=f"{trigger.layer}_evidence", family="rollback", gating=False,
            verdict=Verdict.FAIL if beyond else Verdict.PASS, value=number_text(trigger.log_evidence),
            threshold=number_text(trigger.log_evidence_limit), samples=trigger.samples,
            reason="ln(1 + R) of the e-SR process of the edge; it acts on nothing",
        ),
    )  # fmt: skip
