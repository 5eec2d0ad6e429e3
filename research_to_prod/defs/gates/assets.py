"""The gate report: every gate's answer on a candidate, pass or not."""

import dagster as dg

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.publishing import image, markdown_table, publish
from research_to_prod.defs.research.assets import backtest, candidate, trials, validation
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings


@dg.asset(
    deps=[
        candidate,
        backtest,
        trials,
        validation,
        dg.AssetDep("market_quality", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("market_findings", partition_mapping=dg.AllPartitionMapping()),
    ],
    partitions_def=CANDIDATES,
    group_name="gates",
    owners=["team:risk"],
    kinds={"python"},
    code_version="1",
    metadata=described("gate_report"),
)
def gate_report(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Every gate of the policy, applied to the candidate.

    One row a gate: value, threshold, margin, samples, verdict (pass, fail, inconclusive), reason and remedy. It always
    materializes, also when it refuses: refusals are results. The check ``all_gates_pass`` says whether it promotes.
    """
    from research_to_prod.defs.gates.judgement import judge
    from research_to_prod.reports.figures import gates_margin

    judged = judge(lake, settings, context.partition_key)
    rows = judged.report.to_table()
    shown = [
        (
            gate.gate,
            None if gate.margin is None or not gate.threshold else gate.margin / abs(gate.threshold),
            gate.verdict,
        )
        for gate in judged.report.gates
        if gate.gating
    ]
    numbers = {gate.gate: gate.value for gate in judged.report.gates if gate.value is not None}
    return publish(
        lake,
        "gate_report",
        context.partition_key,
        rows,
        read=judged.read,
        verdict=judged.report.verdict.value,
        policy_sha256=judged.report.policy_sha256,
        n_trials=judged.evidence.n_trials if judged.evidence.n_trials is not None else "unknown",
        gates=markdown_table(
            rows.sort_by("margin").select(["gate", "verdict", "value", "threshold", "samples", "reason", "remedy"])
        ),
        margins=image(gates_margin(*zip(*shown, strict=True)), "margin to each gate's threshold, in units of it"),
        **numbers,
    )
