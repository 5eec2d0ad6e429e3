"""Past decisions judged again: on the lake, the ledgers and the trials as they were, under any policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from research_to_prod.defs.gates.judgement import Past, judge
from research_to_prod.defs.research.assets import TRIAL_LEDGER
from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.policy import Policy
from research_to_prod.lake import Lake, LakeError, PinnedLake, Version
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Evidence, Record, RecordType
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
    for number, record in enumerate(records):
        if record.type not in (RecordType.PROMOTE, RecordType.REJECT) or record.policy.id != before.id:
            continue
        try:
            past = Past(records[:number], tuple(trials.records(record.trial_ledger_head)))
            read = PinnedLake(lake, versions_of(ledger.evidence(record)))
            evidence = judge(read, record.candidate, before, past).evidence
        except (LakeError, TrialLedgerError, ValueError) as error:
            yield Rejudged(record, None, None, str(error))
            continue
        yield Rejudged(record, evaluate(before, evidence), evaluate(after, evidence))


def versions_of(evidence: Evidence) -> list[Version]:
    """Return the versions of everything that a decision rested on."""
    return [
        Version(each.asset, each.partition, each.lake_version, each.content_sha256, each.rows)
        for each in evidence.inputs
    ]
