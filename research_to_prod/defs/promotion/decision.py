"""One decision, start to ledger: proof from the event log, the gates once more, the signed record.

It needs the event log, so it lives in the skin; what it calls is plain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.fence import refuse_finished
from research_to_prod.defs.gates.judgement import Judgement, Past, judge, now_known, policy_into, policy_named
from research_to_prod.defs.research.inputs import read_candidate, require_unchanged
from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.gates.policy import Policy as GatePolicy
from research_to_prod.gates.readiness_evidence import drill_out_of_date
from research_to_prod.lake import Lake, LakeError, Snapshot
from research_to_prod.promotion.approvals import rule_for
from research_to_prod.promotion.code_identity import code_identity
from research_to_prod.promotion.decision import already_promoted, decide
from research_to_prod.promotion.evidence import Proof, prove
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.limits import limits_of
from research_to_prod.promotion.policy_change import not_in_force
from research_to_prod.promotion.record import Case, Dagster, Evidence, Policy, Record, RecordType
from research_to_prod.promotion.stages import standing
from research_to_prod.promotion.waiting import ApprovalFolder, Pending, with_approvals
from research_to_prod.research.candidate import canonical_parameters
from research_to_prod.settings import Settings
from research_to_prod.values import Stage, day_bounds, sha256_hex

LATEST_RECORDS = timedelta(days=2)
"""How long the last day judged may be over: the nightly run reads each day after it, and one missed night is borne."""

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """The record of the decision and what it rests on; on repeated identical evidence the one that stands already.

    Parameters
    ----------
    only_people
        Whether nothing but people's approval is missing.
    """

    record: Record
    evidence: Evidence
    only_people: bool = False

    @property
    def promoted(self) -> bool:
        """Whether the record promotes."""
        return self.record.type is RecordType.PROMOTE

    @property
    def reasons(self) -> list[str]:
        """The record's reasons, the gates' own first: a check of theirs that failed says only that one of them did."""
        return sorted(self.record.reasons, key=lambda reason: not reason.startswith("gate "))

    @property
    def next_step(self) -> str:
        """What whoever wants the candidate promoted does about a refusal."""
        if self.only_people:
            return (
                "Everything is proven and only people are missing: have them run what the last reason says, bring "
                "their envelopes to data/approvals/, and materialize promotion alone. What is made anew is asked anew."
            )
        return (
            "Remove the reasons from upstream down (that of a gate says its remedy), then materialize gate_report with "
            "its checks, then promotion."
        )


def decide_promotion(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, name: str, *, run_id: str, now: datetime
) -> Outcome:
    """Decide on the move that the gate report of candidate ``name`` is about, and record the decision.

    Raises
    ------
    LakeError
        If there is no materialized candidate to decide on: nothing is recorded of what does not exist.
    LedgerError
        If no such move leads on from where the candidate stands.
    """
    candidate, strategy, _ = read_candidate(lake, name)
    require_unchanged(settings, candidate)
    reported, policy = _asked_for(lake, settings, name)
    keys = open_keys(settings.keys, now)
    ledger = Ledger(settings.ledger, keys)
    # Judged before and proven after: what moved in between no longer matches the proof.
    past = now_known(settings)
    judgement, refusals = _judge_again(lake, name, policy, past)
    proof = prove(instance, lake, name, policy.sha256, policy.to_stage)
    refusals += [*proof.refusals, *_disagreements(reported, judgement, proof)]
    if judgement is not None and policy.to_stage is not Stage.PAPER:
        refusals += records_that_end_early(judgement.read, now)
        refusals += _drill_out_of_date(judgement, now)

    verified = ledger.verify()
    records = verified.records
    refusals += filter(None, [not_in_force(verified.changes, policy)])
    report = None if judgement is None else judgement.report
    if report is not None and not refusals:
        already = already_promoted(
            records, name, candidate.sha256, policy.to_stage, sha256_hex(report.canonical_bytes())
        )
        if already is not None:
            return Outcome(already, ledger.evidence(already))
    state = standing(records)
    parameters = canonical_parameters(candidate.own_parameters(strategy)).encode()
    case = Case(
        decision_id=f"{run_id}:{name}",
        recorded_at=now,
        candidate=name,
        candidate_sha256=candidate.sha256,
        algo_id=f"{name}.{candidate.sha256[:12]}",
        strategy=candidate.strategy,
        strategy_type=candidate.type,
        from_stage=state.stage(name, candidate.sha256),
        to_stage=policy.to_stage,
        policy=Policy(id=policy.id, sha256=policy.sha256),
        code=code_identity(_PACKAGE, _PACKAGE.parent / "requirements.lock"),
        parameters_sha256=sha256_hex(parameters),
        inputs=proof.inputs,
        checks=proof.checks,
        n_trials=None if judgement is None else judgement.evidence.n_trials,
        trial_ledger_head=past.trial_head,
        author=candidate.owner,
        limits=limits_of(candidate, policy.allocation, policy.to_stage),
        dagster=Dagster(run_id=run_id),
        validator=None if policy.approval.validator == candidate.owner else policy.approval.validator,
        expires_at=_ends(policy.approval, judgement),
    )
    if policy.approval.validator == candidate.owner:
        refusals.append(f"{candidate.owner} is its author and the policy's validator: another must own one of them")
    rule = rule_for(policy.approval, fallen=state.fallen(name, candidate.sha256))
    folder = ApprovalFolder(settings.approvals)
    proven = decide(case, report, refusals)
    draft, envelopes = with_approvals(proven, folder, keys, rule, now)
    named = [policy.canonical_bytes(), parameters, *([] if report is None else [report.canonical_bytes()]), *envelopes]
    refuse_finished(instance, run_id)
    only_people = (proven.type, draft.type) == (RecordType.PROMOTE, RecordType.REJECT)
    return Outcome(ledger.append(draft, named), draft.evidence, only_people)


def _ends(rule: ApprovalRule, judgement: Judgement | None) -> datetime | None:
    """Return when the promotion ends of itself: from when somebody looked, because people approve a date once."""
    looked = None if judgement is None else judgement.evidence.readiness.as_of
    return None if looked is None or rule.holds_for is None else looked + rule.holds_for


def _asked_for(lake: Lake, settings: Settings, name: str) -> tuple[pa.Table | None, GatePolicy]:
    """Return the gate report and the policy that it names; without a report, the policy of the first move."""
    if not lake.has("gate_report", name):
        return None, policy_into(settings, Stage.PAPER)
    reported = lake.read("gate_report", name).rows
    return reported, policy_named(settings, reported["policy_id"][0].as_py())


def _judge_again(lake: Lake, name: str, policy: GatePolicy, past: Past) -> tuple[Judgement | None, list[str]]:
    try:
        return judge(lake, name, policy, past), []
    except LakeError as error:
        return None, [f"the gates cannot be evaluated: {error}"]


def _disagreements(reported: pa.Table | None, judgement: Judgement | None, proof: Proof) -> list[str]:
    """Return where our own evaluation and the materialized report part."""
    if judgement is None:
        return []
    if reported is None:
        return ["there is no gate report; materialize gate_report"]
    problems = []
    if not reported.equals(judgement.report.to_table()):
        problems.append(
            "gate_report does not say what its own evidence gives now (data, trials or policy changed since); "
            "materialize gate_report again"
        )
    proven = {(each.asset, each.partition, each.lake_version) for each in proof.inputs}
    read = {(each.table, each.partition, each.version) for snapshot in judgement.read for each in snapshot.versions}
    if unproven := sorted(f"{asset}[{partition}]" for asset, partition, _ in read - proven):
        problems.append(f"the gates rest on {', '.join(unproven)}, which the event log does not prove")
    return problems


def records_that_end_early(read: Iterable[Snapshot], now: datetime) -> list[str]:
    """Return why the desk's records are no evidence: days that are over were left out at the end, good ones or bad."""
    days = [each.partition for snapshot in read for each in snapshot.versions if each.table == "decisions"]
    newest = max((day for day in days if day is not None), default=None)
    if newest is None:
        return ["none of the desk's records count for it"]
    if now - day_bounds(newest)[1] > LATEST_RECORDS:
        return [f"the desk's records that were judged end on {newest}; materialize the days since, then gate_report"]
    return []


def _drill_out_of_date(judgement: Judgement, now: datetime) -> list[str]:
    """Return why the drill does not count any more: the gate saw its age when somebody looked, and time went on."""
    rules = judgement.policy.for_type(judgement.study.candidate.type).readiness
    return [] if rules is None else drill_out_of_date(judgement.evidence.readiness, now, rules.kill_drill_age.value)


def waiting_decisions(settings: Settings, now: datetime) -> list[Pending]:
    """Return the decisions that wait for people, from the requests that the verified ledger does not answer yet."""
    keys = open_keys(settings.keys, now)
    return ApprovalFolder(settings.approvals).pending(Ledger(settings.ledger, keys).verify().entries(), keys, now)


def latest_decisions(settings: Settings, now: datetime) -> tuple[Ledger, dict[str, Record]]:
    """Return the ledger, which has the evidence, and the last record of each candidate in it, verified."""
    ledger = Ledger(settings.ledger, open_keys(settings.keys, now))
    return ledger, {record.candidate: record for record in ledger.records()}
