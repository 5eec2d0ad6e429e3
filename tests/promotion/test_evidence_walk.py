"""The walk of the proof over the closure, word for word: every reason to refuse, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from research_to_prod.lake.io_manager import inputs_metadata
from research_to_prod.promotion import evidence
from research_to_prod.promotion.evidence import Proof, prove, unproven_months
from research_to_prod.promotion.record import Check, Input
from research_to_prod.values import Stage, digest
from tests.promotion.event_log import CHECKS, MONTHS, NAME, OTHER, POLICY, READS, Desk, PlainLog, small_graph


@pytest.fixture
def nothing() -> Iterator[Desk]:
    with small_graph():
        yield Desk(PlainLog())


@pytest.fixture
def desk(nothing: Desk) -> Desk:
    nothing.everything()
    return nothing


def test_a_proof_holds_every_partition_with_its_version_run_and_event_and_every_check(nothing: Desk) -> None:
    nothing.everything()
    run = nothing.make("backtest", NAME, *(("candles", month) for month in MONTHS))
    judged = {check: nothing.answer("backtest", check, NAME) for check in CHECKS["backtest"]}
    nothing.report()
    proof = nothing.prove()
    assert (proof.refusals, proof.holds) == ((), True)
    version = nothing.lake.newest["backtest"][NAME]
    assert [(each.asset, each.partition) for each in proof.inputs] == [
        ("gate_report", NAME), ("backtest", NAME), ("candles", MONTHS[0]), ("candles", MONTHS[1]),
    ]  # fmt: skip
    assert proof.inputs[1] == Input(
        asset="backtest",
        partition=NAME,
        lake_version=version.version,
        content_sha256=version.content_sha256,
        rows=version.rows,
        run_id=run,
        storage_id=nothing.made["backtest", NAME],
    )
    assert [(each.asset, each.check) for each in proof.checks] == [
        ("gate_report", "risk_gates_pass"), ("backtest", "accounts_add_up"), ("backtest", "sees_no_future"),
    ]  # fmt: skip
    last, *_ = nothing.log.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("backtest"), "sees_no_future"), 9
    )
    assert proof.checks[2] == Check(
        asset="backtest",
        check="sees_no_future",
        partition=NAME,
        passed=True,
        run_id=judged["sees_no_future"],
        storage_id=last.id,
    )


def test_of_nothing_only_the_report_is_asked_for_and_nothing_was_read(nothing: Desk) -> None:
    assert nothing.prove() == Proof(
        (),
        (),
        (
            "gate_report[alpha] was never materialized, or its history was wiped; materialize it again",
            "check risk_gates_pass of gate_report[alpha] was never evaluated; run it",
        ),
    )


def test_each_way_asks_for_its_own_closure_and_its_own_checks(desk: Desk) -> None:
    paper = {f"gate_report[alpha] read {table}, which is not a declared input" for table in ("backtest", "candles")}
    asked = "gate_report[alpha] does not record that it read orders; materialize it again"
    assert desk.prove(Stage.CANARY).refusals == (asked, *sorted(paper))
    desk.make("orders", NAME)
    desk.make("gate_report", NAME, ("orders", NAME))
    desk.answer("gate_report", "risk_gates_pass", NAME)
    assert desk.prove(Stage.LIVE).refusals == ("check are_whole of orders[alpha] was never evaluated; run it",)
    desk.answer("orders", "are_whole", NAME)
    assert desk.prove(Stage.LIVE).holds
    assert "gate_report[alpha] read orders, which is not a declared input" in desk.refusals()


def test_of_a_candidate_judged_later_nothing_is_asked_and_nothing_said(desk: Desk) -> None:
    desk.make("backtest", OTHER, ("candles", MONTHS[0]))
    desk.report(OTHER)
    proof = desk.prove()
    assert proof.holds
    assert OTHER not in {each.partition for each in (*proof.inputs, *proof.checks)}
    assert not prove(desk.log.instance, desk.lake, OTHER, POLICY).holds  # type: ignore[arg-type]


def test_what_no_run_made_is_refused_and_its_check_with_it(desk: Desk) -> None:
    desk.make("gate_report", NAME, ("backtest", NAME), ("candles", MONTHS[0]), run="")
    desk.answer("gate_report", "risk_gates_pass", NAME)
    assert desk.prove().refusals == (
        "gate_report[alpha] was not materialized by a run that Dagster knows; materialize it in a run",
        "check risk_gates_pass of gate_report[alpha] judged a materialization that is itself refused",
    )
    assert desk.prove().inputs == ()
    assert [(each.asset, each.passed) for each in desk.prove().checks] == [("gate_report", False)]


def test_what_a_run_made_that_nobody_knows_is_refused(desk: Desk) -> None:
    desk.make("candles", MONTHS[1], run="gone")
    assert "candles[2024-02] was not materialized by a run that Dagster knows; materialize it in a run" in (
        desk.refusals()
    )


def test_what_is_not_in_the_lake_is_refused(desk: Desk) -> None:
    del desk.lake.newest["candles"][MONTHS[1]]
    assert desk.refusals() == {"candles[2024-02] is not in the lake; materialize it again"}
    del desk.lake.newest["candles"]
    assert desk.refusals() == {f"candles[{month}] is not in the lake; materialize it again" for month in MONTHS}


@pytest.mark.parametrize("changed", [{"version": 77}, {"content_sha256": digest("other")}])
def test_a_lake_that_moved_without_dagster_is_refused(desk: Desk, changed: dict[str, Any]) -> None:
    table = desk.lake.newest["candles"]
    table[MONTHS[1]] = replace(table[MONTHS[1]], **changed)
    assert desk.refusals() == {
        "candles[2024-02] in the lake is not what its newest materialization wrote; materialize it again"
    }
    assert ("candles", MONTHS[1]) not in {(each.asset, each.partition) for each in desk.prove().inputs}


@pytest.mark.parametrize("name", ["lake_version", "content_sha256"])
def test_a_materialization_that_does_not_say_what_it_wrote_is_refused(desk: Desk, name: str) -> None:
    desk.report(**{name: "something else"})
    assert "gate_report[alpha] in the lake is not what its newest materialization wrote; materialize it again" in (
        desk.refusals()
    )


def test_every_reader_of_what_was_made_again_is_named_and_none_that_read_the_newest(desk: Desk) -> None:
    desk.make("candles", MONTHS[0])
    again = "candles[2024-01] was materialized again after {0} read it; materialize {0} again"
    assert desk.refusals() == {again.format(f"{reader}[alpha]") for reader in ("gate_report", "backtest")}
    assert ("candles", MONTHS[0]) not in {(each.asset, each.partition) for each in desk.prove().inputs}
    desk.make("gate_report", NAME, ("backtest", NAME), ("candles", MONTHS[0]))
    desk.answer("gate_report", "risk_gates_pass", NAME)
    assert desk.refusals() == {again.format("backtest[alpha]")}


@pytest.mark.parametrize("changed", [{"version": 77}, {"content_sha256": digest("other")}])
def test_a_reader_must_have_read_both_the_version_and_the_content(desk: Desk, changed: dict[str, Any]) -> None:
    read = [desk.lake.newest[each][key] for each, key in (("backtest", NAME), ("candles", MONTHS[0]))]
    read[1] = replace(read[1], **changed)
    desk.report(**inputs_metadata(read))
    assert desk.refusals() == {
        "candles[2024-01] was materialized again after gate_report[alpha] read it; materialize gate_report[alpha] again"
    }


@pytest.mark.parametrize(
    "told",
    [
        dg.MetadataValue.text("nothing of that form"),
        dg.MetadataValue.json({"candles": {"2024-01": {}}}),
        dg.MetadataValue.json({"candles": {"2024-01": None}}),
        dg.MetadataValue.json({"candles": {"2024-01": {"version": "?", "content_sha256": "", "rows": 0}}}),
    ],
)
def test_what_does_not_say_in_a_known_form_what_it_read_is_refused(desk: Desk, told: Any) -> None:
    desk.report(inputs=told)
    assert desk.refusals() == {"gate_report[alpha] does not record which versions it read; materialize it again"}


def test_a_declared_input_that_was_not_read_and_one_read_that_is_not_declared_are_both_named(desk: Desk) -> None:
    desk.make("quotes", NAME)
    desk.make("gate_report", NAME, ("candles", MONTHS[0]), ("quotes", NAME))
    desk.answer("gate_report", "risk_gates_pass", NAME)
    assert desk.prove().refusals == (
        "gate_report[alpha] does not record that it read backtest; materialize it again",
        "gate_report[alpha] read quotes, which is not a declared input",
    )


def test_what_may_be_read_besides_is_proven_when_it_was_and_not_asked_for_when_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MAY_READ", {"gate_report": frozenset({"trades"})})
    monkeypatch.setattr(evidence, "READS", {**READS, "trades": frozenset()})
    monkeypatch.setattr(evidence, "REQUIRED_CHECKS", {**CHECKS, "trades": ()})
    assert desk.prove().holds
    desk.make("trades", NAME)
    desk.make("gate_report", NAME, ("backtest", NAME), ("candles", MONTHS[0]), ("trades", NAME))
    desk.answer("gate_report", "risk_gates_pass", NAME)
    assert "trades" in {each.asset for each in desk.prove().inputs}
    desk.make("trades", NAME)
    assert desk.refusals() == {
        "trades[alpha] was materialized again after gate_report[alpha] read it; materialize gate_report[alpha] again"
    }


def test_what_was_read_without_a_partition_is_refused_and_the_rest_is_walked(desk: Desk) -> None:
    read = [desk.lake.newest[each][key] for each, key in (("backtest", NAME), ("candles", MONTHS[0]))]
    desk.report(**inputs_metadata([replace(read[1], partition=None), read[0]]))
    assert desk.refusals() == {"gate_report[alpha] read candles without a partition, which nothing can prove"}
    assert "backtest" in {each.asset for each in desk.prove().inputs}


def test_months_are_unproven_when_anything_that_they_were_made_of_is(
    nothing: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ("market_quality", "market_findings", "funding_rates")
    reads = {**dict.fromkeys(made, frozenset({"candles"})), "funding_rates": frozenset(), "candles": frozenset()}
    monkeypatch.setattr(evidence, "READS", reads)
    monkeypatch.setattr(evidence, "REQUIRED_CHECKS", {**dict.fromkeys(reads, ()), "funding_rates": ("is_regular",)})

    def unproven(*months: str) -> set[str]:
        return unproven_months(nothing.log.instance, nothing.lake, months)  # type: ignore[arg-type]

    assert unproven(*MONTHS) == set(MONTHS)
    for month in MONTHS:
        nothing.make("candles", month)
        for asset in made:
            nothing.make(asset, month, *[("candles", month)] * bool(reads[asset]))
        nothing.answer("funding_rates", "is_regular", month)
    assert unproven(*MONTHS) == set()
    assert unproven(*MONTHS, "2024-03") == {"2024-03"}
    for asset in made:
        nothing.log.wipe(asset)
        assert unproven(MONTHS[0]) == {MONTHS[0]}
        nothing.make(asset, MONTHS[0], *[("candles", MONTHS[0])] * bool(reads[asset]))
        nothing.answer("funding_rates", "is_regular", MONTHS[0])
    assert unproven(MONTHS[0]) == set()
    nothing.make("candles", MONTHS[0])
    assert unproven(MONTHS[0]) == {MONTHS[0]}
