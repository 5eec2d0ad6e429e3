"""The check of a candidate's validation: whatever its stored rows lack is named and stops what follows."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.research.checks import is_complete
from research_to_prod.defs.resources import build_resources
from research_to_prod.lake import Lake
from research_to_prod.research.contracts import VALIDATION
from research_to_prod.research.validation.measures import STUDIES, WHOLE, Measure, validation_table

NAME = "some_candidate"
ROWS = [Measure(study, WHOLE, metric, 1.0) for study, metrics in STUDIES.items() for metric in metrics]


@dg.asset(partitions_def=CANDIDATES)
def validation() -> None:
    """Stand in for the asset, whose rows the test has written."""


def checked(folder: Path, rows: list[Measure]) -> dg.AssetCheckEvaluation:
    resources = build_resources({"R2P_DATA": str(folder)})
    Lake(folder / "lake").write("validation", NAME, validation_table(NAME, rows), VALIDATION)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(CANDIDATES.name), [NAME])
        result = dg.materialize(
            [validation, is_complete],
            partition_key=NAME,
            resources=resources,
            instance=instance,
            raise_on_error=False,
        )
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_complete_rows_pass_and_those_without_a_number_are_counted(tmp_path: Path) -> None:
    first = Measure(ROWS[0].study, WHOLE, ROWS[0].metric, None, "too few days")
    found = checked(tmp_path, [first, *ROWS[1:]])
    assert found.passed
    assert (found.metadata["missing"].value, found.metadata["without_a_number"].value) == ("none", 1)


@pytest.mark.parametrize(
    "left", [[], [Measure(ROWS[-1].study, WHOLE, ROWS[-1].metric, None)]], ids=["gone", "no reason"]
)
def test_what_is_missing_is_named_and_blocks(tmp_path: Path, left: list[Measure]) -> None:
    found = checked(tmp_path, [*ROWS[:-1], *left])
    assert (found.passed, found.blocking) == (False, True)
    assert found.metadata["missing"].value == f"{ROWS[-1].study} {ROWS[-1].metric}"
