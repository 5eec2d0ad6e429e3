"""Evaluation: evidence held against a policy, gate by gate. A pure function: the same bytes in, the same bytes out.

Belongs here: the report and which family answers for which transition. Doesn't: the gates (a module a family, such as
``risk``), formulas (``statistics``), thresholds (``policy``), gathering (``evidence``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pyarrow as pa

from research_to_prod.gates.contracts import GATE_REPORT
from research_to_prod.gates.data_quality import data_quality_gates
from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.gate import Gate
from research_to_prod.gates.implementation import implementation_gates
from research_to_prod.gates.latency import latency_gates
from research_to_prod.gates.policy import Policy
from research_to_prod.gates.readiness import readiness_gates
from research_to_prod.gates.risk import risk_gates
from research_to_prod.gates.robustness import robustness_gates
from research_to_prod.gates.significance import statistics_gates
from research_to_prod.values import Verdict, canonical_json

__all__ = ["Gate", "GateReport", "evaluate"]


@dataclass(frozen=True)
class GateReport:
    """All gates of one policy on one candidate, sorted by family and name."""

    candidate: str
    policy_id: str
    policy_sha256: str
    gates: tuple[Gate, ...]

    @property
    def verdict(self) -> Verdict:
        """PASS only if every gating gate is; FAIL if any is; otherwise INCONCLUSIVE."""
        verdicts = {gate.verdict for gate in self.gates if gate.gating}
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE

    def to_table(self) -> pa.Table:
        """Return the rows of ``contracts.GATE_REPORT``."""
        shared = {"candidate": self.candidate, "policy_id": self.policy_id, "policy_sha256": self.policy_sha256}
        rows = [{**shared, **asdict(gate)} for gate in self.gates]
        return GATE_REPORT.conform(pa.Table.from_pylist(rows, schema=GATE_REPORT.arrow), self.candidate)

    def canonical_bytes(self) -> bytes:
        """Return the report as canonical JSON, numbers as shortest decimal text: what is hashed and signed."""
        gates = [
            {name: repr(value) if isinstance(value, float) else value for name, value in asdict(gate).items()}
            for gate in self.gates
        ]
        return canonical_json(
            {
                "candidate": self.candidate,
                "policy_id": self.policy_id,
                "policy_sha256": self.policy_sha256,
                "verdict": self.verdict,
                "gates": gates,
            }
        )


def evaluate(policy: Policy, evidence: Evidence) -> GateReport:
    """Hold ``evidence`` against ``policy``, with the overrides for its strategy type.

    What is missing, not a number, or too little is INCONCLUSIVE, never a default.
    """
    rules = policy.for_type(evidence.strategy_type)
    gates = [
        *(data_quality_gates(rules.data_quality, evidence) if rules.data_quality else ()),
        *(statistics_gates(rules.statistics, evidence) if rules.statistics else ()),
        *(robustness_gates(rules.robustness, evidence) if rules.robustness else ()),
        *(implementation_gates(rules.implementation, evidence) if rules.implementation else ()),
        *(latency_gates(rules.latency, evidence) if rules.latency else ()),
        *risk_gates(rules.risk, policy.allocation, evidence),
        *readiness_gates(rules.readiness, policy.allocation, evidence, policy.to_stage),
    ]
    ordered = tuple(sorted(gates, key=lambda gate: (gate.family, gate.gate)))
    return GateReport(evidence.candidate, policy.id, policy.sha256, ordered)
