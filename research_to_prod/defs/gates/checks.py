"""The blocking checks that decide whether a gate report promotes: one for each family of gates."""

from collections.abc import Iterator

import dagster as dg

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.publishing import markdown_table
from research_to_prod.gates.families import Family
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

ABOUT = {
    Family.DATA_QUALITY: "The history is complete, and nothing wrong in it was left open.",
    Family.STATISTICS: "The edge can be told from the best of as many worthless trials.",
    Family.ROBUSTNESS: "The edge survives other periods, parameters, costs, delays and sizes.",
    Family.IMPLEMENTATION: "The desk trades what the model decides, at the cost that the model charges.",
    Family.LATENCY: "Measured latency fits the strategy's type and the delay that its edge bears.",
    Family.RISK: "What it may lose, alone and within the book, fits the capital allocation.",
    Family.READINESS: "Limits are set, a runbook exists, and the kill switch was seen to work.",
}


@dg.multi_asset_check(
    name="gates_by_family",
    specs=[
        dg.AssetCheckSpec(
            f"{family}_gates_pass",
            asset="gate_report",
            partitions_def=CANDIDATES,
            blocking=True,
            description=f"{about} Every gating gate of the family says PASS under the policy in force; FAIL and "
            "INCONCLUSIVE both refuse. A family that this transition doesn't ask for has no gates. If it fails, each "
            "gate says why and what would change it.",
        )
        for family, about in ABOUT.items()
    ],
    can_subset=True,
)
def gates_by_family(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """Read the report back; require PASS of each gating gate of each family, all of them under today's policy."""
    import pyarrow.compute as pc

    from research_to_prod.defs.gates.judgement import policy_named
    from research_to_prod.gates.policy import TRANSITIONS
    from research_to_prod.values import Verdict

    rows = lake.read("gate_report", context.partition_key).rows
    (policy_id,) = set(rows["policy_id"].to_pylist())
    policy = policy_named(settings, policy_id)
    asked = TRANSITIONS[policy.from_stage, policy.to_stage]
    same_policy = set(rows["policy_sha256"].to_pylist()) == {policy.sha256}
    for family in Family:
        own = rows.filter(pc.and_(pc.equal(rows["family"], family.value), rows["gating"]))
        passes = pc.equal(own["verdict"], Verdict.PASS.value)
        refusals_first = own.append_column("passes", passes).sort_by([("passes", "ascending"), ("gate", "ascending")])
        refused = [f"{row['gate']}: {row['reason']}" for row in refusals_first.to_pylist() if not row["passes"]]
        if not same_policy:
            refused.insert(0, "judged under another version of the policy: materialize gate_report again")
        name = f"{family}_gates_pass"
        if dg.AssetCheckKey(dg.AssetKey("gate_report"), name) in context.selected_asset_check_keys:
            yield dg.AssetCheckResult(
                asset_key="gate_report",
                check_name=name,
                description="; ".join(refused) or None,
                passed=same_policy and pc.all(passes, min_count=0).as_py() and (own.num_rows > 0) == (family in asked),
                metadata={
                    "policy_sha256": policy.sha256,
                    "gates": own.num_rows if family in asked else f"not asked for by {policy.id}",
                    "verdicts": markdown_table(refusals_first.select(["gate", "verdict", "reason", "remedy"])),
                },
            )
