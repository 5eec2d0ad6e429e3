"""Taking back: rules and people write the same kind of record, at once, once, and never one that gives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import research_to_prod
from research_to_prod.cli import app
from research_to_prod.gates.capital import load_allocation
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import LedgerError
from research_to_prod.promotion.manifest import production_manifest, read_manifest
from research_to_prod.promotion.metrics import Metric, promotion_metrics
from research_to_prod.promotion.record import CodeIdentity, RecordType
from research_to_prod.promotion.rollback.baseline import Baseline, held_to_edge, held_to_shadow
from research_to_prod.promotion.rollback.design import Chart, design
from research_to_prod.promotion.rollback.policy import load_rollback_policy
from research_to_prod.promotion.rollback.readings import DayResult, Exposure
from research_to_prod.promotion.rollback.stepping import replay
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.promotion.stages import standing
from research_to_prod.promotion.taking_back import Setting, TakingBackError, demote, halt, roll_back, set_aside
from research_to_prod.values import Stage, StrategyType

DESK = Path(research_to_prod.__file__).parent / "desk"
POLICY = load_rollback_policy(DESK / "policies" / "rollback.yaml")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETTING = Setting(
    policy=POLICY,
    allocation=load_allocation(DESK / "capital" / "allocation.yaml"),
    code=CodeIdentity(package_sha256="1" * 64, lockfile_sha256="2" * 64, version="0.1.0"),
    now=NOW,
    run_id="run-9",
)
WAY = [Stage.RESEARCH, Stage.PAPER, Stage.CANARY, Stage.LIVE]


def arrive(ledger, draft, stage, number=1):
    """Lead version ``number`` of candidate c1 to ``stage``."""
    for step in range(WAY.index(stage)):
        of = {"candidate": "c1", "candidate_sha256": draft(number).candidate_sha256}
        moved = draft(10 * number + step, **of, from_stage=WAY[step], to_stage=WAY[step + 1])
        record = ledger.append(moved)
    return record


def watch_of(record):
    own = replace(design(POLICY, StrategyType.SWING), edge=Chart(0.08, 3.0, 30.0))
    rng = np.random.default_rng(11)
    edge = held_to_edge(rng.normal(0.002, 0.01, 1088), own.standardisation)
    baseline = Baseline(edge, held_to_shadow(rng.normal(0, 0.0005, 200), own.standardisation))
    return Watch("c1", record.candidate_sha256, record.to_stage, own, baseline)


def fired(watch, *readings):
    return replay(watch, readings).triggers


def losing_days(count=40):
    days = [datetime(2026, 2, 1, tzinfo=UTC) + timedelta(days=n) for n in range(count)]
    return [DayResult("c1", day.date(), day + timedelta(days=1), -0.03, -0.03) for day in days]


def too_large():
    at = NOW - timedelta(minutes=1)
    return Exposure("c1", at, at, position=7.0, orders_a_minute=1.0, leverage=1.0, loss=0.0)


def test_an_edge_that_faded_takes_live_down_to_the_canary_s_size(ledger, draft):
    watch = watch_of(arrive(ledger, draft, Stage.LIVE))
    triggers = fired(watch, *losing_days())
    record = roll_back(ledger, watch, triggers, SETTING)
    assert (record.type, record.from_stage, record.to_stage) == (RecordType.ROLLBACK, Stage.LIVE, Stage.CANARY)
    assert record.trigger.rule == "edge: cusum of the edge"
    assert float(record.trigger.value) == triggers[0].statistic > float(record.trigger.threshold) == 3.0
    assert record.trigger.observed_at.date() > datetime.fromisoformat(triggers[0].at).date()
    # Asked were 250,000; a quarter is lost at the hard stop, and 10 bp of the book may be.
    assert record.limits.capital == "8000"
    assert [gate.gate for gate in ledger.evidence(record).gates] == ["edge", "edge_evidence"]
    (withheld,) = production_manifest(ledger.records(), NOW).withheld
    assert withheld.mode == "reduce_only"


def test_a_broken_limit_halts_and_is_stricter_than_what_fired_with_it(ledger, draft):
    watch = watch_of(arrive(ledger, draft, Stage.LIVE))
    triggers = [*fired(watch, *losing_days()), *fired(watch, too_large())]
    record = roll_back(ledger, watch, triggers, SETTING)
    assert record.to_stage is Stage.HALTED
    assert [each.split(":")[0] for each in record.reasons] == ["edge", "limit"]
    assert record.limits is None


def test_the_same_triggers_are_recorded_once(ledger, draft):
    watch = watch_of(arrive(ledger, draft, Stage.CANARY))
    triggers = fired(watch, too_large())
    first = roll_back(ledger, watch, triggers, SETTING)
    assert roll_back(ledger, watch, triggers, replace(SETTING, now=NOW + timedelta(days=1))) == first


def test_what_is_not_where_it_was_watched_is_not_moved(ledger, draft):
    live = arrive(ledger, draft, Stage.LIVE)
    watch = watch_of(live)
    triggers = fired(watch, too_large())
    demote(ledger, "c1", Stage.PAPER, reason="loss", by="user:ann", setting=SETTING)
    with pytest.raises(TakingBackError, match="c1 is at paper, it was watched at live"):
        roll_back(ledger, watch, triggers, SETTING)


def test_triggers_of_another_watch_of_the_future_or_none_are_refused(ledger, draft):
    watch = watch_of(arrive(ledger, draft, Stage.LIVE))
    triggers = fired(watch, too_large())
    other = replace(watch, candidate_sha256="f" * 64)
    for arguments, says in (
        ((other, triggers, SETTING), "of another watch"),
        ((watch, [], SETTING), "nothing fired"),
        ((watch, triggers, replace(SETTING, now=NOW - timedelta(days=1))), "was the clock set back"),
    ):
        with pytest.raises(TakingBackError, match=says):
            roll_back(ledger, *arguments)
    assert standing(ledger.records()).deciding()[0].to_stage is Stage.LIVE


def test_a_person_s_demotion_may_trade_on_at_the_smaller_size(ledger, draft):
    arrive(ledger, draft, Stage.LIVE)
    record = demote(ledger, "c1", Stage.CANARY, reason="spreads", by="user:ann", setting=SETTING)
    (entry,) = production_manifest(ledger.records(), NOW).entries
    assert (entry.stage, entry.limits.capital, record.author) == (Stage.CANARY, "8000", "user:ann")


def test_a_halt_takes_every_version_and_a_demotion_asks_which(ledger, draft):
    arrive(ledger, draft, Stage.LIVE)
    second = arrive(ledger, draft, Stage.CANARY, number=2)
    with pytest.raises(TakingBackError, match=r"name the version that you mean; it stands: version .* at live; v"):
        demote(ledger, "c1", Stage.PAPER, reason="loss", by="user:ann", setting=SETTING)
    named = second.candidate_sha256[:12]
    demote(ledger, "c1", Stage.PAPER, reason="loss", by="user:ann", setting=SETTING, version=named)
    halted = halt(ledger, "c1", reason="venue", by="user:ann", setting=SETTING)
    assert {each.to_stage for each in halted} == {Stage.HALTED}
    assert production_manifest(ledger.records(), NOW).entries == ()


@pytest.mark.parametrize("stage", [Stage.LIVE, Stage.RESEARCH])
def test_nothing_is_demoted_upwards_or_to_nowhere(ledger, draft, stage):
    arrive(ledger, draft, Stage.PAPER)
    with pytest.raises(TakingBackError, match=f"nothing leads it down to {stage}; it stands: version .* at paper"):
        demote(ledger, "c1", stage, reason="loss", by="user:ann", setting=SETTING)


def test_a_halt_ends_only_by_a_record_that_names_an_approver(ledger, draft):
    arrive(ledger, draft, Stage.PAPER)
    halt(ledger, "c1", reason="venue", by="user:ann", setting=SETTING)
    with pytest.raises(LedgerError, match="names a person"):
        demote(ledger, "c1", Stage.DEMOTED, reason="over", by="user:ann", setting=SETTING)


def test_a_false_alarm_is_put_on_record_counted_and_gives_nothing_back(ledger, draft):
    watch = watch_of(arrive(ledger, draft, Stage.LIVE))
    rollback = roll_back(ledger, watch, fired(watch, *losing_days()), SETTING)
    later = replace(SETTING, now=NOW + timedelta(days=1))
    said = {"reason": "the venue's marks were wrong", "by": "user:ann", "until": NOW + timedelta(days=30)}
    with pytest.raises(TakingBackError, match=f"record 0 is no rollback of c1; its rollbacks are: {rollback.seq}"):
        set_aside(ledger, "c1", 0, **said, setting=later)
    with pytest.raises(TakingBackError, match="its rollbacks are: none"):
        set_aside(ledger, "c2", rollback.seq, **said, setting=later)
    with pytest.raises(TakingBackError, match=r"ends at 2026-06-01 00:00:00.*, which is not after now"):
        set_aside(ledger, "c1", rollback.seq, **said | {"until": NOW}, setting=later)
    record = set_aside(ledger, "c1", rollback.seq, **said, setting=later)
    assert (record.type, record.supersedes) == (RecordType.OVERRIDE, rollback.decision_id)
    assert (record.from_stage, record.to_stage) == (Stage.CANARY, Stage.CANARY)
    assert standing(ledger.records()).reduce_only("c1", watch.candidate_sha256)
    (withheld,) = production_manifest(ledger.records(), later.now).withheld
    assert withheld.mode == "reduce_only"
    begin = datetime(2026, 5, 30, tzinfo=UTC)
    figures = promotion_metrics(ledger.records(), lambda _: (), begin, begin + timedelta(days=7))
    (false,) = [each for each in figures if each.metric is Metric.FALSE_ROLLBACKS]
    assert (false.value, false.n) == (1.0, 1)


@pytest.fixture
def r2p(tmp_path, monkeypatch, draft, ledger):
    """The command line over a desk that has one candidate at canary."""
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    start = draft(0).recorded_at
    on_disk = type(ledger)(tmp_path / "data" / "ledger", open_keys(tmp_path / "data" / "keys", start))
    arrive(on_disk, draft, Stage.CANARY)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def test_a_person_takes_back_and_the_manifest_says_so_at_once(r2p, tmp_path):
    path = tmp_path / "data" / "production" / "manifest.json"
    assert r2p("demote", "c1", "--to", "paper", "--reason", "loss", "--by", "ann").exit_code == 2
    assert not path.exists()
    done = r2p("demote", "c1", "--to", "paper", "--reason", "loss", "--by", "user:ann", "--json")
    assert done.exit_code == 0, done.output
    assert [each["to_stage"] for each in json.loads(done.stdout)["records"]] == ["paper"]
    keys = open_keys(tmp_path / "data" / "keys", datetime.now(UTC))
    assert [each.stage for each in read_manifest(path, keys).entries] == [Stage.PAPER]
    assert "trade" in r2p("controls").output
    assert r2p("halt", "c1", "--reason", "venue", "--by", "user:ann").exit_code == 0
    assert read_manifest(path, keys).entries == ()
    assert [each["candidate"] for each in json.loads(r2p("controls", "--json").stdout)["withheld"]] == ["c1"]
    assert "demote to halted: venue" in r2p("controls").output
    last = json.loads((tmp_path / "data" / "ledger" / "records.jsonl").read_bytes().splitlines()[-1])
    assert (last["type"], last["author"], last["to_stage"]) == ("demote", "user:ann", "halted")


def test_a_false_alarm_is_named_by_its_record(r2p):
    words = ("--until", "2030-01-01", "--reason", "marks", "--by", "user:ann")
    refused = r2p("false-alarm", "c1", "--record", "0", *words)
    assert refused.exit_code == 2
    assert "record 0 is no rollback of c1" in refused.output


def test_what_cannot_be_taken_back_says_where_it_stands(r2p):
    refused = r2p("demote", "c9", "--to", "paper", "--reason", "loss", "--by", "user:ann")
    assert refused.exit_code == 2
    assert "it stands: at research" in refused.output
