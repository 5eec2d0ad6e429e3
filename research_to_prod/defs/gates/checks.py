"""The blocking check that decides whether a gate report promotes."""

import dagster as dg

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.publishing import markdown_table
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings


@dg.asset_check(
    asset="gate_report",
    partitions_def=CANDIDATES,
    blocking=True,
    description="Every gating gate says PASS under the policy in force; FAIL and INCONCLUSIVE both refuse.",
)
def all_gates_pass(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Read the report back and require PASS of each gating gate, all of them under today's policy."""
    import pyarrow.compute as pc

    from research_to_prod.defs.gates.judgement import policy_in_force
    from research_to_prod.values import Verdict

    rows = lake.read("gate_report", context.partition_key).rows
    gating = rows.filter(rows["gating"])
    refused = gating.filter(pc.not_equal(gating["verdict"], Verdict.PASS.value))
    policy = policy_in_force(settings)
    same_policy = set(rows["policy_sha256"].to_pylist()) == {policy.sha256}
    return dg.AssetCheckResult(
        passed=gating.num_rows > 0 and refused.num_rows == 0 and same_policy,
        metadata={
            "policy_sha256": policy.sha256,
            "gates": gating.num_rows,
            "refused": markdown_table(refused.select(["gate", "verdict", "reason", "remedy"])),
        },
    )
