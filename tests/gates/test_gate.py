"""One comparison for all gates: what passes, what falls short, and what cannot be told."""

from typing import Any

import pytest

from research_to_prod.gates.evaluation import GateReport
from research_to_prod.gates.families import Family
from research_to_prod.gates.gate import Gate, judge, rounded
from research_to_prod.values import Verdict


def gate(value: float | None, comparison: str = ">=", threshold: float | None = 1.0, **others: Any) -> Gate:
    return judge("edge", Family.STATISTICS, value, comparison, threshold, **{"samples": 0, "what": "the edge"} | others)


@pytest.mark.parametrize(
    ("value", "comparison", "threshold", "verdict"),
    [
        (2.0, ">=", 1.0, Verdict.PASS),
        (0.5, ">=", 1.0, Verdict.FAIL),
        (0.5, "<=", 1.0, Verdict.PASS),
        (2.0, "<=", 1.0, Verdict.FAIL),
        (1.0, ">=", 1.0, Verdict.INCONCLUSIVE),
        (0.99e-9, ">=", 0.0, Verdict.INCONCLUSIVE),
        (1e-9, ">=", 0.0, Verdict.PASS),
        (-1e-9, ">=", 0.0, Verdict.FAIL),
    ],
)
def test_a_margin_of_a_billionth_decides_and_less_does_not(
    value: float, comparison: str, threshold: float, verdict: Verdict
) -> None:
    assert gate(value, comparison, threshold).verdict is verdict


def test_what_is_counted_meets_a_threshold_that_it_equals() -> None:
    assert gate(1.0, counted=True).verdict is Verdict.PASS
    assert gate(0.0, counted=True).verdict is Verdict.FAIL


def test_a_value_that_is_none_says_why_or_that_it_could_not_be_computed() -> None:
    assert gate(None).reason == "the edge could not be computed"
    assert gate(None, problem="nobody traded").reason == "nobody traded"
    assert gate(float("nan")).verdict is gate(2.0, threshold=None).verdict is Verdict.INCONCLUSIVE


def test_too_few_samples_say_how_many_and_how_many_are_required() -> None:
    few = gate(2.0, samples=9, minimum_samples=10)
    assert (few.verdict, few.value) == (Verdict.INCONCLUSIVE, 2.0)
    assert few.reason == "the edge rests on 9 samples; at least 10 are required"
    assert gate(2.0, samples=9, minimum_samples=10, problem="nobody traded").reason == "nobody traded"
    assert gate(2.0, samples=10, minimum_samples=10).verdict is Verdict.PASS
    assert gate(2.0).verdict is Verdict.PASS, "none are required unless it is said"


def test_only_what_does_not_pass_has_a_remedy() -> None:
    assert gate(0.5, remedy="less leverage").remedy == "less leverage"
    assert gate(2.0, remedy="less leverage").remedy == gate(0.5).remedy == ""


def test_numbers_have_twelve_digits_and_no_negative_zero() -> None:
    assert rounded(1 / 3) == 0.333333333333
    assert [repr(rounded(-0.0)), repr(rounded(0.0))] == ["0.0", "0.0"]
    assert rounded(float("inf")) is rounded(None) is None


def test_the_relative_margin_is_in_units_of_the_threshold_or_as_it_is_where_that_is_0() -> None:
    assert gate(3.0, threshold=2.0).relative_margin == 0.5
    assert gate(3.0, "<=", 2.0).relative_margin == -0.5
    assert gate(-1.0, threshold=-2.0).relative_margin == 0.5
    assert gate(3.0, threshold=0.0).relative_margin == 3.0
    assert gate(None).relative_margin is gate(3.0, threshold=None).relative_margin is None


def test_the_bytes_that_are_signed_are_these() -> None:
    report = GateReport("one", "research_to_paper", "ab", (gate(2.0, samples=3),))
    assert report.canonical_bytes() == (
        b'{"candidate":"one","gates":[{"comparison":">=","family":"statistics","gate":"edge","gating":true,'
        b'"margin":"1.0","minimum_track_record":null,"power":null,"reason":"the edge is 2; required >= 1",'
        b'"remedy":"","samples":3,"threshold":"1.0","value":"2.0","verdict":"pass"}],'
        b'"policy_id":"research_to_paper","policy_sha256":"ab","verdict":"pass"}'
    )


def test_a_report_without_gates_is_a_table_without_rows() -> None:
    assert GateReport("one", "research_to_paper", "ab", ()).to_table().num_rows == 0
