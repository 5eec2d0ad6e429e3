"""The report of a generated desk, from the lake by its asset: all questions, three files, one set of numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from research_to_prod.defs.reports.assets import desk_report
from research_to_prod.defs.resources import build_resources
from research_to_prod.lake import Lake
from research_to_prod.reports.desk_report import DeskReport
from research_to_prod.reports.rendering import NUMBERS
from tests.reports.test_desk_report import CURVES, Page, numbers

DAY = "2026-01-02"


@pytest.fixture(scope="module")
def files(generated_report: Path) -> dict[str, bytes]:
    folder = generated_report / "reports"
    return {kind: (folder / f"desk-report-{DAY}.{kind}").read_bytes() for kind in ("html", "json", "parquet")}


@pytest.fixture(scope="module")
def report(files: dict[str, bytes]) -> DeskReport:
    return DeskReport.model_validate_json(files["json"])


def test_every_question_is_answered_but_the_one_whose_input_was_not_delivered(report: DeskReport) -> None:
    assert [(each.number, each.missing) for each in report.questions if not each.answered] == [(13, ("positions",))]
    month = report.month
    assert (month.days, month.first_day) == (2, "2026-01-01")
    empty = [name for name, value in month.model_dump().items() if value == ()]
    # It trades no perpetual.
    assert empty == ["funding"]
    assert [line.factor for line in month.comparison].count("venue") == 2
    assert len(report.replays) == len(report.dearest) + len(report.cheapest) == 10
    assert all(replay.quotes > 100 for replay in report.replays)


def test_the_lost_fills_are_at_stake_and_the_most_money_comes_first(report: DeskReport) -> None:
    assert report.reconciliation.confirmed == 2
    money = [action.money for action in report.actions if action.money is not None]
    assert money == sorted(money, reverse=True)
    assert report.reconciliation.money_at_stake in money
    assert all(action.owner and action.confidence and action.n for action in report.actions)


def test_what_is_printed_is_in_the_json_and_what_is_in_the_json_is_printed_or_drawn(
    files: dict[str, bytes], report: DeskReport
) -> None:
    shown = set(Page(files["html"]).values)
    stored = [(path, each) for path, each in numbers(json.loads(files["json"])) if not path.endswith(".side")]
    assert shown <= {each for _, each in stored}
    hidden = {path for path, each in stored if each not in shown}
    assert {path for path in hidden if not path.startswith((".month.hours.", ".replays.", *CURVES))} <= {
        ".by_strategy.executed_value",
        ".by_venue.executed_value",
    }


def test_the_parquet_file_has_every_value_of_the_json(files: dict[str, bytes]) -> None:
    rows = pq.read_table(io.BytesIO(files["parquet"]))
    assert rows.schema.remove_metadata() == NUMBERS
    found = {(row["section"], row["line"], row["field"]): row for row in rows.to_pylist()}
    assert len(found) == rows.num_rows
    stored = dict(leaves(json.loads(files["json"])))
    # A list without values has no row of its own.
    assert found.keys() == stored.keys()
    for key, value in stored.items():
        number, text = found[key]["number"], found[key]["text"]
        if isinstance(value, str):
            assert str(text).replace("+00:00", "Z").replace(" ", "T") == value.replace(" ", "T"), key
        else:
            assert number == value, key


def leaves(value: Any, names: tuple[str, ...] = (), places: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*names, name), places)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from leaves(each, names, (*places, str(place)))
    else:
        yield (names[0], ".".join(places), ".".join(names[1:])), value


def test_the_same_tables_are_the_same_bytes(
    generated_report: Path, files: dict[str, bytes], report: DeskReport
) -> None:
    resources = build_resources({"R2P_DATA": str(generated_report)}, clock=lambda: report.prepared_at)
    assert dg.materialize([desk_report], partition_key=DAY, resources=resources).success
    for kind, content in files.items():
        assert (generated_report / "reports" / f"desk-report-{DAY}.{kind}").read_bytes() == content, kind


def test_the_page_of_two_days_is_far_from_its_limit(files: dict[str, bytes]) -> None:
    assert len(files["html"]) < 500_000
    assert files["html"].count(b"<svg") == 4 + 1 + 10 + 2


def test_a_day_that_lacks_a_table_is_left_out_of_the_month(generated_report: Path) -> None:
    from research_to_prod.defs.reports.month import read_month
    from research_to_prod.lake.lake import LakeError

    lake = Lake(generated_report / "lake")
    month, read = read_month(lake, DAY)
    assert month.days == ("2026-01-01", DAY)
    assert {version.table for snapshot in read for version in snapshot.versions} >= {"markouts", "latency_costs"}
    with pytest.raises(LakeError):
        read_month(lake, "2026-01-03")
