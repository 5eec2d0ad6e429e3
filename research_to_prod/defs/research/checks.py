"""Blocking checks of trials, backtests and validation studies."""

import dagster as dg

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings


@dg.asset_check(
    asset="trials",
    partitions_def=CANDIDATES,
    blocking=True,
    description=(
        "Every trial of the table stands with its returns in the append-only trial ledger, which is intact. If it "
        "fails, the number of trials is not known, and with it no deflated Sharpe ratio: materialize trials again, or "
        "bring the ledger back from a copy."
    ),
)
def stand_in_the_trial_ledger(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Look each trial up."""
    from research_to_prod.defs.research.assets import TRIAL_LEDGER
    from research_to_prod.research.trial_ledger import TrialLedger
    from research_to_prod.research.trials import unrecorded_trials

    tried = lake.read("trials", context.partition_key).rows
    missing = unrecorded_trials(tried, TrialLedger(settings.ledger / TRIAL_LEDGER))
    return dg.AssetCheckResult(
        passed=tried.num_rows > 0 and not missing, metadata={"trials": tried.num_rows, "not_in_ledger": len(missing)}
    )


@dg.asset_check(
    asset="backtest",
    partitions_def=CANDIDATES,
    blocking=True,
    description=(
        "Equity at the end = capital + price P&L - fees - spread - impact + funding, in every scenario. If it fails, "
        "no number of the backtest is to be believed: a defect of the engine."
    ),
)
def accounts_add_up(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Add up each scenario from its rows."""
    from research_to_prod.defs.research.inputs import read_candidate
    from research_to_prod.research.trials import accounting_residuals

    candidate, _, _ = read_candidate(lake, context.partition_key)
    residuals = accounting_residuals(lake.read("backtest", candidate.name).rows, float(candidate.capital))
    return dg.AssetCheckResult(
        passed=bool(residuals) and max(residuals.values()) <= 1e-9,
        metadata={f"relative_residual_{name}": value for name, value in residuals.items()},
    )


@dg.asset_check(
    asset="backtest",
    partitions_def=CANDIDATES,
    blocking=True,
    description=(
        "Positions before a moment do not change when everything after it does. If it fails, the strategy looks ahead: "
        "mend it, and count nothing that was made with it."
    ),
)
def sees_no_future(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Perturb the future of the candidate's own bars and compare the past's positions."""
    from research_to_prod.defs.research.inputs import read_study
    from research_to_prod.research.look_ahead import look_ahead_bars

    study = read_study(lake, settings, context.partition_key)
    changed = look_ahead_bars(study.strategy, study.candidate.own_parameters(study.strategy), study.bars)
    return dg.AssetCheckResult(passed=not changed, metadata={"bars_that_saw_the_future": len(changed)})


@dg.asset_check(
    asset="backtest",
    partitions_def=CANDIDATES,
    blocking=True,
    description=(
        "Positions of the second half do not change when history starts later by whole warm-ups. If it fails, declare "
        "a longer warm-up, or a longer window where the history is too short to tell."
    ),
)
def does_not_depend_on_warm_up(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Cut the start of the candidate's own bars and compare the late positions; too short a history passes nothing."""
    from research_to_prod.defs.research.inputs import read_study
    from research_to_prod.research.recursion import warm_up_dependence

    study = read_study(lake, settings, context.partition_key)
    seen = warm_up_dependence(study.strategy, study.candidate.own_parameters(study.strategy), study.bars)
    return dg.AssetCheckResult(
        passed=seen.sound,
        metadata={
            "histories_compared": len(seen.starts),
            "late_bars_that_depend_on_the_start": len(seen.late_bars),
            "bars_until_the_start_is_forgotten": seen.forgets_after,
        },
    )


@dg.asset_check(
    asset="validation",
    partitions_def=CANDIDATES,
    blocking=True,
    description=(
        "Every study has each number of its summary, or the reason why it could not be computed. If it fails, the "
        "missing ones are named, and no gate may take silence for an answer."
    ),
)
def is_complete(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Look each number up."""
    from research_to_prod.research.validation.measures import missing_measures

    rows = lake.read("validation", context.partition_key).rows
    missing = missing_measures(rows)
    return dg.AssetCheckResult(
        passed=not missing,
        metadata={"missing": ", ".join(missing) or "none", "without_a_number": rows["value"].null_count},
    )
