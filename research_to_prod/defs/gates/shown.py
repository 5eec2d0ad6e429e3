"""What the UI shows of a gate report: the verdict, the gates sorted by margin with a picture, and the numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.publishing import image, markdown_table
from research_to_prod.gates.evaluation import GateReport
from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.gate import Gate


def report_shown(report: GateReport, evidence: Evidence) -> dict[str, Any]:
    """Return the metadata of a gate report.

    Numbers go under their gates' names, so that Dagster plots each of them over time.
    """
    from research_to_prod.reports.figures import gates_margin

    gating = by_margin(gate for gate in report.gates if gate.gating)
    reported = by_margin(gate for gate in report.gates if not gate.gating)
    bars = [(gate.gate, gate.relative_margin, gate.verdict) for gate in gating]
    numbers = {gate.gate: gate.value for gate in report.gates if gate.value is not None}
    return {
        "verdict": report.verdict.value,
        "policy": report.policy_id,
        "gates": markdown_table(_table(gating)),
        "margins": image(gates_margin(*zip(*bars, strict=True)), "margin to each gate's threshold, in units of it"),
        "reported_beside_the_gates": markdown_table(_table(reported)),
        # The search, overfitting, in against out of sample and stress are drawn once, where they are computed.
        "pictures_of_the_evidence": dg.MetadataValue.asset(dg.AssetKey("validation")),
        "n_trials": evidence.n_trials if evidence.n_trials is not None else "unknown",
        "policy_sha256": report.policy_sha256,
        **numbers,
    }


def by_margin(gates: Iterable[Gate]) -> list[Gate]:
    """Return the gates that refuse first, those without a margin before the smallest margin, in units of thresholds."""
    return sorted(gates, key=lambda gate: (gate.relative_margin is not None, gate.relative_margin or 0.0, gate.gate))


def _table(gates: Iterable[Gate]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "gate": gate.gate,
                "family": gate.family.value,
                "verdict": gate.verdict.value,
                "value": gate.value,
                "required": f"{gate.comparison} {gate.threshold:.6g}" if gate.threshold is not None else "",
                "margin, of the threshold": _share(gate.relative_margin),
                "samples": gate.samples,
                "reason": gate.reason,
                "remedy": gate.remedy,
            }
            for gate in gates
        ]
    )


def _share(margin: float | None) -> str:
    """Return a margin in per cent; beyond ten times the threshold in times, which an L* of hours has 16,000."""
    if margin is None:
        return ""
    return f"{margin:+.1%}" if abs(margin) < 10 else f"{margin:+,.0f} times"
