"""Candidates become partitions when their files appear."""

import dagster as dg

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.research.assets import candidate
from research_to_prod.settings import Settings


def new_candidates(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """Return the candidate files that are not partitions yet."""
    known = set(instance.get_dynamic_partitions(CANDIDATES.name or ""))
    return sorted(file.stem for file in (settings.desk / "candidates").glob("*.yaml") if file.stem not in known)


@dg.sensor(
    target=[candidate],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds a partition for each new candidate file and materializes the candidate.",
)
def candidate_files(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run of each new candidate; a file that is wrong fails in its run, where everyone sees why."""
    names = new_candidates(context.instance, settings)
    if not names:
        return dg.SkipReason("no new candidate files")
    return dg.SensorResult(
        dynamic_partitions_requests=[CANDIDATES.build_add_request(names)],
        run_requests=[dg.RunRequest(run_key=name, partition_key=name) for name in names],
    )
