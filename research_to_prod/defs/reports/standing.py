"""Where every candidate stands today: the verdicts of its gates and its stage in the ledger."""

from __future__ import annotations

from collections import Counter

from research_to_prod.defs.gates.judgement import verified_ledger
from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.lake import Lake
from research_to_prod.promotion.stages import stage_of
from research_to_prod.reports.desk_report import CandidateLine, Exclusion
from research_to_prod.research.candidate_table import candidate_from_table
from research_to_prod.settings import Settings
from research_to_prod.values import Verdict


def candidate_lines(lake: Lake, settings: Settings) -> list[CandidateLine]:
    """Return a line for each candidate that has a gate report, sorted by name."""
    if "gate_report" not in lake.tables():
        return []
    ledger = verified_ledger(settings)
    records = () if ledger is None else ledger.records()
    lines = []
    for version in lake.read("gate_report").versions:
        name = version.partition or ""
        candidate = candidate_from_table(lake.read("candidate", name).rows)
        gates = [row for row in lake.read("gate_report", name).rows.to_pylist() if row["gating"]]
        passed = [row for row in gates if row["verdict"] == Verdict.PASS]
        refused = [row for row in gates if row["verdict"] != Verdict.PASS]
        failed = any(row["verdict"] == Verdict.FAIL for row in refused)
        verdict = Verdict.FAIL if failed else Verdict.INCONCLUSIVE if refused or not gates else Verdict.PASS
        lines.append(
            CandidateLine(
                candidate=name,
                strategy=candidate.strategy,
                verdict=verdict,
                stage=stage_of(name, candidate.sha256, records).value,
                gates_passed=len(passed),
                gates=len(gates),
                reasons=tuple(row["reason"] for row in refused),
            )
        )
    return lines


def delivery_exclusions(lake: Lake, day: str) -> list[Exclusion]:
    """Return how many delivered rows of that day were refused, by kind and reason."""
    found = []
    for kind in INBOX_KINDS:
        key = f"{kind}-{day}"
        if lake.has("inbox_quarantine", key):
            reasons = Counter(lake.read("inbox_quarantine", key).rows["reason"].to_pylist())
            delivered = lake.version(kind, day).rows + reasons.total()
            found += [Exclusion(what=kind, reason=each, n=n, of=delivered) for each, n in sorted(reasons.items())]
    return found
