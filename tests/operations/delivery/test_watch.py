"""The alerter's turn, its sign of life, and the figures that it leaves for Prometheus."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.kept import kept_lines
from research_to_prod.operations.alerting.records import replay_line
from research_to_prod.operations.control_journal import ControlJournal
from research_to_prod.operations.delivery.heartbeat import FILE, Beat, beat, last_beat, silence
from research_to_prod.operations.delivery.prometheus import Gauge, exposition, write_textfile
from research_to_prod.operations.ladder import load_ladder_policy
from research_to_prod.operations.watch import INCIDENTS, METRICS, STATES, TurnResult, Watch, WatchError
from research_to_prod.settings import Settings
from tests.operations.alerting.book import BTC, NOON, POLICY, context, held, reading
from tests.operations.delivery.told import Memory
from tests.operations.incidents.firings import DESK, refs_in

MINUTE = timedelta(minutes=1)
LADDER = load_ladder_policy(Settings().desk / "policies" / "ladder.yaml")
SAMPLE = re.compile(r'[a-z_0-9]+(\{[a-z]+="(?:[^"\\\n]|\\.)*"(,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? \S+')


def started(folder: Path, channel: Memory) -> Watch:
    return Watch(folder, DESK, [channel], MINUTE, ControlJournal(folder / "controls.jsonl"), LADDER)


def turn(folder: Path, channel: Memory, now: datetime, *observations: Observation) -> TurnResult:
    """One turn by an alerter that has just been started."""
    desk_wide = [reading("asset_lag", 0, at=now), reading("reconciliation_lag", 0, at=now)]
    silent = {each: reading(each, 0, at=now) for each in ("asset_freshness_burn",)}
    own = [Observation(o.metric, type(BTC)(), o.value, o.at) for o in (*desk_wide, *silent.values())]
    watch = started(folder, channel)
    return watch.turn([*own, *observations], context(held(), watched_since=now), now)


def about(channel: Memory, folder: Path) -> list[str]:
    """The rules whose messages the channel got, in order."""
    incidents = started(folder, channel).incidents.read()
    return [incidents.get(key.partition(":")[0]).opened.rule for key in channel.keys]


def stale(at: datetime) -> Observation:
    return reading("market_data_age", 100, at=at)


def test_a_turn_judges_tells_and_gives_a_sign_of_life(tmp_path: Path) -> None:
    channel = Memory()
    turn(tmp_path, channel, NOON, stale(NOON))
    assert about(channel, tmp_path) == ["md_stale"]
    assert last_beat(tmp_path / FILE) == Beat(
        at=NOON, interval_seconds=60, turn=0, undelivered=0, oldest_undelivered_seconds=0
    )


def test_the_next_turn_in_another_process_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    channel = Memory()
    for minute in range(3):
        turn(tmp_path, channel, NOON + minute * MINUTE, stale(NOON + minute * MINUTE))
    assert about(channel, tmp_path) == ["md_stale"]
    sign = last_beat(tmp_path / FILE)
    assert sign is not None
    assert sign.turn == 2


def test_what_an_incident_rests_on_is_found_and_judged_again_to_the_byte(tmp_path: Path) -> None:
    for minute in range(3):
        turn(tmp_path, Memory(), NOON + minute * MINUTE, stale(NOON + minute * MINUTE))
    lines = list(kept_lines(tmp_path, f"{NOON:%Y-%m-%d}"))
    assert [replay_line(line, POLICY) for line in lines] == lines
    kept = {f"{row['rule']}/{row['condition']} {row['subject']} {row['as_of']}" for row in map(json.loads, lines)}
    refs = refs_in(tmp_path / INCIDENTS)
    assert len(set(refs)) == len(refs) == 3
    assert kept.issuperset(refs)


def test_a_turn_that_was_lost_is_told_by_the_next(tmp_path: Path) -> None:
    channel = Memory()
    turn(tmp_path, channel, NOON)
    turn(tmp_path, channel, NOON + 2 * MINUTE)
    assert about(channel, tmp_path) == ["alerter_heartbeat"]


def test_pages_that_nobody_takes_are_told_by_the_alerter_too(tmp_path: Path) -> None:
    refusing = Memory(refusals=99)
    for minute in range(3):
        result = turn(tmp_path, refusing, NOON + minute * MINUTE, stale(NOON + minute * MINUTE))
    assert {each.case.rule for each in result.evaluations if each.fires} == {"md_stale", "alerter_heartbeat"}
    metrics = (tmp_path / METRICS).read_text()
    assert "r2p_outbox_undelivered 2.0" in metrics
    assert "r2p_outbox_oldest_seconds 120.0" in metrics


def test_what_another_program_wrote_over_the_states_is_refused(tmp_path: Path) -> None:
    (tmp_path / STATES).write_text("[1]")
    with pytest.raises(WatchError, match="delete it, and every rule begins anew"):
        turn(tmp_path, Memory(), NOON)
    assert last_beat(tmp_path / FILE) is None


def test_states_of_other_rules_are_not_taken_for_those_of_these(tmp_path: Path) -> None:
    turn(tmp_path, Memory(), NOON, reading("basis", 60))
    states = tmp_path / STATES
    assert states.read_text().count(POLICY.sha256) == 1
    again = turn(tmp_path, Memory(), NOON + MINUTE, reading("basis", 60, at=NOON + MINUTE))
    assert "basis" in {each.case.rule for each in again.evaluations if each.fires}
    turn(tmp_path, Memory(), NOON + 2 * MINUTE, reading("basis", 0, at=NOON + 2 * MINUTE))
    states.write_text(states.read_text().replace(POLICY.sha256, "0" * 64))
    later = NOON + 3 * MINUTE
    anew = turn(tmp_path, Memory(), later, reading("basis", 60, at=later))
    assert "basis" not in {each.case.rule for each in anew.evaluations if each.fires}


def test_a_heartbeat_that_is_late_missing_or_of_the_future_is_silence(tmp_path: Path) -> None:
    path = tmp_path / FILE
    assert "no readable heartbeat" in str(silence(path, NOON))
    beat(path, Beat(at=NOON, interval_seconds=60, turn=3, undelivered=0, oldest_undelivered_seconds=0))
    assert silence(path, NOON + timedelta(seconds=120)) is None
    assert silence(path, NOON + timedelta(seconds=121)) == (
        "the alerter's last turn ended 121 s ago; it makes one every 60 s"
    )
    assert "one of the clocks is wrong" in str(silence(path, NOON - timedelta(seconds=61)))
    path.write_text("{")
    assert "no readable heartbeat" in str(silence(path, NOON))


def test_the_figures_are_in_prometheus_s_text_format(tmp_path: Path) -> None:
    turn(tmp_path, Memory(), NOON, stale(NOON))
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert all(line.startswith(("# HELP r2p_", "# TYPE r2p_")) or SAMPLE.fullmatch(line) for line in lines)
    assert 'r2p_alert_firing{rule="md_stale",severity="P2"} 1.0' in lines
    assert 'r2p_incidents_open{severity="P2"} 1.0' in lines
    assert 'r2p_regime{venue="sandbox",symbol="BTC/USDT:USDT",regime="normal"} 1.0' in lines


def test_labels_are_escaped_and_numbers_are_what_they_are() -> None:
    gauge = Gauge("g", "a\nb\\c", {(("name", 'a"b\\c\nd'),): float("inf"), (): float("nan")})
    assert exposition([gauge]) == '# HELP g a\\nb\\\\c\n# TYPE g gauge\ng NaN\ng{name="a\\"b\\\\c\\nd"} +Inf\n'


def test_a_name_that_the_collector_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"end in \.prom"):
        write_textfile(tmp_path / "metrics.txt", [])
