"""Runbooks: every rule has one, every command and query in them runs, and a page fills in its numbers."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
import pytest
import typer

import research_to_prod
from research_to_prod.cli import app
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake.schema import TIMESTAMP, Schema
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.operations.incidents.page import numbers_of
from research_to_prod.operations.runbooks import (
    PLACEHOLDERS,
    RunbookError,
    fill,
    gaps,
    in_words,
    load_runbooks,
    query,
    render,
)
from tests.operations.alerting.book import BTC, NOON, POLICY, context, held, judged, of, reading

SHIPPED = Path(research_to_prod.__file__).parent / "desk" / "runbooks"
RUNBOOKS = load_runbooks(SHIPPED)
DRILLED = date(2026, 11, 29)
NAMES = sorted(RUNBOOKS)


def numbers() -> dict[str, str]:
    """The numbers of a page about silent bitcoin."""
    found = of(judged([reading("market_data_age", 100, BTC)], context(held(2e6))), "md_stale")
    return numbers_of(found, "seconds", "0123456789ab-20260105T120000")


def sample(schema: Schema) -> dict[str, Any]:
    """One row in which everything is given: with the page's names, and with amounts as long as the columns hold."""
    names = {"venue": "sandbox", "symbol": BTC.instrument, "strategy": "momentum", "day": "2026-01-05"}
    amounts = {pa.string(): "x", pa.int64(): 7, pa.float64(): 1.5, pa.bool_(): True, TIMESTAMP: NOON}
    row: dict[str, Any] = {}
    for column in schema.columns:
        decimal = Decimal("123456789012.123456789012345678") if pa.types.is_decimal(column.type) else None
        given = [] if pa.types.is_list(column.type) else amounts.get(column.type, decimal)
        row[column.name] = names.get(column.name, given)
    return row


@pytest.fixture(scope="module")
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    tables = {**TABLES, "fetch_certificates": FETCH_CERTIFICATES}
    with duckdb.connect() as connection:
        for name, schema in tables.items():
            connection.register("incoming", pa.Table.from_pylist([sample(schema)], schema=schema.arrow))
            connection.execute(f'CREATE TABLE "{name}" AS FROM incoming')
        yield connection


def test_every_rule_has_its_runbook_and_the_reverse_and_none_is_stale() -> None:
    assert gaps(RUNBOOKS, POLICY, DRILLED) == []
    assert len(RUNBOOKS) == 30


def test_a_drill_holds_for_ninety_days_and_a_review_until_its_day() -> None:
    assert gaps(RUNBOOKS, POLICY, DRILLED + timedelta(days=89)) == []
    overdue = gaps(RUNBOOKS, POLICY, DRILLED + timedelta(days=91))
    assert [each for each in overdue if "runbook margin " in each] == [
        "runbook margin was last drilled on 2026-11-29, more than 90 days ago",
        "runbook margin was to be reviewed by 2027-02-26",
    ]
    assert "it will have been drilled" in gaps(RUNBOOKS, POLICY, date(2026, 11, 28))[0]


def test_a_missing_and_a_stray_runbook_are_named() -> None:
    some = {name: each for name, each in RUNBOOKS.items() if name != "depeg"} | {"weather": RUNBOOKS["margin"]}
    assert gaps(some, POLICY, DRILLED) == ["there is no runbook depeg", "runbook weather belongs to no rule"]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_one_that_the_command_line_takes(name: str) -> None:
    for command in RUNBOOKS[name].commands:
        words = shlex.split(fill(command, numbers()))[1:]
        found: click.Command = typer.main.get_command(app)
        while isinstance(found, click.Group):
            assert words, command
            assert words[0] in found.commands, command
            found = found.commands[words.pop(0)]
        found.make_context(found.name, words)  # parses, and does nothing


def test_every_runbook_has_a_command_to_run() -> None:
    assert [name for name, each in RUNBOOKS.items() if not each.commands] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_query_runs_on_the_declared_tables(name: str, warehouse: duckdb.DuckDBPyConnection) -> None:
    assert RUNBOOKS[name].front.queries
    whole_desk = numbers() | dict.fromkeys(("venue", "account", "symbol", "strategy", "key"), "every one")
    for each in RUNBOOKS[name].front.queries:
        for given in (numbers(), whole_desk, numbers() | {"venue": "o'brien"}):
            assert warehouse.execute(query(RUNBOOKS[name], each, given)).fetchall() is not None


def test_every_query_that_a_text_names_exists_and_the_reverse() -> None:
    for name, runbook in RUNBOOKS.items():
        text = " ".join(" ".join(each.split()) for each in runbook.sections.values())
        for each in runbook.front.queries:
            assert f"`{each}`" in text, f"{name}: query {each} is not mentioned"


def test_a_rule_that_a_text_names_exists() -> None:
    known = set(POLICY.by_id) | set(POLICY.metrics) | set(TABLES)
    for name, runbook in RUNBOOKS.items():
        for each in re.findall(r"`([a-z]+_[a-z_]+)`", " ".join(runbook.sections.values())):
            assert each in known | set(runbook.front.queries), f"{name}: {each}"


def test_no_two_runbooks_share_a_sentence() -> None:
    seen: dict[str, str] = {}
    for name, runbook in RUNBOOKS.items():
        for title, body in runbook.sections.items():
            for sentence in re.split(r"(?<=[.;:])\s+", " ".join(body.split())):
                if len(sentence) > 40 and "`r2p" not in sentence:
                    assert seen.setdefault(sentence, name) == name, f"{name} {title}: {sentence}"


def test_every_runbook_weighs_the_hours_in_which_it_may_be_read() -> None:
    hours = ("Busy hour", "3 a.m., thin book", "Weekend, banks shut", "Funding minutes", "Venue outage")
    for name, runbook in RUNBOOKS.items():
        assert re.findall(r"\*\*([^*]+)\.\*\*", runbook.sections["Impact"]) == [each.rstrip(".") for each in hours], (
            name
        )


def test_a_page_fills_in_every_number() -> None:
    assert numbers().keys() == PLACEHOLDERS
    steps = render(RUNBOOKS["md_stale"], numbers())
    assert steps[0].endswith("2,000,000 quote currency is at stake (X1).")
    assert "Past 39.8 s reduce on BTC/USDT:USDT" in steps[2]
    assert not [step for runbook in RUNBOOKS.values() for step in render(runbook, numbers()) if "{" in step]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("## Escalate\n", "", "wanted are Meaning, Impact, First 3 steps"),
        ("{at_stake}", "{at_steak}", "{at_steak} can't be filled in"),
        ("3. Cut what", "Cut what", "has 2 first steps"),
        ("id: depeg", "id: depegged", "must be the file's name 'depeg'"),
        ("max_level: 3", "max_level: 9", "max_level: Input should be less than or equal to 5"),
        ("---\nid", "id", "does not begin with front matter"),
    ],
)
def test_a_runbook_that_is_not_whole_is_refused(old: str, new: str, told: str, tmp_path: Path) -> None:
    text = (SHIPPED / "depeg.md").read_text()
    text = text if old in text else text.replace("Every pair", "At stake {at_stake}. Every pair")
    (tmp_path / "depeg.md").write_text(text.replace(old, new, 1))
    shutil.copy(SHIPPED / "margin.md", tmp_path)
    with pytest.raises(RunbookError, match=re.escape(told)):
        load_runbooks(tmp_path)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (39.8, "seconds", "39.8 s"), (6595, "seconds", "110 min"), (86_400, "seconds", "24 h"), (None, "bp", "unknown"),
        (0.07, "fraction", "7 %"), (2_000_000, "quote currency", "2,000,000 quote currency"), (25.0, "bp", "25 bp"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_read_them_at_night(value: float | None, unit: str, words: str) -> None:
    assert in_words(value, unit) == words
