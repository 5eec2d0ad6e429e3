"""What the UI shows of a gate report: the verdict, the gates sorted by margin, and pictures of what they rest on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from research_to_prod.defs.gates.judgement import Judgement
from research_to_prod.defs.publishing import image, markdown_table
from research_to_prod.defs.research.pictures import backtest_shown, search_shown
from research_to_prod.gates.evaluation import GateReport
from research_to_prod.gates.gate import Gate
from research_to_prod.research.bars import Floats


def report_shown(report: GateReport) -> dict[str, Any]:
    """Return the verdict of a gate report, and its gates with a picture of their margins."""
    from research_to_prod.reports.figures import gates_margin

    gating = by_margin(gate for gate in report.gates if gate.gating)
    reported = by_margin(gate for gate in report.gates if not gate.gating)
    bars = [(gate.gate, gate.relative_margin, gate.verdict) for gate in gating]
    return {
        "verdict": report.verdict.value,
        "policy": report.policy_id,
        "policy_sha256": report.policy_sha256,
        "gates": markdown_table(_table(gating)),
        "margins": image(gates_margin(*zip(*bars, strict=True)), "margin to each gate's threshold, in units of it"),
        "reported_beside_the_gates": markdown_table(_table(reported)),
    }


def values_shown(report: GateReport) -> dict[str, float]:
    """Return what each gate measured under its name, so that Dagster plots it over time."""
    return {gate.gate: gate.value for gate in report.gates if gate.value is not None}


def evidence_shown(judged: Judgement) -> dict[str, Any]:
    """Return the metadata of what the gates judged: the backtest, the search, and how its winners did out of sample.

    Drawn from the stored rows, so that a picture shows what was judged and nothing newer.
    """
    from research_to_prod.reports.validation_figures import out_of_sample

    study, studies = judged.study, judged.evidence.studies

    def series(name: str, metric: str) -> Floats:
        return np.array([*studies.items(name, metric).values()], dtype=np.float64)

    logits = series("overfitting", "logit"), series("overfitting", "splits")
    sharpes = series("cpcv", "is_sharpe"), series("cpcv", "oos_sharpe")
    pbo = studies.value("overfitting", "pbo")
    return {
        **backtest_shown(study.candidate, judged.backtest, judged.evidence.n_trials),
        **({} if pbo is None else {"pbo": pbo}),
        "out_of_sample": image(out_of_sample(*logits, *sharpes), "overfitting, and in against out of sample"),
        **search_shown(study.candidate, study.candidate.own_parameters(study.strategy), judged.trials),
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
