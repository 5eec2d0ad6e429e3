"""What stands ready for a candidate, and the gate report: every gate's answer on it, pass or not."""

from collections.abc import Callable
from datetime import datetime

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
    deps=[candidate, dg.AssetDep("kill_drill", partition_mapping=dg.AllPartitionMapping())],
    partitions_def=CANDIDATES,
    group_name="gates",
    owners=["team:operations"],
    kinds={"markdown"},
    code_version="1",
    metadata=described("readiness"),
)
def readiness(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """What stands ready for the candidate at this moment: the newest kill drill, and each runbook of its strategy.

    - **A row** is one thing that somebody looked at: the drill, or a runbook with its digest.
    - **It is for** the readiness gates: files and clocks can't be read again, so what was seen is a table, and a
      decision cites its version.
    - **It breaks** when the candidate is not made, or a runbook can't be read. A drill that failed in one step is none
      that worked.

    Runbooks are in ``runbooks/strategies`` of the desk's folder.
    """
    from research_to_prod.defs.research.inputs import read_candidate
    from research_to_prod.gates.readiness_evidence import last_drill, readiness_table, runbooks_for

    name = context.partition_key
    found, _, recorded = read_candidate(lake, name)
    newest = lake.partitions("kill_drill")[-1:]
    drilled = [lake.read("kill_drill", day) for day in newest]
    drill = last_drill(drilled[0].rows if drilled else None)
    runbooks = runbooks_for(found, settings.desk / "runbooks" / "strategies")
    return publish(
        lake,
        "readiness",
        name,
        readiness_table(name, runbooks, drill, clock()),
        read=(recorded, *drilled),
        runbooks=[each.name for each in runbooks] or "none",
        kill_drill="never" if drill is None else f"{drill.drilled_at:%Y-%m-%d %H:%M}Z",
        kill_drill_worked=drill is not None and drill.worked,
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
        readiness,
        *(
            dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
            for name in ("decisions", "orders", "order_events", "quotes", "slippage")
        ),
    ],
    partitions_def=CANDIDATES,
    group_name="gates",
    owners=["team:risk"],
    kinds={"python"},
    code_version="3",
    metadata=described("gate_report"),
)
def gate_report(
    context: dg.AssetExecutionContext, config: Move, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Every gate of the policy into the stage asked for, applied to the candidate.

    - **A row** is one gate: value, threshold, margin, samples, verdict (pass, fail, inconclusive), reason and remedy.
    - **It is for** whoever wants the candidate promoted: what refuses comes first, with what would change it. Its
      checks, one a family, are what promotion asks for.
    - **It breaks** when evidence that every gate needs is not made. It does not break on a bad candidate: a refusal is
      a result, and materializes.
    """
    from research_to_prod.defs.gates.judgement import judge, now_known, policy_into
    from research_to_prod.defs.gates.shown import evidence_shown, report_shown, values_shown
    from research_to_prod.defs.research.inputs import require_unchanged
    from research_to_prod.values import Stage

    policy = policy_into(settings, Stage(config.to_stage))
    judged = judge(lake, context.partition_key, policy, now_known(settings))
    require_unchanged(settings, judged.study.candidate)
    return publish(
        lake,
        "gate_report",
        context.partition_key,
        judged.report.to_table(),
        read=judged.read,
        **report_shown(judged.report),
        **evidence_shown(judged),
        **values_shown(judged.report),
    )
