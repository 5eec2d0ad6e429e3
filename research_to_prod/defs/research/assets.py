"""Candidates, their trials, backtests and validation studies."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

TRIAL_LEDGER = "trials.jsonl"


@dg.asset(
    partitions_def=CANDIDATES,
    group_name="research",
    owners=["team:research"],
    kinds={"yaml"},
    code_version="2",
    metadata=described("candidate"),
)
def candidate(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The reviewed candidate file, with its strategy's source.

    - **A row** is the candidate: owner, hypothesis, strategy, universe, parameters, search space, capital asked.
    - **It is for** meaning one thing by "the candidate", in gates, promotion and attribution; any change of file or
      strategy is another version.
    - **It breaks** when the file has an unknown or wrong field, all of which the error lists, or names no strategy
      there is.
    """
    from research_to_prod.research.candidate import load_candidate
    from research_to_prod.research.candidate_table import candidate_to_table
    from research_to_prod.research.strategy import load_strategy

    file = settings.desk / "candidates" / f"{context.partition_key}.yaml"
    strategies = settings.desk / "strategies"
    loaded = load_candidate(file, strategies)
    return publish(
        lake,
        "candidate",
        loaded.name,
        candidate_to_table(loaded, load_strategy(strategies, loaded.strategy)),
        owner=loaded.owner,
        hypothesis=dg.MetadataValue.md(loaded.hypothesis),
        sha256=loaded.sha256,
        capital=float(loaded.capital),
    )


@dg.asset(
    deps=[
        candidate,
        dg.AssetDep("candles", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("funding_rates", partition_mapping=dg.AllPartitionMapping()),
    ],
    partitions_def=CANDIDATES,
    group_name="research",
    owners=["team:research"],
    kinds={"numba"},
    code_version="1",
    metadata=described("trials"),
)
def trials(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """Every parameter combination of the candidate's search, tried on its whole window.

    - **A row** is one combination, with its daily return series and what it came to.
    - **It is for** counting: each is appended to the append-only trial ledger before this asset succeeds, and the
      deflated Sharpe ratio takes its number of trials from there, whoever tried them under whatever name.
    - **It breaks** when a month of the window is not made or the funding of a perpetual is not certified, and when the
      strategy's file is not any more what the candidate was materialized with.
    """
    from research_to_prod.defs.research.inputs import read_study
    from research_to_prod.defs.research.pictures import search_shown
    from research_to_prod.research.trial_ledger import TrialLedger
    from research_to_prod.research.trials import run_trials

    study = read_study(lake, settings, context.partition_key)
    ledger = TrialLedger(settings.ledger / TRIAL_LEDGER)
    rows = run_trials(
        study.candidate, study.strategy, study.bars, ledger, run_id=context.run.run_id, recorded_at=clock()
    )
    sharpes = [each for each in rows.column("sharpe_annual").to_pylist() if each is not None]
    return publish(
        lake,
        "trials",
        context.partition_key,
        rows,
        read=study.read,
        trials=rows.num_rows,
        trials_ever=ledger.count(study.candidate.strategy, study.candidate.universe),
        best_sharpe=max(sharpes, default=float("nan")),
        **search_shown(study.candidate, study.candidate.own_parameters(study.strategy), rows),
        preview=table_preview(rows.drop_columns(["returns"])),
    )


@dg.asset(
    deps=[
        candidate,
        dg.AssetDep("candles", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("funding_rates", partition_mapping=dg.AllPartitionMapping()),
    ],
    partitions_def=CANDIDATES,
    group_name="research",
    owners=["team:research"],
    kinds={"numba"},
    code_version="1",
    metadata=described("backtest"),
)
def backtest(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """The candidate's own parameters, bar by bar, at the assumed costs and at 1.5 and 2 times them.

    - **A row** is one bar of one cost scenario: equity, return, price P&L, each cost, funding, turnover, exposure.
    - **It is for** the gates, which judge it, and for live trading, which is held against it.
    - **It breaks** when data of the window is missing, and its checks refuse one that sees the future, depends on its
      warm-up, or does not add up.

    Positions decided at a bar's close trade at the next bar's open.
    """
    from research_to_prod.defs.research.inputs import read_study
    from research_to_prod.defs.research.pictures import backtest_shown
    from research_to_prod.research.trial_ledger import TrialLedger
    from research_to_prod.research.trials import backtest_candidate

    study = read_study(lake, settings, context.partition_key)
    ledger = TrialLedger(settings.ledger / TRIAL_LEDGER)
    rows = backtest_candidate(
        study.candidate, study.strategy, study.bars, ledger, run_id=context.run.run_id, recorded_at=clock()
    )
    return publish(
        lake,
        "backtest",
        context.partition_key,
        rows,
        read=study.read,
        **backtest_shown(study.candidate, rows, ledger.count(study.candidate.strategy, study.candidate.universe)),
    )


@dg.asset(
    deps=[
        candidate,
        trials,
        dg.AssetDep("candles", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("funding_rates", partition_mapping=dg.AllPartitionMapping()),
    ],
    partitions_def=CANDIDATES,
    group_name="research",
    owners=["team:research"],
    kinds={"numba"},
    code_version="2",
    metadata=described("validation"),
)
def validation(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """What the candidate's edge is worth out of sample, with other parameters, dearer, later and bigger.

    - **A row** is one number of one study: walk-forward, combinatorial purged cross-validation, overfitting, selection,
      parameter neighbourhood, cost and latency stress, capacity, regimes, bootstrap.
    - **It is for** the robustness gates. Each neighbour that it tries is one more trial in the append-only trial
      ledger.
    - **It breaks** when trials or data of the window are missing. A number that cannot be computed is null with its
      reason, which makes a gate inconclusive and breaks nothing.
    """
    from research_to_prod.defs.research.inputs import read_study
    from research_to_prod.defs.research.pictures import validation_shown
    from research_to_prod.gates.validation_statistics import assess_significance
    from research_to_prod.research.trial_ledger import TrialLedger
    from research_to_prod.research.trials import Experiment
    from research_to_prod.research.validation.measures import validation_table
    from research_to_prod.research.validation.study import validate_candidate

    study, tried = read_study(lake, settings, context.partition_key), lake.read("trials", context.partition_key)
    ledger = TrialLedger(settings.ledger / TRIAL_LEDGER)
    experiment = Experiment(study.candidate, study.strategy, study.bars, ledger, context.run.run_id, clock())
    made = validate_candidate(experiment, tried.rows)
    measures = [*made.measures, *assess_significance(made.returns, made.own, study.candidate.sha256)]
    rows = validation_table(study.candidate.name, measures)
    return publish(
        lake,
        "validation",
        context.partition_key,
        rows,
        read=(*study.read, tried),
        **validation_shown(experiment, made, measures),
    )
