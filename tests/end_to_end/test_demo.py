"""The whole chain on the sandbox: what the pipeline concludes is held against the sandbox's truth, then attacked.

The demo is killed with SIGKILL once before it is let through, so that every test below also stands on a recovered run.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.defs.gates.assets import gate_report
from research_to_prod.defs.gates.checks import gates_by_family
from research_to_prod.defs.market_data.assets import validated_candles
from research_to_prod.defs.promotion.assets import approvals_pending, production_manifest, promotion
from research_to_prod.defs.research.assets import backtest
from research_to_prod.defs.research.checks import accounts_add_up, does_not_depend_on_warm_up, sees_no_future
from research_to_prod.defs.runner import open_instance
from research_to_prod.defs.tables import TABLES
from research_to_prod.gates.contracts import GATE_REPORT
from research_to_prod.gates.policy import load_policy
from research_to_prod.lake import Lake
from research_to_prod.market_data.contracts import CANDLES, MARKET_QUALITY
from research_to_prod.promotion.approvals import approve
from research_to_prod.promotion.keys import Keys, new_approver, open_keys, public_entries, trust
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.manifest import read_manifest
from research_to_prod.promotion.policy_change import put_in_force
from research_to_prod.promotion.record import RecordType
from research_to_prod.promotion.waiting import ApprovalFolder, envelope_name
from research_to_prod.settings import Settings
from research_to_prod.values import Stage
from tests.end_to_end.audit_page import WIDTH, as_on_the_page
from tests.end_to_end.desk import NOW, Desk, run_demo
from tests.end_to_end.ui import CHROMIUM, served, status_as, walk

pytestmark = pytest.mark.slow

GOOD, BAD_DATA = "btc_momentum", "doge_momentum"
DAY = "2026-01-08"
NOT_IN_THE_DEMO = {"kill_drill", "promotion_metrics", "running_breaks", "shadow_pnl"}
PROMOTE = """
import os, sys
import dagster as dg
from research_to_prod.defs.promotion.assets import promotion
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.runner import open_instance
from research_to_prod.settings import Settings

with open_instance(Settings.from_environment(os.environ)) as instance:
    done = dg.materialize(
        [promotion], instance=instance, partition_key=sys.argv[1], resources=build_resources(os.environ),
        raise_on_error=False,
    )
print("promoted" if done.success else "refused")
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Data and output of a demo that was killed in the middle of the market data and then run again."""
    data = tmp_path_factory.mktemp("a demo") / "data"
    killed = run_demo(data)
    deadline = time.monotonic() + 600
    months = data / "lake" / "market_quality"
    while len(list(months.glob("partition=*"))) < 3 and time.monotonic() < deadline and killed.poll() is None:
        time.sleep(0.2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert 3 <= len(list(months.glob("partition=*"))) < 36, "the kill came too late to prove anything"
    again = run_demo(data)
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    return data, output


@pytest.fixture
def desk(finished: tuple[Path, str], tmp_path: Path) -> Iterator[Desk]:
    """A copy of the finished data, whose ledger has decided nothing yet."""
    shutil.copytree(finished[0], tmp_path / "data")
    settings = Settings(data=tmp_path / "data")
    (settings.ledger / "records.jsonl").unlink()
    shutil.rmtree(settings.ledger / "checkpoints")
    # A manifest of another ledger is refused to be replaced, so the old one goes with it.
    (settings.production / "manifest.json").unlink()
    with open_instance(settings) as instance:
        yield Desk(settings, instance)


@pytest.fixture
def decided(finished: tuple[Path, str]) -> Iterator[Desk]:
    """The finished data itself, to look at."""
    settings = Settings(data=finished[0])
    with open_instance(settings) as instance:
        yield Desk(settings, instance)


def test_one_candidate_is_promoted_and_each_other_refused_for_its_own_reason(decided: Desk) -> None:
    """The truth is in the sandbox: one real edge, one pure noise, one with bad data, one with too much leverage."""
    failed = {
        record.candidate: {
            gate.gate for gate in decided.ledger.evidence(record).gates if gate.gating and gate.verdict != "pass"
        }
        for record in decided.records()
    }
    assert failed == {
        GOOD: set(),
        BAD_DATA: {"completeness", "unresolved_findings"},
        "eth_momentum_3x": {
            "maximum_drawdown", "resampled_drawdown", "gross_leverage", "kelly_cap",
            "stress_market_fall", "stress_market_rise", "stress_venue_halt",
        },
        "sol_breakout": {
            "deflated_sharpe_ratio", "superior_predictive_ability", "overfitting", "cross_validated_positive_paths",
            "cross_validated_sharpe_quantile", "walk_forward_efficiency", "walk_forward_positive_folds", "kelly_cap",
            "resampled_drawdown",
        },
    }  # fmt: skip
    assert decided.promoted() == {GOOD}


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")
def test_in_the_browser_a_researcher_sees_the_gates_and_is_refused(finished: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(finished[0], tmp_path / "data")
    with served(tmp_path / "data") as url:
        assert [status_as(url, host) for host in ("localhost", "evil.example")] == [200, 403]
        said = walk(url, "sol_breakout", tmp_path / "pictures")
    assert "promotion of sol_breakout refused" in said
    assert "check statistics_gates_pass of gate_report[sol_breakout] did not pass" in said
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "lineage.png", "gate_report.png", "gates.png", "refused.png"
    }  # fmt: skip


def test_the_closing_table_says_what_the_ledger_says(finished: tuple[Path, str], decided: Desk) -> None:
    output = finished[1]
    assert "promoted to paper" in output
    assert output.count("refused") >= 3
    assert "make dev" in output
    assert "desk-report-" in output
    assert read_manifest(decided.settings.production / "manifest.json", open_keys(decided.settings.keys, NOW)).entries


@pytest.mark.parametrize("name", [GOOD, "sol_breakout"])
def test_a_gate_report_shows_what_it_judged(decided: Desk, name: str) -> None:
    shown, traded, studied = (
        {key: value.value for key, value in made.asset_materialization.metadata.items()}
        for asset in ("gate_report", "backtest", "validation")
        for made in decided.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[name]), limit=1
        ).records
        if made.asset_materialization is not None
    )
    for picture in ("margins", "equity", "out_of_sample", "sweep"):
        assert str(shown[picture]).startswith("![")
    for number in ("sharpe", "max_drawdown", "turnover_per_year"):
        assert shown[number] == traded[number]
    assert shown["equity"] == traded["equity"]
    assert shown["pbo"] == studied["pbo"]
    assert shown["dsr"] == pytest.approx(shown["deflated_sharpe_ratio"], rel=1e-9)
    assert shown["trials_ever"] == studied["trials_ever"]


PICTURED = {
    "market_quality": "days", "liquidity_profile": "volume", "trials": "sweep", "backtest": "equity",
    "validation": "stress", "gate_report": "margins", "slippage": "costs", "latency_costs": "costs",
    "markouts": "markouts", "pnl_waterfall": "waterfall", "failure_modes": "modes", "drawdowns": "underwater",
    "breaks": "open_by_age", "risk_posture": "limits", "alert_evaluations": "rules",
}  # fmt: skip
"""What people rather look at -> the metadata that draws it."""


@pytest.mark.parametrize("name", sorted(set(TABLES) - NOT_IN_THE_DEMO))
def test_every_table_says_how_many_rows_it_has_and_pictures_are_small(decided: Desk, name: str) -> None:
    told = [
        record.asset_materialization
        for record in decided.instance.fetch_materializations(dg.AssetKey(name), limit=4).records
        if record.asset_materialization is not None
    ]
    metadata, partition = told[0].metadata, told[0].partition
    versions = decided.lake.versions(name)
    # Runs that write at once are logged in any order: whoever counted last need not be the last to say so.
    counts = {each.metadata["dagster/row_count"].value for each in (told if partition else told[:1])}
    assert sum(each.rows for each in versions.values()) in counts
    if partition is not None:
        assert metadata["dagster/partition_row_count"].value == versions[partition].rows
    pictures = {label for label, each in metadata.items() if "](data:image/" in str(each.value)}
    assert all(len(str(metadata[label].value)) < 60_000 for label in pictures)
    assert PICTURED.get(name, "") in {"", *pictures}


def test_a_promotion_cites_its_whole_upstream_closure(decided: Desk) -> None:
    (record,) = (each for each in decided.records() if each.type is RecordType.PROMOTE)
    inputs = decided.ledger.evidence(record).inputs
    months = {each.partition for each in inputs if each.asset == "candles"}
    assert len(months) == 36
    raw = {each.partition for each in inputs if each.asset == "raw_candles"}
    assert raw == months
    for each in inputs[:5]:
        assert decided.lake.read(each.asset, each.partition, each.lake_version).rows.num_rows == each.rows


def test_the_week_of_the_demo_has_a_profile_of_every_market(decided: Desk) -> None:
    rows = decided.lake.read("liquidity_profile", "2026-01-05").rows
    assert rows.num_rows == 7 * 168
    assert set(rows["regime"].to_pylist()) == {"thin", "normal", "deep"}


def test_every_fetch_left_a_certificate(decided: Desk) -> None:
    certificates = decided.lake.read("fetch_certificates").rows
    assert pc.all(certificates["complete"]).as_py()
    cited = set(decided.lake.read("raw_candles", "2024-05").rows["fetch_id"].to_pylist())
    assert cited <= set(certificates["fetch_id"].to_pylist())


def test_slippage_is_an_identity_and_reconciliation_finds_the_one_lost_fill(decided: Desk) -> None:
    slippage = decided.lake.read("slippage", DAY).rows
    counted = slippage.filter(slippage["excluded_reason"].is_null())
    assert counted.num_rows > 10
    for row in counted.to_pylist():
        assert abs(row["residual"]) <= 1e-9 * (1 + abs(row["total"]))
    assert decided.lake.read("breaks", "2026-01-07").rows.num_rows == 0
    (lost,) = decided.lake.read("breaks", DAY).rows.to_pylist()
    assert lost["class"] == "missing_fill_internal"


def test_the_desk_report_is_one_page_with_the_same_numbers_as_its_json(decided: Desk) -> None:
    page = (decided.settings.reports / f"desk-report-{DAY}.html").read_text()
    numbers = json.loads((decided.settings.reports / f"desk-report-{DAY}.json").read_text())
    assert numbers["reconciliation"]["confirmed"] == 1
    assert f'value="{numbers["costs"]["total"]}"' in page
    assert "default-src 'none'" in page
    # All four have a model, each decides as its model does; a fill that was lost is a break and no signal.
    assert {line["strategy"]: line["diverging"] for line in numbers["verdicts"]} == dict.fromkeys(
        (GOOD, BAD_DATA, "eth_momentum_3x", "sol_breakout"), 0
    )
    assert all(line["signals"] for line in numbers["verdicts"])


def test_runs_of_the_killed_demo_are_not_left_running(decided: Desk) -> None:
    unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    assert decided.instance.get_runs(dg.RunsFilter(statuses=unfinished)) == []


def test_the_demo_again_finishes_and_promotes_nobody_twice(finished: tuple[Path, str], decided: Desk) -> None:
    before = [record for record in decided.records() if record.type is RecordType.PROMOTE]
    again = run_demo(finished[0])
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    assert [record for record in decided.records() if record.type is RecordType.PROMOTE][:1] == before
    assert decided.promoted() == {GOOD}


def test_a_changed_policy_is_held_against_the_decisions_of_the_past(
    decided: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided.edit_policy(tmp_path, "value: 0.999\n", "value: 0.99\n")
    recorded = decided.records()[0].policy.sha256[:12]
    r2p = auditor(decided, monkeypatch)
    told = r2p("policy", "diff", recorded, "research_to_paper")
    assert " 0 can't be judged again." in told
    decisions = {
        row[1]: row[3:6] for line in told.splitlines() if len(row := [*map(str.strip, line.split("│"))][1:]) == 8
    }
    assert decisions[BAD_DATA] == ["fail", "fail", "completeness: fail -> pass"]
    assert decisions[GOOD] == ["pass", "pass", ""]
    assert decisions["sol_breakout"] == ["fail", "fail", ""]
    r2p("audit", "refusals")
    r2p("audit", "trials", GOOD)
    r2p("controls")


def auditor(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return the command line over a desk's data, which prints what docs/audit.md shows."""
    for name, value in {**desk.environment(), "COLUMNS": WIDTH}.items():
        monkeypatch.setenv(name, value)

    def r2p(*words: str) -> str:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        as_on_the_page(f"r2p {' '.join(words)}", result.stdout)
        return result.stdout

    return r2p


def test_the_untouched_case_promotes(desk: Desk) -> None:
    """The attacks below mean something because this succeeds."""
    assert desk.materialize(promotion, partition=GOOD).success
    assert desk.may_trade() == {GOOD}


def test_a_promotion_is_traced_and_judged_again_when_its_runs_and_its_history_are_gone(
    finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data=Path(shutil.copytree(finished[0], tmp_path / "data")))
    ledger, lake = Ledger(settings.ledger, open_keys(settings.keys, NOW)), Lake(settings.lake)
    (record,) = (each for each in ledger.records() if each.type is RecordType.PROMOTE)
    made = {each.asset: each.run_id for each in ledger.evidence(record).inputs}
    with open_instance(settings) as instance:
        for run_id in {record.dagster.run_id, made["gate_report"], made["candles"]}:
            instance.delete_run(run_id)
            assert not instance.has_run(run_id)
    shutil.rmtree(settings.dagster_home)
    lake.write("candles", "2024-05", lake.read("candles", "2024-05").rows.slice(100), CANDLES)
    r2p = auditor(Desk(settings, instance), monkeypatch)
    assert r2p("replay", GOOD).startswith("byte-equal")
    assert "market data: 36 months; 36 of 36 fetches complete" in r2p("trace", GOOD)
    assert not settings.dagster_home.exists()


def test_promotion_alone_in_a_later_run_refuses_where_a_check_failed(desk: Desk) -> None:
    refused = shown_of_refusal(desk.materialize(promotion, partition=BAD_DATA))
    (record,) = desk.records()
    assert record.type is RecordType.REJECT
    assert any("completeness" in reason for reason in record.reasons)
    told = str(refused["reasons"].value).split("\n")
    assert sorted(told) == sorted(f"1. {reason}" for reason in record.reasons)
    assert told[0].startswith("1. gate "), "what was measured comes first, and not that a check failed"
    assert "materialize gate_report with its checks, then promotion" in str(refused["next_step"].value)
    assert desk.may_trade() == set()


def test_a_backtest_made_again_without_its_checks_refuses(desk: Desk) -> None:
    assert desk.materialize(backtest, partition=GOOD).success
    assert not desk.materialize(promotion, partition=GOOD).success
    (record,) = desk.records()
    assert any("was materialized again after gate_report" in reason for reason in record.reasons)
    assert any("check sees_no_future of backtest" in reason for reason in record.reasons)
    assert desk.may_trade() == set()


def test_made_again_with_its_checks_and_judged_again_it_promotes(desk: Desk) -> None:
    checks = (accounts_add_up, sees_no_future, does_not_depend_on_warm_up)
    assert desk.materialize(backtest, *checks, partition=GOOD).success
    assert desk.materialize(gate_report, gates_by_family, partition=GOOD).success
    assert desk.materialize(promotion, partition=GOOD).success


def test_a_promotion_reported_by_hand_promotes_nothing(desk: Desk) -> None:
    desk.instance.report_runless_asset_event(dg.AssetMaterialization("promotion", partition=BAD_DATA))
    assert desk.promoted() == set()
    assert desk.may_trade() == set()


def test_a_gate_report_reported_by_hand_refuses(desk: Desk) -> None:
    newest = desk.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("gate_report"), asset_partitions=[GOOD]), limit=1
    ).records[0]
    assert newest.asset_materialization is not None
    desk.instance.report_runless_asset_event(newest.asset_materialization)
    assert not desk.materialize(promotion, partition=GOOD).success
    assert desk.may_trade() == set()


def test_a_forged_passing_check_refuses(desk: Desk) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("gate_report"), "data_quality_gates_pass")
    history = desk.instance.event_log_storage.get_asset_check_execution_history(key, limit=50)
    judged = next(each for each in history if each.partition == BAD_DATA)
    assert judged.event is not None
    assert judged.event.dagster_event is not None
    truth = judged.event.dagster_event.asset_check_evaluation_data
    desk.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=truth.asset_key,
            check_name=truth.check_name,
            passed=True,
            metadata=truth.metadata,
            target_materialization_data=truth.target_materialization_data,
            partition=truth.partition,
        )
    )
    assert not desk.materialize(promotion, partition=BAD_DATA).success
    (record,) = desk.records()
    assert any("not evaluated by a run that Dagster knows" in reason for reason in record.reasons)
    assert any("completeness" in reason for reason in record.reasons), "its own evaluation refuses too"
    assert desk.may_trade() == set()


def test_new_candles_under_an_old_backtest_refuse(desk: Desk) -> None:
    assert desk.materialize(validated_candles, partition="2024-05").success
    assert not desk.materialize(promotion, partition=GOOD).success
    assert desk.promoted() == set()


def test_an_edited_policy_after_the_evaluation_refuses(desk: Desk, tmp_path: Path) -> None:
    desk.edit_policy(tmp_path, "0.999", "0.9")
    for name in (BAD_DATA, GOOD):
        assert not desk.materialize(promotion, partition=name).success
    assert any("judged under another policy" in reason for reason in desk.records()[-1].reasons)
    assert desk.promoted() == set()


def test_a_policy_that_asks_for_people_promotes_with_their_signed_envelopes_only(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.edit_policy(tmp_path, "people: 0", "people: 2")
    people = [approver(desk, tmp_path, f"user:{name}") for name in ("bob", "eve")]
    assert desk.materialize(gate_report, gates_by_family, partition=GOOD).success
    refused = shown_of_refusal(desk.materialize(promotion, partition=GOOD))
    assert "have them run what the last reason says" in str(refused["next_step"].value)
    assert "r2p approve" in str(refused["reasons"].value).split("\n")[-1]
    assert desk.records()[-1].reasons[0].startswith("waiting for approval of 2 more of 2 people who are not user:")
    shown = waiting(desk)
    assert shown["waiting"].value == 1
    assert "user:bob" in str(shown["decisions"].value)

    for person in people:
        answer(desk, person)
    assert desk.materialize(promotion, partition=GOOD).success
    record = desk.records()[-1]
    assert record.type is RecordType.PROMOTE
    assert [each.person for each in record.approvals or ()] == ["user:bob", "user:eve"]
    assert desk.may_trade() == {GOOD}
    assert waiting(desk)["waiting"].value == 0

    r2p = auditor(desk, monkeypatch)
    r2p("audit", "approvals")
    r2p("why", GOOD, "--on", f"{record.recorded_at:%Y-%m-%d}")
    for words in (
        ["hold", "--reason", "the venue looks odd", "--by", "user:bob", "--venue", "sandbox"],
        ["release", "--reason", "it was a false alarm", "--by", "user:eve", "--venue", "sandbox"],
    ):
        assert CliRunner().invoke(app, words).exit_code == 0
    r2p("audit", "interventions")


def shown_of_refusal(done: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """Return the metadata that the UI shows of a promotion that failed."""
    assert not done.success
    failure = done.failure_data_for_node("promotion")
    assert failure is not None
    assert failure.user_failure_data is not None
    return failure.user_failure_data.metadata


def approver(desk: Desk, folder: Path, person: str) -> Keys:
    """Make a key for a person, on their own machine, and have the desk trust it."""
    name = person.removeprefix("user:")
    key = new_approver(folder / f"{name}.key", person, datetime.now(UTC))
    (folder / f"{name}.json").write_bytes(public_entries(key))
    open_keys(desk.settings.keys, NOW)
    trust(desk.settings.keys / "keys.json", folder / f"{name}.json")
    return key


def answer(desk: Desk, key: Keys) -> Path:
    """Sign what is asked for the good candidate and bring it to the desk."""
    asked = ApprovalFolder(desk.settings.approvals).asked(GOOD, Stage.PAPER)
    assert asked is not None
    path = desk.settings.approvals / envelope_name(asked, key)
    path.write_bytes(approve(asked, key, datetime.now(UTC)))
    return path


def waiting(desk: Desk) -> Mapping[str, Any]:
    done = desk.materialize(approvals_pending, partition=None)
    return done.asset_materializations_for_node("approvals_pending")[0].metadata


def test_the_author_one_key_twice_and_an_expired_approval_promote_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.edit_policy(tmp_path, "people: 0", "people: 2")
    assert desk.materialize(gate_report, gates_by_family, partition=GOOD).success
    assert not desk.materialize(promotion, partition=GOOD).success
    bob, author = approver(desk, tmp_path, "user:bob"), approver(desk, tmp_path, desk.records()[-1].author)
    once = answer(desk, bob)
    once.with_name(f"{GOOD}.paper.again.dsse.json").write_bytes(once.read_bytes())
    answer(desk, author)
    assert not desk.materialize(promotion, partition=GOOD).success
    said = "; ".join(desk.records()[-1].reasons)
    assert "waiting for approval of 1 more of 2 people" in said
    assert "(user:bob approved)" in said
    assert "nobody approves their own work" in said

    answer(desk, approver(desk, tmp_path, "user:eve"))
    desk.also = {"clock": lambda: datetime.now(UTC) + timedelta(days=400)}
    assert not desk.materialize(promotion, partition=GOOD).success
    assert "it approves another request" in "; ".join(desk.records()[-1].reasons)
    assert desk.may_trade() == set()


def test_a_policy_that_was_edited_since_it_was_put_in_force_promotes_nobody(desk: Desk, tmp_path: Path) -> None:
    keys = open_keys(desk.settings.keys, NOW)
    ledger, folder = Ledger(desk.settings.ledger, keys), ApprovalFolder(desk.settings.approvals)
    policy = load_policy(desk.settings.desk / "policies" / "research_to_paper.yaml")
    said = {"by": "user:eve", "reason": "as shipped", "now": datetime.now(UTC)}
    put_in_force(ledger, folder, keys, policy, **said)  # type: ignore[arg-type]
    desk.edit_policy(tmp_path, "valid_for: P7D", "valid_for: P8D")
    assert desk.materialize(gate_report, gates_by_family, partition=GOOD).success
    shown = shown_of_refusal(desk.materialize(promotion, partition=GOOD))
    assert "r2p policy adopt research_to_paper" in str(shown)
    assert "is not in force" in "; ".join(desk.records()[-1].reasons)
    assert desk.may_trade() == set()


def test_a_clock_set_back_promotes_nothing(desk: Desk) -> None:
    assert not desk.materialize(promotion, partition=BAD_DATA).success
    desk.also = {"clock": lambda: datetime.now(UTC) - timedelta(hours=1)}
    assert not desk.materialize(promotion, partition=GOOD).success
    assert not desk.materialize(production_manifest, partition=None).success
    desk.also = {}
    assert desk.may_trade() == set()


def test_an_asset_that_was_wiped_and_reported_again_refuses(desk: Desk) -> None:
    newest = desk.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("backtest"), asset_partitions=[GOOD]), limit=1
    ).records[0]
    assert newest.asset_materialization is not None
    desk.instance.wipe_assets([dg.AssetKey("backtest")])
    desk.instance.report_runless_asset_event(newest.asset_materialization)
    assert not desk.materialize(promotion, partition=GOOD).success
    (record,) = desk.records()
    assert any("backtest" in reason and "was not materialized by a run" in reason for reason in record.reasons)
    assert any("check sees_no_future of backtest" in reason for reason in record.reasons)
    assert desk.may_trade() == set()


def test_the_evidence_of_another_candidate_refuses(desk: Desk) -> None:
    """The good candidate's report, put in place of the bad one's, with all that its materialization says."""
    good = desk.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("gate_report"), asset_partitions=[GOOD]), limit=1
    ).records[0]
    assert good.asset_materialization is not None
    desk.lake.write("gate_report", BAD_DATA, named(desk.lake.read("gate_report", GOOD).rows, BAD_DATA), GATE_REPORT)
    desk.instance.report_runless_asset_event(
        dg.AssetMaterialization("gate_report", partition=BAD_DATA, metadata=good.asset_materialization.metadata)
    )
    assert not desk.materialize(promotion, partition=BAD_DATA).success
    (record,) = desk.records()
    assert any("gate_report does not say what its own evidence gives now" in reason for reason in record.reasons)
    assert any("did not pass" in reason or "judged another" in reason for reason in record.reasons)
    assert desk.may_trade() == set()


def named(rows: pa.Table, candidate: str) -> pa.Table:
    at = rows.column_names.index("candidate")
    return rows.set_column(at, "candidate", pa.array([candidate] * rows.num_rows, rows.schema.field(at).type))


def test_two_processes_that_promote_at_once_promote_once(desk: Desk) -> None:
    environment = {**os.environ, **desk.environment()}
    command = [sys.executable, "-W", "ignore", "-c", PROMOTE, GOOD]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate(timeout=300)[0].splitlines()[-1] for each in both].count("promoted") >= 1
    assert [record.type for record in desk.records()].count(RecordType.PROMOTE) == 1
    assert desk.may_trade() == {GOOD}


def test_rows_changed_behind_dagsters_back_refuse(desk: Desk) -> None:
    rows = desk.lake.read("market_quality", "2024-05").rows
    whole = rows.set_column(rows.column_names.index("valid_bars"), "valid_bars", rows["expected_bars"])
    desk.lake.write("market_quality", "2024-05", whole, MARKET_QUALITY)
    assert not desk.materialize(promotion, partition=BAD_DATA).success
    assert not desk.materialize(promotion, partition=GOOD).success
    assert desk.promoted() == set()
