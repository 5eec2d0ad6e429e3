"""The journal: resumed byte for byte, or refused at the line that does not follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from research_to_prod.promotion.rollback.journal import JournalError, line, resume
from research_to_prod.promotion.rollback.readings import DayResult, Exposure, Reading
from research_to_prod.promotion.rollback.stepping import State, replay, start, step
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.values import Stage

WatchOf = Callable[..., Watch]


def readings() -> list[Reading]:
    found: list[Reading] = []
    for number in range(30):
        day = date(2026, 1, 1) + timedelta(number)
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        found.append(Exposure("alpha", end, end, 0.5, 1.0, math.nan if number == 3 else 1.0, None))
        found.append(DayResult("alpha", day, end, math.nan if number == 7 else -0.01, -0.01 if number % 5 else None))
    return found


def written(watch: Watch, given: list[Reading]) -> tuple[list[bytes], State]:
    state, lines = start(watch), []
    for reading in given:
        outcome = step(watch, state, reading)
        lines.append(line(reading, outcome))
        state = outcome.state
    return lines, state


def test_a_journal_gives_back_the_very_state(watch_of: WatchOf) -> None:
    watch = watch_of(quick=True)
    lines, state = written(watch, readings())
    assert resume(watch, lines).canonical_bytes() == state.canonical_bytes()
    assert replay(watch, readings()).state.canonical_bytes() == state.canonical_bytes()
    assert any(b'"layer":"edge"' in each for each in lines)
    assert resume(watch, []) == start(watch)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:5], lines[5].replace(b"-0.01", b"0.01"), *lines[6:]],
        lambda lines: [*lines[:5], *lines[6:]],
        lambda lines: [*lines[:5], lines[7], lines[6], lines[5], *lines[8:]],
        lambda lines: [*lines[:6], lines[5], *lines[6:]],
        lambda lines: [*lines[:5], lines[5][:-9], *lines[6:]],
        lambda lines: [*lines[:5], b"{}", *lines[6:]],
        lambda lines: [*lines[:5], lines[5].replace(b"DayResult", b"Holiday"), *lines[6:]],
        lambda lines: [*lines[:5], lines[5] + b" ", *lines[6:]],
    ],
    ids=["edited", "left out", "reordered", "repeated", "torn", "empty", "of no kind", "respelled"],
)
def test_a_line_that_does_not_follow_is_named(watch_of: WatchOf, change: Callable[[list[bytes]], list[bytes]]) -> None:
    watch = watch_of(quick=True)
    lines, _ = written(watch, readings())
    with pytest.raises(JournalError, match=r"line [678] of the journal of alpha"):
        resume(watch, change(lines))


def test_a_journal_made_under_other_rules_is_refused(watch_of: WatchOf) -> None:
    lines, _ = written(watch_of(quick=True), readings())
    with pytest.raises(JournalError, match="line 1 of the journal of alpha does not follow"):
        resume(watch_of(quick=True, stage=Stage.CANARY), lines)
