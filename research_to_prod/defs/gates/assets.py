"""The gate report: every gate's answer on a candidate, pass or not."""

import dagster as dg
from pydantic import Field

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.publishing import publish
from research_to_prod.defs.research.assets import backtest, candidate, trials, validation
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings


class Move(dg.Config):
    """Which way is asked for."""

    to_stage: str = Field(
        default="paper",
        description="The stage that it is to enter: paper, canary or live. The policy into that stage judges, and the "
        "ledger refuses a step that leaves one out.",
    )


@dg.asset(
    deps=[
        candidate,
        backtest,
        trials,
        validation,
        dg.AssetDep("candles", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("funding_rates", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("market_quality", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("market_findings", partition_mapping=dg.AllPartitionMapping()),
        # Read on the way to money only.
        dg.AssetDep("decisions", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("orders", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("slippage", partition_mapping=dg.AllPartitionMapping()),
    ],
    partitions_def=CANDIDATES,
    group_name="gates",
    owners=["team:risk"],
    kinds={"python"},
    code_version="2",
    metadata=described("gate_report"),
)
def gate_report(
    context: dg.AssetExecutionContext, config: Move, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Every gate of the policy into the stage asked for, applied to the candidate.

    One row a gate: value, threshold, margin, samples, verdict (pass, fail, inconclusive), reason and remedy. It always
    materializes, also when it refuses: refusals are results. Its checks, one a family, say whether it promotes.
    """
    from research_to_prod.defs.gates.judgement import judge, now_known, policy_into
    from research_to_prod.defs.gates.shown import report_shown
    from research_to_prod.defs.research.inputs import require_unchanged
    from research_to_prod.values import Stage

    policy = policy_into(settings, Stage(config.to_stage))
    judged = judge(lake, context.partition_key, policy, now_known(settings))
    require_unchanged(settings, judged.candidate)
    return publish(
        lake,
        "gate_report",
        context.partition_key,
        judged.report.to_table(),
        read=judged.read,
        **report_shown(judged.report, judged.evidence),
    )
