"""The study of the reconciliation: what it counts, and that the page says it."""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks import reconciliation as study
from benchmarks._reconciliation_trials import Trial, mixed_trial, record_trial
from research_to_prod.operations.contracts import BreakClass
from research_to_prod.sandbox.faults import Injection
from research_to_prod.sandbox.record_faults import FetchFault, RecordFault

AT = datetime(2026, 1, 2, tzinfo=UTC)


def injection(kind: str, *rows: str) -> Injection:
    return Injection(1, AT, "desk", kind, "", rows=rows)


LOST = injection(RecordFault.LOST_FILL, "BTC/USDT", "7")
NAMED = ("missing_fill_internal", "BTC/USDT", "7")
OTHER = ("balance_drift", "USDT", "")
EMPTY = injection(FetchFault.EMPTY, "spot")


def test_a_break_of_the_right_class_on_another_record_is_missed_and_false() -> None:
    trial = Trial((LOST,), frozenset({NAMED}), frozenset({(*NAMED[:2], "8")}))
    assert (len(trial.missed), len(trial.false)) == (1, 1)


def test_the_page_counts_what_was_missed_and_what_was_invented() -> None:
    records = [Trial((LOST,), frozenset({NAMED}), frozenset({OTHER})), Trial((), frozenset(), frozenset({OTHER}))]
    fetches = [Trial((EMPTY,), frozenset(), frozenset({OTHER}))]
    mixed = [Trial((LOST, EMPTY), frozenset({NAMED}), frozenset({NAMED, OTHER}))]
    page = study.page(study.Study(records, fetches, mixed))
    assert "| lost fill | `missing_fill_internal` | 1 | 0 |" in page
    assert "on all 2 days: 2. On the 1 days on which nothing went wrong: 1." in page
    assert "| empty | 1 | 1 |" in page
    assert "| empty | 1 | 1 | 1 | 1 |" in page


def test_a_trial_is_the_same_again() -> None:
    assert record_trial(3, 8, "2026-01-03") == record_trial(3, 8, "2026-01-03")


def test_with_both_kinds_of_fault_at_once_the_journal_has_both() -> None:
    trial = mixed_trial(0, 8, "2026-01-03")
    assert [each.kind for each in trial.injections][-1] in set(FetchFault)
    assert len(trial.injected) == 2
    assert BreakClass.SOURCE_INCOMPLETE not in {each[0] for each in trial.found}
