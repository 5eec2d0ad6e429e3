"""Which evaluation of a check the proof believes, and what it says of every other, word for word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from research_to_prod.promotion import evidence
from research_to_prod.values import digest
from tests.promotion.event_log import MONTHS, NAME, OTHER, Desk, PlainLog, small_graph

LATER = 4e9
"""A moment after every other, in seconds."""


@pytest.fixture
def nothing() -> Iterator[Desk]:
    with small_graph():
        yield Desk(PlainLog())


@pytest.fixture
def desk(nothing: Desk) -> Desk:
    nothing.everything()
    return nothing


UNBOUND = "judged under another policy than the one in force; materialize gate_report again"
REASONS: list[tuple[dict[str, Any], str]] = [
    ({"passed": False}, "did not pass"),
    ({"severity": dg.AssetCheckSeverity.WARN}, "passed with severity WARN, which blocks nothing and so proves nothing"),
    ({"target_materialization_data": None}, "judged another materialization; run it on the newest"),
    ({"metadata": {"policy_sha256": digest("another")}}, UNBOUND),
    ({"metadata": {}}, UNBOUND),
    ({"run": "gone"}, "was not evaluated by a run that Dagster knows; run it"),
    ({"run": ""}, "was not evaluated by a run that Dagster knows; run it"),
]


def test_a_check_that_proves_nothing_says_why(desk: Desk) -> None:
    for other, reason in REASONS:
        desk.make("gate_report", NAME, ("backtest", NAME), ("candles", MONTHS[0]))
        run = desk.answer("gate_report", "risk_gates_pass", NAME, **other)
        proof = desk.prove()
        assert proof.refusals == (f"check risk_gates_pass of gate_report[alpha] {reason}",)
        assert (proof.checks[0].passed, proof.checks[0].run_id) == (False, run or "none")
        assert all(each.passed for each in proof.checks[1:])


def test_only_the_verdicts_of_a_policy_are_bound_to_it(desk: Desk) -> None:
    desk.answer("backtest", "sees_no_future", NAME, metadata={})
    assert desk.prove().holds


def test_a_check_that_judged_what_was_made_before_is_told_to_run_again(desk: Desk) -> None:
    desk.make("gate_report", NAME, ("backtest", NAME), ("candles", MONTHS[0]))
    assert desk.refusals() == {
        "check risk_gates_pass of gate_report[alpha] judged another materialization; run it on the newest"
    }


def test_a_check_that_was_planned_last_and_never_answered_is_refused_until_one_answers(desk: Desk) -> None:
    started = desk.plan("gate_report", "risk_gates_pass", NAME)
    assert desk.refusals() == {
        (
            "check risk_gates_pass of gate_report[alpha] was planned and never finished (crashed, skipped or still "
            "running); run it again"
        )
    }
    desk.answer("gate_report", "risk_gates_pass", NAME, run=started)
    assert desk.prove().holds


def test_an_answer_whose_event_is_lost_is_none_and_is_older_than_any_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("gate_report"), "risk_gates_pass")
    storage = desk.log
    (whole,) = storage.get_asset_check_execution_history(key, 9)
    others = storage.get_asset_check_execution_history
    lost = replace(whole, event=None)

    def history(asked: dg.AssetCheckKey, *rest: Any) -> Any:
        return [whole, lost] if asked == key else others(asked, *rest)

    monkeypatch.setattr(storage, "get_asset_check_execution_history", history)
    assert desk.prove().holds
    whole = lost
    assert desk.refusals() == {
        (
            "check risk_gates_pass of gate_report[alpha] was planned and never finished (crashed, skipped or still "
            "running); run it again"
        )
    }


@pytest.mark.parametrize(("status", "passed"), [("FAILED", True), ("SUCCEEDED", False)])
def test_an_answer_whose_event_and_status_disagree_did_not_pass(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, status: str, passed: bool
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("gate_report"), "risk_gates_pass")
    desk.answer("gate_report", "risk_gates_pass", NAME, passed=passed)
    newest, *_ = desk.log.get_asset_check_execution_history(key, 9)
    torn = replace(newest, status=SimpleNamespace(value=status))
    others = desk.log.get_asset_check_execution_history
    monkeypatch.setattr(
        desk.log,
        "get_asset_check_execution_history",
        lambda asked, *rest: [torn] if asked == key else others(asked, *rest),
    )
    assert desk.refusals() == {"check risk_gates_pass of gate_report[alpha] did not pass"}


# Of three runs planned one after the other: which passed, when each answered, and whether that is a proof.
OVERLAPPING = [
    ((True, False, True), (30.0, 20.0, 10.0), True),
    ((False, True, True), (30.0, 20.0, 10.0), False),
    ((True, True, False), (30.0, 20.0, 10.0), False),
    ((False, False, True), (10.0, 20.0, 30.0), True),
    ((False, True, True), (10.0, 20.0, 15.0), True),
    # At the same moment the later plan stands.
    ((False, True, True), (10.0, 10.0, 10.0), True),
]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_of_overlapping_runs_the_newest_plan_and_the_newest_answer_count_however_long_the_history_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(evidence, "_PAGE", page)
    for number, (passed, moments, holds) in enumerate(OVERLAPPING):
        desk.make("gate_report", NAME, ("backtest", NAME), ("candles", MONTHS[0]))
        runs = [desk.plan("gate_report", "risk_gates_pass", NAME, LATER) for _ in passed]
        for run, good, moment in zip(runs, passed, moments, strict=True):
            at = LATER + 100 * number + moment
            desk.answer("gate_report", "risk_gates_pass", NAME, run=run, at=at, passed=good)
        found = desk.prove()
        assert found.holds is holds, found.refusals


def test_the_answers_of_other_partitions_are_not_this_ones(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_PAGE", 1)
    desk.make("gate_report", OTHER, ("backtest", NAME), ("candles", MONTHS[0]))
    for _ in range(3):
        desk.answer("gate_report", "risk_gates_pass", OTHER, passed=False)
    assert desk.prove().holds
