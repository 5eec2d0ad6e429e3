"""Past decisions judged again: on the lake, the ledgers and the trials as they were, under their own policy or any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from research_to_prod.defs.gates.judgement import Judgement, Past, judge
from research_to_prod.defs.research.assets import TRIAL_LEDGER
from research_to_prod.defs.research.inputs import require_unchanged
from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.policy import Policy
from research_to_prod.lake import Lake, LakeError, PinnedLake, Version
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import CodeIdentity, Evidence, Record, RecordType
from research_to_prod.promotion.replay import Replay, code_notes, compared, impossible
from research_to_prod.research.trial_ledger import TrialLedger, TrialLedgerError
from research_to_prod.settings import Settings


@dataclass(frozen=True)
class Rejudged:
    """What two policies say of one recorded decision, on the evidence of its time; or why that can't be had again."""

    record: Record
    before: GateReport | None
    after: GateReport | None
    problem: str = ""


def judged_under(lake: Lake, settings: Settings, ledger: Ledger, before: Policy, after: Policy) -> Iterator[Rejudged]:
    """Judge every recorded decision on the move of ``before`` again, under both policies."""
    trials = TrialLedger(settings.ledger / TRIAL_LEDGER)
    records = ledger.records()
    for record in records:
        if record.type not in (RecordType.PROMOTE, RecordType.REJECT) or record.policy.id != before.id:
            continue
        try:
            evidence = judged_again(record, records, lake, ledger, trials, before).evidence
        except (LakeError, TrialLedgerError, ValueError) as error:
            yield Rejudged(record, None, None, str(error))
            continue
        yield Rejudged(record, evaluate(before, evidence), evaluate(after, evidence))


def replay(record: Record, lake: Lake, settings: Settings, ledger: Ledger, code: CodeIdentity) -> Replay:
    """Judge a recorded decision again under the policy of its time, and hold the report against the recorded one.

    Everything that the decision read is proven first, so that whatever is missing or altered is named. The strategy is
    the one whose source the candidate recorded, whatever its file says now.

    Parameters
    ----------
    code
        The code that judges now.
    """
    notes = code_notes(record.code, code)
    if record.gate_report_sha256 is None:
        return impossible(record, ["it was decided without a gate report, so there is nothing to judge again"], notes)
    try:
        recorded = ledger.blobs.read(record.gate_report_sha256)
        policy = Policy.model_validate_json(ledger.blobs.read(record.policy.sha256))
        if unproven := _unproven(lake, versions_of(ledger.evidence(record))):
            return impossible(record, unproven, notes)
        trials = TrialLedger(settings.ledger / TRIAL_LEDGER)
        judged = judged_again(record, ledger.records(), lake, ledger, trials, policy)
    except (LakeError, TrialLedgerError, ValueError) as error:
        return impossible(record, [str(error)], notes)
    try:
        require_unchanged(settings, judged.study.candidate)
    except ValueError:
        notes.append(
            f"the file of strategy {judged.study.candidate.strategy} is another by now; its recorded source ran"
        )
    return compared(record, recorded, judged.report.canonical_bytes(), notes)


def judged_again(
    record: Record, records: Sequence[Record], lake: Lake, ledger: Ledger, trials: TrialLedger, policy: Policy
) -> Judgement:
    """Judge a decision on what it read, the live book that ``records`` before it make, and the trials up to its head.

    Raises
    ------
    LakeError, TrialLedgerError, ValueError
        If something of that is missing, or not what it was.
    """
    head = record.trial_ledger_head
    if head is None:
        raise ValueError("the decision does not say which trials it counted")
    past = Past(tuple(each for each in records if each.seq < record.seq), tuple(trials.records(head)), head)
    return judge(PinnedLake(lake, versions_of(ledger.evidence(record))), record.candidate, policy, past)


def _unproven(lake: Lake, versions: Iterable[Version]) -> list[str]:
    """Return why each of ``versions`` that the lake does not hold any more, whole and unaltered, can't be read."""
    problems = []
    for version in versions:
        try:
            lake.read_version(version)
        except LakeError as error:
            problems.append(str(error))
    return problems


def versions_of(evidence: Evidence) -> list[Version]:
    """Return the versions of everything that a decision rested on."""
    return [
        Version(each.asset, each.partition, each.lake_version, each.content_sha256, each.rows)
        for each in evidence.inputs
    ]
