"""Measures: a number or the reason why there is none, and nothing of a summary may be missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.research.contracts import VALIDATION
from research_to_prod.research.validation.measures import (
    STUDIES,
    WHOLE,
    Measure,
    mean_and_sharpe,
    measures,
    missing_measures,
    unknown,
    validation_table,
)

NAMES = [f"{study} {metric}" for study, metrics in STUDIES.items() for metric in metrics]


def complete() -> dict[str, Measure]:
    return {f"{study} {metric}": Measure(study, WHOLE, metric, 1.0) for study in STUDIES for metric in STUDIES[study]}


def missing(rows: dict[str, Measure]) -> list[str]:
    return missing_measures(validation_table("some_candidate", rows.values()))


def test_a_complete_table_misses_nothing_and_an_empty_one_everything() -> None:
    assert missing(complete()) == []
    assert missing({}) == NAMES


@given(st.sets(st.sampled_from(NAMES)))
def test_exactly_what_is_missing_is_named(gone: set[str]) -> None:
    rows = {name: row for name, row in complete().items() if name not in gone}
    assert missing(rows) == [name for name in NAMES if name in gone]


def test_a_null_counts_only_with_a_reason() -> None:
    name = "overfitting pbo"
    assert missing({**complete(), name: Measure("overfitting", WHOLE, "pbo", None, "too few trials")}) == []
    assert missing({**complete(), name: Measure("overfitting", WHOLE, "pbo", None)}) == [name]


def test_a_number_of_one_fold_does_not_stand_for_the_summary() -> None:
    name = "walk_forward_rolling oos_sharpe"
    fold = Measure("walk_forward_rolling", "fold_00", "oos_sharpe", 1.0)
    assert missing({**complete(), name: fold}) == [name]


@pytest.mark.parametrize("study", STUDIES)
def test_an_unknown_study_is_complete_with_its_reason(study: str) -> None:
    others = {name: row for name, row in complete().items() if row.study != study}
    rows = unknown(study, "too few days")
    assert missing({**others, **{row.metric: row for row in rows}}) == []
    assert all(row.value is None and row.reason == "too few days" for row in rows)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_a_null_with_a_reason(bad: float) -> None:
    assert measures("s", "i", "because", x=bad) == [Measure("s", "i", "x", None, "because")]
    (without,) = measures("s", "i", x=bad)
    assert without.value is None
    assert without.reason


def test_a_number_has_no_reason() -> None:
    assert measures("s", "i", "because", x=0, y=2.5) == [Measure("s", "i", "x", 0.0), Measure("s", "i", "y", 2.5)]


def test_the_table_is_that_of_the_contract_in_any_order_of_the_measures() -> None:
    rows = list(complete().values())
    table = validation_table("some_candidate", rows)
    assert table.schema.names == [column.name for column in VALIDATION.columns]
    assert table.equals(validation_table("some_candidate", reversed(rows)))


def test_the_same_measure_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"key|duplicate|twice"):
        validation_table("some_candidate", [Measure("s", "i", "x", 1.0), Measure("s", "i", "x", 2.0)])


@pytest.mark.parametrize("returns", [[], [0.01], [0.0, 0.0, 0.0]])
def test_too_few_days_or_no_deviation_have_no_sharpe_ratio(returns: list[float]) -> None:
    assert math.isnan(mean_and_sharpe(np.array(returns))["sharpe"])
