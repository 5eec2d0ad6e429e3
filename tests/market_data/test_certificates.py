"""What a set of certificates covers, and their round trip through the table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.market_data.certificates import Certificate, certificates_from, certificates_table, covered, issue

START = datetime(2023, 6, 1, tzinfo=UTC)


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def proof(start: int, end: int, *, complete: bool = True, venue: str = "v", scope: str = "s") -> Certificate:
    return issue(
        venue=venue,
        endpoint="e",
        scope=scope,
        interval=(at(start), at(end)),
        bodies=["00", "11"],
        rows=1,
        terminal="empty_page" if complete else "history_cut",
        complete=complete,
    )


def parts(proofs: list[Certificate], start: int, end: int) -> list[tuple[int, int]]:
    hours = timedelta(hours=1)
    found = covered(proofs, "v", "s", at(start), at(end))
    return [(int((a - START) / hours), int((b - START) / hours)) for a, b in found]


def test_overlapping_and_adjacent_intervals_merge_and_holes_remain() -> None:
    assert parts([proof(5, 8), proof(0, 2), proof(2, 4), proof(7, 9)], 0, 10) == [(0, 4), (5, 9)]


def test_only_what_was_asked_about_is_returned() -> None:
    assert parts([proof(0, 100)], 10, 20) == [(10, 20)]
    assert parts([proof(0, 5)], 5, 20) == []
    assert parts([proof(0, 5)], 3, 3) == []


def test_no_certificate_covers_nothing() -> None:
    assert parts([], 0, 10) == []
    assert parts([proof(3, 3)], 0, 10) == []


def test_incomplete_certificates_and_those_of_others_do_not_count() -> None:
    others = [proof(0, 10, complete=False), proof(0, 10, venue="w"), proof(0, 10, scope="t")]
    assert parts(others, 0, 10) == []


INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans()), max_size=12)


@given(INTERVALS, st.integers(0, 30), st.integers(0, 30), st.randoms(use_true_random=False))
def test_covered_is_the_union_hour_by_hour(
    intervals: list[tuple[int, int, bool]], start: int, end: int, random: object
) -> None:
    proofs = [proof(min(a, b), max(a, b), complete=whole) for a, b, whole in intervals]
    oracle = {h for a, b, whole in intervals if whole for h in range(min(a, b), max(a, b)) if start <= h < end}
    found = parts(proofs, start, end)
    assert {hour for a, b in found for hour in range(a, b)} == oracle
    assert all(a < b for a, b in found)
    assert all(left[1] < right[0] for left, right in pairwise(found))
    random.shuffle(proofs)  # type: ignore[attr-defined]
    assert parts(proofs, start, end) == found


def test_the_hash_of_each_page_survives_the_table() -> None:
    proofs = (proof(0, 2), replace(proof(2, 3), fetch_id="x", page_sha256=(), pages=0))
    table = certificates_table(proofs, "raw_candles-2023-06")
    assert set(certificates_from(table)) == set(proofs)
    assert table["page_sha256"].to_pylist()[table["fetch_id"].to_pylist().index("x")] == []


def test_a_certificate_of_another_question_or_answer_is_not_genuine() -> None:
    given = proof(0, 5)
    assert given.genuine
    others = {"venue": "w", "endpoint": "f", "scope": "t", "interval_start": at(1), "interval_end": at(6)}
    for name, value in (*others.items(), ("page_sha256", ("00", "12")), ("fetch_id", "0" * 64)):
        assert not replace(given, **{name: value}).genuine, name
