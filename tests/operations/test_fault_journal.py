"""What was injected is found, as what it is; nothing else is; and a failed fetch is never a break."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks._reconciliation_trials import EXPECTED, Trial, fetch_trial, record_trial
from research_to_prod.operations.contracts import BreakClass
from research_to_prod.sandbox.record_faults import FetchFault, RecordFault

SEEDS = range(100)
# Days with some sixty fills each: the whole hundred of days is a study, and its page is docs/reconciliation.md.
DAYS = ((7, "2026-01-06"), (8, "2026-01-03"))


@pytest.fixture(scope="module")
def records() -> list[Trial]:
    return [record_trial(seed, *DAYS[seed % 2]) for seed in SEEDS]


def test_every_injected_break_is_found_and_nothing_else(records: list[Trial]) -> None:
    wrong = {seed: (each.missed, each.false) for seed, each in zip(SEEDS, records, strict=True)}
    assert {seed: both for seed, both in wrong.items() if both != (frozenset(), frozenset())} == {}


def test_the_trials_hold_every_kind_and_days_on_which_nothing_went_wrong(records: list[Trial]) -> None:
    kinds = Counter(injection.kind for each in records for injection in each.injections)
    assert set(kinds) == set(RecordFault)
    assert sum(not each.injections for each in records) == 20
    assert sum(len(each.injections) > 1 for each in records) > 40


def test_every_class_of_break_has_a_fault_but_the_one_that_is_none() -> None:
    assert set(EXPECTED) == set(RecordFault)
    assert set(EXPECTED.values()) == set(BreakClass) - {BreakClass.SOURCE_INCOMPLETE}


def test_no_break_comes_from_a_failed_fetch() -> None:
    trials = [fetch_trial(seed, *DAYS[seed % 2]) for seed in SEEDS]
    kinds = Counter(injection.kind for each in trials for injection in each.injections)
    assert set(kinds) == set(FetchFault)
    assert sum(kinds.values()) == len(SEEDS)
    assert [each.false for each in trials if each.false] == []
