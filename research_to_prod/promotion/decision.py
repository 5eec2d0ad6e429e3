"""The decision itself: a pure function of the case, the gate report and what the proof refused.

Belongs here: promote or reject, and every reason. Doesn't: measuring (gates), proving (evidence), writing (ledger).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from research_to_prod.promotion.record import Case, Draft, Evidence, Gate, Record, RecordType, number_text
from research_to_prod.promotion.stages import TRADING, stage_of
from research_to_prod.promotion.verifier import promotion_obstacles
from research_to_prod.values import Stage, Verdict, sha256_hex

if TYPE_CHECKING:
    # Evaluation imports scipy; a decision only reads its report.
    from research_to_prod.gates.evaluation import Gate as GateResult
    from research_to_prod.gates.evaluation import GateReport


def decide(case: Case, report: GateReport | None, refusals: Sequence[str]) -> Draft:
    """Promote when the report passes, the proof refused nothing and the case is whole; else reject with all reasons.

    Parameters
    ----------
    case
        What is known about the candidate and the transition asked for.
    report
        The gates' answer; None when it is missing or unreadable, which rejects.
    refusals
        What the event-log proof refused; empty when it holds.
    """
    gates: tuple[Gate, ...] = ()
    report_sha256: str | None = None
    reasons = list(refusals)
    if report is not None:
        gates = tuple(_gate(result) for result in report.gates)
        report_sha256 = sha256_hex(report.canonical_bytes())
        reasons += _strangers(case, report)
    evidence = Evidence(inputs=case.inputs, checks=case.checks, gates=gates)
    known = json.loads(case.model_dump_json()) | {"gate_report_sha256": report_sha256}
    # As the verifier will read it from its blob.
    reasons += promotion_obstacles(known, json.loads(evidence.canonical_bytes()))
    if report is not None and report.verdict is not Verdict.PASS:
        reasons.append(f"the gate report's verdict is {report.verdict}")
    kind = RecordType.REJECT if reasons else RecordType.PROMOTE
    return Draft(
        **dict(case), type=kind, gates=gates, reasons=tuple(dict.fromkeys(reasons)), gate_report_sha256=report_sha256
    )


def already_promoted(
    records: Sequence[Record], candidate: str, candidate_sha256: str, to_stage: Stage, gate_report_sha256: str
) -> Record | None:
    """Return the record that promoted a candidate on this very evidence and still holds; None when there is none.

    A candidate that was demoted or replaced since is not promoted, and its old evidence does not count again: the
    ledger refuses a second promotion on it.
    """
    found: Record | None = None
    for record in records:
        if (record.candidate, record.candidate_sha256) != (candidate, candidate_sha256):
            continue
        if record.type in {RecordType.DEMOTE, RecordType.ROLLBACK}:
            found = None
        elif (
            record.type is RecordType.PROMOTE
            and record.to_stage is to_stage
            and record.gate_report_sha256 == gate_report_sha256
        ):
            found = record
    if found is None or stage_of(candidate, candidate_sha256, records) not in TRADING:
        return None
    return found


def _strangers(case: Case, report: GateReport) -> list[str]:
    """Return in what the report is not about this case: it may be of another candidate, or of a policy since edited."""
    pairs = {
        "candidate": (report.candidate, case.candidate),
        "policy": (report.policy_id, case.policy.id),
        "policy hash": (report.policy_sha256, case.policy.sha256),
    }
    return [f"the gate report is of {what} {of}, not {ours}" for what, (of, ours) in pairs.items() if of != ours]


def _gate(result: GateResult) -> Gate:
    return Gate(
        gate=result.gate,
        family=result.family,
        gating=result.gating,
        verdict=result.verdict,
        value=_measured(result.value),
        threshold=_measured(result.threshold),
        margin=_measured(result.margin),
        samples=result.samples,
        reason=f"{result.reason}; remedy: {result.remedy}" if result.remedy else result.reason,
    )


def _measured(value: float | None) -> str | None:
    # A gate that could not measure says NaN in its table; in the record that is an absent number.
    return number_text(value) if value is not None and math.isfinite(value) else None
