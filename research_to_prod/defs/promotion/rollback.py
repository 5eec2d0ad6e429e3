"""The rollback's nightly watch in the graph: it acts by itself, and only ever takes away."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import markdown_table, publish
from research_to_prod.defs.tables import TABLES, described
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.promotion.rollback.nightly import DeskTables, Reference

_PACKAGE = Path(__file__).resolve().parents[2]


@dg.asset(
    deps=[
        *(
            dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
            for name in ("shadow", "candidate", "backtest")
        ),
        "positions",
        "fills",
        "order_events",
    ],
    partitions_def=DAYS,
    group_name="promotion",
    owners=["team:risk"],
    kinds={"ed25519"},
    code_version="1",
    metadata=described("rollback"),
)
def rollback(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """Everything that trades, held against what it promised and what its shadow did; and taken back where rules fire.

    - **A row** is one version that trades, as the detectors see it after the day, and what they did.
    - **It is for** taking back without waiting for anybody: a rollback is a signed record and a renewed manifest, at
      once, and the version may only reduce until a promotion that names a person.
    - **It breaks** when the ledger or the policy can't be read. A version that can't be watched says why, and fails a
      check.

    Hard limits on each stated exposure of the day, the chart of live less shadow, the chart of the edge, the canary's
    test; positions and counts need one reading, what rests on equity or profit three.
    """
    from research_to_prod.defs.gates.judgement import verified_ledger
    from research_to_prod.gates.capital import load_allocation
    from research_to_prod.operations.control_journal import ControlJournal
    from research_to_prod.promotion.code_identity import code_identity
    from research_to_prod.promotion.keys import open_keys
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.manifest import renew_manifest
    from research_to_prod.promotion.rollback.nightly import rollback_table, watch_day
    from research_to_prod.promotion.rollback.policy import load_rollback_policy
    from research_to_prod.promotion.taking_back import Setting, TakingBackError, roll_back

    day, now = context.partition_key, clock()
    policy = load_rollback_policy(settings.desk / "policies" / "rollback.yaml")
    ledger = verified_ledger(settings)
    records = () if ledger is None else ledger.records()
    desk, read = _desk(lake, day)
    references, promised = _references(lake, settings, {each.candidate for each in records})
    watched = watch_day(day, records, desk, references, policy)
    decisions: dict[str, str] = {}
    refused: dict[str, str] = {}
    if any(each.triggers for each in watched):
        setting = Setting(
            policy=policy,
            allocation=load_allocation(settings.desk / "capital" / "allocation.yaml"),
            code=code_identity(_PACKAGE, _PACKAGE.parent / "requirements.lock"),
            now=now,
            run_id=context.run.run_id,
        )
        writing = Ledger(settings.ledger, open_keys(settings.keys, now))
        for each in watched:
            if each.watch is None or not each.triggers:
                continue
            try:
                done = roll_back(writing, each.watch, each.triggers, setting)
                decisions[each.record.candidate_sha256] = done.decision_id
            except TakingBackError as error:
                refused[each.record.candidate_sha256] = str(error)
        held = ControlJournal(settings.controls).ladders().controls()
        renew_manifest(settings.production / "manifest.json", writing, settings.keys, now, held)
    rows = rollback_table(day, watched, decisions, refused)
    return publish(
        lake,
        "rollback",
        day,
        rows,
        read=(*read, *promised),
        watched=sum(each.watch is not None for each in watched),
        unwatched=sum(each.watch is None for each in watched),
        rolled_back=len(decisions),
        seen=markdown_table(rows.select(["candidate", "stage", "unwatched", "fired", "reasons", "refused"])),
    )


@dg.asset_check(
    asset=rollback,
    partitions_def=DAYS,
    description=(
        "Everything that trades is watched, by a policy whose budget of false alarms is for so many, and nothing had "
        "to be taken back. If it fails, the rollback has acted already where it had to: look why, and see to it that "
        "what is not watched is. A warning, which blocks nothing."
    ),
)
def nothing_was_taken_back(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Count what is not watched and what fired."""
    from research_to_prod.promotion.rollback.policy import load_rollback_policy

    rows = lake.read("rollback", context.partition_key).rows.to_pylist()
    allowed = int(load_rollback_policy(settings.desk / "policies" / "rollback.yaml").book.strategies.value)
    unwatched = [f"{each['candidate']}: {each['unwatched']}" for each in rows if each["unwatched"]]
    fired = [f"{each['candidate']}: {each['reasons']}" for each in rows if each["fired"]]
    return dg.AssetCheckResult(
        passed=not unwatched and not fired and len(rows) <= allowed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "unwatched": unwatched or "none",
            "fired": fired or "none",
            "versions": f"{len(rows)}, the budget of false alarms is for {allowed}",
        },
    )


def _desk(lake: Lake, day: str) -> "tuple[DeskTables, list[Snapshot]]":
    """Return the desk's tables of the day, and the shadow of every day until it."""
    from research_to_prod.promotion.rollback.nightly import DeskTables

    days = tuple(each for each in lake.partitions("shadow") if each <= day)
    shadow = lake.read("shadow", days) if days else Snapshot(TABLES["shadow"].empty(), ())
    own = {name: lake.read(name, day) for name in ("positions", "fills", "order_events") if lake.has(name, day)}
    rows: dict[str, pa.Table | None] = {
        name: own[name].rows if name in own else None for name in ("positions", "fills", "order_events")
    }
    return DeskTables(shadow.rows, days, **rows), [shadow, *own.values()]


def _references(lake: Lake, settings: Settings, candidates: set[str]) -> "tuple[dict[str, Reference], list[Snapshot]]":
    """Return what each candidate promised, of those whose candidate and backtest are materialized."""
    from research_to_prod.defs.attribution.models import read_backtest
    from research_to_prod.defs.research.inputs import read_candidate
    from research_to_prod.promotion.rollback.nightly import Reference

    found, read = {}, []
    for name in sorted(candidates):
        if not lake.has("candidate", name):
            continue
        candidate, _, recorded = read_candidate(lake, name)
        backtest, tried = read_backtest(lake, settings, candidate)
        read += [recorded, *tried]
        if backtest is not None:
            found[name] = Reference(candidate.sha256, backtest.returns)
    return found, read
