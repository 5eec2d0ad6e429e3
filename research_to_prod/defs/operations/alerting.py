"""What the rules say of a day, and the incidents that follow.

The alerter itself watches all the time and in its own process (``operations.watch``); these assets judge a finished day
by the same functions, so that an auditor sees what the rules would have told, and can make it again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.operations.day_sources import ACCOUNTS, DAILY, DaySources
from research_to_prod.defs.operations.pictures import evaluations_picture
from research_to_prod.defs.operations.promised_runs import promised_runs
from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import markdown_table, publish, table_preview
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds

LOOKS = (timedelta(hours=1), timedelta(0))
"""How long before the day's end it is judged: twice, so that what must last for minutes can have lasted."""


@dg.asset(
    deps=[*dict.fromkeys((*DAILY, *ACCOUNTS)),
          *(dg.AssetDep(each, partition_mapping=dg.AllPartitionMapping()) for each in
            ("candles", "funding_rates", "liquidity_profile", "candidate"))],
    partitions_def=DAYS,
    group_name="operations",
    owners=["team:operations"],
    kinds={"python"},
    code_version="1",
    metadata=described("alert_evaluations"),
    check_specs=[
        dg.AssetCheckSpec(
            "replays_to_the_byte",
            asset="alert_evaluations",
            blocking=True,
            partitions_def=DAYS,
            description=(
                "Each stored row, judged again from its own inputs, is the same, inputs included. If it fails, what "
                "was told does not follow from what was known: a defect of the program, or a row that somebody changed."
            ),
        ),
        dg.AssetCheckSpec(
            "rules_have_runbooks",
            asset="alert_evaluations",
            partitions_def=DAYS,
            description=(
                "Every rule has a runbook and the reverse, drilled within 90 days and not overdue. If it fails, what "
                "is missing is named: write it, or drill it, before it is needed at night. A warning."
            ),
        ),
    ],
)  # fmt: skip
def alert_evaluations(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Every alert rule on the finished day, an hour before its end and at it, with exposure and regime.

    - **A row** is one condition on one subject at one moment, with all that it followed from.
    - **It is for** an auditor, who makes it again, and for whoever tunes a rule: levels follow from this hour's
      liquidity, what is held, and how long the desk can afford not to see.
    - **It breaks** when a daily table that the rules read is not made. A rule whose input no table holds says so, and
      fires on an exposed book where its declaration makes blindness a finding.
    """
    from research_to_prod.operations.alerting.evaluation import Key, State, evaluate
    from research_to_prod.operations.alerting.margin_measures import with_margin_use
    from research_to_prod.operations.alerting.records import replay, table_of
    from research_to_prod.operations.alerting.rules import load_alert_policy
    from research_to_prod.operations.runbooks import gaps, load_runbooks

    day = context.partition_key
    policy = load_alert_policy(settings.desk / "alerts")
    sources = DaySources(lake, settings, day)
    states: dict[Key, State] = {}
    parts = []
    for before in LOOKS:
        moment = day_bounds(day)[1] - before
        observed = sources.observations(moment, promised_runs(context.instance, moment))
        around = with_margin_use(sources.context(moment), observed)
        result = evaluate(policy, observed, around, states, moment)
        states = dict(result.states)
        parts.append(table_of(result.evaluations, policy))
    rows = pa.concat_tables(parts)
    firing = rows.filter(rows["severity"].is_valid())
    sights = Counter(rows["sight"].to_pylist())
    shown = ["rule", "subject", "sight", "severity", "value", "threshold", "regime", "exposed"]
    yield publish(
        lake,
        "alert_evaluations",
        day,
        rows,
        read=sources.read,
        firing=markdown_table(firing.select(shown)),
        **evaluations_picture(rows, "minute"),
        **{f"sight_{name}": count for name, count in sorted(sights.items())},
        policy_sha256=policy.sha256,
    )
    stored = lake.read("alert_evaluations", day).rows.to_pylist()
    wrong = [f"{row['rule']} on {row['subject']}" for row in stored if replay(row, policy) != row]
    yield dg.AssetCheckResult(
        asset_key="alert_evaluations",
        check_name="replays_to_the_byte",
        passed=not wrong,
        metadata={"rows": len(stored), "not the same": "; ".join(wrong) or "none"},
    )
    missing = gaps(load_runbooks(settings.desk / "runbooks"), policy, clock().date())
    yield dg.AssetCheckResult(
        asset_key="alert_evaluations",
        check_name="rules_have_runbooks",
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"what is missing": "; ".join(missing) or "nothing"},
    )


@dg.asset(
    partitions_def=DAYS,
    group_name="operations",
    owners=["team:operations"],
    kinds={"python"},
    code_version="1",
    metadata=described("live_evaluations"),
    check_specs=[
        dg.AssetCheckSpec(
            "live_replays_to_the_byte",
            asset="live_evaluations",
            partitions_def=DAYS,
            description=(
                "Each row that was judged under the rules of today, judged again from its inputs, is the same. If it "
                "fails, what was told does not follow from what was known: a defect, or a file that somebody changed."
            ),
        )
    ],
)
def live_evaluations(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """What the alerter itself judged on a day, as it ran.

    - **A row** is one evaluation that fired, was about to, or had just ended.
    - **It is for** asking afterwards why somebody was woken, or was not: each is judged again from its own inputs.
    - **It breaks** when the alerter's file of the day can't be read. That file goes once the table has all of it to the
      byte; what the table had stays.
    """
    from research_to_prod.operations.alerting.contracts import ALERT_EVALUATIONS
    from research_to_prod.operations.alerting.kept import kept_table, let_go
    from research_to_prod.operations.alerting.records import replay
    from research_to_prod.operations.alerting.rules import load_alert_policy

    day, table = context.partition_key, "live_evaluations"
    before = lake.read(table, day).rows if lake.has(table, day) else ALERT_EVALUATIONS.empty()
    rows = kept_table(settings.operations, day, before)
    firing = pc.sum(rows["severity"].is_valid()).as_py() or 0
    yield publish(lake, table, day, rows, firing=firing, **evaluations_picture(rows, "hour"))
    stored = lake.read(table, day).rows
    freed = let_go(settings.operations, day, stored) if day_bounds(day)[1] <= clock() else 0
    policy = load_alert_policy(settings.desk / "alerts")
    same = stored.filter(pc.equal(stored["policy_sha256"], policy.sha256))
    wrong = sum(replay(row, policy) != row for batch in same.to_batches(5_000) for row in batch.to_pylist())
    yield dg.AssetCheckResult(
        asset_key=table,
        check_name="live_replays_to_the_byte",
        passed=not wrong,
        metadata={
            "judged again": same.num_rows,
            "not the same": wrong,
            "judged under other rules": stored.num_rows - same.num_rows,
            "bytes of the alerter's file that went": freed,
        },
    )


@dg.asset(
    deps=["alert_evaluations"],
    partitions_def=DAYS,
    group_name="operations",
    owners=["team:operations"],
    kinds={"python"},
    code_version="1",
    metadata=described("incidents"),
)
def incidents(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """What the day's evaluations amount to: one incident a cause, with its page and first steps.

    - **A row** is one incident; consequences are parts of their cause (`part_of`) and tell nothing of their own.
    - **It is for** seeing what a day would have told, and to whom. The incidents that people take and end are the
      alerter's, and `r2p incident list` shows them.
    - **It breaks** when the evaluations of the day are not made, or rules and runbooks can't be read.
    """
    from research_to_prod.operations.alerting.rules import load_alert_policy
    from research_to_prod.operations.incidents.intake import Desk
    from research_to_prod.operations.incidents.of_day import incidents_of_day
    from research_to_prod.operations.runbooks import load_runbooks

    day = context.partition_key
    evaluations = lake.read("alert_evaluations", day)
    policy = load_alert_policy(settings.desk / "alerts")
    desk = Desk("nightly", policy, load_runbooks(settings.desk / "runbooks"))
    rows = incidents_of_day(evaluations.rows, desk, day)
    told = rows.filter(rows["text"].is_valid())
    severities = Counter(told["severity"].to_pylist())
    return publish(
        lake,
        "incidents",
        day,
        rows,
        read=[evaluations],
        told=table_preview(told.select(["severity", "text", "status", "occurrences"])),
        parts_of_others=rows.num_rows - told.num_rows,
        **{f"told_{severity}": count for severity, count in sorted(severities.items())},
    )
