"""The plain log that tests of the proof write in answers as Dagster's own does."""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster import DagsterEventType

from tests.promotion.event_log import MONTHS, NAME, OTHER, DagsterLog, Desk, PlainLog, small_graph

KEY = dg.AssetCheckKey(dg.AssetKey("gate_report"), "risk_gates_pass")
ASSETS = ("gate_report", "backtest", "candles")


def written(log: Any) -> Desk:
    """Write everything that may happen: other candidates, runs that overlap, events of no run, wiped history."""
    desk = Desk(log)
    for name in (NAME, OTHER, NAME):
        desk.everything(name)
    started = [desk.plan("gate_report", "risk_gates_pass", NAME, 4e9) for _ in range(3)]
    for run, at in zip(started[:2], (4e9 + 20, 4e9 + 10), strict=True):
        desk.answer("gate_report", "risk_gates_pass", NAME, run=run, at=at, passed=at > 4e9 + 15)
    desk.answer("gate_report", "risk_gates_pass", OTHER, run="")
    desk.make("candles", MONTHS[1], run="")
    desk.answer("backtest", "accounts_add_up", NAME, run="gone", passed=False)
    log.wipe("backtest")
    desk.make("backtest", OTHER, run="gone")
    return desk


def answers(desk: Desk) -> dict[str, Any]:
    """Everything that the proof could ask; ids and names of runs are the logs' own, so only their order counts."""
    instance = desk.log.instance
    storage, found = instance.event_log_storage, {}
    for asset in ASSETS:
        key = dg.AssetKey(asset)
        newest = storage.get_latest_storage_id_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION, {NAME, OTHER, *MONTHS}
        )
        for limit, wanted in ((99, None), (2, None), (len(newest), list(newest.values()))):
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, storage_ids=wanted), limit=limit
            ).records
            ids = [each.storage_id for each in records]
            found[f"{asset} {limit} {bool(wanted)}"] = (
                [
                    (
                        each.asset_materialization.partition,
                        bool(instance.get_run_by_id(each.run_id)) if each.run_id else None,
                    )
                    for each in records
                ],
                ids == sorted(ids, reverse=True),
            )
        found[f"{asset} newest"] = sorted(newest, key=lambda partition: newest[partition])
    for key in (KEY, dg.AssetCheckKey(dg.AssetKey("backtest"), "accounts_add_up")):
        history = storage.get_asset_check_execution_history(key, 99)
        found[f"{key} history"] = [
            (each.partition, each.status.value, bool(each.run_id), each.event is not None) for each in history
        ]
        found[f"{key} moments"] = [each.event.timestamp for each in history if each.event.timestamp >= 4e9]
        if history:
            page = storage.get_asset_check_execution_history(key, 2, history[1].id)
            found[f"{key} page"] = [[each.id for each in history].index(each.id) for each in page]
    return found


def test_both_logs_answer_the_same_of_the_same_events() -> None:
    with small_graph(), dg.DagsterInstance.ephemeral() as instance:
        assert answers(written(DagsterLog(instance))) == answers(written(PlainLog()))
