"""What the alerter keeps: small while the day runs, a table afterwards, and the same to the byte all along."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from research_to_prod.operations.alerting.contracts import ALERT_EVALUATIONS
from research_to_prod.operations.alerting.evaluation import Evaluation, Key, State
from research_to_prod.operations.alerting.kept import KeptError, keep, kept_lines, kept_table, let_go
from research_to_prod.operations.alerting.records import line_of, replay, replay_line
from tests.operations.alerting.book import BTC, ETH, NOON, POLICY, VENUE, context, held, judged, reading

DAY = f"{NOON:%Y-%m-%d}"
EMPTY = ALERT_EVALUATIONS.empty()
WATCHED = {"market": (BTC, ETH), "venue": (VENUE,), "account": ()}


def written(folder: Path, minutes: int = 5) -> list[Evaluation]:
    """An exposed book that is mostly not measured, minute by minute; what was kept of it, in order."""
    found: list[Evaluation] = []
    states: dict[Key, State] = {}
    book = context(held(), watched=WATCHED, watched_since=NOON - timedelta(hours=1))
    for minute in range(minutes):
        now = NOON + timedelta(minutes=minute)
        result = judged([reading("market_data_age", 0.1 + minute / 3, at=now, usual=0.2)], book, states, now)
        states = dict(result.states)
        keep(folder, result.evaluations, POLICY, now)
        found += [each for each in result.evaluations if each.fires or each.case.before.phase != "calm"]
    return found


def test_what_was_kept_is_judged_again_to_the_byte(tmp_path: Path) -> None:
    found = written(tmp_path)
    lines = list(kept_lines(tmp_path, DAY))
    assert lines == [line_of(each, POLICY) for each in found]
    assert [replay_line(line, POLICY) for line in lines] == lines


def test_the_running_day_is_small(tmp_path: Path) -> None:
    written(tmp_path, 30)
    plain = sum(len(line) + 1 for line in kept_lines(tmp_path, DAY))
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < plain / 8


def test_a_turn_at_midnight_belongs_to_the_day_that_it_ends(tmp_path: Path) -> None:
    midnight = NOON + timedelta(hours=12)
    keep(tmp_path, judged([reading("forced_events", 1, at=midnight)], context(held()), at=midnight).evaluations, POLICY,
         midnight)  # fmt: skip
    assert {json.loads(line)["day"] for line in kept_lines(tmp_path, DAY)} == {DAY}


def test_as_a_table_it_is_the_same_and_judged_again_the_same(tmp_path: Path) -> None:
    found = written(tmp_path)
    table = kept_table(tmp_path, DAY, EMPTY)
    assert table.schema == ALERT_EVALUATIONS.arrow
    rows = table.to_pylist()
    assert len(rows) == len(found)
    assert [replay(row, POLICY) for row in rows] == rows


def test_a_day_that_was_stored_grows_by_what_came_later_and_by_nothing_twice(tmp_path: Path) -> None:
    written(tmp_path, 3)
    first = kept_table(tmp_path, DAY, EMPTY)
    assert kept_table(tmp_path, DAY, first) == first
    later = NOON + timedelta(hours=3)
    keep(tmp_path, judged([reading("forced_events", 1, at=later)], context(held()), at=later).evaluations, POLICY,
         later)  # fmt: skip
    grown = kept_table(tmp_path, DAY, first)
    assert grown.slice(0, first.num_rows) == first
    assert {row["as_of"] for row in grown.slice(first.num_rows).to_pylist()} == {later}


def test_the_file_goes_only_when_the_table_has_all_of_it_to_the_byte(tmp_path: Path) -> None:
    written(tmp_path)
    table = kept_table(tmp_path, DAY, EMPTY)
    values = pa.array([0.0] * table.num_rows, pa.float64())
    edited = table.set_column(table.column_names.index("threshold"), "threshold", values)
    for wrong in (table.slice(1), edited):
        with pytest.raises(KeptError, match="not in the table to the byte; the file stays"):
            let_go(tmp_path, DAY, wrong)
    assert let_go(tmp_path, DAY, table) > 0
    assert list(kept_lines(tmp_path, DAY)) == []
    assert let_go(tmp_path, DAY, table) == 0


@pytest.mark.parametrize("torn", ["e", "bm8=", "%%"])
def test_a_line_that_somebody_changed_is_named(tmp_path: Path, torn: str) -> None:
    written(tmp_path, 2)
    (path,) = tmp_path.iterdir()
    path.write_text(torn + "\n" + path.read_text())
    with pytest.raises(KeptError, match="line 1 can't be read"):
        list(kept_lines(tmp_path, DAY))
